//! Audit: which devices are on, and the rule that what none of them can record is not done.
//!
//! `trail.rs` follows one request through the engine; `sys/audit.rs` is the API.

pub mod trail;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::form::Form;
use crate::audit::{self, Device, Options, entry};
use crate::base::{Clock, Random, Secret};
use crate::storage::View;
use crate::wire::{Error, Fields};

/// Where in the part of the store the header list lies, beside the devices.
const HEADERS: &str = "request-headers";

/// Headers that carry tokens: never recorded, whatever the list says.
const TOKENS: &[&str] = &["x-vault-token", "authorization"];

/// A device as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    /// `file/`.
    pub path: String,
    /// The type in [`audit::TABLE`].
    pub kind: String,
    /// For people.
    pub description: String,
    /// As they were given.
    pub options: Options,
    /// As it was given; there is no replication that it could concern.
    pub local: bool,
    /// Key of the hashes, so that those of two devices cannot be compared.
    salt: String,
}

/// A device that is on.
struct Enabled {
    record: Record,
    form: Form,
    device: Arc<dyn Device>,
    /// Whether the last entry was lost, so that the log says it once.
    failing: AtomicBool,
}

impl Enabled {
    fn open(record: Record) -> Result<Self, Error> {
        let spec = audit::TABLE.iter().find(|spec| spec.kind == record.kind);
        let spec = spec.ok_or_else(|| Error::bad_request(format!("unknown backend type: {:?}", record.kind)))?;
        let form = Form::new(&record.options, &Secret::new(record.salt.clone()))?;
        let device = (spec.open)(&record.options)?;
        Ok(Self { record, form, device, failing: AtomicBool::new(false) })
    }

    async fn write(&self, entry: &Value) -> std::io::Result<()> {
        let written = self.device.write(self.form.line(entry)).await;
        let failed = written.is_err();
        if self.failing.swap(failed, Ordering::Relaxed) != failed {
            let device = &self.record.path;
            match &written {
                Err(error) => tracing::error!(device, %error, "the audit device takes no entries"),
                Ok(()) => tracing::info!(device, "the audit device takes entries again"),
            }
        }
        written
    }
}

/// All devices of the engine.
pub struct Audits {
    view: View,
    devices: RwLock<Arc<Vec<Arc<Enabled>>>>,
    headers: RwLock<Arc<BTreeMap<String, bool>>>,
    changing: tokio::sync::Mutex<()>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Audits {
    /// The devices stored in `view`. One that cannot be opened stays on, and takes nothing until it can be.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self, Error> {
        let mut devices = Vec::new();
        for path in view.keys("device/").await? {
            if let Some((record, _)) = view.get::<Record>(&path).await? {
                devices.push(Arc::new(Enabled::open(record)?));
            }
        }
        let headers = view.get(HEADERS).await?.map(|(headers, _)| headers).unwrap_or_default();
        Ok(Self {
            view,
            devices: RwLock::new(Arc::new(devices)),
            headers: RwLock::new(Arc::new(headers)),
            changing: Default::default(),
            clock,
            random,
        })
    }

    fn devices(&self) -> Arc<Vec<Arc<Enabled>>> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is on, in the order of the paths.
    pub fn records(&self) -> Vec<Record> {
        self.devices().iter().map(|enabled| enabled.record.clone()).collect()
    }

    /// Turns a device on, once it has taken a first entry.
    ///
    /// # Errors
    /// 400 when the path is taken, an option is wrong, or the device cannot be written to.
    pub async fn enable(&self, path: &str, fields: &Fields) -> Result<(), Error> {
        let path = super::mount::normal_path(path)?;
        let record = Record {
            kind: fields.required("type")?,
            description: fields.string("description")?.unwrap_or_default(),
            options: fields.string_map("options")?.unwrap_or_default(),
            local: fields.bool("local")?.unwrap_or(false),
            salt: self.random.base62(43),
            path: path.clone(),
        };
        let _one_at_a_time = self.changing.lock().await;
        let taken = |other: &Record| path.starts_with(&other.path) || other.path.starts_with(&path);
        if self.devices().iter().any(|enabled| taken(&enabled.record)) {
            return Err(Error::bad_request("path already in use"));
        }
        let enabled = Enabled::open(record)?;
        self.prove(&enabled).await?;
        self.view.put(&key(&path), &enabled.record).await?;
        self.change(Some(enabled), &path);
        Ok(())
    }

    /// A device that takes nothing must not be turned on: it would stop the engine.
    async fn prove(&self, enabled: &Enabled) -> Result<(), Error> {
        let test = entry::Request {
            id: self.random.uuid(),
            operation: "update",
            namespace: None,
            path: "sys/audit/test".into(),
            data: Default::default(),
            token: None,
            address: None,
            port: 0,
            headers: BTreeMap::new(),
            wrap_ttl: 0,
            mount: None,
        };
        let entry = entry::request(&enabled.form, self.clock.now(), &test, None, None);
        enabled.device.write(enabled.form.line(&entry)).await.map_err(|error| {
            Error::bad_request(format!("audit device failed its test: it cannot be written to: {error}"))
        })
    }

    /// Turns a device off; one that is not on is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn disable(&self, path: &str) -> Result<(), Error> {
        let path = super::mount::normal_path(path)?;
        let _one_at_a_time = self.changing.lock().await;
        self.view.delete(&key(&path)).await?;
        self.change(None, &path);
        Ok(())
    }

    /// Replaces the device at `path` in memory, the others staying open.
    fn change(&self, new: Option<Enabled>, path: &str) {
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        let mut next: Vec<_> = devices.iter().filter(|enabled| enabled.record.path != path).cloned().collect();
        next.extend(new.map(Arc::new));
        next.sort_by(|a, b| a.record.path.cmp(&b.record.path));
        *devices = Arc::new(next);
    }

    /// The hash that the device at `path` writes for a text.
    ///
    /// # Errors
    /// 400 when no such device is on.
    pub fn hash(&self, path: &str, input: &str) -> Result<String, Error> {
        let path = super::mount::normal_path(path)?;
        let devices = self.devices();
        let enabled = devices.iter().find(|enabled| enabled.record.path == path);
        let enabled = enabled.ok_or_else(|| Error::bad_request(format!("unknown audit backend {path:?}")))?;
        Ok(enabled.form.hash(input))
    }

    /// Opens every device anew, after its file was moved away.
    pub async fn reopen(&self) {
        for enabled in self.devices().iter() {
            let device = &enabled.record.path;
            match enabled.device.reopen().await {
                Ok(()) => tracing::info!(device, "the audit device was opened anew"),
                Err(error) => tracing::error!(device, %error, "the audit device cannot be opened anew"),
            }
        }
    }

    /// The request headers that entries show, and whether their values are hashed.
    pub fn headers(&self) -> Arc<BTreeMap<String, bool>> {
        self.headers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has entries show a header from now on, or no more when `hmac` is none.
    ///
    /// # Errors
    /// 400 for a name that is no header's, or one that carries tokens.
    pub async fn set_header(&self, name: &str, hmac: Option<bool>) -> Result<(), Error> {
        let name = name.to_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Error::bad_request(format!("{name:?} is not the name of a header")));
        }
        if TOKENS.contains(&name.as_str()) {
            return Err(Error::bad_request(format!("{name:?} carries tokens: entries name them by their hashes")));
        }
        let _one_at_a_time = self.changing.lock().await;
        let mut headers = (*self.headers()).clone();
        match hmac {
            Some(hmac) => headers.insert(name, hmac),
            None => headers.remove(&name),
        };
        self.view.put(HEADERS, &headers).await?;
        *self.headers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(headers);
        Ok(())
    }
}

fn key(path: &str) -> String {
    format!("device/{}", path.trim_end_matches('/'))
}
