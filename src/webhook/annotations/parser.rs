//! Gathers what the annotations of one pod say, then makes the injection of it.

use std::collections::BTreeMap;

use super::catalog::{Family, Setting};
use super::engine::EngineSetting;
use super::files::{Around, Draft, FileSetting, Problem};
use super::find::{find, full_name, suggestion};
use super::login::LoginSetting;
use super::{AgentContainer, Api, Engine, Injection, Login, Mistake, Mode, Reload, Rendering, value};

mod suitability;

/// What the annotations say, one by one.
pub(super) struct Parser {
    injection: Injection,
    drafts: BTreeMap<String, Draft>,
    mode: Option<Mode>,
    once: bool,
    mount_path: String,
    keep_case: bool,
    /// The `reload-NAME` of a variable's secret, by whether its change restarts the process.
    restarts: BTreeMap<bool, String>,
    mistakes: Vec<Mistake>,
}

impl Parser {
    pub fn new(family: Family) -> Self {
        let ours = family == Family::Lessor;
        let injection = Injection {
            family,
            mode: Mode::Sidecar,
            waits: true,
            // Theirs starts last unless told otherwise, and pods made for it may count on that.
            init_first: ours,
            containers: None,
            folders: Vec::new(),
            files: BTreeMap::new(),
            variables: Vec::new(),
            token: false,
            shares_processes: false,
            restarts: true,
            rendering: Rendering::default(),
            login: Login::default(),
            engine: Engine::default(),
            agent: AgentContainer::default(),
            api: Api::default(),
            warnings: Vec::new(),
        };
        Self {
            injection,
            drafts: BTreeMap::new(),
            mode: None,
            once: false,
            mount_path: if ours { "/lessor/secrets" } else { "/vault/secrets" }.to_owned(),
            keep_case: ours,
            restarts: BTreeMap::new(),
            mistakes: Vec::new(),
        }
    }

    /// Takes one annotation, `name` without its prefix.
    pub fn read(&mut self, name: &str, text: &str) {
        if let Err(problem) = self.take(name, text) {
            self.wrong(&format!("{}{name}", self.injection.family.prefix()), problem);
        }
    }

    fn take(&mut self, name: &str, text: &str) -> Result<(), String> {
        let family = self.injection.family;
        let Some((setting, rest)) = find(family, name) else {
            let hint = suggestion(family, name).map(|meant| format!("; did you mean {meant}?"));
            let annotation = format!("{}{name}", family.prefix());
            self.inapplicable(&annotation, &format!("is not known{}", hint.unwrap_or_default()));
            return Ok(());
        };
        let rest = rest.unwrap_or_default();
        let injection = &mut self.injection;
        match setting {
            // The opt-in was read before.
            Setting::Inject | Setting::Nothing => {}
            Setting::Mode => self.mode = Some(Mode::parse(text)?),
            Setting::Once => self.once = value::flag(text)?,
            Setting::PrePopulate => injection.waits = value::flag(text)?,
            Setting::InitFirst => injection.init_first = value::flag(text)?,
            Setting::Containers => injection.containers = Some(value::list(text)?),
            Setting::Path => self.mount_path = value::mount_path(text)?,
            Setting::KeepCase => self.keep_case = value::flag(text)?,
            Setting::Token => injection.token = value::flag(text)?,
            Setting::ShareProcesses => injection.shares_processes = value::flag(text)?,
            Setting::Revoke if value::flag(text)? => {}
            Setting::Revoke => {
                let annotation = format!("{}{name}", family.prefix());
                self.inapplicable(&annotation, "what a pod was given always ends with it");
            }
            Setting::File(setting) => {
                let annotation = format!("{}{name}", family.prefix());
                self.drafts.entry(rest.to_owned()).or_default().take(family, annotation, setting, text)?;
            }
            Setting::Rendering(setting) => injection.rendering.take(setting, text)?,
            Setting::Login(setting) => injection.login.take(setting, rest, text)?,
            Setting::Engine(setting) => injection.engine.take(setting, text)?,
            Setting::Container(setting) => injection.agent.take(setting, text)?,
            Setting::Api(setting) => injection.api.take(setting, text)?,
            Setting::Unsupported(reason) => self.inapplicable(&format!("{}{name}", family.prefix()), reason),
        }
        Ok(())
    }

    fn wrong(&mut self, annotation: &str, problem: impl Into<String>) {
        self.mistakes.push(Mistake { annotation: annotation.to_owned(), problem: problem.into() });
    }

    /// Ours are refused, as a pod without what it asks for is a surprise later; theirs may be there for another injector.
    fn inapplicable(&mut self, annotation: &str, reason: &str) {
        match self.injection.family {
            Family::Lessor => self.wrong(annotation, reason),
            Family::Vault => self.injection.warnings.push(format!("{annotation} has no effect: {reason}")),
        }
    }

    fn named(&self, setting: FileSetting, name: &str) -> String {
        full_name(self.injection.family, Setting::File(setting)).replace("NAME", name)
    }

    fn is_wrong(&self, annotation: &str) -> bool {
        self.mistakes.iter().any(|mistake| mistake.annotation == annotation)
    }

    /// What everything together comes to, for a pod in `namespace`.
    pub fn finish(mut self, namespace: &str, native_sidecars: bool) -> Result<Injection, Vec<Mistake>> {
        self.settle_mode(native_sidecars);
        self.settle_login(namespace);
        self.check_certificate();
        self.settle_drafts();
        self.check_destinations();
        self.check_suitability();
        if self.mistakes.is_empty() { Ok(self.injection) } else { Err(self.mistakes) }
    }

    fn settle_mode(&mut self, native_sidecars: bool) {
        let family = self.injection.family;
        self.injection.mode = match (self.mode, self.once) {
            (None | Some(Mode::Once), true) => Mode::Once,
            (Some(other), once) => {
                if once {
                    let problem = format!("{} names another mode: keep one", full_name(family, Setting::Mode));
                    self.wrong(&full_name(family, Setting::Once), problem);
                }
                other
            }
            (None, false) if native_sidecars => Mode::Sidecar,
            (None, false) => Mode::Classic,
        };
        if self.mode == Some(Mode::Sidecar) && !native_sidecars {
            let problem =
                "this cluster is older than Kubernetes 1.29, where init containers that stay begin: use \"classic\"";
            self.wrong(&full_name(family, Setting::Mode), problem);
        }
    }

    fn settle_login(&mut self, namespace: &str) {
        let family = self.injection.family;
        let role = full_name(family, Setting::Login(LoginSetting::Role));
        let parameter = |key: &str| format!("{}auth-config-{key}", family.prefix());
        for unknown in self.injection.login.settle_parameters() {
            self.inapplicable(&parameter(&unknown.key), &unknown.problem);
        }
        for (key, problem) in self.injection.login.wrong_flags().collect::<Vec<_>>() {
            self.wrong(&parameter(&key), problem);
        }
        if let Some(reason) = self.injection.login.settle_roleless() {
            self.inapplicable(&role, reason);
        }
        if let Err(problem) = self.injection.login.settle_role(family, namespace) {
            self.wrong(&role, problem);
        }
        let login = &self.injection.login;
        // The ConfigMap of a pod's own may hold the whole login.
        if self.injection.agent.config_map.is_some() && !login.is_described {
            return;
        }
        if let Some(missing) = login.missing_parameter() {
            let problem = format!("is missing: the login {} needs it", login.method.name());
            self.wrong(&parameter(&missing), problem);
        }
        if self.injection.login.lacks_role() && !self.is_wrong(&role) {
            self.wrong(&role, "is missing: set it to the role that this pod's ServiceAccount may use");
        }
    }

    /// The certificate for the engine is nothing without its key.
    fn check_certificate(&mut self) {
        let engine = &self.injection.engine;
        let (missing, other) = match (&engine.client_cert, &engine.client_key) {
            (Some(_), None) => (EngineSetting::ClientKey, EngineSetting::ClientCert),
            (None, Some(_)) => (EngineSetting::ClientCert, EngineSetting::ClientKey),
            _ => return,
        };
        let name = |setting| full_name(self.injection.family, Setting::Engine(setting));
        let (missing, problem) = (name(missing), format!("is missing: {} needs it", name(other)));
        // A wrong one has been reported.
        if !self.is_wrong(&missing) {
            self.wrong(&missing, problem);
        }
    }

    fn settle_drafts(&mut self) {
        let around = Around { default_is_json: self.injection.rendering.default_is_json, keep_case: self.keep_case };
        if self.injection.token || self.injection.agent.config_map.is_some() {
            self.injection.folders.push(self.mount_path.clone());
        }
        for (name, draft) in std::mem::take(&mut self.drafts) {
            if let Err(problem) = self.settle_draft(&name, &draft, &around) {
                match problem {
                    Problem::With(setting, problem) => self.wrong(&self.named(setting, &name), problem),
                    Problem::NoSecret => {
                        let secret = self.named(FileSetting::Secret, &name);
                        self.wrong(draft.mentioned_by(), format!("there is no {secret} to go with it: add it"));
                    }
                }
            }
            self.check_draft(&name, &draft);
        }
        self.injection.shares_processes |= self.injection.mode.stays()
            && self.injection.files.values().any(|file| matches!(file.reload, Reload::Signal { .. }));
    }

    fn settle_draft(&mut self, name: &str, draft: &Draft, around: &Around) -> Result<(), Problem> {
        self.injection.variables.extend(draft.variables(around)?);
        if draft.is_file() {
            let folder = self.folder(draft.mount_path.as_ref().unwrap_or(&self.mount_path).clone());
            self.injection.files.insert(name.to_owned(), draft.file(name, folder, around)?);
        }
        Ok(())
    }

    fn folder(&mut self, path: String) -> usize {
        let folders = &mut self.injection.folders;
        folders.iter().position(|known| *known == path).unwrap_or_else(|| {
            folders.push(path);
            folders.len() - 1
        })
    }

    fn check_destinations(&mut self) {
        let mut taken: BTreeMap<(usize, String), String> = BTreeMap::new();
        if self.injection.token {
            taken.insert((0, "token".to_owned()), "the token".to_owned());
        }
        let mut wrong = Vec::new();
        for (name, file) in &self.injection.files {
            if let Some(other) = taken.insert((file.folder, file.destination.clone()), name.clone()) {
                let problem = format!("{:?} is the file of {other} already: choose another", file.destination);
                wrong.push((self.named(FileSetting::File, name), problem));
            }
        }
        for (number, variable) in self.injection.variables.iter().enumerate() {
            if self.injection.variables[..number].iter().any(|earlier| earlier.name == variable.name) {
                let annotation = format!("{}env-NAME", self.injection.family.prefix());
                wrong.push((annotation, format!("{} is filled twice: choose another name", variable.name)));
            }
        }
        wrong.into_iter().for_each(|(annotation, problem)| self.wrong(&annotation, problem));
    }
}
