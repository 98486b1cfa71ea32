//! The values of annotations, each read once into what it means; a problem is said without the annotation's name.

use std::path::{Component, Path};
use std::sync::Arc;

use crate::base::clock::SystemClock;
use crate::base::proxy::Proxies;
use crate::base::template::{Functions, Template};
use crate::base::{boolean, duration};

/// A boolean as Go's `ParseBool` takes it.
pub fn flag(text: &str) -> Result<bool, String> {
    boolean::parse(text.trim()).ok_or_else(|| format!("{text:?} is neither true nor false: use \"true\" or \"false\""))
}

/// A value that must not be empty, without the blanks around it.
pub fn text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("is empty: give it a value, or remove it".to_owned()) } else { Ok(text.to_owned()) }
}

/// One of a few words.
pub fn word(text: &str, known: &[&str]) -> Result<String, String> {
    let text = text.trim();
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not known: use {}", known.join(", ")))
}

/// The mode of a file in octal digits, as they are handed on.
pub fn mode(text: &str) -> Result<String, String> {
    let text = text.trim();
    match u32::from_str_radix(text, 8) {
        Ok(0..=0o777) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no file mode: use octal digits such as \"0640\", at most \"0777\"")),
    }
}

/// A user or group; 0 is refused, since the agent never runs as root.
pub fn id(text: &str) -> Result<i64, String> {
    match text.trim().parse() {
        Ok(0) => Err("must not be 0: the agent never runs as root".to_owned()),
        Ok(id @ 1..=2_147_483_647) => Ok(id),
        _ => Err(format!("{text:?} is no user or group id: use a number from 1")),
    }
}

/// A Kubernetes quantity; `None` for an empty one or `0`, which take the resource away.
pub fn quantity(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let units = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];
    if number.parse::<f64>().is_ok() && units.contains(&unit) {
        return Ok(Some(text.to_owned()));
    }
    Err(format!("{text:?} is no quantity: use one such as \"10m\" or \"16Mi\""))
}

/// A path of the engine's API. It is put into a template, so nothing may stand in it that would end the quotes there.
pub fn api_path(text: &str) -> Result<String, String> {
    let path = text.trim().trim_start_matches('/');
    let example = "use a path of the engine such as \"database/creds/NAMESPACE.ROLE\"";
    if path.is_empty() {
        return Err(format!("is empty: {example}"));
    }
    if let Some(odd) = path.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '`')) {
        return Err(format!("{text:?} holds {odd:?}, which no path may: {example}"));
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") || !path.contains('/') {
        return Err(format!("{text:?} is no path: {example}"));
    }
    Ok(path.to_owned())
}

/// A file below the volume, folders allowed; two spellings of one are made the same. Names that begin with two dots are the
/// agent's own.
pub fn relative_file(text: &str) -> Result<String, String> {
    let text = text.trim();
    let inside = Path::new(text).components().all(|part| match part {
        Component::Normal(name) => !name.to_string_lossy().starts_with(".."),
        _ => false,
    });
    if inside && !text.is_empty() && !text.ends_with('/') {
        return Ok(without_doubled_slashes(text));
    }
    Err(format!(
        "{text:?} is no file below the volume: use a name such as \"app.env\" or \"conf/app.env\", without \"..\""
    ))
}

/// Where something is mounted: absolute, not the root itself, without `..` or a colon (Kubernetes refuses that).
pub fn mount_path(text: &str) -> Result<String, String> {
    let path = text.trim().trim_end_matches('/');
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
    if path.starts_with('/') && plain && !path.contains(':') {
        return Ok(without_doubled_slashes(path));
    }
    Err(format!("{text:?} is no folder to mount at: use an absolute path such as \"/lessor/secrets\""))
}

fn without_doubled_slashes(path: &str) -> String {
    let lead = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("{lead}{}", parts.join("/"))
}

/// A file in the agent's container.
pub fn absolute_file(text: &str) -> Result<String, String> {
    let path = text.trim();
    if path.starts_with('/') && !path.ends_with('/') && !path.contains('\0') {
        return Ok(path.to_owned());
    }
    Err(format!("{text:?} is no file in the agent's container: use an absolute path such as \"/vault/tls/ca.crt\""))
}

/// The name of a Kubernetes object.
pub fn object_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if !name.is_empty() && name.len() <= 253 && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    Err(format!("{text:?} is no name of a Kubernetes object: use lower-case letters, digits, '-' and '.'"))
}

/// Seconds, or a duration in Go's notation; handed on as it is.
pub fn duration(text: &str) -> Result<String, String> {
    let text = text.trim();
    match duration::parse_seconds(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no duration: use seconds, or one such as \"90s\" or \"1h30m\"")),
    }
}

/// A whole number.
pub fn number(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is no whole number: use one such as \"5\""))
}

/// A number between 0 and 1, without either.
pub fn fraction(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(fraction) if fraction > 0.0 && fraction < 1.0 => Ok(fraction),
        _ => Err(format!("{text:?} is not between 0 and 1: use a number such as \"0.9\"")),
    }
}

/// A JSON patch (RFC 6902).
pub fn json_patch(text: &str) -> Result<json_patch::Patch, String> {
    let example = "use a list such as [{\"op\": \"add\", \"path\": \"/tty\", \"value\": true}]";
    serde_json::from_str(text).map_err(|error| format!("is no JSON patch ({error}): {example}"))
}

/// Names between commas.
pub fn list(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<_> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() { Err("names no container: list them with commas, or remove it".to_owned()) } else { Ok(names) }
}

/// The engine's address.
pub fn address(text: &str) -> Result<String, String> {
    let address = text.trim();
    let host = address.strip_prefix("http://").or(address.strip_prefix("https://"));
    match (host, address.parse::<http::Uri>()) {
        (Some(host), Ok(_)) if !host.is_empty() && !host.contains('@') => Ok(address.to_owned()),
        _ => Err(format!("{text:?} is no address: use one such as \"https://lessor.lessor-system.svc:8200\"")),
    }
}

/// A proxy, as the agent will read it.
pub fn proxy(text: &str) -> Result<String, String> {
    let address = self::text(text)?;
    Proxies::all(&address).map(|_| address)
}

/// Vault's own writing has `auth/` before the mount; without it it is added.
pub fn auth_path(mount: &str) -> Result<String, String> {
    let text = text(mount)?;
    let path = text.trim_matches('/');
    Ok(if path.starts_with("auth/") { path.to_owned() } else { format!("auth/{path}") })
}

/// Whether the agent will be able to read a template.
pub fn check_template(text: &str, delimiters: Option<(&str, &str)>) -> Result<(), String> {
    match Template::parse("", text, delimiters, &agent_functions()) {
        Ok(_) => Ok(()),
        Err(error) if error.line == 0 => Err(error.message),
        Err(error) => Err(format!("line {}, column {}: {}", error.line, error.column, error.message)),
    }
}

/// The names that the agent's templates may call. Nothing is rendered here, so what they do does not matter.
fn agent_functions() -> Functions {
    let clock: Arc<dyn crate::base::Clock> = Arc::new(SystemClock);
    let mut functions = Functions::host(&clock, Arc::new(|_| None));
    for name in ["secret", "secrets"] {
        functions.add(name, 1..=usize::MAX, |_| Err("is known to the agent only".to_owned()));
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_engine() {
        assert_eq!(api_path(" /database/creds/shop.app ").as_deref(), Ok("database/creds/shop.app"));
        assert_eq!(api_path("secret/data/x?version=2").as_deref(), Ok("secret/data/x?version=2"));
        for wrong in ["", "app", "a//b", "a/../b", "a/b\" }}{{ env \"X", "a/b c", "a/b/"] {
            assert!(api_path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_stay_below_the_volume() {
        assert_eq!(relative_file("conf/app.env").as_deref(), Ok("conf/app.env"));
        assert_eq!(
            relative_file("conf//app.env").as_deref(),
            Ok("conf/app.env"),
            "so that it is known for the same file"
        );
        for wrong in ["", "/etc/passwd", "../x", "a/../../x", "..lessor-agent", "a/"] {
            assert!(relative_file(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_quantities_and_addresses() {
        assert_eq!(mode("0640").as_deref(), Ok("0640"));
        assert!(mode("0999").is_err() && mode("1777").is_err() && mode("rw").is_err());
        assert_eq!(quantity("0"), Ok(None));
        assert_eq!(quantity("1.5Gi"), Ok(Some("1.5Gi".into())));
        assert!(quantity("many").is_err() && quantity("1MB").is_err());
        assert!(address("https://engine:8200").is_ok());
        assert!(address("engine:8200").is_err() && address("https://").is_err() && address("http://u:p@h").is_err());
        assert_eq!(mount_path("/lessor//secrets/").as_deref(), Ok("/lessor/secrets"));
        assert!(mount_path("/").is_err() && mount_path("a").is_err() && mount_path("/a/../b").is_err());
        assert!(id("0").is_err() && id("x").is_err() && id("1000") == Ok(1000));
    }

    #[test]
    fn templates_are_read_as_the_agent_will() {
        let text = r#"{{ with secret "database/creds/app" }}{{ .Data.username }}{{ end }}"#;
        assert_eq!(check_template(text, None), Ok(()));
        let problem = check_template("{{ with secret \"a/b\" }}\n{{ .Data.username }", None).unwrap_err();
        assert!(problem.starts_with("line 2, column"), "{problem}");
        assert!(check_template("{{ nonsense }}", None).unwrap_err().contains("nonsense"));
        assert_eq!(check_template("<< env \"A\" >>", Some(("<<", ">>"))), Ok(()));
    }
}
