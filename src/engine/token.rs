//! Tokens: made by logins and by other tokens, stored only under salted hashes, with their tree of children.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::batch::{self, Batches};
use super::due::{Due, Index};
use super::namespace::Place;
use super::ttl::{self, Limits, Wish};
use crate::auth::LeaseOwner;
use crate::base::clock::seconds_between;
use crate::base::{Clock, Random, Secret, Timestamp};
use crate::storage::{Error as StorageError, Txn, Version, View};
use crate::wire::{Auth, Error};

/// The two types of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Stored: it can be renewed and revoked.
    #[default]
    Service,
    /// Carried by its holder, see `batch.rs`.
    Batch,
}

/// A token. Durations are whole seconds, 0 is unset.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of token lookup, vault-api.md 2.2")]
pub struct Token {
    #[serde(default)]
    pub kind: Kind,
    pub accessor: String,
    /// The hash of the token that made this one; none for orphans and logins.
    pub parent: Option<String>,
    pub policies: Vec<String>,
    /// Where it was made: `auth/approle/login`.
    pub path: String,
    pub meta: BTreeMap<String, String>,
    pub display_name: String,
    pub created: Timestamp,
    pub creation_ttl: u64,
    /// None: never (root tokens).
    pub expires: Option<Timestamp>,
    pub last_renewal: Option<Timestamp>,
    pub role_ttl: u64,
    pub role_max_ttl: u64,
    pub explicit_max_ttl: u64,
    pub period: u64,
    /// Uses left; 0 is without limit, -1 used up.
    pub num_uses: i64,
    pub renewable: bool,
    pub orphan: bool,
    pub entity_id: String,
    pub bound_cidrs: Vec<String>,
    /// The role of the token method that it was made by; empty without one.
    #[serde(default)]
    pub role: String,
    /// Who owns the leases that this token asks for.
    pub owner: LeaseOwner,
    /// Being revoked: good for nothing any more.
    pub revoking: bool,
}

impl Token {
    /// A token with nothing set: an orphan that may be renewed.
    pub fn blank(created: Timestamp) -> Self {
        Self {
            kind: Kind::Service,
            accessor: String::new(),
            parent: None,
            policies: Vec::new(),
            path: String::new(),
            meta: BTreeMap::new(),
            display_name: String::new(),
            created,
            creation_ttl: 0,
            expires: None,
            last_renewal: None,
            role_ttl: 0,
            role_max_ttl: 0,
            explicit_max_ttl: 0,
            period: 0,
            num_uses: 0,
            renewable: true,
            orphan: true,
            entity_id: String::new(),
            bound_cidrs: Vec::new(),
            role: String::new(),
            owner: LeaseOwner::Token,
            revoking: false,
        }
    }

    /// Whether it may do everything.
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }

    /// Whole seconds left; 0 for a token that never expires.
    pub fn ttl(&self, now: Timestamp) -> u64 {
        self.expires.map_or(0, |expires| seconds_between(now, expires))
    }

    fn wish(&self, increment: u64) -> Wish {
        Wish {
            increment,
            role_ttl: self.role_ttl,
            role_max: self.role_max_ttl,
            period: self.period,
            explicit_max: self.explicit_max_ttl,
        }
    }

    /// The `auth` object of the answer that hands out or prolongs this token.
    pub fn auth(&self, token: Option<&Secret>, lease_duration: u64) -> Auth {
        Auth {
            client_token: token.map(|token| token.expose().to_owned()).unwrap_or_default(),
            accessor: self.accessor.clone(),
            policies: self.policies.clone(),
            token_policies: self.policies.clone(),
            identity_policies: Vec::new(),
            metadata: (!self.meta.is_empty()).then(|| self.meta.clone()),
            lease_duration,
            renewable: self.renewable,
            entity_id: self.entity_id.clone(),
            token_type: match self.kind {
                Kind::Service => "service".into(),
                Kind::Batch => "batch".into(),
            },
            orphan: self.orphan,
            mfa_requirement: None,
            num_uses: u64::try_from(self.num_uses).unwrap_or(0),
        }
    }
}

/// A token as it was found: its hash names it inside the engine.
#[derive(Debug, Clone)]
pub struct Found {
    /// The salted hash, and `.<namespace id>` outside root: it says in whose part of the store the record lies.
    pub hash: String,
    /// The record.
    pub token: Token,
    /// Of the record, for transactions that depend on the token being unchanged.
    pub version: Version,
}

impl Found {
    /// The stored token on which leases hang: itself, or the parent of a batch token, if it has one.
    pub fn lease_holder(&self) -> Option<&str> {
        match self.token.kind {
            Kind::Service => Some(&self.hash),
            Kind::Batch => self.token.parent.as_deref(),
        }
    }
}

/// Where tokens are stored: `id/<hash>`, `accessor/<accessor>`, `child/<parent hash>/<hash>`, and with them
/// `cubbyhole/<hash>/…` and, in `abroad/<hash>/<namespace id>`, where else they own leases.
pub struct Tokens {
    pub(super) view: View,
    pub(super) place: Place,
    batches: Batches,
    due: Index,
    salt: hmac::Key,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Tokens {
    /// The tokens in `view`, which are those of the namespace `place`. The salt of their hashes is made when the store is new.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(
        view: View,
        place: Place,
        due: Index,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, StorageError> {
        let salt = match view.get::<String>("salt").await? {
            Some((salt, _)) => salt,
            None => {
                let salt = random.base62(43);
                view.put_if("salt", &salt, 0).await?;
                salt
            }
        };
        let batches = Batches::open(&view, random.clone()).await?;
        let salt = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
        Ok(Self { view, place, batches, due, salt, clock, random })
    }

    /// The hash under which a token is stored.
    pub fn hash(&self, token: &Secret) -> String {
        let tag = hmac::sign(&self.salt, token.expose().as_bytes());
        self.place.mark(tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The key of a token's record in the whole store.
    pub fn key(&self, hash: &str) -> String {
        self.home(hash).full_key(&format!("id/{hash}"))
    }

    /// The token, unless it is unknown, expired, used up or being revoked.
    ///
    /// # Errors
    /// What the store says.
    pub async fn find(&self, token: &Secret) -> Result<Option<Found>, StorageError> {
        if token.expose().starts_with(batch::PREFIX) {
            return self.find_batch(token).await;
        }
        self.find_hash(self.hash(token)).await
    }

    /// A batch token lives until its end, but no longer than its parent.
    async fn find_batch(&self, text: &Secret) -> Result<Option<Found>, StorageError> {
        let alive = |token: &Token| token.expires.is_some_and(|end| end > self.clock.now());
        let Some(sealed) = self.unmarked(text) else { return Ok(None) };
        let Some(token) = self.batches.read(&sealed).filter(alive) else { return Ok(None) };
        if let Some(parent) = &token.parent
            && self.find_hash(parent.clone()).await?.is_none()
        {
            return Ok(None);
        }
        Ok(Some(Found { hash: self.hash(text), token, version: 0 }))
    }

    /// As [`Tokens::find`], by hash.
    ///
    /// # Errors
    /// What the store says.
    pub async fn find_hash(&self, hash: String) -> Result<Option<Found>, StorageError> {
        let alive = |token: &Token| {
            !token.revoking && token.num_uses >= 0 && token.expires.is_none_or(|end| end > self.clock.now())
        };
        Ok(self.read(hash).await?.filter(|found| alive(&found.token)))
    }

    /// The record whatever its state, for revocation.
    ///
    /// # Errors
    /// What the store says.
    pub async fn read(&self, hash: String) -> Result<Option<Found>, StorageError> {
        let record = self.home(&hash).get::<Token>(&format!("id/{hash}")).await?;
        Ok(record.map(|(token, version)| Found { hash, token, version }))
    }

    /// The token that an accessor names.
    ///
    /// # Errors
    /// What the store says.
    pub async fn find_accessor(&self, accessor: &str) -> Result<Option<Found>, StorageError> {
        match self.view.get::<String>(&format!("accessor/{accessor}")).await? {
            Some((hash, _)) => self.find_hash(hash).await,
            None => Ok(None),
        }
    }

    /// The accessors of all tokens.
    ///
    /// # Errors
    /// What the store says.
    pub async fn accessors(&self) -> Result<Vec<String>, StorageError> {
        self.view.list("accessor/").await
    }

    /// Stores a new token: `id` if one was asked for, random otherwise. TTL and expiry are filled in from the limits.
    ///
    /// # Errors
    /// 400 when a token with that id exists; what the store says.
    pub async fn create(&self, mut token: Token, id: Option<Secret>, limits: Limits) -> Result<Made, Error> {
        let id = id.unwrap_or_else(|| Secret::new(format!("s.{}", self.random.base62(24))));
        let id = self.marked(id);
        token.created = self.clock.now();
        let mut warnings = Vec::new();
        if !token.is_root() || token.role_ttl > 0 || token.explicit_max_ttl > 0 || token.period > 0 {
            let granted = ttl::grant(&token.wish(0), &limits, token.created, token.created)
                .ok_or_else(|| Error::bad_request("ttl must be positive"))?;
            warnings.extend(granted.warning);
            token.creation_ttl = granted.ttl;
            token.expires = Some(ttl::expiry(token.created, granted.ttl));
        } else {
            token.renewable = false;
        }
        if token.kind == Kind::Batch {
            return Ok(Made { id: self.marked(self.batches.seal(&token)?), token, warnings });
        }
        token.accessor = self.place.mark(self.random.base62(24));
        let hash = self.hash(&id);
        let mut txn = Txn { expect: vec![(self.key(&hash), 0)], ops: Vec::new() };
        self.view.stage_put(&mut txn, &format!("id/{hash}"), &token)?;
        self.view.stage_put(&mut txn, &format!("accessor/{}", token.accessor), &hash)?;
        if let Some(parent) = &token.parent {
            // A parent that is revoked at this moment must not leave a child behind.
            let parent = self.find_hash(parent.clone()).await?.ok_or_else(Error::denied)?;
            txn.expect.push((self.key(&parent.hash), parent.version));
            self.home(&parent.hash).stage_put(&mut txn, &format!("child/{}/{hash}", parent.hash), &())?;
        }
        if let Some(expires) = token.expires {
            self.due.stage_add(&mut txn, expires, &Due::Token { hash: hash.clone() })?;
        }
        match self.view.store().commit(txn).await {
            Err(StorageError::Conflict(key)) if key == self.key(&hash) => {
                Err(Error::bad_request("cannot create a token with a duplicate ID"))
            }
            Err(error) => Err(error.into()),
            Ok(()) => {
                if let Some(expires) = token.expires {
                    self.due.added(expires);
                }
                Ok(Made { id, token, warnings })
            }
        }
    }

    /// Prolongs a token and returns the granted seconds.
    ///
    /// # Errors
    /// 400 when it is not renewable or its longest life is over.
    pub async fn renew(&self, found: &Found, increment: u64, limits: Limits) -> Result<(Token, ttl::Granted), Error> {
        let (Some(old), true) = (found.token.expires, found.token.renewable) else {
            return Err(Error::bad_request("lease is not renewable"));
        };
        let now = self.clock.now();
        let granted = ttl::grant(&found.token.wish(increment), &limits, found.token.created, now)
            .ok_or_else(|| Error::bad_request("past the max TTL, cannot renew"))?;
        let mut token = found.token.clone();
        token.expires = Some(ttl::expiry(now, granted.ttl));
        token.last_renewal = Some(now);
        if increment > 0 && token.path.starts_with("auth/token/") {
            // No role says what it should be: what was granted last is what the next renewal without a wish gets.
            token.role_ttl = granted.ttl;
        }
        let due = Due::Token { hash: found.hash.clone() };
        let expires = ttl::expiry(now, granted.ttl);
        let mut txn = self.expecting(found);
        self.view.stage_put(&mut txn, &format!("id/{}", found.hash), &token)?;
        self.due.stage_remove(&mut txn, old, &due);
        self.due.stage_add(&mut txn, expires, &due)?;
        self.view.store().commit(txn).await?;
        self.due.added(expires);
        Ok((token, granted))
    }

    /// Counts one use of a token that has a limit; false when none was left.
    ///
    /// # Errors
    /// What the store says.
    pub async fn use_once(&self, found: &mut Found) -> Result<bool, StorageError> {
        while found.token.num_uses > 0 {
            let mut token = found.token.clone();
            // The last use leaves -1, so that the record stays until its leases are revoked.
            token.num_uses = if token.num_uses == 1 { -1 } else { token.num_uses - 1 };
            match self.home(&found.hash).put_if(&format!("id/{}", found.hash), &token, found.version).await {
                Ok(()) => {
                    if let Some(fresh) = self.read(found.hash.clone()).await? {
                        *found = fresh;
                    }
                    return Ok(true);
                }
                Err(StorageError::Conflict(_)) => match self.read(found.hash.clone()).await? {
                    Some(fresh) => *found = fresh,
                    None => return Ok(false),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(found.token.num_uses == 0)
    }

    /// Removes index entries whose token is gone; returns their number.
    ///
    /// # Errors
    /// What the store says.
    pub async fn tidy(&self) -> Result<usize, StorageError> {
        let mut removed = 0;
        for accessor in self.accessors().await? {
            let key = format!("accessor/{accessor}");
            let Some((hash, version)) = self.view.get::<String>(&key).await? else { continue };
            removed += self.tidy_away(&key, version, &hash).await?;
        }
        for key in self.view.keys("child/").await? {
            let Some((_, version)) = self.view.get::<()>(&key).await? else { continue };
            let child = key.rsplit('/').next().unwrap_or_default();
            removed += self.tidy_away(&key, version, child).await?;
        }
        Ok(removed)
    }

    /// Removes the entry at `key` if there is no token with that hash, and none appears at this moment.
    async fn tidy_away(&self, key: &str, version: Version, hash: &str) -> Result<usize, StorageError> {
        let expect = vec![(self.key(hash), 0), (self.view.full_key(key), version)];
        let mut txn = Txn { expect, ops: Vec::new() };
        self.view.stage_delete(&mut txn, key);
        match self.view.store().commit(txn).await {
            Ok(()) => Ok(1),
            Err(StorageError::Conflict(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn expecting(&self, found: &Found) -> Txn {
        Txn { expect: vec![(self.key(&found.hash), found.version)], ops: Vec::new() }
    }

    /// First step of revocation, durable: the token is good for nothing more, and a restart goes on with the rest.
    ///
    /// # Errors
    /// What the store says.
    pub async fn mark_revoking(&self, hash: &str) -> Result<Option<Found>, StorageError> {
        loop {
            let Some(mut found) = self.read(hash.to_owned()).await? else { return Ok(None) };
            if found.token.revoking {
                return Ok(Some(found));
            }
            let mut txn = self.expecting(&found);
            let due = Due::Token { hash: hash.to_owned() };
            let now = self.clock.now();
            if let Some(expires) = found.token.expires {
                self.due.stage_remove(&mut txn, expires, &due);
            }
            self.due.stage_add(&mut txn, now, &due)?;
            found.token.revoking = true;
            found.token.expires = Some(now);
            self.view.stage_put(&mut txn, &format!("id/{hash}"), &found.token)?;
            match self.view.store().commit(txn).await {
                Err(StorageError::Conflict(_)) => continue,
                Err(error) => return Err(error),
                Ok(()) => {
                    self.due.added(now);
                    return self.read(hash.to_owned()).await;
                }
            }
        }
    }

    /// The hashes of a token's children.
    ///
    /// # Errors
    /// What the store says.
    pub async fn children(&self, hash: &str) -> Result<Vec<String>, StorageError> {
        self.view.list(&format!("child/{hash}/")).await
    }

    /// Last step of revocation, once leases and children are dealt with.
    ///
    /// # Errors
    /// What the store says.
    pub async fn remove(&self, found: &Found) -> Result<(), StorageError> {
        let mut txn = Txn::default();
        self.view.stage_delete(&mut txn, &format!("id/{}", found.hash));
        self.view.stage_delete(&mut txn, &format!("accessor/{}", found.token.accessor));
        if let Some(parent) = &found.token.parent {
            self.home(parent).stage_delete(&mut txn, &format!("child/{parent}/{}", found.hash));
        }
        self.stage_forget_kept(&mut txn, &found.hash).await?;
        for id in self.abroad(&found.hash).await? {
            self.view.stage_delete(&mut txn, &format!("abroad/{}/{id}", found.hash));
        }
        if let Some(expires) = found.token.expires {
            self.due.stage_remove(&mut txn, expires, &Due::Token { hash: found.hash.clone() });
        }
        self.view.store().commit(txn).await
    }

    /// Cuts a child from its parent, which is being revoked with `revoke-orphan`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn orphan(&self, parent: &str, child: &str) -> Result<(), StorageError> {
        let mut txn = Txn::default();
        if let Some(mut found) = self.read(child.to_owned()).await? {
            txn = self.expecting(&found);
            found.token.parent = None;
            found.token.orphan = true;
            self.home(child).stage_put(&mut txn, &format!("id/{child}"), &found.token)?;
        }
        self.home(parent).stage_delete(&mut txn, &format!("child/{parent}/{child}"));
        self.view.store().commit(txn).await
    }
}

/// A token that was just made.
#[derive(Debug)]
pub struct Made {
    /// The token itself, shown once.
    pub id: Secret,
    /// Its record.
    pub token: Token,
    /// For the envelope.
    pub warnings: Vec<String>,
}
