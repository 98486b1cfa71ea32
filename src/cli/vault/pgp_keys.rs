//! Flags that name files with PGP public keys, and what the engine takes of such a file: base64 of the binary key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::Failure;
use super::parse::Values;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Adds the keys of a flag to a body, in the flag's order: a list of those that `flag` names in a list, or the one.
///
/// # Errors
/// Names the flag and the file.
pub(super) fn add(
    body: &mut Map<String, Value>,
    field: &str,
    (values, flag, is_list): (&Values, &str, bool),
) -> Result<(), Failure> {
    let read = |path: &String| read(path).map_err(|problem| Failure::local(format!("-{flag}: {path}: {problem}")));
    let paths = values.comma_list(flag);
    if values.has(flag) && (paths.is_empty() || (!is_list && paths.len() > 1)) {
        let wanted = if is_list { "the files with the keys" } else { "one file with a key" };
        return Err(Failure::local(format!("-{flag}: give {wanted}")));
    }
    let keys = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    match is_list {
        _ if keys.is_empty() => {}
        true => drop(body.insert(field.to_owned(), keys.into())),
        false => drop(body.insert(field.to_owned(), keys.concat().into())),
    }
    Ok(())
}

fn read(path: &str) -> Result<String, String> {
    if let Some(name) = path.strip_prefix("keybase:") {
        return Err(format!(
            "keys are not fetched from Keybase: save {name}'s with `curl https://keybase.io/{name}/pgp_keys.asc > {name}.asc`, \
             compare its fingerprint with the owner's, and give {name}.asc"
        ));
    }
    let path = path.strip_prefix('@').unwrap_or(path);
    encoded(&std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?)
}

/// Base64 of a key that is binary, armored or base64 already.
fn encoded(file: &[u8]) -> Result<String, String> {
    if file.first().is_some_and(|byte| byte.is_ascii()) {
        let text = String::from_utf8_lossy(file);
        let text = text.trim();
        if text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
            return Err("holds a private key, which must not leave its owner: export the public one".to_owned());
        }
        let base64: String = match text.split_once(BEGIN) {
            Some((_, armored)) => unarmored(armored),
            None => text.chars().filter(|c| !c.is_ascii_whitespace()).collect(),
        };
        return match STANDARD.decode(&base64) {
            Ok(key) if !key.is_empty() => Ok(base64),
            _ => {
                Err("is no PGP public key: it must be binary, armored or base64, as gpg --export writes it".to_owned())
            }
        };
    }
    if file.is_empty() { Err("is empty".to_owned()) } else { Ok(STANDARD.encode(file)) }
}

/// The base64 lines behind the first line of an armored text: after the headers' empty line, up to the checksum.
fn unarmored(text: &str) -> String {
    let lines = text.lines().map(str::trim).skip(1).skip_while(|line| !line.is_empty()).skip(1);
    lines.take_while(|line| !line.starts_with(['=', '-'])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sent_the_same_in_whatever_form_it_was_saved() {
        let key = [0x98, 0x33, 4, 103, 116, 133];
        let base64 = STANDARD.encode(key);
        let armored = format!(
            "{BEGIN}\nComment: a, b\n\n{}\n{}\n=8sHv\n-----END PGP PUBLIC KEY BLOCK-----\n",
            &base64[..4],
            &base64[4..]
        );
        let bare = armored.replace("Comment: a, b\n", "").replace('\n', "\r\n");
        for file in [&key[..], base64.as_bytes(), b"mDME\nZ3SF\n", armored.as_bytes(), bare.as_bytes()] {
            assert_eq!(encoded(file).unwrap(), base64, "{}", String::from_utf8_lossy(file));
        }
        for (file, problem) in [
            ("", "is empty"),
            ("  \n", "is no PGP public key"),
            ("hello, world", "is no PGP public key"),
            (BEGIN, "is no PGP public key"),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nmDMEZ3SF\n", "holds a private key"),
        ] {
            assert!(encoded(file.as_bytes()).unwrap_err().contains(problem), "{file}");
        }
        assert!(read("keybase:ada").unwrap_err().contains("https://keybase.io/ada/pgp_keys.asc"));
        assert!(read("@/nowhere/ada.asc").unwrap_err().contains("cannot be read"));
    }
}
