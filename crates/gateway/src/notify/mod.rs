//! Telling people that they are asked: signed webhooks, Slack, Teams and mail, from the record and never in the way of a
//! call.
//!
//! What is told is read from the record, from where the last message was delivered: a transition and its leaf are one
//! transaction, so nothing that happened can be missed, whatever crashes and however long a receiver is down. A message
//! may be delivered twice, under the same id. It is a hint with a link: whoever loses one loses nothing, because the
//! row is the truth, and nothing is ever decided from here.

mod chat;
mod mail;
mod notice;
mod webhook;

pub(crate) use self::webhook::SigningKey;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crewgate_approval::{Approval, ApprovalStore, Filter, GrantFilter, GrantStore, Phase as Stands, walk};
use crewgate_audit::{AuditStore, Cursors, Leaf, Phase, Query};
use crewgate_core::{Clock, Timestamp};
use futures_util::future::BoxFuture;

use self::notice::Notice;
use crate::{
    config::{NotifySettings, NotifyTo, Occasion},
    masks::Masks,
};

/// Leaves that are looked at at once.
const BATCH: u32 = 256;

/// How often the record is looked at; the store's hint is usually faster.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The longest time between two looks at what is due: a clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Leaves without news after which it is written down how far the record was read.
const NOTE_EVERY: u64 = 1000;

/// The first pause after a message was not delivered; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause after a message was not delivered.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How long a receiver may take for one message.
const PATIENCE: Duration = Duration::from_secs(15);

/// News that could not be delivered for so long are none any more. Who is still waited for is told however late.
const NEWS_FOR: Duration = Duration::from_secs(24 * 3600);

/// Grants that are looked at for their end at once, those that end first.
const GRANTS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1000).unwrap();

/// How often a message is handed to a receiver that says it wants none of it, with the pauses in between: two minutes.
/// Then the next one's turn comes.
const REFUSALS: u32 = 8;

/// Where messages go.
trait Deliver: Send + Sync + 'static {
    /// Hands one over. `Ok`: the other side has said that it has it.
    fn deliver<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Undelivered>>;
}

/// Why a message was not taken.
#[derive(Debug)]
enum Undelivered {
    /// The receiver could not be asked, or not now.
    Down(String),
    /// It was, and wants this message no better when it comes again.
    Refused(String),
}

impl From<String> for Undelivered {
    fn from(error: String) -> Self {
        Self::Down(error)
    }
}

/// What a [`Notifier`] reads from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) cursors: Arc<dyn Cursors>,
    pub(crate) approvals: Arc<dyn ApprovalStore>,
    pub(crate) grants: Arc<dyn GrantStore>,
    pub(crate) masks: Masks,
    pub(crate) clock: Arc<dyn Clock>,
}

/// One receiver's messages.
pub(crate) struct Notifier {
    settings: NotifySettings,
    to: Box<dyn Deliver>,
    sources: Sources,
    /// Who was told in a round that did not come to its end.
    reminded: BTreeSet<String>,
    refusals: Refusals,
    /// Nothing is due before this instant unless something happens to an approval.
    quiet_until: Option<Timestamp>,
}

/// The message that was refused last, and how often.
#[derive(Debug, Default)]
struct Refusals(Option<(String, u32)>);

impl Refusals {
    /// Counts another one of this message; whether it is worth another try.
    fn are_few(&mut self, id: &str) -> bool {
        let times = self.0.take().filter(|(last, _)| last == id).map_or(1, |(_, times)| times + 1);
        self.0 = Some((id.to_owned(), times));
        times < REFUSALS
    }
}

/// A message whose time is an instant.
struct Due {
    at: Timestamp,
    id: String,
    approval: Approval,
    told: notice::Told,
}

impl Notifier {
    pub(crate) fn new(settings: &NotifySettings, sources: Sources) -> Result<Self, String> {
        let to: Box<dyn Deliver> = match &settings.to {
            NotifyTo::Webhook(webhook) => {
                Box::new(webhook::Webhook::new(webhook, Arc::clone(&sources.clock))?)
            }
            NotifyTo::Slack(chat) => Box::new(chat::Chat::new(chat, chat::slack)?),
            NotifyTo::Teams(chat) => Box::new(chat::Chat::new(chat, chat::teams)?),
            NotifyTo::Smtp(mail) => Box::new(mail::Mail::new(mail)?),
        };
        Ok(Self {
            settings: settings.clone(),
            to,
            sources,
            reminded: BTreeSet::new(),
            refusals: Refusals::default(),
            quiet_until: None,
        })
    }

    /// Tells, until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping it between a delivery and its being written down delivers that message again.
    pub(crate) async fn run(mut self) {
        let hint = self.sources.approvals.hint();
        let mut ear = hint.listen();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.round().await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    // A ring or the end of the pause: look again.
                    let _ = tokio::time::timeout(LOOK_EVERY, ear.heard()).await;
                }
                Err(error) => {
                    tracing::warn!(
                        notify = self.settings.name,
                        error,
                        "a message is not delivered; it waits"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn round(&mut self) -> Result<(), String> {
        // Of gateways that share a record one tells.
        if !self.sources.cursors.leads(&self.cursor()).await.map_err(|error| error.to_string())? {
            return Ok(());
        }
        while self.read_on().await? {}
        self.remind().await
    }

    /// Tells what the next leaves say; whether there may be more.
    async fn read_on(&mut self) -> Result<bool, String> {
        let (text, cursor) = (|error: crewgate_audit::AuditError| error.to_string(), self.cursor());
        let Sources { audit, cursors, .. } = self.sources.clone();
        let next = cursors.exported(&cursor).await.map_err(text)?;
        // First, so that what comes meanwhile is not passed by.
        let newest = audit.leaves(Query::default().newest_first().limit(1)).await.map_err(text)?;
        let size = newest.first().map_or(0, |leaf| leaf.index.saturating_add(1));
        let query = Query::default().phase(Phase::Approval).limit(BATCH);
        let leaves = audit.leaves(Query { after: next.checked_sub(1), ..query }).await.map_err(text)?;
        if !leaves.is_empty() {
            self.quiet_until = None;
        }
        let mut told = next;
        for leaf in &leaves {
            if let Some(notice) = self.news(leaf).await? {
                self.deliver(&notice).await?;
                told = leaf.index.saturating_add(1);
                cursors.acknowledge(&cursor, told).await.map_err(text)?;
            }
        }
        let more = u32::try_from(leaves.len()) == Ok(BATCH);
        let read = if more { leaves.last().map_or(told, |leaf| leaf.index.saturating_add(1)) } else { size };
        if more || read.saturating_sub(told) >= NOTE_EVERY {
            cursors.acknowledge(&cursor, read).await.map_err(text)?;
        }
        Ok(more)
    }

    /// What a leaf has to tell this receiver, now.
    async fn news(&self, leaf: &Leaf) -> Result<Option<Notice>, String> {
        let Ok(entry) = leaf.entry() else { return Ok(None) };
        let Some((id, told)) = notice::told_by(&entry) else { return Ok(None) };
        if !self.settings.on.contains(&told.occasion()) {
            return Ok(None);
        }
        let found = self.sources.approvals.find(id).await.map_err(|error| error.to_string())?;
        let Some(approval) = found.filter(|approval| self.concerns(approval)) else { return Ok(None) };
        let now = self.sources.clock.now();
        let worth = match told.occasion() {
            Occasion::Asked | Occasion::Expiring => approval.state_at(now).phase() == Stands::Pending,
            Occasion::Decided => now.since(entry.time) < NEWS_FOR,
            // A receiver that is new need not hear of all there ever were.
            Occasion::Broken => {
                let open = approval.broken.as_ref().is_some_and(|broken| broken.is_open());
                open || now.since(entry.time) < NEWS_FOR
            }
            Occasion::Ending | Occasion::Escalated => true,
        };
        Ok(worth.then(|| self.notice(&format!("{id}-{}", leaf.index), &approval, told, entry.time)))
    }

    /// Tells what its time has come for, each once.
    async fn remind(&mut self) -> Result<(), String> {
        let cursor = format!("{}:expiring", self.cursor());
        let now = self.sources.clock.now();
        if self.quiet_until.is_some_and(|quiet| now < quiet) {
            return Ok(());
        }
        let reached = |at: Timestamp| u64::try_from(at.as_micros()).unwrap_or_default();
        let last = self.sources.cursors.exported(&cursor).await.map_err(|error| error.to_string())?;
        let mut soonest = now.saturating_add(LOOK_AGAIN);
        let mut due = self.due(now, &mut soonest).await?;
        due.retain(|due| reached(due.at) > last && self.concerns(&due.approval));
        if due.is_empty() {
            self.quiet_until = Some(soonest);
            return Ok(());
        }
        for Due { id, approval, told, .. } in due {
            if !self.reminded.contains(&id) {
                self.deliver(&self.notice(&id, &approval, told, now)).await?;
                self.reminded.insert(id);
            }
        }
        let acknowledged = self.sources.cursors.acknowledge(&cursor, reached(now)).await;
        acknowledged.map_err(|error| error.to_string())?;
        self.reminded.clear();
        Ok(())
    }

    /// What is told by the clock and by nobody's doing, and is due; `soonest` is when the next is, if that is sooner.
    async fn due(&self, now: Timestamp, soonest: &mut Timestamp) -> Result<Vec<Due>, String> {
        let (on, before) = (&self.settings.on, self.settings.before);
        let Sources { approvals, grants, .. } = &self.sources;
        let mut is_due = |at: Timestamp| {
            if at > now {
                *soonest = at.min(*soonest);
            }
            at <= now
        };
        let mut due = Vec::new();
        if on.contains(&Occasion::Expiring) || on.contains(&Occasion::Escalated) {
            let reminders = |approval: Approval| {
                let times = self.times(&approval).into_iter().filter(|(at, ..)| is_due(*at));
                let all = times.map(|(at, id, told)| Due { at, id, told, approval: approval.clone() });
                Some(all.collect::<Vec<_>>()).filter(|all| !all.is_empty())
            };
            let pending = Filter::at(now).phase(Stands::Pending);
            let found = walk(&**approvals, pending, usize::MAX, reminders).await;
            due.extend(found.map_err(|error| error.to_string())?.rows.into_iter().flatten());
        }
        if on.contains(&Occasion::Broken) {
            let overdue = |approval: Approval| {
                let broken = approval.broken.as_ref().filter(|broken| is_due(broken.due))?;
                let told = notice::Told::Overdue { by: broken.by.key.to_string() };
                Some(Due { at: broken.due, id: format!("{}-overdue", approval.id()), told, approval })
            };
            let unreviewed = Filter { unreviewed: true, ..Filter::at(now) };
            let found = walk(&**approvals, unreviewed, usize::MAX, overdue).await;
            due.extend(found.map_err(|error| error.to_string())?.rows);
        }
        if on.contains(&Occasion::Ending) {
            let filter = GrantFilter { limit: GRANTS, ..GrantFilter::at(now) };
            for grant in grants.list(filter).await.map_err(|error| error.to_string())? {
                let given = grant.given;
                let at = given.until.saturating_sub(before).max(given.from);
                if !is_due(at) {
                    continue;
                }
                let found = approvals.find(given.approval).await.map_err(|error| error.to_string())?;
                let Some(approval) = found else { continue };
                let told = notice::Told::Ending { role: given.role.to_string(), until: given.until };
                due.push(Due { at, id: format!("{}-ending", given.id), told, approval });
            }
        }
        Ok(due)
    }

    /// When somebody is told of a request that still waits.
    fn times(&self, approval: &Approval) -> Vec<(Timestamp, String, notice::Told)> {
        let (on, id, asked) = (&self.settings.on, approval.id(), &approval.asked);
        let mut times = Vec::new();
        if on.contains(&Occasion::Escalated) {
            for tier in asked.needs.iter().flat_map(|need| &need.then) {
                let told = notice::Told::Escalated { to: tier.set.to_string() };
                times.push((
                    asked.opened.saturating_add(tier.after),
                    format!("{id}-escalated-{}", tier.set),
                    told,
                ));
            }
        }
        if on.contains(&Occasion::Expiring) {
            let at = asked.expires.saturating_sub(self.settings.before).max(asked.opened);
            times.push((at, format!("{id}-expiring"), notice::Told::Expiring));
        }
        times
    }

    /// Hands a message over. One that its receiver does not want goes by after some times: those after it are no worse.
    async fn deliver(&mut self, notice: &Notice) -> Result<(), String> {
        let delivered = tokio::time::timeout(PATIENCE, self.to.deliver(notice)).await;
        match delivered.unwrap_or_else(|_| Err(Undelivered::Down("it does not answer".to_owned()))) {
            Ok(()) => Ok(()),
            Err(Undelivered::Down(error)) => Err(error),
            Err(Undelivered::Refused(error)) => {
                if self.refusals.are_few(&notice.id) {
                    return Err(error);
                }
                let (notify, message) = (&self.settings.name, &notice.id);
                tracing::error!(
                    notify,
                    message,
                    error,
                    "a message is given up: its receiver does not want it"
                );
                Ok(())
            }
        }
    }

    fn concerns(&self, approval: &Approval) -> bool {
        let sets = &self.settings.approvers;
        let reviewers = approval.broken.as_ref().map(|broken| &broken.reviewers);
        sets.is_empty()
            || !approval.voices(self.sources.clock.now()).is_disjoint(sets)
            || reviewers.is_some_and(|reviewers| !reviewers.is_disjoint(sets))
    }

    fn notice(&self, id: &str, approval: &Approval, told: notice::Told, at: Timestamp) -> Notice {
        let masker = self.sources.masks.told(&approval.asked.operation.resource);
        let link = self.settings.link.replace("{id}", &approval.id().to_string());
        Notice::of(id, approval, &told, at, link, masker.as_ref())
    }

    fn cursor(&self) -> String {
        format!("notify:{}", self.settings.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_nobody_wants_is_tried_some_times_and_each_for_itself() {
        let mut refusals = Refusals::default();
        assert!((1..REFUSALS).all(|_| refusals.are_few("one")));
        assert!(refusals.are_few("two"), "another one came between");
        assert!((1..REFUSALS).all(|_| refusals.are_few("one")));
        assert!(!refusals.are_few("one"));
    }
}
