//! Who may log in to a DatabaseRole: from `spec.allow` to the one login role that the engine keeps for it.
//!
//! Vault's kubernetes login knows a list of ServiceAccount names and a list of namespaces, and lets in every combination of
//! the two. So `a/web` and `b/worker` in one login role would let in `a/worker` as well. What the two lists can express exactly
//! is written with them, as every engine knows them; everything else with Lessor's own `bound_service_accounts`, which another
//! engine refuses because its two lists are empty then: nobody is let in rather than too many.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{Selector, SelectorExt};

use super::error::Error;
use crate::api::role::Allowed;

/// A namespace with its labels.
pub type Labelled = (String, BTreeMap<String, String>);

/// The bounds of the login role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// ServiceAccount names, or `*` alone. Sorted.
    pub names: Vec<String>,
    /// Namespaces, sorted. Every name of [`Bounds::names`] may log in from each.
    pub namespaces: Vec<String>,
    /// `NAMESPACE/NAME`, sorted, where the two lists cannot keep apart who is allowed; they are empty then.
    pub accounts: Vec<String>,
}

impl Bounds {
    /// Whether nobody may log in.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.accounts.is_empty()
    }

    /// How many namespaces have somebody who may log in.
    pub fn namespaces(&self) -> usize {
        let of_accounts: BTreeSet<_> =
            self.accounts.iter().filter_map(|account| account.split_once('/')).map(|it| it.0).collect();
        self.namespaces.len() + of_accounts.len()
    }
}

/// The bounds that let in exactly what `allow` names. `own` is the role's namespace; `namespaces` are all that there are,
/// `None` when the operator may not list them.
///
/// # Errors
/// [`Error::Refused`] naming the entry with a selector that is malformed or cannot be used.
pub fn bounds(allow: &[Allowed], own: &str, namespaces: Option<&[Labelled]>) -> Result<Bounds, Error> {
    let mut accounts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (index, entry) in allow.iter().enumerate() {
        for namespace in selected(entry, index, own, namespaces)? {
            accounts.entry(namespace).or_default().extend(entry.service_accounts.iter().map(String::as_str));
        }
    }
    for names in accounts.values_mut() {
        if names.contains("*") {
            *names = BTreeSet::from(["*"]);
        }
    }
    let Some(names) = accounts.values().next() else { return Ok(Bounds::default()) };
    if accounts.values().all(|theirs| theirs == names) {
        let names = names.iter().map(ToString::to_string).collect();
        return Ok(Bounds { names, namespaces: accounts.into_keys().collect(), accounts: Vec::new() });
    }
    let pairs =
        accounts.iter().flat_map(|(namespace, names)| names.iter().map(move |name| format!("{namespace}/{name}")));
    Ok(Bounds { accounts: pairs.collect(), ..Bounds::default() })
}

fn selected(entry: &Allowed, index: usize, own: &str, namespaces: Option<&[Labelled]>) -> Result<Vec<String>, Error> {
    let Some(selector) = &entry.namespace_selector else {
        return Ok(vec![entry.namespace.clone().unwrap_or_else(|| own.to_owned())]);
    };
    let field = format!("spec.allow[{index}].namespaceSelector");
    let selector = Selector::try_from(selector.clone())
        .map_err(|error| Error::refused("InvalidSelector", format!("{field}: {error}")))?;
    let all = namespaces.ok_or_else(|| {
        let problem = "the operator is limited to some namespaces and cannot see labels: name the namespaces instead";
        Error::refused("SelectorUnsupported", format!("{field}: {problem}"))
    })?;
    Ok(all.iter().filter(|(_, labels)| selector.matches(labels)).map(|(name, _)| name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(allow: serde_json::Value) -> Result<Bounds, Error> {
        let allow: Vec<Allowed> = serde_json::from_value(allow).unwrap();
        let labelled = |name: &str, team: &str| (name.to_owned(), BTreeMap::from([("team".into(), team.into())]));
        bounds(&allow, "infra", Some(&[labelled("a", "red"), labelled("b", "red"), labelled("c", "blue")]))
    }

    fn of(names: &[&str], namespaces: &[&str]) -> Bounds {
        let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Bounds { names: own(names), namespaces: own(namespaces), accounts: Vec::new() }
    }

    #[test]
    fn nobody_is_allowed_by_default() {
        assert_eq!(plan(json!([])).unwrap(), Bounds::default());
        assert_eq!(
            plan(json!([{ "namespaceSelector": { "matchLabels": { "team": "x" } }, "serviceAccounts": ["w"] }]))
                .unwrap(),
            Bounds::default()
        );
    }

    #[test]
    fn an_entry_without_namespace_means_the_roles_own() {
        assert_eq!(plan(json!([{ "serviceAccounts": ["web", "cron"] }])).unwrap(), of(&["cron", "web"], &["infra"]));
    }

    #[test]
    fn selectors_pick_namespaces_by_label() {
        let red = json!([{ "namespaceSelector": { "matchLabels": { "team": "red" } }, "serviceAccounts": ["web"] }]);
        assert_eq!(plan(red).unwrap(), of(&["web"], &["a", "b"]));
        let all = json!([{ "namespaceSelector": {}, "serviceAccounts": ["web", "*"] }]);
        assert_eq!(plan(all).unwrap(), of(&["*"], &["a", "b", "c"]));
    }

    #[test]
    fn combinations_that_nobody_allowed_are_kept_apart() {
        let bounds = plan(json!([
            { "namespace": "a", "serviceAccounts": ["web"] },
            { "namespace": "b", "serviceAccounts": ["worker", "cron"] },
            { "namespaceSelector": { "matchLabels": { "team": "blue" } }, "serviceAccounts": ["*"] },
        ]))
        .unwrap();
        assert_eq!(bounds.accounts, ["a/web", "b/cron", "b/worker", "c/*"]);
        assert!(bounds.names.is_empty() && bounds.namespaces.is_empty(), "no combination of the two lists");
        assert_eq!((bounds.namespaces(), bounds.is_empty()), (3, false));
    }

    #[test]
    fn entries_that_agree_are_merged() {
        let allow = json!([
            { "namespace": "a", "serviceAccounts": ["web"] },
            { "namespace": "b", "serviceAccounts": ["worker", "web"] },
            { "namespace": "a", "serviceAccounts": ["worker"] },
        ]);
        assert_eq!(plan(allow).unwrap(), of(&["web", "worker"], &["a", "b"]));
    }

    #[test]
    fn a_selector_without_sight_of_namespaces_is_refused() {
        let allow: Vec<Allowed> =
            serde_json::from_value(json!([{ "namespaceSelector": {}, "serviceAccounts": ["w"] }])).unwrap();
        let error = bounds(&allow, "infra", None).unwrap_err();
        assert_eq!(error.reason(), "SelectorUnsupported");
        assert!(error.story().starts_with("spec.allow[0].namespaceSelector"));
    }
}
