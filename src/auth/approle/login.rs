//! The login itself: role id and secret id for a token. Two reads, and a write only for secret ids with limited uses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::AppRole;
use super::role::Role;
use super::secret_id::SecretId;
use crate::auth::{Alias, LeaseOwner, Login, cidr};
use crate::base::Secret;
use crate::wire::{Error, Fields};

impl AppRole {
    pub(super) async fn login(&self, fields: &Fields, address: Option<IpAddr>) -> Result<Login, Error> {
        let role_id = fields.required("role_id")?;
        let role = self.store.role_by_id(&role_id).await?.ok_or_else(invalid)?;
        let mut token = role.token.clone();
        let mut metadata = BTreeMap::new();
        if !cidr::admits(&role.secret_id_bound_cidrs, address) {
            return Err(outside(address, "role"));
        }
        if role.bind_secret_id {
            let id = fields.required("secret_id")?.into();
            let secret = self.spend(&role, &id, address).await?;
            metadata = secret.metadata;
            if !secret.token_bound_cidrs.is_empty() {
                token.token_bound_cidrs = secret.token_bound_cidrs;
            }
        }
        if !cidr::admits(&token.token_bound_cidrs, address) {
            return Err(Error::denied());
        }
        metadata.insert("role_name".to_owned(), role.name.clone());
        let alias = Alias { name: role.role_id, metadata: [("role_name".to_owned(), role.name)].into() };
        let (display_name, owner) = (self.mount.clone(), LeaseOwner::Token);
        Ok(Login { display_name, metadata, alias: Some(alias), groups: Vec::new(), token, owner })
    }

    /// Uses a secret id once. Of several logins at a time that share its last use, one succeeds.
    async fn spend(&self, role: &Role, id: &Secret, address: Option<IpAddr>) -> Result<SecretId, Error> {
        loop {
            let (place, secret, version) = self.store.find(role, id).await?.ok_or_else(wrong)?;
            let now = self.clock.now();
            if secret.is_expired(now) {
                return Err(wrong());
            }
            // Before anything is spent, so that a wrong address costs its owner no use.
            if !cidr::admits(&secret.cidr_list, address) {
                return Err(outside(address, "secret ID"));
            }
            if secret.num_uses == 0 {
                return Ok(secret);
            }
            let left = SecretId { num_uses: secret.num_uses - 1, updated: now, ..secret.clone() };
            let new = (left.num_uses > 0).then_some(&left);
            if self.store.replace(&place, &secret, new, version).await? {
                return Ok(secret);
            }
        }
    }
}

const INVALID: &str = "invalid role or secret ID";

fn invalid() -> Error {
    Error::bad_request(INVALID)
}

/// The role is there, so this counts against it.
fn wrong() -> Error {
    Error::credentials(INVALID)
}

fn outside(address: Option<IpAddr>, what: &str) -> Error {
    let address = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    Error::bad_request(format!("source address {address:?} unauthorized through CIDR restrictions on the {what}"))
}
