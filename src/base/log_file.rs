//! A log file that starts anew when it has grown to a size, and keeps some of those before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Where it is and how large it may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file that is written to; older ones get `.1`, `.2` … behind its name.
    pub path: PathBuf,
    /// The size at which a new one begins, in bytes.
    pub rotate_at: u64,
    /// How many older ones stay.
    pub keep: u32,
}

/// The open file.
#[derive(Debug)]
pub struct Rotating {
    settings: LogFile,
    file: File,
    size: u64,
}

impl Rotating {
    /// Goes on with the file, or makes it, and its folder.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(settings: LogFile) -> io::Result<Self> {
        if let Some(folder) = settings.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append_to(&settings.path)?;
        Ok(Self { size: file.metadata()?.len(), settings, file })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.settings.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.settings.keep).rev() {
            // Not every number is taken yet.
            let _ = std::fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        std::fs::rename(&self.settings.path, self.numbered(1))?;
        self.file = append_to(&self.settings.path)?;
        self.size = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

impl Write for Rotating {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.size >= self.settings.rotate_at {
            self.rotate()?;
        }
        let written = self.file.write(buffer)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_makes_room_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/agent.log");
        let settings = LogFile { path: path.clone(), rotate_at: 4, keep: 2 };
        let mut log = Rotating::open(settings.clone()).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        drop(log);
        Rotating::open(settings).unwrap().write_all(b"four\n").unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join("deep").join(name)).unwrap();
        assert_eq!(
            (read("agent.log"), read("agent.log.1"), read("agent.log.2")),
            ("four\n".into(), "three\n".into(), "two\n".into())
        );
        assert_eq!(std::fs::read_dir(folder.path().join("deep")).unwrap().count(), 3);
    }
}
