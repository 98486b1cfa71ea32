//! The endpoints that answer without a token and without an envelope: health, seal status, leader, init.

use serde_json::{Value, json};

use super::Engine;
use super::request::{Incoming, Reply};
use crate::wire::health::{Health, SealStatus};
use crate::wire::{Error, Fields, Kind, Operation};

/// The version that clients gate features by: strict SemVer, and a Vault version whose API we serve.
pub const VERSION: &str = concat!("1.18.0+lessor.", env!("CARGO_PKG_VERSION"));

/// The status endpoints. The others below `sys/` need storage and so an unsealed engine.
pub const PATHS: &[&str] = &["sys/health", "sys/init", "sys/leader", "sys/seal-status", "sys/unseal"];

impl Engine {
    pub(super) async fn status(&self, incoming: &Incoming) -> Result<Reply, Error> {
        if incoming.namespace.is_some() && !matches!(incoming.path.as_str(), "sys/seal-status" | "sys/leader") {
            return Err(Error::bad_request("operation unavailable in namespaces"));
        }
        match (incoming.operation, incoming.path.as_str()) {
            (Operation::Read, "sys/health") => self.health(&incoming.fields).await,
            (Operation::Read, "sys/seal-status") => Ok(Reply::Raw(200, json!(self.seal_status().await?))),
            (Operation::Read, "sys/leader") => Ok(Reply::Raw(200, json!({ "ha_enabled": false }))),
            (Operation::Read, "sys/init") => {
                Ok(Reply::Raw(200, json!({ "initialized": self.is_initialized().await? })))
            }
            (Operation::Write, "sys/init") => Ok(Reply::Raw(200, self.init_over_api(&incoming.fields).await?)),
            (Operation::Write, "sys/unseal") => {
                // Nothing to be handed in: the seal's key is in the configuration. Asking is harmless, so try again.
                self.unseal().await?;
                Ok(Reply::Raw(200, json!(self.seal_status().await?)))
            }
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
            server_time_utc: self.clock().now().as_second(),
            version: VERSION.into(),
            cluster_name,
            cluster_id,
        };
        Ok(Reply::Raw(status, json!(health)))
    }

    async fn seal_status(&self) -> Result<SealStatus, Error> {
        let (cluster_name, cluster_id) = self.cluster();
        let shares = self.seal_shares().await?;
        Ok(SealStatus {
            kind: self.seal_kind().into(),
            initialized: self.is_initialized().await?,
            sealed: self.core().is_none(),
            t: shares.1,
            n: shares.0,
            progress: 0,
            nonce: String::new(),
            version: VERSION.into(),
            build_date: String::new(),
            commit_date: String::new(),
            migration: false,
            cluster_name,
            cluster_id,
            recovery_seal: true,
            storage_type: self.storage_name().into(),
        })
    }

    async fn init_over_api(&self, fields: &Fields) -> Result<Value, Error> {
        if fields.count("secret_shares")?.is_some_and(|shares| shares > 0)
            && !fields.has("recovery_shares")
            && self.seal_kind() != "shamir"
        {
            return Err(Error::bad_request(format!(
                "parameters secret_shares,secret_threshold not applicable to seal type {}: use recovery_shares and recovery_threshold",
                self.seal_kind()
            )));
        }
        let count = |name: &str, default: u64| Ok::<_, Error>(fields.count(name)?.unwrap_or(default));
        let shares = count("recovery_shares", 1)?;
        let threshold = count("recovery_threshold", shares.min(1))?;
        let made = self.initialize(shares, threshold).await?;
        Ok(json!({
            "keys": [], "keys_base64": [],
            "recovery_keys": made.recovery_keys_hex(), "recovery_keys_base64": made.recovery_keys_base64(),
            "root_token": made.root_token.expose(),
        }))
    }
}
