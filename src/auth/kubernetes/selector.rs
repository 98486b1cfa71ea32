//! LabelSelectors, as Kubernetes has them: which labels a namespace must have.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A parsed selector. Everything that it says must hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Selector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads JSON or YAML.
    ///
    /// # Errors
    /// Says what is wrong with it. A selector without any condition is refused, because it would let everybody in.
    pub fn parse(text: &str) -> Result<Self, String> {
        let selector: Self = match text.trim_start().starts_with('{') {
            true => {
                serde_json::from_str(text).map_err(|error| format!("it is not a LabelSelector in JSON: {error}"))?
            }
            false => {
                serde_yaml::from_str(text).map_err(|error| format!("it is not a LabelSelector in YAML: {error}"))?
            }
        };
        if selector.match_labels.is_empty() && selector.match_expressions.is_empty() {
            return Err("it selects every namespace: say \"*\" in \"bound_service_account_namespaces\" for that".into());
        }
        for Expression { key, operator, values } in &selector.match_expressions {
            match (operator, values.is_empty()) {
                (Operator::In | Operator::NotIn, true) => return Err(format!("{key:?} needs values")),
                (Operator::Exists | Operator::DoesNotExist, false) => return Err(format!("{key:?} takes no values")),
                _ => {}
            }
        }
        Ok(selector)
    }

    /// Whether a namespace with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let expression = |Expression { key, operator, values }: &Expression| {
            let value = labels.get(key);
            match operator {
                Operator::In => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn => value.is_none_or(|value| !values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        };
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(expression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_conditions_must_hold() {
        let text = "matchLabels: {team: shop}\nmatchExpressions:\n- {key: stage, operator: In, values: [test, prod]}\n\
            - {key: old, operator: DoesNotExist}\n- {key: zone, operator: NotIn, values: [x]}\n- {key: owner, operator: Exists}\n";
        let selector = Selector::parse(text).unwrap();
        let good = [("team", "shop"), ("stage", "prod"), ("owner", "")];
        assert!(selector.matches(&labels(&good)));
        for (at, changed) in [(0, ("team", "web")), (1, ("stage", "dev")), (2, ("old", "1")), (2, ("zone", "x"))] {
            let mut pairs = good;
            pairs[at] = changed;
            assert!(!selector.matches(&labels(&pairs)), "{changed:?}");
        }
        assert!(Selector::parse(r#"{"matchLabels": {"a": "b"}}"#).unwrap().matches(&labels(&[("a", "b"), ("c", "")])));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for (text, why) in [
            ("{}", "selects every namespace"),
            ("{\"matchLabels\": 1}", "not a LabelSelector in JSON"),
            ("team: shop", "not a LabelSelector in YAML"),
            ("matchExpressions: [{key: a, operator: In}]", "\"a\" needs values"),
            ("matchExpressions: [{key: a, operator: Exists, values: [b]}]", "takes no values"),
            ("matchExpressions: [{key: a, operator: Near}]", "YAML"),
        ] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
