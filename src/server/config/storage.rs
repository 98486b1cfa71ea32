//! `storage "embedded" { path = … }`: where state lives.

use std::path::PathBuf;

use super::{single, unknown};
use crate::base::hcl::{Block, Error};

/// The backend of a configuration.
#[derive(Debug)]
pub enum StorageConfig {
    /// One file on local disk.
    Embedded {
        /// The folder that holds it; made if it is missing.
        path: PathBuf,
    },
    /// Nothing survives the process.
    InMemory,
}

pub(super) fn read(root: &Block<'_>, warnings: &mut Vec<String>) -> Result<StorageConfig, Error> {
    // Vault's first word for it, which old files still have.
    let name =
        if root.map().contains_key("backend") && !root.map().contains_key("storage") { "backend" } else { "storage" };
    let block = single(root, name, "storage \"embedded\" { path = \"/var/lib/lessor\" }")?;
    match block.label() {
        kind @ ("embedded" | "file") => {
            warnings.extend(unknown(&block, &["path"], "storage."));
            if kind == "file" {
                let text = "storage \"file\" is kept in one file of Lessor's own, as \"embedded\": what Vault wrote is not read";
                warnings.push(text.to_owned());
            }
            let path = block.string("path")?.filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| block.error("\"path\" is missing: name a folder for the data"))?;
            Ok(StorageConfig::Embedded { path: path.into() })
        }
        "inmem" => Ok(StorageConfig::InMemory),
        other => Err(block.error(format!("storage {other:?} is not offered: use \"embedded\" or \"inmem\""))),
    }
}
