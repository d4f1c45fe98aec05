use std::time::Duration;

use crewgate_core::Timestamp;

use crate::{Approval, End, GiveError, NewGrant, machine, machine::Transition};

/// What a request for a role gives in the moment in which it is agreed to, or why it gives nothing any more.
pub type Gift = Result<NewGrant, String>;

/// It is over before anybody could look at the clock.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How a request for a role goes on from its last yes to its end, in the transaction of that yes: `give` writes the
/// grant. `None`: it is not there to be carried out, and `give` was not asked.
pub fn hand_over<T>(
    agreed: &Approval,
    gift: Gift,
    now: Timestamp,
    give: impl FnOnce(NewGrant) -> Result<T, GiveError>,
) -> Option<(Vec<Transition>, Option<T>)> {
    let (claimed, lease) = machine::claim(agreed, now, AT_ONCE)?;
    let new = match gift {
        Ok(new) => new,
        Err(changed) => {
            let end = machine::invalidate(&claimed.approval, lease, &changed, now).ok()?;
            return Some((vec![claimed, end], None));
        }
    };
    let sent = machine::mark_sent(&claimed.approval, lease, now).ok()?;
    let (end, given) = match give(new) {
        Ok(given) => (End::Executed, Some(given)),
        Err(error) => (End::Failed { reason: error.to_string() }, None),
    };
    let settled = machine::settle(&sent.approval, lease, &end, now).ok()?;
    Some((vec![claimed, sent, settled], given))
}
