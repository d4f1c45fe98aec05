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
    Url = "URL", "An address of the web, or a domain named as one.";
    CreditCard = "CREDIT_CARD", "A payment card number: issuer range, length and Luhn check.";
    CardTrack = "CARD_TRACK", "A track of a card's magnetic stripe (ISO/IEC 7813).";
    Cvv = "CVV", "A card's verification code, where it is named as one.";
    CardExpiry = "CARD_EXPIRY", "A card's expiry, where it is named as one.";
    Iban = "IBAN", "An international bank account number: the country's length and mod 97 (ISO 13616).";
    Swift = "SWIFT", "A business identifier code (ISO 9362), where it is named as one.";
    AbaRouting = "ABA_ROUTING", "A US bank's routing number, where it is named as one: district and weights 3-7-1.";
    BankAccount = "BANK_ACCOUNT", "A bank account number, where it is named as one.";
    IpAddress = "IP_ADDRESS", "An IPv4 or IPv6 address.";
    MacAddress = "MAC_ADDRESS", "The hardware address of a network interface.";
    Uuid = "UUID", "A universally unique identifier (RFC 9562).";
    UsSsn = "US_SSN", "A US Social Security number in a range that is issued.";
    UsItin = "US_ITIN", "A US taxpayer identification number.";
    UsEin = "US_EIN", "A US employer identification number, where it is named as one.";
    UsPassport = "US_PASSPORT", "A passport number, where it is named as one.";
    UsDriverLicense = "US_DRIVER_LICENSE", "A US driver's license number, where it is named as one.";
    UsNpi = "US_NPI", "A US national provider identifier.";
    UsMbi = "US_MBI", "A US Medicare beneficiary identifier.";
    MedicalLicense = "MEDICAL_LICENSE", "A US prescriber's DEA registration.";
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
