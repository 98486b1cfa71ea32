//! The functions of templates: consul-template's text helpers, and what only a program on a host of its own may offer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use gotmpl::{Value, ValueFunc};

use super::budget::{self, Budget};
use super::values::{from_json, to_json};
use super::{consul, escape, files, layout, positions, prefixed, scratch, sprig, unavailable};
use crate::base::Clock;
use crate::base::nearest::nearest;

/// Looks up an environment variable.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;
/// What a function gives back; the error's text must not quote its arguments, which may be secrets.
pub(super) type Outcome = Result<Value, String>;

/// Go's own, which the renderer brings along.
const BUILTINS: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

/// A set of functions, cheap to clone.
#[derive(Clone, Default)]
pub struct Functions {
    known: Arc<BTreeMap<String, Function>>,
    denied: Arc<BTreeSet<String>>,
}

#[derive(Clone)]
struct Function {
    arity: RangeInclusive<usize>,
    call: ValueFunc,
}

impl Functions {
    /// Only what Go's text/template has itself.
    pub fn none() -> Self {
        Self::default()
    }

    /// Helpers for text, numbers, lists, JSON and encodings: safe for templates of strangers.
    pub fn plain(clock: &Arc<dyn Clock>) -> Self {
        let mut set = Self::none();
        text(&mut set);
        patterns(&mut set);
        numbers(&mut set);
        lists(&mut set);
        encodings(&mut set);
        escape::register(&mut set);
        sprig::register(&mut set);
        prefixed::register(&mut set, clock);
        consul::register(&mut set);
        let clock = Arc::clone(clock);
        set.add("timestamp", 0..=1, move |args| {
            let format = if args.is_empty() { "2006-01-02T15:04:05Z07:00".into() } else { string(args, 0)? };
            Ok(Value::String(match format.as_str() {
                "unix" => clock.now().as_second().to_string().into(),
                format => layout::format(clock.now(), format).into(),
            }))
        });
        set
    }

    /// [`Functions::plain`], the environment (`env`, `envOrDefault`, `mustEnv`) and files (`file`, `writeToFile`): for the
    /// agent, whose templates come from the pod that it runs in.
    pub fn host(clock: &Arc<dyn Clock>, variables: Variables) -> Self {
        let mut set = Self::plain(clock);
        let lookup = Arc::clone(&variables);
        set.add("env", 1..=1, move |args| Ok(lookup(&string(args, 0)?).unwrap_or_default().into()));
        let lookup = Arc::clone(&variables);
        set.add("envOrDefault", 2..=2, move |args| {
            let value = lookup(&string(args, 0)?).filter(|value| !value.is_empty());
            Ok(value.map_or_else(|| args[1].clone(), Value::from))
        });
        set.add("mustEnv", 1..=1, move |args| {
            let name = string(args, 0)?;
            variables(&name).map(Value::from).ok_or_else(|| format!("the environment has no variable {name}"))
        });
        files::register(&mut set, None);
        set
    }

    /// Lets `file` and `writeToFile` see only what lies in `folder`.
    pub fn confine(&mut self, folder: &Path) {
        files::register(self, Some(folder.to_path_buf()));
    }

    /// Takes a function away.
    pub fn deny(&mut self, name: &str) {
        Arc::make_mut(&mut self.denied).insert(name.to_owned());
    }

    /// Adds a function, or replaces one, with the number of arguments that it takes.
    pub fn add(
        &mut self,
        name: &str,
        arity: RangeInclusive<usize>,
        function: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    ) {
        let (owned, allowed) = (name.to_owned(), arity.clone());
        let checked: ValueFunc = Arc::new(move |args| {
            let failure = |problem: String| gotmpl::TemplateError::Exec(format!("{owned}: {problem}"));
            if !allowed.contains(&args.len()) {
                return Err(failure(counted(args.len(), &allowed)));
            }
            function(args).map_err(failure)
        });
        Arc::make_mut(&mut self.known).insert(name.to_owned(), Function { arity, call: checked });
    }

    /// Takes over the functions of `other` with `prefix` before their names, and without it too if `both`.
    pub(super) fn adopt(&mut self, other: Self, prefix: &str, both: bool) {
        let known = Arc::make_mut(&mut self.known);
        for (name, function) in other.known.iter() {
            known.insert(format!("{prefix}{name}"), function.clone());
            if both {
                known.insert(name.clone(), function.clone());
            }
        }
    }

    /// Whether templates may call `name` with `count` arguments.
    ///
    /// # Errors
    /// What is wrong with that.
    pub(super) fn allow(&self, name: &str, count: usize) -> Result<(), String> {
        if self.denied.contains(name) {
            return Err(format!("function {name:?} is denied by function_denylist"));
        }
        if let Some(arity) = self.known.get(name).map(|function| &function.arity).or(scratch::arity(name).as_ref()) {
            let fits = arity.contains(&count);
            return if fits { Ok(()) } else { Err(format!("{name}: {}", counted(count, arity))) };
        }
        match BUILTINS.contains(&name) {
            true => Ok(()),
            false => Err(unavailable::reason(name).unwrap_or_else(|| {
                let names = self.known.keys().map(String::as_str).chain(BUILTINS.iter().copied());
                let meant = nearest(name, names).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
                format!("function {name:?} is not defined{meant}")
            })),
        }
    }

    /// The set for one rendering, which notes its progress in `place`.
    pub(super) fn for_render(&self, place: &Arc<AtomicUsize>) -> gotmpl::FuncMap {
        let mut scratch = Self::none();
        scratch::register(&mut scratch);
        let budget = Budget::default();
        let all = self.known.iter().chain(&*scratch.known);
        let own = all.map(|(name, function)| (name.clone(), budget.limit(name, Arc::clone(&function.call))));
        let mut functions: gotmpl::FuncMap = budget.printers().chain(own).collect();
        functions.insert(positions::NOTE.to_owned(), positions::noting(place));
        functions
    }
}

fn counted(given: usize, arity: &RangeInclusive<usize>) -> String {
    format!("{given} arguments, but it takes {}", takes(arity))
}

fn takes(arity: &RangeInclusive<usize>) -> String {
    match (arity.start(), arity.end()) {
        (least, most) if least == most => least.to_string(),
        (least, &usize::MAX) => format!("at least {least}"),
        (least, most) => format!("{least} to {most}"),
    }
}

/// Argument `at` as text; numbers and booleans as they print.
pub(super) fn string(args: &[Value], at: usize) -> Result<String, String> {
    match &args[at] {
        Value::String(text) => Ok(text.to_string()),
        value @ (Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Bool(_)) => Ok(value.to_string()),
        other => Err(wrong(at, "text", other)),
    }
}

/// Argument `at` as a whole number; digits count.
pub(super) fn integer(args: &[Value], at: usize) -> Result<i64, String> {
    match &args[at] {
        Value::Int(number) => Ok(*number),
        Value::Uint(number) => i64::try_from(*number).map_err(|_| wrong(at, "a smaller number", &args[at])),
        Value::String(text) => text.trim().parse().map_err(|_| wrong(at, "a whole number", &args[at])),
        other => Err(wrong(at, "a whole number", other)),
    }
}

/// Argument `at` as a length.
pub(super) fn length(args: &[Value], at: usize) -> Result<usize, String> {
    usize::try_from(integer(args, at)?).map_err(|_| wrong(at, "a number from 0", &args[at]))
}

/// Argument `at` as a list.
pub(super) fn list(args: &[Value], at: usize) -> Result<Arc<[Value]>, String> {
    match &args[at] {
        Value::List(items) => Ok(Arc::clone(items)),
        Value::Nil => Ok(Arc::from([])),
        other => Err(wrong(at, "a list", other)),
    }
}

fn wrong(at: usize, wanted: &str, got: &Value) -> String {
    let got = if matches!(got, Value::Nil) { "missing" } else { got.type_name() };
    format!("argument {} must be {wanted}, but is {got}", at + 1)
}

/// Adds a function from text to text.
pub(super) fn map_text(set: &mut Functions, name: &str, map: fn(&str) -> String) {
    set.add(name, 1..=1, move |args| Ok(map(&string(args, 0)?).into()));
}

fn text(set: &mut Functions) {
    map_text(set, "toLower", str::to_lowercase);
    map_text(set, "toUpper", str::to_uppercase);
    map_text(set, "trimSpace", |text| text.trim().to_owned());
    map_text(set, "toTitle", sprig::title);
    set.add("trim", 1..=2, |args| match args.len() {
        1 => Ok(string(args, 0)?.trim().into()),
        _ => {
            let cut: Vec<char> = string(args, 0)?.chars().collect();
            Ok(string(args, 1)?.trim_matches(cut.as_slice()).into())
        }
    });
    set.add("trimPrefix", 2..=2, |args| {
        let text = string(args, 1)?;
        Ok(text.strip_prefix(string(args, 0)?.as_str()).unwrap_or(&text).into())
    });
    set.add("trimSuffix", 2..=2, |args| {
        let text = string(args, 1)?;
        Ok(text.strip_suffix(string(args, 0)?.as_str()).unwrap_or(&text).into())
    });
    set.add("replaceAll", 3..=3, |args| budget::replace(&string(args, 2)?, &string(args, 0)?, &string(args, 1)?));
    set.add("indent", 2..=2, |args| Ok(sprig::indent(length(args, 0)?, &string(args, 1)?)?.into()));
    set.add("split", 2..=2, |args| {
        let (separator, text) = (string(args, 0)?, string(args, 1)?);
        let parts: Vec<Value> = text.split(separator.as_str()).map(Value::from).collect();
        Ok(Value::List(parts.into()))
    });
    set.add("join", 2..=2, |args| {
        let parts: Vec<String> = list(args, 1)?.iter().map(ToString::to_string).collect();
        budget::join(&parts, &string(args, 0)?)
    });
}

fn patterns(set: &mut Functions) {
    let compile = |args: &[Value]| {
        regex_lite::Regex::new(&string(args, 0)?).map_err(|error| format!("not a regular expression: {error}"))
    };
    set.add("regexMatch", 2..=2, move |args| Ok(Value::Bool(compile(args)?.is_match(&string(args, 1)?))));
    set.add("regexReplaceAll", 3..=3, move |args| {
        let (replacement, text) = (string(args, 1)?, string(args, 2)?);
        budget::replace_matches(&compile(args)?, &text, &replacement)
    });
}

/// Two numbers, the second of which usually comes through a pipe: `{{ 10 | subtract 3 }}` is 7.
fn calculate(set: &mut Functions, name: &str, whole: fn(i64, i64) -> Option<i64>, real: fn(f64, f64) -> f64) {
    set.add(name, 2..=2, move |args| {
        if args.iter().any(|value| matches!(value, Value::Float(_))) {
            let number = |value: &Value| value.as_float().or(value.as_int().map(|number| number as f64));
            let (Some(b), Some(a)) = (number(&args[0]), number(&args[1])) else {
                return Err("both arguments must be numbers".to_owned());
            };
            return Ok(Value::Float(real(a, b)));
        }
        let result = whole(integer(args, 1)?, integer(args, 0)?);
        result.map(Value::Int).ok_or_else(|| "the result is no whole number of 64 bits".to_owned())
    });
}

fn numbers(set: &mut Functions) {
    calculate(set, "add", i64::checked_add, |a, b| a + b);
    calculate(set, "subtract", i64::checked_sub, |a, b| a - b);
    calculate(set, "multiply", i64::checked_mul, |a, b| a * b);
    calculate(set, "divide", i64::checked_div, |a, b| a / b);
    calculate(set, "modulo", i64::checked_rem, |a, b| a % b);
    calculate(set, "minimum", |a, b| Some(a.min(b)), f64::min);
    calculate(set, "maximum", |a, b| Some(a.max(b)), f64::max);
    set.add("parseInt", 1..=1, |args| Ok(Value::Int(integer(args, 0)?)));
    set.add("parseUint", 1..=1, |args| Ok(Value::Uint(length(args, 0)? as u64)));
    set.add("parseFloat", 1..=1, |args| {
        let number = string(args, 0)?.trim().parse().map_err(|_| "the text is no number".to_owned())?;
        Ok(Value::Float(number))
    });
    set.add("parseBool", 1..=1, |args| match string(args, 0)?.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
        _ => Err("the text is neither true nor false".to_owned()),
    });
}

pub(super) fn holds(container: &Value, item: &Value) -> bool {
    match container {
        Value::List(items) => items.contains(item),
        Value::Map(map) => map.values().any(|value| value == item),
        Value::String(text) => item.as_str().is_some_and(|part| text.contains(part)),
        _ => false,
    }
}

fn lists(set: &mut Functions) {
    set.add("contains", 2..=2, |args| Ok(Value::Bool(holds(&args[1], &args[0]))));
    set.add("in", 2..=2, |args| Ok(Value::Bool(holds(&args[0], &args[1]))));
    set.add("loop", 1..=2, |args| {
        let (from, to) = if args.len() == 1 { (0, integer(args, 0)?) } else { (integer(args, 0)?, integer(args, 1)?) };
        if to.saturating_sub(from) > 100_000 {
            return Err("more than 100000 rounds".to_owned());
        }
        Ok(Value::List((from..to).map(Value::Int).collect()))
    });
}

fn encodings(set: &mut Functions) {
    map_text(set, "base64Encode", |text| STANDARD.encode(text));
    map_text(set, "base64URLEncode", |text| URL_SAFE.encode(text));
    map_text(set, "sha256Hex", |text| sha256_hex(text.as_bytes()));
    set.add("base64Decode", 1..=1, |args| decode(STANDARD.decode(string(args, 0)?)));
    set.add("base64URLDecode", 1..=1, |args| decode(URL_SAFE.decode(string(args, 0)?)));
    set.add("toJSON", 1..=1, |args| Ok(for_html(&to_json(&args[0])?.to_string()).into()));
    set.add("toUnescapedJSON", 1..=1, |args| Ok(to_json(&args[0])?.to_string().into()));
    set.add("toJSONPretty", 1..=1, |args| Ok(for_html(&pretty(&args[0])?).into()));
    set.add("toUnescapedJSONPretty", 1..=1, |args| Ok(pretty(&args[0])?.into()));
    set.add("parseJSON", 1..=1, |args| {
        let json = serde_json::from_str(&string(args, 0)?)
            .map_err(|error| format!("the text is no JSON, line {} column {}", error.line(), error.column()))?;
        Ok(from_json(&json))
    });
}

/// Bytes as text, for the functions that decode.
pub(super) fn decode<E>(bytes: Result<Vec<u8>, E>) -> Outcome {
    let bytes = bytes.map_err(|_| "the text is not of this encoding".to_owned())?;
    String::from_utf8(bytes).map(Value::from).map_err(|_| "what was encoded is no text".to_owned())
}

fn pretty(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(&to_json(value)?).map_err(|_| "no form in JSON".to_owned())
}

/// Go's JSON is safe inside HTML, and files compared byte for byte depend on it.
fn for_html(json: &str) -> String {
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// Lower-case hexadecimal digits of the SHA-256 hash.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
