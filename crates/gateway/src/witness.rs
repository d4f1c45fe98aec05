//! Asking witnesses to cosign the record's checkpoints.

use std::time::Duration;

use bytes::Bytes;
use crewgate_audit::{
    AuditError, Log,
    tlog::{AddCheckpoint, SignedCheckpoint, consistency_proof},
};
use crewgate_store::Store;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};

use crate::{
    client::{self, Client},
    config::WitnessSettings,
};

/// How often witnesses are asked. What is lost with the machine before that has no witness.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How long a witness may think.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer that is read: some signature lines.
const MAX_ANSWER: usize = 64 * 1024;

/// Asks one witness again and again, as long as the record grows. Never in the way of a call.
pub(crate) async fn keep_asking(store: Store, witness: WitnessSettings) {
    let client = match client::build(None) {
        Ok(client) => client,
        Err(error) => return tracing::error!(error, "witnesses cannot be asked"),
    };
    let mut known = 0;
    loop {
        match ask(&store, &client, &witness, &mut known).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(witness = witness.key.name(), error, "the record is not cosigned"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Asks once, and once more when the witness remembers another size than we do.
async fn ask(
    store: &Store,
    client: &Client,
    witness: &WitnessSettings,
    known: &mut u64,
) -> Result<(), String> {
    for _ in 0..2 {
        let text = |error: AuditError| error.to_string();
        let note = store.checkpoint().await.map_err(text)?;
        let mut checkpoint = SignedCheckpoint::parse(&note).map_err(|error| error.to_string())?;
        let size = checkpoint.claimed().head.size;
        if size <= *known {
            return if size == *known {
                Ok(())
            } else {
                Err(format!("it has seen {known} leaves, and there are {size}"))
            };
        }
        let proof = consistency_proof(store, *known, size).await.map_err(text)?;
        let proof = proof.ok_or("the tree lacks hashes")?;
        let request = AddCheckpoint { old: *known, proof, checkpoint: checkpoint.clone() };
        let (status, answer) = post(client, witness, request.to_string()).await?;
        match status {
            StatusCode::OK => {
                checkpoint.cosigned(&answer, &witness.key).map_err(|error| error.to_string())?;
                let line = checkpoint.as_str().get(note.len()..).unwrap_or_default().to_owned();
                store.cosign(size, line).await.map_err(text)?;
                *known = size;
                return Ok(());
            }
            StatusCode::CONFLICT => {
                let told: u64 = answer.trim_end().parse().map_err(|_| "it answers 409 and no size")?;
                if told == *known {
                    return Err(format!(
                        "it has cosigned another tree of {told} leaves: the record was forked"
                    ));
                }
                *known = told;
            }
            status => return Err(format!("it answers {status}")),
        }
    }
    Ok(())
}

async fn post(
    client: &Client,
    witness: &WitnessSettings,
    body: String,
) -> Result<(StatusCode, String), String> {
    let request = Request::post(format!("{}/add-checkpoint", witness.url)).body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| error.to_string())?;
    let answered = async {
        let response = client.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| e.to_string())?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    tokio::time::timeout(PATIENCE, answered).await.map_err(|_| "it does not answer".to_owned())?
}
