//! Annotations about the agent's own container.

use std::collections::BTreeMap;

use super::value;

/// What one of them sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerSetting {
    /// The agent's image.
    Image,
    /// What the agent logs.
    LogLevel,
    /// How the agent logs.
    LogFormat,
    /// A ConfigMap with the agent's configuration.
    ConfigMap,
    /// A Secret for the agent alone.
    ExtraSecret,
    /// The container whose mounts the agent gets as well.
    CopyMounts,
    /// The agent's user.
    User,
    /// The agent's group.
    Group,
    /// Whether the agent runs as the application's user.
    SameUser,
    /// Whether the agent gets a securityContext at all.
    SecurityContext,
    /// Applied to the agent's container.
    JsonPatch,
    /// Applied to the init container.
    InitJsonPatch,
    /// A resource of the agent: `limits` or `requests`, and its name.
    Resource(&'static str, &'static str),
}

/// What was chosen for the agent's container.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentContainer {
    /// In place of the installation's.
    pub image: Option<String>,
    /// `trace`, `debug`, `info`, `warn`, `error` or `off`.
    pub log_level: Option<String>,
    /// `standard` or `json`.
    pub log_format: Option<String>,
    /// Holds `config.hcl` and `config-init.hcl`.
    pub config_map: Option<String>,
    /// Mounted at `/vault/custom`.
    pub extra_secret: Option<String>,
    /// A container's name.
    pub copy_mounts: Option<String>,
    /// Where pod or image should not decide.
    pub user: Option<i64>,
    /// Where pod or image should not decide.
    pub group: Option<i64>,
    /// Whether the agent runs as the application's user.
    pub same_user: bool,
    /// Whether there is a securityContext at all.
    pub has_security_context: bool,
    /// For the container that stays.
    pub json_patch: Option<json_patch::Patch>,
    /// For the container that ends before the application starts.
    pub init_json_patch: Option<json_patch::Patch>,
    /// By `limits` or `requests` and the resource's name; `None` takes one away.
    pub resources: BTreeMap<(&'static str, &'static str), Option<String>>,
}

impl Default for AgentContainer {
    fn default() -> Self {
        Self {
            image: None,
            log_level: None,
            log_format: None,
            config_map: None,
            extra_secret: None,
            copy_mounts: None,
            user: None,
            group: None,
            same_user: false,
            has_security_context: true,
            json_patch: None,
            init_json_patch: None,
            resources: BTreeMap::new(),
        }
    }
}

impl AgentContainer {
    /// Takes one annotation.
    pub fn take(&mut self, setting: ContainerSetting, text: &str) -> Result<(), String> {
        match setting {
            ContainerSetting::Image => self.image = Some(value::text(text)?),
            ContainerSetting::LogLevel => {
                let levels = ["trace", "debug", "info", "warn", "error", "off"];
                self.log_level = Some(value::word(&text.to_ascii_lowercase(), &levels)?);
            }
            ContainerSetting::LogFormat => self.log_format = Some(value::word(text, &["standard", "json"])?),
            ContainerSetting::ConfigMap => self.config_map = Some(value::object_name(text)?),
            ContainerSetting::ExtraSecret => self.extra_secret = Some(value::object_name(text)?),
            ContainerSetting::CopyMounts => self.copy_mounts = Some(value::text(text)?),
            ContainerSetting::User => self.user = Some(value::id(text)?),
            ContainerSetting::Group => self.group = Some(value::id(text)?),
            ContainerSetting::SameUser => self.same_user = value::flag(text)?,
            ContainerSetting::SecurityContext => self.has_security_context = value::flag(text)?,
            ContainerSetting::JsonPatch => self.json_patch = Some(value::json_patch(text)?),
            ContainerSetting::InitJsonPatch => self.init_json_patch = Some(value::json_patch(text)?),
            ContainerSetting::Resource(kind, resource) => {
                self.resources.insert((kind, resource), value::quantity(text)?);
            }
        }
        Ok(())
    }
}
