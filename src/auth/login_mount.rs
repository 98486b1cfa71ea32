//! Through which login mount a workload came: UIDs are those of its cluster, so only that cluster can say that it has ended.

use serde::{Deserialize, Serialize};

use super::LeaseOwner;

/// A login mount as the leases of its workloads keep it. Its namespace is the one that the leases are in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginMount {
    /// `auth/kubernetes`, as it was called at the login.
    pub path: String,
    /// Its accessor, which a remount leaves as it is.
    pub accessor: String,
}

impl LeaseOwner {
    /// The same, for a login through that mount.
    #[must_use]
    pub fn through(self, mount: LoginMount) -> Self {
        match self {
            Self::Token => Self::Token,
            Self::Workload(mut workload) => {
                workload.login = Some(mount);
                Self::Workload(workload)
            }
            Self::Requester { namespace, service_account, .. } => {
                Self::Requester { namespace, service_account, login: Some(mount) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Workload;

    #[test]
    fn a_record_without_its_mount_is_still_read() {
        let workload: Workload = serde_json::from_str(r#"{"uid":"u","namespace":"shop","name":"app-1"}"#).unwrap();
        assert_eq!(workload.login, None);
        let owner: LeaseOwner = serde_json::from_str(r#"{"requester":{"namespace":"shop"}}"#).unwrap();
        let mount = LoginMount { path: "auth/k".into(), accessor: "auth_kubernetes_1".into() };
        let LeaseOwner::Requester { namespace, login, .. } = owner.through(mount.clone()) else { panic!() };
        assert_eq!((namespace.as_str(), login), ("shop", Some(mount)));
    }
}
