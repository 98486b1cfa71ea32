//! Templates and their files: a pass renders all of them with what is known and tells what is missing, as often as needed.

mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::Error;
use super::config::{TemplateBody, TemplateConfig};
use super::query::Query;
use super::write::FileError;
use crate::base::template::{Functions, Missing, Template, Value, Variables};
use crate::base::{Clock, Secret, Timestamp};
use place::{Pending, Rendered};

/// What the functions `secret` and `secrets` see and leave behind.
#[derive(Default)]
struct Known {
    values: BTreeMap<Query, Value>,
    asked: BTreeSet<Query>,
}

/// One template with what it may call and what it waits for.
struct Item {
    config: TemplateConfig,
    template: Template,
    functions: Functions,
    pending: Option<Pending>,
    /// Whether its result was written in this life of the agent.
    written: bool,
}

/// All templates.
pub struct Renderer {
    known: Arc<Mutex<Known>>,
    items: Vec<Item>,
    /// Whether the files of one folder change together.
    swaps: bool,
    variables: BTreeMap<String, Secret>,
    clock: Arc<dyn Clock>,
}

/// What one pass came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// What was asked for and is not known yet; the templates that asked are not written.
    pub missing: BTreeSet<Query>,
    /// Everything that was asked for.
    pub asked: BTreeSet<Query>,
    /// Which templates' results have changed, in their order.
    pub changed: Vec<Change>,
    /// Templates that failed, files that cannot be written.
    pub errors: Vec<Error>,
    /// The same, of templates whose failure is to stop nothing.
    pub tolerated: Vec<Error>,
    /// When a change that waits for others is due.
    pub later: Option<Timestamp>,
}

/// A result that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The template's number.
    pub template: usize,
    /// Whether there was another result before, possibly of an earlier agent.
    pub replaced: bool,
}

impl Renderer {
    /// Parses all templates. With `swaps` the files of a folder change together.
    ///
    /// # Errors
    /// The first template that cannot be read or cannot work, with line and column.
    pub fn new(
        configs: Vec<TemplateConfig>,
        swaps: bool,
        clock: &Arc<dyn Clock>,
        variables: Variables,
    ) -> Result<Self, Error> {
        let known = Arc::<Mutex<Known>>::default();
        let mut functions = Functions::host(clock, variables);
        let ask = asking(&known);
        functions.add("secret", 1..=usize::MAX, move |args| {
            let words = words(args)?;
            Ok(ask(Query::secret(&words[0], &words[1..])?))
        });
        let ask = asking(&known);
        functions.add("secrets", 1..=1, move |args| Ok(ask(Query::List(words(args)?.concat()))));
        let items = configs.into_iter().map(|config| item(config, &functions)).collect::<Result<_, _>>()?;
        Ok(Self { known, items, swaps, variables: BTreeMap::new(), clock: Arc::clone(clock) })
    }

    /// What is to be told of a template's change.
    pub fn config(&self, template: usize) -> &TemplateConfig {
        &self.items[template].config
    }

    /// What the supervised process gets into its environment.
    pub fn variables(&self) -> &BTreeMap<String, Secret> {
        &self.variables
    }

    /// Reads the templates' files again; those that cannot work keep their last good text.
    pub fn reload(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        for item in &mut self.items {
            match parse(&item.config, &item.functions) {
                Ok(new) => item.template = new,
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

    /// Renders everything, and writes what has changed.
    pub fn pass(&mut self) -> Pass {
        let mut pass = Pass::default();
        let mut results = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let strictness = if item.config.error_on_missing_key { Missing::Error } else { Missing::Print };
            let rendered = item.template.render(&Value::Nil, strictness);
            let missing = asked(&self.known, &mut pass.asked);
            results.push(match rendered {
                // Whatever else went wrong may have gone wrong for want of these.
                _ if !missing.is_empty() => {
                    pass.missing.extend(missing);
                    Rendered::Waits
                }
                Ok(text) => Rendered::Text(Secret::new(text)),
                Err(error) => {
                    let list = if item.config.fatal { &mut pass.errors } else { &mut pass.tolerated };
                    list.push(error.into());
                    Rendered::Failed
                }
            });
        }
        self.put(results, &mut pass);
        pass
    }
}

/// Moves what one template asked for to `all`; the answer is what of it is not known.
fn asked(known: &Mutex<Known>, all: &mut BTreeSet<Query>) -> Vec<Query> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = std::mem::take(&mut known.asked);
    let missing = asked.iter().filter(|query| !known.values.contains_key(query)).cloned().collect();
    all.extend(asked);
    missing
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

fn item(config: TemplateConfig, common: &Functions) -> Result<Item, Error> {
    let mut functions = common.clone();
    if let Some(folder) = &config.sandbox {
        functions.confine(folder);
    }
    for name in &config.denied {
        functions.deny(name);
    }
    let template = parse(&config, &functions)?;
    Ok(Item { config, template, functions, pending: None, written: false })
}

fn parse(config: &TemplateConfig, functions: &Functions) -> Result<Template, Error> {
    let text = match &config.body {
        TemplateBody::Text(text) => text.clone(),
        TemplateBody::File(path) => {
            std::fs::read_to_string(path).map_err(|source| FileError::new("read", path, source))?
        }
    };
    let delimiters = config.delimiters.as_ref().map(|(left, right)| (left.as_str(), right.as_str()));
    Ok(Template::parse(&config.name, &text, delimiters, functions)?)
}
