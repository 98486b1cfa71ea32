//! Functions of sprig that only have their name with `sprig_`, because without it they are another function, or nobody's.

use std::sync::Arc;

use gotmpl::Value;

use super::functions::{Functions, integer, list, map_text, string};
use super::values::{from_json, map_of, to_json};
use super::{budget, layout, sprig};
use crate::base::Clock;

/// Adds them all.
pub(super) fn register(set: &mut Functions, clock: &Arc<dyn Clock>) {
    let mut own = Functions::none();
    text(&mut own);
    words(&mut own);
    numbers(&mut own);
    lists(&mut own);
    maps(&mut own);
    let clock = Arc::clone(clock);
    own.add("now", 0..=0, move |_| Ok(Value::String(clock.now().to_string().into())));
    own.add("date", 2..=2, |args| {
        let moment = string(args, 1)?.parse().map_err(|_| "the second argument must be a moment, such as now's")?;
        Ok(layout::format(moment, &string(args, 0)?).into())
    });
    set.adopt(own, "sprig_", false);
}

fn text(own: &mut Functions) {
    map_text(own, "trim", |text| text.trim().to_owned());
    own.add("contains", 2..=2, |args| Ok(Value::Bool(string(args, 1)?.contains(&string(args, 0)?))));
    own.add("trimAll", 2..=2, |args| {
        let cut: Vec<char> = string(args, 0)?.chars().collect();
        Ok(string(args, 1)?.trim_matches(cut.as_slice()).into())
    });
    own.add("trimPrefix", 2..=2, |args| {
        let text = string(args, 1)?;
        Ok(text.strip_prefix(string(args, 0)?.as_str()).unwrap_or(&text).into())
    });
    own.add("trimSuffix", 2..=2, |args| {
        let text = string(args, 1)?;
        Ok(text.strip_suffix(string(args, 0)?.as_str()).unwrap_or(&text).into())
    });
    own.add("indent", 2..=2, |args| {
        let width = usize::try_from(integer(args, 0)?).map_err(|_| "the width must not be negative")?;
        Ok(sprig::indent(width, &string(args, 1)?)?.into())
    });
    own.add("substr", 3..=3, |args| {
        let (from, to, text) = (integer(args, 0)?, integer(args, 1)?, string(args, 2)?);
        let from = usize::try_from(from).unwrap_or(0);
        let count = usize::try_from(to).map_or(usize::MAX, |to| to.saturating_sub(from));
        Ok(text.chars().skip(from).take(count).collect::<String>().into())
    });
    own.add("cat", 0..=usize::MAX, |args| {
        let parts: Vec<String> = (0..args.len()).map(|at| string(args, at)).collect::<Result<_, _>>()?;
        budget::join(&parts, " ")
    });
    own.add("join", 2..=2, |args| {
        let parts: Vec<String> = list(args, 1)?.iter().map(ToString::to_string).collect();
        budget::join(&parts, &string(args, 0)?)
    });
    own.add("split", 2..=2, |args| {
        let (separator, text) = (string(args, 0)?, string(args, 1)?);
        let parts: Vec<(String, Value)> =
            text.split(separator.as_str()).enumerate().map(|(at, part)| (format!("_{at}"), part.into())).collect();
        Ok(map_of(parts.iter().map(|(key, value)| (key.as_str(), value.clone()))))
    });
    own.add("regexMatch", 2..=2, |args| Ok(Value::Bool(pattern(args)?.is_match(&string(args, 1)?))));
    own.add("regexFind", 2..=2, |args| {
        Ok(pattern(args)?.find(&string(args, 1)?).map_or("", |found| found.as_str()).into())
    });
    own.add("regexReplaceAll", 3..=3, |args| {
        let (text, replacement) = (string(args, 1)?, string(args, 2)?);
        budget::replace_matches(&pattern(args)?, &text, &replacement)
    });
    own.add("fail", 1..=1, |args| Err(string(args, 0)?));
}

fn pattern(args: &[Value]) -> Result<regex_lite::Regex, String> {
    regex_lite::Regex::new(&string(args, 0)?).map_err(|error| format!("not a regular expression: {error}"))
}

/// The parts of a name, however it is written.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut small = false;
    for c in text.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && small) {
            parts.push(String::new());
        }
        if c.is_alphanumeric() {
            parts.last_mut().into_iter().for_each(|part| part.extend(c.to_lowercase()));
        }
        small = c.is_lowercase() || c.is_numeric();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn words(own: &mut Functions) {
    map_text(own, "snakecase", |text| parts(text).join("_"));
    map_text(own, "kebabcase", |text| parts(text).join("-"));
    map_text(own, "camelcase", |text| parts(text).iter().map(|part| sprig::title(part)).collect());
    own.add("abbrev", 2..=2, |args| {
        let (width, text) = (usize::try_from(integer(args, 0)?).unwrap_or(0), string(args, 1)?);
        if width < 4 || text.chars().count() <= width {
            return Ok(text.into());
        }
        Ok(format!("{}...", text.chars().take(width - 3).collect::<String>()).into())
    });
}

fn numbers(own: &mut Functions) {
    let mut sum = |name: &str, start: i64, step: fn(i64, i64) -> Option<i64>| {
        own.add(name, 1..=usize::MAX, move |args| {
            let numbers = (0..args.len()).map(|at| integer(args, at)).collect::<Result<Vec<_>, _>>()?;
            let result = numbers.into_iter().try_fold(start, step);
            result.map(Value::Int).ok_or_else(|| "the result is no whole number of 64 bits".to_owned())
        });
    };
    sum("add", 0, i64::checked_add);
    sum("mul", 1, i64::checked_mul);
    sum("max", i64::MIN, |a, b| Some(a.max(b)));
    sum("min", i64::MAX, |a, b| Some(a.min(b)));
    let mut of_two = |name: &str, step: fn(i64, i64) -> Option<i64>| {
        own.add(name, 2..=2, move |args| {
            let result = step(integer(args, 0)?, integer(args, 1)?);
            result.map(Value::Int).ok_or_else(|| "the result is no whole number of 64 bits".to_owned())
        });
    };
    of_two("sub", i64::checked_sub);
    of_two("div", i64::checked_div);
    of_two("mod", i64::checked_rem);
    for name in ["int", "int64", "atoi"] {
        own.add(name, 1..=1, |args| Ok(Value::Int(integer(args, 0)?)));
    }
    own.add("until", 1..=1, |args| match integer(args, 0)? {
        count @ ..=100_000 => Ok(Value::List((0..count).map(Value::Int).collect())),
        _ => Err("more than 100000 rounds".to_owned()),
    });
}

fn lists(own: &mut Functions) {
    own.add("has", 2..=2, |args| Ok(Value::Bool(list(args, 1)?.contains(&args[0]))));
    own.add("append", 2..=2, |args| Ok(Value::List(list(args, 0)?.iter().chain([&args[1]]).cloned().collect())));
    own.add("concat", 1..=usize::MAX, |args| {
        let mut all = Vec::new();
        for at in 0..args.len() {
            all.extend(list(args, at)?.iter().cloned());
        }
        Ok(Value::List(all.into()))
    });
    own.add("without", 1..=usize::MAX, |args| {
        Ok(Value::List(list(args, 0)?.iter().filter(|item| !args[1..].contains(item)).cloned().collect()))
    });
    own.add("uniq", 1..=1, |args| {
        let mut seen: Vec<Value> = Vec::new();
        for item in list(args, 0)?.iter() {
            if !seen.contains(item) {
                seen.push(item.clone());
            }
        }
        Ok(Value::List(seen.into()))
    });
    own.add("sortAlpha", 1..=1, |args| {
        let mut texts: Vec<String> = list(args, 0)?.iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        Ok(Value::List(texts.into_iter().map(Value::from).collect()))
    });
    own.add("empty", 1..=1, |args| Ok(Value::Bool(!args[0].is_truthy())));
}

fn maps(own: &mut Functions) {
    own.add("get", 2..=2, |args| Ok(args[0].field(&string(args, 1)?).cloned().unwrap_or_else(|| Value::from(""))));
    own.add("values", 1..=1, |args| match &args[0] {
        Value::Map(map) => Ok(Value::List(map.values().cloned().collect())),
        _ => Err("the argument must be a map".to_owned()),
    });
    for (name, wanted) in [("pick", true), ("omit", false)] {
        own.add(name, 1..=usize::MAX, move |args| {
            let Value::Map(map) = &args[0] else { return Err("the first argument must be a map".to_owned()) };
            let keys: Vec<String> = (1..args.len()).map(|at| string(args, at)).collect::<Result<_, _>>()?;
            let chosen = map.iter().filter(|(key, _)| keys.iter().any(|named| **named == ***key) == wanted);
            Ok(map_of(chosen.map(|(key, value)| (&**key, value.clone()))))
        });
    }
    own.add("toJson", 1..=1, |args| Ok(to_json(&args[0])?.to_string().into()));
    own.add("toPrettyJson", 1..=1, |args| {
        let pretty = serde_json::to_string_pretty(&to_json(&args[0])?);
        Ok(pretty.map_err(|_| "no form in JSON".to_owned())?.into())
    });
    own.add("fromJson", 1..=1, |args| {
        let json = serde_json::from_str(&string(args, 0)?)
            .map_err(|error| format!("the text is no JSON, line {} column {}", error.line(), error.column()))?;
        Ok(from_json(&json))
    });
}
