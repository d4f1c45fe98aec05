//! The configuration file as written: strict, with the place of every value that a check may complain about.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A string with its place in the file.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) gateway: Gateway,
    pub(super) console: Option<Console>,
    pub(super) ops: Option<Ops>,
    #[serde(default, rename = "issuer")]
    pub(super) issuers: Vec<Issuer>,
    #[serde(default, rename = "crew")]
    pub(super) crews: Vec<Crew>,
    #[serde(default, rename = "role")]
    pub(super) roles: Vec<Role>,
    #[serde(default)]
    pub(super) approvers: Vec<Approvers>,
    pub(super) break_glass: Option<BreakGlass>,
    #[serde(default, rename = "person")]
    pub(super) persons: Vec<Person>,
    pub(super) policy: Policy,
    pub(super) store: Store,
    #[serde(default)]
    pub(super) approval: Approval,
    #[serde(default)]
    pub(super) record: Record,
    #[serde(default)]
    pub(super) revocation: RevocationTable,
    pub(super) exchange: Option<Exchange>,
    #[serde(default)]
    pub(super) events: Vec<Events>,
    #[serde(default, rename = "export")]
    pub(super) exports: Vec<Export>,
    #[serde(default)]
    pub(super) notify: Vec<Notify>,
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    #[serde(default)]
    pub(super) masking: Masking,
    #[serde(default)]
    pub(super) mask: BTreeMap<Text, Mask>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Masking {
    #[serde(default)]
    pub(super) keys: Vec<Spanned<SecretRef>>,
    pub(super) keep: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mask {
    #[serde(default)]
    pub(super) extends: Vec<Text>,
    pub(super) operator: Option<Spanned<MaskOperator>>,
    #[serde(default)]
    pub(super) find: BTreeMap<Text, Spanned<MaskOperator>>,
    #[serde(default)]
    pub(super) only: Vec<Text>,
    #[serde(default)]
    pub(super) except: Vec<Text>,
    #[serde(default)]
    pub(super) allow: Vec<String>,
    pub(super) numbers: Option<Text>,
    pub(super) on_request: Option<Text>,
    #[serde(default)]
    pub(super) restore: Vec<Text>,
    #[serde(default)]
    pub(super) detector: Vec<MaskDetector>,
}

/// `"number"`, `{ keep_last = 4 }`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an operator is a word like `type`, or a table like `{ keep_last = 4 }`")]
pub(super) enum MaskOperator {
    Word(String),
    Table(MaskTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MaskTable {
    pub(super) text: Option<String>,
    pub(super) keep_first: Option<u8>,
    pub(super) keep_last: Option<u8>,
    pub(super) shift_days: Option<u16>,
    pub(super) card: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MaskDetector {
    pub(super) name: Text,
    pub(super) regex: Option<Text>,
    pub(super) words: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub(super) near: Vec<String>,
    #[serde(default)]
    pub(super) allow: Vec<String>,
    pub(super) least_entropy: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) listen: Text,
    pub(super) tls: Option<Tls>,
    pub(super) public_url: Option<Text>,
    #[serde(default)]
    pub(super) demand_dpop_nonce: bool,
    #[serde(default)]
    pub(super) dangerously_plain_http: bool,
    #[serde(default)]
    pub(super) dangerously_turn_time_back: bool,
    pub(super) max_body_bytes: Option<Spanned<u64>>,
    pub(super) max_connections: Option<Spanned<u32>>,
    pub(super) max_calls: Option<Spanned<u32>>,
    pub(super) per_address: Option<Text>,
    pub(super) header_timeout: Option<Text>,
    pub(super) request_timeout: Option<Text>,
    pub(super) drain_timeout: Option<Text>,
    pub(super) idempotency: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Text,
    pub(super) key: Text,
    #[serde(default)]
    pub(super) client_certificates: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Console {
    pub(super) listen: Text,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) dangerously_plain_http: bool,
    pub(super) public_url: Option<Text>,
    pub(super) login: Option<Login>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) issuer: Text,
    pub(super) client_id: Text,
    pub(super) client_secret: Option<Spanned<SecretRef>>,
    #[serde(default)]
    pub(super) scopes: Vec<Text>,
    #[serde(default)]
    pub(super) acr: Vec<Text>,
    pub(super) fresh: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ops {
    pub(super) listen: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) name: Text,
    pub(super) url: Text,
    pub(super) audience: Spanned<Vec<String>>,
    pub(super) jwks_uri: Option<Text>,
    pub(super) algorithms: Option<Spanned<Vec<String>>>,
    pub(super) profile: Option<Text>,
    pub(super) groups: Option<Spanned<ClaimPaths>>,
    #[serde(default)]
    pub(super) require: BTreeMap<String, Spanned<OneOrMore>>,
    pub(super) clients: Option<Spanned<Vec<String>>>,
    pub(super) trust_domain: Option<Text>,
    pub(super) token_type: Option<Text>,
    pub(super) max_lifetime: Option<Text>,
    pub(super) skew: Option<Text>,
    pub(super) refresh_keys: Option<Text>,
    pub(super) keep_keys: Option<Text>,
    pub(super) introspection: Option<Introspection>,
    pub(super) kind: Option<Text>,
    pub(super) ca: Option<Text>,
    pub(super) private_network: Option<bool>,
    #[serde(default)]
    pub(super) dangerously_allow_http: bool,
    #[serde(default)]
    pub(super) dangerously_accept_pull_requests: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Introspection {
    pub(super) url: Text,
    pub(super) client_id: Text,
    pub(super) client_secret: Spanned<SecretRef>,
    pub(super) prefix: Option<Text>,
    #[serde(default)]
    pub(super) signed: bool,
}

/// `"groups"`, `"realm_access.roles"`, a list of names for a claim whose name holds dots, or a list of such lists for
/// several claims.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ClaimPaths {
    Dotted(String),
    Names(Vec<String>),
    Several(Vec<Vec<String>>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Crew {
    pub(super) name: Text,
    pub(super) url: Text,
    pub(super) credential: Spanned<SecretRef>,
    #[serde(default)]
    pub(super) fleet: Vec<Text>,
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, Spanned<Input>>,
    pub(super) undeclared_inputs: Option<Text>,
    #[serde(default, rename = "prompt")]
    pub(super) prompt_list: Vec<Prompt>,
    pub(super) prompts: Option<Text>,
    #[serde(default, rename = "operation")]
    pub(super) operations: Vec<Operation>,
    #[serde(default)]
    pub(super) human_input: bool,
    pub(super) mask: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub(super) dangerously_unmasked: bool,
    pub(super) hold: Option<Text>,
    pub(super) release: Option<Text>,
    pub(super) runs: Option<Text>,
    pub(super) groups_max_age: Option<Text>,
    pub(super) timeout: Option<Text>,
    pub(super) ca: Option<Text>,
    pub(super) mode: Option<Text>,
    pub(super) until: Option<Text>,
    pub(super) dangerously_accept_shared_key: Option<Spanned<SharedKey>>,
}

/// An operation beside CrewAI's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operation {
    pub(super) action: Text,
    pub(super) method: Text,
    pub(super) path: Text,
    pub(super) effect: Option<Text>,
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, Spanned<Input>>,
    pub(super) undeclared_inputs: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    #[serde(rename = "type")]
    pub(super) kind: Text,
    #[serde(default)]
    pub(super) required: bool,
    pub(super) dataset: Option<Spanned<bool>>,
    pub(super) prompt: Option<Spanned<bool>>,
    #[serde(rename = "enum")]
    pub(super) choices: Option<Spanned<Choices>>,
    pub(super) min: Option<Spanned<i64>>,
    pub(super) max: Option<Spanned<i64>>,
    pub(super) min_length: Option<Spanned<usize>>,
    pub(super) max_length: Option<Spanned<usize>>,
    pub(super) min_items: Option<Spanned<usize>>,
    pub(super) max_items: Option<Spanned<usize>>,
    pub(super) pattern: Option<Text>,
}

/// `[1, 2, 3]` or `["eu", "us"]`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Choices {
    Integers(Vec<i64>),
    Strings(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prompt {
    pub(super) id: Text,
    pub(super) text: Option<Text>,
    pub(super) file: Option<Text>,
    pub(super) sha256: Option<Text>,
}

/// Where a secret is; never the secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretRef {
    pub(super) env: Option<String>,
    pub(super) file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SharedKey {
    pub(super) env: Option<String>,
    pub(super) file: Option<String>,
    pub(super) until: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Role {
    pub(super) name: Text,
    pub(super) groups: Option<Vec<Text>>,
    pub(super) subjects: Option<Vec<Text>>,
    #[serde(default)]
    pub(super) includes: Vec<Text>,
    pub(super) from: Option<Text>,
    pub(super) until: Option<Text>,
    pub(super) request: Option<Spanned<RoleRequest>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleRequest {
    pub(super) approvers: Spanned<Vec<String>>,
    pub(super) longest: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approvers {
    pub(super) name: Text,
    pub(super) roles: Spanned<Vec<String>>,
    pub(super) need: Option<Spanned<u32>>,
    pub(super) escalate_to: Option<Text>,
    pub(super) after: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakGlass {
    pub(super) roles: Spanned<Vec<Text>>,
    pub(super) instead_of: Spanned<Vec<Text>>,
    pub(super) reviewers: Spanned<Vec<Text>>,
    pub(super) within: Option<Text>,
    pub(super) fresh: Option<Text>,
    #[serde(default)]
    pub(super) acr: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    pub(super) name: Text,
    pub(super) identities: Spanned<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) path: Text,
    pub(super) tests: Option<Text>,
    pub(super) zone: Option<Text>,
    pub(super) shadow: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) url: Text,
    pub(super) password: Option<Spanned<SecretRef>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    pub(super) expires: Option<Text>,
    pub(super) usable: Option<Text>,
    pub(super) longest_wait: Option<Text>,
    pub(super) held: Option<Spanned<u32>>,
    pub(super) held_each: Option<Spanned<u32>>,
    pub(super) waiting_each: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    #[serde(default)]
    pub(super) readers: Vec<Text>,
    #[serde(default)]
    pub(super) erasers: Vec<Text>,
    #[serde(default)]
    pub(super) retention: Retention,
    #[serde(default)]
    pub(super) signing_keys: Vec<Spanned<SecretRef>>,
    pub(super) seal_key: Option<Spanned<SecretRef>>,
    #[serde(default)]
    pub(super) witness: Vec<Witness>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retention {
    pub(super) approvals: Option<Text>,
    pub(super) calls: Option<Text>,
    pub(super) house: Option<Text>,
    pub(super) refusals: Option<Text>,
    pub(super) leaves: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Witness {
    pub(super) url: Text,
    pub(super) key: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    pub(super) keys: Vec<Spanned<SecretRef>>,
    pub(super) issuers: Spanned<Vec<Text>>,
    pub(super) once: Option<Vec<Text>>,
    pub(super) lifetime: Option<Text>,
    pub(super) rate: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Events {
    pub(super) issuer: Text,
    pub(super) transmitter: Option<Text>,
    pub(super) audience: Spanned<Vec<String>>,
    pub(super) jwks_uri: Option<Text>,
    pub(super) ca: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Export {
    pub(super) name: Option<Text>,
    pub(super) to: Text,
    pub(super) url: Text,
    pub(super) bearer: Option<Spanned<SecretRef>>,
    pub(super) ca: Option<Text>,
    pub(super) region: Option<Text>,
    pub(super) endpoint: Option<Text>,
    pub(super) account: Option<Text>,
    pub(super) key: Option<Spanned<SecretRef>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevocationTable {
    #[serde(default)]
    pub(super) roles: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    pub(super) name: Text,
    pub(super) to: Text,
    pub(super) on: Spanned<Vec<Text>>,
    pub(super) link: Text,
    #[serde(default)]
    pub(super) approvers: Vec<Text>,
    pub(super) before: Option<Text>,
    pub(super) url: Option<Spanned<Address>>,
    #[serde(default)]
    pub(super) secrets: Vec<Spanned<SecretRef>>,
    pub(super) server: Option<Text>,
    pub(super) username: Option<Text>,
    pub(super) password: Option<Spanned<SecretRef>>,
    pub(super) from: Option<Text>,
    #[serde(default)]
    pub(super) recipients: Vec<Text>,
    pub(super) ca: Option<Text>,
}

/// `"https://…"`, or where it is kept.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an address, or `{ env = … }` or `{ file = … }` where it is kept")]
pub(super) enum Address {
    Plain(String),
    Reference(SecretRef),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Telemetry {
    pub(super) log: Option<Text>,
    pub(super) level: Option<Text>,
    pub(super) otlp: Option<Text>,
}
