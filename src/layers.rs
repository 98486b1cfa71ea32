//! The layering test: imports point down only, and every file opens by saying what lives in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What each folder may import besides itself; the diagram of `lib.rs` in code.
fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("base", &[] as &[_]),
        ("api", &["base"]),
        ("wire", &["base"]),
        ("client", &["base", "wire"]),
        ("storage", &["base", "wire"]),
        ("drivers", &["base", "wire"]),
        ("auth", &["base", "wire", "storage"]),
        ("audit", &["base", "wire"]),
        ("secrets", &["base", "wire", "storage"]),
        ("engine", &["base", "wire", "storage", "auth", "audit", "secrets"]),
        ("server", &["base", "wire", "engine", "storage"]),
        ("operator", &["base", "api", "wire", "client"]),
        ("webhook", &["base", "api"]),
        // A command for people that makes Kubernetes objects: the cli knows only the engine's API.
        ("migrate", &["base", "api"]),
        ("agent", &["base", "wire", "client"]),
        ("cli", &["base", "wire", "client"]),
    ])
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code without comments, so that prose may name any module.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The first path segments after each `crate::`, grouped imports (`crate::{a, b::c}`) included.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let head = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        let Some(group) = rest.strip_prefix('{') else {
            found.push(head(rest));
            continue;
        };
        let (mut depth, mut item) = (0, String::new());
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => found.push(head(&std::mem::take(&mut item))),
                _ => {}
            }
            item.push(if c == ',' && depth == 0 { ' ' } else { c });
        }
        found.push(head(&item));
    }
    found.into_iter().filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap().to_path_buf();
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.starts_with("//! ") {
            wrong.push(format!("{} does not open with a //! sentence", inside.display()));
        }
        let mut parts = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let (Some(folder), Some(_)) = (parts.next(), parts.next()) else { continue };
        let Some(may) = allowed().get(folder.as_str()).copied() else { continue };
        let code = code(&text);
        if code.contains("super::super::super") || (code.contains("super::super") && inside.components().count() == 2) {
            wrong.push(format!("{} climbs out of its folder with super", inside.display()));
        }
        for import in imports(&code) {
            let database = inside.starts_with("secrets/database") && import == "drivers";
            if import != folder && !may.contains(&import.as_str()) && !database {
                wrong.push(format!("{} imports crate::{import}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "the layers of lib.rs are broken:\n{}", wrong.join("\n"));
}

#[test]
fn grouped_imports_are_seen() {
    assert_eq!(imports("use crate::{base::{a, b}, engine, wire::X};"), ["base", "engine", "wire"]);
    assert_eq!(imports("use crate::engine::Engine;"), ["engine"]);
}
