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
    let block = single(root, "storage", "storage \"embedded\" { path = \"/var/lib/lessor\" }")?;
    match block.label() {
        "embedded" => {
            warnings.extend(unknown(&block, &["path"], "storage."));
            let path = block.string("path")?.filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| block.error("\"path\" is missing: name a folder for the data"))?;
            Ok(StorageConfig::Embedded { path: path.into() })
        }
        "inmem" => Ok(StorageConfig::InMemory),
        other => Err(block.error(format!("storage {other:?} is not offered: use \"embedded\" or \"inmem\""))),
    }
}
