//! What the operator remembers of a credential: in annotations of the very Secret that holds it.
//!
//! One write then puts credential and lease into the cluster, or neither; a restarted operator finds both. The lease's id is
//! in no status, event or log, and gives nobody anything without a token that may use it. What changes with each renewal
//! stands in the object's status instead, so that a renewal does not touch the Secret.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::order::Order;
use super::plan::Times;
use crate::api::condition::whole_seconds;
use crate::api::dynamic_secret::LeaseStatus;
use crate::base::{Timestamp, clock};
use crate::operator::external::place::EngineName;
use crate::operator::external::tokens::Life;

/// Characters of a hash that are shown.
const SHOWN: usize = 12;

/// SHA-256 in hexadecimal.
pub fn sha256(parts: &[&[u8]]) -> String {
    let mut text = Vec::new();
    for part in parts {
        // With the lengths, no two lists of parts run together to the same text.
        text.extend_from_slice(&part.len().to_le_bytes());
        text.extend_from_slice(part);
    }
    digest(&SHA256, &text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id of a lease. `Debug` shows its reference only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(String);

impl LeaseId {
    /// Takes the id that the engine gave.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id itself, for calls of the engine.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells it apart from others without being it.
    pub fn reference(&self) -> String {
        let mut text = sha256(&[self.0.as_bytes()]);
        text.truncate(SHOWN);
        text
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({}…)", self.reference())
    }
}

/// A credential's lease, and what it was asked for with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRecord {
    /// The lease.
    pub id: LeaseId,
    /// The database user.
    pub username: String,
    /// When it was made.
    pub issued: Timestamp,
    /// For how long, whole seconds.
    pub ttl: u64,
    /// Whether it can be prolonged.
    pub renewable: bool,
    /// The role's name in the installed engine, or what stands for the path of another.
    pub role: String,
    /// The ServiceAccount that asked.
    pub service_account: String,
    /// The TTL that was asked for, whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_ttl: Option<u64>,
    /// Hash over lease, username and password: tells whether the Secret still holds what was written.
    pub fingerprint: String,
    /// What a lease of another engine than the installed one is kept with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lent: Option<Lent>,
}

/// What a lease of another engine is kept with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lent {
    /// The engine.
    pub engine: EngineName,
    /// Its login, in the ledger.
    pub login: String,
    /// How long the login's token lives.
    pub token: Life,
    /// How long the lease would live if its token did.
    pub lease: Life,
    /// Past this the lease cannot be prolonged, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

impl LeaseRecord {
    /// Whether it was made for that order.
    pub fn is_of(&self, order: &Order) -> bool {
        self.role == order.tenant.role
            && self.service_account == order.tenant.service_account
            && self.requested_ttl == order.ttl
    }

    /// The times of the lease, with what the status knows of renewals. `None` when the status tells nothing (it was lost) and
    /// asking the engine would tell more.
    pub fn times(&self, status: Option<&LeaseStatus>, max_ttl: Option<u64>) -> Option<Times> {
        let known = status.filter(|status| status.reference == self.id.reference());
        if known.is_none() && self.renewable {
            return None;
        }
        let learned = known.and_then(|known| known.final_expiry.as_ref()).map(|time| time.0);
        let configured = max_ttl.map(|seconds| clock::add_seconds(self.issued, seconds));
        Some(Times {
            issued: self.issued,
            renewed: known.map_or(self.issued, |known| known.renewed.0),
            ttl: known.map_or(self.ttl, |known| u64::try_from(known.ttl).unwrap_or(self.ttl)),
            expires: known.map_or_else(|| clock::add_seconds(self.issued, self.ttl), |known| known.expires.0),
            last: [learned, configured].into_iter().flatten().min(),
            renewable: self.renewable,
        })
    }

    /// The status of the lease after it was made, or prolonged for `ttl` seconds, at `now`.
    pub fn status(&self, now: Timestamp, ttl: u64) -> LeaseStatus {
        let now = whole_seconds(now);
        let expires = clock::add_seconds(now, ttl);
        LeaseStatus {
            reference: self.id.reference(),
            expires: Time(expires),
            renewed: Time(now),
            ttl: i64::try_from(ttl).unwrap_or(i64::MAX),
            // Less than was given at first means that the engine has reached the longest life that it allows.
            final_expiry: (ttl < self.ttl || !self.renewable).then_some(Time(expires)),
            engine: self.lent.as_ref().map(|lent| lent.engine.to_string()),
        }
    }
}

/// A lease whose credential the Secret does not hold any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviousLease {
    /// The lease.
    #[serde(flatten)]
    pub lease: LeaseRecord,
    /// When the Secret was given another credential.
    pub replaced: Timestamp,
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A lease of an hour, made at the epoch.
    pub fn record(id: &str) -> LeaseRecord {
        LeaseRecord {
            id: LeaseId::new(id),
            username: "v-app".into(),
            issued: Timestamp::UNIX_EPOCH,
            ttl: 3600,
            renewable: true,
            role: "shop.app".into(),
            service_account: "web".into(),
            requested_ttl: None,
            fingerprint: "f".into(),
            lent: None,
        }
    }

    #[test]
    fn an_id_shows_in_the_annotation_only() {
        let record = record("database/creds/shop.app/canary");
        assert!(!format!("{record:?} {:?}", record.status(Timestamp::UNIX_EPOCH, 60)).contains("canary"));
        let text = serde_json::to_string(&PreviousLease { lease: record, replaced: Timestamp::UNIX_EPOCH }).unwrap();
        assert!(text.contains("canary"));
        assert_eq!(serde_json::from_str::<PreviousLease>(&text).unwrap().lease.ttl, 3600);
    }

    #[test]
    fn a_lost_status_asks_the_engine_instead_of_guessing() {
        let record = record("a");
        assert_eq!(record.times(None, None), None);
        let other = LeaseRecord { id: LeaseId::new("b"), ..record.clone() }.status(Timestamp::UNIX_EPOCH, 60);
        assert_eq!(record.times(Some(&other), None), None);
        let fixed = LeaseRecord { renewable: false, ..record };
        assert_eq!(fixed.times(None, None).unwrap().expires, clock::add_seconds(Timestamp::UNIX_EPOCH, 3600));
    }

    #[test]
    fn a_shortened_renewal_tells_the_last_expiry() {
        let record = record("a");
        let now = clock::add_seconds(Timestamp::UNIX_EPOCH, 1000);
        assert_eq!(record.status(now, 3600).final_expiry, None);
        let capped = record.status(now, 500);
        assert_eq!(record.times(Some(&capped), Some(9000)).unwrap().last, Some(clock::add_seconds(now, 500)));
    }

    #[test]
    fn hashes_keep_their_parts_apart() {
        assert_ne!(sha256(&[b"ab", b"c"]), sha256(&[b"a", b"bc"]));
        assert_eq!(sha256(&[]).len(), 64);
    }
}
