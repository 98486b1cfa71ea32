//! GnuPG with a key ring of a test's own: the private keys of people whom an engine encrypts for.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A key ring. Its agent ends with the value.
pub struct Gnupg {
    program: String,
    folder: TempDir,
}

impl Gnupg {
    /// Without keys.
    ///
    /// # Panics
    /// When GnuPG is neither there nor to be had.
    pub fn new() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("gnupg");
        let found = Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
        assert!(found.status.success(), "GnuPG cannot be had");
        let program = String::from_utf8(found.stdout).unwrap().trim().to_owned();
        // Short, because the path of the agent's socket must be.
        Self { program, folder: tempfile::Builder::new().prefix("gnupg-").tempdir().unwrap() }
    }

    /// A key for `name` of this kind, in the words of GnuPG's "unattended key generation".
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn make(&self, name: &str, kind: &str) {
        let wish = format!("%no-protection\n{kind}\nName-Real: {name}\nExpire-Date: 1y\n%commit\n");
        self.run(&["--gen-key"], wish.as_bytes());
    }

    /// The public key in its binary form, or in its text form.
    ///
    /// # Panics
    /// When there is none.
    pub fn export(&self, name: &str, armor: bool) -> Vec<u8> {
        let form = if armor { "--armor" } else { "--no-armor" };
        let exported = self.run(&[form, "--export", name], b"");
        assert!(!exported.is_empty(), "{name} has no key");
        exported
    }

    /// The fingerprint of the primary key, in lower-case hexadecimal digits.
    ///
    /// # Panics
    /// When there is none.
    pub fn fingerprint(&self, name: &str) -> String {
        let listed = String::from_utf8(self.run(&["--with-colons", "--list-keys", name], b"")).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("a key has a fingerprint");
        line.split(':').nth(9).expect("its field").to_lowercase()
    }

    /// What `gpg -dq` makes of base64: nobody without the private key gets that far.
    ///
    /// # Panics
    /// When none of the private keys fits.
    pub fn decrypt(&self, base64: &str) -> String {
        let mut decode = Command::new("base64");
        decode.arg("--decode");
        let message = fed(decode, base64.as_bytes());
        String::from_utf8(self.run(&["--decrypt", "--quiet"], &message)).unwrap()
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new(&self.program);
        command.env("GNUPGHOME", self.folder.path()).args(["--batch", "--no-tty"]).args(arguments);
        fed(command, input)
    }
}

impl Default for Gnupg {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let mut kill = Command::new("gpgconf");
        // It would end by itself, but only once it looks for its folder again.
        let _ = kill.env("GNUPGHOME", self.folder.path()).args(["--kill", "gpg-agent"]).status();
    }
}

/// What a command makes of its input, which is short enough for a pipe.
fn fed(mut command: Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "it ended with {}", output.status);
    output.stdout
}
