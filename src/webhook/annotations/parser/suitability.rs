//! Which annotations go with which mode, and what has to be there at all.

use super::super::api::ApiSetting;
use super::super::container::ContainerSetting;
use super::{Draft, Family, FileSetting, Mode, Parser, Reload, Setting, full_name};

impl Parser {
    /// What one NAME asks for and the mode cannot do.
    pub(super) fn check_draft(&mut self, name: &str, draft: &Draft) {
        let mode = self.injection.mode;
        if draft.env.is_some() && mode != Mode::Exec {
            let advice =
                "an environment is made when a process starts: set lessor.dev/mode to \"exec\", or leave it a file";
            self.wrong(&self.named(FileSetting::Env, name), advice);
        }
        let reload = self.named(FileSetting::Reload, name);
        match (&draft.reload, mode) {
            (Reload::Unsaid, _) => {}
            (_, Mode::Once) => self.wrong(&reload, "no agent stays that would see a change: choose another mode"),
            (Reload::Http(_), Mode::Exec) if !draft.is_file() => {
                self.wrong(&reload, "a changed variable needs a restart: leave it out, or write a file");
            }
            (Reload::Signal { .. }, Mode::Exec) if !draft.is_file() => {
                self.wrong(&reload, "a process cannot learn of a changed variable: leave it out, or write a file");
            }
            _ => {}
        }
        if draft.env.is_some() {
            self.restarts.insert(draft.reload != Reload::None, reload);
        }
    }

    /// A process has all of its variables from one start.
    fn check_restarts(&mut self) {
        match (self.restarts.get(&false).cloned(), self.restarts.contains_key(&true)) {
            (Some(reload), true) => {
                self.wrong(
                    &reload,
                    "one process has the variables of every env-NAME: say it of all of them, or of none",
                );
            }
            (Some(_), false) => self.injection.restarts = false,
            (None, _) => {}
        }
    }

    pub(super) fn check_suitability(&mut self) {
        self.check_restarts();
        self.check_containers();
        self.check_life();
        self.check_content();
    }

    /// What is said of containers that the mode does not have.
    fn check_containers(&mut self) {
        let injection = &self.injection;
        let (mode, agent) = (injection.mode, &injection.agent);
        let mut without = Vec::new();
        if agent.init_json_patch.is_some() && mode == Mode::Sidecar {
            without.push((ContainerSetting::InitJsonPatch, "the agent is one container, which json-patch is for"));
        }
        if agent.json_patch.is_some() && !mode.stays() {
            without.push((ContainerSetting::JsonPatch, "no agent stays; init-json-patch is for the init container"));
        }
        if agent.copy_mounts.is_some() && mode == Mode::Exec {
            without.push((
                ContainerSetting::CopyMounts,
                "the agent runs in the application's container and sees its mounts",
            ));
        }
        let chosen = agent.user.is_some() || agent.group.is_some() || agent.same_user;
        if !agent.has_security_context && chosen {
            without.push((ContainerSetting::SecurityContext, "a user or group was chosen, which needs one"));
        }
        if agent.image.as_deref().is_some_and(is_theirs) {
            without.push((
                ContainerSetting::Image,
                "that image holds another agent; the installation's own image is used",
            ));
            self.injection.agent.image = None;
        }
        for (setting, reason) in without {
            self.inapplicable(&full_name(self.injection.family, Setting::Container(setting)), reason);
        }
        if chosen {
            self.injection.agent.has_security_context = true;
        }
    }

    fn check_life(&mut self) {
        let family = self.injection.family;
        let (mode, waits, api) = (self.injection.mode, self.injection.waits, self.injection.api.clone());
        if !waits && !mode.stays() {
            self.inapplicable(
                &full_name(family, Setting::PrePopulate),
                "the application starts after the agent in this mode",
            );
        }
        let named = |setting| full_name(family, Setting::Api(setting));
        if api.listens() && mode == Mode::Once {
            let setting = if api.passes_on { ApiSetting::Enable } else { ApiSetting::Quit };
            self.inapplicable(&named(setting), "no agent stays that could answer");
        }
        if api.is_described && !api.listens() {
            let enable = named(ApiSetting::Enable);
            self.inapplicable(&enable, "is not true, so that port and token of the API mean nothing");
        }
        let command = self.injection.files.iter().find(|(_, file)| file.command.is_some());
        if let Some((name, _)) = command
            && mode != Mode::Exec
            && self.injection.agent.image.is_none()
        {
            let command = self.named(FileSetting::Command, name);
            let image = full_name(family, Setting::Container(ContainerSetting::Image));
            let problem = "the agent's image holds no shell and no programs";
            self.injection.warnings.push(format!("{command}: {problem}; choose one that does with {image}"));
        }
    }

    fn check_content(&mut self) {
        let family = self.injection.family;
        let injection = &mut self.injection;
        if injection.agent.config_map.is_some() {
            if family == Family::Vault && !injection.files.is_empty() {
                injection.files.clear();
                injection.folders.truncate(1);
                let (configmap, secret) = (
                    full_name(family, Setting::Container(ContainerSetting::ConfigMap)),
                    full_name(family, Setting::File(FileSetting::Secret)),
                );
                injection.warnings.push(format!("{secret} has no effect: {configmap} takes its place"));
            }
            return;
        }
        let nothing = injection.files.is_empty() && injection.variables.is_empty() && !injection.token;
        let serves = injection.api.passes_on && injection.mode.stays();
        if nothing && !serves && self.mistakes.is_empty() {
            let problem = "is missing: set at least one, or there is nothing to write";
            self.wrong(&full_name(family, Setting::File(FileSetting::Secret)), problem);
        }
        if nothing && self.injection.mode == Mode::Exec && self.mistakes.is_empty() {
            self.wrong(
                &full_name(family, Setting::Mode),
                "there is nothing to give to the process: add env-NAME or secret-NAME",
            );
        }
    }
}

/// Whether an image is Vault's or OpenBao's own, as pods made for their injector pin it: our agent is not in there.
fn is_theirs(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default();
    let name = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
    let mut parts = name.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some("vault" | "vault-enterprise"), Some("hashicorp")) | (Some("vault"), None) => true,
        (Some(last), Some("openbao")) => last.starts_with("openbao"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_with_another_agent_are_known() {
        for image in [
            "hashicorp/vault:1.17.2",
            "docker.io/hashicorp/vault@sha256:00",
            "registry.example.org:5000/mirror/hashicorp/vault-enterprise:1.17-ent",
            "vault",
            "quay.io/openbao/openbao-ubi:2",
        ] {
            assert!(is_theirs(image), "{image}");
        }
        for image in ["lessor.dev/lessor:1", "registry.example.org:5000/platform/vault:1", "hashicorp/vault-tools:1"] {
            assert!(!is_theirs(image), "{image}");
        }
    }
}
