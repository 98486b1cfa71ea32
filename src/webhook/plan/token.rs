//! With which of the pod's tokens the agent logs in, and where it finds that.

use serde_json::{Value, json};

use super::super::agent_config::{TOKEN_FILE, TOKEN_FOLDER};
use super::super::annotations::{Injection, Mistake};
use super::{TOKEN_VOLUME, list, names};
use crate::base::nearest::nearest;

/// The volume that the webhook adds, with a token for the engine alone.
pub const OWN_VOLUME: &str = "lessor-token";

/// A token of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The volume's name.
    pub volume: String,
    /// Where the agent's container has it.
    pub folder: String,
    /// The file there.
    pub file: String,
}

impl Token {
    /// `None` where the agent does not log in with the pod's own token.
    ///
    /// # Errors
    /// When the volume that was named is not there, or holds no token.
    pub fn find(spec: &Value, injection: &Injection) -> Result<Option<Self>, Mistake> {
        let Some(volume) = &injection.login.token_volume else {
            let own =
                Self { volume: OWN_VOLUME.to_owned(), folder: TOKEN_FOLDER.to_owned(), file: TOKEN_FILE.to_owned() };
            return Ok(logs_in_with_it(injection).then_some(own));
        };
        let Some(found) = list(spec, "volumes").iter().find(|found| found["name"] == volume.as_str()) else {
            let hint = nearest(volume, names(spec, "volumes")).map(|near| format!("; did you mean {near:?}?"));
            let problem = format!("the pod has no volume {volume:?}{}", hint.unwrap_or_default());
            return Err(injection.mistake(TOKEN_VOLUME, problem));
        };
        let file = list(&found["projected"], "sources")
            .iter()
            .find_map(|source| source["serviceAccountToken"]["path"].as_str());
        let Some(file) = file else {
            let problem = format!("the volume {volume:?} projects no serviceAccountToken: add one to its sources");
            return Err(injection.mistake(TOKEN_VOLUME, problem));
        };
        // Where the application has it, so that a path in a configuration means the same for both.
        let mounts = list(spec, "containers").iter().flat_map(|container| list(container, "volumeMounts"));
        let folder =
            mounts.filter(|mount| mount["name"] == volume.as_str()).find_map(|mount| mount["mountPath"].as_str());
        let folder = folder.unwrap_or(TOKEN_FOLDER).trim_end_matches('/').to_owned();
        Ok(Some(Self { volume: volume.clone(), folder, file: file.to_owned() }))
    }

    /// The token's file.
    pub fn path(&self) -> String {
        format!("{}/{}", self.folder, self.file)
    }

    /// The agent's mount of it.
    pub fn mount(&self) -> Value {
        json!({"name": self.volume, "mountPath": self.folder, "readOnly": true})
    }
}

/// Unless the method takes something else, or the token's file was named.
fn logs_in_with_it(injection: &Injection) -> bool {
    let login = &injection.login;
    let unnamed = |parameter: &str| !login.parameters.contains_key(parameter);
    login.method.token_parameter().is_some_and(unnamed) || injection.agent.config_map.is_some()
}
