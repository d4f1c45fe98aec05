//! `policy prove`.

use super::{Failure, Output, Room};

/// Arguments of `policy prove`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) async fn run(_: &Room, _: &Arguments, _: Output) -> Result<(), Failure> {
    Err(Failure::unavailable("not built"))
}
