//! The protocol as a whole, every interleaving of it: a requester who may break the glass, two approvers, one who speaks
//! with a lent voice, two gateways on one store, crashes, messages twice and in any order, and time. The moves are the
//! machine's own; the model only says who makes them when.
//!
//! A move is a transaction: it reads the row, and later writes over it. The store lets it write only over the version it
//! read. Without that condition the same model finds two sends, so it could find them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crewgate_approval::{
    Approval, Ballot, Broken, Digest, End, Finding, GlassBreak, Hindsight, Lease, Loan, NewApproval, Phase,
    Resolution, Review, State, Vote, machine,
};
use crewgate_core::{DelegationId, Principal, Timestamp, Verdict};
use crewgate_testkit::suites::approval::{asked, linked, person, program, set, start};
use stateright::{Checker, Model, Property};

/// A transaction is shorter than this, and a lease as long.
const TICK: Duration = Duration::from_secs(60);
/// Ticks after which nobody decides any more.
const UNDECIDED: u8 = 2;
/// Ticks for which what was approved may be started.
const USABLE: u8 = 2;
/// The last tick the model looks at: everything has ended by then.
const LAST: u8 = 5;

/// Attempts to start it.
const ATTEMPTS: u64 = 3;

fn at(tick: u8) -> Timestamp {
    start().saturating_add(TICK.saturating_mul(u32::from(tick)))
}

/// Who moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    /// The requester, also by a second identity.
    Ana,
    Bob,
    Cleo,
    /// Speaks for nobody but Cleo, who lent him her voice.
    Dan,
    Gateway(u8),
}

const ALL: [Who; 6] = [Who::Ana, Who::Bob, Who::Cleo, Who::Dan, Who::Gateway(0), Who::Gateway(1)];

impl Who {
    fn index(self) -> usize {
        ALL.iter().position(|who| *who == self).unwrap()
    }
}

/// What somebody sets out to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Move {
    Approve,
    Deny,
    /// Approves, having read another page.
    ApproveAnother,
    Cancel,
    Claim,
    Return,
    Invalidate,
    Send,
    Answered,
    Lost,
    /// A person says what became of it.
    Resolve(bool),
    /// The requester lets it go without anybody.
    BreakGlass,
    /// Somebody looks at a broken glass.
    Review,
}

/// What a gateway remembers; a crash takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Memory {
    Nothing,
    Holds(u64),
    Sent(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Spoken {
    by: Who,
    yes: bool,
    tick: u8,
}

/// The stored row, without what never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    state: State,
    votes: Vec<Spoken>,
    /// When the glass was broken, and whether somebody has looked at it.
    broken: Option<(u8, bool)>,
    leases: u64,
    version: u64,
}

impl Hash for Row {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut text = String::new();
        write!(text, "{:?}", self.state).unwrap();
        (text, &self.votes, self.broken, self.leases, self.version).hash(hasher);
    }
}

/// A transaction that has read and not yet written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct UnderWay {
    what: Move,
    read: u64,
    write: Row,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    row: Row,
    tick: u8,
    memories: [Memory; 2],
    under_way: [Option<UnderWay>; 6],
    sends: u8,
    /// What must not happen, and did.
    wrong: Option<&'static str>,
    /// What a person found out.
    resolved: bool,
    /// It was sent on a voice that was lent.
    lent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Begin(Who, Move),
    Write(Who),
    /// Writes, and is gone before anything else happens.
    WriteAndCrash(Who),
    Crash(Who),
    Tick,
}

/// The protocol; `compares` is what the store does before it writes, `exceptional` whether this is about lent voices and
/// broken glasses: both at once are more states than anybody can look at.
struct Protocol {
    exceptional: bool,
    asked: Arc<NewApproval>,
    other_page: Digest,
    compares: bool,
}

impl Protocol {
    fn new(compares: bool, exceptional: bool) -> Self {
        let ana = linked("okta", "ana", "ana-maria");
        let mut new = asked(&ana, &[("owners", 2)]);
        new.opened = start();
        new.expires = at(UNDECIDED);
        new.usable_for = TICK * u32::from(USABLE);
        let other_page = asked(&person("eve"), &[("owners", 2)]).digest;
        Self { exceptional, asked: Arc::new(new), other_page, compares }
    }

    fn person(who: Who) -> Principal {
        match who {
            Who::Ana => linked("github", "am", "ana-maria"),
            Who::Bob => person("bob"),
            Who::Cleo => person("cleo"),
            Who::Dan => person("dan"),
            Who::Gateway(_) => program("gateway"),
        }
    }

    fn approval(&self, row: &Row) -> Approval {
        let vote = |spoken: &Spoken| {
            let verdict = if spoken.yes { Verdict::Approve } else { Verdict::Deny };
            Self::vote(spoken.by, verdict, at(spoken.tick))
        };
        let broken = |(tick, reviewed): (u8, bool)| {
            let glass = self.glass(at(tick));
            let review = reviewed.then(|| Review {
                by: Self::person(Who::Cleo).key,
                at: at(tick),
                verdict: Verdict::Approve,
                reason: "looked".to_owned(),
            });
            Broken {
                due: glass.at.saturating_add(glass.within),
                by: glass.by,
                at: glass.at,
                reason: glass.reason,
                reviewers: glass.reviewers,
                review,
            }
        };
        Approval {
            asked: (*self.asked).clone(),
            state: row.state.clone(),
            votes: row.votes.iter().map(vote).collect(),
            broken: row.broken.map(broken),
            leases: row.leases,
            version: row.version,
        }
    }

    /// What somebody says: Dan with Cleo's voice, everybody else with their own.
    fn vote(who: Who, verdict: Verdict, at: Timestamp) -> Vote {
        let (own, owners) = (who != Who::Dan, BTreeSet::from([set("owners")]));
        let loan = Loan {
            delegation: DelegationId::from_uuid(Default::default()),
            lender: Self::person(Who::Cleo),
            sets: owners.clone(),
        };
        Vote {
            approver: Self::person(who),
            sets: if own { owners } else { BTreeSet::new() },
            lent: if own { Vec::new() } else { vec![loan] },
            verdict,
            reason: None,
            at,
        }
    }

    fn glass(&self, at: Timestamp) -> GlassBreak {
        GlassBreak {
            approval: self.asked.id,
            digest: self.asked.digest,
            by: self.asked.requester.clone(),
            instead_of: [set("owners")].into(),
            reviewers: [set("owners")].into(),
            within: TICK,
            reason: "production is down and nobody answers".to_owned(),
            at,
            gives: None,
        }
    }

    fn row(approval: &Approval) -> Row {
        let spoken = |vote: &Vote| Spoken {
            by: *ALL.iter().take(4).find(|who| Self::person(**who).key == vote.approver.key).unwrap(),
            yes: vote.verdict == Verdict::Approve,
            tick: (0..=LAST).find(|tick| at(*tick) == vote.at).unwrap(),
        };
        Row {
            state: approval.state.clone(),
            votes: approval.votes.iter().map(spoken).collect(),
            broken: approval.broken.as_ref().map(|broken| {
                let tick = (0..=LAST).find(|tick| at(*tick) == broken.at).unwrap();
                (tick, !broken.is_open())
            }),
            leases: approval.leases,
            version: approval.version,
        }
    }

    /// What the machine says to a move; `None` when it refuses.
    fn moved(&self, world: &World, who: Who, what: Move) -> Option<Approval> {
        let (approval, now) = (self.approval(&world.row), at(world.tick));
        let held = match who {
            Who::Gateway(n) => match world.memories[usize::from(n)] {
                Memory::Holds(number) | Memory::Sent(number) => {
                    Some(Lease { approval: approval.id(), number })
                }
                Memory::Nothing => None,
            },
            _ => None,
        };
        let ballot = |verdict, digest| Ballot {
            approval: approval.id(),
            digest,
            vote: Self::vote(who, verdict, now),
            gives: None,
        };
        let digest = self.asked.digest;
        let transition = match what {
            Move::Approve => machine::vote(&approval, &ballot(Verdict::Approve, digest)).ok()?,
            Move::Deny => machine::vote(&approval, &ballot(Verdict::Deny, digest)).ok()?,
            Move::ApproveAnother => {
                machine::vote(&approval, &ballot(Verdict::Approve, self.other_page)).ok()?
            }
            Move::Cancel => machine::cancel(&approval, &Self::person(who), now).ok()?,
            Move::Claim => machine::claim(&approval, now, TICK)?.0,
            Move::Return => machine::return_unsent(&approval, held?, now).ok()?,
            Move::Invalidate => machine::invalidate(&approval, held?, "policy changed", now).ok()?,
            Move::Send => machine::mark_sent(&approval, held?, now).ok()?,
            Move::Answered => machine::settle(&approval, held?, &End::Executed, now).ok()?,
            Move::Lost => machine::settle(&approval, held?, &End::Indeterminate, now).ok()?,
            Move::BreakGlass => machine::break_glass(&approval, &self.glass(now), &[]).ok()?,
            Move::Review => {
                let hindsight = Hindsight {
                    approval: approval.id(),
                    by: Self::person(who),
                    sets: [set("owners")].into(),
                    verdict: Verdict::Approve,
                    reason: "looked".to_owned(),
                    at: now,
                };
                machine::review(&approval, &hindsight).ok()?
            }
            Move::Resolve(ran) => {
                let finding = if ran { Finding::Ran { upstream: None } } else { Finding::DidNotRun };
                let resolution = Resolution {
                    approval: approval.id(),
                    by: Self::person(who),
                    sets: [set("owners")].into(),
                    finding,
                    reason: "looked".to_owned(),
                    at: now,
                };
                machine::resolve(&approval, &resolution).ok()?
            }
        };
        Some(transition.approval)
    }

    /// Everything somebody may try; what the machine refuses falls away.
    fn tries(&self, world: &World, who: Who) -> &'static [Move] {
        match (self.exceptional, who) {
            (true, Who::Ana) => &[Move::BreakGlass, Move::Review],
            (true, Who::Bob | Who::Dan) => &[Move::Approve],
            (true, Who::Cleo) => &[Move::Approve, Move::Review],
            (true, Who::Gateway(1)) | (false, Who::Dan) => &[],
            (false, Who::Ana) => &[Move::Approve, Move::Cancel, Move::Resolve(false)],
            (false, Who::Bob) => &[Move::Approve, Move::Deny, Move::ApproveAnother, Move::Resolve(false)],
            (false, Who::Cleo) => &[Move::Approve, Move::Resolve(true)],
            (_, Who::Gateway(n)) => match world.memories[usize::from(n)] {
                Memory::Nothing => &[Move::Claim],
                Memory::Holds(_) => &[Move::Send, Move::Return, Move::Invalidate],
                Memory::Sent(_) => &[Move::Answered, Move::Lost],
            },
        }
    }

    fn write(&self, world: &mut World, who: Who, crashes: bool) {
        let Some(under_way) = world.under_way[who.index()].take() else { return };
        if self.compares && under_way.read != world.row.version {
            return;
        }
        let before = self.approval(&world.row).state_at(at(world.tick));
        world.row = under_way.write;
        if self.compares {
            // Whatever has read an earlier version will write nothing: leaving it out changes no behaviour, only the
            // number of states.
            for other in &mut world.under_way {
                other.take_if(|other| other.read != world.row.version);
            }
        }
        world.resolved |= matches!(under_way.what, Move::Resolve(_));
        if under_way.what == Move::ApproveAnother {
            world.wrong = Some("somebody approved what they had not read");
        }
        if who == Who::Ana && !matches!(under_way.what, Move::Cancel | Move::BreakGlass) {
            world.wrong = Some("the requester decided");
        }
        let Who::Gateway(n) = who else { return };
        let number = world.row.leases;
        world.memories[usize::from(n)] = match under_way.what {
            _ if crashes => Memory::Nothing,
            Move::Claim => Memory::Holds(number),
            Move::Send => {
                world.sends += 1;
                self.inspect(world, &before);
                match world.memories[usize::from(n)] {
                    Memory::Holds(number) | Memory::Sent(number) => Memory::Sent(number),
                    Memory::Nothing => Memory::Nothing,
                }
            }
            _ => Memory::Nothing,
        };
    }

    /// What must be so when bytes leave.
    fn inspect(&self, world: &mut World, before: &State) {
        let approval = self.approval(&world.row);
        let yes: Vec<_> = approval.votes.iter().filter(|vote| vote.verdict == Verdict::Approve).collect();
        // A voice is its owner's, whoever speaks with it, and counts once.
        let voice = |vote: &&Vote| vote.lent.first().map_or(&vote.approver, |loan| &loan.lender).key.clone();
        let voices = yes.iter().map(voice).collect::<BTreeSet<_>>().len();
        let distinct = yes.iter().enumerate().all(|(n, one)| {
            !one.approver.same_person(&self.asked.requester)
                && yes.iter().skip(n + 1).all(|other| !one.approver.same_person(&other.approver))
        });
        let agreed = voices >= 2 && distinct && yes.len() == approval.votes.len();
        world.lent |= yes.iter().any(|vote| !vote.lent.is_empty());
        // A broken glass says so itself, and no vote says it.
        if !agreed && approval.broken.is_none() {
            world.wrong = Some("it was sent without two people's yes");
        }
        match before {
            State::Executing { until, .. } if at(world.tick) < *until => {}
            _ => world.wrong = Some("it was sent after its end"),
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let first = machine::open((*self.asked).clone()).unwrap().approval;
        vec![World {
            row: Self::row(&first),
            tick: 0,
            memories: [Memory::Nothing; 2],
            under_way: [const { None }; 6],
            sends: 0,
            wrong: None,
            resolved: false,
            lent: false,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for who in ALL {
            if world.under_way[who.index()].is_some() {
                steps.push(Step::Write(who));
                if matches!(who, Who::Gateway(_)) {
                    steps.push(Step::WriteAndCrash(who));
                }
            } else {
                let tries = self.tries(world, who).iter();
                steps.extend(tries.map(|what| Step::Begin(who, *what)));
            }
        }
        for n in [0, 1] {
            if world.memories[usize::from(n)] != Memory::Nothing {
                steps.push(Step::Crash(Who::Gateway(n)));
            }
        }
        if world.tick < LAST {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut next = last.clone();
        match step {
            Step::Begin(who, what) => {
                let write = Self::row(&self.moved(last, who, what)?);
                next.under_way[who.index()] = Some(UnderWay { what, read: last.row.version, write });
            }
            Step::Write(who) => self.write(&mut next, who, false),
            Step::WriteAndCrash(who) => self.write(&mut next, who, true),
            Step::Crash(who) => {
                let Who::Gateway(n) = who else { return None };
                next.memories[usize::from(n)] = Memory::Nothing;
                next.under_way[who.index()] = None;
            }
            Step::Tick => {
                next.tick += 1;
                // A transaction does not last that long.
                next.under_way = [const { None }; 6];
            }
        }
        let phase = |world: &World| self.approval(&world.row).state_at(at(world.tick)).phase();
        let before = phase(last);
        if before.is_terminal() && phase(&next) != before {
            next.wrong = Some("what had ended changed");
        }
        Some(next)
    }

    /// Giving back and starting anew could go on for ever, and says nothing new after the third time.
    fn within_boundary(&self, world: &World) -> bool {
        world.row.leases <= ATTEMPTS
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn is(model: &Protocol, world: &World, phase: Phase) -> bool {
            model.approval(&world.row).state_at(at(world.tick)).phase() == phase
        }
        let mut properties = vec![
            Property::always("it is sent once at most", |_, world: &World| world.sends <= 1),
            Property::always(
                "what is sent was read and approved by two people, and in time; ends are final",
                |_, world: &World| world.wrong.is_none(),
            ),
            Property::sometimes("it is carried out", |model: &Self, world: &World| {
                is(model, world, Phase::Executed) && world.sends == 1 && !world.resolved
            }),
            Property::sometimes("nobody knows", |model: &Self, world: &World| {
                is(model, world, Phase::Indeterminate) && world.sends == 1
            }),
            Property::sometimes("it is marked, and nothing left", |model: &Self, world: &World| {
                is(model, world, Phase::Indeterminate) && world.sends == 0
            }),
            Property::sometimes("it expires", |model: &Self, world: &World| is(model, world, Phase::Expired)),
            Property::sometimes("a second attempt sends", |_, world: &World| {
                world.sends == 1 && world.row.leases > 1
            }),
        ];
        if self.exceptional {
            properties.extend([
                Property::sometimes("a lent voice counts", |_, world: &World| world.sends == 1 && world.lent),
                Property::sometimes(
                    "the glass is broken, it is sent, and somebody looks",
                    |_, world: &World| {
                        world.sends == 1 && world.row.broken.is_some_and(|(_, reviewed)| reviewed)
                    },
                ),
            ]);
        } else {
            properties.push(Property::sometimes("a person finds out", |_, world: &World| world.resolved));
        }
        properties
    }
}

#[test]
fn no_interleaving_sends_twice_or_sends_what_two_people_have_not_approved() {
    let checker = Protocol::new(true, false).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.is_done() && checker.unique_state_count() > 1_000, "{}", checker.unique_state_count());
}

#[test]
fn no_interleaving_lets_a_voice_count_twice_or_runs_unasked_but_for_a_glass_that_says_so() {
    let checker = Protocol::new(true, true).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.is_done() && checker.unique_state_count() > 1_000, "{}", checker.unique_state_count());
}

#[test]
fn a_store_that_does_not_compare_before_it_writes_sends_twice() {
    let checker = Protocol::new(false, false).checker().threads(2).spawn_bfs().join();
    checker.assert_any_discovery("it is sent once at most");
}
