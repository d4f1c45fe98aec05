//! What the targets that ask a whole verifier share.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

pub(crate) const URL: &str = "https://idp.test";

/// Runs it to its end.
pub(crate) fn now<F: Future>(work: F) -> F::Output {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}
