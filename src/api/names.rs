//! Names that operator, webhook and users share: labels, annotations, finalizer, and what an object is called in the engine.

/// The API group of every kind, and the prefix of labels and annotations.
pub const GROUP: &str = "lessor.dev";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";
/// Field manager of everything that the operator applies, and the value of [`MANAGED_BY`].
pub const MANAGER: &str = "lessor-operator";
/// Field manager of the operator's annotations on pod templates of others, and of nothing else there.
pub const RESTARTER: &str = "lessor-restart";
/// Says which program keeps an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Holds an object back until its part in the engine is cleaned up.
pub const FINALIZER: &str = "lessor.dev/revoke";
/// Label of pods that the webhook injected, value `true`: their end is reported to the engine at once.
pub const INJECTED: &str = "lessor.dev/injected";
/// Name of the agent's container; another that it needs besides has a name that begins so.
pub const AGENT_CONTAINER: &str = "lessor-agent";
/// Annotation of a Secret: the DynamicDatabaseSecret that it belongs to.
pub const OWNER: &str = "lessor.dev/dynamic-database-secret";
/// Annotation of a Secret: the StaticDatabaseSecret that it belongs to.
pub const STATIC_OWNER: &str = "lessor.dev/static-database-secret";
/// Annotation of a Secret: the account whose password it holds, and when that was made, as JSON.
pub const STATIC_ACCOUNT: &str = "lessor.dev/static-account";
/// Annotation of a Secret: the lease behind its credential, as JSON. Of a pod's event: where the lease was asked for, and the
/// beginning of the rest of its id.
pub const LEASE: &str = "lessor.dev/lease";
/// Annotation of a pod's event: the database user.
pub const USERNAME: &str = "lessor.dev/username";
/// Annotation of a Secret: the leases behind the credentials of its additional users, as JSON.
pub const ADDITIONAL_LEASES: &str = "lessor.dev/additional-leases";
/// Annotation of a Secret: what its content was made from, and the keys that are the operator's, as JSON.
pub const RECIPE: &str = "lessor.dev/recipe";
/// Annotation of a Secret: leases whose credentials it held before and that still live, as JSON.
pub const PREVIOUS_LEASES: &str = "lessor.dev/previous-leases";
/// Annotation of a Secret: the hash of what the operator wrote into it.
pub const CONTENT_HASH: &str = "lessor.dev/content-hash";
/// Annotation of a Secret: the content hash that restarted workloads must carry.
pub const RESTART: &str = "lessor.dev/restart";
/// Label of ConfigMaps in the operator's own namespace, value `true`: a deleted object that is to be cleaned up later.
pub const LEFTOVER: &str = "lessor.dev/leftover";
/// Prefix of the annotation of a pod template; the Secret's name follows, the value is its content hash.
const SECRET_HASH: &str = "secret-hash-";
/// What every annotation of [`secret_hash_annotation`] begins with.
pub const SECRET_HASH_PREFIX: &str = "lessor.dev/secret-hash-";
/// The longest name part of an annotation key that Kubernetes takes.
const MAX_NAME: usize = 63;

/// What an object is called in the engine: `NAMESPACE.NAME`. No two objects share it, since a namespace holds no dot, and it
/// is legal in Vault's rule for names.
pub fn engine_name(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

/// The policy that a DatabaseRole's login role carries, for the role's engine name.
pub fn role_policy(engine_name: &str) -> String {
    format!("lessor-role-{engine_name}")
}

/// The pod template annotation that carries the content hash of the Secret `name`. `digest` shortens a name that is too long
/// for a key; it must be hexadecimal and of at least 16 characters.
pub fn secret_hash_annotation(name: &str, digest: impl FnOnce(&str) -> String) -> String {
    let room = MAX_NAME - SECRET_HASH.len();
    if name.len() <= room {
        return format!("{GROUP}/{SECRET_HASH}{name}");
    }
    // Kubernetes names are ASCII; cutting at a byte is cutting at a character.
    let digest = digest(name);
    format!("{GROUP}/{SECRET_HASH}{}-{}", &name[..room - 17], &digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_ends_at_the_first_dot() {
        assert_ne!(engine_name("a", "b.c"), engine_name("a-b", "c"));
        assert_eq!(engine_name("shop", "orders.v1").split_once('.'), Some(("shop", "orders.v1")));
    }

    #[test]
    fn a_long_secret_name_still_gives_a_legal_annotation() {
        let digest = |_: &str| "0123456789abcdef0123".to_owned();
        assert_eq!(secret_hash_annotation("app-db", digest), "lessor.dev/secret-hash-app-db");
        let key = secret_hash_annotation(&"x".repeat(253), digest);
        assert_eq!(key.split_once('/').unwrap().1.len(), MAX_NAME);
        assert!(key.ends_with("-0123456789abcdef"));
    }
}
