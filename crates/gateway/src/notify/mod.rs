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

use crewgate_approval::{Approval, ApprovalStore, Filter, GrantFilter, GrantStore, Phase as Stands};
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

/// Requests, and grants, that are looked at for their end at once; the next look finds the others.
const REMINDERS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(1000).unwrap();

/// Where messages go.
trait Deliver: Send + Sync + 'static {
    /// Hands one over. `Ok`: the other side has said that it has it.
    fn deliver<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), String>>;
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
        Ok(Self { settings: settings.clone(), to, sources, reminded: BTreeSet::new() })
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
    async fn read_on(&self) -> Result<bool, String> {
        let (text, cursor) = (|error: crewgate_audit::AuditError| error.to_string(), self.cursor());
        let Sources { audit, cursors, .. } = &self.sources;
        let next = cursors.exported(&cursor).await.map_err(text)?;
        // First, so that what comes meanwhile is not passed by.
        let newest = audit.leaves(Query::default().newest_first().limit(1)).await.map_err(text)?;
        let size = newest.first().map_or(0, |leaf| leaf.index.saturating_add(1));
        let query = Query::default().phase(Phase::Approval).limit(BATCH);
        let leaves = audit.leaves(Query { after: next.checked_sub(1), ..query }).await.map_err(text)?;
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
            Occasion::Broken | Occasion::Ending | Occasion::Escalated => true,
        };
        Ok(worth.then(|| self.notice(&format!("{id}-{}", leaf.index), &approval, told, entry.time)))
    }

    /// Tells what its time has come for, each once.
    async fn remind(&mut self) -> Result<(), String> {
        let cursor = format!("{}:expiring", self.cursor());
        let now = self.sources.clock.now();
        let reached = |at: Timestamp| u64::try_from(at.as_micros()).unwrap_or_default();
        let last = self.sources.cursors.exported(&cursor).await.map_err(|error| error.to_string())?;
        let mut due = self.due(now).await?;
        due.retain(|due| due.at <= now && reached(due.at) > last);
        due.retain(|due| self.concerns(&due.approval));
        if due.is_empty() {
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

    /// What is told by the clock and by nobody's doing.
    async fn due(&self, now: Timestamp) -> Result<Vec<Due>, String> {
        let (on, before) = (&self.settings.on, self.settings.before);
        let Sources { approvals, grants, .. } = &self.sources;
        let list = async |filter: Filter| {
            let filter = Filter { limit: REMINDERS, ..filter };
            approvals.list(filter).await.map_err(|error| error.to_string())
        };
        let mut due = Vec::new();
        if on.contains(&Occasion::Expiring) || on.contains(&Occasion::Escalated) {
            for approval in list(Filter::at(now).phase(Stands::Pending)).await? {
                let (id, opened) = (approval.id(), approval.asked.opened);
                if on.contains(&Occasion::Escalated) {
                    for tier in approval.asked.needs.iter().flat_map(|need| &need.then) {
                        due.push(Due {
                            at: opened.saturating_add(tier.after),
                            id: format!("{id}-escalated-{}", tier.set),
                            told: notice::Told::Escalated { to: tier.set.to_string() },
                            approval: approval.clone(),
                        });
                    }
                }
                if on.contains(&Occasion::Expiring) {
                    let at = approval.asked.expires.saturating_sub(before).max(opened);
                    due.push(Due {
                        at,
                        id: format!("{id}-expiring"),
                        told: notice::Told::Expiring,
                        approval,
                    });
                }
            }
        }
        if on.contains(&Occasion::Broken) {
            for approval in list(Filter { unreviewed: true, ..Filter::at(now) }).await? {
                let Some(broken) = &approval.broken else { continue };
                let told = notice::Told::Overdue { by: broken.by.key.to_string() };
                due.push(Due { at: broken.due, id: format!("{}-overdue", approval.id()), told, approval });
            }
        }
        if on.contains(&Occasion::Ending) {
            let filter = GrantFilter { limit: REMINDERS, ..GrantFilter::at(now) };
            for grant in grants.list(filter).await.map_err(|error| error.to_string())? {
                let given = grant.given;
                let at = given.until.saturating_sub(before).max(given.from);
                let found = approvals.find(given.approval).await.map_err(|error| error.to_string())?;
                let Some(approval) = found.filter(|_| at <= now) else { continue };
                let told = notice::Told::Ending { role: given.role.to_string(), until: given.until };
                due.push(Due { at, id: format!("{}-ending", given.id), told, approval });
            }
        }
        Ok(due)
    }

    async fn deliver(&self, notice: &Notice) -> Result<(), String> {
        let delivered = tokio::time::timeout(PATIENCE, self.to.deliver(notice)).await;
        delivered.map_err(|_| "it does not answer".to_owned())?
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
