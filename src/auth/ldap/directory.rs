//! A conversation with an LDAP server: connect, prove who somebody is, look things up.

use std::collections::HashSet;

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::exop::PasswordModify;
use ldap3::result::{ExopResult, LdapResult};
use ldap3::{DerefAliases, Ldap, LdapConnAsync, LdapConnSettings, LdapError, Mod, Scope, SearchEntry, SearchOptions};

use super::config::Config;
use crate::base::{Secret, telemetry, tls};

/// The result code of a wrong name or password.
const INVALID_CREDENTIALS: u32 = 49;
/// Those of names that nobody has, and of entries without a password.
const NO_SUCH_PERSON: [u32; 3] = [32, 34, 48];
/// What was looked for lies nowhere.
const NO_SUCH_OBJECT: u32 = 32;

/// What Active Directory says that it is.
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";
/// The operation that changes a password as the server keeps it (RFC 3062).
const PASSWORD_MODIFY: &str = "1.3.6.1.4.1.4203.1.11.1";

/// Why nothing came of it. The texts hold no password.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot set up TLS for {url}")]
    Tls { url: String, source: tls::Error },
    #[error("cannot connect to {url}")]
    Connect { url: String, source: LdapError },
    #[error("the LDAP server does not answer as it should")]
    Broken(#[source] LdapError),
    #[error("the LDAP server refuses: {text} (code {code})")]
    Refused { code: u32, text: String },
}

/// An open connection.
pub(super) struct Directory<'a> {
    ldap: Ldap,
    config: &'a Config,
}

impl<'a> Directory<'a> {
    /// Connects to the first server that can be reached.
    ///
    /// # Errors
    /// The last server's, when none can.
    pub async fn connect(config: &'a Config) -> Result<Self, Error> {
        let mut last = None;
        for url in config.urls() {
            match open(config, url).await {
                Ok(ldap) => return Ok(Self { ldap, config }),
                Err(error) => {
                    tracing::warn!(error = telemetry::chain(&error), "an LDAP server is passed over");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or(Error::Broken(LdapError::EmptyUnixPath)))
    }

    /// Whether this password belongs to that name.
    ///
    /// # Errors
    /// When the server can neither say yes nor no.
    pub async fn bind(&mut self, dn: &str, password: &Secret) -> Result<bool, Error> {
        let result = self.ldap.with_timeout(self.config.asking()).simple_bind(dn, password.expose()).await;
        let result = result.map_err(Error::Broken)?;
        match result.rc {
            0 => Ok(true),
            INVALID_CREDENTIALS => Ok(false),
            code if NO_SUCH_PERSON.contains(&code) => Ok(false),
            code => Err(Error::Refused { code, text: result.text }),
        }
    }

    /// Changes the password of the account that is bound, in the way that the server has for it.
    ///
    /// # Errors
    /// [`Error::Refused`] where it has stayed as it was.
    pub async fn set_password(&mut self, dn: &str, old: &Secret, new: &Secret) -> Result<(), Error> {
        let mut ldap = self.ldap.clone();
        let root =
            self.look("", Scope::Base, "(objectClass=*)", &["supportedExtension", "supportedCapabilities"]).await?;
        let offers = |oid: &str| root.iter().flat_map(|entry| entry.attrs.values()).flatten().any(|own| own == oid);
        let timeout = self.config.asking();
        let result = if offers(ACTIVE_DIRECTORY) {
            // It takes a quoted text in UTF-16, and only over an encrypted connection.
            let quoted = |password: &Secret| -> Vec<u8> {
                format!("\"{}\"", password.expose()).encode_utf16().flat_map(u16::to_le_bytes).collect()
            };
            let attribute = b"unicodePwd".to_vec();
            let mods = vec![
                Mod::Delete(attribute.clone(), HashSet::from([quoted(old)])),
                Mod::Add(attribute, HashSet::from([quoted(new)])),
            ];
            ldap.with_timeout(timeout).modify(dn, mods).await
        } else if offers(PASSWORD_MODIFY) {
            let exop = PasswordModify { user_id: Some(dn), old_pass: Some(old.expose()), new_pass: Some(new.expose()) };
            ldap.with_timeout(timeout).extended(exop).await.map(|ExopResult(_, result)| result)
        } else {
            let mods = vec![Mod::Replace("userPassword", HashSet::from([new.expose()]))];
            ldap.with_timeout(timeout).modify(dn, mods).await
        };
        match result.map_err(Error::Broken)? {
            LdapResult { rc: 0, .. } => Ok(()),
            LdapResult { rc, text, .. } => Err(Error::Refused { code: rc, text }),
        }
    }

    /// The entries below `base` that the filter finds; none where there is no such place.
    ///
    /// # Errors
    /// What the server says.
    pub async fn search(&mut self, base: &str, filter: &str, attribute: &str) -> Result<Vec<SearchEntry>, Error> {
        self.look(base, Scope::Subtree, filter, &[attribute]).await
    }

    /// One entry by its name.
    ///
    /// # Errors
    /// What the server says.
    pub async fn read(&mut self, dn: &str, attribute: &str) -> Result<Option<SearchEntry>, Error> {
        Ok(self.look(dn, Scope::Base, "(objectClass=*)", &[attribute]).await?.pop())
    }

    async fn look(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
    ) -> Result<Vec<SearchEntry>, Error> {
        let mut adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> = vec![Box::new(EntriesOnly::new())];
        if let Ok(size @ 1..) = i32::try_from(self.config.max_page_size) {
            adapters.push(Box::new(PagedResults::new(size)));
        }
        let options = SearchOptions::new().deref(dereferencing(&self.config.dereference_aliases));
        let ldap = self.ldap.with_search_options(options).with_timeout(self.config.asking());
        let attributes = attributes.iter().map(|name| (*name).to_owned()).collect();
        let stream = ldap.streaming_search_with(adapters, base, scope, filter, attributes).await;
        let mut stream = stream.map_err(Error::Broken)?;
        let mut found = Vec::new();
        while let Some(entry) = stream.next().await.map_err(Error::Broken)? {
            found.push(SearchEntry::construct(entry));
        }
        let result = stream.finish().await;
        match result.rc {
            0 | NO_SUCH_OBJECT => Ok(found),
            code => Err(Error::Refused { code, text: result.text }),
        }
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        if let Err(error) = self.ldap.unbind().await {
            tracing::debug!(%error, "an LDAP connection did not end well");
        }
    }
}

async fn open(config: &Config, url: &str) -> Result<Ldap, Error> {
    let mut settings = LdapConnSettings::new().set_conn_timeout(config.connecting()).set_starttls(config.starttls);
    if config.starttls || url.starts_with("ldaps") {
        let tls = tls::client_config(&config.tls()).map_err(|source| Error::Tls { url: url.to_owned(), source })?;
        settings = settings.set_config(std::sync::Arc::new(tls));
    }
    let connected = LdapConnAsync::with_settings(settings, url).await;
    let (connection, ldap) = connected.map_err(|source| Error::Connect { url: url.to_owned(), source })?;
    tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!(%error, "an LDAP connection broke");
        }
    });
    Ok(ldap)
}

fn dereferencing(name: &str) -> DerefAliases {
    match name {
        "searching" => DerefAliases::Searching,
        "finding" => DerefAliases::Finding,
        "always" => DerefAliases::Always,
        _ => DerefAliases::Never,
    }
}
