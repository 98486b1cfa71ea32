//! Files that are never seen half-written: beside their place first, then moved over it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::config::{FileTarget, Owner, Sink};
use crate::base::owner;

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}", path = path.display())]
pub struct FileError {
    verb: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// `verb` is `read`, `write` …
    pub fn new(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self { verb, path: path.to_path_buf(), source }
    }
}

/// What a file is like.
#[derive(Debug, Clone, Default)]
pub struct Style {
    /// Its mode, whatever the umask is.
    pub mode: u32,
    /// Whom it belongs to.
    pub owner: Owner,
    /// Whether missing folders are made.
    pub create_folders: bool,
}

impl From<&FileTarget> for Style {
    fn from(target: &FileTarget) -> Self {
        Self { mode: target.mode, owner: target.owner.clone(), create_folders: target.create_folders }
    }
}

impl From<&Sink> for Style {
    fn from(sink: &Sink) -> Self {
        Self { mode: sink.mode, owner: sink.owner.clone(), create_folders: true }
    }
}

/// Puts `contents` at `path`.
///
/// # Errors
/// The operating system's; nothing is left behind then.
pub fn replace(path: &Path, contents: &[u8], style: &Style) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"));
    };
    if style.create_folders {
        std::fs::create_dir_all(folder)?;
    }
    // The dots hide it from programs that read the whole folder. One writer per file, so the name may be fixed.
    let beside = folder.join(format!("..{}.new", name.to_string_lossy()));
    let outcome = fill(&beside, contents, style).and_then(|()| std::fs::rename(&beside, path));
    if outcome.is_err() {
        // What failed is told; that the leftover may not be removable either adds nothing.
        let _ = std::fs::remove_file(&beside);
    }
    outcome
}

/// Writes a file in its place, for a folder that nobody looks into yet.
///
/// # Errors
/// The operating system's.
pub fn fill(path: &Path, contents: &[u8], style: &Style) -> io::Result<()> {
    // Readable for nobody else until it has its mode.
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    owner::give(path, style.owner.user.as_deref(), style.owner.group.as_deref())?;
    file.set_permissions(Permissions::from_mode(style.mode))?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn style(mode: u32) -> Style {
        Style { mode, create_folders: true, ..Style::default() }
    }

    #[test]
    fn the_file_has_its_mode_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        replace(&path, b"one", &style(0o444)).unwrap();
        replace(&path, b"two", &style(0o640)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_unless_it_may_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let style = Style { create_folders: false, ..style(0o644) };
        assert!(replace(&folder.path().join("a/b"), b"", &style).is_err());
    }

    #[test]
    fn a_file_belongs_to_whom_it_should_or_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let me = std::fs::metadata(folder.path()).unwrap().uid();
        let owner = Owner { user: Some(me.to_string()), group: None };
        replace(&path, b"", &Style { owner, ..style(0o600) }).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), me);
        let nobody = Owner { user: Some("no-such-user".into()), group: None };
        let error = replace(&path, b"x", &Style { owner: nobody, ..style(0o600) }).unwrap_err();
        assert!(error.to_string().contains("no-such-user"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
