//! The first look at a new object: its user is made while its Secret is looked for.

use kube::ResourceExt;

use super::destination::Found;
use super::sync::Pass;
use crate::api::DynamicDatabaseSecret;
use crate::operator::error::Error;

/// Whether nobody has looked at an object before. A lost status alone makes none new.
fn is_new(object: &DynamicDatabaseSecret) -> bool {
    object.status.is_none() && object.finalizers().is_empty()
}

impl Pass<'_> {
    /// Reads the Secret. For an object that nobody has looked at before there is none, most probably, so its user is made
    /// meanwhile; if there is one after all, it goes again. Another engine's would be taken for one that reached no Secret.
    pub(super) async fn look(&mut self) -> Result<Found, Error> {
        let here = self.order.place.is_none();
        if !here || !is_new(self.object) || self.require(&self.order).is_err() || self.renderer().is_err() {
            return self.target.read().await;
        }
        let (found, issued) = tokio::join!(self.target.read(), self.issue(&self.order));
        if found.as_ref().is_ok_and(|found| !found.exists) {
            self.ahead = Some(issued);
        } else if let Ok((lease, _)) = issued {
            self.give_back(&[&lease]).await;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(metadata: Value, status: Value) -> DynamicDatabaseSecret {
        let spec = json!({ "roleRef": { "name": "r" }, "serviceAccountName": "a", "destination": { "name": "d" } });
        serde_json::from_value(json!({
            "apiVersion": "lessor.dev/v1alpha1", "kind": "DynamicDatabaseSecret",
            "metadata": metadata, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn an_object_with_a_finalizer_was_looked_at_whatever_became_of_its_status() {
        assert!(is_new(&object(json!({ "name": "n" }), Value::Null)));
        assert!(!is_new(&object(json!({ "name": "n", "finalizers": ["lessor.dev/cleanup"] }), Value::Null)));
        assert!(!is_new(&object(json!({ "name": "n" }), json!({}))));
    }
}
