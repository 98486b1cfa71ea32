//! What the destination of a DynamicDatabaseSecret holds: leases, and credentials as far as they can be read back.

use std::collections::BTreeMap;

use super::content::{Additional, Credential, raw_keys};
use super::destination::Found;
use super::record::{LeaseRecord, PreviousLease, sha256};
use crate::api::names::{ADDITIONAL_LEASES, CONTENT_HASH, LEASE, PREVIOUS_LEASES, RESTART};

/// What the Secret holds.
#[derive(Debug, Default)]
pub struct Held {
    /// The Secret itself.
    pub found: Found,
    /// The lease that its annotation names.
    pub lease: Option<LeaseRecord>,
    /// The leases of additional users, by their names in the spec.
    pub additional: BTreeMap<String, LeaseRecord>,
    /// Whether it holds what was written with these leases.
    pub genuine: bool,
    /// The credentials, where the Secret tells them: without its raw password none can be read back.
    pub credentials: Option<(Credential, Additional)>,
    /// Leases of credentials that it held before.
    pub previous: Vec<PreviousLease>,
    /// The hash of what the operator last wrote.
    pub content_hash: Option<String>,
    /// The hash that restarted workloads must carry.
    pub restart: Option<String>,
    /// Whether this pass has written it already.
    pub written: bool,
}

/// Ties a credential to its lease.
pub fn fingerprint(lease_id: &str, credential: &Credential) -> String {
    sha256(&[lease_id.as_bytes(), credential.username.as_bytes(), credential.password.expose().as_bytes()])
}

/// What a Secret tells of one user's credential.
enum Told {
    Credential(Credential),
    /// Its password is not among the keys.
    Nothing,
    /// It is another one than the lease's.
    Forged,
}

fn told(found: &Found, user: Option<&str>, lease: &LeaseRecord) -> Told {
    let [_, password] = raw_keys(user);
    let Some(password) = found.data.get(&password) else { return Told::Nothing };
    let credential = Credential { username: lease.username.clone(), password: password.clone() };
    let genuine = fingerprint(lease.id.expose(), &credential) == lease.fingerprint;
    if genuine { Told::Credential(credential) } else { Told::Forged }
}

impl From<Found> for Held {
    fn from(found: Found) -> Self {
        let lease: Option<LeaseRecord> = found.parsed(LEASE);
        let additional: BTreeMap<String, LeaseRecord> = found.parsed(ADDITIONAL_LEASES).unwrap_or_default();
        let (mut first, mut others, mut forged, mut silent) = (None, Additional::new(), false, false);
        let users = lease.iter().map(|lease| (None, lease));
        for (user, lease) in users.chain(additional.iter().map(|(name, lease)| (Some(name.as_str()), lease))) {
            match told(&found, user, lease) {
                Told::Credential(credential) => match user {
                    Some(name) => drop(others.insert(name.to_owned(), credential)),
                    None => first = Some(credential),
                },
                Told::Nothing => silent = true,
                Told::Forged => forged = true,
            }
        }
        Self {
            genuine: lease.is_some() && !forged && (!silent || found.intact().is_some()),
            credentials: first.filter(|_| !forged && !silent).map(|first| (first, others)),
            previous: found.parsed(PREVIOUS_LEASES).unwrap_or_default(),
            content_hash: found.annotation(CONTENT_HASH).map(str::to_owned),
            restart: found.annotation(RESTART).map(str::to_owned),
            written: false,
            lease,
            additional,
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::destination::tests::found;
    use super::super::record::tests::record;
    use super::*;
    use crate::base::Secret;

    fn lease(id: &str, username: &str, password: &str) -> LeaseRecord {
        let credential = Credential { username: username.into(), password: Secret::new(password) };
        LeaseRecord { username: username.into(), fingerprint: fingerprint(id, &credential), ..record(id) }
    }

    fn held(data: &[(&str, &str)]) -> Held {
        let main = serde_json::to_string(&lease("id", "v-app", "pw")).unwrap();
        found(data, &[(LEASE, main), (PREVIOUS_LEASES, "broken".into())]).into()
    }

    #[test]
    fn a_credential_counts_only_while_it_is_the_leases() {
        let genuine = held(&[("username", "v-app"), ("password", "pw")]);
        assert!(genuine.genuine && genuine.previous.is_empty());
        assert_eq!(genuine.credentials.unwrap().0.username, "v-app");
        let edited = held(&[("username", "v-app"), ("password", "edited")]);
        assert!(!edited.genuine && edited.credentials.is_none());
        assert!(edited.lease.is_some(), "the lease must still be revoked");
    }

    #[test]
    fn an_edited_username_is_put_right_with_the_same_user() {
        let edited = held(&[("username", "edited"), ("password", "pw")]);
        assert!(edited.genuine);
        assert_eq!(edited.credentials.unwrap().0.username, "v-app");
    }

    #[test]
    fn a_secret_without_its_raw_password_counts_while_nobody_has_touched_it() {
        let mut written = held(&[("url", "postgresql://v-app:pw@db/app")]);
        assert!(written.genuine && written.credentials.is_none());
        written.found.data.insert("url".into(), Secret::new("edited"));
        assert!(!Held::from(written.found).genuine);
    }

    #[test]
    fn every_additional_user_counts() {
        let leases = BTreeMap::from([("owner", lease("other", "v-owner", "po"))]);
        let notes = [
            (LEASE, serde_json::to_string(&lease("id", "v-app", "pw")).unwrap()),
            (ADDITIONAL_LEASES, serde_json::to_string(&leases).unwrap()),
        ];
        let of = |password: &str| Held::from(found(&[("password", "pw"), ("owner_password", password)], &notes));
        let (_, others) = of("po").credentials.unwrap();
        assert_eq!(others["owner"].username, "v-owner");
        assert!(!of("edited").genuine);
    }
}
