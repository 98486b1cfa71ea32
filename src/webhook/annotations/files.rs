//! Annotations with a NAME: what is said about one secret, and the file or the variables that come of it.

use super::reload::Reload;
use super::variables::{self, Variable, Wish};
use super::{Family, value};

/// What one of them sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSetting {
    /// The path to read.
    Secret,
    /// The template.
    Template,
    /// The template's file, in the agent's container.
    TemplateFile,
    /// The file's name in the volume.
    File,
    /// The file's mode.
    Perms,
    /// Where this file's volume is mounted.
    Path,
    /// The life that is asked for.
    Ttl,
    /// The variables that are filled.
    Env,
    /// Who hears of a change.
    Reload,
    /// Run after each writing.
    Command,
    /// In place of `{{`.
    LeftDelimiter,
    /// In place of `}}`.
    RightDelimiter,
    /// Whether a missing key is an error.
    MissingKey,
    /// Whether NAME keeps its capitals.
    KeepCase,
}

/// Where a template's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The whole text.
    Text(String),
    /// A file in the agent's container.
    File(String),
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Which of [`super::Injection::folders`] it is in.
    pub folder: usize,
    /// Below the volume.
    pub destination: String,
    /// Its template.
    pub template: Body,
    /// Octal digits.
    pub mode: Option<String>,
    /// In place of `{{` and `}}`.
    pub delimiters: Option<(String, String)>,
    /// Whether a missing key is an error.
    pub missing_key_fails: bool,
    /// Run by the agent after each writing.
    pub command: Option<String>,
    /// Who hears of a change.
    pub reload: Reload,
}

/// What was said about one NAME so far.
#[derive(Default)]
pub(super) struct Draft {
    /// Whether there is a path, be it a wrong one that has been reported.
    has_secret: bool,
    path: Option<String>,
    template: Option<String>,
    template_file: Option<String>,
    file: Option<String>,
    mode: Option<String>,
    /// Where it is mounted, if not where all files are.
    pub mount_path: Option<String>,
    ttl: Option<String>,
    /// The variables, if it fills some.
    pub env: Option<Wish>,
    /// Who hears of a change.
    pub reload: Reload,
    /// What is run after each writing.
    pub command: Option<String>,
    left: Option<String>,
    right: Option<String>,
    missing_key_fails: bool,
    keep_case: Option<bool>,
    /// Some annotation with this NAME, for messages.
    mentioned_by: String,
}

/// Why nothing can be made of a draft.
#[derive(Debug)]
pub(super) enum Problem {
    /// One annotation is wrong, or goes not with the others.
    With(FileSetting, String),
    /// Nothing says what is to be read.
    NoSecret,
}

/// What drafts need to know of everything else.
pub(super) struct Around {
    pub default_is_json: bool,
    pub keep_case: bool,
}

impl Draft {
    /// Takes one annotation, called `annotation` with its prefix.
    pub fn take(&mut self, family: Family, annotation: String, setting: FileSetting, text: &str) -> Result<(), String> {
        self.mentioned_by = annotation;
        match setting {
            // Vault's users switch a file that a template names with an empty path.
            FileSetting::Secret if text.trim().is_empty() && family == Family::Vault => {}
            FileSetting::Secret => {
                self.has_secret = true;
                self.path = Some(value::api_path(text)?);
            }
            FileSetting::Template => self.template = Some(text.to_owned()),
            FileSetting::TemplateFile => self.template_file = Some(value::absolute_file(text)?),
            FileSetting::File => self.file = Some(value::relative_file(text)?),
            FileSetting::Perms => self.mode = Some(value::mode(text)?),
            FileSetting::Path => self.mount_path = Some(value::mount_path(text)?),
            FileSetting::Ttl => self.ttl = Some(value::duration(text)?),
            FileSetting::Env => self.env = Some(variables::parse(text)?),
            FileSetting::Reload => self.reload = Reload::parse(text)?,
            FileSetting::Command => self.command = Some(value::text(text)?),
            FileSetting::LeftDelimiter => self.left = Some(value::text(text)?),
            FileSetting::RightDelimiter => self.right = Some(value::text(text)?),
            FileSetting::MissingKey => self.missing_key_fails = value::flag(text)?,
            FileSetting::KeepCase => self.keep_case = Some(value::flag(text)?),
        }
        Ok(())
    }

    /// The annotation that spoke of this NAME last.
    pub fn mentioned_by(&self) -> &str {
        &self.mentioned_by
    }

    /// Whether a file is written: not where variables take its place, unless it was named as well.
    pub fn is_file(&self) -> bool {
        self.env.is_none() || self.file.is_some()
    }

    /// Annotations of which only one could be followed.
    fn check_template(&self) -> Result<(), Problem> {
        if let (Some(_), Some(_)) = (&self.template, &self.template_file) {
            let advice = "a template in an annotation is there as well: keep one";
            return Err(Problem::With(FileSetting::TemplateFile, advice.to_owned()));
        }
        if self.ttl.is_some() && (self.template.is_some() || self.template_file.is_some()) {
            let advice = "the template names its paths itself: write it there, as in {{ with secret \"PATH?ttl=1h\" }}";
            return Err(Problem::With(FileSetting::Ttl, advice.to_owned()));
        }
        Ok(())
    }

    /// The path with the life that is asked for.
    fn asked_path(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        let Some(ttl) = &self.ttl else { return Some(path.clone()) };
        let joint = if path.contains('?') { '&' } else { '?' };
        Some(format!("{path}{joint}ttl={ttl}"))
    }

    fn delimiters(&self) -> Option<(String, String)> {
        match (&self.left, &self.right) {
            (None, None) => None,
            (left, right) => Some((
                left.clone().unwrap_or_else(|| "{{".to_owned()),
                right.clone().unwrap_or_else(|| "}}".to_owned()),
            )),
        }
    }

    /// The template with its delimiters. A default one has Go's.
    fn body(&self, around: &Around) -> Result<(Body, Option<(String, String)>), Problem> {
        self.check_template()?;
        if let Some(path) = &self.template_file {
            return Ok((Body::File(path.clone()), self.delimiters()));
        }
        if let Some(text) = &self.template {
            let delimiters = self.delimiters();
            let pair = delimiters.as_ref().map(|(left, right)| (left.as_str(), right.as_str()));
            value::check_template(text, pair).map_err(|problem| Problem::With(FileSetting::Template, problem))?;
            return Ok((Body::Text(text.clone()), delimiters));
        }
        match self.asked_path() {
            Some(path) => Ok((Body::Text(default_template(around.default_is_json, &path)), None)),
            // The wrong path has been reported.
            None if self.has_secret => Ok((Body::Text(String::new()), None)),
            None => Err(Problem::NoSecret),
        }
    }

    /// The file, in the folder of that number.
    pub fn file(&self, name: &str, folder: usize, around: &Around) -> Result<File, Problem> {
        let (template, delimiters) = self.body(around)?;
        let kept = self.keep_case.unwrap_or(around.keep_case);
        let file_name = if kept { name.to_owned() } else { name.to_lowercase() };
        let destination = match &self.file {
            Some(file) => file.clone(),
            None => value::relative_file(&file_name).map_err(|problem| Problem::With(FileSetting::Secret, problem))?,
        };
        Ok(File {
            folder,
            destination,
            template,
            mode: self.mode.clone(),
            delimiters,
            missing_key_fails: self.missing_key_fails,
            command: self.command.clone(),
            reload: self.reload.clone(),
        })
    }

    /// The variables, if it fills some.
    pub fn variables(&self, around: &Around) -> Result<Vec<Variable>, Problem> {
        let Some(wish) = &self.env else { return Ok(Vec::new()) };
        let (template, delimiters) = self.body(around)?;
        match wish {
            Wish::Whole(name) => {
                let missing_key_fails = self.missing_key_fails;
                Ok(vec![Variable { name: name.clone(), template, delimiters, missing_key_fails }])
            }
            Wish::Keys(_) if self.template.is_some() || self.template_file.is_some() => {
                let advice = "a template makes one text: name the one variable that gets it, without a key";
                Err(Problem::With(FileSetting::Env, advice.to_owned()))
            }
            Wish::Keys(pairs) => {
                let path = self.asked_path().unwrap_or_default();
                Ok(pairs.iter().map(|(name, key)| Variable::of_key(name, &path, key)).collect())
            }
        }
    }
}

/// What a file without a template of its own holds: every field on a line, or all as JSON.
fn default_template(is_json: bool, path: &str) -> String {
    if is_json {
        return format!("{{{{ with secret \"{path}\" }}}}{{{{ .Data | toJSON }}}}\n{{{{ end }}}}");
    }
    format!(
        "{{{{ with secret \"{path}\" }}}}{{{{ range $k, $v := .Data }}}}{{{{ $k }}}}: {{{{ $v }}}}\n{{{{ end }}}}{{{{ end }}}}"
    )
}
