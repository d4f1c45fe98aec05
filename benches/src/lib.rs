#![forbid(unsafe_code)]
//! Criterion benches, one per layer and one for the whole stack. They live in `benches/`; `docs/performance.md` keeps
//! what they measured, with the commands.
