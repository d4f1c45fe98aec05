//! How fast hits are found, for comparisons with other engines on the same texts.
//!
//! ```text
//! cargo run --release -p crewgate-masking --example engine -- pii-basic patterns
//! cargo run --release -p crewgate-masking --example engine -- pii-basic time FILE
//! cargo run --release -p crewgate-masking --example engine -- pii-basic json FILE
//! cargo run --release -p crewgate-masking --example engine -- pii-basic regex FILE
//! cargo run --release -p crewgate-masking --example engine -- pii-basic deltas FILE
//! cargo run --release -p crewgate-masking --example engine -- pii-basic hold RECORDS
//! ```

use std::{
    collections::VecDeque,
    env,
    error::Error,
    fs,
    sync::LazyLock,
    time::{Duration, Instant},
};

use crewgate_core::MaskProfile;
use crewgate_masking::{Dialect, MaskStream, Masker, Profiles};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let profile = MaskProfile::new(words.next().unwrap_or_else(|| "pii-basic".to_owned()));
    let masker = Profiles::builtin().masker(&[profile].into()).ok_or("no such profile")?;
    let (task, file) = (words.next().unwrap_or_default(), words.next());
    let text = file.map(fs::read_to_string).transpose()?.unwrap_or_default();
    match task.as_str() {
        "patterns" => {
            for (name, pattern) in masker.patterns() {
                println!("{name}\t{pattern}");
            }
        }
        "time" => println!("{:.1}", rate(text.len(), || masker.find(&text).len())),
        "json" => println!(
            "{:.1}",
            rate(text.len(), || masker.mask_json(text.as_bytes()).map_or(0, |m| m.text.len()))
        ),
        "regex" => println!("{:.1}", separately(&masker, &text)?),
        "deltas" => deltas(&masker, &text)?,
        "hold" => hold(&masker, &text)?,
        _ => return Err("patterns, time, json, regex, deltas or hold".into()),
    }
    Ok(())
}

/// MB/s of processor time, the best of some runs of a tenth of a second each.
fn rate(bytes: usize, mut run: impl FnMut() -> usize) -> f64 {
    let rates = (0..5).map(|_| {
        let (begin, mut runs) = (clock(), 0.0);
        while clock() - begin < Duration::from_millis(100) {
            std::hint::black_box(run());
            runs += 1.0;
        }
        runs * megabytes(bytes) / (clock() - begin).as_secs_f64()
    });
    rates.fold(0.0, f64::max)
}

/// The processor time of this thread, where the system tells it; else the time.
fn clock() -> Duration {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| BEGIN.elapsed(), Duration::from_nanos)
}

fn megabytes(bytes: usize) -> f64 {
    Duration::from_micros(bytes.try_into().unwrap_or(u64::MAX)).as_secs_f64()
}

/// MB/s of one pass per pattern.
fn separately(masker: &Masker, text: &str) -> Result<f64, Box<dyn Error>> {
    let patterns = masker.patterns().map(|(_, pattern)| regex_automata::meta::Regex::new(&pattern));
    let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
    Ok(rate(text.len(), || patterns.iter().map(|pattern| pattern.find_iter(text).count()).sum()))
}

/// What a piece of 16 bytes costs, and how many pieces what leaves has waited.
fn deltas(masker: &Masker, text: &str) -> Result<(), Box<dyn Error>> {
    let mut stream = MaskStream::new(masker.clone(), Dialect::Text);
    let (mut come, mut gone, mut waited, mut pieces) = (0_usize, 0_usize, 0_usize, 0_u32);
    stream.push(text.get(..1000).unwrap_or_default().as_bytes())?;
    let begin = clock();
    for piece in text.as_bytes().chunks(16) {
        come += piece.len();
        gone += stream.push(piece)?.len();
        waited += come.saturating_sub(gone);
        pieces += 1;
    }
    let each = (clock() - begin) / pieces.max(1);
    println!("{each:?} a piece; {} bytes wait on average, at most", waited / usize::try_from(pieces.max(1))?);
    Ok(())
}

/// How many deltas a character waits on average, in the pieces of text of recorded event streams: lines of JSON with the
/// stream as `text`.
fn hold(masker: &Masker, records: &str) -> Result<(), Box<dyn Error>> {
    let (mut waited, mut characters, mut most, mut deltas) = (0_usize, 0_usize, 0_usize, 0_usize);
    for record in records.lines() {
        let record: serde_json::Value = serde_json::from_str(record)?;
        let events = record.get("text").and_then(serde_json::Value::as_str).unwrap_or_default().lines();
        let events = events.filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok());
        let pieces: Vec<String> = events.filter_map(|event| piece(&event)).collect();
        let mut stream = MaskStream::new(masker.clone(), Dialect::Text);
        // When each byte that has not left came.
        let mut waiting = VecDeque::new();
        for (now, piece) in pieces.iter().enumerate() {
            waiting.extend(std::iter::repeat_n(now, piece.len()));
            let gone = stream.push(piece.as_bytes())?.len().min(waiting.len());
            for came in waiting.drain(..gone) {
                waited += now - came;
                most = most.max(now - came);
            }
            characters += gone;
        }
        deltas += pieces.len();
    }
    let mean = waited as f64 / characters.max(1) as f64;
    println!("{deltas} deltas; a character waits {mean:.2} of them on average, at most {most}");
    Ok(())
}

/// The text an event of a model's stream adds.
fn piece(event: &serde_json::Value) -> Option<String> {
    let pointers =
        ["/choices/0/delta/content", "/delta/text", "/delta", "/candidates/0/content/parts/0/text"];
    let text = pointers.iter().find_map(|pointer| event.pointer(pointer)?.as_str())?;
    (!text.is_empty()).then(|| text.to_owned())
}
