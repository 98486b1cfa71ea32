//! Templates of secrets and of user names.

use std::sync::Arc;

use lessor::base::clock::ManualClock;
use lessor::base::random::SeededRandom;
use lessor::base::template::{self, Functions, Missing, Template, from_json};
use lessor::base::{Clock, Random, Timestamp};
use serde_json::json;

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))
}

/// A template as tenants write it.
pub(crate) fn any(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(template) = Template::parse("fuzz", text, None, &Functions::plain(&clock())) else { return };
    let data = json!({ "username": "u", "password": "p w\"'", "n": 3, "list": [1, "b", null], "Data": { "a": { "b": true } } });
    let _ = template.render(&from_json(&data), Missing::Error);
}

/// A `username_template`.
pub(crate) fn username(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
    let _ = template::username(text, "kubernetes-shop-web", "app", &clock(), &random);
}
