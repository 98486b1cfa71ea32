//! What is rotated when: an index for each connection, in the order of time, read in pages.
//!
//! Keys are `<connection>/<second>/<item>`. Each connection has its own part, so that one whose database is down can be left
//! waiting without being read over and over.

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::storage::moment::{at, second};
use crate::storage::{Error, Txn, View};

/// What an entry of the index is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Item {
    /// The password of a static role.
    Role {
        /// The role.
        name: String,
    },
    /// The connection's own password.
    Root,
}

impl Item {
    fn key(&self, connection: &str, moment: Timestamp) -> String {
        match self {
            Self::Role { name } => format!("{connection}/{}/r/{name}", second(moment)),
            Self::Root => format!("{connection}/{}/root", second(moment)),
        }
    }
}

/// An entry of the index.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its key.
    pub key: String,
    /// When it is due.
    pub at: Timestamp,
    /// What it is about.
    pub item: Item,
}

impl Entry {
    /// The connection in whose part it stands.
    pub(super) fn connection(&self) -> &str {
        self.key.split('/').next().unwrap_or_default()
    }

    /// Whether this is the entry of an item that is due at `due` over `connection`; if not, the item has another.
    pub(super) fn is_for(&self, connection: &str, due: Option<Timestamp>) -> bool {
        self.connection() == connection && due.is_some_and(|due| second(due) == second(self.at))
    }
}

/// The index itself.
#[derive(Clone)]
pub(super) struct Queue(View);

impl Queue {
    pub(super) fn new(view: View) -> Self {
        Self(view)
    }

    /// Moves an item in a transaction: from the connection and moment that it had, to those that it gets.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(super) fn stage(
        &self,
        txn: &mut Txn,
        item: &Item,
        from: Option<(&str, Timestamp)>,
        to: Option<(&str, Timestamp)>,
    ) -> Result<(), Error> {
        if let Some((connection, moment)) = from {
            self.0.stage_delete(txn, &item.key(connection, moment));
        }
        match to {
            Some((connection, moment)) => self.0.stage_put(txn, &item.key(connection, moment), item),
            None => Ok(()),
        }
    }

    /// Removes an entry that has come loose from its item.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn remove(&self, entry: &Entry) -> Result<(), Error> {
        self.0.delete(&entry.key).await
    }

    /// The first entries of a connection.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn page(&self, connection: &str, limit: usize) -> Result<Vec<Entry>, Error> {
        let folder = format!("{connection}/");
        let page = self.0.page::<Item>(&folder, None, limit).await?;
        page.into_iter().map(|(key, item)| Ok(Entry { at: at(&key[folder.len()..])?, key, item })).collect()
    }

    /// Every connection that has entries.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn connections(&self) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.0.page::<Item>("", after.as_deref(), 1).await?;
            let Some(connection) = page.first().and_then(|(key, _)| key.split('/').next()) else { return Ok(found) };
            // '0' follows '/': the next key is the first of another connection.
            after = Some(format!("{connection}0"));
            found.push(connection.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn each_connection_has_its_items_in_the_order_of_time() {
        let queue = Queue::new(View::new(Arc::new(Memory::default()), "due/"));
        let moment = |seconds| Timestamp::from_second(seconds).unwrap();
        let role = |name: &str| Item::Role { name: name.into() };
        let mut txn = Txn::default();
        for (connection, item, at) in
            [("pg", role("late"), 500), ("pg", Item::Root, 7), ("pg-0", role("x"), 9), ("other", role("y"), 1)]
        {
            queue.stage(&mut txn, &item, None, Some((connection, moment(at)))).unwrap();
        }
        queue.stage(&mut txn, &role("late"), Some(("pg", moment(500))), Some(("pg", moment(6)))).unwrap();
        queue.0.store().commit(txn).await.unwrap();
        assert_eq!(queue.connections().await.unwrap(), ["other", "pg-0", "pg"]);
        let page = queue.page("pg", 10).await.unwrap();
        let found: Vec<_> = page.iter().map(|entry| (entry.at.as_second(), entry.item.clone())).collect();
        assert_eq!(found, [(6, role("late")), (7, Item::Root)]);
    }
}
