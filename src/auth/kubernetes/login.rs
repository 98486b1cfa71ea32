//! The login itself: claims, role, review, and whose the leases will be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::claims::Claims;
use super::config::Config;
use super::review::{self, Identity, Question};
use super::role::{OwnerKind, Role, wrong_namespace};
use super::{Kubernetes, role_name};
use crate::auth::jws::{TokenError, Unverified};
use crate::auth::{Alias, LeaseOwner, Login, Workload, cidr};
use crate::base::Secret;
use crate::wire::{Error, Fields, Kind};

/// The issuer of tokens that is expected where validation is on and none is configured.
const DEFAULT_ISSUER: &str = "kubernetes/serviceaccount";

/// A token that none of the configured keys signed: a forged one, or the cluster's key was changed.
#[derive(Debug, thiserror::Error)]
#[error("the token is not of one of \"pem_keys\"; if the cluster has a new key, add it there")]
struct WrongSignature(#[source] TokenError);

/// A reviewed token that does not belong to the ServiceAccount that it claims.
#[derive(Debug, thiserror::Error)]
#[error("the token claims to be of {claimed}, the cluster says {reviewed}")]
struct Mismatch {
    claimed: String,
    reviewed: String,
}

impl Kubernetes {
    pub(super) async fn login(&self, fields: &Fields, address: Option<IpAddr>) -> Result<Login, Error> {
        let asked = fields.required("role")?;
        let jwt: Secret = fields.required("jwt")?.trim().into();
        let unknown = || Error::bad_request(format!("invalid role name {asked:?}"));
        let name = role_name::normal(&asked).map_err(|_| unknown())?;
        let role = self.roles.get(&name).await?.ok_or_else(unknown)?;
        if !cidr::admits(&role.token.token_bound_cidrs, address) {
            return Err(Error::denied());
        }
        let config = self.config().await?;
        let config = config.ok_or_else(|| Error::internal("could not load backend configuration"))?;
        let (claims, admitted) = self.claims(&jwt, &config, &role)?;
        let identity = self.review(&jwt, &config, &role, &claims).await?;
        if !admitted {
            self.check_labels(&jwt, &config, &role, &identity.namespace).await?;
        }
        let owner = owner(&role, &identity);
        Ok(Login {
            display_name: format!("{}-{}-{}", self.mount, identity.namespace, identity.name),
            metadata: metadata(&name, &claims, &identity, &owner),
            alias: Some(alias(&role, &claims, &identity)),
            groups: Vec::new(),
            token: role.token,
            owner,
        })
    }

    /// What the token says, checked as far as that is possible without the cluster, and whether that is enough.
    fn claims(&self, jwt: &Secret, config: &Config, role: &Role) -> Result<(Claims, bool), Error> {
        let refused = |error| Error::denied().caused_by(error);
        let claims = Claims::parse(jwt).map_err(refused)?;
        check_signature(jwt, config)?;
        claims.check_times(self.clock.now()).map_err(refused)?;
        let issuer = if config.issuer.is_empty() { DEFAULT_ISSUER } else { &config.issuer };
        if !config.disable_iss_validation && claims.issuer != issuer {
            return Err(refused(super::claims::Error::Issuer(claims.issuer)));
        }
        if !role.audience.is_empty() && !claims.audiences.contains(&role.audience) {
            let text = "invalid audience (aud) claim: audience claim does not match any expected audience";
            return Err(Error::new(Kind::Denied, text));
        }
        let admitted = role.admit(&claims.namespace, &claims.name)?;
        Ok((claims, admitted))
    }

    /// Looks at the labels of a namespace once the cluster has said that the caller is of it.
    async fn check_labels(&self, jwt: &Secret, config: &Config, role: &Role, namespace: &str) -> Result<(), Error> {
        let ca = config.ca(&self.pod).await.map_err(review::Error::Ca);
        let own = self.reviewer_token(config).await;
        let reviewer = own.as_ref().unwrap_or(jwt);
        let labels = match ca {
            Ok(ca) => self.reviewer.labels(&config.url(), ca, reviewer, namespace).await,
            Err(error) => Err(error),
        };
        let labels = labels.map_err(|error| {
            let text = "cannot read the labels of the namespace: the engine's log says why";
            Error::new(if error.retryable() { Kind::Upstream } else { Kind::Denied }, text).caused_by(error)
        })?;
        match role.selector()? {
            Some(selector) if selector.matches(&labels) => Ok(()),
            _ => Err(wrong_namespace()),
        }
    }

    async fn review(&self, jwt: &Secret, config: &Config, role: &Role, claims: &Claims) -> Result<Identity, Error> {
        let audiences = if role.audience.is_empty() { claims.audiences.clone() } else { vec![role.audience.clone()] };
        let reviewed = match config.ca(&self.pod).await {
            Ok(ca) => {
                let own = self.reviewer_token(config).await;
                let reviewer = own.as_ref().unwrap_or(jwt);
                let url = config.url();
                self.reviewer.review(Question { url, ca, reviewer, token: jwt, audiences: &audiences }).await
            }
            Err(error) => Err(review::Error::Ca(error)),
        };
        let identity = reviewed.map_err(|error| {
            if error.retryable() {
                let text = "cannot review the token: the Kubernetes API server does not answer as it should";
                return Error::new(Kind::Upstream, text).caused_by(error);
            }
            Error::denied().caused_by(error)
        })?;
        let claimed = (&claims.namespace, &claims.name, &claims.uid);
        if claimed != (&identity.namespace, &identity.name, &identity.uid) {
            let claimed = format!("{}/{} ({})", claims.namespace, claims.name, claims.uid);
            let reviewed = format!("{}/{} ({})", identity.namespace, identity.name, identity.uid);
            return Err(Error::denied().caused_by(Mismatch { claimed, reviewed }));
        }
        Ok(identity)
    }

    /// The configured reviewer's token, else this pod's own. Without either the reviewed token speaks for itself.
    async fn reviewer_token(&self, config: &Config) -> Option<Secret> {
        if !config.token_reviewer_jwt.is_empty() {
            return Some(config.token_reviewer_jwt.as_str().into());
        }
        if config.disable_local_ca_jwt {
            return None;
        }
        let text = tokio::fs::read_to_string(&self.pod.token).await.ok()?;
        Some(text.trim().into()).filter(|token: &Secret| !token.is_empty())
    }
}

/// Whether one of the configured keys signed the token, where there are any.
fn check_signature(jwt: &Secret, config: &Config) -> Result<(), Error> {
    if config.pem_keys.is_empty() {
        return Ok(());
    }
    let keys = config.keys().map_err(|error| {
        Error::internal("\"pem_keys\" of the configuration cannot be read: write it anew").caused_by(error)
    })?;
    let token = Unverified::parse(jwt, &[]).map_err(|error| Error::denied().caused_by(error))?;
    let refused = || Error::denied().caused_by(WrongSignature(TokenError::Signature));
    token.verify(&keys).map(drop).ok_or_else(refused)
}

/// Pods are known from the review; for what is no pod each request says whose the lease is, which only ties it to another
/// object's end.
fn owner(role: &Role, identity: &Identity) -> LeaseOwner {
    let (namespace, service_account) = (identity.namespace.clone(), identity.name.clone());
    match (role.lease_owner, identity.pod.clone()) {
        (OwnerKind::Token, _) => LeaseOwner::Token,
        (OwnerKind::Workload, Some((name, uid))) => {
            LeaseOwner::Workload(Workload { uid, namespace, name, service_account, pod: true, login: None })
        }
        (OwnerKind::Workload, None) => LeaseOwner::Requester { namespace, service_account, login: None },
    }
}

/// The ServiceAccount, as the role says: by UID, or by name, which stays when it is made anew.
fn alias(role: &Role, claims: &Claims, identity: &Identity) -> Alias {
    let by_name = role.alias_name_source == "serviceaccount_name";
    let name = if by_name { format!("{}/{}", identity.namespace, identity.name) } else { identity.uid.clone() };
    let metadata = [
        ("service_account_name", &identity.name),
        ("service_account_namespace", &identity.namespace),
        ("service_account_uid", &identity.uid),
        ("service_account_secret_name", &claims.secret_name),
    ];
    Alias { name, metadata: metadata.map(|(key, value)| (key.to_owned(), value.clone())).into() }
}

fn metadata(role: &str, claims: &Claims, identity: &Identity, owner: &LeaseOwner) -> BTreeMap<String, String> {
    let mut metadata: BTreeMap<_, _> = [
        ("role", role),
        ("service_account_name", &identity.name),
        ("service_account_namespace", &identity.namespace),
        ("service_account_uid", &identity.uid),
        ("service_account_secret_name", &claims.secret_name),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if let Some((name, uid)) = &identity.pod {
        metadata.insert("pod_name".to_owned(), name.clone());
        metadata.insert("pod_uid".to_owned(), uid.clone());
    }
    // Agents ask for it: leases of a workload outlive the login's token.
    if matches!(owner, LeaseOwner::Workload(_)) {
        metadata.insert("lease_owner".to_owned(), "workload".to_owned());
    }
    metadata
}
