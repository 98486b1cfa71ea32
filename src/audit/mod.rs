//! Audit devices: the trait that every type implements, the table of types, and the entries that they are given.
//!
//! A new type is one file exporting `SPEC` and one line in [`TABLE`]. A device only takes lines: what stands in them, and what
//! of it is hashed, is decided in `entry.rs` and `form.rs`, so that no device can forget it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::wire::Error;

pub mod entry;
pub mod file;
pub mod form;

/// The `options` of `sys/audit/:path`; every value is a text, as in Vault.
pub type Options = BTreeMap<String, String>;

/// Every type that `sys/audit` can enable.
pub const TABLE: &[Spec] = &[file::SPEC];

/// A row of [`TABLE`].
#[derive(Clone, Copy)]
pub struct Spec {
    /// The `type` of `sys/audit/:path`.
    pub kind: &'static str,
    /// Reads the device's own options; opens nothing yet.
    pub open: fn(&Options) -> Result<Arc<dyn Device>, Error>,
}

/// Somewhere that keeps lines.
#[async_trait]
pub trait Device: Send + Sync {
    /// Takes one line, which ends in a line break. When this returns, the operating system has all of it.
    ///
    /// # Errors
    /// When it could not be taken as a whole.
    async fn write(&self, line: String) -> std::io::Result<()>;

    /// Opens anew what it writes to: on SIGHUP, after somebody moved the file away.
    ///
    /// # Errors
    /// When that cannot be opened; the device goes on trying at each write.
    async fn reopen(&self) -> std::io::Result<()>;
}
