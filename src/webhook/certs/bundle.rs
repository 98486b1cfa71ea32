//! What replicas share: the certificate that is shown, the next one, and the CAs that are to be trusted.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};

use crate::base::{Secret, Timestamp};

/// A serving certificate with its key, and the CA that vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM.
    pub certificate: String,
    /// PEM (PKCS#8).
    pub key: Secret,
    /// PEM; its key is gone.
    pub ca: String,
    /// When it was made, whatever earlier moment the certificate itself says for the sake of slow clocks.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// All that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The DNS names in the certificates.
    pub names: Vec<String>,
    /// What is shown.
    pub current: Identity,
    /// What will be shown next.
    pub next: Option<Identity>,
    /// The CA of what was shown before, still trusted.
    pub retired_ca: Option<String>,
    /// When the last step was taken.
    pub changed: Timestamp,
}

/// The part of the Secret that is neither certificate nor key.
#[derive(Serialize, Deserialize)]
struct Dates {
    names: Vec<String>,
    changed: Timestamp,
    current: [Timestamp; 2],
    next: Option<[Timestamp; 2]>,
}

impl Bundle {
    /// The CAs to trust, as one PEM text.
    pub fn trusted(&self) -> String {
        let next = self.next.as_ref().map(|next| next.ca.as_str());
        [Some(self.current.ca.as_str()), next, self.retired_ca.as_deref()].into_iter().flatten().collect()
    }

    /// The data of a Secret of type `kubernetes.io/tls`, with the usual keys for what is shown.
    pub fn to_secret(&self) -> Result<BTreeMap<String, ByteString>, serde_json::Error> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, text: &str| drop(data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec())));
        let mut identity = |prefix: &str, identity: &Identity| {
            put(&format!("{prefix}tls.crt"), &identity.certificate);
            put(&format!("{prefix}tls.key"), identity.key.expose());
            put(&format!("{prefix}ca.crt"), &identity.ca);
            [identity.not_before, identity.not_after]
        };
        let dates = Dates {
            names: self.names.clone(),
            changed: self.changed,
            current: identity("", &self.current),
            next: self.next.as_ref().map(|next| identity("next-", next)),
        };
        if let Some(ca) = &self.retired_ca {
            put("retired-ca.crt", ca);
        }
        put("dates.json", &serde_json::to_string(&dates)?);
        Ok(data)
    }

    /// The other way round; `None` when something is missing, as in a Secret that the chart has just made.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Option<Self> {
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        let dates: Dates = serde_json::from_str(&text("dates.json")?).ok()?;
        let identity = |prefix: &str, [not_before, not_after]: [Timestamp; 2]| {
            Some(Identity {
                certificate: text(&format!("{prefix}tls.crt"))?,
                key: text(&format!("{prefix}tls.key"))?.into(),
                ca: text(&format!("{prefix}ca.crt"))?,
                not_before,
                not_after,
            })
        };
        Some(Self {
            current: identity("", dates.current)?,
            next: match dates.next {
                Some(next) => Some(identity("next-", next)?),
                None => None,
            },
            retired_ca: text("retired-ca.crt"),
            names: dates.names,
            changed: dates.changed,
        })
    }
}
