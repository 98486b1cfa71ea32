//! Asking OCSP responders about the certificate of a login, and keeping what they say for as long as they say.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Cert;
use super::ocsp::{Answer, Problem, Question, Rules, Status};
use super::role::Role;
use super::shown::Shown;
use crate::base::Timestamp;
use crate::base::http::{HttpError, HttpRequest};
use crate::base::telemetry;
use crate::wire::Error;

/// How long a responder has.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What in a certificate names a responder.
const OCSP: &str = "1.3.6.1.5.5.7.48.1";

/// Why a responder did not help.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("{url} cannot be asked")]
    Unreachable { url: String, source: HttpError },
    #[error("{url} answers {status}")]
    Status { url: String, status: http::StatusCode },
    #[error("the answer of {url} does not count")]
    Worthless { url: String, source: Problem },
}

/// Answers that are good for a while.
#[derive(Default)]
pub(super) struct Answers(Mutex<BTreeMap<Question, (Status, Timestamp)>>);

impl Answers {
    fn get(&self, question: &Question, now: Timestamp) -> Option<Status> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(question).filter(|(_, until)| *until > now).map(|(status, _)| *status)
    }

    fn keep(&self, question: Question, answer: &Answer, now: Timestamp, most: u64) {
        let Some(until) = answer.until.filter(|until| *until > now && most > 0) else { return };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() as u64 >= most {
            all.retain(|_, (_, until)| *until > now);
        }
        if all.len() as u64 >= most {
            all.clear();
        }
        all.insert(question, (answer.status, until));
    }
}

impl Cert {
    /// Whether responders let the certificate pass, where the role has them asked.
    ///
    /// # Errors
    /// When the stored role or settings cannot be read.
    pub(super) async fn responders_admit(&self, role: &Role, shown: &Shown) -> Result<bool, Error> {
        if !role.ocsp.ocsp_enabled {
            return Ok(true);
        }
        match self.status(role, shown).await? {
            Some(Status::Good) => Ok(true),
            Some(Status::Revoked) => Ok(false),
            Some(Status::Unknown) | None => {
                if role.ocsp.ocsp_fail_open {
                    tracing::warn!("no OCSP responder knows about a certificate: it is let in, as its role says");
                }
                Ok(role.ocsp.ocsp_fail_open)
            }
        }
    }

    /// What responders say; none where nobody says anything that counts.
    async fn status(&self, role: &Role, shown: &Shown) -> Result<Option<Status>, Error> {
        let trusted = role.trusted().unwrap_or_default();
        let Some((own, others)) = shown.chain.split_first() else { return Ok(None) };
        let Ok((_, certificate)) = X509Certificate::from_der(own) else { return Ok(None) };
        let Some(issuer) = issuer_of(&certificate, others.iter().chain(&trusted)) else {
            tracing::warn!("a certificate's issuer is not known, so no OCSP responder can be asked about it");
            return Ok(None);
        };
        let question = Question::about(&certificate, &issuer);
        let now = self.clock.now();
        if let Some(status) = self.answers.get(&question, now) {
            return Ok(Some(status));
        }
        let authorities = role.ocsp.authorities().unwrap_or_default();
        let rules = Rules { issuer: &issuer, others: &authorities, now, max_age: role.ocsp.ocsp_this_update_max_age };
        let servers = match role.ocsp.ocsp_servers_override.is_empty() {
            true => servers_in(&certificate),
            false => role.ocsp.ocsp_servers_override.clone(),
        };
        let most = self.config().await?.ocsp_cache_size;
        let mut best: Option<Answer> = None;
        for url in servers {
            match self.ask(&url, &question, &rules).await {
                Ok(answer) => {
                    let is_enough = is_enough(answer.status, role.ocsp.ocsp_query_all_servers);
                    best = Some(weightier(best, answer));
                    if is_enough {
                        break;
                    }
                }
                Err(silence) => {
                    tracing::warn!(error = telemetry::chain(&silence), "an OCSP responder does not help");
                }
            }
        }
        if let Some(known) = best.as_ref().filter(|best| best.status != Status::Unknown) {
            self.answers.keep(question, known, now, most);
        }
        Ok(best.map(|best| best.status))
    }

    async fn ask(&self, url: &str, question: &Question, rules: &Rules<'_>) -> Result<Answer, Silence> {
        let unreachable = |source| Silence::Unreachable { url: url.to_owned(), source };
        let kind = HeaderValue::from_static("application/ocsp-request");
        let (headers, body) = (HeaderMap::from_iter([(CONTENT_TYPE, kind)]), question.request());
        let request = HttpRequest { method: Method::POST, url: url.to_owned(), headers, body, timeout: TIMEOUT };
        let answer = self.http().map_err(unreachable)?.send(request).await.map_err(unreachable)?;
        if !answer.status.is_success() {
            return Err(Silence::Status { url: url.to_owned(), status: answer.status });
        }
        let worthless = |source| Silence::Worthless { url: url.to_owned(), source };
        question.judge(&answer.body, rules).map_err(worthless)
    }
}

/// Of two answers the one that counts; of equal ones the first.
fn weightier(best: Option<Answer>, answer: Answer) -> Answer {
    match best {
        Some(best) if best.status >= answer.status => best,
        _ => answer,
    }
}

/// Whether nobody else need be asked.
fn is_enough(status: Status, all: bool) -> bool {
    status == Status::Revoked || (status == Status::Good && !all)
}

fn issuer_of<'a>(
    certificate: &X509Certificate<'_>,
    known: impl Iterator<Item = &'a CertificateDer<'static>>,
) -> Option<X509Certificate<'a>> {
    known.filter_map(|der| X509Certificate::from_der(der).ok()).map(|(_, issuer)| issuer).find(|issuer| {
        issuer.subject().as_raw() == certificate.issuer().as_raw()
            && certificate.verify_signature(Some(issuer.public_key())).is_ok()
    })
}

fn servers_in(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut servers = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { continue };
        for description in access.iter().filter(|one| one.access_method.to_id_string() == OCSP) {
            if let GeneralName::URI(url) = description.access_location {
                servers.push(url.to_owned());
            }
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of the answers of several responders, and how many of them were asked.
    fn asked(answers: &[Status], all: bool) -> (Option<Status>, usize) {
        let (mut best, mut count) = (None, 0);
        for status in answers.iter().copied() {
            count += 1;
            best = Some(weightier(best, Answer { status, until: None }));
            if is_enough(status, all) {
                break;
            }
        }
        (best.map(|best| best.status), count)
    }

    #[test]
    fn who_does_not_know_says_nothing_against_who_does() {
        use Status::{Good, Revoked, Unknown};
        for (answers, all, expected, count) in [
            (&[Good, Unknown][..], true, Some(Good), 2),
            (&[Unknown, Good, Unknown], true, Some(Good), 3),
            (&[Good, Revoked, Good], true, Some(Revoked), 2),
            (&[Good, Revoked], false, Some(Good), 1),
            (&[Unknown, Revoked], false, Some(Revoked), 2),
            (&[Unknown], true, Some(Unknown), 1),
            (&[], true, None, 0),
        ] {
            assert_eq!(asked(answers, all), (expected, count), "{answers:?}");
        }
    }
}
