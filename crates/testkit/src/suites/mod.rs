//! One conformance suite per port: every implementation, in memory or in a database, passes the same one.

pub mod approval;
pub mod audit;
pub mod cursors;
pub mod delegation;
pub mod erasure;
pub mod glass;
pub mod grant;
pub mod inventory;
pub mod keys;
pub mod meter;
pub mod revocation;
pub mod runs;
pub mod session;
pub mod used;
