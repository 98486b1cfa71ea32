//! The endpoints that answer without a token and without an envelope: health, seal status, leader, init.

use serde_json::{Value, json};

use super::Engine;
use super::request::{Incoming, Reply};
use super::seal::Sealing;
use super::seal::pgp::{self, Readers};
use super::seal::shamir::Scheme;
use crate::wire::health::{Health, SealStatus};
use crate::wire::{Error, Fields, Kind, Operation};

/// The version that clients gate features by: strict SemVer, and a Vault version whose API we serve.
pub const VERSION: &str = concat!("1.18.0+lessor.", env!("CARGO_PKG_VERSION"));

/// The status endpoints. The others below `sys/` need storage and so an unsealed engine.
pub const PATHS: &[&str] = &["sys/health", "sys/init", "sys/leader", "sys/seal-status", "sys/unseal"];

/// Those that answer in namespaces, too.
const EVERYWHERE: &[&str] = &["sys/leader", "sys/seal-status"];

/// The status endpoint that a path means. A sealed engine knows no namespaces, so that what stands before it says nothing there.
pub(super) fn path_of(path: &str, sealed: bool) -> Option<&'static str> {
    let below =
        |own: &str| sealed && EVERYWHERE.contains(&own) && path.strip_suffix(own).is_some_and(|l| l.ends_with('/'));
    PATHS.iter().copied().find(|own| path == *own || below(own))
}

impl Engine {
    pub(super) async fn status(&self, incoming: &Incoming) -> Result<Reply, Error> {
        if incoming.namespace.is_some() && !EVERYWHERE.contains(&incoming.path.as_str()) {
            return Err(Error::bad_request("operation unavailable in namespaces"));
        }
        super::routes::early(incoming)?;
        match (incoming.operation, incoming.path.as_str()) {
            (Operation::Read, "sys/health") => self.health(&incoming.fields).await,
            (Operation::Read, "sys/seal-status") => Ok(Reply::Raw(200, json!(self.seal_status().await?))),
            (Operation::Read, "sys/leader") => Ok(Reply::Raw(200, json!({ "ha_enabled": false }))),
            (Operation::Read, "sys/init") => {
                Ok(Reply::Raw(200, json!({ "initialized": self.is_initialized().await? })))
            }
            (Operation::Write, "sys/init") => Ok(Reply::Raw(200, self.init_over_api(&incoming.fields).await?)),
            (Operation::Write, "sys/unseal") => self.unseal_over_api(&incoming.fields).await,
            _ => Err(Error::silent(Kind::Unsupported)),
        }
    }

    async fn health(&self, query: &Fields) -> Result<Reply, Error> {
        let initialized = self.is_initialized().await?;
        let sealed = self.core().is_none();
        let code =
            |name: &str, default: u16| match query.string(name)? {
                None => Ok(default),
                Some(text) => text.parse::<u16>().ok().filter(|code| (100..1000).contains(code)).ok_or_else(|| {
                    Error::bad_request(format!("bad value {text:?} for {name:?}: expected an HTTP status"))
                }),
            };
        let status = match (initialized, sealed) {
            (false, _) => code("uninitcode", 501)?,
            (true, true) => code("sealedcode", 503)?,
            (true, false) => code("activecode", 200)?,
        };
        let (cluster_name, cluster_id) = self.cluster();
        let health = Health {
            initialized,
            sealed,
            standby: false,
            performance_standby: false,
            replication_performance_mode: "disabled".into(),
            replication_dr_mode: "disabled".into(),
            server_time_utc: self.clock.now().as_second(),
            version: VERSION.into(),
            cluster_name,
            cluster_id,
        };
        Ok(Reply::Raw(status, json!(health)))
    }

    /// Takes a share; with a seal that opens itself it tries that again, which is harmless. Field names in any case, as in
    /// Vault.
    async fn unseal_over_api(&self, fields: &Fields) -> Result<Reply, Error> {
        let fields = fields.in_any_case();
        if fields.bool("migrate")?.unwrap_or(false) {
            let text = "'migrate' is not offered: an engine keeps the kind of seal that it was initialised with";
            return Err(Error::bad_request(text));
        }
        let share = fields.secret("key")?.filter(|key| !key.is_empty());
        let auto = self.keeper.sealing().is_auto();
        match share {
            _ if fields.bool("reset")?.unwrap_or(false) => self.keeper.forget_shares().await,
            _ if auto => self.unseal().await?,
            Some(share) => self.unseal_with(&share).await?,
            None => {
                let text = "'key' must be specified in request body as JSON, or 'reset' set to true";
                return Err(Error::bad_request(text));
            }
        }
        Ok(Reply::Raw(200, json!(self.seal_status().await?)))
    }

    async fn seal_status(&self) -> Result<SealStatus, Error> {
        let (cluster_name, cluster_id) = self.cluster();
        let (n, t) = self.keeper.shares().await?;
        let (progress, nonce) = self.keeper.progress().await;
        Ok(SealStatus {
            kind: self.keeper.sealing().kind().into(),
            initialized: self.is_initialized().await?,
            sealed: self.core().is_none(),
            t: t.into(),
            n: n.into(),
            progress,
            nonce,
            version: VERSION.into(),
            build_date: String::new(),
            commit_date: String::new(),
            migration: false,
            cluster_name,
            cluster_id,
            recovery_seal: self.keeper.sealing().is_auto(),
            storage_type: self.storage_name.into(),
        })
    }

    async fn init_over_api(&self, fields: &Fields) -> Result<Value, Error> {
        if self.is_initialized().await? {
            return Err(Error::bad_request("Vault is already initialized"));
        }
        let scheme = wanted_scheme(self.keeper.sealing(), fields)?;
        let readers = self.readers(scheme, fields).await?;
        let made = self.initialize_for(scheme, &readers).await?;
        let (hex, base64) = made.shares.shown();
        if self.keeper.sealing().is_auto() {
            return Ok(json!({
                "keys": [], "keys_base64": [], "recovery_keys": hex, "recovery_keys_base64": base64,
                "root_token": made.root_token.expose(),
            }));
        }
        // Whoever got the shares shows that they work, before anything depends on them.
        self.seal().await;
        Ok(json!({ "keys": hex, "keys_base64": base64, "root_token": made.root_token.expose() }))
    }

    /// Whom an initialisation encrypts for.
    async fn readers(&self, scheme: Scheme, fields: &Fields) -> Result<Readers, Error> {
        let (own, other) = match self.keeper.sealing().is_auto() {
            true => ("recovery_pgp_keys", "pgp_keys"),
            false => ("pgp_keys", "recovery_pgp_keys"),
        };
        if fields.comma_list(other)?.is_some_and(|keys| !keys.is_empty()) {
            let kind = self.keeper.sealing().kind();
            return Err(Error::bad_request(format!("parameter {other} not applicable to seal type {kind}: use {own}")));
        }
        let (now, number) = (self.clock.now(), (scheme.shares(), "incorrect number of PGP keys"));
        Ok(Readers {
            shares: pgp::recipients(fields, own, number, now, &self.random).await?,
            root_token: pgp::recipient(fields, "root_token_pgp_key", now, &self.random).await?,
        })
    }
}

/// How many shares an initialisation asks for.
fn wanted_scheme(sealing: &Sealing, fields: &Fields) -> Result<Scheme, Error> {
    let (own, other) = if sealing.is_auto() { ("recovery", "secret") } else { ("secret", "recovery") };
    let count = |kind: &str, what: &str| fields.count(&format!("{kind}_{what}"));
    // Zeros for what the seal has not are what Vault's CLI sends.
    if count(other, "shares")?.is_some_and(|shares| shares > 0) && count(own, "shares")?.is_none() {
        return Err(Error::bad_request(format!(
            "parameters {other}_shares,{other}_threshold not applicable to seal type {}: use {own}_shares and {own}_threshold",
            sealing.kind()
        )));
    }
    let shares = count(own, "shares")?.unwrap_or(if sealing.is_auto() { 1 } else { 0 });
    let threshold = count(own, "threshold")?.unwrap_or(shares.min(1));
    Scheme::new(shares, threshold)
        .map_err(|problem| Error::bad_request(format!("invalid {own}_shares or {own}_threshold: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_engine_tells_its_state_below_any_namespace_and_an_open_one_below_its_own() {
        assert_eq!(path_of("team/sys/leader", true), Some("sys/leader"));
        assert_eq!(path_of("team/sys/health", true), None);
        assert_eq!(path_of("secret/sys/leader", false), None, "a secret may be called so");
        assert_eq!(path_of("sys/seal-status", false), Some("sys/seal-status"));
    }
}
