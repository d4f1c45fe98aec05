//! How fast hits are found, for comparisons with other engines on the same texts.
//!
//! ```text
//! cargo run --release -p crewgate-masking --example engine -- pii-basic patterns
//! cargo run --release -p crewgate-masking --example engine -- pii-basic time FILE
//! cargo run --release -p crewgate-masking --example engine -- pii-basic regex FILE
//! cargo run --release -p crewgate-masking --example engine -- pii-basic deltas FILE
//! cargo run --release -p crewgate-masking --example engine -- pii-basic pathological
//! ```

use std::{
    env,
    error::Error,
    fs,
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
        "regex" => println!("{:.1}", separately(&masker, &text)?),
        "deltas" => deltas(&masker, &text)?,
        "pathological" => pathological(&masker),
        _ => return Err("patterns, time, regex, deltas or pathological".into()),
    }
    Ok(())
}

/// MB/s of the best of some runs.
fn rate(bytes: usize, mut run: impl FnMut() -> usize) -> f64 {
    let times = (0..25).map(|_| {
        let begin = Instant::now();
        std::hint::black_box(run());
        begin.elapsed()
    });
    megabytes(bytes) / times.min().unwrap_or(Duration::MAX).as_secs_f64()
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
    let begin = Instant::now();
    for piece in text.as_bytes().chunks(16) {
        come += piece.len();
        gone += stream.push(piece)?.len();
        waited += come.saturating_sub(gone);
        pieces += 1;
    }
    let each = begin.elapsed() / pieces.max(1);
    println!("{each:?} a piece; {} bytes wait on average, at most", waited / usize::try_from(pieces.max(1))?);
    Ok(())
}

/// Texts that are nothing but starts of something.
fn pathological(masker: &Masker) {
    for unit in [
        "@",
        ":",
        "1",
        "a.",
        "1-",
        "-----BEGIN ",
        "eyJ",
        "a@",
        "://",
        "password=",
        "A1 ",
        "aGVsbG8",
        "(1) ",
        "\\n",
    ] {
        let rates = [1_usize, 8, 64].map(|mega| {
            let text = unit.repeat((mega << 20) / unit.len());
            let begin = Instant::now();
            std::hint::black_box(masker.find(&text).len());
            megabytes(text.len()) / begin.elapsed().as_secs_f64()
        });
        println!("{unit:?}: {rates:.1?} MB/s of 1, 8 and 64 MiB");
    }
}
