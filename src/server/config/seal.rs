//! `seal "static" { current_key_id, current_key = "file://…" }`: the key that protects the root key.

use base64::Engine as _;
use zeroize::Zeroizing;

use super::{single, unknown};
use crate::base::hcl::{Block, Error};
use crate::engine::seal::SealKey;

const KNOWN: &[&str] = &["current_key_id", "current_key", "previous_key_id", "previous_key", "disabled"];

/// The seal of a configuration.
#[derive(Debug)]
pub enum SealConfig {
    /// A key from a file, an environment variable, or the text itself.
    Static {
        /// The key that new records are made with.
        current: SealKey,
        /// The key before it, while its records are being made anew.
        previous: Option<SealKey>,
    },
    /// Shares that people hand in: what Vault does when nothing is said.
    Shamir,
}

pub(super) fn read(root: &Block<'_>, warnings: &mut Vec<String>) -> Result<SealConfig, Error> {
    if root.blocks("seal", 1)?.is_empty() {
        return Ok(SealConfig::Shamir);
    }
    let block = single(root, "seal", "seal \"shamir\" {}")?;
    match block.label() {
        "static" => {}
        "shamir" => return Ok(SealConfig::Shamir),
        other => {
            return Err(block.error(format!("seal {other:?} is not offered: use \"static\" or \"shamir\"")));
        }
    }
    warnings.extend(unknown(&block, KNOWN, "seal."));
    let current = key(&block, "current_key_id", "current_key")?;
    let current = current.ok_or_else(|| block.error("\"current_key_id\" and \"current_key\" are missing"))?;
    Ok(SealConfig::Static { current, previous: key(&block, "previous_key_id", "previous_key")? })
}

fn key(block: &Block<'_>, id: &str, name: &str) -> Result<Option<SealKey>, Error> {
    let Some(bytes) = key_bytes(block, name)? else { return Ok(None) };
    let id = block.string(id)?.filter(|text| !text.is_empty());
    let id = id.ok_or_else(|| block.error_at(name, format!("{name:?} needs its id beside it")))?;
    Ok(Some(SealKey::new(id, *bytes)))
}

/// A key of 32 bytes: `file://PATH`, `env://VARIABLE`, or the text itself.
pub(super) fn key_bytes(block: &Block<'_>, name: &str) -> Result<Option<Zeroizing<[u8; 32]>>, Error> {
    let Some(source) = block.string(name)? else { return Ok(None) };
    let source = Zeroizing::new(source);
    let bytes = if let Some(path) = source.strip_prefix("file://") {
        let read = std::fs::read(path);
        Zeroizing::new(read.map_err(|error| block.error_at(name, format!("{name:?}: cannot read {path}: {error}")))?)
    } else if let Some(variable) = source.strip_prefix("env://") {
        let read = std::env::var(variable);
        let missing = || block.error_at(name, format!("{name:?}: the environment variable {variable} is not set"));
        Zeroizing::new(read.map_err(|_| missing())?.into_bytes())
    } else {
        Zeroizing::new(source.as_bytes().to_vec())
    };
    let wrong = || block.error_at(name, format!("{name:?} must be 32 bytes: raw, in hex or in base64"));
    decode(&bytes).map(Some).ok_or_else(wrong)
}

fn decode(raw: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(bytes) = <[u8; 32]>::try_from(raw) {
        return Some(Zeroizing::new(bytes));
    }
    let text = std::str::from_utf8(raw).ok()?.trim();
    let mut key = Zeroizing::new([0; 32]);
    if text.len() == 64 && text.is_ascii() {
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        return Some(key);
    }
    let bytes = Zeroizing::new(base64::engine::general_purpose::STANDARD.decode(text).ok()?);
    key.copy_from_slice(bytes.get(..32).filter(|_| bytes.len() == 32)?);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_raw_in_hex_or_in_base64() {
        let hex = "41".repeat(32);
        for text in ["A".repeat(32), hex, format!("{}\n", base64::engine::general_purpose::STANDARD.encode([0x41; 32]))]
        {
            assert_eq!(*decode(text.as_bytes()).unwrap(), [0x41; 32], "{text}");
        }
        assert!(decode(b"short").is_none());
    }
}
