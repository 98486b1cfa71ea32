//! `install`: puts the agent's own program into a folder that another container shares, which may hold nothing else.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Error;
use super::write::FileError;

/// Copies the program that runs to `path`, for everybody to run. It is never seen half-written.
///
/// # Errors
/// When it cannot be read or written.
pub fn install(path: &Path) -> Result<(), Error> {
    let failed = |source| FileError::new("write", path, source);
    let own = std::env::current_exe().map_err(failed)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    std::fs::copy(own, beside).map_err(failed)?;
    std::fs::set_permissions(beside, Permissions::from_mode(0o755)).map_err(failed)?;
    std::fs::rename(beside, path).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_arrives_whole_and_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        install(&path).unwrap();
        let (copy, own) =
            (std::fs::metadata(&path).unwrap(), std::fs::metadata(std::env::current_exe().unwrap()).unwrap());
        assert_eq!((copy.len(), copy.permissions().mode() & 0o777), (own.len(), 0o755));
        assert!(install(Path::new("/nowhere/agent")).unwrap_err().to_string().contains("/nowhere/agent"));
    }
}
