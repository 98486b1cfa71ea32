//! The fuzz targets: each takes any bytes, and must neither panic nor hang nor grow.
//!
//! `fuzz/run` runs them with libFuzzer; `fuzz/seeds/NAME/` holds what it begins with, which the unit test below tries in any case.

mod agent;
mod http;
mod kv;
mod pgp;
mod pods;
mod policy;
mod template;
mod text;

/// Tries some bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("http", http::request),
    ("policy", policy::acl),
    ("password-policy", policy::password),
    ("config", text::config),
    ("duration", text::duration),
    ("names", text::names),
    ("sql", text::sql),
    ("template", template::any),
    ("username", template::username),
    ("kv", kv::requests),
    ("agent-config", agent::config),
    ("annotations", pods::annotations),
    ("pgp", pgp::key),
];

/// The text before the first NUL, and what is after it.
fn halves(data: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(data).ok()?;
    Some(text.split_once('\0').unwrap_or((text, "")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_target_has_seeds_that_it_bears() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
        for (name, target) in TARGETS {
            let seeds = std::fs::read_dir(folder.join(name)).unwrap_or_else(|error| panic!("seeds/{name}: {error}"));
            let mut count = 0;
            for seed in seeds {
                target(&std::fs::read(seed.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "seeds/{name} is empty");
            target(b"");
            target(&[0xff; 64]);
        }
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), TARGETS.len(), "seeds of no target");
    }
}
