//! Requests to both versions of kv, with any path.

use std::sync::Arc;

use futures_util::FutureExt as _;
use lessor::base::Timestamp;
use lessor::base::clock::ManualClock;
use lessor::base::random::SeededRandom;
use lessor::secrets::password_policy::PasswordPolicies;
use lessor::secrets::{Ending, Held, LeaseBook, Offer, Setup, Stocked, kv};
use lessor::storage::View;
use lessor::storage::memory::Memory;
use lessor::wire::{Caller, Error, Operation, Request};
use serde_json::{Value, json};

const OPERATIONS: [Operation; 5] =
    [Operation::Write, Operation::Read, Operation::List, Operation::Patch, Operation::Delete];

/// A mount of kv has no leases.
struct NoLeases;

#[async_trait::async_trait]
impl LeaseBook for NoLeases {
    async fn page(&self, _after: Option<&str>, _limit: usize) -> Result<Vec<Held>, Error> {
        Ok(Vec::new())
    }

    async fn stock(&self, _path: &str, _offer: Offer) -> Result<Stocked, Error> {
        Err(Error::internal("kv makes no credentials"))
    }

    async fn end(&self, _ids: Vec<String>, _how: Ending) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
}

/// Lines of requests to a new mount: a letter for the operation, the path, a blank and a body in JSON.
pub(crate) fn requests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for version in ["1", "2"] {
        let view = View::new(Arc::new(Memory::default()), "mount/");
        let passwords = PasswordPolicies::new(view.sub("passwords"));
        let engine = (kv::SPEC.open)(Setup {
            view: view.sub("kv"),
            uuid: "kv".into(),
            options: json!({ "version": version }),
            clock: Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)),
            random: Arc::new(SeededRandom::new(1)),
            leases: Arc::new(NoLeases),
            passwords,
        });
        for line in text.lines().take(16) {
            let Some(request) = request(line) else { continue };
            let _ = engine.exists(&request.path).now_or_never();
            let described = engine.routes().iter().any(|route| route.matches(&request.path));
            if let Some(Err(error)) = engine.handle(request).now_or_never() {
                assert!(error.status() < 500, "{error}");
            }
            assert!(described || version == "1", "every path of version 2 has an answer");
        }
    }
}

fn request(line: &str) -> Option<Request> {
    let choice = line.bytes().next().filter(u8::is_ascii)?;
    let (path, body) = line[1..].split_once(' ').unwrap_or((&line[1..], ""));
    let fields = match serde_json::from_str(body) {
        Ok(Value::Object(fields)) => fields.into(),
        _ => Default::default(),
    };
    let operation = OPERATIONS[usize::from(choice) % OPERATIONS.len()];
    Some(Request { operation, path: path.to_owned(), fields, caller: Caller::default() })
}
