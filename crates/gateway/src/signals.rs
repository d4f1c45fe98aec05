//! What the process is told from outside.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process is told. Listened to before anybody hears that it is ready: a SIGHUP that nobody listens to ends it.
#[derive(Debug)]
pub struct Signals {
    pub(crate) terminate: Signal,
    pub(crate) interrupt: Signal,
    pub(crate) hangup: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// When the system does not let us.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}
