//! Configuration, durations, names and SQL: texts that people write.

use std::net::IpAddr;

use lessor::auth;
use lessor::base::{duration, glob};
use lessor::drivers::sql;
use lessor::engine::mount;
use lessor::server::config::Config;

/// The engine's configuration.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Config::parse(text, "fuzz.hcl").map_err(|error| error.to_string());
}

/// A duration; what is printed means the same.
pub(crate) fn duration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(seconds) = duration::parse_seconds(text) else { return };
    // Go's notation is read as a fraction, which is exact up to here.
    if seconds < 1 << 50 {
        let printed = duration::format_seconds(seconds);
        assert_eq!(duration::parse_seconds(&printed).as_ref(), Ok(&seconds), "{text:?} is printed as {printed}");
    }
}

/// Patterns of names, paths of mounts and blocks of addresses; after a NUL what they are compared with.
pub(crate) fn names(data: &[u8]) {
    let Some((pattern, text)) = crate::halves(data) else { return };
    let _ = glob::matches(pattern, text);
    if !pattern.contains('*') && pattern == text {
        assert!(glob::matches(pattern, text), "{pattern:?} matches itself");
    }
    if let Ok(path) = mount::normal_path(pattern) {
        assert!(path.ends_with('/') && !path.contains("//") && !path.split('/').any(|part| part == ".."), "{path}");
    }
    let blocks = [pattern.to_owned()];
    if auth::cidr::check("blocks", &blocks).is_ok() {
        let _ = auth::cidr::admits(&blocks, text.parse::<IpAddr>().ok());
        assert!(auth::cidr::all_within(&blocks, &blocks), "{pattern:?} is within itself");
    }
}

/// Statement blocks and connection URLs; after a NUL what a placeholder stands for.
pub(crate) fn sql(data: &[u8]) {
    let Some((block, value)) = crate::halves(data) else { return };
    for statement in sql::statements(&[block.to_owned()], sql::has_end) {
        let filled = sql::fill(&statement, &[("name", value), ("password", value)]);
        assert!(!value.is_empty() || filled.len() <= statement.len());
    }
    let _ = sql::check_value("name", value);
    let masked = sql::mask_passwords(block);
    let shown = sql::inline_passwords(&masked);
    assert!(shown.iter().all(|shown| *shown == "xxxxx"), "the passwords are masked in {masked:?}");
    assert_eq!(shown.len(), sql::inline_passwords(block).len(), "nothing else changed in {masked:?}");
}
