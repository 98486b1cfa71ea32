//! Named objects of a mount, such as roles and users: stored one by one, changed by merging what is sent, read, listed, removed.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::role_name;
use crate::storage::{Error as StorageError, View};
use crate::wire::{Answer, Error, Fields, Operation};

/// What a folder of a mount's storage holds.
pub trait Object: Default + Serialize + DeserializeOwned + Send + Sync {
    /// Takes over what was sent and keeps the rest; a new object starts as its default.
    ///
    /// # Errors
    /// 400 naming the field.
    fn merge(&mut self, fields: &Fields) -> Result<(), Error>;

    /// The answer of a read, without anything secret.
    fn describe(&self) -> Map<String, Value>;
}

/// The objects of one folder, by name. Names are taken as they are: the caller brings them into one form.
pub struct Objects<T> {
    view: View,
    folder: &'static str,
    kind: PhantomData<fn() -> T>,
}

impl<T: Object> Objects<T> {
    /// Those below `folder` (with its trailing slash) of a mount's storage.
    pub fn new(view: View, folder: &'static str) -> Self {
        Self { view, folder, kind: PhantomData }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// The object with that name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, name: &str) -> Result<Option<T>, Error> {
        Ok(self.view.get(&self.key(name)).await?.map(|(object, _)| object))
    }

    /// Whether there is an object with that name; none has a name that cannot be.
    ///
    /// # Errors
    /// What the store says.
    pub async fn has(&self, name: &str) -> Result<bool, Error> {
        match role_name::normal(name) {
            Ok(name) => Ok(self.get(&name).await?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// All names, sorted.
    ///
    /// # Errors
    /// What the store says.
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.view.keys(self.folder).await?.into_iter().map(|key| key[self.folder.len()..].to_owned()).collect())
    }

    /// The answer of a list.
    ///
    /// # Errors
    /// 404 when there are none.
    pub async fn list(&self) -> Result<Answer, Error> {
        Answer::keys(self.names().await?)
    }

    /// Changes an object, or makes it if `create` is set. Repeated when another writer was faster.
    ///
    /// # Errors
    /// What the change says; `None` is left alone where nothing is to be made.
    pub async fn change(
        &self,
        name: &str,
        create: bool,
        change: impl Fn(&mut T) -> Result<(), Error>,
    ) -> Result<Option<T>, Error> {
        loop {
            let (mut object, version) = match self.view.get(&self.key(name)).await? {
                Some((object, version)) => (object, version),
                None if create => (T::default(), 0),
                None => return Ok(None),
            };
            change(&mut object)?;
            match self.view.put_if(&self.key(name), &object, version).await {
                Ok(()) => return Ok(Some(object)),
                Err(StorageError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes an object; an absent one is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        Ok(self.view.delete(&self.key(name)).await?)
    }

    /// Reads, writes or deletes one object, as every method does with its roles.
    ///
    /// # Errors
    /// 404 for one that is read and not there, 400 for bad fields, 405 for other operations.
    pub async fn answer(&self, operation: Operation, name: &str, fields: &Fields) -> Result<Answer, Error> {
        match operation {
            Operation::Read => {
                let object = self.get(name).await?.ok_or_else(Error::not_found)?;
                Ok(Answer::data(object.describe().into()))
            }
            Operation::Write => self.change(name, true, |object| object.merge(fields)).await.map(|_| Answer::empty()),
            Operation::Delete => self.remove(name).await.map(|()| Answer::empty()),
            _ => Err(Error::unsupported_operation()),
        }
    }
}
