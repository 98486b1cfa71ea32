//! Where a token belongs: its namespace is written into its text, its accessor and its hash.

use std::borrow::Cow;

use super::namespace::{id_in, prefix_of};
use super::token::Tokens;
use crate::base::Secret;
use crate::storage::{Error as StorageError, Txn, View};

impl Tokens {
    /// The text of a token as its holder gets it.
    pub(super) fn marked(&self, id: Secret) -> Secret {
        if self.place.is_root() { id } else { Secret::new(self.place.mark(id.expose().to_owned())) }
    }

    /// The text without its mark; `None` when it says that it belongs elsewhere.
    pub(super) fn unmarked<'a>(&self, text: &'a Secret) -> Option<Cow<'a, Secret>> {
        if self.place.is_root() {
            return Some(Cow::Borrowed(text));
        }
        let bare = text.expose().strip_suffix(&self.place.mark(String::new()))?;
        Some(Cow::Owned(Secret::from(bare)))
    }

    /// The part of the store where the token with that hash lies: a parent may belong to a namespace above, a child below.
    pub(super) fn home(&self, hash: &str) -> Cow<'_, View> {
        let id = id_in(hash);
        if id == self.place.id {
            return Cow::Borrowed(&self.view);
        }
        Cow::Owned(View::new(self.view.store().clone(), format!("{}sys/token/", prefix_of(id))))
    }

    /// Notes that a token of another namespace owns a lease in this one, so that its end finds it.
    ///
    /// # Errors
    /// When the entry cannot be written as JSON.
    pub fn stage_abroad(&self, txn: &mut Txn, hash: &str) -> Result<(), StorageError> {
        if id_in(hash) == self.place.id {
            return Ok(());
        }
        self.home(hash).stage_put(txn, &format!("abroad/{hash}/{}", self.place.id), &())
    }

    /// The other namespaces where a token of this one owns leases, by their ids.
    ///
    /// # Errors
    /// What the store says.
    pub async fn abroad(&self, hash: &str) -> Result<Vec<String>, StorageError> {
        self.view.list(&format!("abroad/{hash}/")).await
    }
}
