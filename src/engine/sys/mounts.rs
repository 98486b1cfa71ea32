//! `sys/mounts`, `sys/auth` and `sys/internal/ui/mounts`: what is mounted where.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::builtin;
use crate::engine::core::Core;
use crate::engine::lease::revoke::Wait;
use crate::engine::mount::{self, Entry, Mounted, Table};
use crate::engine::request::{Incoming, Reply};
use crate::engine::session::Session;
use crate::secrets::kv;
use crate::wire::{Answer, Error, Fields, Kind, Operation};

/// Paths below which nothing may be mounted: the engine itself answers there.
const RESERVED: &[&str] = &["auth/", "sys/", "identity/", "cubbyhole/"];

impl Core {
    pub(super) async fn sys_mounts(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        // Only settings can be reached this way, too: the rest takes the sudo of `sys/auth/`.
        if let Some(path) = path.strip_prefix("auth/").filter(|path| path.ends_with("/tune")) {
            return self.sys_auth(operation, path, fields).await;
        }
        if path.is_empty() {
            let mut rows = mount::describe_all(&self.mounts, false);
            rows.extend(builtin::SECRETS.iter().map(|builtin| (builtin.path().to_owned(), builtin.describe(false))));
            return listing(operation, rows);
        }
        if let Some(path) = path.strip_suffix("/tune") {
            let name = mount::normal_path(path)?;
            if let Some(builtin) = builtin::at(&name) {
                return read_tuning(operation, &builtin.entry(false), self.shared.settings.limits, false);
            }
            let missing = || Error::bad_request(format!("cannot fetch sysview for path {name:?}"));
            let mounted = self.mounts.get(&name).ok_or_else(missing)?;
            if operation == Operation::Write && mounted.entry.kind == kv::SPEC.kind {
                return self.tune_kv(&mounted.entry, fields).await;
            }
            return self.tune(operation, &self.mounts, mounted, false, fields).await;
        }
        let name = mount::normal_path(path)?;
        match operation {
            Operation::Read => match self.mounts.get(&name) {
                Some(mounted) => Ok(Reply::duplicated(Answer::data(mounted.entry.describe(false)))),
                None => match builtin::at(&name) {
                    Some(builtin) => Ok(Reply::duplicated(Answer::data(builtin.describe(false)))),
                    None => Err(Error::bad_request(format!("No secret engine mount at {name}"))),
                },
            },
            Operation::Write => {
                if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
                    return Err(Error::bad_request(format!("path is already in use at {name}")));
                }
                let _no_namespace_comes = self.shared.directory.hold().await;
                self.check_free(&name)?;
                self.mounts.add(mount::new_entry(path, false, fields, &*self.shared.random)?).await?;
                if let Some(mounted) = self.mounts.get(&name) {
                    self.set_going(&mounted);
                }
                Ok(Reply::Empty(204))
            }
            Operation::Delete => self.unmount(&name, fields.bool("force")?.unwrap_or(false)).await,
            _ => Err(Error::unsupported_operation()),
        }
    }

    /// Refuses new requests first, then revokes every lease, then removes the mount: no lease loses its engine. Where a
    /// credential cannot be dropped the mount stays, answering nothing, until it can be, or until it is removed by force,
    /// which says which leases' users are left behind.
    pub(in crate::engine) async fn unmount(&self, name: &str, force: bool) -> Result<Reply, Error> {
        check_reserved("unmount", name)?;
        let Some(mounted) = self.mounts.get(name) else { return Ok(Reply::Empty(204)) };
        self.mounts.taint(name, true).await?;
        let ids = self.leases.below(name).await?;
        let mut left = Vec::new();
        if force {
            let names = self.leases.usernames(&ids).await?;
            let forgotten = self.leases.force(ids).await?;
            left.extend(forgotten.iter().map(|id| names.get(id).cloned().unwrap_or_else(|| id.clone())));
        } else {
            self.leases.revoke_all(ids, Wait::Sync).await?;
        }
        mounted.plugin.close().await;
        self.wipe(&format!("mount/{}/", mounted.entry.uuid)).await?;
        // Last: a mount that a crash leaves half removed can be removed again.
        self.mounts.remove(name).await?;
        if left.is_empty() {
            return Ok(Reply::Empty(204));
        }
        let warning = "these users could not be dropped and may be left behind: drop them by hand";
        Ok(Reply::answer(Answer::data(json!({ "left_behind": left })).warn(warning)))
    }

    /// Refuses a path that belongs to a namespace, or that one lies below.
    pub(super) fn check_free(&self, name: &str) -> Result<(), Error> {
        match self.shared.directory.hidden_by(&self.place.path, &self.place.full(name)) {
            Some(other) => Err(Error::bad_request(format!("path is already in use at {other}"))),
            None => Ok(()),
        }
    }

    async fn wipe(&self, prefix: &str) -> Result<(), Error> {
        let view = self.stored(prefix);
        for key in view.keys("").await? {
            view.delete(&key).await?;
        }
        Ok(())
    }

    pub(super) async fn sys_auth(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        if path.is_empty() {
            let mut rows = mount::describe_all(&self.methods, true);
            rows.insert(builtin::TOKEN.path().to_owned(), builtin::TOKEN.describe(true));
            return listing(operation, rows);
        }
        if let Some(path) = path.strip_suffix("/tune") {
            if path == "token" {
                return read_tuning(operation, &builtin::TOKEN.entry(true), self.shared.settings.limits, true);
            }
            let name = mount::normal_path(path)?;
            let missing = || Error::bad_request(format!("cannot fetch sysview for path {:?}", format!("auth/{name}")));
            let mounted = self.methods.get(&name).ok_or_else(missing)?;
            return self.tune(operation, &self.methods, mounted, true, fields).await;
        }
        let name = mount::normal_path(path)?;
        match operation {
            Operation::Read => match self.methods.get(&name) {
                Some(mounted) => Ok(Reply::duplicated(Answer::data(mounted.entry.describe(true)))),
                None if name == "token/" => Ok(Reply::duplicated(Answer::data(builtin::TOKEN.describe(true)))),
                None => Err(Error::bad_request(format!("No auth engine at {name}"))),
            },
            Operation::Write if name == "token/" => Err(Error::bad_request("path is already in use at token/")),
            Operation::Write => {
                self.methods.add(mount::new_entry(path, true, fields, &*self.shared.random)?).await?;
                Ok(Reply::Empty(204))
            }
            Operation::Delete if name == "token/" => {
                Err(Error::bad_request("token credential backend cannot be disabled"))
            }
            Operation::Delete => self.disable(&name).await,
            _ => Err(Error::unsupported_operation()),
        }
    }

    /// Removes a login method with the tokens that it made and the leases of its workloads: it goes last, so that one which a
    /// crash leaves half removed can be removed again, and meanwhile lets nobody in.
    async fn disable(&self, name: &str) -> Result<Reply, Error> {
        let Some(mounted) = self.methods.get(name) else { return Ok(Reply::Empty(204)) };
        self.methods.taint(name, true).await?;
        self.end_tokens_of(name).await?;
        self.leases.end_login(&mounted.entry.accessor).await?;
        self.wipe(&format!("auth/{}/", mounted.entry.uuid)).await?;
        self.lockouts.forget_mount(&mounted.entry.accessor).await?;
        self.methods.remove(name).await?;
        Ok(Reply::Empty(204))
    }

    /// Revokes the tokens that a login method made.
    pub(super) async fn end_tokens_of(&self, name: &str) -> Result<(), Error> {
        let prefix = format!("auth/{name}");
        for accessor in self.tokens.accessors().await? {
            if let Some(found) = self.tokens.find_accessor(&accessor).await?
                && found.token.path.starts_with(&prefix)
            {
                self.leases.end_token(&found.hash).await?;
            }
        }
        Ok(())
    }

    async fn tune<P: ?Sized>(
        &self,
        operation: Operation,
        table: &Table<P>,
        mounted: Arc<Mounted<P>>,
        login: bool,
        fields: &Fields,
    ) -> Result<Reply, Error> {
        if operation != Operation::Write {
            return read_tuning(operation, &mounted.entry, self.shared.settings.limits, login);
        }
        table.amend(&mounted.entry.path, |entry| entry.tune(fields)).await?;
        Ok(Reply::Empty(204))
    }

    /// Tunes a kv mount; `options.version` may go from 1 to 2, which takes the secrets along, and never back.
    async fn tune_kv(&self, before: &Entry, fields: &Fields) -> Result<Reply, Error> {
        let mut entry = before.clone();
        entry.tune(fields)?;
        let (old, new) = (kv::version(&before.options)?, kv::version(&entry.options)?);
        if new < old {
            return Err(Error::bad_request(format!("cannot downgrade mount from version {old}")));
        }
        if new == old {
            self.mounts.amend(&before.path, |entry| entry.tune(fields)).await?;
            return Ok(Reply::Empty(204));
        }
        self.mounts.reopen(&before.path, |entry| entry.tune(fields)).await?;
        let text = format!("Upgrading mount from version {old} to version {new}.");
        let rest = "This mount will be unavailable for a brief period and will resume service shortly.";
        Ok(Reply::answer(Answer::empty().warn(format!("{text} {rest}"))))
    }

    /// `sys/internal/ui/mounts`: with a token what it can reach, without one what is tuned to be listed.
    pub(in crate::engine) async fn visible_mounts(&self, incoming: &Incoming) -> Result<Reply, Error> {
        if incoming.operation != Operation::Read {
            return Err(Error::unsupported_operation());
        }
        let session = self.optional_session(incoming).await?;
        let visible = |path: &str, entry: &Entry| match &session {
            Some(session) => session.reaches(path),
            None => entry.listing_visibility == "unauth",
        };
        let row = |entry: &Entry, login: bool| match &session {
            Some(_) => entry.describe(login),
            None => json!({ "type": entry.kind, "description": entry.description, "options": entry.options }),
        };
        let (mut secret, mut auth) = (Map::new(), Map::new());
        for mounted in self.mounts.all().iter().filter(|mounted| visible(&mounted.entry.path, &mounted.entry)) {
            secret.insert(mounted.entry.path.clone(), row(&mounted.entry, false));
        }
        if let Some(session) = &session {
            let reached = builtin::SECRETS.iter().filter(|builtin| session.reaches(builtin.path()));
            secret.extend(reached.map(|builtin| (builtin.path().to_owned(), builtin.describe(false))));
        }
        for mounted in self.methods.all() {
            if visible(&format!("auth/{}", mounted.entry.path), &mounted.entry) {
                auth.insert(mounted.entry.path.clone(), row(&mounted.entry, true));
            }
        }
        Ok(Reply::answer(Answer::data(json!({ "secret": secret, "auth": auth }))))
    }

    /// `sys/internal/ui/mounts/:path`: the mount behind a path. Templates ask before every read, `database/creds/x` included.
    pub(super) fn mount_of(&self, path: &str, session: &Session) -> Result<Reply, Error> {
        let refused = || {
            let text = "preflight capability check returned 403, please ensure client's policies grant access to path";
            Error::new(Kind::Denied, format!("{text} {:?}", format!("{}/", path.trim_end_matches('/'))))
        };
        let found = match path.strip_prefix("auth/") {
            Some(rest) => self
                .methods
                .route(rest)
                .map(|(mounted, _)| (format!("auth/{}", mounted.entry.path), mounted.entry.describe(true))),
            None => match builtin::owner(path) {
                Some(builtin) => Some((builtin.path().to_owned(), builtin.describe(false))),
                None => self
                    .mounts
                    .route(path)
                    .map(|(mounted, _)| (mounted.entry.path.clone(), mounted.entry.describe(false))),
            },
        };
        let (mount, mut data) = found.ok_or_else(refused)?;
        if !session.reaches(&mount) {
            return Err(refused());
        }
        data["path"] = json!(mount);
        Ok(Reply::answer(Answer::data(data)))
    }
}

/// Refuses to touch what the engine itself answers.
pub(super) fn check_reserved(verb: &str, name: &str) -> Result<(), Error> {
    if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
        return Err(Error::bad_request(format!("cannot {verb} {name:?}")));
    }
    Ok(())
}

fn listing(operation: Operation, rows: Map<String, Value>) -> Result<Reply, Error> {
    match operation {
        Operation::Read => Ok(Reply::duplicated(Answer::data(rows.into()))),
        _ => Err(Error::unsupported_operation()),
    }
}

fn read_tuning(
    operation: Operation,
    entry: &Entry,
    server: crate::engine::ttl::Limits,
    login: bool,
) -> Result<Reply, Error> {
    if operation != Operation::Read {
        return Err(Error::unsupported_operation());
    }
    let limits = entry.limits(server);
    let mut data = Map::new();
    data.insert("default_lease_ttl".into(), json!(limits.default_ttl));
    data.insert("max_lease_ttl".into(), json!(limits.max_ttl));
    data.insert("description".into(), json!(entry.description));
    if entry.options.as_object().is_some_and(|options| !options.is_empty()) {
        data.insert("options".into(), entry.options.clone());
    }
    if !entry.listing_visibility.is_empty() {
        data.insert("listing_visibility".into(), json!(entry.listing_visibility));
    }
    entry.tuning.show(&mut data);
    if login {
        data.insert("token_type".into(), json!(entry.token_type()));
    }
    Ok(Reply::duplicated(Answer::data(data.into())))
}
