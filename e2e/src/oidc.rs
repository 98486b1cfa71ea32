//! An OpenID provider as a child process (`e2e/logins/provider.js`), and a browser that does what it is told there.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::process::{Child, Command};

use crate::environment::variable;
use crate::eventually::eventually;
use crate::lessor::free_port;

/// Where the provider sends browsers back to: a program of one's own machine, as the command line is.
pub const REDIRECT_URI: &str = "http://localhost:8250/oidc/callback";

/// A running provider. It ends with the value.
pub struct Provider {
    port: u16,
    redirect_uris: Vec<String>,
    child: Child,
}

impl Provider {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start() -> Self {
        Self::start_with(&[REDIRECT_URI]).await
    }

    /// Starts one that sends browsers back to these addresses.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_with(redirect_uris: &[&str]) -> Self {
        let (port, redirect_uris) =
            (free_port(), redirect_uris.iter().map(|uri| (*uri).to_owned()).collect::<Vec<_>>());
        let child = spawn(port, &redirect_uris);
        let provider = Self { port, redirect_uris, child };
        provider.answering().await;
        provider
    }

    /// Starts it anew at the same address, with another key and without any memory.
    ///
    /// # Panics
    /// When it cannot be ended, or does not come up.
    pub async fn start_again(&mut self) {
        self.child.kill().await.unwrap();
        self.child = spawn(self.port, &self.redirect_uris);
        self.answering().await;
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn answering(&self) {
        let url = format!("{}/.well-known/openid-configuration", self.url());
        eventually("the provider answers", Duration::from_secs(60), || async {
            match Browser::default().get(&url).await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

fn spawn(port: u16, redirect_uris: &[String]) -> Child {
    Command::new("node")
        .arg(variable("LESSOR_OIDC_PROVIDER"))
        .arg(port.to_string())
        .args(redirect_uris)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("node can be started")
}

/// What a browser was left with.
#[derive(Debug, Default)]
pub struct Page {
    /// Where it is, or where the form would go that it was about to send.
    pub url: String,
    /// Of that form.
    pub fields: BTreeMap<String, String>,
    /// What it shows.
    pub text: String,
}

/// Follows redirects, sends forms that need no person, and keeps cookies.
pub struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    cookies: BTreeMap<String, String>,
}

impl Default for Browser {
    fn default() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), cookies: BTreeMap::new() }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Browser {
    /// The address that it is sent to, at last, below [`REDIRECT_URI`].
    ///
    /// # Panics
    /// When it is sent nowhere any more before.
    pub async fn follow(&mut self, url: &str) -> String {
        let page = self.visit(url, REDIRECT_URI).await;
        assert!(page.url.starts_with(REDIRECT_URI), "it stops at {}", page.url.split('?').next().unwrap_or_default());
        page.url
    }

    /// Where it comes to an end: before it would leave for an address that begins with `end`, or where nothing leads on.
    ///
    /// # Panics
    /// When it is sent round in circles, or somebody does not answer.
    pub async fn visit(&mut self, url: &str, end: &str) -> Page {
        let mut next = Page { url: url.to_owned(), ..Page::default() };
        let mut method = Method::GET;
        for _ in 0..30 {
            if next.url.starts_with(end) {
                return next;
            }
            let form = if method == Method::POST { encoded(&next.fields) } else { String::new() };
            let (status, location, text) = self.ask(method, &next.url, form).await.expect("the provider answers");
            if let Some(location) = location {
                next = Page { url: resolve(&next.url, &location), ..Page::default() };
                method = Method::GET;
                continue;
            }
            assert!(status < 400, "{status} at {}", next.url.split('?').next().unwrap_or_default());
            let Some((action, fields)) = form_in(&text) else { return Page { url: next.url, text, ..Page::default() } };
            next = Page { url: resolve(&next.url, &action), fields, text };
            method = Method::POST;
        }
        panic!("the provider sends the browser round in circles");
    }

    async fn get(&mut self, url: &str) -> Result<(u16, Option<String>), Failure> {
        self.ask(Method::GET, url, String::new()).await.map(|(status, location, _)| (status, location))
    }

    async fn ask(&mut self, method: Method, url: &str, form: String) -> Result<(u16, Option<String>, String), Failure> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))?;
        let answer = self.client.request(request).await?;
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let location =
            answer.headers().get(header::LOCATION).map(|value| value.to_str().map(str::to_owned)).transpose()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, location, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn resolve(from: &str, to: &str) -> String {
    match to.strip_prefix('/') {
        Some(path) => format!("{}/{path}", from.split('/').take(3).collect::<Vec<_>>().join("/")),
        None => to.to_owned(),
    }
}

fn encoded(fields: &BTreeMap<String, String>) -> String {
    let encode = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric().then(|| char::from(byte).to_string());
        text.bytes().map(|byte| plain(byte).unwrap_or_else(|| format!("%{byte:02X}"))).collect()
    };
    fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
}

/// The first form of a page: where it goes (empty: to where the page is from), and its fields.
pub fn form_in(html: &str) -> Option<(String, BTreeMap<String, String>)> {
    let form = &html[html.find("<form")?..];
    let form = &form[..form.find("</form>")?];
    let tag = |text: &str| text[..text.find('>').unwrap_or(text.len())].to_owned();
    let action = attribute(&tag(form), "action").unwrap_or_default();
    let fields = form.split("<input").skip(1).filter_map(|rest| {
        let tag = tag(rest);
        Some((attribute(&tag, "name")?, attribute(&tag, "value").unwrap_or_default()))
    });
    Some((action, fields.collect()))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = &tag[tag.find(&format!("{name}=\""))? + name.len() + 2..];
    let value = &rest[..rest.find('"')?];
    Some(
        value
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&#39;", "'")
            .replace("&amp;", "&"),
    )
}
