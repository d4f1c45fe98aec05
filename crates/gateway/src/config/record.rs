//! What signs, seals and witnesses the record.

use std::{collections::BTreeMap, time::Duration};

use crewgate_audit::{
    Class, SealKey,
    tlog::{KeyKind, Signer, VerifierKey},
};
use crewgate_store::Keys;

use super::{
    check::{Checker, url},
    raw::{self, Text},
    settings::{RetentionSettings, WitnessSettings},
    units::{duration, secret},
};

pub(super) fn keys(check: &mut Checker<'_>, raw: &raw::Record) -> Option<Keys> {
    let beside = check.beside();
    let mut signers: Vec<Signer> = Vec::new();
    for reference in &raw.signing_keys {
        let key = secret(reference.get_ref(), &beside).and_then(|secret| {
            secret.expose().parse().map_err(|error| format!("it is no signing key: {error}"))
        });
        match key {
            Ok(key) => signers.push(key),
            Err(message) => {
                check.wrong(reference.span(), message, Some("`crewgate audit new-key <name>` makes one"))
            }
        }
    }
    let seal = raw.seal_key.as_ref().and_then(|reference| {
        let seal = secret(reference.get_ref(), &beside).and_then(|secret| {
            SealKey::parse(secret.expose()).ok_or_else(|| "it is not 32 bytes in base64".to_owned())
        });
        let help = "`openssl rand -base64 32` makes one";
        seal.map_err(|message| check.wrong(reference.span(), message, Some(help))).ok()
    });
    match (raw.signing_keys.first(), &raw.seal_key) {
        (None, None) => None,
        (Some(first), Some(_)) => match Keys::new(signers, seal?) {
            Ok(keys) => Some(keys),
            Err(error) => {
                check.wrong(first.span(), error.to_string(), None);
                None
            }
        },
        (Some(one), None) | (None, Some(one)) => {
            let help = "give both, or neither: then new ones are made beside the store";
            check.wrong(one.span(), "`signing_keys` and `seal_key` belong together", Some(help));
            None
        }
    }
}

/// The least that anything is kept: what a call needs of the record is younger.
const LEAST_KEPT: Duration = Duration::from_secs(86_400);

pub(super) fn retention(check: &mut Checker<'_>, raw: &raw::Retention) -> RetentionSettings {
    let mut kept = |text: &Option<Text>| {
        check.parse(text.as_ref()?, |text| match duration(text)? {
            time if time >= LEAST_KEPT => Ok(time),
            _ => Err("a record is kept for a day at least".to_owned()),
        })
    };
    let classes = [
        (Class::Approvals, &raw.approvals),
        (Class::Calls, &raw.calls),
        (Class::House, &raw.house),
        (Class::Refusals, &raw.refusals),
    ];
    let content: BTreeMap<Class, Duration> =
        classes.into_iter().filter_map(|(class, text)| Some((class, kept(text)?))).collect();
    let leaves = kept(&raw.leaves);
    if let (Some(leaves), Some(text)) = (leaves, &raw.leaves)
        && content.values().any(|content| *content > leaves)
    {
        check.wrong(text.span(), "what lies beside leaves cannot be kept longer than they are", None);
    }
    RetentionSettings { content, leaves }
}

pub(super) fn witnesses(check: &mut Checker<'_>, raw: &raw::Record) -> Vec<WitnessSettings> {
    let witness = |raw: &raw::Witness| {
        let address = check.parse(&raw.url, |text| url(text, false));
        let key = check.parse(&raw.key, |text| match text.parse::<VerifierKey>() {
            Ok(key) if key.kind() == KeyKind::Witness => Ok(key),
            Ok(_) => Err("it is a log's key, not a witness's".to_owned()),
            Err(error) => Err(format!("it is no public key: {error}")),
        });
        Some(WitnessSettings { url: address?.to_string().trim_end_matches('/').to_owned(), key: key? })
    };
    raw.witness.iter().filter_map(witness).collect()
}
