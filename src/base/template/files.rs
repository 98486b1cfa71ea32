//! The functions that touch files: `file` reads one, `writeToFile` writes a further one.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use gotmpl::Value;

use super::functions::{Functions, string};
use crate::base::owner;

/// Adds both, or replaces them; with `folder` they see nothing outside it.
pub(super) fn register(set: &mut Functions, folder: Option<PathBuf>) {
    let inside = folder.clone();
    set.add("file", 1..=1, move |args| {
        let path = string(args, 0)?;
        confined(Path::new(&path), inside.as_deref())?;
        std::fs::read_to_string(&path).map(Value::from).map_err(|error| format!("cannot read {path}: {error}"))
    });
    set.add("writeToFile", 5..=6, move |args| {
        let path = PathBuf::from(string(args, 0)?);
        confined(path.parent().unwrap_or(&path), folder.as_deref())?;
        let (user, group, perms) = (string(args, 1)?, string(args, 2)?, string(args, 3)?);
        let mode = u32::from_str_radix(&perms, 8).ok().filter(|mode| *mode <= 0o777);
        let mode = mode.ok_or("the permissions must be octal digits, such as \"0640\"")?;
        let flags = if args.len() == 6 { string(args, 5)? } else { String::new() };
        let has = |flag: &str| flags.split(',').any(|given| given.trim() == flag);
        let mut text = string(args, 4)?;
        if has("newline") {
            text.push('\n');
        }
        let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
        write(&path, &text, mode, has("append"), &user, &group).map_err(failed)?;
        Ok(Value::from(""))
    });
}

/// Whether a path, its links followed, lies in the folder.
fn confined(path: &Path, folder: Option<&Path>) -> Result<(), String> {
    let Some(folder) = folder else { return Ok(()) };
    let real =
        |path: &Path| std::fs::canonicalize(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    match real(path)?.starts_with(real(folder)?) {
        true => Ok(()),
        false => Err(format!("{} lies outside the sandbox_path", path.display())),
    }
}

/// Templates are rendered often: what is there already is left alone.
fn write(path: &Path, text: &str, mode: u32, append: bool, user: &str, group: &str) -> std::io::Result<()> {
    let present = std::fs::read_to_string(path).unwrap_or_default();
    if append && present.ends_with(text) || !append && present == text && path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(!append).append(append).mode(0o600).open(path)?;
    owner::give(path, Some(user).filter(|user| !user.is_empty()), Some(group).filter(|group| !group.is_empty()))?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_has_no_way_out() {
        let base = tempfile::tempdir().unwrap();
        let (inside, outside) = (base.path().join("in"), base.path().join("out"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("a"), "x").unwrap();
        std::fs::write(&outside, "y").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        assert!(confined(&inside.join("a"), Some(&inside)).is_ok());
        for way in ["link", "../out"] {
            let error = confined(&inside.join(way), Some(&inside)).unwrap_err();
            assert!(error.contains("outside the sandbox_path"), "{error}");
        }
    }
}
