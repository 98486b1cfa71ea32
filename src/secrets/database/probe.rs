//! The login probe: a credential is handed out only once its user can log in on every server that its connection names.
//!
//! A replica that lags, or a pooler that has not read its users yet, refuses a user that its primary has made already.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::base::{Clock, Random, Secret};
use crate::drivers::{self, Settings, Spec, sql};
use crate::wire::{Error, Fields, Kind};

/// How long a login is tried when `login_probe_timeout` does not say, seconds.
const TIMEOUT: u64 = 5;

/// The longest that a caller may be kept waiting, seconds: clients give up after 60.
const LONGEST: u64 = 45;

/// Between two tries on one server.
const PAUSE: Duration = Duration::from_millis(100);

/// The servers of one connection.
pub(super) struct Probe {
    spec: &'static Spec,
    /// The fields of a connection to each server, still without the user.
    servers: Vec<Fields>,
    timeout: Duration,
}

impl Probe {
    /// Reads `login_probe` (default false), `login_probe_timeout` (default 5 s) and `login_probe_urls`, connection URLs besides
    /// the connection's own, such as those of replicas. `None` when no probe is wanted.
    ///
    /// # Errors
    /// 400 naming the field.
    pub(super) fn read(spec: &'static Spec, details: &Fields) -> Result<Option<Arc<Self>>, Error> {
        let timeout = details.seconds("login_probe_timeout")?.unwrap_or(TIMEOUT);
        if !(1..=LONGEST).contains(&timeout) {
            return Err(Error::bad_request(format!("login_probe_timeout must be between 1 and {LONGEST} seconds")));
        }
        let mut urls = details.comma_list("login_probe_urls")?.unwrap_or_default();
        if !details.bool("login_probe")?.unwrap_or(false) {
            return Ok(None);
        }
        urls.extend(details.string("connection_url")?);
        let mut servers = Vec::new();
        for url in urls {
            for placeholder in ["{{username}}", "{{password}}"] {
                if !url.contains(placeholder) {
                    let url = sql::mask_passwords(&url);
                    return Err(Error::bad_request(format!("login_probe needs {placeholder} in {url:?}")));
                }
            }
            let fields = with(details, &[("connection_url", &url), ("max_open_connections", "1")]);
            servers.extend((spec.endpoints)(&fields).map_err(|error| Error::bad_request(error.message()))?);
        }
        Ok(Some(Arc::new(Self { spec, servers, timeout: Duration::from_secs(timeout) })))
    }

    /// Logs in as the user on every server, again and again until it succeeds.
    ///
    /// # Errors
    /// 502 with the last refusal of a server that has not let the user in in time.
    pub(super) async fn log_in(
        &self,
        username: &str,
        password: &Secret,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<(), Error> {
        try_join_all(self.servers.iter().map(|server| async {
            let fields = with(server, &[("username", username), ("password", password.expose())]);
            let failed = |error: &drivers::Error| {
                let text = format!("the user cannot log in everywhere within {} s", self.timeout.as_secs());
                Error::new(Kind::Upstream, format!("{text}: {}", error.message()))
            };
            let settings = Settings { fields, random: random.clone() };
            let driver = drivers::open(self.spec, settings).map_err(|error| failed(&error))?;
            let mut last = None;
            let trying = async {
                while let Err(error) = driver.verify().await {
                    last = Some(failed(&error));
                    clock.sleep(PAUSE).await;
                }
            };
            let in_time = tokio::select! {
                () = trying => true,
                () = clock.sleep(self.timeout) => false,
            };
            driver.close().await;
            let silent = || {
                // User and password are placeholders in it; any other password is masked.
                let url = server.string("connection_url").ok().flatten().unwrap_or_default();
                failed(&drivers::Error::new(
                    drivers::Kind::Timeout,
                    format!("no answer from {}", sql::mask_passwords(&url)),
                ))
            };
            if in_time { Ok(()) } else { Err(last.unwrap_or_else(silent)) }
        }))
        .await
        .map(drop)
    }
}

/// The same fields with others in their place.
fn with(fields: &Fields, others: &[(&str, &str)]) -> Fields {
    let mut map = fields.as_map().clone();
    for (name, value) in others {
        map.insert((*name).to_owned(), (*value).into());
    }
    map.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Option<Arc<Probe>>, Error> {
        let spec = drivers::find("postgresql-database-plugin").unwrap();
        Probe::read(spec, &value.as_object().unwrap().clone().into())
    }

    #[test]
    fn every_host_and_every_further_url_is_a_server() {
        let url = "postgresql://{{username}}:{{password}}@a:1,b:2/db?sslmode=disable";
        let replica = "postgresql://{{username}}:{{password}}@c:3/db";
        let body = json!({"connection_url": url, "login_probe": true, "login_probe_urls": [replica]});
        let probe = read(body).unwrap().unwrap();
        let urls: Vec<_> =
            probe.servers.iter().map(|server| server.string("connection_url").unwrap().unwrap()).collect();
        assert_eq!(urls.len(), 3);
        for host in ["@c:3/", "@a:1/", "@b:2/"] {
            assert!(urls.iter().any(|url| url.contains(host)), "{host}: {urls:?}");
        }
        assert_eq!(probe.timeout, Duration::from_secs(5));
        assert!(read(json!({ "connection_url": url })).unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let url = "postgresql://{{username}}:{{password}}@a/db";
        for (body, expected) in [
            (json!({"connection_url": url, "login_probe": true, "login_probe_timeout": "0s"}), "login_probe_timeout"),
            (json!({"connection_url": url, "login_probe": "maybe"}), "login_probe"),
            (json!({"connection_url": "postgresql://u:canary@a/db", "login_probe": true}), "{{username}}"),
        ] {
            let error = read(body).err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
        }
    }
}
