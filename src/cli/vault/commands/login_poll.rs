//! `login -method=oidc callbackmode=direct` and `=device`: nobody calls this machine back, so the engine is asked until the person
//! is done in a browser, here or elsewhere.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::Failure;
use super::super::output::Secret;
use super::super::request::Ask;
use super::super::session::{Session, read_secret};
use super::login_oidc::launch;

/// How long somebody may take, in seconds: as long as the engine keeps a login.
const PATIENCE: u64 = 5 * 60;

/// What the engine answers while the person is not done (RFC 8628, 3.5).
const LATER: &str = "authorization_pending";
/// The same, asking for more time between two questions.
const SLOWER: &str = "slow_down";

/// Logs in at the mount. The engine's own address is where the provider sends the browser, unless `redirect_uri` names another.
pub(super) async fn login(
    session: &Session<'_>,
    mount: &str,
    mode: &str,
    arguments: &Map<String, Value>,
) -> Result<Secret, Failure> {
    let text = |key: &str| arguments.get(key).and_then(Value::as_str);
    let nonce = session.around.random.base62(20);
    let mut body = json!({ "role": text("role").unwrap_or_default(), "client_nonce": nonce });
    match mode {
        "device" => {}
        "direct" => {
            // A browser sends no header, so the namespace stands in the path.
            let lead = session.namespace().map(|name| format!("{}/", name.trim_matches('/'))).unwrap_or_default();
            let own = format!("{}/v1/{lead}auth/{mount}/oidc/callback", session.client()?.address());
            body["redirect_uri"] = json!(text("redirect_uri").unwrap_or(&own));
        }
        other => return Err(Failure::local(format!("callbackmode: {other:?} is not client, direct or device"))),
    }
    let ask = Ask::put(format!("auth/{mount}/oidc/auth_url"), body);
    let begun = read_secret(session.send_as(None, &ask).await?, &ask, "Error authenticating")?.unwrap_or_default().data;
    let url = begun["auth_url"].as_str().unwrap_or_default();
    let Some(state) = begun["state"].as_str().filter(|_| !url.is_empty()) else {
        let why =
            format!("the engine does not begin a login with callbackmode={mode}: is it the role's callback_mode?");
        return Err(Failure::server(format!("Error authenticating: {why}")));
    };
    session.around.say(&format!("Complete the login via your OIDC provider. Open in a browser:\n\n    {url}\n"));
    if let Some(code) = begun["user_code"].as_str() {
        session.around.say(&format!("and enter the code {code} there.\n"));
    }
    if mode == "direct" && text("skip_browser") != Some("true") {
        launch(url);
    }
    let interval = begun["poll_interval"].as_str().and_then(|seconds| seconds.parse().ok()).unwrap_or(5);
    let ask = Ask::put(format!("auth/{mount}/oidc/poll"), json!({ "state": state, "client_nonce": nonce }));
    poll(session, &ask, interval).await
}

async fn poll(session: &Session<'_>, ask: &Ask, mut interval: u64) -> Result<Secret, Failure> {
    let mut waited = 0;
    while waited < PATIENCE {
        session.around.clock.sleep(Duration::from_secs(interval)).await;
        waited += interval;
        let reply = session.send_as(None, ask).await?;
        match reply.body["errors"][0].as_str() {
            Some(LATER) => {}
            Some(SLOWER) => interval += 5,
            _ => {
                let answer = read_secret(reply, ask, "Error authenticating")?;
                let missing = || Failure::server("Error authenticating: there is no token in the answer");
                return answer.ok_or_else(missing);
            }
        }
    }
    Err(Failure::local("Timed out waiting for the login in the browser"))
}
