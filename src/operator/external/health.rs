//! Whether another engine answers and can be used, from what it says of its seal.

use http::Method;
use serde_json::Value;

use super::place::EngineName;
use crate::client::{self, Client, RawAnswer};
use crate::operator::error::Error;

/// Asks the engine. Its release, as it says itself.
///
/// # Errors
/// [`Error::Waiting`] with what is wrong: it may come back by itself.
pub async fn check(client: &Client, name: &EngineName) -> Result<Option<String>, Error> {
    judge(client.raw(Method::GET, "sys/seal-status", None).await, name)
}

fn judge(answer: Result<RawAnswer, client::Error>, name: &EngineName) -> Result<Option<String>, Error> {
    let RawAnswer { status, body } =
        answer.map_err(Error::engine(format!("spec.address: CredentialEngine {name} does not answer")))?;
    let (Some(sealed), initialized) = (body["sealed"].as_bool(), body["initialized"].as_bool()) else {
        let message =
            format!("spec.address: what answers for CredentialEngine {name} (HTTP {status}) is no Vault or OpenBao");
        return Err(Error::waiting("EngineUnknown", message));
    };
    if initialized == Some(false) {
        return Err(Error::waiting(
            "EngineNotInitialized",
            format!("the engine of CredentialEngine {name} is not initialized"),
        ));
    }
    if sealed {
        return Err(Error::waiting("EngineSealed", format!("the engine of CredentialEngine {name} is sealed")));
    }
    Ok(body["version"].as_str().map(str::to_owned).filter(|_| body != Value::Null))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(status: u16, body: Value) -> Result<Option<String>, &'static str> {
        let name = EngineName { namespace: "platform".into(), name: "vault".into() };
        judge(Ok(RawAnswer { status, body }), &name).map_err(|error| error.reason())
    }

    #[test]
    fn the_reason_says_what_is_wrong_with_it() {
        let state = |sealed: bool, initialized: bool| json!({ "sealed": sealed, "initialized": initialized, "version": "2.6.2" });
        assert_eq!(reason(200, state(false, true)), Ok(Some("2.6.2".into())));
        assert_eq!(reason(200, state(true, true)), Err("EngineSealed"));
        assert_eq!(reason(200, state(true, false)), Err("EngineNotInitialized"));
        assert_eq!(reason(404, json!({ "errors": [] })), Err("EngineUnknown"));
        assert_eq!(reason(502, Value::Null), Err("EngineUnknown"));
    }
}
