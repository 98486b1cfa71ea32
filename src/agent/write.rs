//! Files that are never seen half-written: beside their place first, then moved over it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Puts `contents` at `path` with exactly `mode`, whatever the umask is.
///
/// # Errors
/// The operating system's; nothing is left behind then.
pub fn replace(path: &Path, contents: &[u8], mode: u32, create_folders: bool) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"));
    };
    if create_folders {
        std::fs::create_dir_all(folder)?;
    }
    // The dots hide it from programs that read the whole folder. One writer per file, so the name may be fixed.
    let beside = folder.join(format!("..{}.new", name.to_string_lossy()));
    let outcome = fill(&beside, contents, mode).and_then(|()| std::fs::rename(&beside, path));
    if outcome.is_err() {
        // What failed is told; that the leftover may not be removable either adds nothing.
        let _ = std::fs::remove_file(&beside);
    }
    outcome
}

fn fill(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    // Readable for nobody else until it has its mode.
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_its_mode_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        replace(&path, b"one", 0o444, true).unwrap();
        replace(&path, b"two", 0o640, true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_unless_it_may_be_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace(&folder.path().join("a/b"), b"", 0o644, false).is_err());
    }
}
