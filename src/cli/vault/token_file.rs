//! `~/.vault-token`, where a login leaves its token for the commands that follow.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::surroundings::Surroundings;
use crate::base::Secret;

fn path(around: &Surroundings) -> Option<PathBuf> {
    around.home().map(|home| home.join(".vault-token"))
}

/// The token that is kept, if one is.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(around: &Surroundings) -> Result<Option<Secret>, String> {
    let Some(path) = path(around) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Secret::new(text.trim())).filter(|token| !token.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read the token in {}: {error}", path.display())),
    }
}

/// Keeps a token, readable by its owner only. Another file takes the old one's place, so that nobody reads half a token, and a
/// file that others could read does not keep its rights.
///
/// # Errors
/// When it cannot be written.
pub fn store(around: &Surroundings, token: &Secret) -> Result<(), String> {
    let path = path(around).ok_or("the token cannot be kept: HOME is not set (use -no-store)")?;
    let fresh = path.with_file_name(format!(".vault-token.{}", around.random.base62(8)));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(token.expose().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)
    };
    write().map_err(|error| {
        // What is left of the attempt is ours to remove; that it cannot be is of no further interest.
        let _ = std::fs::remove_file(&fresh);
        format!("cannot keep the token in {}: {error}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::testing::around;
    use super::*;

    #[test]
    fn a_token_is_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let (around, _) = around(&[("HOME", folder.path().to_str().unwrap())], "");
        assert!(read(&around).unwrap().is_none());
        let file = folder.path().join(".vault-token");
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        store(&around, &Secret::new("new")).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&around).unwrap().unwrap().expose(), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn without_a_home_it_says_what_to_do() {
        let (around, _) = around(&[], "");
        assert!(store(&around, &Secret::new("t")).unwrap_err().contains("-no-store"));
    }
}
