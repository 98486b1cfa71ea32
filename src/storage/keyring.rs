//! The barrier's keys: numbered terms, of which the newest encrypts and all decrypt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::cipher::{self, Key, Unreadable};
use super::{Entry, Error};
use crate::base::{Random, Timestamp};

/// Where the keyring is stored, encrypted by the root key.
pub(super) const NAME: &str = "core/keyring";

/// Form of the records, for the day that it changes.
const FORM: u8 = 1;

/// Form and term.
pub(super) const HEADER: usize = 1 + 4;

/// Bytes of one term as JSON, at most.
const TERM_SIZE: usize = 256;

/// One key and its use.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Term {
    key: [u8; 32],
    pub(super) installed: Timestamp,
    /// Values encrypted with it, as far as they were counted.
    pub(super) encryptions: u64,
}

impl Drop for Term {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// At least one term, by number.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<u32, Term>", into = "BTreeMap<u32, Term>")]
pub(super) struct Keyring {
    older: BTreeMap<u32, Term>,
    number: u32,
    newest: Term,
}

impl TryFrom<BTreeMap<u32, Term>> for Keyring {
    type Error = &'static str;

    fn try_from(mut terms: BTreeMap<u32, Term>) -> Result<Self, Self::Error> {
        let (number, newest) = terms.pop_last().ok_or("it holds no key")?;
        Ok(Self { older: terms, number, newest })
    }
}

impl From<Keyring> for BTreeMap<u32, Term> {
    fn from(keyring: Keyring) -> Self {
        let mut terms = keyring.older;
        terms.insert(keyring.number, keyring.newest);
        terms
    }
}

fn new_term(now: Timestamp, random: &dyn Random) -> Term {
    Term { key: *cipher::new_key(random), installed: now, encryptions: 0 }
}

fn corrupt(problem: impl ToString) -> Error {
    Error::Corrupt { key: NAME.into(), problem: problem.to_string() }
}

impl Keyring {
    /// A keyring with term 1.
    pub(super) fn new(now: Timestamp, random: &dyn Random) -> Self {
        Self { older: BTreeMap::new(), number: 1, newest: new_term(now, random) }
    }

    /// Number and state of the term that encrypts.
    pub(super) fn newest(&self) -> (u32, &Term) {
        (self.number, &self.newest)
    }

    /// Adds to the count of the term that encrypts.
    pub(super) fn count(&mut self, encryptions: u64) {
        self.newest.encryptions += encryptions;
    }

    /// Begins a new term.
    pub(super) fn rotate(&mut self, now: Timestamp, random: &dyn Random) {
        let old = std::mem::replace(&mut self.newest, new_term(now, random));
        self.older.insert(self.number, old);
        self.number += 1;
    }

    /// The keyring as it is stored.
    pub(super) fn seal(&self, root: &Key, random: &dyn Random) -> Result<Vec<u8>, Error> {
        // Room for all of it, since growing would leave copies of the keys behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(TERM_SIZE * (self.older.len() + 1)));
        serde_json::to_writer(&mut *plain, self).map_err(corrupt)?;
        Ok(cipher::encrypt(root, NAME, &plain, random))
    }

    /// Opens what [`Keyring::seal`] made.
    pub(super) fn open(root: &Key, sealed: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(&cipher::decrypt(root, NAME, sealed).map_err(corrupt)?).map_err(corrupt)
    }

    /// A value's record: form, term, nonce, ciphertext, tag.
    pub(super) fn encrypt(&self, name: &str, plain: &[u8], random: &dyn Random) -> Vec<u8> {
        let mut header = [FORM; HEADER];
        header[1..].copy_from_slice(&self.number.to_be_bytes());
        cipher::encrypt_after(&header, &self.newest.key, name, plain, random)
    }

    /// Whether the term of a record is here. One that is no record at all is none that is missing.
    pub(super) fn knows(&self, record: &[u8]) -> bool {
        let Some(([form, number @ ..], _)) = record.split_first_chunk::<HEADER>() else { return true };
        let number = u32::from_be_bytes(*number);
        *form != FORM || number == self.number || self.older.contains_key(&number)
    }

    /// The entry with its value in clear.
    pub(super) fn decrypt(&self, entry: Entry) -> Result<Entry, Error> {
        match self.open_record(&entry.key, &entry.value) {
            Ok(value) => Ok(Entry { value, ..entry }),
            Err(problem) => Err(Error::Corrupt { key: entry.key, problem }),
        }
    }

    fn open_record(&self, name: &str, record: &[u8]) -> Result<Vec<u8>, String> {
        let (header, sealed) = record.split_first_chunk::<HEADER>().ok_or(Unreadable).map_err(|e| e.to_string())?;
        let [form, number @ ..] = *header;
        if form != FORM {
            return Err(format!("records of form {form} are not known"));
        }
        let number = u32::from_be_bytes(number);
        let term = if number == self.number { Some(&self.newest) } else { self.older.get(&number) };
        let term = term.ok_or_else(|| format!("key term {number} is missing"))?;
        let mut plain = cipher::decrypt(&term.key, name, sealed).map_err(|error| error.to_string())?;
        Ok(std::mem::take(&mut *plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SystemRandom;

    #[test]
    fn a_term_fits_its_room() {
        let mut keyring = Keyring::new(Timestamp::MAX, &SystemRandom);
        keyring.count(u64::MAX);
        keyring.newest.key = [255; 32];
        assert!(serde_json::to_vec(&keyring).unwrap().len() <= TERM_SIZE);
    }

    #[test]
    fn a_keyring_without_a_key_is_refused() {
        let root = cipher::new_key(&SystemRandom);
        let sealed = cipher::encrypt(&root, NAME, b"{}", &SystemRandom);
        assert!(
            matches!(Keyring::open(&root, &sealed), Err(Error::Corrupt { problem, .. }) if problem.contains("no key"))
        );
    }
}
