//! The backend of dev mode and of tests: a sorted map that ends with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::watch::Watchers;
use super::{Backend, Entry, Error, Event, Op, Txn, Version};

/// Everything in memory; nothing survives.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<String, (Version, Vec<u8>)>,
    watchers: Watchers,
    /// Versions come from one counter, so that an entry made anew never repeats an old version.
    last: Version,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for Memory {
    fn name(&self) -> &'static str {
        "inmem"
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let state = self.state();
        Ok(state.entries.get(key).map(|(version, value)| Entry {
            key: key.to_owned(),
            value: value.clone(),
            version: *version,
        }))
    }

    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let state = self.state();
        let found = state.entries.range::<str, _>((start, Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(found
            .map(|(key, (version, value))| Entry { key: key.clone(), value: value.clone(), version: *version })
            .collect())
    }

    async fn commit(&self, txn: Txn) -> Result<(), Error> {
        let mut state = self.state();
        for (key, version) in &txn.expect {
            if state.entries.get(key).map_or(0, |(version, _)| *version) != *version {
                return Err(Error::Conflict(key.clone()));
            }
        }
        for op in txn.ops {
            match op {
                Op::Put(key, value) => {
                    state.last += 1;
                    let version = state.last;
                    state.entries.insert(key.clone(), (version, value.clone()));
                    state.watchers.notify(&key, &Event::Put(Entry { key: key.clone(), value, version }));
                }
                Op::Delete(key) => {
                    if state.entries.remove(&key).is_some() {
                        state.watchers.notify(&key, &Event::Delete(key.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    fn watch(&self, prefix: &str) -> mpsc::Receiver<Event> {
        self.state().watchers.add(prefix)
    }
}
