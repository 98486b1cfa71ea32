//! `login -method=oidc`: the provider's page in a browser, which comes back to a listener of ours with a code.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::Failure;
use super::super::output::Secret;
use super::super::request::Ask;
use super::super::session::{Session, read_secret};

/// How long somebody may take to log in at the provider.
const PATIENCE: Duration = Duration::from_secs(120);
/// A browser sends its request at once.
const REQUEST: Duration = Duration::from_secs(10);
/// The longest head, and the longest body, of a request that is read, in bytes.
const MOST: usize = 64 * 1024;

pub(super) const HELP: &str = "login -method=oidc [role=NAME] [port=8250] [listenaddress=localhost] [callbackhost=localhost] \
                               [callbackport=PORT] [callbackmethod=http] [skip_browser=true] [callbackmode=client|direct|device]";

/// Logs in at the mount, with the arguments that people gave.
pub(super) async fn login(
    session: &Session<'_>,
    mount: &str,
    arguments: &Map<String, Value>,
) -> Result<Secret, Failure> {
    let text = |key: &str| arguments.get(key).and_then(Value::as_str);
    let port: u16 = text("port").unwrap_or("8250").parse().map_err(|_| Failure::local("'port' must be a number"))?;
    let host = text("listenaddress").unwrap_or("localhost");
    let listener = TcpListener::bind((host, port)).await;
    let listener = listener
        .map_err(|error| Failure::local(format!("cannot listen on {host}:{port} for the provider: {error}")))?;
    let port = listener.local_addr().map_or(port, |address| address.port()).to_string();
    let (method, host) = (text("callbackmethod").unwrap_or("http"), text("callbackhost").unwrap_or("localhost"));
    let redirect = format!("{method}://{host}:{}/oidc/callback", text("callbackport").unwrap_or(&port));
    let nonce = session.around.random.base62(20);
    let body = json!({ "role": text("role").unwrap_or_default(), "redirect_uri": redirect, "client_nonce": nonce });
    let ask = Ask::put(format!("auth/{mount}/oidc/auth_url"), body);
    let answer = read_secret(session.send_as(None, &ask).await?, &ask, "Error authenticating")?.unwrap_or_default();
    let url = answer.data["auth_url"].as_str().unwrap_or_default();
    if url.is_empty() {
        let text = format!(
            "Error authenticating: the engine gives no address of the provider for redirect_uri {redirect:?}: \
            its log says why"
        );
        return Err(Failure::server(text));
    }
    session.around.say(&format!("Complete the login via your OIDC provider. Launching browser to:\n\n    {url}\n"));
    if text("skip_browser") != Some("true") && !launch(url) {
        session.around.say("No browser could be started: open the address above in one.");
    }
    let waited = tokio::time::timeout(PATIENCE, answered(session, &listener, mount, &nonce)).await;
    waited.map_err(|_| Failure::local("Timed out waiting for the provider's answer"))?
}

/// Whether a program was started that opens addresses.
pub(super) fn launch(url: &str) -> bool {
    let open = |program| {
        Command::new(program).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    ["xdg-open", "open"].into_iter().any(|program| open(program).is_ok())
}

/// Waits for the browser to come back and has the engine make a token of what it brings. Browsers also ask for other things.
async fn answered(session: &Session<'_>, listener: &TcpListener, mount: &str, nonce: &str) -> Result<Secret, Failure> {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let Ok(Some((target, body))) = tokio::time::timeout(REQUEST, request(&mut stream)).await else { continue };
        let Some(query) = target.strip_prefix("/oidc/callback").map(|rest| rest.trim_start_matches('?')) else {
            reply(&mut stream, "404 Not Found", "There is nothing here.").await;
            continue;
        };
        let by_form = !body.is_empty();
        let found = parameters(if by_form { &body } else { query });
        let mut ask = Ask::get(format!("auth/{mount}/oidc/callback")).with("client_nonce", nonce);
        for key in ["state", "code"] {
            if let Some(value) = found.get(key) {
                ask = ask.with(key, value);
            }
        }
        if by_form {
            // The engine takes the whole form first, since it may hold a token, which belongs into no address.
            let form = Ask::post(format!("auth/{mount}/oidc/callback"), json!(found));
            session.send_as(None, &form).await?;
        }
        let outcome = match found.get("error") {
            Some(error) => Err(Failure::server(format!("Error authenticating: the provider answers {error:?}"))),
            None => {
                let answer = read_secret(session.send_as(None, &ask).await?, &ask, "Error authenticating");
                answer.and_then(|secret| {
                    secret.ok_or_else(|| Failure::server("Error authenticating: there is no token in the answer"))
                })
            }
        };
        let (status, said) = match &outcome {
            Ok(_) => ("200 OK", "You are logged in and may close this page."),
            Err(_) => ("400 Bad Request", "The login has failed; the terminal says why."),
        };
        reply(&mut stream, status, said).await;
        return outcome;
    }
}

/// The target of a request, and its body where it is a form.
async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
        if bytes.len() > MOST {
            return None;
        }
    };
    let text = std::str::from_utf8(&bytes[..head]).ok()?.to_owned();
    let mut words = text.lines().next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?.to_owned());
    if method != "POST" {
        return Some((target, String::new()));
    }
    let length = text.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    })?;
    if length > MOST {
        return None;
    }
    while bytes.len() < head + length {
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
    }
    Some((target, String::from_utf8(bytes[head..head + length].to_vec()).ok()?))
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

/// Nobody but the browser's user is disappointed when it has gone away.
async fn reply(stream: &mut TcpStream, status: &str, said: &str) {
    let page = format!("<!doctype html><title>Lessor</title><p>{said}</p>");
    let length = page.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
    );
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let found = parameters("state=st_1&code=a%2Fb+c&empty=");
        assert_eq!((found["state"].as_str(), found["code"].as_str(), found["empty"].as_str()), ("st_1", "a/b c", ""));
    }
}
