#![forbid(unsafe_code)]
//! The vocabulary every Crewgate layer speaks.
//!
//! A request becomes a [`Principal`] (who), an [`Operation`] (what), a [`Decision`] (whether and under which
//! [`Duties`]), perhaps an approval ([`Approvals`]), and leaves a [`Trail`] of [`Fact`]s (why). Layers that have
//! never heard of each other meet in these values: each puts its own in the request's extensions and reads the
//! ones it needs. A value that is missing means *refuse*, never *pass*.
//!
//! | value | put by | lives in | read by |
//! |---|---|---|---|
//! | [`Trail`] | the audit layer | request extensions | every layer notes facts on it |
//! | [`Principal`] | the authentication layer | request extensions | policy, approval, runs |
//! | [`Operation`] | the describing layer | request extensions | runs, policy, masking |
//! | [`Decision`] | the enforcing layer | request extensions | approval, masking |
//! | [`Outgoing`] | the sealing layer | request extensions | approval, the upstream client |
//! | [`Refusal`] | whoever refused | **response** extensions of a bare status | the rendering layer, audit |
//!
//! This crate knows no tower, no tokio, no CrewAI and no SQL. A type enters only when two layers need it and it
//! can be written without async.

mod decision;
mod fact;
mod groups;
mod id;
mod operation;
mod principal;
mod refusal;
mod revocation;
mod time;
mod trail;
mod value;

pub use self::{
    decision::{
        Approvals, ApproverSet, Basis, Decision, Duties, Hint, MaskProfile, PolicyHash, Rate, RateDuty,
        RoleName, RuleId,
    },
    fact::{
        ApprovalStep, Asked, DelegationStep, Divergence, Ending, Fact, GrantStep, Keyed, Layer, Shadowed,
        Verdict,
    },
    groups::Groups,
    id::{ApprovalId, DelegationId, GrantId, InvalidId, RequestId, RunId, TaskId},
    operation::{
        Action, Effect, FreeText, IdKind, IdSlot, InputValue, Message, Operation, Outgoing, Resource, Segment,
    },
    principal::{Exchanged, Human, HumanId, Principal, PrincipalKey, PrincipalKind, TokenFacts},
    refusal::{Challenge, FieldError, Refusal},
    revocation::{RevocationStep, RevokedTokens},
    time::{Clock, SystemClock, Timestamp},
    trail::{Departure, Trail},
    value::{Number, Value},
};
