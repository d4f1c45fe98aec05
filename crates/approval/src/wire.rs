//! Spellings of foreign types in storage.

/// [`Outgoing`](crewgate_core::Outgoing) as a map; the body in base64, because JSON has no bytes.
pub(crate) mod outgoing {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use crewgate_core::Outgoing;
    use http::{HeaderValue, Method, uri::PathAndQuery};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Stored {
        method: String,
        path: String,
        content_type: Option<String>,
        body: String,
    }

    pub(crate) fn serialize<S: Serializer>(outgoing: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        let content_type = match &outgoing.content_type {
            Some(value) => Some(value.to_str().map_err(ser::Error::custom)?.to_owned()),
            None => None,
        };
        Stored {
            method: outgoing.method.as_str().to_owned(),
            path: outgoing.path.as_str().to_owned(),
            content_type,
            body: STANDARD.encode(&outgoing.body),
        }
        .serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Outgoing, D::Error> {
        let stored = Stored::deserialize(from)?;
        Ok(Outgoing {
            method: Method::from_bytes(stored.method.as_bytes()).map_err(de::Error::custom)?,
            path: PathAndQuery::try_from(stored.path).map_err(de::Error::custom)?,
            content_type: match stored.content_type {
                Some(text) => Some(HeaderValue::try_from(text).map_err(de::Error::custom)?),
                None => None,
            },
            body: STANDARD.decode(stored.body).map_err(de::Error::custom)?.into(),
        })
    }
}
