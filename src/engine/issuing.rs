//! Requests for secrets engines, and the leases of what they answer.

use std::sync::Arc;

use super::core::Core;
use super::lease::issue::{Asker, Issued};
use super::mount;
use super::request::{Incoming, Reply};
use super::session::{Session, caller};
use crate::secrets::{self, SecretsEngine};
use crate::wire::{Envelope, Error, Fields, Keep, Kind, Request};

/// Where engines answer what `sys/lessor/` asks them; below a mount nobody else reaches it.
pub(super) const OWN: &str = "lessor/";

/// How often a request is answered anew because the role or connection was changed under it.
const OFFERS: u32 = 8;

impl Core {
    pub(super) async fn secrets(&self, incoming: &Incoming, fields: Fields, session: &Session) -> Result<Reply, Error> {
        let (mounted, rest) = self.mounts.route(&incoming.path).ok_or_else(|| no_route(&incoming.path))?;
        if mounted.entry.tainted {
            return Err(no_route(&incoming.path));
        }
        if rest.starts_with(OWN) && mounted.plugin.answers_sys_lessor() {
            return Err(Error::unsupported_path());
        }
        let request =
            Request { operation: incoming.operation, path: rest.to_owned(), fields, caller: caller(incoming, session) };
        let mut tries = 0;
        let issued = loop {
            let offer = match mounted.plugin.handle(request.clone()).await? {
                secrets::Outcome::Answer(mut answer) => {
                    if answer.keep == Some(Keep::MountDefault) {
                        answer.keep =
                            Some(Keep::Seconds(mounted.entry.limits(self.shared.settings.limits).default_ttl));
                    }
                    return Ok(Reply::answer(answer));
                }
                // It would end with the token, which has no use left.
                secrets::Outcome::Lease(_) if session.found.token.num_uses < 0 => return Err(last_use()),
                secrets::Outcome::Lease(offer) => offer,
            };
            tries += 1;
            match self.issue(mounted.clone(), incoming, offer, session).await {
                // What the offer was made from has changed meanwhile: the next one is made from what is now.
                Err(error) if error.kind() == Kind::Unavailable && tries < OFFERS => {}
                done => break done?,
            }
        };
        let envelope = Envelope {
            lease_id: issued.id,
            renewable: issued.renewable,
            lease_duration: issued.ttl,
            data: Some(issued.data.into()),
            warnings: (!issued.warnings.is_empty()).then_some(issued.warnings),
            ..Envelope::default()
        };
        Ok(Reply::Envelope { envelope: Box::new(envelope), duplicate: false, delivery: Some(issued.delivery) })
    }

    /// Issues in a task of its own: a caller who leaves half-way must not cut issuing in two. The answer that nobody takes is
    /// dropped, and its lease with it.
    async fn issue(
        &self,
        mounted: Arc<mount::Mounted<dyn SecretsEngine>>,
        incoming: &Incoming,
        offer: secrets::Offer,
        session: &Session,
    ) -> Result<Issued, Error> {
        let (leases, path) = (self.leases.clone(), incoming.path.clone());
        let asker = Asker { token: session.found.clone(), workload: incoming.workload.clone() };
        tokio::spawn(async move { leases.issue(mounted, &path, offer, &asker).await })
            .await
            .map_err(|error| Error::internal("issuing was interrupted").caused_by(error))?
    }
}

fn last_use() -> Error {
    Error::bad_request(
        "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.",
    )
}

pub(super) fn no_route(path: &str) -> Error {
    Error::new(Kind::NotFound, format!("no handler for route {path:?}. route entry not found."))
}
