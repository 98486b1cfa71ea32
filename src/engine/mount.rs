//! The mount tables of secrets engines and login methods: which plug-in answers which path.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ttl::{Limits, SYSTEM_TTL};
use super::tuning::Tuning;
use crate::auth::TokenType;
use crate::base::Random;
use crate::secrets::kv;
use crate::storage::{self, Version, View};
use crate::wire::{Error, Fields};

/// One mount as it is stored; paths end in `/`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// `database/`; for a login method without the leading `auth/`.
    pub path: String,
    /// The plug-in's type.
    pub kind: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// `<type>_<8 hex>`, for login methods `auth_<type>_<8 hex>`.
    pub accessor: String,
    /// Names the mount's storage; survives a remount.
    pub uuid: String,
    /// Whole seconds; 0 is the system's.
    #[serde(default)]
    pub default_lease_ttl: u64,
    /// Whole seconds; 0 is the system's.
    #[serde(default)]
    pub max_lease_ttl: u64,
    /// `unauth`, `hidden` or empty.
    #[serde(default)]
    pub listing_visibility: String,
    /// The `options` map of `sys/mounts`, or null.
    #[serde(default)]
    pub options: Value,
    /// The rest of its `config`.
    #[serde(default)]
    pub tuning: Tuning,
    /// What tokens the logins of a method get, where their roles leave it open.
    #[serde(default)]
    pub token_type: TokenType,
    /// Being removed: answers nothing more, its leases are being revoked.
    #[serde(default)]
    pub tainted: bool,
}

impl Entry {
    /// The mount's limits with the server's filled in.
    pub fn limits(&self, server: Limits) -> Limits {
        let set = |own: u64, system: u64| if own > 0 { own } else { system };
        let max_ttl = set(self.max_lease_ttl, server.max_ttl);
        Limits { default_ttl: set(self.default_lease_ttl, server.default_ttl).min(max_ttl), max_ttl }
    }

    /// The mount object of `sys/mounts` and `sys/auth` (vault-api.md 1.2).
    pub fn describe(&self, login: bool) -> Value {
        let mut config = Map::new();
        config.insert("default_lease_ttl".into(), json!(self.default_lease_ttl));
        config.insert("max_lease_ttl".into(), json!(self.max_lease_ttl));
        self.tuning.show(&mut config);
        if login {
            config.insert("token_type".into(), json!(self.token_type()));
        }
        if !self.listing_visibility.is_empty() {
            config.insert("listing_visibility".into(), json!(self.listing_visibility));
        }
        let Tuning { local, seal_wrap, external_entropy_access, plugin_version, .. } = &self.tuning;
        json!({
            "type": self.kind, "description": self.description, "accessor": self.accessor, "uuid": self.uuid,
            "local": local, "seal_wrap": seal_wrap, "external_entropy_access": external_entropy_access,
            "options": self.options, "plugin_version": plugin_version,
            "running_plugin_version": format!("v{}+builtin", env!("CARGO_PKG_VERSION")), "running_sha256": "",
            "deprecation_status": "supported", "config": config,
        })
    }

    /// What the API shows as `token_type` of a login method.
    pub fn token_type(&self) -> TokenType {
        if self.token_type == TokenType::Default { TokenType::DefaultService } else { self.token_type }
    }

    /// Takes over what `sys/mounts/:path` or its tune was sent; `config` fields may be nested or at the top level.
    ///
    /// # Errors
    /// 400 naming the field; 400 when the maximum would be below the default.
    pub fn tune(&mut self, fields: &Fields) -> Result<(), Error> {
        if let Some(text) = fields.string("description")? {
            self.description = text;
        }
        if let Some(options) = fields.string_map("options")? {
            let mut merged = self.options.as_object().cloned().unwrap_or_default();
            merged.extend(options.into_iter().map(|(key, value)| (key, Value::String(value))));
            self.options = merged.into();
        }
        if let Some(text) = fields.string("listing_visibility")? {
            if !matches!(text.as_str(), "" | "unauth" | "hidden") {
                return Err(Error::bad_request(format!("invalid listing_visibility {text:?}: say unauth or hidden")));
            }
            self.listing_visibility = text;
        }
        self.tuning.set(fields)?;
        if let Some(text) = fields.string("token_type")?.filter(|text| !text.is_empty()) {
            let wrong = |_| Error::bad_request(format!("invalid value for \"token_type\": {text:?}"));
            self.token_type = serde_json::from_value(json!(text)).map_err(wrong)?;
        }
        for (name, slot) in
            [("default_lease_ttl", &mut self.default_lease_ttl), ("max_lease_ttl", &mut self.max_lease_ttl)]
        {
            if fields.value(name).and_then(Value::as_str) == Some("system") {
                *slot = 0;
            } else if let Some(seconds) = fields.seconds(name)? {
                *slot = seconds;
            }
        }
        let max = if self.max_lease_ttl > 0 { self.max_lease_ttl } else { SYSTEM_TTL };
        if max < self.default_lease_ttl {
            return Err(Error::bad_request(format!(
                "backend max lease TTL of {max} would be less than backend default lease TTL of {}",
                self.default_lease_ttl
            )));
        }
        Ok(())
    }
}

/// A mount and the plug-in that is open for it.
pub struct Mounted<P: ?Sized> {
    /// As stored.
    pub entry: Entry,
    /// The open plug-in.
    pub plugin: Arc<P>,
}

/// Opens the plug-in of a stored mount; `None` when no plug-in has that type.
pub type Open<P> = Box<dyn Fn(&Entry) -> Option<Arc<P>> + Send + Sync>;

type Mounts<P> = BTreeMap<String, Arc<Mounted<P>>>;

/// One table: of secrets engines, or of login methods.
pub struct Table<P: ?Sized> {
    view: View,
    key: &'static str,
    open: Open<P>,
    mounts: RwLock<Arc<(Mounts<P>, Version)>>,
    writing: tokio::sync::Mutex<()>,
}

impl<P: ?Sized> Table<P> {
    /// Reads the table stored at `key` of `view` and opens every mount.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(view: View, key: &'static str, open: Open<P>) -> Result<Self, storage::Error> {
        let (entries, version) = view.get::<Vec<Entry>>(key).await?.unwrap_or_default();
        let mut mounts = Mounts::new();
        for entry in entries {
            match open(&entry) {
                Some(plugin) => {
                    mounts.insert(entry.path.clone(), Arc::new(Mounted { entry, plugin }));
                }
                None => tracing::error!(path = entry.path, kind = entry.kind, "no plug-in serves this mount"),
            }
        }
        Ok(Self { view, key, open, mounts: RwLock::new(Arc::new((mounts, version))), writing: Default::default() })
    }

    fn snapshot(&self) -> Arc<(Mounts<P>, Version)> {
        self.mounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mount that owns `path`, and the rest of the path below it. The longest mount wins.
    pub fn route<'a>(&self, path: &'a str) -> Option<(Arc<Mounted<P>>, &'a str)> {
        let mounts = self.snapshot();
        let ends = path.match_indices('/').map(|(at, _)| at + 1).rev();
        // A list of a mount's root comes without its trailing slash.
        if let Some(mounted) = mounts.0.get(&format!("{path}/")) {
            return Some((mounted.clone(), ""));
        }
        ends.map(|end| path.split_at(end)).find_map(|(mount, rest)| Some((mounts.0.get(mount)?.clone(), rest)))
    }

    /// The mount at exactly `path` (with its trailing slash).
    pub fn get(&self, path: &str) -> Option<Arc<Mounted<P>>> {
        self.snapshot().0.get(path).cloned()
    }

    /// All mounts in path order.
    pub fn all(&self) -> Vec<Arc<Mounted<P>>> {
        self.snapshot().0.values().cloned().collect()
    }

    /// The key and version of the stored table: a transaction that expects it fails if a mount came or went meanwhile.
    pub fn expectation(&self) -> (String, Version) {
        (self.view.full_key(self.key), self.snapshot().1)
    }

    /// Adds a mount.
    ///
    /// # Errors
    /// 400 when the path is in use or overlaps another mount, or no plug-in has the type.
    pub async fn add(&self, entry: Entry) -> Result<(), Error> {
        self.change(|mounts| {
            check_free(mounts, &entry.path)?;
            let plugin = self.open(&entry)?;
            mounts.insert(entry.path.clone(), Arc::new(Mounted { entry, plugin }));
            Ok(())
        })
        .await
    }

    /// Changes the entry of a mount (tune, taint) as it is at that moment, its plug-in staying open; an absent one is fine.
    ///
    /// # Errors
    /// What the change and the store say.
    pub async fn amend(&self, path: &str, change: impl FnOnce(&mut Entry) -> Result<(), Error>) -> Result<(), Error> {
        self.replace(path, change, |mounted, _| Ok(mounted.plugin.clone())).await
    }

    /// Lets a mount answer nothing more, or again; an absent one is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn taint(&self, path: &str, tainted: bool) -> Result<(), Error> {
        self.amend(path, |entry| {
            entry.tainted = tainted;
            Ok(())
        })
        .await
    }

    /// Moves a mount, with a plug-in opened anew. It is one write: a crash leaves the mount at one of the two paths, and
    /// never what it stores without a mount.
    ///
    /// # Errors
    /// 400 when nothing is at `from` any more, or the other path is in use; what the store says.
    pub async fn relocate(&self, from: &str, to: &str) -> Result<(), Error> {
        self.change(|mounts| {
            let missing = || Error::bad_request(format!("no matching mount at {from:?}"));
            let mounted = mounts.remove(from).ok_or_else(missing)?;
            check_free(mounts, to)?;
            let entry = Entry { path: to.to_owned(), tainted: false, ..mounted.entry.clone() };
            let plugin = self.open(&entry)?;
            mounts.insert(to.to_owned(), Arc::new(Mounted { entry, plugin }));
            Ok(())
        })
        .await
    }

    /// As [`Table::amend`], but with a plug-in opened anew, for options that the plug-in looks at.
    ///
    /// # Errors
    /// 400 when no plug-in has the type; what the change and the store say.
    pub async fn reopen(&self, path: &str, change: impl FnOnce(&mut Entry) -> Result<(), Error>) -> Result<(), Error> {
        self.replace(path, change, |_, entry| self.open(entry)).await
    }

    async fn replace(
        &self,
        path: &str,
        change: impl FnOnce(&mut Entry) -> Result<(), Error>,
        plugin: impl FnOnce(&Mounted<P>, &Entry) -> Result<Arc<P>, Error>,
    ) -> Result<(), Error> {
        self.change(|mounts| {
            let Some(mounted) = mounts.get(path) else { return Ok(()) };
            let mut entry = mounted.entry.clone();
            change(&mut entry)?;
            let plugin = plugin(mounted, &entry)?;
            mounts.insert(path.to_owned(), Arc::new(Mounted { entry, plugin }));
            Ok(())
        })
        .await
    }

    fn open(&self, entry: &Entry) -> Result<Arc<P>, Error> {
        (self.open)(entry).ok_or_else(|| Error::bad_request(format!("plugin not found in the catalog: {}", entry.kind)))
    }

    /// Removes a mount from the table; an absent one is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn remove(&self, path: &str) -> Result<(), Error> {
        self.change(|mounts| {
            mounts.remove(path);
            Ok(())
        })
        .await
    }

    async fn change(&self, apply: impl FnOnce(&mut Mounts<P>) -> Result<(), Error>) -> Result<(), Error> {
        let _one_writer = self.writing.lock().await;
        let before = self.snapshot();
        let mut mounts = before.0.clone();
        apply(&mut mounts)?;
        let entries: Vec<_> = mounts.values().map(|mounted| mounted.entry.clone()).collect();
        self.view.put_if(self.key, &entries, before.1).await?;
        let version = self.view.get::<Value>(self.key).await?.map_or(0, |(_, version)| version);
        *self.mounts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new((mounts, version));
        Ok(())
    }
}

fn check_free<P: ?Sized>(mounts: &Mounts<P>, path: &str) -> Result<(), Error> {
    match mounts.keys().find(|other| path.starts_with(*other) || other.starts_with(path)) {
        Some(other) => Err(Error::bad_request(format!("path is already in use at {other}"))),
        None => Ok(()),
    }
}

/// A mount path as it is stored: no leading slash, one trailing slash.
///
/// # Errors
/// 400 for an empty path or one with empty or odd segments.
pub fn normal_path(path: &str) -> Result<String, Error> {
    let path = path.trim_matches('/');
    let odd = |segment: &str| {
        segment.is_empty()
            || segment.starts_with('.')
            || !segment.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
    };
    if path.split('/').any(odd) {
        return Err(Error::bad_request(format!("{path:?} is not a mount path: use letters, digits, '-', '_' and '.'")));
    }
    Ok(format!("{path}/"))
}

/// A new mount from the fields of `POST sys/mounts/:path` or `sys/auth/:path`.
///
/// # Errors
/// 400 naming the field.
pub fn new_entry(path: &str, login: bool, fields: &Fields, random: &dyn Random) -> Result<Entry, Error> {
    let kind = fields.string("type")?.filter(|kind| !kind.is_empty());
    let kind = match kind {
        Some(kind) if kind != "plugin" => kind,
        _ => fields
            .string("plugin_name")?
            .ok_or_else(|| Error::bad_request("backend type must be specified as a string"))?,
    };
    let alias = kv::ALIASES.iter().find(|(alias, _)| *alias == kind);
    let kind = if alias.is_some() { kv::SPEC.kind.to_owned() } else { kind };
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    let prefix = if login { "auth_" } else { "" };
    let mut entry = Entry {
        path: normal_path(path)?,
        accessor: format!("{prefix}{kind}_{:08x}", u32::from_be_bytes(bytes)),
        kind,
        description: String::new(),
        uuid: random.uuid(),
        default_lease_ttl: 0,
        max_lease_ttl: 0,
        listing_visibility: String::new(),
        options: alias.map_or_else(|| json!({}), |(_, version)| json!({ "version": version })),
        token_type: TokenType::Default,
        tuning: Tuning::default(),
        tainted: false,
    };
    entry.tuning.set_fixed(fields)?;
    if let Some(Value::Object(config)) = fields.value("config") {
        entry.tune(&Fields::from(config.clone()))?;
    }
    let top: Map<String, Value> = ["description", "options", "plugin_version"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), fields.value(name)?.clone())))
        .collect();
    entry.tune(&Fields::from(top))?;
    if entry.kind == kv::SPEC.kind {
        kv::version(&entry.options)?;
    }
    Ok(entry)
}

/// The rows of a table keyed by path, for `sys/mounts` and `sys/auth`.
pub fn describe_all<P: ?Sized>(table: &Table<P>, login: bool) -> Map<String, Value> {
    let rows: HashMap<_, _> =
        table.all().iter().map(|mounted| (mounted.entry.path.clone(), mounted.entry.describe(login))).collect();
    rows.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;
    use crate::storage::memory::Memory;

    fn fields(value: Value) -> Fields {
        Fields::from(value.as_object().unwrap().clone())
    }

    fn entry(path: &str) -> Entry {
        new_entry(path, false, &fields(json!({"type": "t"})), &SeededRandom::new(1)).unwrap()
    }

    async fn table() -> Table<str> {
        let view = View::new(Arc::new(Memory::default()), "core/");
        Table::load(view, "mounts", Box::new(|entry| (entry.kind == "t").then(|| Arc::from("plug-in")))).await.unwrap()
    }

    #[tokio::test]
    async fn the_longest_mount_answers() {
        let table = table().await;
        table.add(entry("a/b")).await.unwrap();
        table.add(entry("c")).await.unwrap();
        let (mounted, rest) = table.route("a/b/creds/x").unwrap();
        assert_eq!((mounted.entry.path.as_str(), rest), ("a/b/", "creds/x"));
        assert_eq!(table.route("c").unwrap().1, "");
        assert!(table.route("a/x").is_none());
    }

    #[tokio::test]
    async fn paths_must_not_overlap_and_types_must_exist() {
        let table = table().await;
        table.add(entry("a/b")).await.unwrap();
        for path in ["a/b", "a/b/c", "a"] {
            let error = table.add(entry(path)).await.unwrap_err();
            assert_eq!(error.to_string(), "path is already in use at a/b/");
        }
        let unknown = Entry { kind: "nosuch".into(), ..entry("z") };
        assert_eq!(table.add(unknown).await.unwrap_err().to_string(), "plugin not found in the catalog: nosuch");
    }

    #[tokio::test]
    async fn a_tune_leaves_a_mount_that_is_being_removed_as_it_is() {
        let table = table().await;
        table.add(entry("a")).await.unwrap();
        let describe = |entry: &mut Entry| {
            entry.description = "d".into();
            Ok(())
        };
        let (tainted, tuned) = tokio::join!(table.taint("a/", true), table.amend("a/", describe));
        assert!(tainted.is_ok() && tuned.is_ok());
        table.reopen("a/", describe).await.unwrap();
        let after = &table.get("a/").unwrap().entry;
        assert!(after.tainted && after.description == "d");
    }

    #[tokio::test]
    async fn of_two_mounts_at_one_path_one_is_refused() {
        let table = table().await;
        let (first, second) = tokio::join!(table.add(entry("a/b")), table.add(entry("a")));
        assert!(first.is_ok() && second.is_err());
        assert_eq!(table.all().len(), 1);
    }

    #[tokio::test]
    async fn a_mount_that_moves_keeps_what_it_stores() {
        let table = table().await;
        table.add(entry("a")).await.unwrap();
        table.add(entry("c")).await.unwrap();
        table.taint("a/", true).await.unwrap();
        let before = table.get("a/").unwrap().entry.clone();
        assert!(table.relocate("a/", "c/d/").await.is_err() && table.get("a/").is_some());
        table.relocate("a/", "a/b/").await.unwrap();
        let after = table.get("a/b/").unwrap().entry.clone();
        assert_eq!((after.uuid, after.tainted, table.get("a/").is_some()), (before.uuid, false, false));
        assert!(table.relocate("a/", "e/").await.is_err());
    }

    #[tokio::test]
    async fn a_table_is_found_again_after_a_restart() {
        let view = View::new(Arc::new(Memory::default()), "core/");
        let open = || -> Open<str> { Box::new(|_| Some(Arc::from("plug-in"))) };
        let table = Table::load(view.clone(), "mounts", open()).await.unwrap();
        table.add(entry("a")).await.unwrap();
        let before = table.expectation();
        let again = Table::load(view, "mounts", open()).await.unwrap();
        assert_eq!(again.all()[0].entry.uuid, table.all()[0].entry.uuid);
        assert_eq!(again.expectation(), before);
    }

    #[test]
    fn a_maximum_below_the_default_is_refused() {
        let mut mount = entry("a");
        mount.tune(&fields(json!({"default_lease_ttl": "2h"}))).unwrap();
        let text = mount.tune(&fields(json!({"max_lease_ttl": "1h"}))).unwrap_err().to_string();
        assert_eq!(text, "backend max lease TTL of 3600 would be less than backend default lease TTL of 7200");
    }
}
