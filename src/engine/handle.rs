//! The one path of every request that needs storage: [`Core::handle`].

use std::sync::Arc;

use super::audit::trail::Trail;
use super::core::Core;
use super::issuing::no_route;
use super::request::{Incoming, Reply};
use super::routes::Check;
use super::seal::Area;
use super::session::{Session, caller};
use super::{openapi, wrapping};
use crate::wire::{Error, Fields, Guard, Operation, Request};

impl Core {
    /// Answers one request: token, policy, plug-in.
    ///
    /// # Errors
    /// As vault-api.md says; every error becomes HTTP in `server/error.rs`.
    pub async fn handle(self: &Arc<Self>, incoming: Incoming) -> Result<Reply, Error> {
        let _under_way = self.shared.flights.begin(&incoming, &self.place, self.shared.clock.now());
        if let Err(refused) = self.shared.rate_limits.admit(&self.place.full(&incoming.path), incoming.address) {
            return match self.shared.rate_limits.settings().enable_rate_limit_audit_logging {
                true => self.finish(self.follow(&incoming), Err(refused)).await,
                false => Err(refused),
            };
        }
        let mut trail = self.follow(&incoming);
        let result = self.wrapped(incoming, &mut trail).await;
        self.finish(trail, result).await
    }

    /// Answers a request that comes with shares in place of a token: recorded like every other one, because whoever looks for
    /// what became of the keys looks there.
    ///
    /// # Errors
    /// As [`Core::handle`].
    pub(super) async fn handle_shares(&self, (area, path): (Area, &str), incoming: &Incoming) -> Result<Reply, Error> {
        let mut trail = self.follow(incoming);
        trail.record().await?;
        let answered = self.with_shares((area, path), incoming.operation, &incoming.fields.in_any_case()).await;
        let reply = answered.map(|answer| answer.map_or(Reply::Empty(204), |answer| Reply::Raw(200, answer)));
        self.finish(trail, reply).await
    }

    async fn wrapped(self: &Arc<Self>, incoming: Incoming, trail: &mut Trail) -> Result<Reply, Error> {
        let Some(ttl) = wrapping::wanted(&incoming)? else { return self.answer(incoming, trail).await };
        let path = incoming.path.clone();
        let reply = self.answer(incoming, trail).await?;
        self.wrap(reply, &path, ttl).await
    }

    /// Token and policy; from the point where `trail` recorded the request on, it is carried out.
    async fn answer(self: &Arc<Self>, mut incoming: Incoming, trail: &mut Trail) -> Result<Reply, Error> {
        if incoming.operation == Operation::Help {
            return self.help(&incoming, trail).await;
        }
        let found = self.look_up(&incoming.path, incoming.operation);
        if let Some((mounted, rest)) = self.login_path(&incoming.path) {
            trail.record().await?;
            let check = Check::begin(found, &incoming.fields)?;
            return check.end(self.login(&mounted, rest, incoming).await?);
        }
        if matches!(incoming.path.as_str(), "sys/internal/ui/mounts" | openapi::PATH) {
            trail.record().await?;
            let check = Check::begin(found, &incoming.fields)?;
            let shows_mounts = incoming.path != openapi::PATH;
            return check.end(match shows_mounts {
                true => self.visible_mounts(&incoming).await?,
                false => self.openapi(&incoming).await?,
            });
        }
        if incoming.path.starts_with("sys/wrapping/") {
            // A wrapping token may do this without being anybody's session.
            trail.record().await?;
        }
        if let Some(reply) = self.by_wrapping_token(&incoming).await? {
            return Ok(reply);
        }
        let mut session = self.session(&incoming).await?;
        trail.seen(&session);
        self.authorize(&session, &incoming, found.map_or(Guard::Token, |found| found.guard())).await?;
        if trail.is_on() && incoming.operation == Operation::Write {
            trail.writes(self.exists(&incoming.path, &session).await?);
        }
        trail.allowed();
        trail.record().await?;
        session.home(self).note_client(&session.found.token).await;
        let limited = session.found.token.num_uses > 0;
        if limited && !self.tokens.use_once(&mut session.found).await? {
            return Err(Error::denied());
        }
        let reply = match Check::begin(found, &incoming.fields) {
            Ok(check) => {
                let fields = std::mem::take(&mut incoming.fields);
                self.carry_out(&incoming, fields, &session).await.and_then(|reply| check.end(reply))
            }
            Err(unknown) => Err(unknown),
        };
        if limited && session.found.token.num_uses < 0 {
            self.leases.end_token(&session.found.hash).await?;
        }
        reply
    }

    async fn carry_out(&self, incoming: &Incoming, fields: Fields, session: &Session) -> Result<Reply, Error> {
        let path = incoming.path.as_str();
        match path.split_once('/').unwrap_or((path, "")) {
            ("sys", rest) => self.sys(rest, incoming, &fields, session).await,
            ("auth", rest) => match rest.strip_prefix("token/") {
                Some(rest) => self.token_api(rest, incoming, &fields, session).await,
                None => self.method(rest, incoming, fields, session).await,
            },
            ("identity", rest) => self.identity_api(rest, incoming.operation, &fields).await,
            // A token has one cubbyhole, wherever it acts.
            ("cubbyhole", rest) => session.home(self).cubbyhole(rest, incoming.operation, &fields, session).await,
            _ => self.secrets(incoming, fields, session).await,
        }
    }

    async fn method(&self, path: &str, incoming: &Incoming, fields: Fields, session: &Session) -> Result<Reply, Error> {
        let (mounted, rest) = self.methods.route(path).ok_or_else(|| no_route(&incoming.path))?;
        if mounted.entry.tainted {
            return Err(no_route(&incoming.path));
        }
        let request =
            Request { operation: incoming.operation, path: rest.to_owned(), fields, caller: caller(incoming, session) };
        self.outcome(mounted.plugin.handle(request).await?, (&incoming.path, incoming.address), &mounted.entry).await
    }
}
