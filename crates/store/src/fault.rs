use std::fmt;

use crewgate_approval::StoreError;
use crewgate_audit::AuditError;
use crewgate_runs::{LedgerError, RegisterError};

/// Why a command was not carried out, before it is said in the words of a port.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing was changed.
    Unavailable(String),
    /// It was handed to the disk, and nobody knows.
    Unknown(String),
}

impl Fault {
    pub(crate) fn closed() -> Self {
        Self::Unavailable("the store is closed".to_owned())
    }

    pub(crate) fn unreadable(what: &str) -> Self {
        Self::Unavailable(format!("a stored {what} cannot be read"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(f, "nothing was changed: {reason}"),
            Self::Unknown(reason) => write!(f, "the outcome is not known: {reason}"),
        }
    }
}

/// Of a statement inside a transaction, or of a read: nothing was changed. Only the writer, who commits, says otherwise.
impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Fault> for AuditError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(_) => Self::Unavailable,
            Fault::Unknown(_) => Self::Unknown,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(reason) => Self::Unavailable(reason),
            Fault::Unknown(reason) => Self::Unknown(reason),
        }
    }
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(reason) => Self::Unavailable(reason),
            Fault::Unknown(reason) => Self::Unknown(reason),
        }
    }
}

/// A rate that may or may not have been taken from lets nobody pass.
impl FromFault for crewgate_policy::TakeError {
    fn from_fault(fault: Fault) -> Self {
        Self::Unavailable { reason: fault.to_string() }
    }
}

/// An error a command of the writer can end in.
pub(crate) trait FromFault: Send + 'static {
    fn from_fault(fault: Fault) -> Self;
}

macro_rules! from_fault {
    ($($error:ty => $through:ty),+) => {
        $(impl FromFault for $error {
            fn from_fault(fault: Fault) -> Self {
                <$through>::from(fault).into()
            }
        })+
    };
}

from_fault!(
    AuditError => AuditError,
    StoreError => StoreError,
    LedgerError => LedgerError,
    RegisterError => LedgerError,
    crewgate_approval::OpenError => StoreError,
    crewgate_approval::VoteError => StoreError,
    crewgate_approval::BreakError => StoreError,
    crewgate_approval::CancelError => StoreError,
    crewgate_approval::EndError => StoreError,
    crewgate_approval::LendError => StoreError,
    crewgate_approval::ReviewError => StoreError,
    crewgate_approval::LeaseError => StoreError,
    crewgate_approval::ResolveError => StoreError,
    crewgate_approval::GiveError => StoreError,
    crewgate_approval::RevokeError => StoreError,
    crewgate_approval::SpendError => StoreError,
    Fault => Fault
);
