//! Proofs over all requests there can be: whatever the roles, inputs, times and tokens, an invariant holds, or here is a
//! request that breaks it. The rules are translated by Cedar's symbolic compiler, and cvc5 decides.
//!
//! What is proved is the compiled set, duties included: `context.done` is any set of words, so "only once approved" and
//! "only masked" are statements like any other.
//!
//! A whole set of some hundred rules is too much for a solver; a crew and an action are not. Every question is asked for
//! one crew, one action and one kind of principal, of the rules that speak of them, some permits at a time (what a set
//! allows is what its permits allow one by one). That is exact while crews are in the fleets the configuration says; with
//! `@fleets("any")` an invariant is asked whatever fleets a crew may be put into one day.

mod example;
mod invariant;
mod slice;
mod solver;

pub use self::{
    invariant::{Invariant, parse_invariants},
    solver::{Defect, ProveError, Prover},
};
use crate::tools::{Answer, Question};

/// The outcome of one proof.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "proof", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Proof {
    /// It holds for every request.
    Holds {
        /// Questions the solver answered for it.
        asked: u64,
    },
    /// It does not.
    Broken(Box<Broken>),
}

/// A request that breaks what was to be proved.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Broken {
    /// The request, with nothing in it that is not needed.
    pub request: Question,
    /// How the rules answer it.
    pub answer: Answer,
    /// Under the old rules, where old and new were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Answer>,
    /// The rules that let it through.
    pub by: Vec<crewgate_core::RuleId>,
}
