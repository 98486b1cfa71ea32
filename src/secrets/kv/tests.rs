//! Both versions as a mount answers them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::base::clock::ManualClock;
use crate::storage::memory::Memory;
use crate::wire::{Caller, Fields, Kind};

struct Mount {
    kv: Kv,
    view: View,
    clock: ManualClock,
}

impl Mount {
    fn new(version: &str) -> Self {
        let view = View::new(Arc::new(Memory::default()), "mount/");
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let kv = Kv::new(view.clone(), &json!({ "version": version }), Arc::new(clock.clone()));
        Self { kv, view, clock }
    }

    fn upgraded(self) -> Self {
        let kv = Kv::new(self.view.clone(), &json!({ "version": "2" }), Arc::new(self.clock.clone()));
        Self { kv, ..self }
    }

    async fn ask(&self, operation: Operation, path: &str, body: Value) -> Result<Answer, Error> {
        let fields: Fields = body.as_object().cloned().unwrap_or_default().into();
        let request = Request { operation, path: path.to_owned(), fields, caller: Caller::default() };
        match self.kv.handle(request).await? {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Lease(_) => panic!("a lease"),
        }
    }

    async fn data(&self, operation: Operation, path: &str, body: Value) -> Value {
        self.ask(operation, path, body).await.unwrap().data.unwrap_or_default()
    }

    async fn refused(&self, operation: Operation, path: &str, body: Value) -> (Kind, String) {
        let error = self.ask(operation, path, body).await.unwrap_err();
        (error.kind(), error.messages().join(""))
    }

    async fn write(&self, body: Value) -> u64 {
        self.data(Operation::Write, "data/a/b", body).await["version"].as_u64().unwrap()
    }
}

fn v(value: u32) -> Value {
    json!({ "data": { "k": value } })
}

#[test]
fn only_the_two_versions_can_be_mounted() {
    assert_eq!(version(&json!({})).unwrap(), 1);
    assert_eq!(version(&Value::Null).unwrap(), 1);
    assert_eq!(version(&json!({ "version": "2" })).unwrap(), 2);
    assert!(version(&json!({ "version": "3" })).unwrap_err().to_string().contains("options.version"));
}

#[tokio::test]
async fn version_1_keeps_one_value() {
    use Operation::{Delete, List, Patch, Read, Write};
    let mount = Mount::new("1");
    assert_eq!(mount.refused(Write, "a/b", json!({})).await, (Kind::BadRequest, "missing data fields".into()));
    assert!(!mount.kv.exists("a/b").await.unwrap());
    assert_eq!(mount.ask(Write, "a/b", json!({ "k": [1, null] })).await.unwrap(), Answer::empty());
    assert!(mount.kv.exists("a/b").await.unwrap());
    assert_eq!(mount.data(Read, "a/b", Value::Null).await, json!({ "k": [1, null] }));
    assert_eq!(mount.data(List, "", Value::Null).await, json!({ "keys": ["a/"] }));
    assert_eq!(mount.data(List, "a", Value::Null).await, json!({ "keys": ["b"] }));
    assert_eq!(mount.refused(List, "a/b", Value::Null).await.0, Kind::NotFound);
    assert_eq!(mount.refused(Read, "a", Value::Null).await, (Kind::NotFound, String::new()));
    assert_eq!(mount.refused(Patch, "a/b", json!({ "k": 1 })).await.0, Kind::Unsupported);
    assert_eq!(mount.refused(Write, "a/", json!({ "k": 1 })).await.0, Kind::NotFound);
    assert_eq!(mount.ask(Delete, "a/b", Value::Null).await.unwrap(), Answer::empty());
    assert_eq!(mount.refused(Read, "a/b", Value::Null).await.0, Kind::NotFound);
}

#[tokio::test]
async fn versions_are_numbered_deleted_restored_and_destroyed() {
    use Operation::{Delete, Read, Write};
    let mount = Mount::new("2");
    assert_eq!(mount.refused(Write, "data/a/b", json!({})).await.1, "no data provided");
    assert!(!mount.kv.exists("data/a/b").await.unwrap());
    assert_eq!((mount.write(v(1)).await, mount.write(v(2)).await), (1, 2));
    assert!(mount.kv.exists("data/a/b").await.unwrap());
    let expected = json!({ "data": { "k": 1 }, "metadata": { "version": 1, "created_time": "1970-01-01T00:00:00Z",
        "deletion_time": "", "destroyed": false, "custom_metadata": null } });
    assert_eq!(mount.data(Read, "data/a/b", json!({ "version": "1" })).await, expected);
    assert_eq!(mount.data(Read, "data/a/b", json!({ "version": 0 })).await["data"], json!({ "k": 2 }));
    assert_eq!(mount.refused(Read, "data/a/b", json!({ "version": 3 })).await, (Kind::NotFound, String::new()));

    mount.ask(Delete, "data/a/b", Value::Null).await.unwrap();
    let gone = mount.ask(Read, "data/a/b", Value::Null).await.unwrap();
    assert!(gone.missing, "404 with the metadata");
    let data = gone.data.unwrap();
    assert_eq!((&data["data"], &data["metadata"]["deletion_time"]), (&Value::Null, &json!("1970-01-01T00:00:00Z")));
    let patched = mount.ask(Operation::Patch, "data/a/b", v(9)).await.unwrap();
    assert!(patched.missing, "what is deleted cannot be patched");

    mount.ask(Write, "undelete/a/b", json!({ "versions": [2] })).await.unwrap();
    assert_eq!(mount.data(Read, "data/a/b", Value::Null).await["data"], json!({ "k": 2 }));
    mount.ask(Write, "delete/a/b", json!({ "versions": "1,2" })).await.unwrap();
    assert!(mount.ask(Read, "data/a/b", json!({ "version": 1 })).await.unwrap().missing);
    mount.ask(Write, "destroy/a/b", json!({ "versions": 2 })).await.unwrap();
    mount.ask(Write, "undelete/a/b", json!({ "versions": [1, 2] })).await.unwrap();
    assert_eq!(mount.data(Read, "data/a/b", json!({ "version": 1 })).await["data"], json!({ "k": 1 }));
    let destroyed = mount.ask(Read, "data/a/b", Value::Null).await.unwrap();
    assert!(destroyed.missing && destroyed.data.unwrap()["metadata"]["destroyed"] == json!(true));
    assert_eq!(mount.view.list("version/a/b/").await.unwrap(), ["1"], "destroyed data are not kept");
    assert_eq!(mount.refused(Write, "destroy/a/b", json!({})).await.1, "no version number provided");

    mount.ask(Delete, "metadata/a/b", Value::Null).await.unwrap();
    assert_eq!(mount.refused(Read, "metadata/a/b", Value::Null).await, (Kind::NotFound, String::new()));
    assert!(mount.view.keys("").await.unwrap().is_empty(), "nothing is left behind");
}

#[tokio::test]
async fn check_and_set_lets_one_of_two_writers_win() {
    let mount = Mount::new("2");
    let cas = |number: Value| json!({ "data": { "k": "v" }, "options": { "cas": number } });
    assert_eq!(mount.write(cas(json!(0))).await, 1);
    let mismatch = "check-and-set parameter did not match the current version";
    assert_eq!(mount.refused(Operation::Write, "data/a/b", cas(json!(0))).await, (Kind::BadRequest, mismatch.into()));
    assert_eq!(mount.write(cas(json!("1"))).await, 2, "as a text, too");
    assert_eq!(mount.refused(Operation::Write, "data/a/b", cas(json!(-1))).await.1, mismatch);
    let wrong = mount.refused(Operation::Write, "data/a/b", cas(json!("x"))).await.1;
    assert_eq!(wrong, "error parsing check-and-set parameter");
    let both = tokio::join!(
        mount.ask(Operation::Write, "data/a/b", cas(json!(2))),
        mount.ask(Operation::Patch, "data/a/b", cas(json!(2)))
    );
    assert!(both.0.is_ok() != both.1.is_ok());
    mount.ask(Operation::Write, "config", json!({ "cas_required": true })).await.unwrap();
    let required = "check-and-set parameter required for this call";
    assert_eq!(mount.refused(Operation::Write, "data/a/b", v(1)).await.1, required);
    let ignored = mount.ask(Operation::Write, "metadata/a/b", json!({ "cas_required": false })).await.unwrap();
    assert_eq!(ignored.warnings.len(), 1);
}

#[tokio::test]
async fn a_patch_merges_into_the_latest_version() {
    let mount = Mount::new("2");
    assert_eq!(mount.refused(Operation::Patch, "data/a/b", v(1)).await.0, Kind::NotFound);
    mount.write(json!({ "data": { "a": 1, "b": { "c": 2, "d": 3 } } })).await;
    let patch = json!({ "data": { "a": null, "b": { "d": 4 }, "e": 5 } });
    assert_eq!(mount.data(Operation::Patch, "data/a/b", patch).await["version"], json!(2));
    let now = mount.data(Operation::Read, "data/a/b", Value::Null).await;
    assert_eq!(now["data"], json!({ "b": { "c": 2, "d": 4 }, "e": 5 }));
    let subkeys = mount.data(Operation::Read, "subkeys/a/b", json!({ "depth": "1" })).await;
    assert_eq!(subkeys["subkeys"], json!({ "b": null, "e": null }));
    assert_eq!(subkeys["metadata"]["version"], json!(2));
}

#[tokio::test]
async fn a_version_deletes_itself_when_it_is_told_to() {
    let mount = Mount::new("2");
    mount.ask(Operation::Write, "config", json!({ "delete_version_after": "1m" })).await.unwrap();
    assert_eq!(mount.data(Operation::Read, "config", Value::Null).await["delete_version_after"], json!("1m0s"));
    mount.write(v(1)).await;
    let read = || mount.ask(Operation::Read, "data/a/b", Value::Null);
    let young = read().await.unwrap();
    assert_eq!(young.data.unwrap()["metadata"]["deletion_time"], json!("1970-01-01T00:01:00Z"));
    mount.clock.advance(Duration::from_secs(60));
    assert!(read().await.unwrap().missing);
    mount.ask(Operation::Write, "config", json!({ "delete_version_after": "-1s" })).await.unwrap();
    assert_eq!(mount.data(Operation::Read, "config", Value::Null).await["delete_version_after"], json!("-1s"));
    mount.ask(Operation::Write, "undelete/a/b", json!({ "versions": [1] })).await.unwrap();
    assert!(!read().await.unwrap().missing);
}

#[tokio::test]
async fn metadata_are_written_patched_and_checked() {
    use Operation::{List, Patch, Read, Write};
    let mount = Mount::new("2");
    let first =
        json!({ "max_versions": 2, "delete_version_after": "3h25m19s", "custom_metadata": { "a": "b", "n": 1 } });
    mount.ask(Write, "metadata/a/b", first).await.unwrap();
    let read = mount.data(Read, "metadata/a/b", Value::Null).await;
    assert_eq!(read["custom_metadata"], json!({ "a": "b", "n": "1" }));
    assert_eq!((&read["delete_version_after"], &read["current_version"]), (&json!("3h25m19s"), &json!(0)));
    let patch = json!({ "custom_metadata": { "a": null, "c": "d" }, "delete_version_after": null });
    mount.ask(Patch, "metadata/a/b", patch).await.unwrap();
    for number in 1..=3 {
        mount.write(v(number)).await;
    }
    let read = mount.data(Read, "metadata/a/b", Value::Null).await;
    assert_eq!(read["custom_metadata"], json!({ "c": "d", "n": "1" }));
    assert_eq!((&read["delete_version_after"], &read["max_versions"]), (&json!("0s"), &json!(2)));
    assert_eq!((&read["oldest_version"], &read["current_version"]), (&json!(2), &json!(3)));
    assert_eq!(read["versions"].as_object().unwrap().len(), 2);
    assert_eq!(mount.data(List, "metadata", Value::Null).await, json!({ "keys": ["a/"] }));
    let detailed = mount.data(List, "detailed-metadata/a", Value::Null).await;
    assert_eq!(detailed["key_info"]["b"]["current_version"], json!(3));
    let long = json!({ "custom_metadata": { "k": "x".repeat(513) } });
    assert!(mount.refused(Write, "metadata/a/b", long).await.1.starts_with("custom_metadata validation failed: "));
    assert_eq!(mount.refused(Patch, "metadata/none", json!({ "max_versions": 1 })).await.0, Kind::NotFound);
    mount.ask(Write, "metadata/a/b", json!({ "metadata_cas_required": true })).await.unwrap();
    let required = "metadata check-and-set parameter required for this call";
    assert_eq!(mount.refused(Write, "metadata/a/b", json!({ "max_versions": 3 })).await.1, required);
    mount.ask(Write, "metadata/a/b", json!({ "max_versions": 3, "metadata_cas": 3 })).await.unwrap();
}

#[tokio::test]
async fn paths_of_version_1_are_answered_with_a_hint() {
    let mount = Mount::new("2");
    let hint = mount.ask(Operation::Read, "a", Value::Null).await.unwrap();
    assert!(hint.missing && hint.data.is_none() && hint.warnings[0].contains("'vault kv get'"));
    let hint = mount.ask(Operation::Read, "data", Value::Null).await.unwrap();
    assert!(hint.missing && hint.warnings[0].starts_with("Non-listing operations"));
    assert_eq!(mount.refused(Operation::Delete, "config", Value::Null).await.0, Kind::Unsupported);
    assert_eq!(mount.refused(Operation::Read, "delete/a", Value::Null).await.0, Kind::Unsupported);
}

#[tokio::test]
async fn an_upgrade_makes_every_value_the_first_version() {
    let mount = Mount::new("1");
    for path in ["a", "a/b", "c"] {
        mount.ask(Operation::Write, path, json!({ "at": path })).await.unwrap();
    }
    let mount = mount.upgraded();
    let read = mount.data(Operation::Read, "data/a/b", Value::Null).await;
    assert_eq!((&read["data"]["at"], &read["metadata"]["version"]), (&json!("a/b"), &json!(1)));
    assert_eq!(mount.data(Operation::List, "metadata", Value::Null).await, json!({ "keys": ["a", "a/", "c"] }));
    assert!(mount.view.keys("plain/").await.unwrap().is_empty());
}
