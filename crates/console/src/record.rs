use crewgate_approval::Approval;
use crewgate_audit::{Entry, Lane, Phase};
use crewgate_core::{Fact, Principal, RequestId, RunId};

use crate::{Console, problem::Problem};

impl Console {
    /// Puts on the record that somebody did something here, before they get to see anything of it.
    pub(crate) async fn note(
        &self,
        by: &Principal,
        what: &str,
        run: Option<RunId>,
        approval: Option<&Approval>,
    ) -> Result<(), Problem> {
        let fact = Fact::Control { by: Some(by.key.clone()), what: what.to_owned() };
        let mut entry =
            Entry::new(Phase::Control, RequestId::random(), self.clock.now()).with_fact(fact).with_run(run);
        entry.approval = approval.map(Approval::id);
        self.audit
            .append(Lane::Outcome, entry)
            .await
            .map(|_| ())
            .map_err(|error| Problem::unavailable(&format_args!("the record: {error}")))
    }
}
