//! A password as a record keeps it: the barrier below the store encrypts it, nothing above may show it.

use serde::{Deserialize, Serialize, Serializer};

use crate::base::Secret;

/// A [`Secret`] that may be written into a record of a mount's own storage. It has no `Debug`, so that a record that holds
/// one cannot get it either.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Kept(pub Secret);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}
