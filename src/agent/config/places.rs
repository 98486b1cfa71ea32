//! Where in which file each key of a configuration stands, across the files that were merged.

use std::collections::HashMap;

use crate::base::hcl::Document;

/// A file, and a line and column from 1.
#[derive(Debug, Clone)]
struct Place {
    file: usize,
    line: usize,
    column: usize,
}

/// All keys by their JSON pointer in the merged configuration. JSON texts know no places; there the text is searched.
#[derive(Debug, Default)]
pub struct Places {
    files: Vec<(String, String)>,
    keys: HashMap<String, Place>,
}

impl Places {
    /// Takes over the places of one file. `moved` tells by how many items a list at the top has moved in the merged
    /// configuration, because other files had items before.
    pub fn add(&mut self, name: &str, text: &str, document: &Document, moved: impl Fn(&str) -> usize) {
        let file = self.files.len();
        self.files.push((name.to_owned(), text.to_owned()));
        for (pointer, line, column) in document.places() {
            self.keys.insert(shifted(pointer, &moved), Place { file, line, column });
        }
    }

    /// `agent.hcl, line 3, column 5: ` for a key, or for the nearest block around it; empty when nothing is known.
    pub fn of(&self, pointer: &str) -> String {
        let mut around = pointer;
        while !around.is_empty() {
            if let Some(place) = self.keys.get(around) {
                let name = &self.files[place.file].0;
                return format!("{name}, line {}, column {}: ", place.line, place.column);
            }
            if around == pointer
                && let Some(found) = self.in_json(pointer)
            {
                return found;
            }
            around = around.rsplit_once('/').map_or("", |(before, _)| before);
        }
        String::new()
    }

    /// The line of a key in a JSON text, if the key stands in all of them only once.
    fn in_json(&self, pointer: &str) -> Option<String> {
        let key = format!("\"{}\"", pointer.rsplit('/').next()?);
        let mut found = self.files.iter().flat_map(|(name, text)| {
            let json = text.trim_start().starts_with('{');
            let hits = text.match_indices(key.as_str()).map(|(at, _)| at);
            hits.filter(|at| json && text[at + key.len()..].trim_start().starts_with(':'))
                .map(|at| format!("{name}, line {}: ", text[..at].matches('\n').count() + 1))
                .collect::<Vec<_>>()
        });
        let first = found.next();
        first.filter(|_| found.next().is_none())
    }
}

/// `/template/0/contents` as `/template/2/contents` where two templates were there before.
fn shifted(pointer: &str, moved: &impl Fn(&str) -> usize) -> String {
    let mut parts = pointer.splitn(4, '/');
    let (Some(""), Some(key), Some(index)) = (parts.next(), parts.next(), parts.next()) else {
        return pointer.to_owned();
    };
    let (by, Ok(index)) = (moved(key), index.parse::<usize>()) else { return pointer.to_owned() };
    if by == 0 {
        return pointer.to_owned();
    }
    let rest = parts.next().map(|rest| format!("/{rest}")).unwrap_or_default();
    format!("/{key}/{}{rest}", index + by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_the_file_that_brought_them() {
        let mut places = Places::default();
        for (name, text, before) in [
            ("a.hcl", "x = 1\ntemplate {\n  perms = \"1\"\n}\n", 0),
            ("b.hcl", "template {\n  perm = \"1\"\n}\n", 1),
            ("c.json", "{\n \"vault\": {\"adress\": \"adress\"}}", 0),
        ] {
            let document = Document::parse(text).unwrap();
            places.add(name, text, &document, |key| if key == "template" { before } else { 0 });
        }
        assert_eq!(places.of("/template/0/perms"), "a.hcl, line 3, column 3: ");
        assert_eq!(places.of("/template/1/perm"), "b.hcl, line 2, column 3: ");
        assert_eq!(places.of("/template/1/nothing"), "b.hcl, line 1, column 1: ", "the block around it");
        assert_eq!(places.of("/vault/adress"), "c.json, line 2: ");
        assert_eq!(places.of("/nothing/at/all"), "");
    }
}
