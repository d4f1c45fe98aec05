use std::collections::BTreeSet;

use crewgate_core::{ApproverSet, Verdict};

use crate::{Need, Vote};

/// The sets a vote stands for among these: its own, and those of the voices it speaks with whose lenders do not speak
/// for themselves. One voice is heard once.
fn heard(vote: &Vote, votes: &[Vote]) -> BTreeSet<ApproverSet> {
    let silent = |loan: &&crate::Loan| !votes.iter().any(|other| other.approver.same_person(&loan.lender));
    let lent = vote.lent.iter().filter(silent).flat_map(|loan| &loan.sets);
    vote.sets.iter().chain(lent).cloned().collect()
}

/// Whether enough different people have said yes for every need at once. One person stands for one place only, also
/// when they belong to several sets: this is a matching of people to places, not a count per set.
pub(crate) fn is_reached(needs: &[Need], votes: &[Vote]) -> bool {
    let ayes = votes.iter().filter(|vote| vote.verdict == Verdict::Approve);
    let ayes = ayes.map(|vote| heard(vote, votes)).collect::<Vec<_>>();
    let mut places = Vec::new();
    for need in needs {
        for _ in 0..need.count.get() {
            // More places than people can never be filled; this also bounds the work by the number of votes.
            if places.len() == ayes.len() {
                return false;
            }
            places.push(need);
        }
    }
    let mut seats = Seats { holder: vec![None; places.len()], places, ayes };
    !seats.places.is_empty() && (0..seats.places.len()).all(|place| seats.fill(place))
}

struct Seats<'a> {
    places: Vec<&'a Need>,
    /// The sets each yes stands for.
    ayes: Vec<BTreeSet<ApproverSet>>,
    /// Who stands at each place, by their index in `ayes`.
    holder: Vec<Option<usize>>,
}

impl Seats<'_> {
    /// Finds somebody for this place, moving people who stand elsewhere if need be: a breadth-first search for an
    /// augmenting path (Kuhn's method without its recursion).
    fn fill(&mut self, place: usize) -> bool {
        // For each person reached: the place that wants them.
        let mut wanted_by = vec![None; self.ayes.len()];
        let mut queue = std::collections::VecDeque::from([place]);
        while let Some(place) = queue.pop_front() {
            let Some(need) = self.places.get(place) else { return false };
            for (person, sets) in self.ayes.iter().enumerate() {
                let Some(wanted) = wanted_by.get_mut(person) else { return false };
                if wanted.is_some() || !sets.contains(&need.set) {
                    continue;
                }
                *wanted = Some(place);
                match self.holder.iter().position(|holder| *holder == Some(person)) {
                    Some(elsewhere) => queue.push_back(elsewhere),
                    None => return self.seat(person, &wanted_by),
                }
            }
        }
        false
    }

    /// Walks the path back: each place takes the person it wanted, whose old place takes the one it wanted.
    fn seat(&mut self, mut person: usize, wanted_by: &[Option<usize>]) -> bool {
        loop {
            let Some(Some(place)) = wanted_by.get(person).copied() else { return false };
            let Some(holder) = self.holder.get_mut(place) else { return false };
            match holder.replace(person) {
                Some(moved) => person = moved,
                None => return true,
            }
        }
    }
}
