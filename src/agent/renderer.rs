//! Templates and their files: a pass renders all of them with what is known and tells what is missing, as often as needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::config::{TemplateBody, TemplateConfig};
use super::query::Query;
use super::{Error, write};
use crate::base::Clock;
use crate::base::template::{Functions, Missing, Template, Value, Variables};

/// What the functions `secret` and `secrets` see and leave behind.
#[derive(Default)]
struct Known {
    values: BTreeMap<Query, Value>,
    asked: BTreeSet<Query>,
}

/// All templates.
pub struct Renderer {
    known: Arc<Mutex<Known>>,
    functions: Functions,
    templates: Vec<(TemplateConfig, Template)>,
}

/// What one pass came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// What was asked for and is not known yet; the templates that asked are not written.
    pub missing: BTreeSet<Query>,
    /// Everything that was asked for.
    pub asked: BTreeSet<Query>,
    /// The commands of the files that have changed.
    pub commands: Vec<Command>,
    /// Templates that failed, files that cannot be written.
    pub errors: Vec<Error>,
}

/// A command to run, and for which template.
#[derive(Debug)]
pub struct Command {
    /// The template's name.
    pub template: String,
    /// See [`TemplateConfig::command`].
    pub words: Vec<String>,
    /// When it is killed.
    pub timeout: Duration,
}

impl Renderer {
    /// Parses all templates.
    ///
    /// # Errors
    /// The first template that cannot be read or cannot work, with line and column.
    pub fn new(configs: Vec<TemplateConfig>, clock: &Arc<dyn Clock>, variables: Variables) -> Result<Self, Error> {
        let known = Arc::<Mutex<Known>>::default();
        let mut functions = Functions::host(clock, variables);
        let ask = asking(&known);
        functions.add("secret", 1..=usize::MAX, move |args| {
            let words = words(args)?;
            Ok(ask(Query::secret(&words[0], &words[1..])?))
        });
        let ask = asking(&known);
        functions.add("secrets", 1..=1, move |args| Ok(ask(Query::List(words(args)?.concat()))));
        let templates = configs
            .into_iter()
            .map(|config| parse(&config, &functions).map(|template| (config, template)))
            .collect::<Result<_, _>>()?;
        Ok(Self { known, functions, templates })
    }

    /// Reads the templates' files again; those that cannot work keep their last good text.
    pub fn reload(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        for (config, template) in &mut self.templates {
            match parse(config, &self.functions) {
                Ok(new) => *template = new,
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Makes a secret known, or replaces what was known of it.
    pub fn learn(&self, query: &Query, value: Value) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).values.insert(query.clone(), value);
    }

    /// Forgets every secret but these.
    pub fn keep_only(&self, queries: &BTreeSet<Query>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).values.retain(|query, _| queries.contains(query));
    }

    /// Renders everything, and writes the files whose contents have changed.
    pub fn pass(&self) -> Pass {
        let mut pass = Pass::default();
        for (config, template) in &self.templates {
            let strictness = if config.error_on_missing_key { Missing::Error } else { Missing::Print };
            let rendered = template.render(&Value::Nil, strictness);
            let missing = self.asked(&mut pass.asked);
            if !missing.is_empty() {
                // Whatever else went wrong may have gone wrong for want of these.
                pass.missing.extend(missing);
                continue;
            }
            let written = rendered.map_err(Error::from).and_then(|text| store(config, &text));
            match (written, &config.command) {
                (Ok(true), Some(words)) => pass.commands.push(Command {
                    template: config.name.clone(),
                    words: words.clone(),
                    timeout: config.command_timeout,
                }),
                (Ok(_), _) => {}
                (Err(error), _) => pass.errors.push(error),
            }
        }
        pass
    }

    /// Moves what one template asked for to `all`; the answer is what of it is not known.
    fn asked(&self, all: &mut BTreeSet<Query>) -> Vec<Query> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = std::mem::take(&mut known.asked);
        let missing = asked.iter().filter(|query| !known.values.contains_key(query)).cloned().collect();
        all.extend(asked);
        missing
    }
}

fn asking(known: &Arc<Mutex<Known>>) -> impl Fn(Query) -> Value + Send + Sync + 'static {
    let known = Arc::clone(known);
    move |query| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let value = known.values.get(&query).cloned().unwrap_or(Value::Nil);
        known.asked.insert(query);
        value
    }
}

fn words(args: &[Value]) -> Result<Vec<String>, String> {
    let word = |value: &Value| value.as_str().map(str::to_owned).ok_or("every argument must be text");
    args.iter().map(|value| word(value).map_err(str::to_owned)).collect()
}

fn parse(config: &TemplateConfig, functions: &Functions) -> Result<Template, Error> {
    let text = match &config.body {
        TemplateBody::Text(text) => text.clone(),
        TemplateBody::File(path) => {
            std::fs::read_to_string(path).map_err(|source| Error::File { verb: "read", path: path.clone(), source })?
        }
    };
    let delimiters = config.delimiters.as_ref().map(|(left, right)| (left.as_str(), right.as_str()));
    Ok(Template::parse(&config.name, &text, delimiters, functions)?)
}

/// Whether the file has changed.
fn store(config: &TemplateConfig, text: &str) -> Result<bool, Error> {
    let path = &config.destination;
    if std::fs::read(path).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(false);
    }
    write::replace(path, text.as_bytes(), config.mode, config.create_folders).map_err(|source| Error::File {
        verb: "write",
        path: path.clone(),
        source,
    })?;
    tracing::info!(path = %path.display(), template = config.name, "wrote");
    Ok(true)
}
