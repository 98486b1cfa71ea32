//! `delete/`, `undelete/` and `destroy/`: versions that are hidden, shown again, and gone for good.

use super::Versioned;
use super::store::{Change, Metadata, Version};
use crate::wire::{Answer, Error, Fields};

impl Versioned {
    /// `DELETE data/…`: the latest version is deleted; it can be brought back.
    pub(super) async fn delete_latest(&self, path: &str) -> Result<Answer, Error> {
        self.change(path, &[], |metadata| {
            let (current, now) = (metadata.current, self.clock.now());
            if let Some(version) = metadata.versions.get_mut(&current).filter(|version| !version.is_gone(now)) {
                version.deletion = Some(now);
            }
        })
        .await
    }

    pub(super) async fn delete(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        let numbers = numbers(fields, "No version number provided")?;
        self.change(path, &[], |metadata| {
            let now = self.clock.now();
            for version in chosen(metadata, &numbers).filter(|version| !version.is_gone(now)) {
                version.deletion = Some(now);
            }
        })
        .await
    }

    /// Versions come back; where they have a limited life it begins again.
    pub(super) async fn undelete(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        let numbers = numbers(fields, "No version number provided")?;
        let (config, _) = self.store.config().await?;
        self.change(path, &[], |metadata| {
            let deletion = metadata.deletion(&config, self.clock.now());
            for version in chosen(metadata, &numbers).filter(|version| !version.destroyed) {
                version.deletion = deletion;
            }
        })
        .await
    }

    pub(super) async fn destroy(&self, path: &str, fields: &Fields) -> Result<Answer, Error> {
        let numbers = numbers(fields, "no version number provided")?;
        self.change(path, &numbers, |metadata| {
            for version in chosen(metadata, &numbers) {
                version.destroyed = true;
            }
        })
        .await
    }

    /// Changes the metadata of a path, if it has any, and removes the data of some versions.
    async fn change(&self, path: &str, removed: &[u64], apply: impl Fn(&mut Metadata)) -> Result<Answer, Error> {
        loop {
            let Some((mut metadata, seen)) = self.store.metadata(path).await? else { return Ok(Answer::empty()) };
            apply(&mut metadata);
            let change = Change { metadata: Some(&metadata), added: None, removed };
            if self.store.commit(path, seen, change).await? {
                return Ok(Answer::empty());
            }
        }
    }
}

fn chosen<'a>(metadata: &'a mut Metadata, numbers: &'a [u64]) -> impl Iterator<Item = &'a mut Version> {
    metadata.versions.iter_mut().filter(|(number, _)| numbers.contains(number)).map(|(_, version)| version)
}

/// The numbers in `versions`: a list, one number, or a text with commas.
fn numbers(fields: &Fields, missing: &str) -> Result<Vec<u64>, Error> {
    let wrong = || Error::bad_request("error converting input for field \"versions\": expected a list of numbers");
    let texts = fields.comma_list("versions").map_err(|_| wrong())?.unwrap_or_default();
    let numbers: Vec<u64> = texts.iter().map(|text| text.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    if numbers.is_empty() { Err(Error::bad_request(missing)) } else { Ok(numbers) }
}
