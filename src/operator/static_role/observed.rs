//! What the engine says of a static role: which account it hands out, and when its password changed and will change.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde_json::Value;

use crate::api::condition::{whole_microseconds, whole_seconds};
use crate::api::{StaticDatabaseRoleSpec, StaticDatabaseRoleStatus};
use crate::base::{Timestamp, clock};

/// The answer of a read of `database/static-roles/…`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The account that is handed out.
    pub username: Option<String>,
    /// When its password was changed, or taken over.
    pub last: Option<Timestamp>,
    /// When the next change is due. Vault does not tell.
    pub next: Option<Timestamp>,
    /// Failed attempts in a row, and why the last one failed.
    pub failures: u64,
    error: String,
}

impl Observed {
    /// Reads the answer; what is missing or unreadable stays unknown.
    pub fn read(data: &Value) -> Self {
        let text = |key: &str| data[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let moment = |key: &str| data[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        Self {
            username: text("active_username").or_else(|| text("username")),
            last: moment("last_vault_rotation").map(whole_microseconds),
            next: moment("next_vault_rotation"),
            failures: data["rotation_failures"].as_u64().unwrap_or(0),
            error: text("rotation_error").unwrap_or_default(),
        }
    }

    /// Whether `after` asks for a change of the password now: it has come, and the password is older.
    pub fn is_asked_for(&self, after: Option<Timestamp>, now: Timestamp) -> bool {
        after.is_some_and(|after| after <= now && self.last.is_none_or(|last| last < after))
    }

    /// What is wrong with the changes of the password, for the condition Degraded.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        (self.failures > 0).then(|| {
            let times = if self.failures == 1 { "once".to_owned() } else { format!("{} times", self.failures) };
            let message =
                format!("the password could not be changed, tried {times}; the present one stays: {}", self.error);
            ("RotationFailing", message)
        })
    }

    /// Fills the status.
    pub fn report(&self, spec: &StaticDatabaseRoleSpec, status: &mut StaticDatabaseRoleStatus) {
        status.username = self.username.clone();
        status.last_rotation = self.last.map(MicroTime);
        let period = spec.rotation_period.as_ref().and_then(|period| period.seconds("spec.rotationPeriod").ok());
        let reckoned = self.last.zip(period).map(|(last, period)| clock::add_seconds(last, period));
        status.next_rotation = self.next.or(reckoned).map(whole_seconds).map(Time);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_status_tells_the_account_and_its_times_with_an_engine_that_tells_less() {
        let spec: StaticDatabaseRoleSpec = serde_json::from_value(
            json!({ "connectionRef": { "name": "pg" }, "usernames": ["a", "b"], "rotationPeriod": "1h" }),
        )
        .unwrap();
        let mut data = json!({
            "username": "a", "active_username": "b", "last_vault_rotation": "2026-01-01T00:00:00.123456789Z",
            "next_vault_rotation": "2026-01-01T02:00:00.5Z",
        });
        let mut status = StaticDatabaseRoleStatus::default();
        Observed::read(&data).report(&spec, &mut status);
        assert_eq!(status.username.as_deref(), Some("b"));
        assert_eq!(status.last_rotation, Some(MicroTime(at("2026-01-01T00:00:00.123456Z"))));
        assert_eq!(status.next_rotation, Some(Time(at("2026-01-01T02:00:00Z"))));
        data.as_object_mut().unwrap().remove("next_vault_rotation");
        Observed::read(&data).report(&spec, &mut status);
        assert_eq!(status.next_rotation, Some(Time(at("2026-01-01T01:00:00Z"))));
    }

    #[test]
    fn a_moment_asks_for_one_change_only() {
        let observed = |last: Option<&str>| Observed { last: last.map(at), ..Observed::default() };
        let (asked, now) = (Some(at("2026-01-01T12:00:00Z")), at("2026-01-01T13:00:00Z"));
        assert!(observed(Some("2026-01-01T11:59:59Z")).is_asked_for(asked, now));
        assert!(!observed(Some("2026-01-01T12:00:00Z")).is_asked_for(asked, now), "changed since");
        assert!(!observed(Some("2026-01-01T11:00:00Z")).is_asked_for(asked, at("2026-01-01T11:59:00Z")), "not yet");
        assert!(!observed(None).is_asked_for(None, now));
        assert!(observed(None).is_asked_for(asked, now), "an account without a known password");
    }

    #[test]
    fn failures_are_said_with_their_cause() {
        let data = json!({ "rotation_failures": 2, "rotation_error": "role is gone" });
        let (reason, message) = Observed::read(&data).problem().unwrap();
        assert!(reason == "RotationFailing" && message.contains("2 times") && message.ends_with("role is gone"));
        assert_eq!(Observed::read(&json!({})).problem(), None);
    }
}
