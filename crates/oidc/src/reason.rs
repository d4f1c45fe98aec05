use http::StatusCode;
use serde::Serialize;

/// One check of the pipeline, in the order they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// One `Authorization` header with the scheme `Bearer`.
    Credentials,
    /// Three base64url segments of bounded size.
    Shape,
    /// A strict JSON header without critical extensions or keys of its own.
    Header,
    /// `iss` is, to the letter, one of the configured issuers.
    Issuer,
    /// `alg` is on the issuer's list.
    Algorithm,
    /// The issuer's keys are known and not too old.
    Keys,
    /// One key of this issuer has this `kid` and is meant for this algorithm.
    Key,
    /// The signature is this key's.
    Signature,
    /// The kind of token is an access token, or what the issuer is configured to send.
    Type,
    /// `sub`, `aud`, `exp`, `iat` are there and all registered claims have their type.
    Claims,
    /// `aud` contains one of our names.
    Audience,
    /// The token is valid now, and not for longer than the issuer may make it.
    Time,
    /// The token was issued to an accepted client, and its claims are those the issuer's settings and profile demand.
    Requirements,
    /// The groups are all there.
    Groups,
    /// Whoever sends the token is the one it is bound to.
    Binding,
    /// Neither the token nor all of its subject, client or issuer are revoked.
    Revocation,
}

impl Step {
    /// All steps in order.
    pub const ALL: [Self; 16] = [
        Self::Credentials,
        Self::Shape,
        Self::Header,
        Self::Issuer,
        Self::Algorithm,
        Self::Keys,
        Self::Key,
        Self::Signature,
        Self::Type,
        Self::Claims,
        Self::Audience,
        Self::Time,
        Self::Requirements,
        Self::Groups,
        Self::Binding,
        Self::Revocation,
    ];
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $step:ident, $status:ident, $summary:literal, $expected:literal, $advice:literal;)*) => {
        /// Why a token was not accepted; [`code`](Self::code) is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable machine-readable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The check that fails with this reason.
            #[must_use]
            pub fn step(self) -> Step {
                match self { $(Self::$name => Step::$step,)* }
            }

            /// Status of the answer.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What was wrong, as one clause.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$name => $summary,)* }
            }

            /// What is accepted, in the words of the configuration; a [`Rejection`](crate::Rejection) may know it closer.
            #[must_use]
            pub fn expected(self) -> &'static str {
                match self { $(Self::$name => $expected,)* }
            }

            /// What to do about it, as sentences.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

reasons! {
    /// No `Authorization` header.
    Missing = "token_missing", Credentials, UNAUTHORIZED,
        "no bearer token was sent",
        "one Authorization header with a bearer token",
        "Send `Authorization: Bearer <token>` with a token of a configured issuer.";
    /// Another scheme than `Bearer`.
    Scheme = "token_scheme", Credentials, UNAUTHORIZED,
        "the Authorization header has neither the scheme Bearer nor, where it is accepted, DPoP",
        "the scheme Bearer, or DPoP where proofs are read",
        "Send `Authorization: Bearer <token>`.";
    /// The scheme `DPoP` without exactly one proof.
    ProofMissing = "proof_missing", Credentials, BAD_REQUEST,
        "the scheme DPoP needs exactly one DPoP header",
        "one DPoP header beside the scheme DPoP",
        "Send one proof.";
    /// More than one `Authorization` header.
    Repeated = "token_repeated", Credentials, BAD_REQUEST,
        "the request has more than one Authorization header",
        "one Authorization header",
        "Send exactly one.";
    /// A token in the query string.
    InQuery = "token_in_query", Credentials, BAD_REQUEST,
        "the request carries an access_token in its query, where logs and proxies keep it",
        "a token in the Authorization header alone",
        "Send the token in the Authorization header, and replace it: it must be taken for leaked.";
    /// Not three bounded base64url segments with JSON objects in them.
    Malformed = "token_malformed", Shape, UNAUTHORIZED,
        "the token is not a signed JWT in compact form",
        "three base64url segments of at most 16 KiB",
        "Send an access token, not an opaque or encrypted token or an API key.";
    /// A header that asks for what no token may ask for.
    HeaderRefused = "token_header", Header, UNAUTHORIZED,
        "the token's header has a member that is not accepted",
        "a header of alg, kid and typ",
        "Ask the issuer for a plain signed JWT.";
    /// `iss` names no configured issuer.
    IssuerUnknown = "token_issuer_unknown", Issuer, UNAUTHORIZED,
        "the token's issuer is not configured here",
        "the URL of a configured issuer in iss",
        "Get the token from a configured issuer; the URL must be equal to the letter, final slash included.";
    /// `alg` is not on the issuer's list, or not what the key is for.
    AlgRefused = "token_alg_refused", Algorithm, UNAUTHORIZED,
        "the token's signature algorithm is not accepted",
        "an algorithm of the issuer's `algorithms`",
        "Configure the issuer to sign with an accepted algorithm.";
    /// The issuer's keys are not known (yet), or too old.
    IssuerNotReady = "issuer_not_ready", Keys, SERVICE_UNAVAILABLE,
        "the issuer's keys could not be fetched",
        "keys of the issuer that are younger than its `keep_keys`",
        "This is not about the token: try again shortly.";
    /// Its issuer does not vouch for it.
    Inactive = "token_inactive", Signature, UNAUTHORIZED,
        "the token's issuer says that it is not active",
        "active as true in the issuer's answer",
        "Get a fresh one.";
    /// No key of that id.
    KeyUnknown = "token_key_unknown", Key, UNAUTHORIZED,
        "the issuer has not published the key this token names",
        "a kid among the issuer's published keys",
        "Get a fresh token; after a key rotation old ones end early.";
    /// The signature does not match.
    Signature = "token_signature", Signature, UNAUTHORIZED,
        "the token's signature is not right",
        "the signature of the key that the header names",
        "Get a fresh token and send it unchanged.";
    /// Another kind of token.
    Type = "token_type", Type, UNAUTHORIZED,
        "the token is of another kind than an access token",
        "typ of an access token, or the issuer's `token_type`",
        "Send the access token, not the ID token or a proof.";
    /// A required claim is missing or has the wrong type.
    Claims = "token_claims", Claims, UNAUTHORIZED,
        "a claim of the token is missing or has the wrong type",
        "sub, aud, exp and iat of the right types",
        "Configure the issuer to put sub, aud, exp and iat into its access tokens.";
    /// `aud` does not contain our name.
    Audience = "token_audience", Audience, UNAUTHORIZED,
        "the token is meant for another service",
        "a name of the issuer's `audience` in aud",
        "Ask the issuer for a token with this audience.";
    /// `exp` is over.
    Expired = "token_expired", Time, UNAUTHORIZED,
        "the token has expired",
        "exp that lies ahead, but for the issuer's `skew`",
        "Get a fresh one.";
    /// `nbf` or `iat` lies ahead.
    NotYetValid = "token_not_yet_valid", Time, UNAUTHORIZED,
        "the token is not valid yet",
        "nbf and iat that do not lie ahead, but for the issuer's `skew`",
        "Check the clocks of the issuer and of this machine.";
    /// `exp` − `iat` is more than the issuer may give.
    Lifetime = "token_lifetime", Time, UNAUTHORIZED,
        "the token lives longer than is accepted of its issuer",
        "exp within the issuer's `max_lifetime` of iat",
        "Configure a shorter lifetime for access tokens at the issuer.";
    /// Issued to a client that is not on the list.
    ClientRefused = "token_client", Requirements, UNAUTHORIZED,
        "the token was issued to a client that is not accepted",
        "a client of the issuer's `clients`",
        "Use one of the accepted clients, or ask the operators to add this one.";
    /// A claim that settings or profile demand is missing or has another value: a tenant, a domain, an owner.
    Requirement = "token_requirement", Requirements, UNAUTHORIZED,
        "the token does not have what is demanded of this issuer's tokens",
        "the claims of the issuer's `require` and of its profile",
        "Get the token from the tenant, domain, project or event that is accepted; `crewgate token explain` names it.";
    /// `cnf`: only its holder may use it, and nothing came that proves to be the holder.
    Bound = "token_bound", Binding, UNAUTHORIZED,
        "the token is bound to a key (cnf), which plain Bearer does not prove",
        "a proof of the key, or the certificate, of cnf",
        "Send it with the scheme DPoP and a proof, or over the client certificate it is bound to.";
    /// A proof beside a token that is bound to no key.
    NotBound = "token_not_bound", Binding, UNAUTHORIZED,
        "the token came with a proof and is not bound to a key",
        "a token with cnf beside a proof",
        "Ask the issuer for a token with a DPoP proof, or send this one as Bearer.";
    /// A proof that does not prove it (RFC 9449 section 4.3).
    Proof = "proof_refused", Binding, UNAUTHORIZED,
        "the DPoP proof is not right",
        "a DPoP proof of RFC 9449 for this request",
        "Make a new proof for every request, with the key the token is bound to.";
    /// A proof without a nonce of ours.
    NonceWanted = "proof_nonce", Binding, UNAUTHORIZED,
        "the DPoP proof must contain the nonce of this answer",
        "the nonce of the answer in the proof (`demand_dpop_nonce`)",
        "Repeat the request with the value of DPoP-Nonce in the proof.";
    /// Too many proofs to remember them all.
    ProofsFull = "proofs_full", Binding, SERVICE_UNAVAILABLE,
        "too many proofs came to remember them all",
        "room to remember a proof",
        "Try again shortly.";
    /// Bound to another client certificate than that of the connection.
    CertificateOther = "token_certificate", Binding, UNAUTHORIZED,
        "the token is bound to another client certificate",
        "the certificate whose SHA-256 is x5t#S256 of cnf",
        "Connect with the certificate the token was asked for with.";
    /// All tokens of its issuer until then are revoked.
    IssuerRevoked = "issuer_revoked", Revocation, UNAUTHORIZED,
        "the tokens of this issuer that are as old as this one are revoked",
        "iat after the revocation of the issuer",
        "Get a fresh one.";
    /// All tokens of its subject until then are revoked.
    SubjectRevoked = "subject_revoked", Revocation, UNAUTHORIZED,
        "the tokens of this subject that are as old as this one are revoked",
        "iat after the revocation of the subject",
        "Log in again and get a fresh one; who may revoke can say why (`crewgate revoke --list`).";
    /// All tokens of its client until then are revoked.
    ClientRevoked = "client_revoked", Revocation, UNAUTHORIZED,
        "the tokens of this client that are as old as this one are revoked",
        "iat after the revocation of the client",
        "Get a fresh one; who may revoke can say why (`crewgate revoke --list`).";
    /// This token is revoked.
    TokenRevoked = "token_revoked", Revocation, UNAUTHORIZED,
        "this token is revoked",
        "a jti that is not revoked",
        "Get a fresh one; who may revoke can say why (`crewgate revoke --list`).";
    /// What is revoked is not known.
    RevocationsUnknown = "revocations_unknown", Revocation, SERVICE_UNAVAILABLE,
        "what is revoked cannot be read",
        "revocations that were read a moment ago",
        "This is not about the token: try again shortly.";
    /// The issuer left the groups out because there are too many.
    GroupsOverage = "token_groups_overage", Groups, UNAUTHORIZED,
        "the issuer left the groups out of the token because there are too many",
        "all groups in the token",
        "Emit only the groups assigned to this application, or use application roles.";
}

impl Reason {
    /// Whether the answer says how to prove possession of a key.
    pub(crate) fn is_about_proof(self) -> bool {
        matches!(self, Self::Bound | Self::Proof | Self::ProofMissing | Self::NonceWanted)
    }

    /// The RFC 6750 error of the challenge: none when no usable credentials were sent.
    pub(crate) fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::Scheme => None,
            // RFC 9449 sections 7.1 and 9.
            Self::Proof => Some("invalid_dpop_proof"),
            Self::NonceWanted => Some("use_dpop_nonce"),
            _ => Some("invalid_token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_every_step_is_in_the_order_of_the_pipeline() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let told = [reason.code(), reason.summary(), reason.expected(), reason.advice()];
            assert!(told.iter().all(|text| !text.is_empty()), "{reason:?}");
            assert!(reason.advice().ends_with('.') && !reason.expected().ends_with('.'), "{reason:?}");
        }
        assert!(Step::ALL.is_sorted());
        for step in Step::ALL {
            assert!(Reason::ALL.iter().any(|reason| reason.step() == step), "{step:?} can fail");
        }
    }
}
