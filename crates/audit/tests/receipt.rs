//! A receipt for one leaf, and a witness, with nothing but public keys.
#![expect(clippy::unwrap_used, reason = "tests")]

use crewgate_audit::{
    AuditStore, Entry, Lane, Log, MemoryStore, Phase, prove,
    tlog::{
        AddCheckpoint, Checkpoint, InvalidReceipt, KeyKind, NoteError, Receipt, SignedCheckpoint, Signer,
        WitnessAnswer, WitnessState, consistency_proof,
    },
};
use crewgate_core::{RequestId, Timestamp};

async fn store(leaves: usize) -> MemoryStore {
    let store = MemoryStore::new();
    grow(&store, leaves).await;
    store
}

async fn grow(store: &MemoryStore, leaves: usize) {
    for _ in 0..leaves {
        let entry = Entry::new(Phase::Control, RequestId::random(), Timestamp::from_secs(1));
        store.append(Lane::Outcome, entry).await.unwrap();
    }
}

#[tokio::test]
async fn every_leaf_has_a_receipt_that_holds_by_itself() {
    let store = store(300).await;
    let keys = store.keys();
    for index in [0, 1, 255, 256, 299] {
        let text = prove(&store, index, None).await.unwrap().unwrap().to_string();
        let receipt: Receipt = text.parse().unwrap();
        assert_eq!(receipt.verify(&keys, &[]).unwrap().head.size, 300);
        assert_eq!(receipt.to_string(), text);
    }
    assert_eq!(prove(&store, 300, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_receipt_that_was_changed_proves_nothing() {
    let store = store(300).await;
    let keys = store.keys();
    let good = prove(&store, 7, None).await.unwrap().unwrap();
    let other = prove(&store, 8, None).await.unwrap().unwrap();
    for bad in [
        Receipt { index: 8, ..good.clone() },
        Receipt { record: other.record, ..good.clone() },
        Receipt { proof: other.proof, ..good.clone() },
        Receipt { proof: Vec::new(), ..good.clone() },
    ] {
        assert_eq!(bad.verify(&keys, &[]), Err(InvalidReceipt::NotIncluded));
    }
    let stranger = MemoryStore::new().keys();
    assert_eq!(good.verify(&stranger, &[]), Err(InvalidReceipt::Checkpoint(NoteError::Untrusted)));
    let witness = Signer::generate("w", KeyKind::Witness).unwrap();
    let asked = [witness.verifier().clone()];
    assert_eq!(good.verify(&keys, &asked), Err(InvalidReceipt::Unwitnessed(0)));
    let mut witnessed = good.clone();
    witnessed.checkpoint.cosigned(&witness.sign(good.checkpoint.text(), 9), witness.verifier()).unwrap();
    assert!(witnessed.to_string().parse::<Receipt>().unwrap().verify(&keys, &asked).is_ok());
    for text in ["", "c2sp.org/tlog-proof@v1\n\n", &good.to_string().replace("index 7", "index 07")] {
        assert!(text.parse::<Receipt>().is_err(), "{text}");
    }
}

async fn request(store: &MemoryStore, old: u64) -> AddCheckpoint {
    let checkpoint = SignedCheckpoint::parse(&store.checkpoint().await.unwrap()).unwrap();
    let proof = consistency_proof(store, old, checkpoint.claimed().head.size).await.unwrap().unwrap();
    let request = AddCheckpoint { old, proof, checkpoint };
    assert_eq!(request.to_string().parse(), Ok(request.clone()));
    request
}

#[tokio::test]
async fn a_witness_cosigns_a_log_that_only_grows() {
    let store = store(3).await;
    let (keys, witness) = (store.keys(), Signer::generate("w", KeyKind::Witness).unwrap());
    let mut state = WitnessState::default();
    for size in [3, 300, 301] {
        grow(&store, size - usize::try_from(store.head().await.unwrap().size).unwrap()).await;
        let request = request(&store, state.0.size).await;
        let WitnessAnswer::Cosigned { line, state: next } = state.answer(&request, &keys, &witness, 77)
        else {
            panic!("not cosigned at {size}");
        };
        let mut checkpoint = request.checkpoint;
        checkpoint.cosigned(&line, witness.verifier()).unwrap();
        assert_eq!(checkpoint.time_by(witness.verifier()), Ok(Some(77)));
        assert_eq!(next.0, store.head().await.unwrap());
        state = next;
    }
}

#[tokio::test]
async fn a_witness_says_no_to_each_wrong_in_its_own_way() {
    let store = store(300).await;
    let (keys, witness) = (store.keys(), Signer::generate("w", KeyKind::Witness).unwrap());
    let known = WitnessState(self::store(100).await.head().await.unwrap());
    let first = WitnessState::default();
    let good = request(&store, 0).await;
    let answer = |state: WitnessState, request: &AddCheckpoint| state.answer(request, &keys, &witness, 1);

    assert_eq!(answer(known, &good), WitnessAnswer::Conflict(100), "it knows more than the log says");
    assert_eq!(answer(first, &AddCheckpoint { old: 301, ..good.clone() }), WitnessAnswer::Backwards);
    assert_eq!(
        answer(known, &request(&store, 100).await),
        WitnessAnswer::Inconsistent,
        "another log's first 100"
    );
    let forked = WitnessState(self::store(300).await.head().await.unwrap());
    assert_eq!(answer(forked, &AddCheckpoint { old: 300, ..good.clone() }), WitnessAnswer::Conflict(300));
    assert_eq!(first.answer(&good, &[], &witness, 1), WitnessAnswer::Unknown);
    let signer = Signer::generate("memory", KeyKind::Log).unwrap();
    let other = Checkpoint { origin: "memory".to_owned(), head: store.head().await.unwrap() };
    let checkpoint = other.sign(&[signer]).unwrap();
    assert_eq!(answer(first, &AddCheckpoint { checkpoint, ..good }), WitnessAnswer::Untrusted);
    assert_eq!(WitnessAnswer::Inconsistent.status(), 422);
}
