//! Workloads by the login mounts that they came through: what one cluster can tell the end of, and what ends with a mount.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::revoke::Wait;
use super::trace::Grant;
use super::{Leases, workload_folder};
use crate::auth::Workload;
use crate::storage::Error as StorageError;
use crate::wire::Error;

/// Entries of an index that are read at once.
const PAGE: usize = 1000;

/// Login mounts of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins {
    /// Their accessors.
    pub accessors: BTreeSet<String>,
    /// Whether workloads count as well whose mount is not known, as older versions recorded them.
    pub unknown: bool,
}

impl Logins {
    /// Whether a workload came through one of them.
    pub fn cover(&self, workload: &Workload) -> bool {
        workload.login.as_ref().map_or(self.unknown, |login| self.accessors.contains(&login.accessor))
    }

    /// The names of the marks that forbid new leases to a workload that came through them. A UID means nothing at the mount of
    /// another cluster, so an end that is told there must not reach further. One whose mount is not known gets no mark: what it
    /// asks for with a token of an older version is found and ended by the next comparison.
    pub(super) fn marks(&self, uid: &str) -> Vec<String> {
        self.accessors.iter().map(|accessor| mark(uid, accessor)).collect()
    }
}

fn mark(uid: &str, accessor: &str) -> String {
    format!("{uid}@{accessor}")
}

/// The names of the marks that forbid new leases to this workload.
pub(super) fn marks_of(workload: &Workload) -> Vec<String> {
    let through = workload.login.iter().map(|login| mark(&workload.uid, &login.accessor));
    // The first is of an end that was told for all mounts.
    [workload.uid.clone()].into_iter().chain(through).collect()
}

impl Leases {
    /// The ids of the leases that the workload of that UID owns, of those that came through `logins` where these are named.
    pub(super) async fn owned_by(&self, uid: &str, logins: Option<&Logins>) -> Result<Vec<String>, StorageError> {
        let folder = workload_folder(uid);
        let Some(logins) = logins else { return self.in_folder(&folder).await };
        self.granted(&folder, |workload| logins.cover(workload)).await
    }

    /// Revokes the leases of all workloads that came through a login mount, which is being removed: nobody looks after them any
    /// more.
    ///
    /// # Errors
    /// What the store says.
    pub async fn end_login(self: &Arc<Self>, accessor: &str) -> Result<(), Error> {
        let of_mount = |workload: &Workload| workload.login.as_ref().is_some_and(|login| login.accessor == accessor);
        let ids = self.granted("owner/w/", of_mount).await?;
        self.revoke_all(ids, Wait::Later).await
    }

    /// The ids of leases in a part of the index by workload.
    async fn granted(&self, folder: &str, wanted: impl Fn(&Workload) -> bool) -> Result<Vec<String>, StorageError> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page: Vec<(String, Grant)> = self.view.page(folder, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            // owner/w/<uid>/<lease id>
            let ids = page.iter().filter(|(_, grant)| wanted(&grant.workload));
            found.extend(ids.filter_map(|(key, _)| key.splitn(4, '/').nth(3)).map(str::to_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bench;
    use super::*;
    use crate::auth::{LeaseOwner, LoginMount};

    fn workload(accessor: Option<&str>) -> Workload {
        let login = accessor.map(|accessor| LoginMount { path: "auth/k".into(), accessor: accessor.into() });
        Workload { uid: "uid-1".into(), namespace: "ns".into(), login, ..Workload::default() }
    }

    fn logins(accessor: &str, unknown: bool) -> Logins {
        Logins { accessors: [accessor.to_owned()].into(), unknown }
    }

    /// A bench on which that workload has a user of the role `role`.
    async fn lease(bench: &Bench, role: &str, accessor: Option<&str>) {
        let token = bench.token(LeaseOwner::Workload(workload(accessor))).await;
        bench.deliver(role, &token).await;
    }

    #[tokio::test]
    async fn an_end_reaches_the_mounts_of_its_cluster_only() {
        let bench = Bench::new().await;
        for (role, accessor) in [("ours", Some("ours")), ("theirs", Some("theirs")), ("old", None)] {
            lease(&bench, role, accessor).await;
        }
        let uids = ["uid-1".to_owned()];
        assert_eq!(bench.leases.end_workloads(&uids, Some(&logins("ours", false))).await.unwrap(), 1);
        bench.until("our user is gone", async || bench.world.users("ours") == 0).await;
        assert_eq!((bench.world.users("theirs"), bench.world.users("old")), (1, 1));
        let refused = |accessor| {
            let owner = LeaseOwner::Workload(workload(accessor));
            async { bench.issue("more", &bench.token(owner).await).await.is_err() }
        };
        assert!(refused(Some("ours")).await, "it has ended");
        assert!(!refused(Some("theirs")).await && !refused(None).await);
    }

    #[tokio::test]
    async fn what_was_recorded_without_its_mount_is_ended_with_the_asking_namespaces_own() {
        let bench = Bench::new().await;
        lease(&bench, "old", None).await;
        lease(&bench, "theirs", Some("theirs")).await;
        let uids = ["uid-1".to_owned()];
        assert_eq!(bench.leases.end_workloads(&uids, Some(&logins("ours", true))).await.unwrap(), 1);
        bench.until("the old one is gone", async || bench.world.users("old") == 0).await;
        assert_eq!(bench.world.users("theirs"), 1);
    }

    #[tokio::test]
    async fn the_workloads_of_a_mount_end_with_it() {
        let bench = Bench::new().await;
        for (role, accessor) in [("removed", Some("removed")), ("other", Some("other")), ("old", None)] {
            lease(&bench, role, accessor).await;
        }
        bench.leases.end_login("removed").await.unwrap();
        bench.until("its user is gone", async || bench.world.users("removed") == 0).await;
        assert_eq!((bench.world.users("other"), bench.world.users("old")), (1, 1));
    }
}
