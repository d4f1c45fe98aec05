use std::{fmt, sync::Arc};

/// Declares the entities once: variant, name on the record, and what it is.
macro_rules! entities {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// What a hit is.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Entity {
            $(#[doc = $doc] $variant,)*
            /// What a [`CustomDetector`](crate::CustomDetector) finds, by its name.
            Custom(Arc<str>),
        }

        impl Entity {
            /// All built-in ones, in the order of their names' families.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name that stands in masked text and on the record.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Custom(name) => name,
                }
            }
        }
    };
}

entities! {
    Email = "EMAIL", "An e-mail address.";
    Phone = "PHONE", "A telephone number.";
    CreditCard = "CREDIT_CARD", "A payment card number: issuer range, length and Luhn check.";
    Iban = "IBAN", "An international bank account number: the country's length and mod 97 (ISO 13616).";
    IpAddress = "IP_ADDRESS", "An IPv4 or IPv6 address.";
    UsSsn = "US_SSN", "A US Social Security number in a range that is issued.";
    ApiKey = "API_KEY", "An API key or token by its published prefix and shape.";
    BearerToken = "BEARER_TOKEN", "The credentials behind `Bearer` or `Basic`.";
    Jwt = "JWT", "A JSON Web Token.";
    PrivateKey = "PRIVATE_KEY", "A PEM private key, its body included.";
    KnownSecret = "KNOWN_SECRET", "A secret the masker was told to the letter; see [`Masker::also`](crate::Masker::also).";
}

impl Entity {
    /// The built-in entity of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|entity| entity.name() == name).cloned()
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
