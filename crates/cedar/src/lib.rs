#![forbid(unsafe_code)]
//! Policies in Cedar.
//!
//! Three kinds of sentence, and nothing invented beside Cedar:
//!
//! - A **permit** says who may. With `@approval("set")` it is an *eligible* permit: may, once they said yes.
//! - A **guard** (`forbid`) says never, unless. Plain it is a hard no, with its `@reason`. With `@approval("set")`,
//!   `@mask("profile")` or `@rate("10/h")` it forbids *unless that is done*. Masks and rates live only on guards.
//! - What nothing permits is refused.
//!
//! A duty means one thing everywhere: "with this done". The loader turns it into a condition on `context.done`, so that
//! the set that decides is plain Cedar, and the decision is: permits that match (none: refused); guards that match (an
//! error or no duty: refused); one permit whole, the one that asks least; its duties and those of *all* guards; and plain
//! Cedar must confirm it with exactly these done. Adding a permit never adds a duty or a refusal, adding a guard never
//! removes one, and the order of files means nothing.
//!
//! Where Cedar would skip a rule with an error (and so pass a guard by), this refuses. Whatever a caller sends reaches
//! the rules only as declared, typed inputs; the schema is derived from the [`Vocabulary`] of the configuration, and a
//! rule that names an unknown role, crew, approver set or mask does not load.
//!
//! It does not know HTTP, tower, who authenticated the caller, how approvals are collected or masks applied.
//!
//! # One rule
//!
//! ```
//! use crewgate_cedar::{CedarPolicy, CrewDeclaration, Vocabulary};
//! use crewgate_core::RoleName;
//!
//! let vocabulary = Vocabulary {
//!     roles: [RoleName::new("analysts")].into(),
//!     crews: vec![CrewDeclaration { name: "research".to_owned(), ..CrewDeclaration::default() }],
//!     ..Vocabulary::default()
//! };
//! let text = r#"
//!     @id("analysts-research")
//!     permit (principal in Role::"analysts", action == Action::"kickoff", resource == Crew::"research");
//! "#;
//! let policy = CedarPolicy::load(vec![("research.cedar".to_owned(), text.to_owned())], &vocabulary).unwrap();
//! assert_eq!(policy.rules(), 1);
//!
//! // A misspelt role is an error with a place, not a rule that matches nobody.
//! let text = text.replace("analysts\",", "analyst\",");
//! let errors = CedarPolicy::load(vec![("research.cedar".to_owned(), text)], &vocabulary).unwrap_err();
//! assert_eq!((errors[0].line, errors[0].help.as_deref()), (3, Some("did you mean `analysts`?")));
//! ```
//!
//! # Duties, and what other tools make of them
//!
//! ```
//! use crewgate_cedar::{CedarPolicy, CrewDeclaration, InputType, Vocabulary};
//! use crewgate_core::ApproverSet;
//!
//! let vocabulary = Vocabulary {
//!     approvers: [ApproverSet::new("data-owners")].into(),
//!     crews: vec![CrewDeclaration {
//!         name: "payroll".to_owned(),
//!         fleets: vec!["hr".to_owned()],
//!         inputs: vec![("dataset".to_owned(), InputType::String)],
//!     }],
//!     ..Vocabulary::default()
//! };
//! let text = r#"
//!     @id("hr-owners-first")
//!     @approval("data-owners")
//!     forbid (principal, action == Action::"kickoff", resource in Fleet::"hr")
//!     when { context.input has dataset && context.input.dataset like "hr_*" };
//! "#;
//! let policy = CedarPolicy::load(vec![("hr.cedar".to_owned(), text.to_owned())], &vocabulary).unwrap();
//! assert!(policy.export().contains(r#"unless { context.done.contains("approval:data-owners") }"#));
//! ```

mod abreast;
mod duty;
mod engine;
mod error;
mod facts;
mod folder;
mod hint;
mod index;
mod load;
mod policy;
#[cfg(feature = "prove")]
pub mod prove;
mod rule;
mod schema;
mod session;
mod source;
pub mod tools;
mod vocabulary;
mod words;
mod zone;

pub use self::{
    error::LoadError,
    folder::{MAX_FILE, MAX_FOLDER, sources},
    policy::{CedarPolicy, Explanation},
    vocabulary::{CrewDeclaration, InputType, Vocabulary},
    zone::Zone,
};
