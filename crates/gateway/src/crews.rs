//! The registered crews: settings, the way to each, and the proofs only the gateway holds.

use std::{collections::HashMap, fmt, sync::Arc};

use http::HeaderValue;

use crate::{
    client::{self, Client},
    config::CrewSettings,
};

/// One crew, ready to be called.
pub struct Crew {
    /// What was configured.
    pub settings: CrewSettings,
    /// CrewAI's key as a header, marked sensitive.
    pub(crate) authorization: HeaderValue,
    pub(crate) client: Client,
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

/// All crews by name.
#[derive(Debug, Default)]
pub struct Crews(HashMap<String, Arc<Crew>>);

impl Crews {
    /// Readies every crew.
    ///
    /// # Errors
    ///
    /// What is wrong with a crew's certificate authority or key.
    pub fn new(settings: &[CrewSettings]) -> Result<Self, String> {
        let crew = |settings: &CrewSettings| {
            let mut authorization = HeaderValue::try_from(format!("Bearer {}", settings.credential.expose()))
                .map_err(|_| format!("crew `{}`: the credential cannot stand in a header", settings.name))?;
            authorization.set_sensitive(true);
            let client = client::build(settings.ca.as_deref())
                .map_err(|e| format!("crew `{}`: {e}", settings.name))?;
            Ok((settings.name.clone(), Arc::new(Crew { settings: settings.clone(), authorization, client })))
        };
        settings.iter().map(crew).collect::<Result<_, String>>().map(Self)
    }

    /// The crew of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Crew>> {
        self.0.get(name).cloned()
    }

    /// Every crew, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Crew>> {
        self.0.values()
    }
}
