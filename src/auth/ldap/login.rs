//! Finding a person in the directory, proving the password, and what groups it is in.

use ldap3::{SearchEntry, dn_escape, ldap_escape};

use super::config::Config;
use super::directory::{Directory, Error as DirectoryError};
use super::filter::{self, Values};
use crate::base::Secret;
use crate::wire::{Error, Kind};

/// What Vault says whatever part of a login was wrong.
const WRONG: &str = "ldap operation failed: failed to bind as user";

/// Where Active Directory keeps the SIDs of all groups that a person is in.
const TOKEN_GROUPS: &str = "tokenGroups";

/// Where a group has its own.
const OBJECT_SID: &str = "objectSid";

/// How many are looked up with one question.
const IDS_AT_ONCE: usize = 100;

/// Somebody whom the directory knows.
#[derive(Debug)]
pub(super) struct Person {
    /// What the identity knows it by.
    pub alias: String,
    /// By their names.
    pub groups: Vec<String>,
}

pub(super) fn failed(error: DirectoryError) -> Error {
    let text = match &error {
        DirectoryError::Connect { .. } | DirectoryError::Tls { .. } => "cannot connect to the LDAP server: try again",
        _ => "the LDAP server cannot answer: try again, or see the server's log",
    };
    Error::new(Kind::Upstream, text).caused_by(error)
}

fn wrong() -> Error {
    Error::credentials(WRONG)
}

/// The person of that name, if the password is right. Without a password the directory's word is taken that there is such a
/// person, which it gives to the configured account only.
///
/// # Errors
/// [`Kind::Credentials`] for an unknown name or a wrong password; 502 when the directory cannot tell.
pub(super) async fn find(config: &Config, name: &str, password: Option<&Secret>) -> Result<Person, Error> {
    let mut directory = Directory::connect(config).await.map_err(failed)?;
    let mut search = Search { config, name, directory: &mut directory };
    let found = search.run(password).await;
    directory.close().await;
    found
}

struct Search<'a, 'b> {
    config: &'a Config,
    name: &'a str,
    directory: &'b mut Directory<'a>,
}

impl Search<'_, '_> {
    async fn run(&mut self, password: Option<&Secret>) -> Result<Person, Error> {
        let bind_name = self.bind_name().await?;
        if let Some(password) = password {
            if !self.directory.bind(&bind_name, password).await.map_err(failed)? {
                return Err(wrong());
            }
            if self.has_account() {
                self.bind_account().await?;
            }
        }
        let dn = self.dn(bind_name).await?;
        let groups = self.groups(&dn).await?;
        let alias = self.alias(&dn).await?;
        Ok(Person { alias, groups })
    }

    fn has_account(&self) -> bool {
        !self.config.binddn.is_empty() && !self.config.bindpass.is_empty()
    }

    async fn bind_account(&mut self) -> Result<(), Error> {
        for password in self.config.account_passwords() {
            if self.directory.bind(&self.config.binddn, &password).await.map_err(failed)? {
                return Ok(());
            }
        }
        Err(Error::new(Kind::Upstream, "the LDAP server refuses the configured binddn: see its bindpass"))
    }

    fn values<'v>(&'v self, dn: &'v str) -> Values<'v> {
        Values { username: self.name, user_attr: &self.config.userattr, user_dn: dn }
    }

    fn filled(&self, template: &str, dn: &str) -> Result<String, Error> {
        filter::fill(template, &self.values(dn)).map_err(Error::internal)
    }

    /// The name that the password is tried with: found by a search, made of a domain, or of an attribute and a place.
    async fn bind_name(&mut self) -> Result<String, Error> {
        if self.config.discoverdn || self.has_account() {
            if self.has_account() {
                self.bind_account().await?;
            }
            let filter = self.filled(&self.config.userfilter, "")?;
            return self.only(&filter).await;
        }
        if !self.config.upndomain.is_empty() {
            return Ok(format!("{}@{}", self.name, self.config.upndomain));
        }
        Ok(format!("{}={},{}", self.config.userattr, dn_escape(self.name), self.config.userdn))
    }

    /// The name of the one entry that a filter finds: of two, nobody knows which is meant.
    async fn only(&mut self, filter: &str) -> Result<String, Error> {
        let found = self.directory.search(&self.config.userdn, filter, &self.config.userattr).await.map_err(failed)?;
        match &found[..] {
            [one] => Ok(one.dn.clone()),
            [] => Err(wrong()),
            _ => {
                tracing::warn!(filter, "an LDAP login finds several people: make userfilter say which is meant");
                Err(wrong())
            }
        }
    }

    /// The person's place in the directory, where the name of the login is another one.
    async fn dn(&mut self, bind_name: String) -> Result<String, Error> {
        if self.config.upndomain.is_empty() || self.has_account() || self.config.discoverdn {
            return Ok(bind_name);
        }
        self.only(&format!("(userPrincipalName={})", ldap_escape(bind_name.as_str()))).await
    }

    async fn groups(&mut self, dn: &str) -> Result<Vec<String>, Error> {
        let config = self.config;
        if config.groupdn.is_empty() || (config.groupfilter.is_empty() && !config.use_token_groups) {
            return Ok(Vec::new());
        }
        if config.use_token_groups {
            return self.token_groups(dn).await;
        }
        if config.anonymous_group_search {
            self.directory.bind("", &Secret::default()).await.map_err(failed)?;
        }
        let filter = self.filled(&config.groupfilter, dn)?;
        let found = self.directory.search(&config.groupdn, &filter, &config.groupattr).await.map_err(failed)?;
        Ok(all_names(&found, &config.groupattr))
    }

    /// The groups that Active Directory itself takes a person to be in, groups of groups included.
    async fn token_groups(&mut self, dn: &str) -> Result<Vec<String>, Error> {
        let entry = self.directory.read(dn, TOKEN_GROUPS).await.map_err(failed)?;
        let ids = entry.map(|entry| bytes(&entry, TOKEN_GROUPS)).unwrap_or_default();
        let mut found = Vec::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let filter = filter::any_of(OBJECT_SID, ids);
            let config = self.config;
            found.extend(self.directory.search(&config.groupdn, &filter, &config.groupattr).await.map_err(failed)?);
        }
        Ok(all_names(&found, &self.config.groupattr))
    }

    async fn alias(&mut self, dn: &str) -> Result<String, Error> {
        if self.config.username_as_alias {
            return Ok(self.config.normal(self.name));
        }
        let entry = self.directory.read(dn, &self.config.userattr).await.map_err(failed)?;
        let values = entry.map(|entry| values(&entry, &self.config.userattr)).unwrap_or_default();
        Ok(values.into_iter().next().map_or_else(|| self.config.normal(self.name), |value| self.config.normal(&value)))
    }
}

/// The values of an attribute, whose name the server may write in another case.
fn values(entry: &SearchEntry, attribute: &str) -> Vec<String> {
    let found = entry.attrs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
    found.flat_map(|(_, values)| values.clone()).collect()
}

/// The values of an attribute as they are: a SID that happens to be text is one still.
fn bytes(entry: &SearchEntry, attribute: &str) -> Vec<Vec<u8>> {
    let binary = entry.bin_attrs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
    let binary = binary.flat_map(|(_, values)| values.clone());
    binary.chain(values(entry, attribute).into_iter().map(String::into_bytes)).collect()
}

fn all_names(entries: &[SearchEntry], attribute: &str) -> Vec<String> {
    let mut all: Vec<_> = entries.iter().flat_map(|entry| names(entry, attribute)).collect();
    all.sort();
    all.dedup();
    all
}

/// The names of the groups that an entry stands for: an attribute such as `memberOf` holds whole places, of which the first
/// part is the name.
fn names(entry: &SearchEntry, attribute: &str) -> Vec<String> {
    let found = values(entry, attribute);
    let all = if found.is_empty() { vec![entry.dn.clone()] } else { found };
    all.iter().map(|value| common_name(value)).collect()
}

fn common_name(value: &str) -> String {
    let head = value.get(..3).filter(|head| head.eq_ignore_ascii_case("cn="));
    let Some(rest) = head.map(|_| &value[3..]) else { return value.to_owned() };
    let (mut name, mut characters) = (String::new(), rest.chars());
    while let Some(c) = characters.next() {
        match c {
            ',' | '+' => break,
            '\\' => name.extend(characters.next()),
            c => name.push(c),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_name_is_the_first_part_of_its_place() {
        for (value, name) in [
            ("admins", "admins"),
            ("CN=Admins,OU=Groups,DC=x", "Admins"),
            ("cn=a\\,b,dc=x", "a,b"),
            ("ou=x", "ou=x"),
            ("é", "é"),
        ] {
            assert_eq!(common_name(value), name);
        }
        let entry = |attrs: &[(&str, &[&str])]| SearchEntry {
            dn: "cn=g,dc=x".into(),
            attrs: attrs
                .iter()
                .map(|(name, values)| ((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect()))
                .collect(),
            bin_attrs: Default::default(),
        };
        assert_eq!(names(&entry(&[]), "cn"), ["g"]);
        assert_eq!(names(&entry(&[("memberOf", &["cn=a,dc=x", "cn=b,dc=x"])]), "memberof"), ["a", "b"]);
    }
}
