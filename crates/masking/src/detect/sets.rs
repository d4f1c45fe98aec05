//! What the built-in profiles look for.

use crate::Entity::{self, *};

/// Names of the built-in profiles, each with the sets it looks for.
pub(crate) const BUILT_IN: &[(&str, &[&[Entity]])] = &[
    ("secrets", &[SECRETS]),
    ("payment", &[PAYMENT]),
    ("pii-basic", &[SECRETS, BASIC]),
    ("pii-strict", &[SECRETS, BASIC, PAYMENT, STRICT]),
];

/// What opens something.
const SECRETS: &[Entity] = &[ApiKey, BearerToken, Jwt, PrivateKey];

/// Cards and accounts.
const PAYMENT: &[Entity] = &[CreditCard, CardTrack, Cvv, CardExpiry, Iban, Swift, AbaRouting, BankAccount];

/// What is told from its shape alone, nearly without mistakes.
const BASIC: &[Entity] = &[Email, Phone, CreditCard, Iban, IpAddress, UsSsn];

/// All else that leads to a person. Neither dates, which are everywhere, nor UUIDs, which name things.
const STRICT: &[Entity] =
    &[Url, MacAddress, UsItin, UsEin, UsPassport, UsDriverLicense, UsNpi, UsMbi, MedicalLicense];
