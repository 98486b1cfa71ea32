//! Annotations about the login: method, role and parameters, checked against what each method takes.

use std::collections::BTreeMap;

use super::{Family, value};
use crate::base::nearest::nearest;

/// What one of them sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginSetting {
    /// The login role.
    Role,
    /// The method's mount.
    Path,
    /// The method.
    Type,
    /// A parameter of the method; its key stands in the annotation's name.
    Parameter,
    /// Before the second attempt.
    MinBackoff,
    /// The longest time between attempts.
    MaxBackoff,
    /// Whether a refused login ends the agent.
    ExitOnError,
    /// The pod's volume with the token to log in with.
    TokenVolume,
}

/// The methods that a pod can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// The token of the pod's ServiceAccount, reviewed by Kubernetes.
    #[default]
    Kubernetes,
    /// The same token, or another, checked by its signature.
    Jwt,
    /// Role id and secret id from files.
    AppRole,
    /// The certificate of the connection.
    Cert,
    /// A token that somebody else made.
    TokenFile,
}

impl Method {
    const ALL: [(&str, Self); 5] = [
        ("kubernetes", Self::Kubernetes),
        ("jwt", Self::Jwt),
        ("approle", Self::AppRole),
        ("cert", Self::Cert),
        ("token_file", Self::TokenFile),
    ];

    /// As the agent's configuration writes it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(|(name, _)| name);
        let word = value::word(text, &names)?;
        Ok(Self::ALL.iter().find(|(name, _)| *name == word).map_or(Self::Kubernetes, |(_, method)| *method))
    }

    /// What it may be told, and whether it cannot do without.
    fn parameters(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Kubernetes => &[("role", false), ("token_path", false)],
            Self::Jwt => &[
                ("role", false),
                ("path", false),
                ("remove_jwt_after_reading", false),
                ("remove_jwt_follows_symlinks", false),
                ("jwt_read_period", false),
            ],
            Self::AppRole => &[
                ("role_id_file_path", true),
                ("secret_id_file_path", false),
                ("remove_secret_id_file_after_reading", false),
                ("secret_id_response_wrapping_path", false),
            ],
            Self::Cert => {
                &[("name", false), ("ca_cert", false), ("client_cert", false), ("client_key", false), ("reload", false)]
            }
            Self::TokenFile => &[("token_file_path", true)],
        }
    }

    fn takes_role(self) -> bool {
        self.parameters().iter().any(|(name, _)| *name == "role")
    }

    /// Whether it logs in with the pod's own token unless told otherwise, and how it calls that token's file.
    pub fn token_parameter(self) -> Option<&'static str> {
        match self {
            Self::Kubernetes => Some("token_path"),
            Self::Jwt => Some("path"),
            _ => None,
        }
    }
}

/// How the agent logs in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// Whether method or role were named at all; a ConfigMap of the pod's own may have both.
    pub is_described: bool,
    /// The method.
    pub method: Method,
    /// The engine's login role, `NAMESPACE.NAME` for one that the operator made.
    pub role: Option<String>,
    /// Where the method is mounted, such as `auth/kubernetes`.
    pub path: Option<String>,
    /// For the method, with the names that the agent knows.
    pub parameters: BTreeMap<String, String>,
    /// Seconds or Go's notation.
    pub min_backoff: Option<String>,
    /// Seconds or Go's notation.
    pub max_backoff: Option<String>,
    /// Whether a refused login ends the agent.
    pub exit_on_error: bool,
    /// The pod's volume with the token to log in with.
    pub token_volume: Option<String>,
}

/// A parameter that the method does not take.
pub struct UnknownParameter {
    /// As it stands in the annotation.
    pub key: String,
    /// What to say of it.
    pub problem: String,
}

impl Login {
    /// Takes one annotation; `key` is that of a parameter.
    pub fn take(&mut self, setting: LoginSetting, key: &str, text: &str) -> Result<(), String> {
        match setting {
            LoginSetting::Role => self.role = Some(value::text(text)?),
            LoginSetting::Path => self.path = Some(value::auth_path(text)?),
            LoginSetting::Type => self.method = Method::parse(text)?,
            LoginSetting::Parameter => drop(self.parameters.insert(key.to_owned(), value::text(text)?)),
            LoginSetting::MinBackoff => self.min_backoff = Some(value::duration(text)?),
            LoginSetting::MaxBackoff => self.max_backoff = Some(value::duration(text)?),
            LoginSetting::ExitOnError => self.exit_on_error = value::flag(text)?,
            LoginSetting::TokenVolume => self.token_volume = Some(value::object_name(text)?),
        }
        self.is_described |= matches!(setting, LoginSetting::Role | LoginSetting::Type | LoginSetting::Parameter);
        Ok(())
    }

    /// Takes out the parameters that the method does not know, and gives the others the agent's names.
    pub fn settle_parameters(&mut self) -> Vec<UnknownParameter> {
        let known = self.method.parameters();
        let mut unknown = Vec::new();
        for (key, text) in std::mem::take(&mut self.parameters) {
            let name = key.replace('-', "_");
            if known.iter().any(|(known, _)| *known == name) {
                self.parameters.insert(name, text);
                continue;
            }
            let names = || known.iter().map(|(name, _)| *name);
            let hint = match nearest(&name, names()) {
                Some(meant) => format!("did you mean {}?", meant.replace('_', "-")),
                None => format!("it has {}", names().collect::<Vec<_>>().join(", ").replace('_', "-")),
            };
            unknown.push(UnknownParameter {
                problem: format!("the login {} does not know it; {hint}", self.method.name()),
                key,
            });
        }
        unknown
    }

    /// The parameter that is missing, as annotations write it.
    pub fn missing_parameter(&self) -> Option<String> {
        let has = |name: &str| self.parameters.contains_key(name);
        // One is nothing without the other.
        let half = |one: &str, other: &str| self.method == Method::Cert && has(other) && !has(one);
        let missing = |(name, required): &&(&str, bool)| {
            (*required && !has(name))
                || (*name == "client_cert" && half(name, "client_key"))
                || (*name == "client_key" && half(name, "client_cert"))
        };
        self.method.parameters().iter().find(missing).map(|(name, _)| name.replace('_', "-"))
    }

    /// The parameters that would have to be booleans and are none, as annotations write them, and what to say of them.
    pub fn wrong_flags(&self) -> impl Iterator<Item = (String, String)> {
        let flags = self.parameters.iter().filter(|(name, _)| name.starts_with("remove_"));
        flags.filter_map(|(name, text)| Some((name.replace('_', "-"), value::flag(text).err()?)))
    }

    /// Whether the method cannot do without a role and has none.
    pub fn lacks_role(&self) -> bool {
        self.method.takes_role() && self.role.is_none() && !self.parameters.contains_key("role")
    }

    /// Takes out a role that the method knows nothing of, and says why.
    pub fn settle_roleless(&mut self) -> Option<&'static str> {
        if self.method.takes_role() || self.role.take().is_none() {
            return None;
        }
        Some(match self.method {
            Method::AppRole => "the login approle knows the role by its role id",
            Method::Cert => "the login cert has auth-config-name for it",
            _ => "a token that somebody else made has its rights already",
        })
    }

    /// Makes the role what the engine calls it: `NAME` or `NAMESPACE/NAME` of a DatabaseRole into the login role that the
    /// operator made for it. Under Vault's prefix, and for other methods, a role without a slash is any role of the engine.
    pub fn settle_role(&mut self, family: Family, namespace: &str) -> Result<(), String> {
        let Some(text) = &self.role else { return Ok(()) };
        let example = "use NAME or NAMESPACE/NAME of a DatabaseRole";
        if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("{text:?} holds {odd:?}: {example}"));
        }
        self.role = Some(match (text.split_once('/'), family) {
            (None, Family::Vault) => text.clone(),
            (None, Family::Lessor) if self.method != Method::Kubernetes => text.clone(),
            (None, Family::Lessor) => format!("{namespace}.{text}"),
            (Some((space, name)), _) if !space.is_empty() && !name.is_empty() && !name.contains('/') => {
                format!("{space}.{name}")
            }
            _ => return Err(format!("{text:?} is no role: {example}")),
        });
        Ok(())
    }
}
