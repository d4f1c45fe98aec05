//! Turns what a masker wrote back, for those a profile entitles.

use std::{collections::BTreeSet, sync::Arc};

use crewgate_core::RoleName;

use super::{Call, Masker};
use crate::{CustomDetector, Operator, Session, detect::Rule, profile::Profile};

/// What reversible operators write: `<EMAIL_1>`, `<EMAIL:v:…>`, `<EMAIL:e:KEY:…>`.
const TOKENS: &str =
    "<[A-Z][A-Z0-9_]{0,63}(?:_[0-9]{1,9}|:v:[A-Za-z0-9_-]{22}|:e:[0-9a-f]{8}:[A-Za-z0-9_-]{22,300})>";

impl Masker {
    /// Whether a profile in force entitles anybody to see what it masks.
    #[must_use]
    pub fn restores(&self) -> bool {
        self.inner.in_force.iter().any(|rule| rule.restores_for_any())
    }

    /// Turns the tokens of a run in a text that was masked back into what they stand for, where a profile in force
    /// entitles one of these roles to it; every other token stays. `None` when there is nothing these roles may see.
    #[must_use]
    pub fn restorer(&self, session: &Session, roles: BTreeSet<RoleName>) -> Option<Self> {
        let entitles =
            |rule: &Arc<Profile>| rule.restores(&roles) && rule.operators().any(Operator::is_reversible);
        if !self.inner.in_force.iter().any(entitles) {
            return None;
        }
        let (profiles, in_force) = (self.inner.profiles.clone(), self.inner.in_force.clone());
        let tokens = CustomDetector::regex("TOKEN", TOKENS).ok()?;
        let rules = vec![Rule::Custom(Arc::new(tokens))];
        let call = Call { session: session.clone(), restores_for: Some(roles), ..Call::default() };
        let masker = Self::with_rules(profiles, in_force, Vec::new(), rules);
        Some(Self { call: Some(Arc::new(call)), ..masker })
    }

    /// What a token stands for, if the profile that asked for it entitles one of these roles.
    pub(super) fn restored(&self, token: &str, roles: &BTreeSet<RoleName>) -> Option<String> {
        let name = token.strip_prefix('<')?.strip_suffix('>')?;
        let name = match name.split_once(':') {
            Some((name, _)) => name,
            None => name.rsplit_once('_')?.0,
        };
        let entity =
            self.inner.in_force.iter().flat_map(|rule| rule.entities()).find(|e| e.name() == name)?;
        let (rule, operator) = self.strictest(entity, Some(token))?;
        match operator {
            _ if !rule.restores(roles) => None,
            Operator::Encrypt(keys) => keys.decrypt(token),
            Operator::Number | Operator::Vault => self.call.as_ref()?.session.value(token),
            _ => None,
        }
    }
}
