//! Ids in CrewAI's answers, as the ledger of runs wants to be told of them.

use bytes::Bytes;
use crewgate_core::{IdKind, Operation, Refusal};
use crewgate_crewai::{Answer, Mint};
use crewgate_runs::{AnswerIds, FoundId, OwnIds, Place};
use http::response::Parts;

/// Reads and writes CrewAI's answers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CrewAnswers;

impl AnswerIds for CrewAnswers {
    type Answer = Answer;

    fn read(&self, operation: &Operation, head: &Parts, body: &Bytes) -> Result<Answer, Refusal> {
        let known: Vec<&str> = operation.ids.iter().filter_map(|id| id.upstream.as_deref()).collect();
        Answer::parse(operation.action.as_str(), head.status, &head.headers, body, &known)
    }

    fn ids(&self, answer: &Answer) -> Vec<FoundId> {
        let minted = answer.minted().iter().map(|minted| FoundId {
            upstream: minted.upstream.clone(),
            place: match minted.mint {
                Mint::Resumed => Place::OfRun(IdKind::Run),
                Mint::Run => Place::NewRun,
                Mint::Task => Place::OfRun(IdKind::Task),
            },
        });
        let mentioned = answer.mentions().map(|mention| FoundId {
            upstream: mention.upstream,
            place: if mention.named { Place::Named } else { Place::Text },
        });
        minted.chain(mentioned).collect()
    }

    fn write(&self, mut answer: Answer, own: &OwnIds) -> Result<Bytes, Refusal> {
        if let Some(pending) = own.pending_task() {
            answer.show_pending_task(pending.execution, pending.task);
        }
        Ok(answer.render(|mention| own.own(&mention.upstream, mention.named)))
    }
}
