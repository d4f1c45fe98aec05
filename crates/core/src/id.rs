use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is not an id: not the 36 characters of a hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a hyphenated UUID")
    }
}

impl std::error::Error for InvalidId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $fresh:literal, $random:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            #[doc = $fresh]
            ///
            /// # Panics
            ///
            /// When the operating system has no randomness to give; without it no id could be trusted.
            #[must_use]
            pub fn random() -> Self {
                Self($random)
            }

            /// The id with these bits.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id's bits.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Reads the hyphenated form only: one spelling per id.
            ///
            /// # Errors
            ///
            /// [`InvalidId`] for braces, `urn:uuid:`, the 32-digit form or anything else.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident) => {
        id!(
            $(#[$doc])*
            $name,
            "A fresh id: a version 4 UUID with 122 random bits.",
            Uuid::new_v4()
        );
    };
}

id!(
    /// One HTTP request as the gateway counts it; sent back as `Request-Id`.
    RequestId,
    "A fresh id: a version 7 UUID with 74 random bits. It begins with the time in milliseconds, so that what is sorted by
    it grows at its end: an index in which each new id falls somewhere else costs a page for each.",
    timed()
);
id!(
    /// One run of a crew: Crewgate's own kickoff id. The caller never sees the upstream's.
    RunId
);
id!(
    /// One task of a run that waits for a person: Crewgate's own task id.
    TaskId
);
id!(
    /// One approval of one exact request.
    ApprovalId
);
id!(
    /// One approver's voice, lent to somebody until an instant.
    DelegationId
);
id!(
    /// One role given to one principal until an instant.
    GrantId
);

fn timed() -> Uuid {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Of a version 4 UUID the bytes that are random to the last bit.
    let [a, b, c, d, e, f, _, _, _, g, h, i, j, ..] = Uuid::new_v4().into_bytes();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &[a, b, c, d, e, f, g, h, i, j]).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = RunId::random();
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        let bare = id.as_uuid().simple().to_string();
        assert_eq!(bare.parse::<RunId>(), Err(InvalidId));
        assert_eq!(format!("{{{id}}}").parse::<RunId>(), Err(InvalidId));
        assert_eq!("not-an-id".parse::<RunId>(), Err(InvalidId));
    }

    #[test]
    fn an_id_is_a_random_uuid() {
        assert_eq!(ApprovalId::random().as_uuid().get_version_num(), 4);
        assert_ne!(ApprovalId::random(), ApprovalId::random());
    }

    #[test]
    fn a_requests_id_begins_with_its_time() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let [first, second] = [(); 2].map(|()| RequestId::random().as_uuid());
        assert_eq!((first.get_version_num(), first.get_variant()), (7, uuid::Variant::RFC4122));
        assert_ne!(first, second);
        let millis = first.as_u128() >> 80;
        assert!((before..=before + 10_000).contains(&millis), "{millis}");
    }
}
