//! `sys/version-history`: which versions of the engine have opened this store, and since when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::Timestamp;
use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::engine::status::VERSION;
use crate::wire::{Answer, Error, Operation};

/// Where it is stored, below `sys/core/`.
const KEY: &str = "version-history";

/// The first time that a version opened the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Installed {
    at: Timestamp,
    /// The version before it.
    previous: Option<String>,
}

type History = BTreeMap<String, Installed>;

impl Core {
    /// Notes that this version has opened the store.
    ///
    /// # Errors
    /// What the store says.
    pub(in crate::engine) async fn note_version(&self) -> Result<(), Error> {
        let view = self.stored("sys/core/");
        let (history, version) = view.get::<History>(KEY).await?.unwrap_or_default();
        match with(history, VERSION, self.shared.clock.now()) {
            Some(history) => Ok(view.put_if(KEY, &history, version).await?),
            None => Ok(()),
        }
    }

    pub(super) async fn sys_version_history(&self, operation: Operation) -> Result<Reply, Error> {
        if operation != Operation::List {
            return Err(Error::unsupported_operation());
        }
        let history = self.stored("sys/core/").get::<History>(KEY).await?.map(|(history, _)| history);
        let mut rows: Vec<_> = history.unwrap_or_default().into_iter().collect();
        rows.sort_by_key(|(_, installed)| installed.at);
        let keys: Vec<_> = rows.iter().map(|(version, _)| version.clone()).collect();
        let info: Map<String, Value> = rows
            .into_iter()
            .map(|(version, Installed { at, previous })| {
                let row =
                    json!({ "build_date": "", "previous_version": previous, "timestamp_installed": at.to_string() });
                (version, row)
            })
            .collect();
        Ok(Reply::answer(Answer::data(json!({ "keys": keys, "key_info": info }))))
    }
}

/// The history with `version`; none when it is the newest already.
fn with(mut history: History, version: &str, now: Timestamp) -> Option<History> {
    let newest = history.iter().max_by_key(|(_, installed)| installed.at).map(|(version, _)| version.clone());
    if newest.as_deref() == Some(version) {
        return None;
    }
    history.insert(version.to_owned(), Installed { at: now, previous: newest });
    Some(history)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::add_seconds;

    #[test]
    fn each_version_knows_the_one_before_it() {
        let start = Timestamp::UNIX_EPOCH;
        let first = with(History::new(), "1", start).unwrap();
        assert_eq!(with(first.clone(), "1", add_seconds(start, 1)), None);
        let second = with(first, "2", add_seconds(start, 2)).unwrap();
        assert_eq!((&second["1"].previous, second["2"].previous.as_deref()), (&None, Some("1")));
        let back = with(second, "1", add_seconds(start, 3)).unwrap();
        assert_eq!(back["1"].previous.as_deref(), Some("2"), "a downgrade is an installation, too");
    }
}
