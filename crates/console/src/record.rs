use crewgate_approval::Approval;
use crewgate_audit::{Entry, Lane};
use crewgate_core::{Principal, RequestId, RunId, Trail};
use http::StatusCode;

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
        let mut entry = self.control(RequestId::random(), by, what).with_run(run);
        entry.approval = approval.map(Approval::id);
        self.append(entry).await
    }

    /// As [`note`](Self::note), with everything that was found out on the way.
    pub(crate) async fn note_trail(
        &self,
        by: &Principal,
        what: &str,
        run: RunId,
        trail: &Trail,
    ) -> Result<(), Problem> {
        let entry = self.control(trail.request(), by, what).with_run(Some(run));
        self.append(trail.facts().into_iter().fold(entry, Entry::with_fact)).await
    }

    /// Lets readers of the record see everybody's `things`, and puts it on the record that they looked.
    pub(crate) async fn everybodys(&self, who: &Principal, things: &str) -> Result<(), Problem> {
        self.looked(who, &format!("access.{things}"), None).await
    }

    /// Lets readers of the record see what they say they look at, and puts it on the record that they did.
    pub(crate) async fn looked(
        &self,
        who: &Principal,
        what: &str,
        run: Option<RunId>,
    ) -> Result<(), Problem> {
        if !self.readers.reads_record(who).await {
            let detail = "only readers of the record see what is recorded of others";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not_record_reader", detail));
        }
        self.note(who, what, run, None).await
    }

    fn control(&self, request: RequestId, by: &Principal, what: &str) -> Entry {
        Entry::told(what, Some(by.key.clone()), request, self.clock.now())
    }

    async fn append(&self, entry: Entry) -> Result<(), Problem> {
        let appended = self.audit.append(Lane::Outcome, entry).await;
        appended.map(|_| ()).map_err(|error| Problem::unavailable(&format_args!("the record: {error}")))
    }
}
