//! The leases of all namespaces, for what reaches across them: a token from above ends with what it asked for below.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::{Leases, Owner};
use crate::engine::namespace::id_in;
use crate::storage::Error as StorageError;

/// The leases of each namespace that is there, by its id.
#[derive(Default)]
pub struct Peers(RwLock<HashMap<String, Weak<Leases>>>);

impl Peers {
    pub(super) fn add(&self, leases: &Arc<Leases>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(leases.place.id.clone(), Arc::downgrade(leases));
    }

    /// The namespace of that id is gone.
    pub fn remove(&self, id: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn get(&self, id: &str) -> Option<Arc<Leases>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).and_then(Weak::upgrade)
    }
}

impl Leases {
    /// Where a token belongs; `None` when its namespace is gone, and the token with it.
    pub(super) fn home_of(self: &Arc<Self>, hash: &str) -> Option<Arc<Self>> {
        let id = id_in(hash);
        if id == self.place.id { Some(self.clone()) } else { self.peers.get(id) }
    }

    /// Every namespace where a token of this one owns leases, with their ids. Nothing new is owned by a token that is marked.
    pub(super) async fn everywhere(
        self: &Arc<Self>,
        hash: &str,
    ) -> Result<Vec<(Arc<Self>, Vec<String>)>, StorageError> {
        let owner = Owner::Token(hash.to_owned());
        let mut found = vec![(self.clone(), self.owned(&owner).await?)];
        for id in self.tokens.abroad(hash).await? {
            if let Some(other) = self.peers.get(&id) {
                let owned = other.owned(&owner).await?;
                found.push((other, owned));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::issue::Asker;
    use super::super::tests::Bench;
    use crate::auth::{LeaseOwner, Workload};
    use crate::base::Clock as _;
    use crate::engine::token::Token;
    use crate::engine::ttl::Limits;

    #[tokio::test]
    async fn what_a_token_from_above_asked_for_ends_with_it() {
        let above = Bench::new().await;
        let below = above.below().await;
        let workload = Workload { uid: "u".into(), ..Workload::default() };
        let hash = above.token(LeaseOwner::Workload(workload)).await;
        let token = above.tokens.read(hash.clone()).await.unwrap().unwrap();
        let issued = below.issue_to("a", Asker { token, workload: None }).await.unwrap();
        issued.delivery.complete();
        assert!(issued.id.ends_with(".team01"), "{}", issued.id);
        assert!(above.leases.get(&issued.id).await.unwrap().is_none(), "it is not known above");
        let renewed = below.leases.renew(&issued.id, 0).await.unwrap();
        assert_eq!((renewed.ttl, above.world.users("a")), (60, 1));
        above.leases.end_token(&hash).await.unwrap();
        below.until("the user is gone", async || below.world.users("a") == 0 && below.count().await == 0).await;
        assert!(above.store.keys("token/abroad/").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn children_below_end_with_their_parent_and_nobody_above_ends_with_them() {
        let above = Bench::new().await;
        let below = above.below().await;
        let parent = above.token(LeaseOwner::Token).await;
        let child = Token { parent: Some(parent.clone()), orphan: false, ..Token::blank(above.clock.now()) };
        let mut made = Vec::new();
        for _ in 0..2 {
            let child = below.tokens.create(child.clone(), None, Limits::default()).await.unwrap();
            assert!(child.id.expose().ends_with(".team01") && child.token.accessor.ends_with(".team01"));
            made.push(below.tokens.find(&child.id).await.unwrap().unwrap());
        }
        let issued = below.issue_to("a", Asker { token: made[0].clone(), workload: None }).await.unwrap();
        issued.delivery.complete();
        below.leases.end_token(&made[1].hash).await.unwrap();
        assert_eq!(above.tokens.children(&parent).await.unwrap(), [made[0].hash.clone()]);
        assert!(above.tokens.read(parent.clone()).await.unwrap().is_some());
        above.leases.end_token(&parent).await.unwrap();
        assert!(below.tokens.read(made[0].hash.clone()).await.unwrap().is_none());
        below.until("the user is gone", async || below.world.users("a") == 0).await;
    }
}
