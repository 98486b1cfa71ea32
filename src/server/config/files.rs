//! Several files as one configuration.

use std::path::{Path, PathBuf};

use super::Error;
use crate::base::hcl::{self, Document};

/// The files that paths name: themselves, or those of a folder that end in `.hcl` or `.json`, by their names.
pub(super) fn named(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for path in paths {
        let unreadable = |source| Error::Read { path: path.clone(), source };
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries =
            std::fs::read_dir(path).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        let files = entries.into_iter().map(|entry| entry.path()).filter(|file| file.is_file());
        let ours = |file: &PathBuf| file.extension().is_some_and(|end| end == "hcl" || end == "json");
        let mut files: Vec<_> = files.filter(ours).collect();
        files.sort();
        found.extend(files);
    }
    if found.is_empty() {
        let file = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let message = "there is no file that ends in .hcl or .json".to_owned();
        return Err(Error::Wrong { file, problem: hcl::Error { line: 0, column: 0, message } });
    }
    Ok(found)
}

pub(super) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// One document of all files, without places: lines of which file would it be?
pub(super) fn merged(files: &[PathBuf]) -> Result<Document, Error> {
    let mut whole = Document::default();
    for path in files {
        let wrong = |problem| Error::Wrong { file: path.display().to_string(), problem };
        let document = Document::parse(&read(path)?).map_err(wrong)?;
        whole.merge(document, &["listener"]);
    }
    Ok(whole)
}
