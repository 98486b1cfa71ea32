//! The unsealed engine: token, policy, plug-in, answer. Every request that needs storage takes the one path of [`Core::handle`].

use std::sync::Arc;

use super::audit::Audits;
use super::audit::trail::Trail;
use super::cors::Browsers;
use super::identity::Identity;
use super::identity::entity::Entity;
use super::lease::book::{Book, Slot};
use super::lease::issue::{Asker, Issued};
use super::lease::{Leases, Parts};
use super::policies::{Access, Policies};
use super::quota::Quotas;
use super::rate_limit::RateLimits;
use super::request::{Incoming, Reply};
use super::rotation::Rotations;
use super::routes::Check;
use super::seal::Keeper;
use super::sys::{Flights, Moves};
use super::token::{Found, Token, Tokens};
use super::token_create::from_login;
use super::ttl::Limits;
use super::{due, identity, mount, openapi, wrapping};
use crate::auth::{self, Login, Method};
use crate::base::shutdown::Shutdown;
use crate::base::{Clock, Random};
use crate::secrets::password_policy::PasswordPolicies;
use crate::secrets::{self, SecretsEngine};
use crate::storage::{Backend, View};
use crate::wire::{Answer, Caller, Envelope, Error, Fields, Guard, Keep, Operation, Request};

/// Where engines answer what `sys/lessor/` asks them; below a mount nobody else reaches it.
pub(super) const OWN: &str = "lessor/";

/// How often a request is answered anew because the role or connection was changed under it.
const OFFERS: u32 = 8;

/// What of the configuration the core uses.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Limits of mounts that set none themselves.
    pub limits: Limits,
    /// Shown in health and seal status; a name is made when there is none.
    pub cluster_name: Option<String>,
}

/// Everything that exists only while the engine is unsealed.
pub struct Core {
    pub(super) mounts: Arc<mount::Table<dyn SecretsEngine>>,
    pub(super) methods: mount::Table<dyn Method>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) policies: Policies,
    pub(super) identity: Identity,
    pub(super) passwords: PasswordPolicies,
    pub(super) leases: Arc<Leases>,
    pub(super) audits: Audits,
    pub(super) keeper: Arc<Keeper>,
    pub(super) rotation: Arc<Rotations>,
    pub(super) rate_limits: RateLimits,
    pub(super) browsers: Browsers,
    pub(super) moves: Moves,
    pub(super) flights: Flights,
    pub(super) settings: Settings,
    pub(super) random: Arc<dyn Random>,
    pub(super) clock: Arc<dyn Clock>,
    store: Arc<dyn Backend>,
    shutdown: Shutdown,
}

/// A caller whose token was found.
pub(super) struct Session {
    pub(super) found: Found,
    pub(super) entity: Option<Arc<Entity>>,
    pub(super) access: Arc<Access>,
}

impl Core {
    /// Loads mounts and policies from an unsealed store and starts expiry, which runs until `shutdown`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(
        store: Arc<dyn Backend>,
        keeper: Arc<Keeper>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, Error> {
        let view = View::new(store.clone(), "sys/");
        let slot = Slot::default();
        let passwords = PasswordPolicies::new(view.sub("password-policy"));
        let open = open_secrets(store.clone(), clock.clone(), random.clone(), slot.clone(), passwords.clone());
        let mounts = Arc::new(mount::Table::load(view.sub("core"), "mounts", open).await?);
        let open = open_method(store.clone(), clock.clone(), random.clone());
        let methods = mount::Table::load(view.sub("core"), "auth", open).await?;
        let due = due::Index::new(view.sub("due"));
        let tokens = Tokens::open(view.sub("token"), due.clone(), clock.clone(), random.clone()).await?;
        let tokens = Arc::new(tokens);
        let (leases, undelivered) = Leases::open(Parts {
            view: view.clone(),
            due,
            mounts: mounts.clone(),
            tokens: tokens.clone(),
            limits: settings.limits,
            quotas: Quotas::load(view.sub("quota"), view.sub("lease")).await?,
            clock: clock.clone(),
            random: random.clone(),
        });
        // Nobody else has set it: this slot is of this call.
        let _ = slot.set(Arc::downgrade(&leases));
        tokio::spawn(leases.clone().run(undelivered, shutdown.clone()));
        let policies = Policies::load(view.sub("policy")).await?;
        let identity = Identity::new(view.sub("identity"), clock.clone(), random.clone());
        let audits = Audits::load(view.sub("audit"), clock.clone(), random.clone()).await?;
        let rotation = Arc::new(Rotations::load(view.sub("core")).await?);
        tokio::spawn(rotation.clone().run(keeper.barrier().clone(), clock.clone(), shutdown.clone()));
        let core = Self {
            mounts,
            methods,
            tokens,
            policies,
            identity,
            passwords,
            leases,
            audits,
            keeper,
            rotation,
            rate_limits: RateLimits::load(view.sub("rate-limit"), clock.clone()).await?,
            browsers: Browsers::load(view.sub("core")).await?,
            moves: Moves::default(),
            flights: Flights::default(),
            settings,
            random,
            clock,
            store,
            shutdown,
        };
        for mounted in core.mounts.all() {
            core.set_going(&mounted);
        }
        Ok(Arc::new(core))
    }

    /// Starts what a secrets engine does on its own.
    pub(super) fn set_going(&self, mounted: &mount::Mounted<dyn SecretsEngine>) {
        tokio::spawn(mounted.plugin.clone().run(self.shutdown.clone()));
    }

    /// The store, for what must be read without a token (bootstrap).
    pub(super) fn store(&self) -> &Arc<dyn Backend> {
        &self.store
    }

    /// Answers one request: token, policy, plug-in.
    ///
    /// # Errors
    /// As vault-api.md says; every error becomes HTTP in `server/error.rs`.
    pub async fn handle(self: &Arc<Self>, incoming: Incoming) -> Result<Reply, Error> {
        let _under_way = self.flights.begin(&incoming, self.clock.now());
        if let Err(refused) = self.rate_limits.admit(&incoming.path, incoming.address) {
            return match self.rate_limits.settings().enable_rate_limit_audit_logging {
                true => self.finish(self.follow(&incoming), Err(refused)).await,
                false => Err(refused),
            };
        }
        let mut trail = self.follow(&incoming);
        let result = self.wrapped(incoming, &mut trail).await;
        self.finish(trail, result).await
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
            ("cubbyhole", rest) => self.cubbyhole(rest, incoming.operation, &fields, session).await,
            _ => self.secrets(incoming, fields, session).await,
        }
    }

    /// The method that answers `path` without a token, and the rest of the path.
    fn login_path(&self, path: &str) -> Option<(Arc<mount::Mounted<dyn Method>>, String)> {
        let (mounted, rest) = self.methods.route(path.strip_prefix("auth/")?)?;
        mounted.plugin.is_login(rest).then(|| (mounted, rest.to_owned()))
    }

    pub(super) async fn session(&self, incoming: &Incoming) -> Result<Session, Error> {
        let token = incoming.token.as_ref().ok_or_else(Error::denied)?;
        let found = self.tokens.find(token).await?.ok_or_else(Error::denied)?;
        if !auth::cidr::admits(&found.token.bound_cidrs, incoming.address) {
            return Err(Error::denied());
        }
        let entity = self.entity_of(&found.token).await?;
        let access = self.access_with(&found.token, entity.as_ref());
        Ok(Session { found, entity, access })
    }

    /// What a token may do: by its own policies, and by those of its entity.
    pub(super) async fn access_of(&self, token: &Token) -> Result<Arc<Access>, Error> {
        Ok(self.access_with(token, self.entity_of(token).await?.as_ref()))
    }

    fn access_with(&self, token: &Token, entity: Option<&Arc<Entity>>) -> Arc<Access> {
        match entity.filter(|entity| !entity.policies.is_empty()) {
            Some(with) => self.policies.access(&with.all_policies(&token.policies), entity),
            None => self.policies.access(&token.policies, entity),
        }
    }

    /// The entity of a token; a token whose entity is gone or disabled is good for nothing.
    pub(super) async fn entity_of(&self, token: &Token) -> Result<Option<Arc<Entity>>, Error> {
        if token.entity_id.is_empty() {
            return Ok(None);
        }
        let entity = self.identity.get(&token.entity_id).await?.filter(|entity| !entity.disabled);
        entity.map(Some).ok_or_else(Error::denied)
    }

    /// The token of a request that may come without one.
    pub(super) async fn optional_session(&self, incoming: &Incoming) -> Result<Option<Session>, Error> {
        if incoming.token.is_none() { Ok(None) } else { self.session(incoming).await.map(Some) }
    }

    async fn authorize(&self, session: &Session, incoming: &Incoming, guard: Guard) -> Result<(), Error> {
        if session.access.is_root() {
            return Ok(());
        }
        let Incoming { operation, path, fields, .. } = incoming;
        let wrap = wrapping::wanted(incoming)?;
        let allowed = match operation {
            // Asking the plug-in costs a read, so only where the answer matters.
            Operation::Write => match session.access.may_write(path, fields, wrap) {
                (true, true) => true,
                (false, false) => false,
                (create, update) => {
                    if self.exists(path, session).await? {
                        update
                    } else {
                        create
                    }
                }
            },
            operation => session.access.may(*operation, path, fields, wrap),
        };
        let may = match guard {
            Guard::Open | Guard::Looked => true,
            Guard::Token => allowed,
            Guard::Sudo => allowed && session.access.has_sudo(path),
        };
        if may { Ok(()) } else { Err(Error::listed(crate::wire::Kind::Denied, "permission denied")) }
    }

    /// Whether a write would update something. What has no notion of it (`sys`, tokens) counts as existing, as in Vault.
    async fn exists(&self, path: &str, session: &Session) -> Result<bool, Error> {
        if let Some(path) = path.strip_prefix("cubbyhole/") {
            return Ok(self.tokens.kept(&session.found.hash, path).await?.is_some());
        }
        if let Some(role) = path.strip_prefix("auth/token/roles/") {
            return Ok(self.tokens.role(role).await?.is_some());
        }
        if ["sys/", "auth/token/", "identity/"].iter().any(|own| path.starts_with(own)) {
            return Ok(true);
        }
        if let Some(path) = path.strip_prefix("auth/") {
            return match self.methods.route(path) {
                Some((mounted, rest)) => mounted.plugin.exists(rest).await,
                None => Ok(false),
            };
        }
        match self.mounts.route(path) {
            Some((mounted, rest)) => mounted.plugin.exists(rest).await,
            None => Ok(false),
        }
    }

    async fn login(
        &self,
        mounted: &mount::Mounted<dyn Method>,
        path: String,
        incoming: Incoming,
    ) -> Result<Reply, Error> {
        let caller = Caller { address: incoming.address, ..Caller::default() };
        let request = Request { operation: incoming.operation, path, fields: incoming.fields, caller };
        match mounted.plugin.handle(request).await? {
            auth::Outcome::Answer(answer) => Ok(Reply::answer(answer)),
            auth::Outcome::Login(login) => self.make_token(*login, &incoming.path, &mounted.entry).await,
        }
    }

    async fn make_token(&self, login: Login, path: &str, mount: &mount::Entry) -> Result<Reply, Error> {
        let entity = match &login.alias {
            Some(alias) => Some(self.identity.of_login(&identity::Mount::of(mount), alias).await?),
            None => None,
        };
        let mut token = from_login(login, path, mount.token_type);
        token.entity_id = entity.as_ref().map(|entity| entity.id.clone()).unwrap_or_default();
        let made = self.tokens.create(token, None, mount.limits(self.settings.limits)).await?;
        let auth = made.token.auth(Some(&made.id), made.token.creation_ttl);
        let auth = entity.iter().fold(auth, |auth, entity| entity.complete(auth));
        Ok(Reply::auth(auth, made.warnings))
    }

    async fn method(&self, path: &str, incoming: &Incoming, fields: Fields, session: &Session) -> Result<Reply, Error> {
        let (mounted, rest) = self.methods.route(path).ok_or_else(|| no_route(&incoming.path))?;
        let request =
            Request { operation: incoming.operation, path: rest.to_owned(), fields, caller: caller(incoming, session) };
        match mounted.plugin.handle(request).await? {
            auth::Outcome::Answer(answer) => Ok(Reply::answer(answer)),
            auth::Outcome::Login(login) => self.make_token(*login, &incoming.path, &mounted.entry).await,
        }
    }

    async fn secrets(&self, incoming: &Incoming, fields: Fields, session: &Session) -> Result<Reply, Error> {
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
                        answer.keep = Some(Keep::Seconds(mounted.entry.limits(self.settings.limits).default_ttl));
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
                Err(error) if error.kind() == crate::wire::Kind::Unavailable && tries < OFFERS => {}
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

pub(super) fn caller(incoming: &Incoming, session: &Session) -> Caller {
    Caller {
        display_name: session.found.token.display_name.clone(),
        entity_id: session.found.token.entity_id.clone(),
        address: incoming.address,
    }
}

fn last_use() -> Error {
    Error::bad_request(
        "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.",
    )
}

fn no_route(path: &str) -> Error {
    Error::new(crate::wire::Kind::NotFound, format!("no handler for route {path:?}. route entry not found."))
}

fn open_secrets(
    store: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    slot: Slot,
    passwords: PasswordPolicies,
) -> mount::Open<dyn SecretsEngine> {
    Box::new(move |entry| {
        let spec = secrets::TABLE.iter().find(|spec| spec.kind == entry.kind)?;
        let view = View::new(store.clone(), format!("mount/{}/", entry.uuid));
        let (uuid, leases) = (entry.uuid.clone(), Book::new(slot.clone(), entry));
        let (clock, random, passwords) = (clock.clone(), random.clone(), passwords.clone());
        let options = entry.options.clone();
        Some((spec.open)(secrets::Setup { view, uuid, options, clock, random, leases, passwords }))
    })
}

fn open_method(store: Arc<dyn Backend>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> mount::Open<dyn Method> {
    Box::new(move |entry| {
        let spec = auth::TABLE.iter().find(|spec| spec.kind == entry.kind)?;
        let view = View::new(store.clone(), format!("auth/{}/", entry.uuid));
        let mount = entry.path.trim_end_matches('/').to_owned();
        Some((spec.open)(auth::Setup { view, clock: clock.clone(), random: random.clone(), mount }))
    })
}

fn envelope(answer: Answer) -> Envelope {
    let lease_duration = match answer.keep {
        Some(Keep::Seconds(seconds)) => seconds,
        Some(Keep::MountDefault) | None => 0,
    };
    let warnings = (!answer.warnings.is_empty()).then_some(answer.warnings);
    Envelope { data: answer.data, lease_duration, warnings, ..Envelope::default() }
}

impl Reply {
    /// A plain answer: 204 when there is nothing to say.
    pub fn answer(answer: Answer) -> Self {
        if answer.missing {
            return Self::Missing(Box::new(envelope(answer)));
        }
        if answer.data.is_none() && answer.warnings.is_empty() {
            return Self::Empty(204);
        }
        Self::envelope(answer, false)
    }

    /// An answer whose keys are repeated at the top level.
    pub fn duplicated(answer: Answer) -> Self {
        Self::envelope(answer, true)
    }

    fn envelope(answer: Answer, duplicate: bool) -> Self {
        Self::Envelope { envelope: Box::new(envelope(answer)), duplicate, delivery: None }
    }

    /// An answer that hands out or prolongs a token.
    pub fn auth(auth: crate::wire::Auth, warnings: Vec<String>) -> Self {
        let warnings = (!warnings.is_empty()).then_some(warnings);
        let envelope = Envelope { auth: Some(auth), warnings, ..Envelope::default() };
        Self::Envelope { envelope: Box::new(envelope), duplicate: false, delivery: None }
    }
}
