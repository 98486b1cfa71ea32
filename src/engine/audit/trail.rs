//! One request on its way through the engine, as the audit devices see it: an entry before it is carried out, one before it
//! is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Enabled;
use crate::audit::entry::{self, Mount, Who};
use crate::base::{Clock, Secret, duration};
use crate::engine::core::Core;
use crate::engine::mount;
use crate::engine::request::{Headers, Incoming, Reply};
use crate::engine::session::Session;
use crate::engine::token::Kind;
use crate::wire::{Envelope, Error, Operation};

/// What devices are told of one request; costs nothing while none is on.
pub struct Trail(Option<Box<Open>>);

struct Open {
    devices: Arc<Vec<Arc<Enabled>>>,
    clock: Arc<dyn Clock>,
    request: entry::Request,
    who: Option<Who>,
    recorded: bool,
}

impl Trail {
    /// Whether any device is on.
    pub(in crate::engine) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The token was found.
    pub(in crate::engine) fn seen(&mut self, session: &Session) {
        let Some(open) = &mut self.0 else { return };
        let token = &session.found.token;
        open.who = Some(Who {
            accessor: token.accessor.clone(),
            display_name: token.display_name.clone(),
            policies: token.policies.clone(),
            entity_id: token.entity_id.clone(),
            metadata: token.meta.clone(),
            issued: token.created,
            ttl: token.creation_ttl,
            kind: if token.kind == Kind::Batch { "batch" } else { "service" }.into(),
            uses: token.num_uses,
            allowed: false,
        });
    }

    /// Its policies allow the request.
    pub(in crate::engine) fn allowed(&mut self) {
        if let Some(who) = self.0.as_mut().and_then(|open| open.who.as_mut()) {
            who.allowed = true;
        }
    }

    /// The request writes: to something that exists, or not yet.
    pub(in crate::engine) fn writes(&mut self, exists: bool) {
        if let Some(open) = &mut self.0 {
            open.request.operation = if exists { "update" } else { "create" };
        }
    }

    /// Records the request: what follows is carried out only if this succeeds.
    ///
    /// # Errors
    /// 500 when devices are on and none takes the entry.
    pub(in crate::engine) async fn record(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            Some(open) if !open.recorded => open.record(None).await,
            _ => Ok(()),
        }
    }
}

impl Open {
    async fn record(&mut self, error: Option<&str>) -> Result<(), Error> {
        self.recorded = true;
        let now = self.clock.now();
        self.write(|device| entry::request(&device.form, now, &self.request, self.who.as_ref(), error)).await
    }

    async fn answered(&self, answer: Option<&Envelope>, error: Option<&str>) -> Result<(), Error> {
        let now = self.clock.now();
        self.write(|device| entry::response(&device.form, now, &self.request, self.who.as_ref(), answer, error)).await
    }

    /// Gives every device its entry; one that takes it is enough.
    async fn write(&self, entry: impl Fn(&Enabled) -> Value) -> Result<(), Error> {
        let writes = self.devices.iter().map(|device| {
            let entry = entry(device);
            async move { device.write(&entry).await }
        });
        let written = futures_util::future::join_all(writes).await;
        if written.iter().any(Result::is_ok) { Ok(()) } else { Err(unrecorded()) }
    }
}

fn unrecorded() -> Error {
    Error::internal(
        "internal error: no audit device can record the request, so it is refused; the server's log says why",
    )
}

impl Core {
    /// Begins the trail of a request.
    pub(in crate::engine) fn follow(&self, incoming: &Incoming) -> Trail {
        let devices = self.shared.audits.devices();
        if devices.is_empty() {
            return Trail(None);
        }
        let request = entry::Request {
            id: incoming.id.clone(),
            operation: match incoming.operation {
                Operation::Read => "read",
                Operation::List => "list",
                Operation::Write => "update",
                Operation::Patch => "patch",
                Operation::Delete => "delete",
                Operation::Help => "help",
            },
            namespace: match self.place.is_root() {
                true => None,
                false => Some((self.place.id.clone(), self.place.path.clone())),
            },
            path: incoming.path.clone(),
            data: incoming.fields.as_map().clone(),
            token: incoming.token.clone(),
            address: incoming.address,
            port: incoming.port,
            headers: shown(&incoming.headers, &self.shared.audits.headers()),
            wrap_ttl: incoming.wrap_ttl.as_deref().and_then(|ttl| duration::parse_seconds(ttl).ok()).unwrap_or(0),
            mount: self.mount_for(&incoming.path),
        };
        Trail(Some(Box::new(Open { devices, clock: self.shared.clock.clone(), request, who: None, recorded: false })))
    }

    /// Ends the trail: an answer that no device can record is not given, and what it would have handed out is taken back.
    pub(in crate::engine) async fn finish(&self, trail: Trail, result: Result<Reply, Error>) -> Result<Reply, Error> {
        let Some(mut open) = trail.0 else { return result };
        let error = result.as_ref().err().map(ToString::to_string);
        if !open.recorded {
            open.record(error.as_deref()).await?;
        }
        let answer = match &result {
            Ok(Reply::Envelope { envelope, .. } | Reply::Accepted(envelope) | Reply::Missing(envelope)) => {
                Some(&**envelope)
            }
            _ => None,
        };
        if let Err(unrecorded) = open.answered(answer, error.as_deref()).await {
            let made = open.who.is_none() || open.request.path.starts_with("auth/token/create");
            if let Some(auth) = answer.and_then(|answer| answer.auth.as_ref()).filter(|_| made) {
                self.leases.end_token(&self.tokens.hash(&Secret::new(auth.client_token.clone()))).await?;
            }
            if let Some(wrap) = answer.and_then(|answer| answer.wrap_info.as_ref()) {
                self.leases.end_token(&self.tokens.hash(&Secret::new(wrap.token.clone()))).await?;
            }
            // A lease goes with its `Delivery`, which is dropped here.
            return Err(unrecorded);
        }
        result
    }

    fn mount_for(&self, path: &str) -> Option<Mount> {
        let of = |entry: &mount::Entry, lead: &str, class| Mount {
            point: format!("{lead}{}", entry.path),
            kind: entry.kind.clone(),
            accessor: entry.accessor.clone(),
            class,
            clear_request: entry.tuning.audit_non_hmac_request_keys.clone(),
            clear_response: entry.tuning.audit_non_hmac_response_keys.clone(),
        };
        match path.split_once('/') {
            Some(("sys", _)) => {
                Some(Mount { point: "sys/".into(), kind: "system".into(), class: "secret", ..Mount::default() })
            }
            Some(("auth", rest)) if rest.starts_with("token/") => {
                Some(Mount { point: "auth/token/".into(), kind: "token".into(), class: "auth", ..Mount::default() })
            }
            Some(("auth", rest)) => self.methods.route(rest).map(|(mounted, _)| of(&mounted.entry, "auth/", "auth")),
            _ => self.mounts.route(path).map(|(mounted, _)| of(&mounted.entry, "", "secret")),
        }
    }
}

/// The headers of a request that entries show.
fn shown(headers: &Headers, wanted: &BTreeMap<String, bool>) -> BTreeMap<String, (Vec<String>, bool)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let values = |name: &String| headers.0.get_all(name).iter().map(text).collect::<Vec<_>>();
    let rows = wanted.iter().map(|(name, hmac)| (name.clone(), (values(name), *hmac)));
    rows.filter(|(_, (values, _))| !values.is_empty()).collect()
}
