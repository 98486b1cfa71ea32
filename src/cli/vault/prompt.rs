//! Asking for a password: what is typed is not shown, and the terminal is as before afterwards.

use std::io::Read;
use std::os::fd::AsFd as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::base::Secret;

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const ERASE_LINE: u8 = 0x15;

/// A terminal that shows nothing and hands over each key; it is put back when this goes.
struct Silent(Termios);

impl Silent {
    fn standard_input() -> Result<Self, String> {
        let unusable = |error| format!("cannot ask without showing what is typed: {error}");
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd()).map_err(unusable)?;
        let mut silent = before.clone();
        // Signals, too: Ctrl-C would end the process and leave a terminal that shows nothing.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(stdin.as_fd(), OptionalActions::Now, &silent).map_err(unusable)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Nothing is left to try when the terminal refuses.
        let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, &self.0);
    }
}

/// Reads a line from standard input, a terminal, without showing it.
///
/// # Errors
/// When the terminal refuses, or somebody interrupts.
pub fn hidden(input: &mut dyn Read) -> Result<Secret, String> {
    let _silent = Silent::standard_input()?;
    line(input)
}

/// A line of single keys, with those that correct it.
fn line(input: &mut dyn Read) -> Result<Secret, String> {
    let mut typed = zeroize::Zeroizing::new(Vec::with_capacity(256));
    let mut key = [0];
    loop {
        let read = input.read(&mut key).map_err(|error| format!("cannot read the terminal: {error}"))?;
        match key[0] {
            _ if read == 0 => break,
            b'\r' | b'\n' | END => break,
            INTERRUPT => return Err("interrupted".to_owned()),
            ERASE_LINE => typed.clear(),
            0x08 | 0x7f => {
                // A letter may be several bytes: those that continue one, and then its first.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            other => typed.push(other),
        }
    }
    let text = std::str::from_utf8(&typed).map_err(|_| "what was typed is not UTF-8".to_owned())?;
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_correct_the_line() {
        let read = |keys: &[u8]| line(&mut &keys[..]).map(|secret| secret.expose().to_owned());
        assert_eq!(read(b"pass\n").unwrap(), "pass");
        assert_eq!(read(b"pasx\x7fs\r").unwrap(), "pass");
        assert_eq!(read("pä\u{7f}ass\n".as_bytes()).unwrap(), "pass");
        assert_eq!(read(b"wrong\x15pass\x04").unwrap(), "pass");
        assert_eq!(read(b"pa\x03ss\n").unwrap_err(), "interrupted");
    }
}
