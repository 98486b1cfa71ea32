//! Folders whose files change together, as those of a ConfigMap volume do: each file is a link through `..data`, and
//! `..data` is a link that is moved from one folder of complete files to the next. Programs that watch such volumes (Spring
//! Cloud Kubernetes, fsnotify and what is built on it) see the change as one event, and never a new user with an old password.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::write::{Style, fill};
use crate::base::Timestamp;

const CURRENT: &str = "..data";
const NEXT: &str = "..data_tmp";
/// What the folders of complete files begin with.
const COMPLETE: &str = "..2";

/// One file of the folder.
pub struct Part<'a> {
    /// Its name in the folder.
    pub name: &'a str,
    /// All of it.
    pub contents: &'a [u8],
    /// Its mode and owner.
    pub style: &'a Style,
}

/// Puts all of `parts` into `folder` at once, unless they are all there as they are. The answer is, for each, whether it was
/// there before, if it has changed.
///
/// # Errors
/// The operating system's; the folder shows what it showed before then.
pub fn replace(folder: &Path, parts: &[Part<'_>], now: Timestamp) -> io::Result<Vec<Option<bool>>> {
    if parts.iter().any(|part| part.style.create_folders) {
        std::fs::create_dir_all(folder)?;
    }
    let present: Vec<Option<Vec<u8>>> =
        parts.iter().map(|part| std::fs::read(folder.join(CURRENT).join(part.name)).ok()).collect();
    let changes: Vec<Option<bool>> = parts
        .iter()
        .zip(&present)
        .map(|(part, present)| match present {
            Some(present) if present == part.contents => None,
            present => Some(present.is_some()),
        })
        .collect();
    if changes.iter().any(Option::is_some) {
        let complete = complete(folder, parts, now)?;
        move_link(folder, &complete)?;
        forget_others(folder, &complete);
    }
    parts.iter().try_for_each(|part| show(folder, part.name))?;
    Ok(changes)
}

/// A new folder with all files in it; its name.
fn complete(folder: &Path, parts: &[Part<'_>], now: Timestamp) -> io::Result<PathBuf> {
    let stamp = now.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let mut name = PathBuf::from(&stamp);
    for number in 1.. {
        match std::fs::create_dir(folder.join(&name)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => name = format!("{stamp}_{number}").into(),
            outcome => {
                outcome?;
                break;
            }
        }
    }
    let path = folder.join(&name);
    let filled = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .and_then(|()| parts.iter().try_for_each(|part| fill(&path.join(part.name), part.contents, part.style)));
    if let Err(error) = filled {
        // What failed is told; nothing links to this folder.
        let _ = std::fs::remove_dir_all(&path);
        return Err(error);
    }
    Ok(name)
}

/// The one step that everybody sees.
fn move_link(folder: &Path, target: &Path) -> io::Result<()> {
    let next = folder.join(NEXT);
    remove(&next)?;
    symlink(target, &next)?;
    std::fs::rename(&next, folder.join(CURRENT))
}

/// The link that programs open. An ordinary file in its place, of an agent that did not swap, gives way.
fn show(folder: &Path, name: &str) -> io::Result<()> {
    let (link, target) = (folder.join(name), Path::new(CURRENT).join(name));
    if std::fs::read_link(&link).is_ok_and(|present| present == target) {
        return Ok(());
    }
    let beside = folder.join(format!("..{name}.new"));
    remove(&beside)?;
    symlink(&target, &beside)?;
    std::fs::rename(&beside, &link)
}

/// Removes folders that no link leads to, those of a crash included. One that stays is in nobody's way.
fn forget_others(folder: &Path, current: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(COMPLETE) && name != current.as_os_str() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::Owner;

    fn parts<'a>(style: &'a Style, files: &'a [(&'a str, &'a str)]) -> Vec<Part<'a>> {
        files.iter().map(|(name, text)| Part { name, contents: text.as_bytes(), style }).collect()
    }

    #[test]
    fn all_files_change_at_once_and_one_folder_is_left() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("secrets");
        let style = Style { mode: 0o640, create_folders: true, ..Style::default() };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let write = |files: &[(&str, &str)]| replace(&folder, &parts(&style, files), now).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("user"), "of an agent before").unwrap();
        assert_eq!(write(&[("user", "u1"), ("password", "p1")]), [Some(false), Some(false)]);
        let first = std::fs::read_link(folder.join(CURRENT)).unwrap();
        assert_eq!(write(&[("user", "u1"), ("password", "p1")]), [None, None]);
        assert_eq!(std::fs::read_link(folder.join(CURRENT)).unwrap(), first, "nothing to see");
        assert_eq!(write(&[("user", "u1"), ("password", "p2")]), [None, Some(true)]);
        assert_eq!((read("user"), read("password")), ("u1".into(), "p2".into()));
        assert_eq!(std::fs::read_link(folder.join("user")).unwrap(), Path::new("..data/user"));
        assert!(!folder.join(first).exists());
        let mode = std::fs::metadata(folder.join("user")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4, "two links, ..data and its folder");
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let base = tempfile::tempdir().unwrap();
        let style = Style { mode: 0o600, create_folders: true, ..Style::default() };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        replace(base.path(), &parts(&style, &[("user", "u1")]), now).unwrap();
        let good = style.clone();
        let bad = Style { owner: Owner { user: Some("no-such".into()), group: None }, ..style };
        let both = [
            Part { name: "user", contents: b"u2", style: &good },
            Part { name: "password", contents: b"p2", style: &bad },
        ];
        replace(base.path(), &both, now).unwrap_err();
        assert_eq!(std::fs::read_to_string(base.path().join("user")).unwrap(), "u1");
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 3);
    }
}
