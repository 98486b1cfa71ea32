//! The program that keeps tokens in place of `~/.vault-token`, where `~/.vault` names one: `token_helper = "/path"`.
//!
//! It is called as Vault's program calls it, through the shell, with one more word: `get` prints the token, `store` reads it from
//! standard input.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::surroundings::Surroundings;
use super::token_file;
use crate::base::hcl::Document;
use crate::base::{Secret, hcl};

/// The token that is kept, if one is, by the helper or in the file.
///
/// # Errors
/// When it cannot be read.
pub fn read(around: &Surroundings) -> Result<Option<Secret>, String> {
    let Some(helper) = configured(around)? else { return token_file::read(around) };
    let told = helper.call("get", None)?;
    let text = String::from_utf8(told.stdout).map_err(|_| format!("{} printed a token that is no text", helper.0))?;
    Ok(Some(Secret::new(text.trim())).filter(|token| !token.is_empty()))
}

/// Keeps a token, by the helper or in the file.
///
/// # Errors
/// When it cannot be kept.
pub fn store(around: &Surroundings, token: &Secret) -> Result<(), String> {
    match configured(around)? {
        Some(helper) => helper.call("store", Some(token)).map(drop),
        None => token_file::store(around, token),
    }
}

/// A line for the shell.
#[derive(Debug, PartialEq)]
struct Helper(String);

impl Helper {
    fn call(&self, word: &str, input: Option<&Secret>) -> Result<Output, String> {
        let failed = |what: String| format!("the token helper {} cannot {word} the token: {what}", self.0);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{} {word}", self.0)).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        if let (Some(token), Some(mut pipe)) = (input, child.stdin.take()) {
            // A helper that has ended without reading says why by its status.
            match pipe.write_all(token.expose().as_bytes()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(failed(error.to_string())),
                _ => {}
            }
        }
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(output);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("{}, {}", output.status, words.trim())))
    }
}

/// The helper that the user's configuration names: `VAULT_CONFIG_PATH`, else `~/.vault`.
fn configured(around: &Surroundings) -> Result<Option<Helper>, String> {
    let named = around.variable("CONFIG_PATH").map(PathBuf::from);
    let Some(path) = named.or_else(|| around.home().map(|home| home.join(".vault"))) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => helper(&text).map_err(|error| format!("{}: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn helper(text: &str) -> Result<Option<Helper>, hcl::Error> {
    let document = Document::parse(text)?;
    let root = document.root();
    if let Some(unknown) = root.unknown(&["token_helper"]).first() {
        return Err(root.error_at(unknown, format!("unknown key {unknown:?}: there is token_helper")));
    }
    let Some(line) = root.string("token_helper")?.filter(|line| !line.is_empty()) else { return Ok(None) };
    if !line.starts_with('/') {
        return Err(root.error_at("token_helper", "token_helper must be an absolute path"));
    }
    Ok(Some(Helper(line)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::around;
    use super::*;

    #[test]
    fn a_helper_keeps_the_token_in_place_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let script = "case $1 in get) cat kept 2>/dev/null || true;; store) cat >kept;; esac";
        std::fs::write(folder.path().join("helper"), format!("cd {home}\n{script}\n")).unwrap();
        std::fs::write(folder.path().join(".vault"), format!("token_helper = \"/bin/sh {home}/helper\"\n")).unwrap();
        let (around, _) = around(&[("HOME", home)], "");
        assert!(read(&around).unwrap().is_none());
        store(&around, &Secret::new("a-token")).unwrap();
        assert_eq!(read(&around).unwrap().unwrap().expose(), "a-token");
        assert!(!folder.path().join(".vault-token").exists());
    }

    #[test]
    fn a_helper_that_fails_is_an_error_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::write(&config, "token_helper = \"/bin/sh -c 'echo locked >&2; exit 3' -\"").unwrap();
        let (around, _) = around(&[("VAULT_CONFIG_PATH", config.to_str().unwrap())], "");
        let error = read(&around).unwrap_err();
        assert!(error.contains("cannot get the token: exit status: 3, locked"), "{error}");
        let error = store(&around, &Secret::new("a-token")).unwrap_err();
        assert!(error.contains("locked") && !error.contains("a-token"), "{error}");
    }

    #[test]
    fn a_configuration_that_cannot_be_used_names_its_key() {
        assert_eq!(helper("").unwrap(), None);
        let problem = |text: &str| helper(text).unwrap_err().to_string();
        assert!(problem("token_helper = \"helper\"").contains("absolute path"));
        assert!(problem("helper = \"/x\"").contains("unknown key \"helper\""));
    }
}
