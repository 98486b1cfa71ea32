//! The admin account's password once the engine has changed it: what the engine tells of it, and what the status says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;
use serde_json::Value;

use crate::api::condition::{self, DEGRADED, ROOT_ROTATED, Statement, whole_seconds};
use crate::api::connection::RootRotation;
use crate::api::{DatabaseConnection, DatabaseConnectionStatus};
use crate::base::Timestamp;
use crate::operator::kind::namespace_of;

/// Kept in the connection at engines that do not tell whether they have changed the password, written before they are asked to:
/// whoever finds it sends the Secret's password no more.
pub const MARK: &str = "lessor_root_rotated";

/// What the engine tells of the admin account's password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Root {
    /// Whether the engine tells anything.
    pub tells: bool,
    /// When it changed the password that it has; `None` while that is one that somebody wrote.
    pub last: Option<Timestamp>,
    /// When the next change is due.
    pub next: Option<Timestamp>,
    /// Whether the mark is there.
    marked: bool,
    failures: u64,
    error: String,
}

impl Root {
    /// Reads `database/config/…`; what is missing or unreadable stays unknown.
    pub fn read(found: Option<&Value>) -> Self {
        let Some(found) = found else { return Self::default() };
        let moment = |key: &str| found[key].as_str().and_then(|text| text.parse().ok());
        Self {
            tells: found.get("last_vault_rotation").is_some(),
            last: moment("last_vault_rotation"),
            next: moment("next_vault_rotation"),
            marked: found["connection_details"].get(MARK).is_some(),
            failures: found["rotation_failures"].as_u64().unwrap_or(0),
            error: found["rotation_error"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Whether only the engine knows the password, so that the Secret's is the wrong one. Of an engine that does not tell, the
    /// mark and the status count.
    pub fn is_engines_own(&self, status: &DatabaseConnectionStatus) -> bool {
        self.last.is_some() || (!self.tells && (self.marked || status.root_rotation.is_some()))
    }

    /// Whether the password of the Secret is still to be changed.
    pub fn wants_first_change(&self, object: &DatabaseConnection, status: &DatabaseConnectionStatus) -> bool {
        let wanted = object.spec.rotate_root.as_ref().is_some_and(|root| root.on_creation);
        // A mark without a status is of an attempt whose outcome nobody has written down.
        wanted && if self.tells { self.last.is_none() } else { status.root_rotation.is_none() }
    }

    /// Fills status and conditions. `failure` is what an attempt of just now said, `version` that of the Secret as it is now.
    pub fn report(
        &self,
        object: &DatabaseConnection,
        status: &mut DatabaseConnectionStatus,
        failure: Option<&str>,
        version: Option<&str>,
        now: Timestamp,
    ) {
        let failing = failure.map(str::to_owned).or_else(|| (self.failures > 0).then(|| self.error.clone()));
        let generation = object.meta().generation;
        let mut say = |statement: Statement<'_>| condition::set(&mut status.conditions, &statement, generation, now);
        let wanted = object.spec.rotate_root.is_some();
        match &failing {
            Some(error) if wanted || self.last.is_some() => {
                let message =
                    format!("the admin account's password could not be changed, the present one stays: {error}");
                say(Statement { kind: DEGRADED, holds: true, reason: "RotationFailing", message: &message });
            }
            _ if wanted => say(Statement { kind: DEGRADED, holds: false, reason: "AsExpected", message: "" }),
            _ => status.conditions.retain(|condition| condition.type_ != DEGRADED),
        }
        let known = status.root_rotation.as_ref();
        let last = self.last.map(whole_seconds).or_else(|| known.filter(|_| !self.tells).map(|known| known.last.0));
        let Some(last) = last else {
            status.root_rotation = None;
            status.conditions.retain(|condition| condition.type_ != ROOT_ROTATED);
            if wanted {
                let message = "the password is still the one of the Secret";
                let statement = Statement { kind: ROOT_ROTATED, holds: false, reason: "NotYet", message };
                condition::set(&mut status.conditions, &statement, generation, now);
            }
            return;
        };
        let replaced = known.and_then(|known| known.secret_version.clone());
        let (reason, message) = story(object, last, replaced.as_deref(), version);
        let statement = Statement { kind: ROOT_ROTATED, holds: true, reason, message: &message };
        condition::set(&mut status.conditions, &statement, generation, now);
        let next = self.next.map(whole_seconds).map(Time);
        status.root_rotation = Some(RootRotation { last: Time(last), next, secret_version: replaced });
    }
}

/// The first note of a change; `replaced` is the version of the Secret whose password it was.
pub fn noted(last: Timestamp, replaced: Option<String>) -> RootRotation {
    RootRotation { last: Time(whole_seconds(last)), next: None, secret_version: replaced }
}

/// What there is to know about the Secret once its password is not the account's any more.
fn story(
    object: &DatabaseConnection,
    last: Timestamp,
    replaced: Option<&str>,
    present: Option<&str>,
) -> (&'static str, String) {
    let reference = object.spec.credentials_secret_ref.as_ref();
    let secret = format!("Secret {}/{}", namespace_of(object), reference.map_or("", |reference| &reference.name));
    let known = format!("the engine changed the password at {last}, and only it knows the present one");
    match (replaced, present) {
        (_, None) => ("Rotated", format!("{known}; {secret} is gone, and not needed")),
        (Some(replaced), Some(present)) if replaced != present => (
            "SecretNotRead",
            format!(
                "{known}; {secret} was edited since, which changes nothing: its password is tried only where the engine's \
                 own does not log in any more"
            ),
        ),
        _ => ("Rotated", format!("{known}; {secret} is not read any more and may be deleted")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(rotate_root: Value) -> DatabaseConnection {
        let mut object = json!({
            "apiVersion": "lessor.dev/v1alpha1", "kind": "DatabaseConnection",
            "metadata": { "name": "pg", "namespace": "shop" },
            "spec": { "credentialsSecretRef": { "name": "admin" }, "connectionURL": "postgresql://h/db" },
        });
        if !rotate_root.is_null() {
            object["spec"]["rotateRoot"] = rotate_root;
        }
        serde_json::from_value(object).unwrap()
    }

    fn told(last: Value, failures: u64) -> Root {
        Root::read(Some(&json!({
            "last_vault_rotation": last, "next_vault_rotation": null, "rotation_failures": failures,
            "rotation_error": "refused", "connection_details": {},
        })))
    }

    fn said(status: &DatabaseConnectionStatus, kind: &str) -> Option<(String, String)> {
        let found = condition::get(&status.conditions, kind)?;
        Some((format!("{}={}", found.status, found.reason), found.message.clone()))
    }

    #[test]
    fn the_engines_word_counts_and_where_it_has_none_the_mark_and_the_status() {
        let (fresh, mut rotated) = (DatabaseConnectionStatus::default(), DatabaseConnectionStatus::default());
        let last = Time(Timestamp::UNIX_EPOCH);
        rotated.root_rotation = Some(RootRotation { last, next: None, secret_version: None });
        let wanted = object(json!({}));
        let done = told(json!("2026-01-01T00:00:00Z"), 0);
        assert!(done.is_engines_own(&fresh) && !done.wants_first_change(&wanted, &fresh), "the status was lost");
        let not_yet = told(Value::Null, 0);
        assert!(
            !not_yet.is_engines_own(&rotated) && not_yet.wants_first_change(&wanted, &rotated),
            "somebody wrote it"
        );
        let silent = Root::read(Some(&json!({ "connection_details": {} })));
        assert!(!silent.is_engines_own(&fresh) && silent.wants_first_change(&wanted, &fresh));
        assert!(silent.is_engines_own(&rotated) && !silent.wants_first_change(&wanted, &rotated));
        let marked = Root::read(Some(&json!({ "connection_details": { MARK: "true" } })));
        assert!(
            marked.is_engines_own(&fresh) && marked.wants_first_change(&wanted, &fresh),
            "the outcome is not known"
        );
        for other in [json!(null), json!({ "onCreation": false, "period": "1h" })] {
            assert!(!not_yet.wants_first_change(&object(other), &fresh));
        }
    }

    #[test]
    fn the_condition_tells_what_became_of_the_secret() {
        let mut status = DatabaseConnectionStatus::default();
        let wanted = object(json!({}));
        let report = |root: &Root, status: &mut DatabaseConnectionStatus, version: Option<&str>| {
            root.report(&wanted, status, None, version, Timestamp::UNIX_EPOCH);
        };
        report(&told(Value::Null, 1), &mut status, Some("u/1"));
        assert_eq!(said(&status, ROOT_ROTATED).unwrap().0, "False=NotYet");
        assert_eq!(said(&status, DEGRADED).unwrap().0, "True=RotationFailing");
        let done = told(json!("2026-01-01T00:00:00.5Z"), 0);
        report(&done, &mut status, Some("u/1"));
        assert_eq!(said(&status, DEGRADED).unwrap().0, "False=AsExpected");
        let (word, message) = said(&status, ROOT_ROTATED).unwrap();
        assert!(word == "True=Rotated" && message.contains("2026-01-01T00:00:00Z"), "{word} {message}");
        if let Some(rotation) = &mut status.root_rotation {
            rotation.secret_version = Some("u/1".into());
        }
        report(&done, &mut status, Some("u/2"));
        let (word, message) = said(&status, ROOT_ROTATED).unwrap();
        assert!(word == "True=SecretNotRead" && message.contains("Secret shop/admin was edited"), "{word} {message}");
        report(&done, &mut status, None);
        assert!(said(&status, ROOT_ROTATED).unwrap().1.contains("is gone"));
        assert_eq!(status.root_rotation.unwrap().secret_version.as_deref(), Some("u/1"));
    }

    #[test]
    fn a_connection_without_rotation_has_no_words_about_it() {
        let mut status = DatabaseConnectionStatus::default();
        told(Value::Null, 0).report(&object(Value::Null), &mut status, None, None, Timestamp::UNIX_EPOCH);
        assert_eq!(status, DatabaseConnectionStatus::default());
    }
}
