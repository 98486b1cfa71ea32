//! Batch tokens: sealed records that the caller carries. Nothing is stored of them, so they can be neither prolonged nor revoked.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::token::{Kind, Token};
use crate::auth::LeaseOwner;
use crate::base::clock::seconds_between;
use crate::base::{Random, Secret, Timestamp};
use crate::storage::cipher::{self, Key};
use crate::storage::{Error, View};

/// How a batch token begins.
pub const PREFIX: &str = "b.";

/// What the sealed text is bound to, so that nothing else sealed with the same key could stand in for it.
const PLACE: &str = "batch token";

/// What a batch token carries; short names, because it travels with every request.
#[derive(Serialize, Deserialize)]
struct Carried {
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<String>,
    #[serde(rename = "P", default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(rename = "a")]
    path: String,
    #[serde(rename = "m", default, skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, String>,
    #[serde(rename = "n")]
    display_name: String,
    #[serde(rename = "c")]
    created: Timestamp,
    #[serde(rename = "e")]
    expires: Timestamp,
    #[serde(rename = "i", default, skip_serializing_if = "String::is_empty")]
    entity_id: String,
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    bound_cidrs: Vec<String>,
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    role: String,
    #[serde(rename = "o", default)]
    owner: LeaseOwner,
}

/// Seals and opens them.
pub struct Batches {
    key: Key,
    random: Arc<dyn Random>,
}

impl Batches {
    /// With the key of the tokens in `view`, which is made when there is none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn open(view: &View, random: Arc<dyn Random>) -> Result<Self, Error> {
        if let Some((bytes, _)) = view.get::<Vec<u8>>("batch-key").await? {
            let problem = || Error::Corrupt { key: view.full_key("batch-key"), problem: "not 32 bytes".to_owned() };
            let key = bytes.try_into().map(Key::new).map_err(|_| problem())?;
            return Ok(Self { key, random });
        }
        let key = cipher::new_key(&*random);
        view.put_if("batch-key", &key.to_vec(), 0).await?;
        Ok(Self { key, random })
    }

    /// The text that carries a token whose times are filled in.
    ///
    /// # Errors
    /// When it never expires: nobody could take it back.
    pub fn seal(&self, token: &Token) -> Result<Secret, crate::wire::Error> {
        let expires =
            token.expires.ok_or_else(|| crate::wire::Error::bad_request("batch tokens cannot be root tokens"))?;
        let carried = Carried {
            policies: token.policies.clone(),
            parent: token.parent.clone(),
            path: token.path.clone(),
            meta: token.meta.clone(),
            display_name: token.display_name.clone(),
            created: token.created,
            expires,
            entity_id: token.entity_id.clone(),
            bound_cidrs: token.bound_cidrs.clone(),
            role: token.role.clone(),
            owner: token.owner.clone(),
        };
        let plain = serde_json::to_vec(&carried)
            .map_err(|error| crate::wire::Error::internal("the token is not JSON").caused_by(error))?;
        let sealed = cipher::encrypt(&self.key, PLACE, &plain, &*self.random);
        Ok(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))))
    }

    /// The token that a text carries; `None` when it is not one of ours.
    pub fn read(&self, text: &Secret) -> Option<Token> {
        let sealed = URL_SAFE_NO_PAD.decode(text.expose().strip_prefix(PREFIX)?).ok()?;
        let plain = cipher::decrypt(&self.key, PLACE, &sealed).ok()?;
        let carried: Carried = serde_json::from_slice(&plain).ok()?;
        Some(Token {
            kind: Kind::Batch,
            orphan: carried.parent.is_none(),
            parent: carried.parent,
            policies: carried.policies,
            path: carried.path,
            meta: carried.meta,
            display_name: carried.display_name,
            creation_ttl: seconds_between(carried.created, carried.expires),
            created: carried.created,
            expires: Some(carried.expires),
            renewable: false,
            entity_id: carried.entity_id,
            bound_cidrs: carried.bound_cidrs,
            role: carried.role,
            owner: carried.owner,
            ..Token::blank(carried.created)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::add_seconds;
    use crate::base::random::SeededRandom;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn a_batch_token_carries_itself_and_cannot_be_changed() {
        let view = View::new(Arc::new(Memory::default()), "sys/token/");
        let open = || Batches::open(&view, Arc::new(SeededRandom::new(1)));
        let start = Timestamp::UNIX_EPOCH;
        let token = Token {
            kind: Kind::Batch,
            policies: vec!["p".into()],
            parent: Some("hash".into()),
            orphan: false,
            expires: Some(add_seconds(start, 60)),
            ..Token::blank(start)
        };
        let text = open().await.unwrap().seal(&token).unwrap();
        let again = open().await.unwrap();
        let read = again.read(&text).expect("the key is found again");
        assert_eq!((read.policies, read.parent, read.creation_ttl), (token.policies.clone(), token.parent.clone(), 60));
        let mut changed = text.expose().to_owned();
        let last = changed.pop().unwrap();
        changed.push(if last == 'A' { 'B' } else { 'A' });
        assert!(again.read(&Secret::new(changed)).is_none());
        assert!(again.read(&Secret::new("s.0123456789")).is_none());
        assert!(again.seal(&Token { expires: None, ..token }).is_err());
    }
}
