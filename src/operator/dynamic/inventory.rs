//! What the engine has of an object's leases, beside what the object knows of them.
//!
//! A credential that was made and never reached its Secret, because the operator crashed in between, is named nowhere: its
//! lease is ended. One whose Secret was deleted may still be in use by running pods: it is taken up again among the earlier
//! leases, and ends like these once its pods have moved on.

use kube::runtime::events::EventType;
use serde::Deserialize;
use serde_json::json;

use super::held::Held;
use super::lender;
use super::record::{LeaseId, LeaseRecord, PreviousLease};
use super::sync::Pass;
use super::uses_other_engines;
use crate::api::DynamicDatabaseSecretStatus;
use crate::api::condition::whole_seconds;
use crate::base::Timestamp;
use crate::operator::error::Error;

/// A lease that an object owns, as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Owned {
    #[serde(rename = "lease_id")]
    id: LeaseId,
    #[serde(default)]
    username: Option<String>,
    issue_time: Timestamp,
    /// Whole seconds left.
    ttl: u64,
    renewable: bool,
    /// Whether the engine is at its end already.
    ended: bool,
}

/// What to do about the leases that the Secret does not name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    /// The status knows them: their credentials were delivered.
    delivered: Vec<Owned>,
    /// Nobody knows them: their credentials reached nobody.
    surplus: Vec<Owned>,
}

/// Sorts what the engine has by who knows of it; `named` are the leases in the Secret.
fn compare(named: &[&LeaseId], status: &DynamicDatabaseSecretStatus, owned: Vec<Owned>) -> Findings {
    let mut findings = Findings::default();
    for lease in owned.into_iter().filter(|lease| !lease.ended && !named.contains(&&lease.id)) {
        let list = match is_known(status, &lease.id.reference()) {
            true => &mut findings.delivered,
            false => &mut findings.surplus,
        };
        list.push(lease);
    }
    findings
}

/// Whether the status tells of a lease: its credential was delivered.
fn is_known(status: &DynamicDatabaseSecretStatus, reference: &str) -> bool {
    let additional = status.additional_users.iter().map(|user| &user.lease);
    let pending = status.pending_revocations.iter().map(|pending| &pending.lease);
    let mut known = status.lease.iter().chain(additional).chain(pending);
    known.any(|lease| lease.reference == reference)
}

impl Pass<'_> {
    /// Looks at the engine's list if the Secret has lost what it named, or the engine has more than it names.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(super) async fn take_stock(&mut self, held: &mut Held) -> Result<(), Error> {
        self.take_stock_of_strays(held).await?;
        let lost = held.lease.is_none() && self.status.lease.as_ref().is_some_and(|lease| lease.engine.is_none());
        let surplus = self.context.take_surplus(&self.tenant.uid);
        if !lost && !surplus {
            return Ok(());
        }
        let now = held.lease.iter().chain(held.additional.values());
        let named = now.chain(held.previous.iter().map(|old| &old.lease));
        let named: Vec<&LeaseId> = named.map(|lease| &lease.id).collect();
        let findings = compare(&named, self.status, self.owned_leases().await?);
        for lease in findings.surplus {
            self.end_surplus(lease).await?;
        }
        if findings.delivered.is_empty() {
            return Ok(());
        }
        let now = whole_seconds(self.now());
        for lease in findings.delivered {
            let old = self.taken_up(lease, now);
            // Its times are known: nobody has to ask the engine for them before its grace can end.
            if let Some(status) = self.status.lease.clone() {
                self.remember(&old.lease, status);
            }
            held.previous.push(old);
        }
        // Where a credential is missing, the whole Secret is about to be written, with these leases in it.
        if held.lease.is_some() { self.set_previous(&held.previous).await } else { Ok(()) }
    }

    /// Ends logins at other engines that no Secret names, or takes up what came of them where it was delivered.
    async fn take_stock_of_strays(&mut self, held: &mut Held) -> Result<(), Error> {
        let now = held.lease.iter().chain(held.additional.values());
        let named: Vec<&LeaseRecord> = now.chain(held.previous.iter().map(|old| &old.lease)).collect();
        if !uses_other_engines(self.object) && named.iter().all(|lease| lease.lent.is_none()) {
            return Ok(());
        }
        let strays = lender::strays(self.context, &self.tenant.uid, &named).await?;
        let mut delivered = Vec::new();
        for stray in strays {
            let lease = stray.lease().filter(|lease| is_known(self.status, &lease.id.reference()));
            match lease {
                Some(lease) => delivered.push(lease.clone()),
                None => {
                    stray.end(self.context).await?;
                    if let Some(lease) = stray.lease() {
                        self.tell_of_surplus(&lease.username).await;
                    }
                }
            }
        }
        if delivered.is_empty() {
            return Ok(());
        }
        let now = whole_seconds(self.now());
        for lease in delivered {
            if let Some(status) = self.status_of(&lease.id.reference()) {
                self.remember(&lease, status);
            }
            held.previous.push(PreviousLease { lease, replaced: now });
        }
        if held.lease.is_some() { self.set_previous(&held.previous).await } else { Ok(()) }
    }

    async fn tell_of_surplus(&self, user: &str) {
        let note = format!("database user {user} is dropped: it was made and never delivered");
        self.context.publish(self.object, EventType::Normal, "SurplusUserRevoked", "Revoke", &note).await;
    }

    async fn owned_leases(&self) -> Result<Vec<Owned>, Error> {
        let what = "cannot ask the engine for this object's leases";
        let answer = self.context.session.read(&format!("sys/lessor/workloads/{}", self.tenant.uid)).await;
        // Another engine has no such list; there leases end with the token that asked for them.
        let data = answer.map_err(Error::engine(what))?.and_then(|envelope| envelope.data);
        let Some(rows) = data.map(|mut data| data["leases"].take()) else { return Ok(Vec::new()) };
        serde_json::from_value(rows).map_err(|error| Error::waiting("EngineRefused", format!("{what}: {error}")))
    }

    async fn end_surplus(&mut self, lease: Owned) -> Result<(), Error> {
        let user = lease.username.as_deref().unwrap_or("?");
        let body = json!({ "lease_id": lease.id.expose(), "sync": false });
        let answer = self.context.session.write("sys/leases/revoke", &body).await;
        answer.map_err(Error::engine(format!("cannot revoke the lease of user {user:?}")))?;
        self.tell_of_surplus(user).await;
        Ok(())
    }

    fn taken_up(&self, lease: Owned, now: Timestamp) -> PreviousLease {
        let reference = lease.id.reference();
        let known = self.status_of(&reference).and_then(|status| u64::try_from(status.ttl).ok());
        let lease = LeaseRecord {
            username: lease.username.unwrap_or_default(),
            issued: lease.issue_time,
            ttl: known.unwrap_or(lease.ttl),
            renewable: lease.renewable,
            role: self.role_of(&reference),
            service_account: self.tenant.service_account.clone(),
            requested_ttl: None,
            // Its password is known to running pods only.
            fingerprint: String::new(),
            lent: None,
            id: lease.id,
        };
        PreviousLease { lease, replaced: now }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;
    use crate::api::dynamic_secret::PendingRevocation;

    fn owned(id: &str) -> Owned {
        let text = json!({ "lease_id": id, "username": "v", "issue_time": "2026-01-01T00:00:00Z", "ttl": 60,
            "renewable": true, "ended": false });
        serde_json::from_value(text).unwrap()
    }

    fn ids(leases: &[Owned]) -> Vec<&str> {
        leases.iter().map(|lease| lease.id.expose()).collect()
    }

    #[test]
    fn what_was_made_and_never_written_is_surplus() {
        let (old, now) = (LeaseId::new("old"), LeaseId::new("now"));
        let ended = Owned { ended: true, ..owned("ending") };
        let all = vec![owned("old"), owned("now"), owned("crash"), ended];
        let found = compare(&[&old, &now], &DynamicDatabaseSecretStatus::default(), all);
        assert_eq!((ids(&found.surplus), found.delivered.len()), (vec!["crash"], 0));
    }

    #[test]
    fn what_a_deleted_secret_held_is_taken_up_again() {
        let status = |id: &str| record(id).status(Timestamp::UNIX_EPOCH, 60);
        let pending = PendingRevocation { username: "v".into(), lease: status("old"), unused_since: None };
        let status = DynamicDatabaseSecretStatus {
            lease: Some(status("now")),
            pending_revocations: vec![pending],
            ..DynamicDatabaseSecretStatus::default()
        };
        let found = compare(&[], &status, vec![owned("old"), owned("now"), owned("crash")]);
        assert_eq!((ids(&found.delivered), ids(&found.surplus)), (vec!["old", "now"], vec!["crash"]));
    }
}
