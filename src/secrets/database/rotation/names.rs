//! One name, one role: a dynamic and a static role never share theirs.

use crate::storage::{Error as StorageError, Txn, View};
use crate::wire::Error;

/// Where a mount keeps its dynamic roles.
pub(in crate::secrets::database) fn dynamic_roles(mount: &View) -> View {
    mount.sub("role")
}

/// Where a mount keeps its static roles.
pub(in crate::secrets::database) fn static_roles(mount: &View) -> View {
    mount.sub("static-role")
}

/// Commits the write of a role, unless `others`, the roles of the other kind, have one of its name.
///
/// # Errors
/// 400 when they have.
pub(in crate::secrets::database) async fn commit(mut txn: Txn, others: &View, name: &str) -> Result<(), Error> {
    let taken = others.full_key(name);
    txn.expect.insert(0, (taken.clone(), 0));
    match others.store().commit(txn).await {
        Err(StorageError::Conflict(key)) if key == taken => Err(not_unique()),
        done => Ok(done?),
    }
}

/// The answer to a name that is taken.
pub(super) fn not_unique() -> Error {
    Error::bad_request("Role and Static Role names must be unique")
}
