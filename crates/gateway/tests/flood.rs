//! Ten thousand strangers: the record stays bounded, and callers with a token do not notice.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{SystemTime, UNIX_EPOCH},
};

use crewgate_audit::{AuditStore, DEFAULT_REFUSALS_PER_MINUTE, Log, Phase, Query};
use crewgate_core::Fact;
use tokio::task::JoinSet;

use house::{House, Plan, Wire, request, until, verifies};

const CONNECTIONS: u64 = 20;
const REQUESTS: u64 = 500;
const CALLS: u64 = 100;

fn minute() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_strangers_leave_a_bounded_record_and_do_not_stop_callers() {
    let house = House::with(Plan { gateway: "per_address = \"1000000/s\"", ..Plan::default() }).await;
    let (address, begin) = (house.data(), minute());
    let before = house.running.store().head().await.unwrap().size;
    assert_eq!(before, 1, "what it started with");
    let mut strangers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        strangers.spawn(async move {
            let mut wire = Wire::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), address).await;
            for _ in 0..REQUESTS {
                wire.send(&request("GET", "/support/inputs", &[], b"")).await;
                let answer = wire.answer().await.unwrap();
                assert_eq!(answer.refusal(), (401, "token_missing".to_owned()));
            }
        });
    }
    let authorization = format!("authorization: Bearer {}", house.alice());
    let mut wire = Wire::connect(address).await;
    for call in 0..CALLS {
        wire.send(&request("GET", "/support/inputs", &[&authorization], b"")).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 200, "call {call} amid the flood: {}", answer.text());
    }
    drop(wire);
    while let Some(done) = strangers.join_next().await {
        done.unwrap();
    }
    assert_eq!(house.support.calls().total(), CALLS);
    let minutes = minute() - begin + 1;
    let ground = house.stop().await;

    let store = ground.folder.store().await;
    let (mut told, mut leaves_of_counts, mut counted, mut outcomes, mut after) = (0, 0, 0, 0, None);
    loop {
        let leaves = store.leaves(Query { after, limit: 5000, ..Query::default() }).await.unwrap();
        let Some(last) = leaves.last() else { break };
        after = Some(last.index);
        for entry in leaves.iter().map(|leaf| leaf.entry().unwrap()) {
            let folded: Vec<(Option<String>, u64)> = entry
                .facts
                .iter()
                .filter_map(|fact| match fact {
                    Fact::Folded { remote, count } => Some((remote.clone(), *count)),
                    _ => None,
                })
                .collect();
            match entry.phase {
                Phase::Refused if folded.is_empty() => told += 1,
                Phase::Refused => {
                    leaves_of_counts += 1;
                    for (remote, count) in folded {
                        assert_eq!(remote.as_deref(), Some("127.0.0.2"));
                        counted += count;
                    }
                }
                Phase::Outcome => outcomes += 1,
                _ => {}
            }
        }
    }
    let quota = u64::from(DEFAULT_REFUSALS_PER_MINUTE);
    assert!(told <= quota * minutes, "{told} refusals in {minutes} minutes");
    assert!(leaves_of_counts <= minutes, "{leaves_of_counts} counts in {minutes} minutes");
    assert_eq!(told + counted, CONNECTIONS * REQUESTS, "each stranger is told or counted");
    assert_eq!(outcomes, CALLS, "each call with a token is told");
    store.close().await;
    verifies(&ground.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_over_its_limit_is_told_when_to_come_back_and_leaves_no_record() {
    let house = House::with(Plan { gateway: "per_address = \"3/h\"", ..Plan::default() }).await;
    let flood = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut wire = Wire::connect_from(flood, house.data()).await;
    for _ in 0..3 {
        wire.send(&request("GET", "/support/inputs", &[], b"")).await;
        assert_eq!(wire.answer().await.unwrap().status, 401);
    }
    let leaves = async || house.running.store().head().await.unwrap().size;
    // The first says what it started with.
    until("the refusals on the record", async || (leaves().await == 4).then_some(())).await;
    for _ in 0..50 {
        wire.send(&request("GET", "/support/inputs", &[], b"")).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.refusal(), (429, "address_limited".to_owned()));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1200).contains(&wait), "{wait}");
    }
    // Another address is another caller.
    let answer = house.get("/support/inputs", &house.alice()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    house.outcomes(1).await;
    assert_eq!(leaves().await, 6, "the start, three refusals, one intent, one outcome");
    house.stop().await;
}
