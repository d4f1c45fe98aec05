mod search;
mod transition;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crewgate_audit::{
    AuditError, Class, EraseError, Erasure, Fault, FaultKind, Folder, Log, export, parted, prove,
    tlog::{KeyKind, Receipt, SignedCheckpoint, Signer, VerifierKey},
    verify,
};
use crewgate_core::{Clock as _, SystemClock};
use http::Method;
use serde_json::{Value, json};

pub use self::transition::transition;
use super::{
    ConfigFile,
    control::{Api, Console},
    output::{Failure, Output},
    record::{Hand, Reads, note, open, unavailable},
};

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    console: Console,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print what the record says of itself, signed: kept elsewhere, it shows later that nothing was taken back.
    Checkpoint,
    /// Destroy the key of a person: nobody reads what the record holds of them, and every proof holds. A running gateway
    /// does it for you, with your own token, if you may.
    Erase {
        /// Whose, `issuer:subject`.
        #[arg(long)]
        subject: String,
    },
    /// Write the record as plain files that anybody can verify.
    Export {
        /// An empty folder, or one that is not there yet.
        folder: PathBuf,
        /// Only what was signed: no facts, no bodies.
        #[arg(long)]
        without_content: bool,
    },
    /// Keep what the record holds of a person from being erased, pruned or cut off.
    Hold {
        /// Whose, `issuer:subject`.
        #[arg(long)]
        subject: String,
        /// No longer.
        #[arg(long)]
        release: bool,
    },
    /// Print the public keys by which the record can be verified.
    Key,
    /// Make a key: to sign the record under a name of its own, or for a witness.
    NewKey {
        /// The name, such as `gateway.example.com/record`.
        name: String,
        /// For a witness.
        #[arg(long)]
        witness: bool,
    },
    /// Print a receipt: proof that a leaf is on the record, complete in itself.
    Prove {
        /// The leaf, as the answer's `audit-leaf` header says.
        leaf: u64,
        /// Under the latest checkpoint a witness has cosigned, instead of the latest.
        #[arg(long)]
        witnessed: bool,
    },
    /// Give up facts and bodies older than this, except those on hold; the leaves stay.
    Prune {
        /// Only of these records: `approvals`, `calls`, `house` or `refusals`; may be given more than once.
        #[arg(long)]
        class: Vec<Class>,
        /// How old, such as `180d`.
        #[arg(long)]
        older_than: humantime::Duration,
    },
    /// Find leaves, with your own token, as a reader of the record; that you looked is on it.
    Search(Box<search::Arguments>),
    /// Report on the way over: who still uses a shared key, and what observe mode would have refused.
    Transition,
    /// Check the whole record: every leaf, their order, that none is missing, and what was signed.
    Verify {
        /// An exported record instead of the store.
        #[arg(long)]
        folder: Option<PathBuf>,
        /// Another copy of the record, exported: it must tell the same story as far as both go.
        #[arg(long, value_name = "FOLDER")]
        against: Option<PathBuf>,
        /// A public key to believe, instead of those of the configuration; may be given more than once.
        #[arg(long)]
        key: Vec<VerifierKey>,
        /// A checkpoint kept earlier: the record must still begin with what it says.
        #[arg(long)]
        since: Option<PathBuf>,
    },
    /// Check a receipt with nothing but the public key.
    VerifyReceipt {
        /// The receipt.
        receipt: PathBuf,
        /// A public key of the record to believe; may be given more than once.
        #[arg(long, required = true)]
        key: Vec<VerifierKey>,
        /// A witness that must have cosigned; may be given more than once.
        #[arg(long)]
        witness: Vec<VerifierKey>,
    },
}

/// Leaves read at once.
pub(super) const PAGE: u32 = 1000;

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { config, console, command } = arguments;
    let store = async || open(&config.load()?).await;
    match command {
        Command::Checkpoint => {
            let note = store().await?.checkpoint().await.map_err(unavailable)?;
            output.print(&json!({ "checkpoint": note }), |_| note.trim_end().to_owned())
        }
        Command::Export { folder, without_content } => {
            let store = store().await?;
            if !without_content {
                note(&config, &console, Reads::Record).await?;
            }
            let mut bar = Bar::new("exported");
            let head = export(&store, &folder, !without_content, |done, all| bar.show(done, all)).await;
            bar.clear();
            let head = head.map_err(|error| Failure::unavailable(error.to_string()))?;
            let report = json!({ "leaves": head.size, "root": head.root.to_string(), "folder": folder });
            output.print(&report, |_| format!("{} leaves are in {}", head.size, folder.display()))
        }
        Command::Erase { subject } => give_up(&config, &console, &GiveUp::Person(subject), output).await,
        Command::Hold { subject, release } => {
            match Hand::of(&config.load()?, &console).await? {
                Hand::Gateway(api) => {
                    let body = json!({ "person": subject, "held": !release });
                    api.call(Method::POST, "/api/record/hold", Some(body)).await?;
                }
                Hand::Store(store) => {
                    let held = store.hold(&subject, !release, None).await;
                    store.close().await;
                    held.map_err(kept)?;
                }
            }
            output.print(&json!({ "held": !release }), |_| {
                format!("{}on hold", if release { "no longer " } else { "" })
            })
        }
        Command::Key => {
            let keys: Vec<String> = store().await?.keys().iter().map(ToString::to_string).collect();
            output.print(&json!({ "keys": keys }), |_| keys.join("\n"))
        }
        Command::NewKey { name, witness } => {
            let kind = if witness { KeyKind::Witness } else { KeyKind::Log };
            let key = Signer::generate(&name, kind).map_err(|error| Failure::usage(error.to_string()))?;
            let (private, public) = (key.expose(), key.verifier().to_string());
            output.print(&json!({ "private": private, "public": public }), |_| format!("{private}\n{public}"))
        }
        Command::Prove { leaf, witnessed } => {
            let store = store().await?;
            let under = if witnessed {
                let note = store.cosigned().await.map_err(unavailable)?;
                let note = note.ok_or_else(|| Failure::no("no witness has cosigned a checkpoint yet"))?;
                Some(SignedCheckpoint::parse(&note).map_err(|error| Failure::no(error.to_string()))?)
            } else {
                None
            };
            let receipt = prove(&store, leaf, under).await.map_err(unavailable)?;
            let receipt = receipt.ok_or_else(|| Failure::no(format!("leaf {leaf} is not in that tree")))?;
            let text = receipt.to_string();
            output.print(&json!({ "receipt": text }), |_| text.trim_end().to_owned())
        }
        Command::Prune { class, older_than } => {
            let classes = if class.is_empty() { Class::ALL.to_vec() } else { class };
            give_up(&config, &console, &GiveUp::Old(classes, *older_than), output).await
        }
        Command::Search(arguments) => search::run(*arguments, &console, output).await,
        Command::Transition => {
            let store = store().await?;
            note(&config, &console, Reads::Record).await?;
            let report = transition::report(&store).await?;
            output.print(&report, ToString::to_string)
        }
        Command::Verify { folder, against, key, since } => {
            let since = since.as_deref().map(remembered).transpose()?;
            let against = against.as_deref();
            match folder {
                None if key.is_empty() => check(&store().await?, against, since.as_ref(), output).await,
                None => Err(Failure::usage("`--key` goes with `--folder`: the store has its own keys")),
                Some(path) => {
                    let keys = if key.is_empty() { store().await?.keys() } else { key };
                    check(&folder_of(&path, keys)?, against, since.as_ref(), output).await
                }
            }
        }
        Command::VerifyReceipt { receipt, key, witness } => {
            let receipt: Receipt = text_of(&receipt)?.parse().map_err(not_proved)?;
            let size = receipt.verify(&key, &witness).map_err(not_proved)?.head.size;
            let record: Value = serde_json::from_slice(&receipt.record).unwrap_or_default();
            let report = json!({ "ok": true, "leaf": receipt.index, "of": size, "record": record });
            output.print(&report, |_| format!("ok: leaf {} of {size}\n{record:#}", receipt.index))
        }
    }
}

/// What is given up.
enum GiveUp {
    Person(String),
    Old(Vec<Class>, Duration),
}

async fn give_up(
    config: &ConfigFile,
    console: &Console,
    what: &GiveUp,
    output: Output,
) -> Result<(), Failure> {
    let leaves = match Hand::of(&config.load()?, console).await? {
        Hand::Gateway(api) => asked_to(&api, what).await?,
        Hand::Store(store) => {
            let done = given_up(&store, what).await;
            store.close().await;
            done.map_err(kept)?
        }
    };
    output.print(&json!({ "leaves": leaves }), |_| format!("{leaves} leaves have lost what lay beside them"))
}

async fn asked_to(api: &Api, what: &GiveUp) -> Result<u64, Failure> {
    let calls = match what {
        GiveUp::Person(person) => vec![("/api/record/erase", json!({ "person": person }))],
        GiveUp::Old(classes, age) => {
            let body = |class: &Class| json!({ "class": class, "older_than_seconds": age.as_secs() });
            classes.iter().map(|class| ("/api/record/prune", body(class))).collect()
        }
    };
    let mut leaves = 0;
    for (path, body) in calls {
        let answer = api.call(Method::POST, path, Some(body)).await?;
        leaves += answer.get("leaves").and_then(Value::as_u64).unwrap_or_default();
    }
    Ok(leaves)
}

async fn given_up(store: &dyn Erasure, what: &GiveUp) -> Result<u64, EraseError> {
    match what {
        GiveUp::Person(person) => store.erase(person, None).await,
        GiveUp::Old(classes, age) => {
            let before = SystemClock.now().saturating_sub(*age);
            let mut leaves = 0;
            for class in classes {
                leaves += store.prune(*class, before, None).await?;
            }
            Ok(leaves)
        }
    }
}

fn kept(error: EraseError) -> Failure {
    match error {
        EraseError::Store(error) => unavailable(error),
        error => Failure::no(error.to_string()),
    }
}

fn folder_of(path: &Path, keys: Vec<VerifierKey>) -> Result<Folder, Failure> {
    Folder::open(path, keys).map_err(|error| Failure::unavailable(error.to_string()))
}

/// Verifies a log, and another one it must agree with, and says what was found.
async fn check(
    log: &dyn Log,
    against: Option<&Path>,
    since: Option<&SignedCheckpoint>,
    output: Output,
) -> Result<(), Failure> {
    if log.keys().is_empty() {
        return Err(Failure::usage("there is no key to believe: give one with `--key`"));
    }
    let mut bar = Bar::new("verified");
    let found = verify(log, since, |done, all| bar.show(done, all)).await;
    bar.clear();
    let mut found = found.map_err(|error| match error {
        error @ AuditError::Cut { .. } => Failure::no(error.to_string()),
        error => unavailable(error),
    })?;
    if let (Ok(_), Some(path)) = (&found, against) {
        let other = folder_of(path, log.keys())?;
        let whole = verify(&other, None, |_, _| ()).await.map_err(unavailable)?;
        whole.map_err(|fault| Failure::no(format!("{} was changed: {fault}", path.display())))?;
        if let Some(leaf) = parted(log, &other).await.map_err(unavailable)? {
            found = Err(Fault { leaf, kind: FaultKind::Parted });
        }
    }
    let report = match &found {
        Ok(verified) => json!({
            "ok": true, "leaves": verified.head.size, "first": verified.first, "root": verified.head.root.to_string(),
            "whole": verified.whole, "erased": verified.erased, "sealed": verified.sealed,
        }),
        Err(fault) => json!({ "ok": false, "fault": { "leaf": fault.leaf, "what": fault.to_string() } }),
    };
    output.print(&report, |_| match &found {
        Ok(verified) => format!(
            "ok: {} leaves, {} whole, {} erased, {} sealed; root {}",
            verified.head.size, verified.whole, verified.erased, verified.sealed, verified.head.root
        ),
        Err(fault) => format!("TAMPERED: {fault}"),
    })?;
    found.map(|_| ()).map_err(|fault| Failure::no(format!("the record was changed: {fault}")))
}

fn remembered(path: &Path) -> Result<SignedCheckpoint, Failure> {
    let note = text_of(path)?;
    // Where it was kept, an end of line may have been lost.
    let note = format!("{}\n", note.trim_end());
    SignedCheckpoint::parse(&note).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn text_of(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn not_proved(error: crewgate_audit::tlog::InvalidReceipt) -> Failure {
    Failure::no(format!("the receipt proves nothing: {error}"))
}

/// Progress on a terminal; nothing elsewhere.
struct Bar {
    what: &'static str,
    shown: bool,
}

impl Bar {
    fn new(what: &'static str) -> Self {
        Self { what, shown: false }
    }

    fn show(&mut self, done: u64, all: u64) {
        let mut err = io::stderr();
        if err.is_terminal() {
            self.shown = true;
            let _ = write!(err, "\r{} {done} of {all} leaves", self.what);
        }
    }

    fn clear(&self) {
        if self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}
