use std::{borrow::Cow, collections::BTreeSet};

use crewgate_core::{ApprovalId, Ending, Fact, RequestId, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    AuditError, Content, Entry, Phase,
    content::Commitments,
    frames,
    search::Word,
    tlog::{Hash, MAX_LEAF_BYTES},
};

/// JSON in its one canonical spelling (RFC 8785).
///
/// # Errors
///
/// [`AuditError::Invalid`] for what cannot be written as JSON.
pub fn canonical<T: Serialize>(value: &T) -> Result<String, AuditError> {
    serde_json_canonicalizer::to_string(value).map_err(|_| AuditError::Invalid)
}

/// One leaf of the log, and what lies beside it.
///
/// `record` is what is hashed: a small canonical JSON object that says what kind of thing happened, when, to which
/// request, run and approval, and that commits to the content. It says nothing about a person. The text is hashed,
/// never what it parses to: a later version that writes records differently still verifies old leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its place, counted from 0 without gaps.
    pub index: u64,
    /// The canonical record.
    pub record: String,
    /// Facts and bodies.
    pub held: Held,
}

/// What became of a leaf's content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "whoever reads must say what each of them means")]
pub enum Held {
    /// Readable.
    Open(Content),
    /// There, and sealed with a key that is not at hand.
    Sealed,
    /// The key of the person it tells of was destroyed. The person's pseudonym is all that is left.
    Erased {
        /// Equal for all leaves of one person.
        subject: String,
    },
    /// It is not there.
    Missing,
    /// It is there, and the key it was sealed with does not open it: it was changed.
    Broken,
}

impl Leaf {
    /// The entry it was made from; without facts and bodies when its content is not readable.
    ///
    /// # Errors
    ///
    /// [`AuditError::Corrupt`] when record or content cannot be read. That they can be read does not mean that nobody
    /// changed them: [`verify`](crate::verify()) tells.
    pub fn entry(&self) -> Result<Entry, AuditError> {
        let corrupt = || AuditError::Corrupt { leaf: self.index };
        let record: Record<'_> = serde_json::from_str(&self.record).map_err(|_| corrupt())?;
        let mut entry = Entry {
            time: record.time,
            started: record.started.unwrap_or(record.time),
            phase: record.phase,
            request: record.request,
            run: record.run,
            approval: record.approval,
            facts: Vec::new(),
            request_body: None,
            frames: Vec::new(),
        };
        match &self.held {
            Held::Open(content) => {
                entry.facts = serde_json::from_slice(&content.facts).map_err(|_| corrupt())?;
                entry.request_body.clone_from(&content.request_body);
                entry.frames = frames::decode(&content.frames).ok_or_else(corrupt)?;
            }
            Held::Broken => return Err(corrupt()),
            Held::Sealed | Held::Erased { .. } | Held::Missing => {}
        }
        Ok(entry)
    }

    /// The words by which it is found; none when its record cannot be read.
    #[must_use]
    pub fn words(&self) -> BTreeSet<Word> {
        self.parse().map(|record| record.words()).unwrap_or_default()
    }

    /// What the tree holds of it.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::leaf(self.record.as_bytes())
    }

    /// Whether this is the content its record commits to.
    pub(crate) fn commits_to(&self, content: &Content) -> bool {
        self.parse().is_some_and(|record| record.content == content.commitments())
    }

    /// What its record says, if it can be read.
    pub(crate) fn parse(&self) -> Option<Record<'_>> {
        serde_json::from_str(&self.record).ok()
    }
}

/// An entry made ready for the log outside of the one place where leaves get their numbers: only the number is missing.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The canonical record.
    pub record: String,
    /// The words by which it is found: what the record says, once more.
    pub words: BTreeSet<Word>,
    /// Its leaf hash.
    pub hash: Hash,
    /// What lies beside it.
    pub content: Content,
}

impl Prepared {
    /// Serialises an entry, salts its content and hashes its record.
    ///
    /// # Errors
    ///
    /// [`AuditError::Invalid`] when a fact cannot be written as JSON or the record is longer than a leaf can be.
    pub fn new(entry: Entry) -> Result<Self, AuditError> {
        let kind = entry.kind().ok_or(AuditError::Invalid)?;
        let facts = serde_json::to_vec(&entry.facts).map_err(|_| AuditError::Invalid)?;
        let content = Content::new(facts, entry.request_body, frames::encode(&entry.frames))?;
        let described = entry.facts.iter().rev().find_map(|fact| match fact {
            Fact::Described { action, resource, .. } => Some((action.as_str(), resource.as_str())),
            _ => None,
        });
        let erases = entry.facts.iter().find_map(|fact| match fact {
            Fact::Erased { subject } => Some(subject.as_str().into()),
            _ => None,
        });
        let prunes = entry.facts.iter().find_map(|fact| match fact {
            Fact::Pruned { below, class } => Some(Prunes { below: *below, class: class.as_str().into() }),
            _ => None,
        });
        let cuts = entry.facts.iter().find_map(|fact| match fact {
            Fact::Cut { below } => Some(*below),
            _ => None,
        });
        let (mut decision, mut roles, mut rules) = (None, Vec::new(), Vec::new());
        let mut masked = BTreeSet::new();
        for fact in &entry.facts {
            match fact {
                // The last one counts: a release is decided again.
                Fact::Decided { outcome, basis, .. } => {
                    decision = Some(outcome.as_str().into());
                    roles = basis.roles.iter().map(|role| role.as_str().into()).collect();
                    rules = basis.rules.iter().map(|rule| rule.as_str().into()).collect();
                }
                Fact::Masked { hits, .. } => {
                    masked.extend(hits.keys().map(|entity| Cow::Borrowed(entity.as_str())))
                }
                _ => {}
            }
        }
        let ended = entry.facts.iter().rev().find_map(|fact| match fact {
            Fact::Ended { how, status, .. } => Some((*how, *status)),
            _ => None,
        });
        let record = Record {
            action: described.map(|(action, _)| action.into()),
            approval: entry.approval,
            content: content.commitments(),
            cuts,
            decision,
            ended: ended.map(|(how, _)| how),
            erases,
            kind: (kind != entry.phase.as_str()).then_some(kind),
            masked,
            phase: entry.phase,
            prunes,
            request: entry.request,
            resource: described.map(|(_, resource)| resource.into()),
            roles,
            rules,
            run: entry.run,
            started: (entry.started != entry.time).then_some(entry.started),
            status: ended.map(|(_, status)| status),
            time: entry.time,
            v: 1,
        };
        let (words, record) = (record.words(), canonical(&record)?);
        if record.len() > MAX_LEAF_BYTES {
            return Err(AuditError::Invalid);
        }
        Ok(Self { hash: Hash::leaf(record.as_bytes()), record, words, content })
    }

    /// The leaf in this place.
    #[must_use]
    pub fn at(self, index: u64) -> Leaf {
        Leaf { index, record: self.record, held: Held::Open(self.content) }
    }
}

/// What a leaf says. Members stand in the order of their names, which is the canonical one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalId>,
    content: Commitments,
    /// Leaves below this one may be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cuts: Option<u64>,
    /// What policy decided; with the roles and rules that decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ending>,
    /// The pseudonym of a person whose key was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) erases: Option<Cow<'a, str>>,
    /// Left out where it is `phase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    /// Entities of which masks found something.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    masked: BTreeSet<Cow<'a, str>>,
    pub(crate) phase: Phase,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) prunes: Option<Prunes<'a>>,
    request: RequestId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    /// Left out where it is `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    time: Timestamp,
    v: u8,
}

/// Content of a class's leaves below this one may be gone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prunes<'a> {
    pub(crate) below: u64,
    pub(crate) class: Cow<'a, str>,
}

impl Record<'_> {
    fn words(&self) -> BTreeSet<Word> {
        let kind = self.kind.as_deref().unwrap_or(self.phase.as_str());
        let one = |text: &str| text.to_owned();
        let mut words = BTreeSet::from([Word::Kind(one(kind))]);
        words.extend(self.action.as_deref().map(one).map(Word::Action));
        words.extend(self.decision.as_deref().map(one).map(Word::Decision));
        words.extend(self.resource.as_deref().map(one).map(Word::Resource));
        words.extend(self.masked.iter().map(|entity| Word::Masked(one(entity))));
        words.extend(self.roles.iter().map(|role| Word::Role(one(role))));
        words.extend(self.rules.iter().map(|rule| Word::Rule(one(rule))));
        words
    }
}
