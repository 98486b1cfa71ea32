//! Whose a database user is: from its name to who holds its lease, and from a workload to its users.
//!
//! The index of leases by workload carries what is needed for that, so issuing writes nothing more than it did. A question by
//! a user's name reads every lease (about a second for 100,000): it is a person's, and rare.

use serde::{Deserialize, Serialize};

use super::{Lease, Leases, Owner};
use crate::auth::Workload;
use crate::base::Timestamp;
use crate::storage::Error as StorageError;

/// Entries that are read at once.
const PAGE: usize = 1000;

/// How much of a lease's id tells it from others, and gives nobody power over it.
const HANDLE: usize = 8;

/// What the index by workload says of a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grant {
    /// Who owns it.
    #[serde(flatten)]
    pub workload: Workload,
    /// The user in the database; empty where the credential has none, or is of an older version.
    #[serde(default)]
    pub username: String,
    /// When it was asked for.
    #[serde(default)]
    pub issued: Timestamp,
}

impl Grant {
    pub(super) fn of(lease: &Lease, workload: &Workload) -> Self {
        Self { workload: workload.clone(), username: lease.username().to_owned(), issued: lease.issued }
    }
}

/// A lease of a workload, without what is a secret.
#[derive(Debug, Clone)]
pub struct Held {
    /// Where it was asked for, `database/creds/shop.app`.
    pub path: String,
    /// The beginning of the last part of its id.
    pub handle: String,
    /// Whose it is.
    pub grant: Grant,
}

/// The workloads of a moment.
#[derive(Debug, Default)]
pub struct Census {
    /// Everyone that owns leases, with their number. What is no pod names its own UID at its login, so one UID may be claimed
    /// from several namespaces: each claim is a row of its own.
    pub workloads: Vec<(Workload, usize)>,
    /// The leases that were asked for from the moment on that was named.
    pub recent: Vec<Held>,
}

impl Lease {
    /// The user in the database; empty where the credential has none.
    pub fn username(&self) -> &str {
        self.record["username"].as_str().unwrap_or_default()
    }

    /// Where it was asked for, and the part of its id that may be shown to everybody.
    pub fn shown(&self) -> (&str, &str) {
        shown(&self.id)
    }

    /// Tells the log of a workload's credential: what remains to trace a user by when its lease is gone.
    pub(super) fn log(&self, what: &str) {
        let Owner::Workload(Workload { uid, namespace, name, service_account, .. }) = &self.owner else { return };
        let (path, handle) = self.shown();
        tracing::info!(
            username = self.username(),
            path,
            lease = handle,
            namespace,
            name,
            uid,
            service_account,
            "{what}"
        );
    }
}

impl Leases {
    /// The leases of a database user. More than one only where two databases have users of the same name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn of_user(&self, username: &str) -> Result<Vec<Lease>, StorageError> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page: Vec<(String, Lease)> = self.view.page("id/", after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            found.extend(page.into_iter().map(|(_, lease)| lease).filter(|lease| lease.username() == username));
        }
    }

    /// The leases of every workload that has had this name, mostly one.
    ///
    /// # Errors
    /// What the store says.
    pub async fn of_named(&self, namespace: &str, name: &str) -> Result<Vec<Lease>, StorageError> {
        let mut found = Vec::new();
        for (workload, _) in self.census(None).await?.workloads {
            if workload.namespace == namespace && workload.name == name {
                let leases = self.of_workload(&workload.uid).await?;
                found.extend(leases.into_iter().filter(|lease| lease.owner == Owner::Workload(workload.clone())));
            }
        }
        Ok(found)
    }

    /// Every workload that owns leases, and with `since` the leases that were asked for from then on.
    ///
    /// # Errors
    /// What the store says.
    pub async fn census(&self, since: Option<Timestamp>) -> Result<Census, StorageError> {
        let (mut census, mut after) = (Census::default(), None::<String>);
        loop {
            let page: Vec<(String, Grant)> = self.view.page("owner/w/", after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(census) };
            after = Some(last.clone());
            for (key, grant) in page {
                let found = &mut census.workloads;
                let mut same_uid = found.iter_mut().rev().take_while(|(other, _)| other.uid == grant.workload.uid);
                match same_uid.find(|(other, _)| *other == grant.workload) {
                    Some((_, leases)) => *leases += 1,
                    None => found.push((grant.workload.clone(), 1)),
                }
                // owner/w/<uid>/<lease id>
                let id = key.splitn(4, '/').nth(3).unwrap_or_default();
                if since.is_some_and(|since| grant.issued >= since) {
                    let (path, handle) = shown(id);
                    census.recent.push(Held { path: path.to_owned(), handle: handle.to_owned(), grant });
                }
            }
        }
    }
}

fn shown(id: &str) -> (&str, &str) {
    let (path, last) = id.rsplit_once('/').unwrap_or(("", id));
    (path, last.get(..HANDLE).unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_too_little_of_an_id_to_use_it() {
        assert_eq!(shown("database/creds/app/0123456789abcdefghijklmn"), ("database/creds/app", "01234567"));
        assert_eq!(shown("x"), ("", "x"));
    }

    #[test]
    fn an_index_entry_of_an_older_version_still_names_its_workload() {
        let grant: Grant = serde_json::from_str(r#"{"uid":"u","namespace":"shop","name":"app-1"}"#).unwrap();
        assert_eq!((grant.workload.uid.as_str(), grant.workload.pod, grant.username.as_str()), ("u", false, ""));
    }
}
