use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Anchor, Detector, Entity, Match, Tail,
    boundary::{anywhere, word_start},
};

pub(super) const TABLE: &[Detector] = &[JWT, PRIVATE_KEY, API_KEY, BEARER];

const JWT: Detector = Detector {
    name: "jwt",
    entity: Entity::Jwt,
    anchor: Anchor::Prefix(&["eyJ"]),
    pattern: r"eyJ[A-Za-z0-9_-]{8,}\.?",
    begins_behind: word_start,
    validate: |found, _| {
        let Some(header) = found.text.strip_suffix('.') else {
            // A header longer than the window: nobody writes such a word, and it opens like a JSON object.
            return (found.text.len() >= super::WINDOW - 4).then_some(found.text.len());
        };
        // RFC 7515 section 4.1.1: the header is JSON with an `alg`.
        let json = URL_SAFE_NO_PAD.decode(header).ok()?;
        json.windows(5).any(|five| five == b"\"alg\"").then_some(found.text.len())
    },
    tail: Tail::Token,
    context: &[],
    #[cfg(test)]
    examples: &["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."],
    #[cfg(test)]
    counter_examples: &["eyJhbGciOiJIUzI1NiJ9", "eyJmb28iOiJiYXIifQ.x.y", "eyJeyJeyJeyJ"],
};

const PRIVATE_KEY: Detector = Detector {
    name: "private-key",
    entity: Entity::PrivateKey,
    anchor: Anchor::Prefix(&["-----BEGIN "]),
    pattern: r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    begins_behind: anywhere,
    validate: |found, _| Some(found.text.len()),
    tail: Tail::Pem,
    context: &[],
    #[cfg(test)]
    examples: &[
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhk\n-----END PRIVATE KEY-----",
        "⟦-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----⟧ and more",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhk",
    ],
    #[cfg(test)]
    counter_examples: &["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "BEGIN PRIVATE KEY"],
};

const API_KEY: Detector = Detector {
    name: "api-key",
    entity: Entity::ApiKey,
    anchor: Anchor::Prefix(&[
        "AIza",
        "AKIA",
        "ASIA",
        "SG.",
        "cgr_",
        "dapi",
        "dop_v1_",
        "gh",
        "github_pat_",
        "glpat-",
        "hf_",
        "hvs.",
        "npm_",
        "pypi-",
        "rk_",
        "sk_",
        "sk-",
        "shpat_",
        "xox",
    ]),
    pattern: r"(?:AIza[A-Za-z0-9_.-]{35}|A[KS]IA[A-Z0-9]{16}|(?:SG\.|glpat-|hvs\.)[A-Za-z0-9_.-]{20}|cgr_[A-Za-z0-9]{64}|dapi[A-Za-z0-9]{32}|dop_v1_[A-Za-z0-9]{40}|(?:gh[opsur]_|github_pat_|hf_|npm_|pypi-|shpat_)[A-Za-z0-9_.-]{30}|(?:[rs]k_(?:live|test)_|sk-|xox[abprs]-)[A-Za-z0-9_.-]{16})[A-Za-z0-9_.-]*",
    begins_behind: word_start,
    validate: |found, _| has_digit(found).then_some(found.text.len()),
    tail: Tail::Token,
    context: &[],
    #[cfg(test)]
    examples: &[
        "sk-proj-abc123def456ghi789",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "xoxb-123456789012-abcdef",
    ],
    #[cfg(test)]
    counter_examples: &[
        "sk-learn",
        "task-123456789012345678",
        "hf_model",
        "sk-abcdefghijklmnopqrstuvwxyz",
        "AKIA",
    ],
};

const BEARER: Detector = Detector {
    name: "bearer",
    entity: Entity::BearerToken,
    anchor: Anchor::PrefixNoCase(&["bearer ", "basic "]),
    // Twelve characters with a digit: CrewAI's own keys are twelve; prose behind the word has no digits.
    pattern: r"(?i:bearer|basic) [A-Za-z0-9._~+/=-]{12,}",
    begins_behind: word_start,
    validate: |found, _| has_digit(found).then_some(found.text.len()),
    tail: Tail::Token,
    context: &[],
    #[cfg(test)]
    examples: &[
        "Bearer abcdef012345",
        "bearer YWxhZGRpbjpvcGVuIHNlc2FtZTE=",
        "Basic YWxhZGRpbjpvcGVuc2VzYW1lMQ==",
    ],
    #[cfg(test)]
    counter_examples: &[
        "bearer authentication",
        "the bearer of this",
        "Bearer short1",
        "forbearer abcdef012345",
    ],
};

fn has_digit(found: &Match<'_>) -> bool {
    found.text.bytes().any(|b| b.is_ascii_digit())
}
