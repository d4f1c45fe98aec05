use std::{fmt, sync::Arc};

use tokio::sync::watch;

/// Tells waiters in this process that some approval may have moved. A hint and nothing more: it can be lost, it does
/// not say which, and it never replaces a look at the store.
#[derive(Clone)]
pub struct Hint(Arc<watch::Sender<()>>);

impl Hint {
    /// One that nobody has rung yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }

    /// Wakes everybody who waits. Never blocks.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// An ear that hears every ring from now on.
    #[must_use]
    pub fn listen(&self) -> Ear {
        // The sender is kept alive beside the receiver: a store that is dropped must not turn waiting into spinning.
        Ear { rings: self.0.subscribe(), _hint: self.clone() }
    }
}

impl Default for Hint {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hint").finish_non_exhaustive()
    }
}

/// Hears a [`Hint`]'s rings.
pub struct Ear {
    rings: watch::Receiver<()>,
    _hint: Hint,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").finish_non_exhaustive()
    }
}

impl Ear {
    /// The next ring, or one since the last call.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no ring.
    pub async fn heard(&mut self) {
        // An error would mean that the sender is gone, which `_hint` prevents.
        let _ = self.rings.changed().await;
    }
}
