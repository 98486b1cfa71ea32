//! How much a template may make, so that whoever writes one cannot fill the memory of the process that renders it.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gotmpl::{TemplateError, Value, ValueFunc};

/// Largest text that a function may make, and largest list or map: bytes. A Kubernetes Secret holds a quarter of it.
const VALUE: usize = 4 << 20;

/// What the functions of one rendering may make together, bytes.
const WHOLE: usize = 64 << 20;

/// Largest output of a rendering, bytes.
const OUTPUT: usize = 16 << 20;

/// How many actions one rendering may carry out, those in loops and templates counted each time.
pub(super) const STEPS: usize = 1_000_000;

/// What each item of a list or map counts besides its text, bytes.
const ITEM: usize = 32;

/// gotmpl's limit of widths and precisions.
const WIDTH: usize = 65_535;

/// Functions of Go's own that make texts out of any number of texts.
const PRINTERS: [&str; 6] = ["print", "printf", "println", "html", "js", "urlquery"];

/// Refuses what would become larger than a function may make.
///
/// # Errors
/// A text for whoever wrote the template.
pub(super) fn fits(size: usize) -> Result<(), String> {
    if size > VALUE { Err(format!("its result would be larger than {} MiB", VALUE >> 20)) } else { Ok(()) }
}

/// `text` with every `from` replaced.
///
/// # Errors
/// As [`fits`].
pub(super) fn replace(text: &str, from: &str, to: &str) -> Result<Value, String> {
    fits(text.len().saturating_add(text.matches(from).count().saturating_mul(to.len())))?;
    Ok(text.replace(from, to).into())
}

/// `text` with every match of a pattern replaced; `$1` and the like stand for groups.
///
/// # Errors
/// As [`fits`].
pub(super) fn replace_matches(pattern: &regex_lite::Regex, text: &str, to: &str) -> Result<Value, String> {
    let (matches, groups) = (pattern.find_iter(text).count(), to.matches('$').count());
    let most = matches.saturating_mul(to.len()).saturating_add(groups.saturating_mul(text.len()));
    fits(most.saturating_add(text.len()))?;
    Ok(pattern.replace_all(text, to).into_owned().into())
}

/// Texts with a separator between them.
///
/// # Errors
/// As [`fits`].
pub(super) fn join(parts: &[String], separator: &str) -> Result<Value, String> {
    let texts: usize = parts.iter().map(String::len).sum();
    fits(texts.saturating_add(parts.len().saturating_mul(separator.len())))?;
    Ok(parts.join(separator).into())
}

/// What one rendering has made so far.
#[derive(Clone, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// The same function, which fails when it, or the rendering as a whole, makes too much.
    pub(super) fn limit(&self, name: &str, function: ValueFunc) -> ValueFunc {
        let (budget, name) = (self.0.clone(), name.to_owned());
        // These give out again what was counted when it was made.
        let passes_on = name.starts_with("scratch.");
        Arc::new(move |args| {
            let value = function(args)?;
            let failure = |problem: String| TemplateError::Exec(format!("{name}: {problem}"));
            let size = size(&value);
            fits(size).map_err(failure)?;
            let before = if passes_on { 0 } else { budget.fetch_add(size, Ordering::Relaxed) };
            if before.saturating_add(size) > WHOLE {
                return Err(failure(format!("the template makes more than {} MiB", WHOLE >> 20)));
            }
            Ok(value)
        })
    }

    /// Go's own printing functions, which look at their arguments first.
    pub(super) fn printers(&self) -> impl Iterator<Item = (String, ValueFunc)> {
        PRINTERS.into_iter().map(|name| {
            let checked: ValueFunc = Arc::new(move |args| {
                let too_much = || TemplateError::Exec(format!("{name}: its arguments are larger than a result may be"));
                if most_printed(name, args) > WHOLE { Err(too_much()) } else { builtin(name, args) }
            });
            (name.to_owned(), self.limit(name, checked))
        })
    }
}

/// No printing function makes more of its arguments.
fn most_printed(name: &str, args: &[Value]) -> usize {
    let sizes = args.iter().map(|value| size(value).saturating_add(ITEM));
    match (name, args.first()) {
        ("printf", Some(Value::String(format))) => {
            let verbs = format.matches('%').count();
            let width = if format.contains(|c: char| c.is_ascii_digit() || c == '*') { WIDTH } else { 0 };
            let largest = sizes.max().unwrap_or(0);
            format.len().saturating_add(verbs.saturating_mul(largest.saturating_add(width)))
        }
        _ => sizes.fold(0, usize::saturating_add),
    }
}

/// Calls a function of the template library, which gives out its own functions to templates only.
fn builtin(name: &str, args: &[Value]) -> Result<Value, TemplateError> {
    let mut call = format!("{{{{ {name}");
    for at in 0..args.len() {
        // Writing to a string cannot fail.
        let _ = write!(call, " (index . {at})");
    }
    let template = gotmpl::Template::new("").parse(&format!("{call} }}}}"))?;
    template.execute_to_string(&Value::List(args.to_vec().into())).map(Value::from)
}

/// About how many bytes a value takes; what is larger than a value may be is not counted to its end.
fn size(value: &Value) -> usize {
    fn add(value: &Value, total: &mut usize) {
        if *total > VALUE {
            return;
        }
        match value {
            Value::String(text) => *total += text.len(),
            Value::List(items) => items.iter().for_each(|item| {
                *total += ITEM;
                add(item, total);
            }),
            Value::Map(map) => map.iter().for_each(|(key, item)| {
                *total += ITEM + key.len();
                add(item, total);
            }),
            _ => {}
        }
    }
    let mut total = 0;
    add(value, &mut total);
    total
}

/// The output of a rendering while it grows.
#[derive(Default)]
pub(super) struct Output {
    text: String,
    is_full: bool,
}

impl Output {
    /// The text, if all of it had room.
    ///
    /// # Errors
    /// A text for whoever wrote the template.
    pub(super) fn done(self) -> Result<String, String> {
        if self.is_full { Err(format!("the output is larger than {} MiB", OUTPUT >> 20)) } else { Ok(self.text) }
    }

    /// Whether the rendering ended because there was no more room.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.is_full |= self.text.len().saturating_add(text.len()) > OUTPUT;
        if self.is_full {
            return Err(std::fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::base::template::{Functions, Missing, Template, TemplateError};

    fn rendered(text: &str) -> Result<String, TemplateError> {
        let functions = Functions::plain(&(Arc::new(SystemClock) as _));
        Template::parse("t", text, None, &functions)?.render(&Value::Nil, Missing::Print)
    }

    #[test]
    fn a_template_cannot_make_as_much_as_it_likes() {
        for text in [
            r#"{{ $x := "abcdefgh" }}{{ range loop 40 }}{{ $x = print $x $x }}{{ end }}"#,
            r#"{{ $x := "abcdefgh" }}{{ range loop 40 }}{{ $x = printf "%s%s" $x $x }}{{ end }}"#,
            r#"{{ $x := sprig_repeat 10000 "abcdefgh" }}{{ $x | replaceAll "a" $x }}"#,
            r#"{{ $x := sprig_repeat 10000 "abcdefgh" }}{{ $x | replaceAll "" $x }}"#,
            r#"{{ $x := sprig_repeat 10000 "abcdefgh" }}{{ $x | regexReplaceAll "a" $x }}"#,
            r#"{{ $x := sprig_repeat 10000 "abcdefgh" }}{{ sprig_repeat 10000 $x }}"#,
            r#"{{ $x := sprig_repeat 10000 "\n" }}{{ indent 1000 $x }}"#,
            r#"{{ $x := sprig_repeat 10000 "a," }}{{ split "," $x | join $x }}"#,
            r#"{{ $x := sprig_repeat 10000 "abcdefgh" }}{{ range loop 100000 }}{{ $x }}{{ end }}"#,
            r#"{{ range loop 2000 }}{{ range loop 2000 }}{{ end }}{{ end }}"#,
            r#"{{ define "a" }}{{ template "b" }}{{ template "b" }}{{ end }}{{ define "b" }}{{ template "c" }}{{ template "c" }}{{ end }}
               {{ define "c" }}{{ range loop 500 }}{{ template "d" }}{{ end }}{{ end }}
               {{ define "d" }}{{ range loop 900 }}{{ 1 }}{{ end }}{{ end }}{{ template "a" }}"#,
            r#"{{ range loop 100000 }}{{ scratch.Set (print .) (sprig_repeat 10000 "abcdefgh") }}{{ end }}"#,
        ] {
            let error = rendered(text).unwrap_err();
            let reasons = [" MiB", "larger than", "steps", "iteration"];
            assert!(reasons.iter().any(|reason| error.message.contains(reason)), "{text}: {error}");
        }
    }

    #[test]
    fn printing_is_gos() {
        assert_eq!(rendered(r#"{{ printf "%-3s|%03d|%q|%v" "a" 7 "b\"" 1.5 }}"#).unwrap(), r#"a  |007|"b\""|1.5"#);
        assert_eq!(rendered(r#"{{ print 1 2 "a" "b" nil true }}"#).unwrap(), "1 2ab<nil> true");
        assert_eq!(
            rendered(r#"{{ println "a" 1 }}{{ "<a>" | html }}{{ urlquery "a b&" }}"#).unwrap(),
            "a 1\n&lt;a&gt;a+b%26"
        );
    }
}
