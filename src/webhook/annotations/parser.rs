//! Gathers what the annotations of one pod say, then makes the injection of it.

use std::collections::BTreeMap;

use super::catalog::{Family, Setting};
use super::find::{find, full_name, suggestion};
use super::{File, Injection, Mistake, Overrides, value};

/// What was said about one NAME so far.
#[derive(Default)]
struct Draft {
    /// Whether there is a path, be it a wrong one that has been reported.
    has_secret: bool,
    path: Option<String>,
    template: Option<String>,
    file: Option<String>,
    mode: Option<String>,
    left: Option<String>,
    right: Option<String>,
    missing_key_fails: bool,
    keep_case: Option<bool>,
    /// Some annotation with this NAME, for messages.
    mentioned_by: String,
}

pub(super) struct Parser {
    injection: Injection,
    drafts: BTreeMap<String, Draft>,
    default_template: String,
    keep_case: bool,
    mistakes: Vec<Mistake>,
}

impl Parser {
    pub fn new(family: Family) -> Self {
        let ours = family == Family::Lessor;
        let injection = Injection {
            family,
            role: String::new(),
            files: BTreeMap::new(),
            token: false,
            containers: None,
            mount_path: if ours { "/lessor/secrets" } else { "/vault/secrets" }.to_owned(),
            overrides: Overrides::default(),
            once: false,
            // Theirs starts last unless told otherwise, and pods made for it may count on that.
            init_first: ours,
            exit_on_auth_error: false,
            log_level: None,
            log_format: None,
            resources: BTreeMap::new(),
            run_as: (None, None),
            warnings: Vec::new(),
        };
        Self {
            injection,
            drafts: BTreeMap::new(),
            default_template: "map".to_owned(),
            keep_case: ours,
            mistakes: Vec::new(),
        }
    }

    /// Takes one annotation, `name` without its prefix.
    pub fn read(&mut self, name: &str, text: &str, namespace: &str) {
        if let Err(problem) = self.take(name, text, namespace) {
            let annotation = format!("{}{name}", self.injection.family.prefix());
            self.mistakes.push(Mistake { annotation, problem });
        }
    }

    fn take(&mut self, name: &str, text: &str, namespace: &str) -> Result<(), String> {
        let family = self.injection.family;
        let Some((setting, file)) = find(family, name) else {
            let hint = suggestion(family, name).map(|meant| format!("; did you mean {meant}?"));
            return self.without_effect(name, &format!("is not known{}", hint.unwrap_or_default()));
        };
        if let Setting::Unsupported(reason) = setting {
            return self.without_effect(name, reason);
        }
        match file {
            Some(file) if setting != Setting::Nothing => self.read_file(name, file, setting, text),
            _ => self.read_one(setting, text, namespace),
        }
    }

    /// Ours are refused, as a pod without what it asks for is a surprise later; theirs may be there for another injector.
    fn without_effect(&mut self, name: &str, reason: &str) -> Result<(), String> {
        match self.injection.family {
            Family::Lessor => Err(reason.to_owned()),
            Family::Vault => {
                let warning = format!("{}{name} has no effect: {reason}", Family::Vault.prefix());
                self.injection.warnings.push(warning);
                Ok(())
            }
        }
    }

    fn read_one(&mut self, setting: Setting, text: &str, namespace: &str) -> Result<(), String> {
        let injection = &mut self.injection;
        match setting {
            Setting::Role => injection.role = role(injection.family, text, namespace)?,
            Setting::DefaultTemplate => self.default_template = value::word(text, &["map", "json"])?,
            Setting::Containers => injection.containers = Some(value::list(text)?),
            Setting::Path => injection.mount_path = value::mount_path(text)?,
            Setting::KeepCase => self.keep_case = value::flag(text)?,
            Setting::Address => injection.overrides.address = Some(value::address(text)?),
            Setting::Namespace => injection.overrides.namespace = Some(value::text(text)?),
            Setting::AuthPath => injection.overrides.auth_path = Some(value::auth_path(text)?),
            Setting::AuthType => drop(value::word(text, &["kubernetes"])?),
            Setting::ExitOnAuthError => injection.exit_on_auth_error = value::flag(text)?,
            Setting::Once => injection.once = value::flag(text)?,
            Setting::InitFirst => injection.init_first = value::flag(text)?,
            Setting::Image => injection.overrides.image = Some(value::text(text)?),
            Setting::LogLevel => {
                let levels = ["trace", "debug", "info", "warn", "error", "off"];
                injection.log_level = Some(value::word(&text.to_ascii_lowercase(), &levels)?);
            }
            Setting::LogFormat => injection.log_format = Some(value::word(text, &["standard", "json"])?),
            Setting::Token => injection.token = value::flag(text)?,
            Setting::Resource(kind, resource) => {
                drop(injection.resources.insert((kind, resource), value::quantity(text)?))
            }
            Setting::RunAsUser => injection.run_as.0 = Some(value::id(text)?),
            Setting::RunAsGroup => injection.run_as.1 = Some(value::id(text)?),
            // The opt-in was read before; the others have their NAME or never get here.
            _ => {}
        }
        Ok(())
    }

    fn read_file(&mut self, annotation: &str, file: &str, setting: Setting, text: &str) -> Result<(), String> {
        let draft = self.drafts.entry(file.to_owned()).or_default();
        draft.mentioned_by = format!("{}{annotation}", self.injection.family.prefix());
        match setting {
            // Vault's users switch a file that a template names with an empty path.
            Setting::Secret if text.trim().is_empty() && self.injection.family == Family::Vault => {}
            Setting::Secret => {
                draft.has_secret = true;
                draft.path = Some(value::api_path(text)?);
            }
            Setting::Template => draft.template = Some(text.to_owned()),
            Setting::File => draft.file = Some(value::relative_file(text)?),
            Setting::Perms => draft.mode = Some(value::mode(text)?),
            Setting::LeftDelimiter => draft.left = Some(value::text(text)?),
            Setting::RightDelimiter => draft.right = Some(value::text(text)?),
            Setting::MissingKey => draft.missing_key_fails = value::flag(text)?,
            Setting::KeepCase => draft.keep_case = Some(value::flag(text)?),
            _ => {}
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Injection, Vec<Mistake>> {
        let family = self.injection.family;
        for (name, draft) in std::mem::take(&mut self.drafts) {
            match self.file(&name, draft) {
                Ok(file) => drop(self.injection.files.insert(name, file)),
                Err(mistake) => self.mistakes.push(mistake),
            }
        }
        self.check_destinations();
        let missing =
            |setting, problem: &str| Mistake { annotation: full_name(family, setting), problem: problem.to_owned() };
        let role_is_wrong = self.mistakes.iter().any(|mistake| mistake.annotation == full_name(family, Setting::Role));
        if self.injection.role.is_empty() && !role_is_wrong {
            let problem = "is missing: set it to the role that this pod's ServiceAccount may use";
            self.mistakes.push(missing(Setting::Role, problem));
        }
        if self.injection.files.is_empty() && !self.injection.token && self.mistakes.is_empty() {
            let problem = "is missing: set at least one, or there is nothing to write";
            self.mistakes.push(missing(Setting::Secret, problem));
        }
        if self.mistakes.is_empty() { Ok(self.injection) } else { Err(self.mistakes) }
    }

    fn file(&self, name: &str, draft: Draft) -> Result<File, Mistake> {
        let family = self.injection.family;
        let named = |setting: Setting| full_name(family, setting).replace("NAME", name);
        let mistake = |setting, problem: String| Mistake { annotation: named(setting), problem };
        let default = match draft.path {
            Some(path) => default_template(&self.default_template, &path),
            None if draft.template.is_none() && !draft.has_secret => {
                let problem = format!("there is no {} to go with it: add it", named(Setting::Secret));
                return Err(Mistake { annotation: draft.mentioned_by, problem });
            }
            None => String::new(),
        };
        let delimiters = match (draft.left, draft.right) {
            (None, None) => None,
            (left, right) => Some((left.unwrap_or_else(|| "{{".into()), right.unwrap_or_else(|| "}}".into()))),
        };
        let (template, delimiters) = match draft.template {
            Some(text) => {
                let pair = delimiters.as_ref().map(|(left, right)| (left.as_str(), right.as_str()));
                value::check_template(&text, pair).map_err(|problem| mistake(Setting::Template, problem))?;
                (text, delimiters)
            }
            None => (default, None),
        };
        let file_name = if draft.keep_case.unwrap_or(self.keep_case) { name.to_owned() } else { name.to_lowercase() };
        let destination = match draft.file {
            Some(file) => file,
            None => value::relative_file(&file_name).map_err(|problem| mistake(Setting::Secret, problem))?,
        };
        Ok(File { destination, template, mode: draft.mode, delimiters, missing_key_fails: draft.missing_key_fails })
    }

    fn check_destinations(&mut self) {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        if self.injection.token {
            taken.insert("token", "the token");
        }
        for (name, file) in &self.injection.files {
            if let Some(other) = taken.insert(&file.destination, name) {
                let annotation = full_name(self.injection.family, Setting::File).replace("NAME", name);
                let problem = format!("{:?} is the file of {other} already: choose another", file.destination);
                self.mistakes.push(Mistake { annotation, problem });
            }
        }
    }
}

/// What a file without a template of its own holds: every field on a line, or all as JSON.
fn default_template(kind: &str, path: &str) -> String {
    match kind {
        "json" => format!("{{{{ with secret \"{path}\" }}}}{{{{ .Data | toJSON }}}}\n{{{{ end }}}}"),
        _ => format!(
            "{{{{ with secret \"{path}\" }}}}{{{{ range $k, $v := .Data }}}}{{{{ $k }}}}: {{{{ $v }}}}\n{{{{ end }}}}{{{{ end }}}}"
        ),
    }
}

/// `NAME` or `NAMESPACE/NAME` of a DatabaseRole into the login role that the operator made for it. Under Vault's prefix a
/// role without a slash is any role of the engine, as it is.
fn role(family: Family, text: &str, namespace: &str) -> Result<String, String> {
    let text = value::text(text)?;
    let example = "use NAME or NAMESPACE/NAME of a DatabaseRole";
    if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{text:?} holds {odd:?}: {example}"));
    }
    match (text.split_once('/'), family) {
        (None, Family::Vault) => Ok(text),
        (None, Family::Lessor) => Ok(format!("{namespace}.{text}")),
        (Some((space, name)), _) if !space.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(format!("{space}.{name}"))
        }
        _ => Err(format!("{text:?} is no role: {example}")),
    }
}
