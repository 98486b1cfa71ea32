//! `sys/namespaces`, its locks, and `sys/internal/ui/namespaces` (vault-api.md 1.9).

use serde_json::{Map, Value, json};

use crate::engine::core::Core;
use crate::engine::namespace::{Metadata, Record, normal_path};
use crate::engine::request::Reply;
use crate::engine::session::Session;
use crate::wire::{Answer, Error, Fields, Operation};

impl Core {
    pub(super) async fn sys_namespaces(
        &self,
        operation: Operation,
        path: &str,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        if let Some(rest) = path.strip_prefix("api-lock/") {
            return self.sys_api_lock(operation, rest, fields, session).await;
        }
        if path.is_empty() {
            return match operation {
                Operation::List => self.list_namespaces(),
                _ => Err(Error::unsupported_operation()),
            };
        }
        let full = self.place.full(&normal_path(path)?).into_owned();
        match operation {
            Operation::Read => {
                let space = self.shared.directory.get(&full).ok_or_else(Error::not_found)?;
                Ok(Reply::answer(Answer::data(describe(&space.record))))
            }
            Operation::Write => self.write_namespace(&full, fields).await,
            Operation::Patch => {
                let record =
                    self.shared.directory.amend(&full, |record| merge(&mut record.custom_metadata, fields)).await?;
                Ok(Reply::answer(Answer::data(describe(&record))))
            }
            Operation::Delete => self.delete_namespace(&full).await,
            Operation::List | Operation::Help => Err(Error::unsupported_operation()),
        }
    }

    /// Those directly below this one.
    fn list_namespaces(&self) -> Result<Reply, Error> {
        let (mut keys, mut info) = (Vec::new(), Map::new());
        for space in self.shared.directory.below(&self.place.path) {
            let name = &space.record.path[self.place.path.len()..];
            if name.find('/') == Some(name.len() - 1) {
                keys.push(name.to_owned());
                info.insert(name.to_owned(), describe(&space.record));
            }
        }
        let mut answer = Answer::keys(keys)?;
        if let Some(data) = &mut answer.data {
            data["key_info"] = info.into();
        }
        Ok(Reply::answer(answer))
    }

    /// Makes it, or gives one that is there other metadata.
    async fn write_namespace(&self, full: &str, fields: &Fields) -> Result<Reply, Error> {
        if fields.string("seal")?.is_some_and(|seal| !seal.is_empty()) {
            return Err(Error::bad_request("seal: namespaces with a seal of their own are not offered: leave it out"));
        }
        let metadata: Option<Metadata> = fields.string_map("custom_metadata")?;
        let record = match self.shared.directory.get(full) {
            None => self.make_namespace(full, metadata.unwrap_or_default()).await?,
            Some(_) => {
                let replace = |record: &mut Record| {
                    if let Some(metadata) = metadata {
                        record.custom_metadata = metadata;
                    }
                    Ok(())
                };
                self.shared.directory.amend(full, replace).await?
            }
        };
        Ok(Reply::answer(Answer::data(describe(&record))))
    }

    async fn delete_namespace(&self, full: &str) -> Result<Reply, Error> {
        let Some(space) = self.shared.directory.get(full) else {
            return Ok(Reply::answer(Answer::empty().warn("requested namespace does not exist")));
        };
        match self.shared.directory.delete(space).await? {
            true => Ok(Reply::Empty(204)),
            false => {
                let warning = "a database refused to drop users of this namespace: it answers nothing more, and is \
                               deleted once they are dropped";
                Ok(Reply::answer(Answer::data(json!({ "status": "in-progress" })).warn(warning)))
            }
        }
    }

    /// `lock` and `unlock` of this namespace, or of one below it.
    async fn sys_api_lock(
        &self,
        operation: Operation,
        path: &str,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        let (action, below) = path.split_once('/').unwrap_or((path, ""));
        if operation != Operation::Write {
            return Err(Error::unsupported_operation());
        }
        let full = match below {
            "" => self.place.path.clone(),
            below => self.place.full(&normal_path(below)?).into_owned(),
        };
        if full.is_empty() {
            return Err(Error::bad_request("root namespace cannot be locked or unlocked"));
        }
        match action {
            "lock" => {
                let key = self.shared.directory.lock(&full, &*self.shared.random).await?;
                Ok(Reply::answer(Answer::data(json!({ "unlock_key": key.expose() }))))
            }
            "unlock" => {
                let key = fields.secret("unlock_key")?.filter(|key| !key.is_empty());
                self.shared.directory.unlock(&full, key, session.is_root()).await?;
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_path()),
        }
    }

    /// For user interfaces: the namespaces below this one in which the caller may do anything.
    pub(super) fn visible_namespaces(&self, operation: Operation, session: &Session) -> Result<Reply, Error> {
        if operation != Operation::Read {
            return Err(Error::unsupported_operation());
        }
        let below = self.shared.directory.below(&self.place.path);
        let names = below.iter().map(|space| &space.record.path[self.place.path.len()..]);
        let keys: Vec<_> = names.filter(|name| session.reaches(name)).collect();
        Ok(Reply::answer(Answer::data(json!({ "keys": keys }))))
    }
}

fn describe(record: &Record) -> Value {
    json!({
        "id": record.id, "uuid": record.uuid, "path": record.path, "locked": record.lock.is_some(),
        "tainted": record.tainted, "custom_metadata": record.custom_metadata,
    })
}

/// A merge patch: null takes a key away.
fn merge(metadata: &mut Metadata, fields: &Fields) -> Result<(), Error> {
    let wrong = || Error::bad_request("custom_metadata must be a map of strings, or of nulls to take keys away");
    let Some(patch) = fields.value("custom_metadata") else { return Ok(()) };
    for (key, value) in patch.as_object().ok_or_else(wrong)? {
        match value {
            Value::Null => drop(metadata.remove(key)),
            Value::String(text) => drop(metadata.insert(key.clone(), text.clone())),
            _ => return Err(wrong()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_keeps_what_it_does_not_name() {
        let mut metadata = Metadata::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        let fields = |value: Value| Fields::from(value.as_object().unwrap().clone());
        merge(&mut metadata, &fields(json!({ "custom_metadata": { "a": null, "c": "3" } }))).unwrap();
        assert_eq!(metadata, Metadata::from([("b".into(), "2".into()), ("c".into(), "3".into())]));
        assert!(merge(&mut metadata, &fields(json!({ "custom_metadata": "x" }))).is_err());
    }
}
