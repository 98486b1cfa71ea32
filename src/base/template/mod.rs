//! Go's text/template as Vault's users know it: parsed and checked once, rendered often, errors with line and column.

mod balance;
mod budget;
mod consul;
pub mod escape;
mod files;
mod functions;
mod layout;
mod names;
mod positions;
mod prefixed;
mod scratch;
mod sprig;
mod structured;
mod unavailable;
mod username;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gotmpl::MissingKey;
use gotmpl::parse::{ListNode, Parser};

pub use functions::{Functions, Variables};
pub use gotmpl::Value;
pub use username::username;
pub use values::{from_json, to_json};

/// A template that does not parse, or that fails while it is rendered. It quotes the template, never its data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {name}:{line}:{column}: {message}")]
pub struct TemplateError {
    /// The name the template was given.
    pub name: String,
    /// From 1; 0 when it is not known.
    pub line: usize,
    /// From 1, in bytes; 0 when it is not known.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// A parsed template with its functions. All names in it are known to exist.
#[derive(Clone)]
pub struct Template {
    name: String,
    source: Arc<str>,
    /// The main body under the empty name, then every `define`.
    bodies: Vec<(String, ListNode)>,
    functions: Functions,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Template").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What `{{ .Absent }}` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// `<no value>`, as Go prints it.
    #[default]
    Print,
    /// An error naming the key.
    Error,
}

impl Template {
    /// Parses `text` with the delimiters `{{` and `}}`, or others. `name` stands in errors.
    ///
    /// # Errors
    /// Syntax errors, blocks without `{{end}}`, functions, variables and templates that do not exist.
    pub fn parse(
        name: &str,
        text: &str,
        delimiters: Option<(&str, &str)>,
        functions: &Functions,
    ) -> Result<Self, TemplateError> {
        let (left, right) = delimiters.unwrap_or(("{{", "}}"));
        let at = |problem: Problem| problem.into_error(name, text);
        let (main, defines) =
            Parser::new(text, left, right).and_then(Parser::parse).map_err(|error| syntax(name, text, error))?;
        balance::check(text, left, right).map_err(at)?;
        let mut bodies = vec![(String::new(), main)];
        for define in defines {
            if bodies.iter().any(|(known, body)| known == define.name.as_str() && !body.is_empty_tree()) {
                let message = format!("template {:?} is defined twice", define.name);
                return Err(at(Problem { offset: define.pos.offset, message }));
            }
            bodies.push((define.name.to_string(), define.body));
        }
        bodies.iter_mut().for_each(|(_, body)| scratch::name_methods(body));
        names::check(&bodies, functions).map_err(at)?;
        for (_, body) in &mut bodies {
            positions::mark(body);
        }
        Ok(Self { name: name.to_owned(), source: text.into(), bodies, functions: functions.clone() })
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Renders it with `data` as dot.
    ///
    /// # Errors
    /// What a function refuses, values of the wrong type and, if asked for, missing keys; each with the place of the
    /// action that failed.
    pub fn render(&self, data: &Value, missing: Missing) -> Result<String, TemplateError> {
        let place = Arc::new(AtomicUsize::new(0));
        let mut engine = gotmpl::Template::new(&self.name)
            .missing_key(match missing {
                Missing::Print => MissingKey::Invalid,
                Missing::Error => MissingKey::Error,
            })
            .max_range_iters(budget::STEPS as u64)
            .funcs(self.functions.for_render(&place));
        for (name, body) in &self.bodies {
            engine = engine.add_parse_tree(name, body.clone());
        }
        let mut output = budget::Output::default();
        let done = engine.execute_template_fmt(&mut output, "", data);
        let rendered = match done {
            Err(gotmpl::TemplateError::Exec(message)) if !output.is_full() => Err(message),
            Err(error) if !output.is_full() => Err(error.to_string()),
            _ => output.done(),
        };
        rendered.map_err(|message| {
            Problem { offset: place.load(Ordering::Relaxed), message }.into_error(&self.name, &self.source)
        })
    }
}

/// An error at a place of the source, in bytes.
#[derive(Debug)]
struct Problem {
    offset: usize,
    message: String,
}

impl Problem {
    fn into_error(self, name: &str, source: &str) -> TemplateError {
        let before = &source.as_bytes()[..self.offset.min(source.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        TemplateError { name: name.to_owned(), line, column, message: self.message }
    }
}

fn syntax(name: &str, text: &str, error: gotmpl::TemplateError) -> TemplateError {
    match error {
        gotmpl::TemplateError::Parse { line, col, message, .. }
        | gotmpl::TemplateError::Lex { line, col, message, .. } => {
            TemplateError { name: name.to_owned(), line, column: col, message }
        }
        other => Problem { offset: text.len(), message: other.to_string() }.into_error(name, text),
    }
}

#[cfg(test)]
mod tests;
