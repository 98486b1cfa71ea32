//! ACL policies in HCL, JSON and base64, and password policies.

use futures_util::FutureExt as _;
use lessor::base::random::SeededRandom;
use lessor::engine::policies::Access;
use lessor::secrets::password_policy::PasswordPolicies;
use lessor::storage::View;
use lessor::storage::memory::Memory;
use lessor::wire::{Fields, Operation};

const PATHS: [&str; 5] = ["a", "a/b", "secret/data/x/y", "sys/mounts/a", "/a//"];

/// A policy, and after a NUL another one.
pub(crate) fn acl(data: &[u8]) {
    let Some((first, second)) = crate::halves(data) else { return };
    let Ok(access) = Access::of(&[("p", first), ("q", second)]) else { return };
    let fields = Fields::from(serde_json::Map::from_iter([("a".to_owned(), "b".into())]));
    for path in PATHS {
        let may_read = access.may(Operation::Read, path, &fields, None);
        let _ = (access.may_write(path, &fields, Some(60)), access.has_sudo(path), access.reaches(path));
        let known = access.capabilities(path);
        assert!(!may_read || known.iter().any(|name| name == "read"), "{path} may be read with {known:?}");
    }
    let _ = access.rules();
}

/// A password policy; what it makes obeys it.
pub(crate) fn password(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policies = PasswordPolicies::new(View::new(std::sync::Arc::new(Memory::default()), "p/"));
    // Memory answers at once.
    if let Some(Ok(_)) = policies.put("p", text).now_or_never() {
        let made = policies.generate("p", &SeededRandom::new(1)).now_or_never();
        assert!(
            made.is_none_or(|made| made.is_ok_and(|made| !made.is_empty())),
            "a policy that was taken makes passwords"
        );
    }
}
