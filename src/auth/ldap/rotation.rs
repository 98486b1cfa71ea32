//! `config/rotate-root`: a new password for the account that looks people up, which nobody but the engine knows.
//!
//! It is written down before the directory is asked, and proven by a login afterwards. While the outcome is unknown both
//! passwords are kept and tried, so that no crash locks the engine out.

use super::config::Config;
use super::directory::{Directory, Error as DirectoryError};
use super::login::failed;
use super::{LdapMethod, ONLY};
use crate::base::Secret;
use crate::wire::{Answer, Error, Kind};

/// Letters and digits of a new password; all kinds of characters that password rules ask for are in it, but not special ones.
const LENGTH: usize = 40;

impl LdapMethod {
    pub(super) async fn rotate_root(&self) -> Result<Answer, Error> {
        let _one_at_a_time = self.rotating.lock().await;
        let config = self.config().await?;
        if config.binddn.is_empty() || config.bindpass.is_empty() {
            return Err(Error::bad_request("there is nothing to rotate: \"binddn\" and \"bindpass\" are not set"));
        }
        let mut directory = Directory::connect(&config).await.map_err(failed)?;
        let result = self.change(&config, &mut directory).await;
        directory.close().await;
        result.map(|()| Answer::empty())
    }

    async fn change(&self, config: &Config, directory: &mut Directory<'_>) -> Result<(), Error> {
        let mut current = None;
        for password in config.account_passwords() {
            if directory.bind(&config.binddn, &password).await.map_err(failed)? {
                current = Some(password);
                break;
            }
        }
        let current = current.ok_or_else(|| Error::bad_request("the LDAP server refuses the configured binddn"))?;
        let next = Secret::new(self.random.base62(LENGTH));
        self.keep(config, &current, Some(&next)).await?;
        let changed = directory.set_password(&config.binddn, &current, &next).await;
        if let Err(error) = changed {
            // A refusal is certain; where the connection broke, the next login finds out.
            if let DirectoryError::Refused { .. } = &error {
                self.keep(config, &current, None).await?;
                let text = "the LDAP server refuses to change the password of binddn: the engine's log says why";
                return Err(Error::bad_request(text).caused_by(error));
            }
            return Err(failed(error));
        }
        let mut fresh = Directory::connect(config).await.map_err(failed)?;
        let proven = fresh.bind(&config.binddn, &next).await;
        fresh.close().await;
        if proven.map_err(failed)? {
            return self.keep(config, &next, None).await;
        }
        let text = "the LDAP server took the new password of binddn but refuses it; both are kept and tried";
        Err(Error::new(Kind::Upstream, text))
    }

    /// Writes the passwords down, unless somebody has configured another account meanwhile.
    async fn keep(&self, before: &Config, current: &Secret, next: Option<&Secret>) -> Result<(), Error> {
        let known = before.account_passwords();
        self.configs
            .change(ONLY, false, |config| {
                let same = config.binddn == before.binddn
                    && (known.iter().any(|password| password.expose() == config.bindpass)
                        || config.bindpass == current.expose());
                if !same {
                    return Err(Error::bad_request("the configuration was changed meanwhile: rotate again"));
                }
                config.bindpass = current.expose().to_owned();
                config.next_bindpass = next.map(|next| next.expose().to_owned()).unwrap_or_default();
                Ok(())
            })
            .await
            .map(drop)
    }
}
