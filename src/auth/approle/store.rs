//! Roles and secret ids in storage. A login costs two reads: the role by its id, and the secret id by its hash.
//!
//! | key | value |
//! |---|---|
//! | `salt` | the key of this mount's hashes |
//! | `name/ROLE` | the hash of its role id |
//! | `id/HASH` | the role |
//! | `secret/UID/HASH` | a secret id of the role with that uid |
//! | `accessor/ACCESSOR` | where the secret id of this accessor is |
//!
//! Role ids and secret ids are kept as HMAC-SHA-256 only (a role's own id aside, which can be read).

use std::fmt::Write as _;
use std::sync::Arc;

use ring::hmac;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::OnceCell;

use super::role::Role;
use super::secret_id::SecretId;
use crate::base::{Random, Secret};
use crate::storage::{Error as StorageError, Txn, Version, View};
use crate::wire::{Answer, Error};

/// How many entries a scan reads at a time.
pub(super) const PAGE: usize = 500;

/// Where a secret id is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Place {
    /// Of its role.
    pub uid: String,
    /// The last part of its key.
    pub hash: String,
}

impl Place {
    pub fn key(&self) -> String {
        format!("secret/{}/{}", self.uid, self.hash)
    }
}

pub(super) struct Store {
    pub view: View,
    random: Arc<dyn Random>,
    salt: OnceCell<hmac::Key>,
}

impl Store {
    pub fn new(view: View, random: Arc<dyn Random>) -> Self {
        Self { view, random, salt: OnceCell::new() }
    }

    async fn salt(&self) -> Result<&hmac::Key, Error> {
        let load = || async {
            let mut fresh = vec![0_u8; 32];
            self.random.fill(&mut fresh);
            let bytes = match self.view.get::<Vec<u8>>("salt").await? {
                Some((bytes, _)) => bytes,
                None => match self.view.put_if("salt", &fresh, 0).await {
                    Ok(()) => fresh,
                    // Another replica was faster.
                    Err(StorageError::Conflict(_)) => self.view.get("salt").await?.map_or(fresh, |(bytes, _)| bytes),
                    Err(error) => return Err(error),
                },
            };
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        };
        Ok(self.salt.get_or_try_init(load).await?)
    }

    /// The hash of an id: half of it finds an entry, the other half is compared in constant time.
    async fn hash(&self, purpose: &str, id: &str) -> Result<(String, String), Error> {
        let mut context = hmac::Context::with_key(self.salt().await?);
        for part in [purpose, "\0", id] {
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let mut hex = String::with_capacity(64);
        for byte in tag.as_ref() {
            let _ = write!(hex, "{byte:02x}");
        }
        let check = hex.split_off(32);
        Ok((hex, check))
    }

    /// The names of all roles.
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.view.list("name/").await?)
    }

    /// A role by its name.
    pub async fn role(&self, name: &str) -> Result<Option<Role>, Error> {
        Ok(self.versioned_role(name).await?.map(|(role, ..)| role))
    }

    /// The role with the key and version of its entry, and the version of its name's entry.
    async fn versioned_role(&self, name: &str) -> Result<Option<(Role, String, Version, Version)>, Error> {
        let Some((hash, name_version)) = self.view.get::<String>(&format!("name/{name}")).await? else {
            return Ok(None);
        };
        let key = format!("id/{hash}");
        Ok(self.view.get(&key).await?.map(|(role, version)| (role, key, version, name_version)))
    }

    /// The role that clients log in to with this id.
    pub async fn role_by_id(&self, role_id: &str) -> Result<Option<Role>, Error> {
        let (hash, _) = self.hash("role", role_id).await?;
        let Some((role, _)) = self.view.get::<Role>(&format!("id/{hash}")).await? else { return Ok(None) };
        Ok(bool::from(role.role_id.as_bytes().ct_eq(role_id.as_bytes())).then_some(role))
    }

    /// Changes a role, or makes it if `create` is set. Repeated when another writer was faster.
    pub async fn write(
        &self,
        name: &str,
        create: bool,
        change: impl Fn(&mut Role) -> Result<(), Error>,
    ) -> Result<Answer, Error> {
        loop {
            let known = self.versioned_role(name).await?;
            let (mut role, old_key, version, name_version) = match known {
                Some(known) => known,
                None if create => (Role::new(name, self.random.uuid(), self.random.uuid()), String::new(), 0, 0),
                None => return Err(Error::unsupported_path()),
            };
            change(&mut role)?;
            let (hash, _) = self.hash("role", &role.role_id).await?;
            let key = format!("id/{hash}");
            let mut txn = Txn::default();
            if key != old_key {
                if self.view.get::<Role>(&key).await?.is_some() {
                    return Err(Error::bad_request("role_id already in use"));
                }
                txn.expect.push((self.view.full_key(&key), 0));
                txn.expect.push((self.view.full_key(&format!("name/{name}")), name_version));
                self.view.stage_put(&mut txn, &format!("name/{name}"), &hash)?;
            }
            if version > 0 {
                txn.expect.push((self.view.full_key(&old_key), version));
            }
            if version > 0 && key != old_key {
                self.view.stage_delete(&mut txn, &old_key);
            }
            self.view.stage_put(&mut txn, &key, &role)?;
            match self.view.store().commit(txn).await {
                Ok(()) => return Ok(Answer::empty()),
                Err(StorageError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes a role with its secret ids; an absent one is fine.
    pub async fn delete_role(&self, name: &str) -> Result<Answer, Error> {
        let role = loop {
            let Some((role, key, version, _)) = self.versioned_role(name).await? else { return Ok(Answer::empty()) };
            let mut txn = Txn { expect: vec![(self.view.full_key(&key), version)], ops: Vec::new() };
            self.view.stage_delete(&mut txn, &format!("name/{name}"));
            self.view.stage_delete(&mut txn, &key);
            match self.view.store().commit(txn).await {
                Ok(()) => break role,
                Err(StorageError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        };
        // From here on no login finds the role; what a crash leaves of its secret ids is for tidy.
        loop {
            let page: Vec<(String, SecretId)> = self.view.page(&format!("secret/{}/", role.uid), None, PAGE).await?;
            if page.is_empty() {
                return Ok(Answer::empty());
            }
            let mut txn = Txn::default();
            for (key, secret) in page {
                self.view.stage_delete(&mut txn, &key);
                self.view.stage_delete(&mut txn, &format!("accessor/{}", secret.accessor));
            }
            self.view.store().commit(txn).await?;
        }
    }

    /// Stores a new secret id of a role; `false` when it is there already.
    pub async fn add(&self, role: &Role, id: &Secret, mut secret: SecretId) -> Result<bool, Error> {
        let (hash, check) = self.hash(&role.uid, id.expose()).await?;
        secret.check = check;
        let place = Place { uid: role.uid.clone(), hash };
        let mut txn = Txn { expect: vec![(self.view.full_key(&place.key()), 0)], ops: Vec::new() };
        self.view.stage_put(&mut txn, &place.key(), &secret)?;
        self.view.stage_put(&mut txn, &format!("accessor/{}", secret.accessor), &place)?;
        match self.view.store().commit(txn).await {
            Ok(()) => Ok(true),
            Err(StorageError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A secret id of a role, its place and the version of its entry. Expired ones are found, too.
    pub async fn find(&self, role: &Role, id: &Secret) -> Result<Option<(Place, SecretId, Version)>, Error> {
        let (hash, check) = self.hash(&role.uid, id.expose()).await?;
        let place = Place { uid: role.uid.clone(), hash };
        let Some((secret, version)) = self.view.get::<SecretId>(&place.key()).await? else { return Ok(None) };
        let same = bool::from(secret.check.as_bytes().ct_eq(check.as_bytes()));
        Ok(same.then_some((place, secret, version)))
    }

    /// The place of the secret id with this accessor.
    pub async fn place(&self, accessor: &str) -> Result<Option<Place>, Error> {
        Ok(self.view.get(&format!("accessor/{accessor}")).await?.map(|(place, _)| place))
    }

    /// The secret id at a place, and the version of its entry.
    pub async fn at(&self, place: &Place) -> Result<Option<(SecretId, Version)>, Error> {
        Ok(self.view.get(&place.key()).await?)
    }

    /// Writes a secret id anew, or removes it (`None`), if its entry still has `version`; `false` if it has not.
    pub async fn replace(
        &self,
        place: &Place,
        old: &SecretId,
        new: Option<&SecretId>,
        version: Version,
    ) -> Result<bool, StorageError> {
        let mut txn = Txn { expect: vec![(self.view.full_key(&place.key()), version)], ops: Vec::new() };
        match new {
            Some(new) => self.view.stage_put(&mut txn, &place.key(), new)?,
            None => {
                self.view.stage_delete(&mut txn, &place.key());
                self.view.stage_delete(&mut txn, &format!("accessor/{}", old.accessor));
            }
        }
        match self.view.store().commit(txn).await {
            Ok(()) => Ok(true),
            Err(StorageError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The accessors of a role's secret ids.
    pub async fn accessors(&self, role: &Role) -> Result<Vec<String>, Error> {
        let prefix = format!("secret/{}/", role.uid);
        let mut accessors = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page: Vec<(String, SecretId)> = self.view.page(&prefix, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            accessors.extend(page.into_iter().map(|(_, secret)| secret.accessor));
        }
        accessors.sort();
        Ok(accessors)
    }
}
