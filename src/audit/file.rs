//! `file`: entries as lines at the end of a file, on standard output, or nowhere.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Device, Options, Spec};
use crate::wire::Error;

/// The row of the table.
pub const SPEC: Spec = Spec { kind: "file", open };

/// Of a file that nobody said a mode for: its owner's alone.
const MODE: u32 = 0o600;

fn open(options: &Options) -> Result<Arc<dyn Device>, Error> {
    // `path` is what the option was called first; old clients still send it.
    let path = options.get("file_path").or(options.get("path")).filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| Error::bad_request("file_path is required"))?;
    let mode = mode(options)?;
    Ok(match path.as_str() {
        "stdout" => Arc::new(Stdout),
        "discard" => Arc::new(Discard),
        path => Arc::new(Appending { path: path.into(), mode, state: Arc::default() }),
    })
}

/// The permissions of the file in octal; `None` (0000) leaves those of a file that is there.
fn mode(options: &Options) -> Result<Option<u32>, Error> {
    let Some(text) = options.get("mode").filter(|text| !text.is_empty()) else { return Ok(Some(MODE)) };
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o777);
    let mode = mode.ok_or_else(|| Error::bad_request(format!("mode: {text:?} is not an octal mode such as 0600")))?;
    if mode & 0o111 != 0 {
        // Whoever may enable a device must not be able to make a program with it.
        return Err(Error::bad_request(format!("mode: {text:?} would make the audit log a program; leave out x")));
    }
    Ok((mode != 0).then_some(mode))
}

/// A file that only grows.
struct Appending {
    path: PathBuf,
    mode: Option<u32>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    /// The last line was written in part: the next one begins on a line of its own.
    torn: bool,
}

impl State {
    /// Writes to the open file, or opens it. A file that fails is opened anew for the next try.
    fn append(&mut self, path: &Path, mode: Option<u32>, line: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open_file(path, mode)?),
        };
        let lead = if self.torn { "\n" } else { "" };
        let mut rest = [lead, line].concat().into_bytes();
        while !rest.is_empty() {
            match file.write(&rest) {
                Ok(0) => return self.failed(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = true;
                    rest.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(error),
            }
        }
        self.torn = false;
        Ok(())
    }

    fn failed(&mut self, error: io::Error) -> io::Result<()> {
        self.file = None;
        Err(error)
    }
}

fn open_file(path: &Path, mode: Option<u32>) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(mode.unwrap_or(MODE)).open(path)?;
    // Of a file that was there before; a device such as /dev/full has no mode of its own to keep.
    if let Some(mode) = mode.filter(|_| path.is_file()) {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

#[async_trait]
impl Device for Appending {
    async fn write(&self, line: String) -> io::Result<()> {
        let (state, path, mode) = (self.state.clone(), self.path.clone(), self.mode);
        blocking(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let first = state.append(&path, mode, &line);
            // The file system may have come back under another file: one try with the file opened anew.
            if first.is_err() { state.append(&path, mode, &line) } else { first }
        })
        .await
    }

    async fn reopen(&self) -> io::Result<()> {
        let (state, path, mode) = (self.state.clone(), self.path.clone(), self.mode);
        blocking(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            *state = State::default();
            state.file = Some(open_file(&path, mode)?);
            Ok(())
        })
        .await
    }
}

/// A disk that hangs must not hold up the threads that answer requests of others.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

struct Stdout;

#[async_trait]
impl Device for Stdout {
    async fn write(&self, line: String) -> io::Result<()> {
        blocking(move || {
            let mut out = io::stdout().lock();
            out.write_all(line.as_bytes())?;
            out.flush()
        })
        .await
    }

    async fn reopen(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes everything and keeps nothing: to measure what hashing costs.
struct Discard;

#[async_trait]
impl Device for Discard {
    async fn write(&self, _line: String) -> io::Result<()> {
        Ok(())
    }

    async fn reopen(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &Path, mode: &str) -> Arc<dyn Device> {
        let path = path.to_str().unwrap().to_owned();
        open(&Options::from([("file_path".into(), path), ("mode".into(), mode.into())])).unwrap()
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[tokio::test]
    async fn lines_are_appended_and_a_moved_file_is_left_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/audit.log");
        let device = device(&path, "0640");
        device.write("one\n".into()).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let moved = folder.path().join("moved");
        std::fs::rename(&path, &moved).unwrap();
        device.write("two\n".into()).await.unwrap();
        device.reopen().await.unwrap();
        device.write("three\n".into()).await.unwrap();
        assert_eq!((text(&moved).as_str(), text(&path).as_str()), ("one\ntwo\n", "three\n"));
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_until_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let device = device(&path, "");
        let error = device.write("lost\n".into()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        std::fs::remove_file(&path).unwrap();
        device.write("kept\n".into()).await.unwrap();
        assert_eq!(text(&path), "kept\n");
    }

    #[test]
    fn half_a_line_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut state = State { file: None, torn: true };
        std::fs::write(&path, "{\"half").unwrap();
        state.append(&path, None, "whole\n").unwrap();
        assert_eq!(text(&path), "{\"half\nwhole\n");
    }

    #[test]
    fn options_are_checked() {
        let problem = |options: &[(&str, &str)]| {
            let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            open(&options).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(problem(&[]), "file_path is required");
        assert!(problem(&[("file_path", "/x"), ("mode", "rw")]).contains("octal"));
        assert!(problem(&[("file_path", "/x"), ("mode", "0755")]).contains("program"));
        for good in [[("file_path", "stdout"), ("mode", "")], [("path", "discard"), ("mode", "0000")]] {
            assert_eq!(problem(&good), "");
        }
    }
}
