//! Both vaults do the same.
#![expect(clippy::unwrap_used, reason = "tests")]

use crewgate_core::Timestamp;
use crewgate_masking::{Issued, Keys, MemoryVault, Vault, VaultKeys};
use crewgate_store::{Options, Store};

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

async fn keeps(vault: &dyn Vault) {
    let keys = VaultKeys(Keys::new([[5; 32].as_slice()]).unwrap());
    let issued = |n: u8| Issued::new(format!("<EMAIL_{n}>"), "EMAIL", format!("u{n}@example.com"));
    let seal = |scope: &str, n: u8, expires| keys.seal(scope, &issued(n), at(expires)).unwrap();
    vault.keep(vec![seal("request:1", 1, 100), seal("request:1", 2, 50)]).await.unwrap();
    // What is there stays: a token never changes what it stands for.
    vault
        .keep(vec![keys.seal("request:1", &Issued::new("<EMAIL_1>", "EMAIL", "x"), at(100)).unwrap()])
        .await
        .unwrap();
    vault.adopt("request:1", "run:7").await.unwrap();
    assert!(vault.of("request:1", at(0)).await.unwrap().is_empty());
    let open = |all: Vec<_>| all.iter().filter_map(|one| keys.open(one)).collect::<Vec<_>>();
    assert_eq!(open(vault.of("run:7", at(0)).await.unwrap()), [issued(1), issued(2)]);
    assert_eq!(open(vault.of("run:7", at(50)).await.unwrap()), [issued(1)]);
    assert_eq!(vault.forget(at(50)).await.unwrap(), 1);
    assert_eq!(vault.of("run:7", at(0)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn tokens_are_kept_adopted_and_forgotten_in_memory() {
    keeps(&MemoryVault::new()).await;
}

#[tokio::test]
async fn tokens_are_kept_adopted_and_forgotten_on_disk_and_no_value_is_in_the_file() {
    let folder = std::env::temp_dir().join(format!("crewgate-vault-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("crewgate.db");
    let store = Store::open(&file, Options::default()).await.unwrap();
    keeps(&store).await;
    store.close().await;
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.windows(7).any(|seven| seven == b"<EMAIL_"));
    assert!(!bytes.windows(11).any(|eleven| eleven == b"example.com"));
    std::fs::remove_dir_all(&folder).unwrap();
}
