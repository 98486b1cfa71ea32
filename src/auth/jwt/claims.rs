//! What a verified token must claim to be let in, and who its bearer is then.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::role::{Matching, Role};
use crate::base::{Timestamp, glob, scalar};

/// The claims of a verified token.
pub(super) type Claims = Map<String, Value>;

/// Who the bearer of a token is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub user: String,
    pub groups: Vec<String>,
    /// The mapped claims.
    pub metadata: BTreeMap<String, String>,
}

/// A claim by its name, or by its JSON pointer where the name begins with a slash.
pub(super) fn find<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    match name.strip_prefix('/') {
        None => claims.get(name),
        Some(path) => {
            let mut parts = path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
            let first = claims.get(&parts.next()?)?;
            parts.try_fold(first, |value, part| match value {
                Value::Object(map) => map.get(&part),
                Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                _ => None,
            })
        }
    }
}

fn seconds(claims: &Claims, name: &str) -> Result<Option<i64>, String> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) => Ok(Some(seconds as i64)),
            None => Err(format!("the claim {name} is not a number")),
        },
    }
}

/// Whether the token is within its times. One that does not say when it ends, or begins, ends or begins within the leeway of
/// what else it says.
pub(super) fn check_times(claims: &Claims, role: &Role, now: Timestamp) -> Result<(), String> {
    let (issued, begins, ends) = (seconds(claims, "iat")?, seconds(claims, "nbf")?, seconds(claims, "exp")?);
    if issued.is_none() && begins.is_none() && ends.is_none() {
        return Err("no issued at (iat), not before (nbf), or expiration time (exp) claims in token".to_owned());
    }
    let latest = issued.unwrap_or(i64::MIN).max(begins.unwrap_or(i64::MIN));
    let end = ends.unwrap_or_else(|| latest.saturating_add(leeway(role.expiration_leeway, 150)));
    let start = begins.or(issued).unwrap_or_else(|| end.saturating_sub(leeway(role.not_before_leeway, 150)));
    let (now, skew) = (now.as_second(), leeway(role.clock_skew_leeway, 60));
    if now.saturating_sub(skew) >= end {
        return Err("token is expired".to_owned());
    }
    if now.saturating_add(skew) < start {
        return Err("token is not yet valid".to_owned());
    }
    if issued.is_some_and(|issued| now.saturating_add(skew) < issued) {
        return Err("token was issued in the future".to_owned());
    }
    Ok(())
}

/// 0 is the default, -1 is none.
pub(super) fn leeway(set: i64, default: i64) -> i64 {
    match set {
        0 => default,
        negative if negative < 0 => 0,
        set => set,
    }
}

/// The audiences of a token: one text or a list of them.
pub(super) fn audiences(claims: &Claims) -> Vec<String> {
    claims.get("aud").and_then(texts).unwrap_or_default()
}

/// Issuer, subject and audiences as the configuration and the role bind them.
pub(super) fn check_binding(claims: &Claims, role: &Role, issuer: Option<&str>) -> Result<(), String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if issuer.is_some_and(|issuer| issuer != text("iss")) {
        return Err("invalid issuer (iss) claim".to_owned());
    }
    if !role.bound_subject.is_empty() && role.bound_subject != text("sub") {
        return Err("invalid subject (sub) claim".to_owned());
    }
    let audiences = audiences(claims);
    if role.bound_audiences.is_empty() {
        if !audiences.is_empty() {
            return Err("audience claim found in JWT but no audiences bound to the role".to_owned());
        }
        return Ok(());
    }
    check_audience(&audiences, &role.bound_audiences)
}

/// Whether one of the audiences is wanted.
pub(super) fn check_audience(audiences: &[String], wanted: &[String]) -> Result<(), String> {
    if audiences.iter().any(|audience| wanted.contains(audience)) {
        return Ok(());
    }
    Err("invalid audience (aud) claim: audience claim does not match any expected audience".to_owned())
}

/// Whether every bound claim has one of its values.
pub(super) fn check_bound(claims: &Claims, role: &Role) -> Result<(), String> {
    for (name, expected) in &role.bound_claims {
        let actual = find(claims, name).ok_or_else(|| format!("claim {name:?} is missing"))?;
        let (actual, expected) = (items(actual), items(expected));
        let matches = |want: &Value, have: &Value| match (role.bound_claims_type, want, have) {
            (Matching::Glob, Value::String(pattern), Value::String(text)) => glob::matches(pattern, text),
            _ => want == have,
        };
        if !actual.iter().any(|have| expected.iter().any(|want| matches(want, have))) {
            return Err(format!("claim {name:?} does not match any associated bound claim values"));
        }
    }
    Ok(())
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    items(value).iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Who the bearer is, by the role's rules.
pub(super) fn identify(claims: &Claims, role: &Role) -> Result<Identity, String> {
    let name = &role.user_claim;
    let user = if role.user_claim_json_pointer { find(claims, name) } else { claims.get(name) };
    let user = user.ok_or_else(|| format!("claim {name:?} not found in token"))?;
    let user = user.as_str().filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| format!("claim {name:?} could not be converted to string"))?.to_owned();
    let mut metadata = BTreeMap::new();
    for (claim, key) in &role.claim_mappings {
        let text = match find(claims, claim) {
            None | Some(Value::Null) => continue,
            Some(value) => {
                scalar::text(value).ok_or_else(|| format!("claim {claim:?} could not be converted to string"))?
            }
        };
        metadata.insert(key.clone(), text);
    }
    let mut groups = match role.groups_claim.as_str() {
        "" => Vec::new(),
        name => {
            let found = find(claims, name).ok_or_else(|| format!("{name:?} claim not found in token"))?;
            texts(found).ok_or_else(|| format!("{name:?} claim could not be converted to string list"))?
        }
    };
    // Providers name them in any order, and each change of an identity is stored.
    groups.sort();
    groups.dedup();
    Ok(Identity { user, groups, metadata })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::objects::Object as _;

    fn role(settings: Value) -> Role {
        let mut role = Role::default();
        let mut all = json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "a" });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        role.merge(&all.as_object().unwrap().clone().into()).unwrap();
        role
    }

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn timed(token: Value, settings: Value, now: i64) -> Result<(), String> {
        check_times(&claims(token), &role(settings), Timestamp::from_second(now).unwrap())
    }

    #[test]
    fn times_have_leeway() {
        let whole = json!({ "iat": 1000, "nbf": 1000, "exp": 2000 });
        for (now, fine) in [(939, false), (940, true), (2059, true), (2060, false)] {
            assert_eq!(timed(whole.clone(), json!({}), now).is_ok(), fine, "{now}");
        }
        let strict = json!({ "clock_skew_leeway": -1 });
        for (now, fine) in [(999, false), (1000, true), (1999, true), (2000, false)] {
            assert_eq!(timed(whole.clone(), strict.clone(), now).is_ok(), fine, "{now}");
        }
        assert!(timed(json!({ "iat": 1000 }), strict.clone(), 1149).is_ok(), "it ends 150 s after it was made");
        assert!(timed(json!({ "iat": 1000 }), strict.clone(), 1150).is_err());
        let longer = json!({ "clock_skew_leeway": -1, "expiration_leeway": "10m" });
        assert!(timed(json!({ "iat": 1000 }), longer, 1599).is_ok());
        assert!(timed(json!({ "exp": 2000 }), strict.clone(), 1850).is_ok(), "it begins 150 s before its end");
        assert!(timed(json!({ "exp": 2000 }), strict, 1849).is_err());
        assert!(timed(json!({}), json!({}), 1).unwrap_err().starts_with("no issued at (iat)"));
        assert!(timed(json!({ "exp": "soon" }), json!({}), 1).unwrap_err().contains("exp"));
    }

    #[test]
    fn audiences_issuer_and_subject_are_bound() {
        let open = role(json!({ "bound_audiences": "", "bound_subject": "s" }));
        let check = |token: Value, role: &Role| check_binding(&claims(token), role, Some("https://i"));
        assert!(check(json!({ "iss": "https://i", "sub": "s" }), &open).is_ok());
        let error = check(json!({ "iss": "https://i", "sub": "s", "aud": "x" }), &open).unwrap_err();
        assert_eq!(error, "audience claim found in JWT but no audiences bound to the role");
        assert!(check(json!({ "iss": "https://j", "sub": "s" }), &open).unwrap_err().contains("iss"));
        assert!(check(json!({ "iss": "https://i", "sub": "t" }), &open).unwrap_err().contains("sub"));
        let bound = role(json!({ "bound_audiences": "a,b" }));
        assert!(check(json!({ "iss": "https://i", "aud": ["x", "b"] }), &bound).is_ok());
        for aud in [json!(["x"]), json!("ab"), json!([]), Value::Null] {
            assert!(check(json!({ "iss": "https://i", "aud": aud }), &bound).unwrap_err().contains("aud"));
        }
    }

    #[test]
    fn claims_are_bound_by_value_or_glob() {
        let token =
            claims(json!({ "team": "blue-1", "roles": ["a", "b"], "n": 7, "deep": { "a/b": [{ "c": true }] } }));
        let check = |bound: Value, kind: &str| {
            check_bound(&token, &role(json!({ "bound_claims": bound, "bound_claims_type": kind })))
        };
        for bound in [
            json!({ "team": "blue-1" }),
            json!({ "team": ["x", "blue-1"] }),
            json!({ "roles": "b" }),
            json!({ "n": 7 }),
            json!({ "/deep/a~1b/0/c": true }),
        ] {
            assert!(check(bound.clone(), "string").is_ok(), "{bound}");
        }
        for bound in [json!({ "team": "blue*" }), json!({ "roles": "c" }), json!({ "none": "x" }), json!({ "n": "7" })]
        {
            assert!(check(bound.clone(), "string").is_err(), "{bound}");
        }
        assert!(check(json!({ "team": "blue*" }), "glob").is_ok());
        assert!(check(json!({ "team": "red*" }), "glob").is_err());
    }

    #[test]
    fn a_role_says_who_the_bearer_is() {
        let settings = json!({ "user_claim": "/who/mail", "user_claim_json_pointer": true, "groups_claim": "/who/in",
            "claim_mappings": { "/who/n": "number", "gone": "gone" } });
        let token = claims(json!({ "who": { "mail": "a@b", "in": ["y", "x", "y"], "n": 3 } }));
        let identity = identify(&token, &role(settings.clone())).unwrap();
        assert_eq!((identity.user.as_str(), &identity.groups[..]), ("a@b", &["x".to_owned(), "y".to_owned()][..]));
        assert_eq!(identity.metadata, [("number".to_owned(), "3".to_owned())].into());
        let lacking = identify(&claims(json!({ "who": { "mail": "a" } })), &role(settings)).unwrap_err();
        assert_eq!(lacking, "\"/who/in\" claim not found in token");
        assert!(identify(&claims(json!({ "sub": 7 })), &role(json!({}))).unwrap_err().contains("string"));
    }
}
