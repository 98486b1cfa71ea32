//! The fence: what changes something leaves this process only while it is known to lead.
//!
//! A replica that was suspended, or cut off from the API server, may go on where it was long after another has taken over.
//! Its leadership therefore has an end that every change is held against, whoever makes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::base::{Clock, Timestamp};

/// Tells whether this process may change anything. Clones share their end.
#[derive(Clone)]
pub struct Fence {
    /// Unix milliseconds.
    until: Arc<AtomicI64>,
    clock: Arc<dyn Clock>,
}

impl Fence {
    /// A fence that is shut until [`Fence::extend`].
    pub fn shut(clock: Arc<dyn Clock>) -> Self {
        Self { until: Arc::new(AtomicI64::new(i64::MIN)), clock }
    }

    /// A fence for a process that has no rivals.
    pub fn open(clock: Arc<dyn Clock>) -> Self {
        Self { until: Arc::new(AtomicI64::new(i64::MAX)), clock }
    }

    /// Lets changes through until `moment`.
    pub fn extend(&self, moment: Timestamp) {
        self.until.store(moment.as_millisecond(), Ordering::SeqCst);
    }

    /// Lets nothing through any more.
    pub fn close(&self) {
        self.until.store(i64::MIN, Ordering::SeqCst);
    }

    /// Whether changes may be made now.
    pub fn is_open(&self) -> bool {
        self.clock.now().as_millisecond() < self.until.load(Ordering::SeqCst)
    }
}

/// A change that was held back because this process does not lead.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("this replica does not lead (any more), so it changes nothing")]
pub struct NotLeading;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::{self, ManualClock};

    #[test]
    fn it_shuts_by_itself_when_nobody_extends_it() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let fence = Fence::shut(Arc::new(clock.clone()));
        assert!(!fence.is_open());
        fence.extend(clock::add_seconds(clock.now(), 10));
        assert!(fence.is_open());
        clock.advance(Duration::from_secs(10));
        assert!(!fence.is_open());
        assert!(Fence::open(Arc::new(clock)).is_open());
    }
}
