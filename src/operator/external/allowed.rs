//! Which namespaces may use a CredentialEngine: a pure decision.

use std::collections::BTreeMap;

use kube::core::{Selector, SelectorExt};

use crate::api::engine::AllowedNamespaces;
use crate::operator::error::Error;

/// Whether `namespace` may use an engine of the namespace `own`. `labels` are those of `namespace`, `None` when the operator may not
/// see them.
///
/// # Errors
/// [`Error::Refused`] naming a selector that is malformed or cannot be used.
pub fn allows(
    allowed: &Option<AllowedNamespaces>,
    own: &str,
    namespace: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> Result<bool, Error> {
    if own == namespace {
        return Ok(true);
    }
    let Some(allowed) = allowed else { return Ok(false) };
    if allowed.names.iter().any(|name| name == namespace) {
        return Ok(true);
    }
    let Some(selector) = &allowed.selector else { return Ok(false) };
    let field = "spec.allowedNamespaces.selector of the CredentialEngine";
    let selector = Selector::try_from(selector.clone())
        .map_err(|error| Error::refused("InvalidSelector", format!("{field}: {error}")))?;
    let labels = labels.ok_or_else(|| {
        let problem = "the operator is limited to some namespaces and cannot see labels: name the namespaces instead";
        Error::refused("SelectorUnsupported", format!("{field}: {problem}"))
    })?;
    Ok(selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decide(allowed: Value, namespace: &str, team: Option<&str>) -> Result<bool, Error> {
        let labels = team.map(|team| BTreeMap::from([("team".to_owned(), team.to_owned())]));
        allows(&serde_json::from_value(allowed).unwrap(), "platform", namespace, labels.as_ref())
    }

    #[test]
    fn its_own_namespace_may_always_and_others_when_they_are_named() {
        assert!(decide(Value::Null, "platform", None).unwrap());
        assert!(!decide(Value::Null, "shop", None).unwrap());
        assert!(!decide(json!({}), "shop", Some("red")).unwrap());
        assert!(decide(json!({ "names": ["shop"] }), "shop", None).unwrap());
        assert!(!decide(json!({ "names": ["shop"] }), "shop-2", None).unwrap());
    }

    #[test]
    fn labels_pick_namespaces() {
        let red = json!({ "names": ["other"], "selector": { "matchLabels": { "team": "red" } } });
        assert!(decide(red.clone(), "shop", Some("red")).unwrap());
        assert!(!decide(red.clone(), "shop", Some("blue")).unwrap());
        assert!(decide(json!({ "selector": {} }), "shop", Some("blue")).unwrap(), "{{}} is every namespace");
        assert_eq!(decide(red, "shop", None).unwrap_err().reason(), "SelectorUnsupported");
    }
}
