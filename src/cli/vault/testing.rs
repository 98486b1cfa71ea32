//! Surroundings that a test makes, and the texts that a command leaves in them.

use std::cell::{Cell, RefCell};
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::surroundings::Surroundings;
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;

/// A text that grows; clones share it.
#[derive(Clone, Default)]
pub struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a command printed.
#[derive(Clone, Default)]
pub struct Printed {
    output: Text,
    error: Text,
}

impl Printed {
    /// On standard output.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// On standard error.
    pub fn error(&self) -> String {
        String::from_utf8_lossy(&self.error.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A process with these variables and this input, and nobody at its terminal.
pub fn around(variables: &[(&str, &str)], input: &str) -> (Surroundings, Printed) {
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let printed = Printed::default();
    let around = Surroundings {
        variables: Box::new(move |name| Some(variables.iter().find(|(known, _)| known == name)?.1.clone())),
        input: RefCell::new(Box::new(Cursor::new(input.to_owned()))),
        output: RefCell::new(Box::new(printed.output.clone())),
        error: RefCell::new(Box::new(printed.error.clone())),
        input_is_terminal: false,
        output_is_terminal: false,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        lost: Cell::default(),
    };
    (around, printed)
}
