//! Files that belong to somebody else: users and groups by number or by name.

use std::io;
use std::path::Path;

/// Makes a file belong to a user and a group; `None` leaves either as it is.
///
/// # Errors
/// When the system knows no such user or group, or the program may not give files away.
pub fn give(path: &Path, user: Option<&str>, group: Option<&str>) -> io::Result<()> {
    let user = user.map(|name| id(name, "/etc/passwd", "user")).transpose()?;
    let group = group.map(|name| id(name, "/etc/group", "group")).transpose()?;
    if user.is_none() && group.is_none() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, user, group)
}

/// A number, or what one of the system's tables says of a name. A static program has no other way to ask.
fn id(name: &str, table: &str, kind: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(table).unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    let unknown = format!("{table} has no {kind} {name:?}; a number works everywhere");
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_unknown_ones_told() {
        assert_eq!(id("root", "/etc/passwd", "user").unwrap(), 0);
        assert_eq!(id("1234", "/nowhere", "group").unwrap(), 1234);
        let error = give(Path::new("/nowhere"), Some("no-such-user"), None).unwrap_err();
        assert!(error.to_string().contains("no-such-user"), "{error}");
    }
}
