//! Puts results in their place: files by themselves or a folder at once, variables, and changes that wait for others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::config::{FileTarget, Target, Wait};
use super::super::write::{self, FileError, Style};
use super::super::{Error, swap};
use super::{Change, Item, Pass, Renderer};
use crate::base::clock::add;
use crate::base::{Secret, Timestamp};

/// What came of one template.
pub(super) enum Rendered {
    /// It asked for what is not known yet.
    Waits,
    /// It cannot be rendered.
    Failed,
    /// Its result.
    Text(Secret),
}

/// A changed result that waits for further changes.
pub(super) struct Pending {
    text: Secret,
    first: Timestamp,
    last: Timestamp,
}

impl Renderer {
    /// Writes what has changed and may be written now.
    pub(super) fn put(&mut self, results: Vec<Rendered>, pass: &mut Pass) {
        let now = self.clock.now();
        let mut folders: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        let mut texts: Vec<Option<Secret>> = Vec::with_capacity(results.len());
        for (number, result) in results.into_iter().enumerate() {
            let item = &mut self.items[number];
            texts.push(match result {
                Rendered::Text(text) => match settle(item, text, now) {
                    Ok(text) => Some(text),
                    Err(due) => {
                        pass.later = pass.later.into_iter().chain([due]).min();
                        None
                    }
                },
                Rendered::Waits | Rendered::Failed => None,
            });
            if let Target::File(file) = &item.config.target
                && self.swaps
                && let Some(folder) = file.path.parent()
            {
                folders.entry(folder.to_path_buf()).or_default().push(number);
            }
        }
        let alone: Vec<usize> =
            (0..texts.len()).filter(|number| !folders.values().any(|numbers| numbers.contains(number))).collect();
        for number in alone {
            let Some(text) = &texts[number] else { continue };
            let outcome = match &self.items[number].config.target {
                Target::File(file) => store(file, text),
                Target::Variable(name) => {
                    let before = self.variables.insert(name.clone(), text.clone());
                    Ok((before.as_ref() != Some(text)).then_some(before.is_some()))
                }
            };
            self.account(number, outcome, pass);
        }
        for (folder, numbers) in folders {
            // A folder that changes as a whole waits for all of its files.
            if let Some(ready) = numbers.iter().map(|number| texts[*number].as_ref()).collect::<Option<Vec<_>>>() {
                self.put_folder(&folder, &numbers, &ready, now, pass);
            }
        }
    }

    fn put_folder(&mut self, folder: &Path, numbers: &[usize], texts: &[&Secret], now: Timestamp, pass: &mut Pass) {
        let files: Vec<(String, Style)> = numbers
            .iter()
            .filter_map(|number| match &self.items[*number].config.target {
                Target::File(file) => Some((file.path.file_name()?.to_string_lossy().into_owned(), Style::from(file))),
                Target::Variable(_) => None,
            })
            .collect();
        let parts: Vec<swap::Part<'_>> = files
            .iter()
            .zip(texts)
            .map(|((name, style), text)| swap::Part { name, contents: text.expose().as_bytes(), style })
            .collect();
        match swap::replace(folder, &parts, now) {
            Ok(changes) => {
                for (number, change) in numbers.iter().zip(changes) {
                    self.account(*number, Ok(change), pass);
                }
            }
            Err(source) => pass.errors.push(FileError::new("write", folder, source).into()),
        }
    }

    /// `outcome` tells whether there was another result before, if this one is new.
    fn account(&mut self, number: usize, outcome: Result<Option<bool>, Error>, pass: &mut Pass) {
        let item = &mut self.items[number];
        match outcome {
            Ok(change) => {
                (item.written, item.pending) = (true, None);
                if let Some(replaced) = change {
                    tracing::info!(template = item.config.name, "wrote");
                    pass.changed.push(Change { template: number, replaced });
                }
            }
            Err(error) if item.config.fatal => pass.errors.push(error),
            Err(error) => pass.tolerated.push(error),
        }
    }
}

/// The text, if it may be written now; otherwise the moment at which it may be.
fn settle(item: &mut Item, text: Secret, now: Timestamp) -> Result<Secret, Timestamp> {
    let Some(Wait { min, max }) = item.config.wait.filter(|_| item.written) else { return Ok(text) };
    let (first, last) = match &item.pending {
        Some(pending) if pending.text == text => (pending.first, pending.last),
        Some(pending) => (pending.first, now),
        None if unchanged(item, &text) => return Ok(text),
        None => (now, now),
    };
    let due = quiet_at(first, last, min, max);
    if due <= now {
        return Ok(text);
    }
    item.pending = Some(Pending { text, first, last });
    Err(due)
}

fn quiet_at(first: Timestamp, last: Timestamp, min: Duration, max: Duration) -> Timestamp {
    add(last, min).min(add(first, max))
}

fn unchanged(item: &Item, text: &Secret) -> bool {
    match &item.config.target {
        Target::File(file) => std::fs::read(&file.path).is_ok_and(|present| present == text.expose().as_bytes()),
        Target::Variable(_) => false,
    }
}

/// Whether there was another file before, if this one is new.
fn store(file: &FileTarget, text: &Secret) -> Result<Option<bool>, Error> {
    let (path, contents) = (&file.path, text.expose().as_bytes());
    let present = std::fs::read(path).ok();
    if present.as_deref() == Some(contents) {
        return Ok(None);
    }
    let failed = |source| FileError::new("write", path, source);
    let style = Style::from(file);
    if let Some(present) = present.as_deref().filter(|_| file.backup) {
        let mut kept = path.clone().into_os_string();
        kept.push(".bak");
        write::replace(Path::new(&kept), present, &style).map_err(failed)?;
    }
    write::replace(path, contents, &style).map_err(failed)?;
    Ok(Some(present.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_waits_for_quiet_but_not_for_ever() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let (min, max) = (Duration::from_secs(5), Duration::from_secs(20));
        assert_eq!(quiet_at(at(0), at(0), min, max), at(5));
        assert_eq!(quiet_at(at(0), at(3), min, max), at(8));
        assert_eq!(quiet_at(at(0), at(18), min, max), at(20));
    }
}
