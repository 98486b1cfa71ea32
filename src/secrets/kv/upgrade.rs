//! From version 1 to version 2: every value becomes the first version of its path.

use super::versioned::store::{Metadata, Store, version_key};
use super::{Data, plain};
use crate::base::Timestamp;
use crate::storage::{Error as StorageError, Txn, View};

/// Values that one look takes.
const PAGE: usize = 500;

/// Turns what version 1 left behind into version 2, each value in one transaction: it may be cut off anywhere and run again.
/// One look finds that nothing is left.
///
/// # Errors
/// What the store says.
pub(super) async fn run(view: &View, store: &Store, now: Timestamp) -> Result<(), StorageError> {
    let folder = format!("{}/", plain::FOLDER);
    let mut moved = 0;
    loop {
        let page: Vec<(String, Data)> = view.page(&folder, None, PAGE).await?;
        if page.is_empty() {
            if moved > 0 {
                tracing::info!(secrets = moved, "a kv mount was upgraded to version 2");
            }
            return Ok(());
        }
        for (key, _) in page {
            take(view, store, &key, &key[folder.len()..], now).await?;
            moved += 1;
        }
    }
}

async fn take(view: &View, store: &Store, key: &str, path: &str, now: Timestamp) -> Result<(), StorageError> {
    loop {
        let Some((data, seen)) = view.get::<Data>(key).await? else { return Ok(()) };
        // There is metadata already only if a writer of version 1 came later than the upgrade.
        let (mut metadata, version) = store.metadata(path).await?.unwrap_or_else(|| (Metadata::new(now), 0));
        let number = metadata.add(now, None, 0).number;
        let mut txn =
            Txn { expect: vec![(view.full_key(key), seen), (store.metadata_key(path), version)], ops: Vec::new() };
        view.stage_put(&mut txn, &version_key(path, number), &data)?;
        store.stage_metadata(&mut txn, path, &metadata)?;
        view.stage_delete(&mut txn, key);
        match view.store().commit(txn).await {
            Err(StorageError::Conflict(_)) => {}
            done => return done,
        }
    }
}
