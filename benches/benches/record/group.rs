//! What it costs many callers at once to have their intents durable, beside the least it can cost: the same bytes,
//! appended to a file and synced by groups as they come from as many callers. Both are measured in turns, in one run, and
//! printed as a ratio: a busy machine is another one a minute later.

use std::{
    fs::File,
    future::Future,
    io::Write,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use crewgate_audit::{
    AuditStore, Lane, Prepared, SealKey,
    tlog::{KeyKind, Signer},
};
use crewgate_store::{Keys, Options, Postgres, Store};
use crewgate_testkit::postgres;
use futures_util::future::join_all;
use tokio::{runtime::Runtime, sync::oneshot};

use crate::intent;

/// Turns of each pair.
const TURNS: usize = 9;

/// How long one side of a turn goes on.
const TURN: Duration = Duration::from_millis(1_500);

/// Bytes and who waits for them.
type Waiting = (Bytes, oneshot::Sender<()>);

/// Appends what is in line in one write, syncs once, and tells everybody: group commit and nothing else.
#[derive(Clone)]
struct Raw(mpsc::Sender<Waiting>);

impl Raw {
    fn create(path: &Path) -> Self {
        let mut file = File::create(path).unwrap();
        let (line, inbox) = mpsc::channel::<Waiting>();
        thread::spawn(move || {
            let (mut block, mut waiting) = (Vec::new(), Vec::new());
            while let Ok(first) = inbox.recv() {
                for (bytes, reply) in std::iter::once(first).chain(inbox.try_iter().take(255)) {
                    block.extend_from_slice(&bytes);
                    waiting.push(reply);
                }
                file.write_all(&block).unwrap();
                file.sync_data().unwrap();
                block.clear();
                waiting.drain(..).for_each(|reply| reply.send(()).unwrap());
            }
        });
        Self(line)
    }

    async fn append(&self, bytes: Bytes) {
        let (reply, done) = oneshot::channel();
        self.0.send((bytes, reply)).unwrap();
        done.await.unwrap();
    }
}

/// What a turn came to: records a second, the median wait, and processor time for one.
#[derive(Clone, Copy)]
struct Turn {
    rate: f64,
    wait: Duration,
    work: Duration,
}

/// What so many callers, each of whom waits for its own, get done.
async fn turn<F>(callers: usize, one: impl Fn() -> F + Clone + Send + 'static) -> Turn
where
    F: Future<Output = ()> + Send,
{
    let (begun, worked) = (Instant::now(), processor_time());
    let callers = (0..callers).map(|_| {
        let one = one.clone();
        tokio::spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < TURN {
                let called = Instant::now();
                one().await;
                waits.push(called.elapsed());
            }
            waits
        })
    });
    let waits = join_all(callers).await.into_iter().flat_map(Result::unwrap).collect::<Vec<_>>();
    let records = waits.len();
    Turn {
        rate: records as f64 / begun.elapsed().as_secs_f64(),
        wait: median(&waits, |wait| *wait),
        work: (processor_time() - worked) / u32::try_from(records).unwrap(),
    }
}

/// What this process has used of all processors. It says what was done whoever else had them meanwhile.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = told.rsplit(')').next().unwrap().split_whitespace();
    // In user mode and in the kernel, in hundredths of a second.
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn median<T, V: PartialOrd + Copy>(of: &[T], value: impl Fn(&T) -> V) -> V {
    let mut values: Vec<V> = of.iter().map(value).collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    *values.get(values.len() / 2).unwrap()
}

/// Prints what the store reaches of what raw group commit does, and how much longer one waits.
fn compare(runtime: &Runtime, name: &str, store: &Store, raw: &Raw) {
    let Prepared { record, content, .. } = Prepared::new(intent()).unwrap();
    let bytes = Bytes::from([record.into_bytes(), content.encode()].concat());
    for callers in [1, 64, 256] {
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            let (raw, bytes) = (raw.clone(), bytes.clone());
            let appended = runtime.block_on(turn(callers, move || {
                let (raw, bytes) = (raw.clone(), bytes.clone());
                async move { raw.append(bytes).await }
            }));
            let store = store.clone();
            let recorded = runtime.block_on(turn(callers, move || {
                let store = store.clone();
                async move {
                    store.append(Lane::Intent, intent()).await.unwrap();
                }
            }));
            turns.push((recorded, appended));
        }
        let of = |value: fn(&Turn) -> f64| {
            (median(&turns, |(store, _)| value(store)), median(&turns, |(_, raw)| value(raw)))
        };
        let ((rate, raw_rate), (wait, raw_wait), (work, raw_work)) = (
            of(|turn| turn.rate),
            of(|turn| turn.wait.as_secs_f64() * 1e6),
            of(|turn| turn.work.as_secs_f64() * 1e6),
        );
        println!(
            "{name}, {callers} at once: {:.3} of raw group commit of {} B; {rate:.0} a second, raw {raw_rate:.0}; \
             half wait at most {wait:.0} µs, raw {raw_wait:.0}; processor time for one {work:.1} µs, raw {raw_work:.1}",
            median(&turns, |(store, raw)| store.rate / raw.rate),
            bytes.len()
        );
    }
}

pub(crate) fn compare_stores() {
    let runtime = Runtime::new().unwrap();
    let path = std::env::temp_dir().join(format!("crewgate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    let raw = Raw::create(&path.join("raw"));
    let store = runtime.block_on(Store::open(path.join("group.db"), Options::default())).unwrap();
    compare(&runtime, "SQLite", &store, &raw);
    runtime.block_on(store.close());
    // Where there is no PostgreSQL, that has been said.
    if let Some(url) = postgres::database() {
        let signer = Signer::generate("crewgate/bench", KeyKind::Log).unwrap();
        let keys = Keys::new(vec![signer], SealKey::generate().unwrap()).unwrap();
        let server = Postgres::new(&url).unwrap();
        let store = runtime.block_on(Store::connect(server, Options::default().keys(keys))).unwrap();
        compare(&runtime, "PostgreSQL", &store, &raw);
        runtime.block_on(store.close());
    }
    std::fs::remove_dir_all(path).unwrap();
}
