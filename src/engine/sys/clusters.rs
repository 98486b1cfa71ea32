//! The part of the engine that one Kubernetes cluster looks after: its login mounts, here and in the namespaces below.
//!
//! An operator names the mounts that it knows to be its cluster's. Every other mount that asks the same API server is of that
//! cluster as well, so a namespace that gets a login of its own needs nobody to say so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::core::Core;
use crate::engine::lease::Leases;
use crate::engine::lease::logins::Logins;
use crate::wire::Error;

/// A namespace in which a cluster's workloads log in.
pub(super) struct Part {
    /// `team/`, as seen from where it was asked for; empty for that namespace itself.
    pub(super) namespace: String,
    /// Its leases.
    pub(super) leases: Arc<Leases>,
    /// The cluster's login mounts there.
    pub(super) logins: Logins,
}

/// A login mount of any cluster.
struct Mount {
    /// `team/auth/kubernetes`.
    name: String,
    namespace: String,
    accessor: String,
    api_server: Option<String>,
}

/// The accessors of the mounts that `named` names, and of those that ask the same API servers, by namespace.
fn of_cluster(mounts: Vec<Mount>, named: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let named: BTreeSet<String> = named.iter().map(|name| full_name(name)).collect();
    let servers = mounts.iter().filter(|mount| named.contains(&mount.name));
    let servers: BTreeSet<String> = servers.filter_map(|mount| mount.api_server.clone()).collect();
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for mount in mounts {
        if named.contains(&mount.name) || mount.api_server.is_some_and(|server| servers.contains(&server)) {
            found.entry(mount.namespace).or_default().insert(mount.accessor);
        }
    }
    found
}

/// `kubernetes`, `auth/kubernetes` and `team/auth/kubernetes/` as [`Mount::name`] has them.
fn full_name(name: &str) -> String {
    let name = name.trim_matches('/');
    if name.starts_with("auth/") || name.contains("/auth/") { name.to_owned() } else { format!("auth/{name}") }
}

impl Core {
    /// The parts of the clusters whose login mounts `named` names, the asked namespace always and first.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn parts_of_clusters(&self, named: &[String]) -> Result<Vec<Part>, Error> {
        let below = self.shared.directory.below(&self.place.path);
        let below = below.iter().filter(|space| !space.record.tainted).map(|space| &*space.core);
        let namespaces = [self].into_iter().chain(below);
        let namespaces: BTreeMap<&str, &Self> =
            namespaces.map(|core| (core.place.path.strip_prefix(&self.place.path).unwrap_or_default(), core)).collect();
        let mut mounts = Vec::new();
        for (namespace, core) in &namespaces {
            for mounted in core.methods.all() {
                mounts.push(Mount {
                    name: format!("{namespace}auth/{}", mounted.entry.path.trim_end_matches('/')),
                    namespace: (*namespace).to_owned(),
                    accessor: mounted.entry.accessor.clone(),
                    api_server: mounted.plugin.api_server().await?,
                });
            }
        }
        let mut accessors = of_cluster(mounts, named);
        accessors.entry(String::new()).or_default();
        let part = |(namespace, accessors): (String, BTreeSet<String>)| {
            let leases = namespaces.get(namespace.as_str())?.leases.clone();
            // Whatever has no mount was made when only the asked namespace was looked at.
            let logins = Logins { accessors, unknown: namespace.is_empty() };
            Some(Part { namespace, leases, logins })
        };
        Ok(accessors.into_iter().filter_map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(name: &str, api_server: Option<&str>) -> Mount {
        let (namespace, _) = name.split_at(name.find("auth/").unwrap());
        let api_server = api_server.map(str::to_owned);
        Mount { name: name.into(), namespace: namespace.into(), accessor: format!("of {name}"), api_server }
    }

    fn found(named: &[&str]) -> Vec<String> {
        let mounts = vec![
            mount("auth/kubernetes", Some("https://here")),
            mount("auth/other", Some("https://there")),
            mount("auth/approle", None),
            mount("team/auth/kubernetes", Some("https://here")),
            mount("team/auth/public", Some("https://here.example.com")),
            mount("far/auth/kubernetes", Some("https://there")),
        ];
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        of_cluster(mounts, &named).into_values().flatten().collect()
    }

    #[test]
    fn a_cluster_has_every_mount_that_asks_its_api_server() {
        assert_eq!(found(&["kubernetes"]), ["of auth/kubernetes", "of team/auth/kubernetes"]);
        assert_eq!(found(&["auth/other/"]), ["of auth/other", "of far/auth/kubernetes"]);
    }

    #[test]
    fn mounts_that_ask_it_by_another_name_are_named() {
        let all = ["of auth/kubernetes", "of team/auth/kubernetes", "of team/auth/public"];
        assert_eq!(found(&["kubernetes", "team/auth/public"]), all);
        assert_eq!(found(&["approle"]), ["of auth/approle"], "it asks none, as others do");
        assert!(found(&["kubernete", "auth/kubernetes/x"]).is_empty());
    }
}
