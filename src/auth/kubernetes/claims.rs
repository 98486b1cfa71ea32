//! What a ServiceAccount token says of itself. Nothing of it is believed before the cluster has reviewed the token.

use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

use crate::base::{Secret, Timestamp};

/// How far clocks may differ, in seconds.
const SKEW: i64 = 60;

/// Why a token is refused without a review. The texts are for the log; they hold nothing of the token.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the token is not a JWT")]
    NotAJwt,
    // serde's own text would quote the claim.
    #[error("the token's claims are not those of a ServiceAccount, at character {0}")]
    Claims(usize),
    #[error("the token names no ServiceAccount")]
    NoServiceAccount,
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    #[error("the token is valid from {0} only")]
    NotYet(Timestamp),
    #[error("the token's issuer is {0:?}")]
    Issuer(String),
}

/// The claims that matter, of bound tokens and of the older ones that live in Secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub issuer: String,
    pub audiences: Vec<String>,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Of older tokens: the Secret that holds them.
    pub secret_name: String,
    expires: Option<i64>,
    not_before: Option<i64>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    aud: Audience,
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(rename = "kubernetes.io")]
    bound: Option<Bound>,
    #[serde(default, rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/service-account.name")]
    name: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/secret.name")]
    secret_name: String,
}

#[derive(Deserialize)]
struct Bound {
    namespace: String,
    serviceaccount: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    uid: String,
}

/// `aud` is one text or a list of them.
#[derive(Default)]
struct Audience(Vec<String>);

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self::default()),
            Value::String(one) => Ok(Self(vec![one])),
            list => serde_json::from_value(list).map(Self).map_err(serde::de::Error::custom),
        }
    }
}

impl Claims {
    /// Reads the claims of a JWT without looking at its signature.
    pub fn parse(jwt: &Secret) -> Result<Self, Error> {
        let mut parts = jwt.expose().split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Error::NotAJwt);
        };
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).map_err(|_| Error::NotAJwt)?;
        let raw: Raw = serde_json::from_slice(&payload).map_err(|error| Error::Claims(error.column()))?;
        let (namespace, account) = match raw.bound {
            Some(bound) => (bound.namespace, bound.serviceaccount),
            None => (raw.namespace, Named { name: raw.name, uid: raw.uid }),
        };
        if namespace.is_empty() || account.name.is_empty() {
            return Err(Error::NoServiceAccount);
        }
        Ok(Self {
            issuer: raw.iss,
            audiences: raw.aud.0,
            namespace,
            name: account.name,
            uid: account.uid,
            secret_name: raw.secret_name,
            expires: raw.exp.map(|seconds| seconds as i64),
            not_before: raw.nbf.map(|seconds| seconds as i64),
        })
    }

    /// Whether the token is within its times; saves a review of one that cannot pass.
    pub fn check_times(&self, now: Timestamp) -> Result<(), Error> {
        let moment = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        match (self.expires, self.not_before) {
            (Some(end), _) if end.saturating_add(SKEW) <= now.as_second() => Err(Error::Expired(moment(end))),
            (_, Some(start)) if start.saturating_sub(SKEW) > now.as_second() => Err(Error::NotYet(moment(start))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(payload: &Value) -> Result<Claims, Error> {
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(payload.to_string());
        Claims::parse(&format!("e30.{payload}.sig").into())
    }

    #[test]
    fn old_tokens_are_read_as_bound_ones() {
        let old = parse(&json!({"iss": "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/namespace": "ns",
            "kubernetes.io/serviceaccount/service-account.name": "sa",
            "kubernetes.io/serviceaccount/service-account.uid": "u", "kubernetes.io/serviceaccount/secret.name": "s"}))
        .unwrap();
        let bound = parse(&json!({"aud": "one", "kubernetes.io": {"namespace": "ns",
            "serviceaccount": {"name": "sa", "uid": "u"}}}))
        .unwrap();
        assert_eq!((&old.name, &old.namespace, &old.uid), (&bound.name, &bound.namespace, &bound.uid));
        assert_eq!((old.secret_name.as_str(), &old.audiences[..]), ("s", &[][..]));
        assert_eq!(bound.audiences, ["one"]);
    }

    #[test]
    fn what_is_no_serviceaccount_token_is_refused_without_quoting_it() {
        for jwt in [
            "canary",
            "a.canary.c",
            "a.b.c.canary",
            "a.e30.canary",
            "a.W10.canary",
            "a.eyJrdWJlcm5ldGVzLmlvIjoiY2FuYXJ5In0.c",
        ] {
            let error = Claims::parse(&jwt.into()).unwrap_err();
            assert!(!crate::base::telemetry::chain(&error).contains("canary"), "{error}");
        }
    }

    #[test]
    fn times_are_checked_with_some_skew() {
        let claims = Claims { expires: Some(1000), not_before: Some(500), ..Claims::default() };
        let at = |seconds| claims.check_times(Timestamp::from_second(seconds).unwrap());
        assert!(at(700).is_ok() && at(1059).is_ok() && at(440).is_ok());
        assert!(matches!(at(1060), Err(Error::Expired(_))) && matches!(at(439), Err(Error::NotYet(_))));
    }
}
