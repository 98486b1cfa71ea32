//! What a listener lets through: without a token, in size, in time and in number.

use std::time::Duration;

use crate::base::connection::Waits;

/// What a listener lets through without a token.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// `sys/metrics`.
    pub open_metrics: bool,
    /// Whether rekeying takes a token besides the shares.
    pub closed_rekey: bool,
    /// Whether generating a root token takes a token besides the shares.
    pub closed_generate_root: bool,
}

impl Access {
    /// Whether this listener leaves a path to its twin that takes a token.
    pub(super) fn closes(&self, path: &str) -> bool {
        let rekeys = path.starts_with("sys/rekey/") || path.starts_with("sys/rekey-recovery-key/");
        // A backup takes a token wherever it is.
        (self.closed_rekey && rekeys && !path.ends_with("backup"))
            || (self.closed_generate_root && path.starts_with("sys/generate-root/"))
    }
}

/// Without these, callers without a token could fill the memory with connections, and with bodies that are never whole. The
/// defaults are Vault's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `http_read_header_timeout`, `http_write_timeout` and `http_idle_timeout`.
    pub waits: Waits,
    /// `http_read_timeout`: how long a body may take to be sent; `None`: for ever.
    pub body_within: Option<Duration>,
    /// `max_request_size`, bytes of a body.
    pub body: usize,
    /// `max_connections`: how many are open at once. Ours: Vault leaves it to the limit of open files.
    pub connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        Self {
            waits: Waits { head: seconds(10), answer: None, idle: seconds(300) },
            body_within: seconds(30),
            body: 32 << 20,
            connections: 4096,
        }
    }
}

/// All of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// Without a token.
    pub access: Access,
    /// In size, time and number.
    pub bounds: Bounds,
}
