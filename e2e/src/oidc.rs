//! An OpenID provider as a child process (`e2e/logins/provider.js`), and a browser that does what it is told there.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
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
    child: Child,
}

impl Provider {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start() -> Self {
        let port = free_port();
        let provider = Self { port, child: spawn(port) };
        provider.answering().await;
        provider
    }

    /// Starts it anew at the same address, with another key and without any memory.
    ///
    /// # Panics
    /// When it cannot be ended, or does not come up.
    pub async fn start_again(&mut self) {
        self.child.kill().await.unwrap();
        self.child = spawn(self.port);
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

fn spawn(port: u16) -> Child {
    Command::new("node")
        .arg(variable("LESSOR_OIDC_PROVIDER"))
        .args([&port.to_string(), REDIRECT_URI])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("node can be started")
}

/// Follows redirects and keeps cookies.
pub struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    cookies: BTreeMap<String, String>,
}

impl Default for Browser {
    fn default() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), cookies: BTreeMap::new() }
    }
}

impl Browser {
    /// The address that it is sent to, at last, below [`REDIRECT_URI`].
    ///
    /// # Panics
    /// When it is sent nowhere any more before.
    pub async fn follow(&mut self, url: &str) -> String {
        let mut url = url.to_owned();
        for _ in 0..20 {
            if url.starts_with(REDIRECT_URI) {
                return url;
            }
            let (status, location) = self.get(&url).await.expect("the provider answers");
            let location = location.unwrap_or_else(|| panic!("{status} at {}", url.split('?').next().unwrap()));
            url = match location.strip_prefix('/') {
                Some(path) => format!("{}/{path}", url.split('/').take(3).collect::<Vec<_>>().join("/")),
                None => location,
            };
        }
        panic!("the provider sends the browser round in circles");
    }

    async fn get(&mut self, url: &str) -> Result<(u16, Option<String>), Box<dyn std::error::Error + Send + Sync>> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::get(url).header(header::COOKIE, cookies.join("; ")).body(Full::default())?;
        let answer = self.client.request(request).await?;
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let location =
            answer.headers().get(header::LOCATION).map(|value| value.to_str().map(str::to_owned)).transpose()?;
        Ok((answer.status().as_u16(), location))
    }
}
