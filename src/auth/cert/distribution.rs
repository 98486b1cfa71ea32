//! Revocation lists that are published at an address: fetched when they are configured, and again when they are old.

use std::time::Duration;

use http::{HeaderMap, Method};
use rustls_pki_types::CertificateDer;

use super::Cert;
use super::crl::{Crl, Read, Source};
use crate::base::clock::add;
use crate::base::http::{HttpError, HttpRequest};
use crate::base::telemetry;
use crate::wire::{Answer, Error, Fields, Kind};

/// How long a server has.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a failed attempt keeps us from the next one: logins must not wait for a dead server each time.
pub(super) const RETRY: Duration = Duration::from_secs(60);

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{url} cannot be fetched")]
    Unreachable { url: String, source: HttpError },
    #[error("{url} answers {status}")]
    Status { url: String, status: http::StatusCode },
    #[error("{url} holds no revocation list")]
    Unreadable { url: String, source: Error },
    #[error("{url} holds a list that no authority of this mount's roles has signed")]
    Signature { url: String },
}

impl Cert {
    /// Keeps a list by its address; what is there is looked at now, so that a wrong address is found at once.
    pub(super) async fn fetch_crl(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let url = fields.required("url")?;
        if fields.string("crl")?.is_some_and(|crl| !crl.is_empty()) {
            return Err(Error::bad_request("\"crl\" and \"url\" exclude each other: send the list or its address"));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::bad_request("\"url\" must begin with http:// or https://"));
        }
        let list = self.fetch(&url).await.map_err(|problem| {
            let kind = if matches!(problem, Problem::Unreachable { .. }) { Kind::Upstream } else { Kind::BadRequest };
            Error::new(kind, format!("\"url\": {problem}")).caused_by(problem)
        })?;
        let crl = list.keep(Some(&url), self.clock.now());
        self.crls
            .change(name, true, |kept| {
                *kept = crl.clone();
                Ok(())
            })
            .await?;
        Ok(Answer::empty())
    }

    /// A stored list, fetched anew where it is old. While its server is away the old one counts.
    pub(super) async fn fresh_crl(&self, name: &str) -> Result<Option<Crl>, Error> {
        let Some(crl) = self.crls.get(name).await? else { return Ok(None) };
        let now = self.clock.now();
        let is_old = |crl: &Crl| crl.source.as_ref().is_some_and(|source| source.valid_until <= now);
        if !is_old(&crl) {
            return Ok(Some(crl));
        }
        let _one_at_a_time = self.fetching.lock().await;
        let Some(crl) = self.crls.get(name).await?.filter(is_old) else { return self.crls.get(name).await };
        let Some(source) = &crl.source else { return Ok(Some(crl)) };
        let newer = match self.fetch(&source.url).await {
            Ok(list) => list.keep(Some(&source.url), now),
            Err(problem) => {
                tracing::error!(list = name, error = telemetry::chain(&problem), "a revocation list cannot be renewed");
                let source = Source { url: source.url.clone(), valid_until: add(now, RETRY) };
                let mut old = crl.clone();
                old.source = Some(source);
                old
            }
        };
        self.crls
            .change(name, false, |kept| {
                // Somebody may have written another one meanwhile.
                if kept.source == crl.source {
                    *kept = newer.clone();
                }
                Ok(())
            })
            .await
    }

    async fn fetch(&self, url: &str) -> Result<Read, Problem> {
        let unreachable = |source| Problem::Unreachable { url: url.to_owned(), source };
        let (headers, body) = (HeaderMap::new(), Vec::new());
        let request = HttpRequest { method: Method::GET, url: url.to_owned(), headers, body, timeout: TIMEOUT };
        let answer = self.http().map_err(unreachable)?.send(request).await.map_err(unreachable)?;
        if !answer.status.is_success() {
            return Err(Problem::Status { url: url.to_owned(), status: answer.status });
        }
        let unreadable = |source| Problem::Unreadable { url: url.to_owned(), source };
        let list = Read::new(&answer.body).map_err(unreadable)?;
        let authorities = self.authorities().await.map_err(unreadable)?;
        // Lists are mostly published without TLS: the signature alone tells whose it is.
        if !list.is_signed_by(&authorities) {
            return Err(Problem::Signature { url: url.to_owned() });
        }
        Ok(list)
    }

    /// Whom the roles trust.
    async fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let mut found = Vec::new();
        for name in self.roles.names().await? {
            if let Some(role) = self.roles.get(&name).await? {
                found.extend(role.trusted().unwrap_or_default());
            }
        }
        Ok(found)
    }
}
