//! `[masking]` and `[mask.<name>]`: what is masked, where, and with what.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crewgate_core::{MaskProfile, RoleName};
use crewgate_masking::{
    CardPart, CustomDetector, CustomError, Entity, Keys, Numbers, OnRequest, Operator, Place, Profile,
    Profiles, VaultKeys,
};
use toml::Spanned;

use super::{
    check::{Checker, name},
    raw,
    units::{duration, secret},
};

/// Masking as it is configured.
#[derive(Debug, Clone)]
pub struct MaskSettings {
    /// The built-in profiles and the configured ones.
    pub profiles: Profiles,
    /// What seals the numbers and tokens of runs; without it they are gone with the process.
    pub vault: Option<VaultKeys>,
    /// How long they are kept (default 30 days).
    pub keep: Duration,
}

impl MaskSettings {
    /// Whether what these keep of runs is kept as by the others: under the same keys, for as long.
    #[must_use]
    pub fn kept_alike(&self, other: &Self) -> bool {
        let keys = |masks: &Self| masks.vault.as_ref().map(|keys| keys.0.clone());
        keys(self) == keys(other) && self.keep == other.keep
    }
}

/// Profiles inside each other.
const MAX_EXTENDS: usize = 16;

pub(super) fn masks(check: &mut Checker<'_>, raw: &raw::File, roles: &BTreeSet<&str>) -> MaskSettings {
    let keys = keys(check, &raw.masking);
    let keep = check.parse_or(raw.masking.keep.as_ref(), Duration::from_secs(30 * 86_400), duration);
    let reader = Reader { raw: &raw.mask, keys: keys.clone(), roles };
    let mut profiles = Profiles::builtin();
    for (key, written) in &raw.mask {
        let short = check.parse(key, |text| match builtin(text) {
            Some(_) => Err(format!("`{text}` is a built-in profile: give another name, and extend it")),
            None => name(text),
        });
        let profile = reader.profile(check, key, written);
        if let Some(short) = short {
            profiles = profiles.with(MaskProfile::new(short), profile);
        }
    }
    MaskSettings { profiles, vault: keys.map(VaultKeys), keep }
}

fn builtin(name: &str) -> Option<Profile> {
    Profiles::builtin().find(&MaskProfile::new(name)).cloned()
}

fn keys(check: &mut Checker<'_>, raw: &raw::Masking) -> Option<Keys> {
    let (beside, mut secrets) = (check.beside(), Vec::new());
    for reference in &raw.keys {
        match secret(reference.get_ref(), &beside) {
            Ok(secret) => secrets.push(secret),
            Err(message) => check.wrong(reference.span(), message, None),
        }
    }
    let keys = Keys::new(secrets.iter().map(|secret| secret.expose().as_bytes()));
    match (keys, raw.keys.first()) {
        (Ok(keys), _) => Some(keys),
        (Err(error), Some(first)) if !secrets.is_empty() => {
            check.wrong(first.span(), error.to_string(), Some("`openssl rand -base64 32` makes one"));
            None
        }
        _ => None,
    }
}

struct Reader<'a> {
    raw: &'a BTreeMap<raw::Text, raw::Mask>,
    keys: Option<Keys>,
    roles: &'a BTreeSet<&'a str>,
}

impl Reader<'_> {
    fn profile(&self, check: &mut Checker<'_>, key: &raw::Text, raw: &raw::Mask) -> Profile {
        if self.extends_itself(key.get_ref()) {
            check.wrong(key.span(), "this profile extends itself", None);
            return Profile::default();
        }
        let before = check.found.len();
        let profile = self.found(check, raw, 0);
        if profile.entities().next().is_none() && check.found.len() == before {
            let help = "give it `extends`, `find` or a `detector`";
            check.wrong(key.span(), format!("`{}` finds nothing", key.get_ref()), Some(help));
        }
        let place = |check: &mut Checker<'_>, texts: &[raw::Text]| -> Vec<Place> {
            texts.iter().filter_map(|text| check.parse(text, str::parse)).collect()
        };
        let (only, except) = (place(check, &raw.only), place(check, &raw.except));
        let numbers = check.parse_or(raw.numbers.as_ref(), Numbers::Digits, |text| match text {
            "digits" => Ok(Numbers::Digits),
            "text" => Ok(Numbers::Text),
            "zero" => Ok(Numbers::Zero),
            _ => Err(format!("`{text}` is none of `digits`, `text` and `zero`")),
        });
        let on_request = check.parse_or(raw.on_request.as_ref(), OnRequest::Mask, |text| match text {
            "mask" => Ok(OnRequest::Mask),
            "refuse" => Ok(OnRequest::Refuse),
            _ => Err(format!("`{text}` is neither `mask` nor `refuse`")),
        });
        let known = |role: &str| match self.roles.contains(role) {
            true => Ok(RoleName::new(role)),
            false => Err(format!("no role `{role}`")),
        };
        let restorers: Vec<_> = raw.restore.iter().filter_map(|role| check.parse(role, known)).collect();
        profile.only(only).except(except).numbers(numbers).on_request(on_request).restore_for(restorers)
    }

    fn extends_itself(&self, name: &str) -> bool {
        let (mut waiting, mut seen) = (vec![name], BTreeSet::new());
        while let Some(next) = waiting.pop() {
            let written = self.raw.iter().find(|(key, _)| key.get_ref() == next);
            for other in written.iter().flat_map(|(_, written)| &written.extends) {
                if other.get_ref() == name {
                    return true;
                }
                if seen.insert(other.get_ref().as_str()) {
                    waiting.push(other.get_ref());
                }
            }
        }
        false
    }

    /// What it looks for and leaves, with what it extends.
    fn found(&self, check: &mut Checker<'_>, raw: &raw::Mask, depth: usize) -> Profile {
        let mut profile = Profile::default();
        for other in &raw.extends {
            profile = profile.extending(&self.extended(check, other, depth));
        }
        for custom in &raw.detector {
            if let Some(custom) = detector(check, custom) {
                profile = profile.detect(custom);
            }
        }
        for value in &raw.allow {
            profile = profile.allow(value.as_str());
        }
        if let Some(written) = &raw.operator
            && let Some(Some(operator)) = self.operator(check, written)
        {
            // What it cannot stand on keeps the operator it has, which is stricter.
            for entity in profile.entities().cloned().collect::<Vec<_>>() {
                profile = profile.clone().with(entity, operator.clone()).unwrap_or(profile);
            }
        }
        for (key, written) in &raw.find {
            let custom = profile.entities().find(|entity| entity.name() == key.get_ref()).cloned();
            let entity =
                check.parse(key, |name| custom.or_else(|| Entity::named(name)).ok_or_else(|| unknown(name)));
            let (Some(entity), Some(operator)) = (entity, self.operator(check, written)) else { continue };
            let Some(operator) = operator else {
                profile = profile.without(&entity);
                continue;
            };
            match profile.clone().with(entity, operator) {
                Ok(more) => profile = more,
                Err(error) => check.wrong(written.span(), error.to_string(), None),
            }
        }
        profile
    }

    fn extended(&self, check: &mut Checker<'_>, other: &raw::Text, depth: usize) -> Profile {
        if let Some(builtin) = builtin(other.get_ref()) {
            return builtin;
        }
        let written = self.raw.iter().find(|(key, _)| key.get_ref() == other.get_ref());
        match written {
            Some(_) if depth >= MAX_EXTENDS => Profile::default(),
            // What is wrong in it is told where it stands, and once.
            Some((_, written)) => {
                let told = check.found.len();
                let profile = self.found(check, written, depth + 1);
                check.found.truncate(told);
                profile
            }
            None => {
                check.wrong(other.span(), format!("no mask profile `{}`", other.get_ref()), None);
                Profile::default()
            }
        }
    }

    /// `None` when it is wrong, `Some(None)` for `ignore`.
    fn operator(
        &self,
        check: &mut Checker<'_>,
        written: &Spanned<raw::MaskOperator>,
    ) -> Option<Option<Operator>> {
        match self.operator_of(written.get_ref()) {
            Ok(operator) => Some(operator),
            Err((message, help)) => {
                check.wrong(written.span(), message, help);
                None
            }
        }
    }

    fn operator_of(
        &self,
        written: &raw::MaskOperator,
    ) -> Result<Option<Operator>, (String, Option<&'static str>)> {
        let keys = || {
            let help = "`[masking] keys = [{ file = \"mask.key\" }]`; `openssl rand -base64 32` makes one";
            self.keys.clone().ok_or(("this operator needs a key".to_owned(), Some(help)))
        };
        let table = match written {
            raw::MaskOperator::Word(word) => {
                return Ok(Some(match word.as_str() {
                    "block" => Operator::Block,
                    "card" => Operator::Card(keys()?, CardPart::None),
                    "encrypt" => Operator::Encrypt(keys()?),
                    "hash" => Operator::Hash(keys()?),
                    "ignore" => return Ok(None),
                    "number" => Operator::Number,
                    "redact" => Operator::Redact,
                    "type" => Operator::Tag,
                    "vault" => {
                        keys()?;
                        Operator::Vault
                    }
                    _ => return Err((format!("no operator `{word}`"), Some(OPERATORS))),
                }));
            }
            raw::MaskOperator::Table(table) => table,
        };
        match table {
            raw::MaskTable {
                text: Some(text),
                keep_first: None,
                keep_last: None,
                shift_days: None,
                card: None,
            } => {
                if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) || text.len() > 200 {
                    let message = "a text must be short, and without quotation marks, backslashes and control characters";
                    return Err((message.to_owned(), None));
                }
                Ok(Some(Operator::Text(text.as_str().into())))
            }
            raw::MaskTable {
                text: None,
                keep_first: Some(n),
                keep_last: None,
                shift_days: None,
                card: None,
            } => Ok(Some(Operator::KeepFirst(*n))),
            raw::MaskTable {
                text: None,
                keep_first: None,
                keep_last: Some(n),
                shift_days: None,
                card: None,
            } => Ok(Some(Operator::KeepLast(*n))),
            raw::MaskTable {
                text: None,
                keep_first: None,
                keep_last: None,
                shift_days: Some(n),
                card: None,
            } if *n > 0 => Ok(Some(Operator::ShiftDate(*n))),
            raw::MaskTable {
                text: None,
                keep_first: None,
                keep_last: None,
                shift_days: None,
                card: Some(part),
            } => {
                let part = match part.as_str() {
                    "bin" => CardPart::Bin,
                    "last_four" => CardPart::LastFour,
                    _ => return Err((format!("`{part}` is neither `bin` nor `last_four`"), None)),
                };
                Ok(Some(Operator::Card(keys()?, part)))
            }
            _ => Err(("one operator has one setting".to_owned(), Some(OPERATORS))),
        }
    }
}

const OPERATORS: &str = "`type`, `redact`, `block`, `number`, `hash`, `encrypt`, `vault`, `card`, `ignore`, { text = … }, \
                         { keep_first = n }, { keep_last = n }, { card = \"bin\" }, { shift_days = n }";

fn unknown(name: &str) -> String {
    let close = Entity::ALL
        .iter()
        .map(Entity::name)
        .find(|known| known.eq_ignore_ascii_case(name) || known.contains(&name.to_ascii_uppercase()));
    match close {
        Some(known) => format!("no entity `{name}`; there is `{known}`"),
        None => format!("no entity `{name}`; `crewgate mask entities` lists them"),
    }
}

fn detector(check: &mut Checker<'_>, raw: &raw::MaskDetector) -> Option<CustomDetector> {
    let made = match (&raw.regex, &raw.words) {
        (Some(regex), None) => {
            CustomDetector::regex(raw.name.get_ref(), regex.get_ref()).map_err(|error| (regex.span(), error))
        }
        (None, Some(words)) => {
            CustomDetector::words(raw.name.get_ref(), words.get_ref().iter().map(String::as_str))
                .map_err(|error| (words.span(), error))
        }
        _ => {
            check.wrong(raw.name.span(), "a detector has exactly one of `regex` and `words`", None);
            return None;
        }
    };
    match made {
        Ok(detector) => Some(
            detector
                .near(raw.near.iter().map(String::as_str))
                .allowing(raw.allow.iter().map(String::as_str))
                .with_least_entropy(raw.least_entropy.unwrap_or_default()),
        ),
        Err((span, error)) => {
            let span = match error {
                CustomError::Name | CustomError::NameTaken => raw.name.span(),
                _ => span,
            };
            check.wrong(span, error.to_string(), None);
            None
        }
    }
}
