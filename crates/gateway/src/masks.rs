//! Which masks apply where.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use crewgate_core::{Decision, MaskProfile, Operation, Outgoing};
use crewgate_masking::{Mask, Masker, Profiles};
use http::Extensions;

use crate::crews::Crews;

/// The profile every stored or shown request is masked with, whatever policy says of its answer.
const STORED: &str = "pii-basic";

/// The masks of a request: its crew's floor and its decision's duties.
#[derive(Debug, Clone)]
pub(crate) struct Masks {
    profiles: Profiles,
    crews: Arc<Crews>,
}

impl Masks {
    /// Over these profiles and crews.
    #[must_use]
    pub(crate) fn new(profiles: Profiles, crews: Arc<Crews>) -> Self {
        Self { profiles, crews }
    }

    fn floor(&self, crew: &str) -> Option<BTreeSet<MaskProfile>> {
        self.crews.find(crew).map(|crew| crew.settings.floor.clone())
    }

    /// For what is stored about a crew, or shown to people who decide.
    #[must_use]
    pub(crate) fn stored(&self, crew: &str) -> Option<Masker> {
        let mut profiles = self.floor(crew)?;
        profiles.insert(MaskProfile::new(STORED));
        self.profiles.masker(&profiles)
    }

    /// The body of a request as it may be stored: `None` where there is none, and nothing of one that cannot be masked.
    #[must_use]
    pub(crate) fn stored_body(&self, extensions: &Extensions) -> Option<Bytes> {
        let (operation, outgoing) = (extensions.get::<Operation>()?, extensions.get::<Outgoing>()?);
        if outgoing.body.is_empty() {
            return None;
        }
        let body = with_own_ids(operation, outgoing)?;
        let masked = self.stored(&operation.resource.name)?.mask_json(body.as_bytes()).ok()?;
        Some(Bytes::from(masked.text))
    }
}

/// For answers. An undecided request has no masker: it is refused.
impl Mask for Masks {
    fn masker(&self, extensions: &Extensions) -> Option<Masker> {
        let operation = extensions.get::<Operation>()?;
        let duties = extensions.get::<Decision>()?.duties()?;
        let mut profiles = self.floor(&operation.resource.name)?;
        profiles.extend(duties.masks.iter().cloned());
        self.profiles.masker(&profiles)
    }
}

/// What will be sent, with our ids in the places of CrewAI's: whoever reads it later knows only ours.
pub(crate) fn with_own_ids(operation: &Operation, outgoing: &Outgoing) -> Option<String> {
    let body = std::str::from_utf8(&outgoing.body).ok()?.to_owned();
    let known = operation.ids.iter().filter_map(|id| Some((id.upstream.as_deref()?, id.own)));
    Some(known.fold(body, |body, (upstream, own)| body.replace(upstream, &own.to_string())))
}
