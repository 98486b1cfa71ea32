//! What the operator remembers of a static account: in annotations of the very Secret that holds its password.

use serde::{Deserialize, Serialize};

use super::engine::Account;
use crate::api::StaticDatabaseSecretStatus;
use crate::api::names::{CONTENT_HASH, RESTART, STATIC_ACCOUNT};
use crate::base::Timestamp;
use crate::operator::dynamic::destination::Found;
use crate::operator::dynamic::record::sha256;
use crate::operator::tenant::Tenant;

/// Whose password the Secret holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountRecord {
    /// The account.
    pub username: String,
    /// The role's name in the engine.
    pub role: String,
    /// The ServiceAccount that asked.
    pub service_account: String,
    /// When the password was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Timestamp>,
    /// Makes the mark on pod templates tell nothing of the password: an adopted one may be short, and more people read pods
    /// than Secrets.
    pub salt: String,
}

impl AccountRecord {
    /// The record of an account that the tenant has just read.
    pub fn of(account: &Account, tenant: &Tenant, salt: String) -> Self {
        Self {
            username: account.credential.username.clone(),
            role: tenant.role.clone(),
            service_account: tenant.service_account.clone(),
            rotated: account.rotated,
            salt,
        }
    }
}

/// What the Secret holds.
#[derive(Debug, Default)]
pub struct Held {
    /// The Secret itself.
    pub found: Found,
    /// Whose password it was given last.
    pub record: Option<AccountRecord>,
    /// The hash that restarted workloads must carry.
    pub restart: Option<String>,
}

impl From<Found> for Held {
    fn from(found: Found) -> Self {
        let restart = found.annotation(RESTART).map(str::to_owned);
        Self { record: found.parsed(STATIC_ACCOUNT), restart, found }
    }
}

impl Held {
    /// The hash that restarted workloads must carry once the Secret holds `account` as a content of that hash. The first
    /// content restarts nobody: pods that need it wait for it. A Secret that was deleted by hand and is made again with what
    /// it held restarts nobody either: `same_spec` says whether the status is of the object as it is now.
    pub fn restart_for(
        &self,
        account: &Account,
        hash: &str,
        salt: &str,
        status: &StaticDatabaseSecretStatus,
        same_spec: bool,
    ) -> Option<String> {
        if self.found.annotation(CONTENT_HASH) == Some(hash) {
            return self.restart.clone();
        }
        if self.record.is_none() {
            let rotated = status.last_rotation.as_ref().map(|rotated| rotated.0);
            let same = status.username.as_ref() == Some(&account.credential.username) && rotated == account.rotated;
            if status.username.is_none() || (same && same_spec) {
                return status.restart.as_ref().map(|restart| restart.hash.clone());
            }
        }
        Some(sha256(&[salt.as_bytes(), hash.as_bytes()]))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use serde_json::json;

    use super::*;
    use crate::base::Secret;
    use crate::operator::dynamic::content::{Credential, content_hash};
    use crate::operator::dynamic::destination::tests::found;

    fn account(second: i64) -> Account {
        let credential = Credential { username: "app".into(), password: Secret::new("pw") };
        Account { credential, rotated: Timestamp::from_second(second).ok(), ttl: 60 }
    }

    fn status(second: i64) -> StaticDatabaseSecretStatus {
        let restart = json!({ "hash": "before", "started": "2026-01-01T00:00:00Z" });
        StaticDatabaseSecretStatus {
            username: Some("app".into()),
            last_rotation: Timestamp::from_second(second).ok().map(MicroTime),
            restart: serde_json::from_value(restart).unwrap(),
            ..StaticDatabaseSecretStatus::default()
        }
    }

    fn held() -> Held {
        let record = json!({ "username": "app", "role": "shop.app", "serviceAccount": "web", "salt": "s" }).to_string();
        found(&[("password", "pw")], &[(STATIC_ACCOUNT, record), (RESTART, "before".into())]).into()
    }

    #[test]
    fn a_change_restarts_once_and_the_same_content_never() {
        let held = held();
        let same = content_hash(&held.found.data);
        assert_eq!(held.restart_for(&account(1), &same, "s", &status(1), true).as_deref(), Some("before"));
        let changed = held.restart_for(&account(2), "other", "s", &status(1), true).unwrap();
        assert_ne!(changed, "before");
        assert_eq!(held.restart_for(&account(2), "other", "s", &status(1), true), Some(changed.clone()));
        assert_ne!(held.restart_for(&account(2), "other", "t", &status(1), true), Some(changed), "the salt is in it");
    }

    #[test]
    fn the_first_content_restarts_nobody() {
        let none = StaticDatabaseSecretStatus::default();
        assert_eq!(Held::default().restart_for(&account(1), "hash", "s", &none, false), None);
    }

    #[test]
    fn a_deleted_secret_is_made_again_without_a_restart() {
        let gone = Held::default();
        assert_eq!(gone.restart_for(&account(1), "hash", "s", &status(1), true).as_deref(), Some("before"));
        for (rotated, same_spec) in [(2, true), (1, false)] {
            let mark = gone.restart_for(&account(rotated), "hash", "s", &status(1), same_spec);
            assert!(mark.is_some_and(|mark| mark != "before"), "{rotated} {same_spec}");
        }
    }
}
