//! Leaves that were taken out of the log, with nothing but the log's public key.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use crewgate_audit::{
    AuditStore, Entry, Extract, ExtractFault, Lane, Log, MemoryStore, Phase, tlog::InvalidReceipt,
};
use crewgate_core::{Fact, RequestId, Timestamp};
use serde_json::Value;

async fn store() -> MemoryStore {
    let store = MemoryStore::new();
    for second in 0..300 {
        let fact = Fact::Control { by: None, what: format!("thing {second}") };
        let mut entry =
            Entry::new(Phase::Control, RequestId::random(), Timestamp::from_secs(second)).with_fact(fact);
        entry.request_body = Some(Bytes::from_static(b"{\"a\":1}"));
        store.append(Lane::Outcome, entry).await.unwrap();
    }
    store
}

async fn extract(store: &MemoryStore) -> Extract {
    let leaves = store.all();
    let some: Vec<_> = [3, 7, 299].map(|index| leaves[index].clone()).into();
    Extract::of(store, &some).await.unwrap()
}

#[tokio::test]
async fn an_extract_holds_by_itself_and_gives_receipts() {
    let store = store().await;
    let text = serde_json::to_string(&extract(&store).await).unwrap();
    let extract: Extract = serde_json::from_str(&text).unwrap();
    assert_eq!(extract.verify(&store.keys()).unwrap().head.size, 300);
    assert_eq!(extract.leaves()[1], store.all()[7]);
    let receipt = extract.receipt(7).unwrap().to_string().parse::<crewgate_audit::tlog::Receipt>().unwrap();
    assert!(receipt.verify(&store.keys(), &[]).is_ok());
    assert_eq!(extract.receipt(8), None);
    let stranger = MemoryStore::new().keys();
    assert!(matches!(extract.verify(&stranger), Err(ExtractFault::Checkpoint(_))));
}

#[tokio::test]
async fn whatever_is_changed_in_an_extract_is_named() {
    let store = store().await;
    let good = serde_json::to_value(extract(&store).await).unwrap();
    let verify = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        assert_ne!(value, good, "nothing was changed");
        serde_json::from_value::<Extract>(value).unwrap().verify(&store.keys()).map(|_| ())
    };
    let not_there = |leaf| Err(ExtractFault::Leaf(leaf, InvalidReceipt::NotIncluded));
    let record = |value: &mut Value| {
        let text = value["leaves"][1]["record"].as_str().unwrap().replace("control", "outcome");
        value["leaves"][1]["record"] = text.into();
    };
    assert_eq!(verify(&record), not_there(7));
    assert_eq!(verify(&|value| value["leaves"][0]["index"] = 4.into()), not_there(4));
    let facts = |value: &mut Value| {
        let text = value["leaves"][2]["held"]["open"]["facts"].as_str().unwrap().replace("thing", "other");
        value["leaves"][2]["held"]["open"]["facts"] = text.into();
    };
    assert_eq!(verify(&facts), Err(ExtractFault::Content(299)));
    let body = |value: &mut Value| value["leaves"][0]["held"]["open"]["body"] = "e30=".into();
    assert_eq!(verify(&body), Err(ExtractFault::Content(3)));
    let swapped = |value: &mut Value| value["leaves"][0]["held"]["leaf"] = 7.into();
    assert_eq!(verify(&swapped), Err(ExtractFault::Content(3)));
    let cut = |value: &mut Value| value["leaves"][0]["proof"].as_array_mut().unwrap().clear();
    assert_eq!(verify(&cut), not_there(3));
}
