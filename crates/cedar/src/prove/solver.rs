use std::{collections::BTreeSet, fmt, path::PathBuf};

use cedar_policy::{EntityUid, Policy, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env, solver::LocalSolver};
use crewgate_core::RuleId;
use crewgate_policy::Policy as _;
use tokio::process::Command;

use super::{
    Broken, Invariant, Proof,
    example::{least, question},
    slice::{Slice, in_world, speaks, world},
};
use crate::{
    CedarPolicy, Vocabulary,
    engine::Engine,
    rule::Rule,
    schema::Schemas,
    tools::{Answer, Outcome, Question},
    vocabulary::CrewDeclaration,
};

/// A single question longer than this is given up, in milliseconds.
const LONGEST: u32 = 20_000;

/// Why nothing could be proved.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProveError {
    /// The solver is not there.
    NoSolver {
        /// What was looked for.
        path: PathBuf,
        /// Why it cannot be started.
        reason: String,
    },
    /// The solver or the translation gave up: nothing is known.
    Undecided {
        /// What was asked.
        of: String,
        /// Why there is no answer.
        reason: String,
    },
}

impl fmt::Display for ProveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSolver { path, reason } => write!(
                f,
                "cvc5 is not there (`{}`: {reason}): install it (`apt-get install cvc5`) or name it in $CVC5",
                path.display()
            ),
            Self::Undecided { of, reason } => write!(f, "nothing is known of {of}: {reason}"),
        }
    }
}

impl std::error::Error for ProveError {}

/// Asks cvc5 about loaded rules.
pub struct Prover {
    path: PathBuf,
    compiler: CedarSymCompiler<LocalSolver>,
    asked: u64,
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").field("path", &self.path).field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Prover {
    /// Starts the solver: `path`, or `cvc5` from the search path.
    ///
    /// # Errors
    ///
    /// [`ProveError::NoSolver`] when it cannot be started.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(path: Option<PathBuf>) -> Result<Self, ProveError> {
        let path = path.unwrap_or_else(|| PathBuf::from("cvc5"));
        let compiler = compiler(&path)?;
        Ok(Self { path, compiler, asked: 0 })
    }

    /// Questions the solver has answered.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Whether no request that breaks the invariant passes, on these crews (all where none are named).
    ///
    /// # Errors
    ///
    /// [`ProveError::Undecided`] when the solver gives up.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the solver may be left in the middle of a question: start another one.
    pub async fn holds(
        &mut self,
        policy: &CedarPolicy,
        vocabulary: &Vocabulary,
        invariant: &Invariant,
        crews: &[String],
    ) -> Result<Proof, ProveError> {
        let of = format!("invariant `{}`", invariant.id);
        let undecided = |reason: String| ProveError::Undecided { of: of.clone(), reason };
        let (engine, schema) = (policy.engine(), schema(vocabulary).map_err(&undecided)?);
        let before = self.asked;
        let mut seen = BTreeSet::new();
        for crew in chosen(vocabulary, crews) {
            for action in actions(engine) {
                let slice = Slice::of(engine, &action, crew, invariant.any_fleets);
                let meant = speaks(engine, &invariant.bad, &action, crew, invariant.any_fleets);
                // Nothing is permitted, or nothing was said.
                if slice.permits.is_empty() || !meant {
                    continue;
                }
                let rules = slice.permits.iter().chain(&slice.guards).map(|rule| &rule.policy);
                let world =
                    world(crew, invariant.any_fleets, rules.chain([&invariant.bad])).map_err(&undecided)?;
                // Crews no rule tells apart are one crew; the guard that pins it is the only difference.
                let named = slice.text() + &world.iter().skip(2).map(ToString::to_string).collect::<String>();
                let apart = names(&slice, &invariant.bad, &crew.name);
                if !apart && !seen.insert((action.to_string(), named)) {
                    continue;
                }
                for env in envs(&schema, &action) {
                    let bad = PolicySet::from_policies([invariant.bad.clone()])
                        .map_err(|e| undecided(e.to_string()))?;
                    let bad = CompiledPolicySet::compile(&bad, &env, &schema)
                        .map_err(|e| undecided(e.to_string()))?;
                    for set in slice.sets(&world).map_err(&undecided)? {
                        let set = CompiledPolicySet::compile(&set, &env, &schema)
                            .map_err(|e| undecided(e.to_string()))?;
                        let found = self.compiler.check_disjoint_with_counterexample_opt(&set, &bad).await;
                        if let Some(env) = self.answered(found).map_err(&undecided)? {
                            let still = |q: &Question| breaks(policy, vocabulary, &invariant.bad, q);
                            return broken(&env, policy, None, vocabulary, still).map_err(&undecided);
                        }
                    }
                }
            }
        }
        Ok(Proof::Holds { asked: self.asked.saturating_sub(before) })
    }

    /// Whether `new` lets nothing through that `old` does not, duties included, on these crews (all where none are
    /// named). Crews and actions whose rules did not change are not asked about.
    ///
    /// # Errors
    ///
    /// [`ProveError::Undecided`] when the solver gives up.
    ///
    /// # Cancel safety
    ///
    /// As [`holds`](Self::holds).
    pub async fn narrows(
        &mut self,
        old: &CedarPolicy,
        new: &CedarPolicy,
        vocabulary: &Vocabulary,
        crews: &[String],
    ) -> Result<Proof, ProveError> {
        let undecided = |reason: String| ProveError::Undecided { of: "the change".to_owned(), reason };
        let schema = schema(vocabulary).map_err(undecided)?;
        let before = self.asked;
        let mut seen = BTreeSet::new();
        for crew in chosen(vocabulary, crews) {
            for action in actions(new.engine()) {
                let now = Slice::of(new.engine(), &action, crew, false);
                let was = Slice::of(old.engine(), &action, crew, false);
                let (now_text, was_text) = (now.text(), was.text());
                if now.permits.is_empty() || now_text == was_text {
                    continue;
                }
                let rules = [&now, &was].into_iter().flat_map(|s| s.permits.iter().chain(&s.guards));
                let world = world(crew, false, rules.map(|rule| &rule.policy)).map_err(undecided)?;
                let apart = [&now, &was].iter().any(|slice| {
                    slice.permits.iter().chain(&slice.guards).any(|rule| named(&rule.policy, &crew.name))
                });
                let fleets: String = world.iter().skip(2).map(ToString::to_string).collect();
                if !apart && !seen.insert((action.to_string(), now_text, was_text, fleets)) {
                    continue;
                }
                for env in envs(&schema, &action) {
                    let was = was.whole(&world).map_err(undecided)?;
                    let was = CompiledPolicySet::compile(&was, &env, &schema)
                        .map_err(|e| undecided(e.to_string()))?;
                    for set in now.sets(&world).map_err(undecided)? {
                        let set = CompiledPolicySet::compile(&set, &env, &schema)
                            .map_err(|e| undecided(e.to_string()))?;
                        let found = self.compiler.check_implies_with_counterexample_opt(&set, &was).await;
                        if let Some(env) = self.answered(found).map_err(undecided)? {
                            let still = |q: &Question| wider(old, new, vocabulary, q);
                            return broken(&env, new, Some(old), vocabulary, still).map_err(undecided);
                        }
                    }
                }
            }
        }
        Ok(Proof::Holds { asked: self.asked.saturating_sub(before) })
    }

    /// Rules that no request can ever match, and rules that some request cannot be evaluated by, with that request
    /// where it can be told.
    ///
    /// # Errors
    ///
    /// [`ProveError::Undecided`] when the solver gives up.
    ///
    /// # Cancel safety
    ///
    /// As [`holds`](Self::holds).
    pub async fn rules(
        &mut self,
        policy: &CedarPolicy,
        vocabulary: &Vocabulary,
    ) -> Result<Vec<(RuleId, Defect)>, ProveError> {
        let mut found = Vec::new();
        let schema = schema(vocabulary)
            .map_err(|reason| ProveError::Undecided { of: "the rules".to_owned(), reason })?;
        let mut rules: Vec<&Rule> = policy.engine().rules.iter().collect();
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        // Without conditions a rule matches its scope and cannot fail.
        for rule in rules.into_iter().filter(|rule| rule.policy.has_non_scope_constraint()) {
            let undecided =
                |reason: String| ProveError::Undecided { of: format!("rule `{}`", rule.id), reason };
            let mut reached = false;
            let known = in_world(&rule.policy).map_err(undecided)?;
            for env in known.get_valid_request_envs(&schema) {
                let one =
                    CompiledPolicy::compile(&known, &env, &schema).map_err(|e| undecided(e.to_string()))?;
                if !reached {
                    let never = self.compiler.check_never_matches_opt(&one).await;
                    reached = !self.answered(never).map_err(undecided)?;
                }
                let fails = self.compiler.check_never_errors_with_counterexample_opt(&one).await;
                if let Some(env) = self.answered(fails).map_err(undecided)? {
                    let request = question(&env.request, &env.entities, vocabulary);
                    found.push((rule.id.clone(), Defect::Errors(request.map(Box::new))));
                    break;
                }
            }
            if !reached {
                found.push((rule.id.clone(), Defect::NeverMatches));
            }
        }
        Ok(found)
    }

    /// Counts an answer; after a failure the solver is started anew, as the old one answers nothing more.
    fn answered<T>(&mut self, answer: cedar_policy_symcc::err::Result<T>) -> Result<T, String> {
        self.asked = self.asked.saturating_add(1);
        answer.map_err(|error| {
            if let Ok(compiler) = compiler(&self.path) {
                self.compiler = compiler;
            }
            error.to_string()
        })
    }
}

/// What is wrong with a rule by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// No request can match it.
    NeverMatches,
    /// It cannot be evaluated for some request.
    Errors(Option<Box<Question>>),
}

fn compiler(path: &PathBuf) -> Result<CedarSymCompiler<LocalSolver>, ProveError> {
    let none = |reason: String| ProveError::NoSolver { path: path.clone(), reason };
    let mut command = Command::new(path);
    // By question and not by process: one process answers thousands.
    command.args(["--lang", "smt", &format!("--tlimit-per={LONGEST}")]).kill_on_drop(true);
    let solver = LocalSolver::from_command(&mut command).map_err(|error| none(error.to_string()))?;
    CedarSymCompiler::new(solver).map_err(|error| none(error.to_string()))
}

fn schema(vocabulary: &Vocabulary) -> Result<Schema, String> {
    let schemas = Schemas::of(vocabulary);
    schemas
        .map(|schemas| schemas.validation)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn chosen<'v>(vocabulary: &'v Vocabulary, crews: &[String]) -> impl Iterator<Item = &'v CrewDeclaration> {
    vocabulary.crews.iter().filter(move |crew| crews.is_empty() || crews.contains(&crew.name))
}

/// The actions that are no groups.
fn actions(engine: &Engine) -> Vec<EntityUid> {
    let mut all: Vec<_> = engine.actions.iter().map(|action| action.uid()).collect();
    all.retain(|uid| !crate::vocabulary::GROUPS.contains(&uid.id().unescaped()));
    all.sort();
    all
}

/// One action by a person, and by a program.
fn envs(schema: &Schema, action: &EntityUid) -> Vec<RequestEnv> {
    schema.request_envs().filter(|env| env.action() == action).collect()
}

fn names(slice: &Slice<'_>, bad: &Policy, crew: &str) -> bool {
    slice
        .permits
        .iter()
        .chain(&slice.guards)
        .map(|rule| &rule.policy)
        .chain([bad])
        .any(|policy| named(policy, crew))
}

fn named(policy: &Policy, crew: &str) -> bool {
    policy
        .entity_literals()
        .iter()
        .any(|uid| uid.type_name().to_string() == "Crew" && uid.id().unescaped() == crew)
}

/// Whether the rules let the request through, now or once people agree, and it is one that must not pass.
fn breaks(policy: &CedarPolicy, vocabulary: &Vocabulary, bad: &Policy, question: &Question) -> bool {
    let Ok(asked) = question.asked(policy, vocabulary, None) else { return false };
    let decision = policy.decide(&asked.query());
    let Some(duties) = decision.duties() else { return false };
    let done = crate::duty::done(duties);
    let roles = vocabulary.roles.clone();
    policy.engine().holds(&asked.query(), bad, &roles, done) == Some(true)
}

/// Whether the new rules end better for the caller, or ask for less.
fn wider(old: &CedarPolicy, new: &CedarPolicy, vocabulary: &Vocabulary, question: &Question) -> bool {
    let answer = |policy: &CedarPolicy| {
        let asked = question.asked(policy, vocabulary, None).ok()?;
        let decision = policy.decide(&asked.query());
        Some((Answer::from(&decision), decision.duties().cloned()))
    };
    let (Some((was, was_duties)), Some((now, now_duties))) = (answer(old), answer(new)) else { return false };
    if now.outcome == Outcome::Refuse {
        return false;
    }
    // With exactly what the new rules ask for done, the old ones do not let it through.
    was.outcome == Outcome::Refuse
        || match (was_duties, now_duties) {
            (Some(was), Some(now)) => !crate::duty::done(&was).is_subset(&crate::duty::done(&now)),
            _ => true,
        }
}

fn broken(
    env: &Env,
    policy: &CedarPolicy,
    old: Option<&CedarPolicy>,
    vocabulary: &Vocabulary,
    still: impl Fn(&Question) -> bool,
) -> Result<Proof, String> {
    let request = question(&env.request, &env.entities, vocabulary)
        .ok_or_else(|| format!("the counter-example is no request: {}", env.request))?;
    let request = least(request, still);
    let decide = |policy: &CedarPolicy| {
        let asked = request.asked(policy, vocabulary, None)?;
        let decision = policy.decide(&asked.query());
        Ok::<_, String>((Answer::from(&decision), decision.basis().rules.iter().cloned().collect()))
    };
    let (answer, by) = decide(policy)?;
    let before = old.map(decide).transpose()?.map(|(answer, _)| answer);
    Ok(Proof::Broken(Box::new(Broken { request, answer, before, by })))
}
