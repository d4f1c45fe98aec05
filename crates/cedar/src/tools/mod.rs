//! What a security team does with rules besides letting them decide: test them, ask why, ask who, compare, check and
//! format them. Pure functions: texts and questions in, values out; reading and printing is the caller's.

mod answer;
mod case;
mod diff;
mod explain;
mod fmt;
mod lint;
pub(crate) mod literals;
pub(crate) mod question;
mod reach;
mod recorded;
pub(crate) mod scope;

pub use self::{
    answer::{Answer, Outcome},
    case::{Case, Failed, check_cases, parse_cases},
    diff::{Difference, compare},
    explain::{Alternative, Reading, Story, explain},
    fmt::format,
    lint::{Finding, lint},
    question::{Asked, Question, RoleLookup},
    reach::{Access, Limit, Way, Who, what_can, who_can},
    recorded::{NotAsked, decided},
};
