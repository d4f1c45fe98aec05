use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Action, ApprovalId, ApproverSet, Basis, DelegationId, Duties, Effect, GrantId, IdKind, InputValue,
    MaskProfile, PolicyHash, PrincipalKey, PrincipalKind, RequestId, RevocationStep, RevokedTokens, RoleName,
    RuleId, RunId, Timestamp,
};

/// Who noted a fact or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layer {
    /// Waits for approvers.
    Approval,
    /// Keeps the record.
    Audit,
    /// Turns bytes into an operation.
    Describe,
    /// The gateway itself: HTTP rules, limits, time-outs.
    Gateway,
    /// Says who calls.
    Identity,
    /// Masks.
    Masking,
    /// Decides.
    Policy,
    /// Knows whose run it is.
    Runs,
    /// CrewAI, or the way to it.
    Upstream,
}

/// What an approver said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "an approver says yes or no")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// How a second decision on the same request differs from the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a fourth outcome of policy must be thought through here too")]
pub enum Divergence {
    /// It would pass without asking anybody.
    NewlyAllowed,
    /// People would be asked.
    NewlyAsking,
    /// It would be refused.
    NewlyDenied,
    /// The same outcome, with other duties.
    OtherDuties,
}

impl Divergence {
    /// The word on the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly_allowed",
            Self::NewlyAsking => "newly_asking",
            Self::NewlyDenied => "newly_denied",
            Self::OtherDuties => "other_duties",
        }
    }
}

/// What a second rule set would have decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadowed {
    /// Who asked.
    pub principal: PrincipalKey,
    /// The verb.
    pub action: Action,
    /// What it acts on.
    pub resource: String,
    /// How it differs.
    pub divergence: Divergence,
    /// What was really decided: `allow`, `ask` or `refuse`.
    pub decided: String,
    /// Why it was.
    pub basis: Basis,
    /// Duties the second set asks for.
    pub shadow_duties: Option<Duties>,
    /// The reason the second set refuses for.
    pub shadow_reason: Option<String>,
    /// Why the second set decides so.
    pub shadow_basis: Basis,
}

/// A step in the life of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApprovalStep {
    /// The requester, or an administrator, took it back.
    Cancelled {
        /// Who did.
        by: PrincipalKey,
    },
    /// It was claimed for execution.
    Claimed,
    /// Its requester let it go without those who were asked, as break-glass allows; it must be reviewed.
    GlassBroken {
        /// Who did.
        by: PrincipalKey,
        /// The sets nobody waited for.
        instead_of: BTreeSet<ApproverSet>,
        /// Their words.
        reason: String,
        /// Who must look at it afterwards: anybody of one of these.
        reviewers: BTreeSet<ApproverSet>,
        /// By when.
        due: Timestamp,
    },
    /// It was sent and CrewAI answered.
    Executed,
    /// It could not be sent; nothing reached CrewAI.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was sent, and nobody knows what became of it.
    Indeterminate,
    /// The decision at release differed from the one that was approved.
    Invalidated {
        /// What differed.
        reason: String,
    },
    /// It was asked for.
    Requested {
        /// Who must approve.
        sets: BTreeSet<ApproverSet>,
        /// SHA-256 over what will be sent, for whom and where; hex.
        digest: String,
        /// When the request ends undecided.
        expires: Timestamp,
    },
    /// Nobody knew what had become of it, and a person found out.
    Resolved {
        /// Who did.
        by: PrincipalKey,
        /// Whether it ran.
        ran: bool,
        /// The upstream's id of the run, where they found one.
        upstream: Option<String>,
        /// How they know.
        reason: String,
    },
    /// The lease ended before anything was sent; it may be claimed again.
    Returned,
    /// Somebody else looked at what was let go by break-glass.
    Reviewed {
        /// Who did.
        by: PrincipalKey,
        /// Whether it was right.
        verdict: Verdict,
        /// Their words.
        reason: String,
    },
    /// An approver spoke.
    Voted {
        /// The approver.
        by: PrincipalKey,
        /// What they said.
        verdict: Verdict,
        /// The sets they spoke for.
        sets: BTreeSet<ApproverSet>,
        /// Whose place they took, by delegation.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        instead_of: BTreeSet<PrincipalKey>,
        /// Their words.
        reason: Option<String>,
        /// Whether this completed the quorum (or denied).
        settles: bool,
    },
}

/// A step in the life of a delegation. That it ended is no step: it ends by the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DelegationStep {
    /// An approver lets somebody speak for them.
    Given {
        /// Who does.
        by: PrincipalKey,
        /// Who may speak.
        to: PrincipalKey,
        /// For which sets.
        sets: BTreeSet<ApproverSet>,
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
        /// In their words.
        reason: String,
    },
    /// One of the two ended it before its time.
    Ended {
        /// Who did.
        by: PrincipalKey,
    },
}

/// A step in the life of a temporary grant. That it ended is no step: it ends by the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum GrantStep {
    /// It was given.
    Given {
        /// To whom.
        principal: PrincipalKey,
        /// Which role.
        role: RoleName,
        /// When it begins.
        from: Timestamp,
        /// When it ends.
        until: Timestamp,
        /// The approval that gave it.
        approval: ApprovalId,
        /// What it was asked for.
        reason: String,
    },
    /// It was taken or given back before its end.
    Revoked {
        /// Who did.
        by: PrincipalKey,
        /// Their words.
        reason: Option<String>,
    },
    /// A call that changes something left on it.
    Used {
        /// Which use, counted from 1.
        number: u32,
        /// How many there are.
        of: u32,
    },
}

/// How an answer ended, seen from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ending {
    /// The caller hung up before the end.
    CallerGone,
    /// The last byte was handed over.
    Complete,
    /// The answer broke off on our side or upstream's.
    Cut,
    /// The last byte was there, and nobody to hand it to: the caller had gone, or none waited.
    Unheard,
}

/// What policy was asked, as far as it may stand on the record: with the other facts of the call enough to ask other
/// rules the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The instant of the question.
    pub at: Timestamp,
    /// Roles held then.
    pub roles: BTreeSet<RoleName>,
    /// When the token was issued.
    pub issued: Timestamp,
    /// Whether more than one factor was used.
    pub mfa: bool,
    /// Whether the token was bound to its sender's key.
    #[serde(default)]
    pub sender_constrained: bool,
    /// Groups that what is acted on belonged to.
    pub parents: Vec<String>,
    /// Declared inputs; without a value where the record must not show it.
    pub inputs: Vec<(String, Option<InputValue>)>,
    /// Ids of allow-listed prompts among them.
    #[serde(default)]
    pub prompts: Vec<String>,
    /// Whether there were undeclared ones.
    pub has_undeclared_inputs: bool,
    /// Length of the body.
    pub body_bytes: u64,
    /// Hosts to be called back.
    pub webhook_hosts: Vec<String>,
    /// Whose run it was about.
    pub owner: Option<PrincipalKey>,
    /// Sets that had said yes.
    pub approved: BTreeSet<ApproverSet>,
}

/// A caller's own name for a call, so that it happens once however often it is sent (`Idempotency-Key`). It holds
/// digests: neither the name nor the call can be read from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyed {
    /// SHA-256 over who calls, what for and the name they chose, hex: nobody else's name is ever the same.
    pub key: String,
    /// SHA-256 over the request, hex: a name stands for one request.
    pub fingerprint: String,
    /// Until when the name stands for it.
    pub until: Timestamp,
}

/// A small typed value that is safe to store: no token, no body, no secret can be made into one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fact {
    /// CrewAI answered.
    Answered {
        /// Status of its answer.
        status: u16,
    },
    /// An approval moved.
    Approval {
        /// Which.
        approval: ApprovalId,
        /// How.
        #[serde(flatten)]
        step: ApprovalStep,
    },
    /// Policy was asked.
    Asked(Box<Asked>),
    /// The caller proved who it is.
    Authenticated {
        /// Who.
        principal: PrincipalKey,
        /// Person or program.
        kind: PrincipalKind,
        /// OAuth client.
        client: Option<String>,
        /// When the token ends.
        expires: Timestamp,
        /// Tells two tokens apart; see [`TokenFacts::fingerprint`](crate::TokenFacts::fingerprint).
        token: String,
    },
    /// Somebody read or changed the record, or an administrator did something.
    Control {
        /// Who, when it was done by a principal rather than at the machine.
        by: Option<PrincipalKey>,
        /// What, in stable words: `config.reload`, `audit.read`.
        what: String,
    },
    /// The beginning of the record was cut off: its time is over.
    Cut {
        /// The first leaf that stays.
        below: u64,
    },
    /// A delegation moved.
    Delegation {
        /// Which.
        delegation: DelegationId,
        /// How.
        #[serde(flatten)]
        step: DelegationStep,
    },
    /// Policy decided.
    Decided {
        /// `allow`, `ask` or `refuse`.
        outcome: String,
        /// Duties of an allow or ask.
        duties: Option<Duties>,
        /// The reason of a refusal.
        reason: Option<String>,
        /// The rules, roles, grants and rule set that decided.
        basis: Basis,
    },
    /// The request was understood.
    Described {
        /// The verb.
        action: Action,
        /// What it acts on.
        resource: String,
        /// Whether it changes something upstream.
        effect: Effect,
        /// Datasets it names.
        datasets: Vec<String>,
        /// Names of its declared inputs; values are in the masked body.
        inputs: Vec<String>,
    },
    /// The answer ended.
    Ended {
        /// How.
        how: Ending,
        /// Status the caller saw.
        status: u16,
        /// Body bytes handed over.
        bytes: u64,
        /// SHA-256 of those bytes, hex.
        sha256: String,
    },
    /// A person's key to what the record holds of them was destroyed.
    Erased {
        /// The pseudonym all leaves of that person share.
        subject: String,
    },
    /// Refusals of strangers for which there was no room: counted, not told one by one.
    Folded {
        /// Their address; `None` for all that could not be told apart.
        remote: Option<String>,
        /// How many.
        count: u64,
    },
    /// A token was exchanged for one of ours, which counts for less.
    Exchanged {
        /// Tells the one that came from others.
        token: String,
        /// Its issuer's id of it, when it had one.
        id: Option<String>,
        /// Tells the one that was issued from others: calls made with it name it so.
        issued: String,
        /// Its `jti`, by which it can be revoked.
        issued_id: String,
        /// The roles it counts for.
        roles: BTreeSet<RoleName>,
        /// Who acts for the principal.
        actor: Option<String>,
        /// When it ends.
        expires: Timestamp,
    },
    /// A temporary grant moved.
    Grant {
        /// Which.
        grant: GrantId,
        /// How.
        #[serde(flatten)]
        step: GrantStep,
    },
    /// The caller asked that this happen once.
    Keyed(Keyed),
    /// The crew is in observe mode: this refusal was recorded and not enforced.
    Observed {
        /// What would have been refused.
        reason: String,
        /// By which rule.
        rule: Option<RuleId>,
    },
    /// The request belongs to this earlier one: a release to the request that asked.
    PartOf {
        /// The earlier request.
        request: RequestId,
    },
    /// This configuration and these rules count from here on: the gateway starts.
    Loaded {
        /// SHA-256 of the configuration file, hex.
        config: String,
        /// The rule set.
        policy: PolicyHash,
        /// The program's version.
        version: String,
    },
    /// Something was masked.
    Masked {
        /// Profiles in force.
        profiles: BTreeSet<MaskProfile>,
        /// Hits per entity and place; never the values. The place is a pattern like `choices[].text`, empty where the
        /// body has none.
        hits: BTreeMap<String, BTreeMap<String, u64>>,
    },
    /// Other rules decide from here on.
    PolicyLoaded {
        /// Those that decided until now.
        before: PolicyHash,
        /// Those that decide from now on.
        now: PolicyHash,
    },
    /// Rules, or the words they may use, were read and refused; the running ones stay.
    PolicyRefused {
        /// The rules that go on deciding.
        running: PolicyHash,
        /// What is wrong, and where: the first of all mistakes.
        reason: String,
    },
    /// What the record held beside the oldest leaves of a class was given up: its time is over.
    Pruned {
        /// Leaves from this one on keep theirs.
        below: u64,
        /// Which records.
        class: String,
    },
    /// A request arrived.
    Received {
        /// Method.
        method: String,
        /// Path as received, cut at 200 bytes, without query.
        path: String,
        /// The other end's address.
        remote: Option<String>,
        /// `user-agent`, cut at 200 bytes.
        user_agent: Option<String>,
    },
    /// A layer said no.
    Refused {
        /// Who.
        by: Layer,
        /// Status.
        status: u16,
        /// Stable code.
        code: String,
        /// The rule, if policy did.
        rule: Option<RuleId>,
        /// What the caller was told.
        detail: String,
    },
    /// An id of the upstream's got one of ours.
    Registered {
        /// What it stands for.
        kind: IdKind,
        /// Our run.
        run: RunId,
    },
    /// This request carries out an approval.
    Released {
        /// Which.
        approval: ApprovalId,
        /// Which attempt: only the holder of this number may settle it.
        lease: u64,
    },
    /// The answer was, byte for byte, what the same caller was last told of this run: the record holds it once, there.
    Repeated {
        /// The request whose record holds it.
        request: RequestId,
    },
    /// The outgoing bytes are fixed.
    Sealed {
        /// SHA-256 of the body, hex.
        sha256: String,
        /// Its length.
        bytes: u64,
    },
    /// A second rule set, which decides nothing, would have decided otherwise.
    Shadowed(Box<Shadowed>),
    /// What masks had replaced was given back to an entitled caller, in the answer that follows.
    Restored {
        /// Profiles in force.
        profiles: BTreeSet<MaskProfile>,
        /// Roles of the caller that entitle to it.
        roles: BTreeSet<RoleName>,
    },
    /// Tokens were revoked, or are no longer.
    Revocation {
        /// Which.
        tokens: RevokedTokens,
        /// How.
        #[serde(flatten)]
        step: RevocationStep,
        /// The words of whoever did it.
        reason: Option<String>,
    },
    /// The old shared key was used.
    SharedKey {
        /// On which crew.
        crew: String,
        /// When it stops working.
        until: Timestamp,
    },
    /// CrewAI could not be reached or did not answer.
    Unanswered {
        /// Stable code: `upstream_unreachable`, `upstream_timeout`, `upstream_cut`.
        code: String,
        /// Whether bytes may have reached it.
        sent: bool,
    },
    /// CrewAI called back.
    Webhook {
        /// Which webhook: `human_input`.
        kind: String,
        /// Of which crew.
        crew: String,
    },
}
