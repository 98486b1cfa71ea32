//! The functions of sprig that templates for Vault use most, under their own names and with consul-template's `sprig_`.

use gotmpl::Value;

use super::budget;
use super::functions::{Functions, decode, length, list, map_text, string};
use super::values::map_of;

/// Adds them all.
pub(super) fn register(set: &mut Functions) {
    let mut own = Functions::none();
    text(&mut own);
    choices(&mut own);
    collections(&mut own);
    set.adopt(own, "sprig_", true);
}

fn text(set: &mut Functions) {
    map_text(set, "upper", str::to_uppercase);
    map_text(set, "lower", str::to_lowercase);
    map_text(set, "title", title);
    map_text(set, "quote", |text| serde_json::Value::from(text).to_string());
    map_text(set, "squote", |text| format!("'{text}'"));
    map_text(set, "nospace", |text| text.chars().filter(|c| !c.is_whitespace()).collect());
    map_text(set, "toString", str::to_owned);
    map_text(set, "b64enc", |text| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text));
    map_text(set, "sha256sum", |text| super::functions::sha256_hex(text.as_bytes()));
    set.add("b64dec", 1..=1, |args| {
        decode(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, string(args, 0)?))
    });
    set.add("replace", 3..=3, |args| budget::replace(&string(args, 2)?, &string(args, 0)?, &string(args, 1)?));
    set.add("trunc", 2..=2, |args| Ok(string(args, 1)?.chars().take(length(args, 0)?).collect::<String>().into()));
    set.add("nindent", 2..=2, |args| Ok(format!("\n{}", indent(length(args, 0)?, &string(args, 1)?)?).into()));
    set.add("repeat", 2..=2, |args| match length(args, 0)? {
        times @ 0..=10_000 => {
            let text = string(args, 1)?;
            budget::fits(text.len().saturating_mul(times))?;
            Ok(text.repeat(times).into())
        }
        _ => Err("more than 10000 repetitions".to_owned()),
    });
    set.add("hasPrefix", 2..=2, |args| Ok(Value::Bool(string(args, 1)?.starts_with(&string(args, 0)?))));
    set.add("hasSuffix", 2..=2, |args| Ok(Value::Bool(string(args, 1)?.ends_with(&string(args, 0)?))));
    set.add("splitList", 2..=2, |args| {
        let (separator, text) = (string(args, 0)?, string(args, 1)?);
        Ok(Value::List(text.split(separator.as_str()).map(Value::from).collect()))
    });
}

fn choices(set: &mut Functions) {
    set.add("default", 1..=2, |args| {
        let given = args.get(1).filter(|value| value.is_truthy());
        Ok(given.unwrap_or(&args[0]).clone())
    });
    set.add("coalesce", 1..=usize::MAX, |args| {
        Ok(args.iter().find(|value| value.is_truthy()).cloned().unwrap_or(Value::Nil))
    });
    set.add("ternary", 3..=3, |args| Ok(if args[2].is_truthy() { args[0].clone() } else { args[1].clone() }));
    set.add("required", 2..=2, |args| match &args[1] {
        Value::Nil => Err(string(args, 0)?),
        Value::String(text) if text.is_empty() => Err(string(args, 0)?),
        value => Ok(value.clone()),
    });
}

fn collections(set: &mut Functions) {
    set.add("list", 0..=usize::MAX, |args| Ok(Value::List(args.into())));
    set.add("dict", 0..=usize::MAX, |args| {
        let keys: Vec<String> = (0..args.len()).step_by(2).map(|at| string(args, at)).collect::<Result<_, _>>()?;
        let value = |at: usize| args.get(2 * at + 1).cloned().unwrap_or_else(|| Value::from(""));
        Ok(map_of(keys.iter().enumerate().map(|(at, key)| (key.as_str(), value(at)))))
    });
    set.add("first", 1..=1, |args| Ok(list(args, 0)?.first().cloned().unwrap_or(Value::Nil)));
    set.add("last", 1..=1, |args| Ok(list(args, 0)?.last().cloned().unwrap_or(Value::Nil)));
    set.add("hasKey", 2..=2, |args| Ok(Value::Bool(args[0].field(&string(args, 1)?).is_some())));
    set.add("keys", 1..=1, |args| match &args[0] {
        Value::Map(map) => Ok(Value::List(map.keys().map(|key| Value::String(key.clone())).collect())),
        other => Err(format!("the argument must be a map, but is {}", other.type_name())),
    });
}

/// Every word with a capital first letter.
pub(super) fn title(text: &str) -> String {
    let mut starts = true;
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if starts {
            titled.extend(c.to_uppercase());
        } else {
            titled.push(c);
        }
        starts = c.is_whitespace();
    }
    titled
}

/// Every line moved to the right.
///
/// # Errors
/// When there would be too much of it.
pub(super) fn indent(width: usize, text: &str) -> Result<String, String> {
    let margin = " ".repeat(width.min(1000));
    budget::fits(text.len().saturating_add(text.split('\n').count().saturating_mul(margin.len())))?;
    Ok(text.split('\n').map(|line| format!("{margin}{line}")).collect::<Vec<_>>().join("\n"))
}
