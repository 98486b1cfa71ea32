//! Routes of mounts: secrets engines, login methods, and what moves and shows them.

use crate::wire::Operation::{Delete, Read, Write};
use crate::wire::{Field, Guard, Route};

const PLACE: &[Field] = &[Field::text("path", "Where it is mounted; it may hold slashes.")];

const NEW: &[Field] = &[
    Field::text("type", "The kind of plug-in, as sys/plugins/catalog lists them."),
    Field::text("plugin_name", "The same, for clients that send \"plugin\" as type.").old(),
    Field::text("plugin_version", "Kept and shown: everything is built in."),
    Field::text("description", "For people."),
    Field::object("config", "What tune sets: TTLs, visibility and the like."),
    Field::map("options", "What the plug-in knows: the version of kv."),
    Field::flag("local", "Kept and shown: nothing is replicated.").or("false"),
    Field::flag("seal_wrap", "Kept and shown: the barrier encrypts everything.").or("false"),
    Field::flag("external_entropy_access", "Kept and shown: there is one source of randomness.").or("false"),
];

const TUNE: &[Field] = &[
    Field::text("description", "For people."),
    Field::seconds("default_lease_ttl", "How long leases last that ask for no time; \"system\" is the server's."),
    Field::seconds("max_lease_ttl", "How long leases can last; \"system\" is the server's."),
    Field::map("options", "What the plug-in knows; they are merged with those that are there."),
    Field::text("listing_visibility", "\"unauth\" lists the mount to callers without a token, \"hidden\" to nobody."),
    Field::list("audit_non_hmac_request_keys", "Fields of requests that audit entries show as they are."),
    Field::list("audit_non_hmac_response_keys", "Fields of answers that audit entries show as they are."),
    Field::list("passthrough_request_headers", "Request headers that the plug-in may see."),
    Field::list("allowed_response_headers", "Response headers that the plug-in may set."),
    Field::flag("force_no_cache", "Kept and shown.").or("false"),
    Field::text("plugin_version", "Kept and shown: everything is built in."),
    Field::object(
        "user_lockout_config",
        "lockout_threshold, lockout_duration, lockout_counter_reset_duration, lockout_disable.",
    ),
    Field::text("token_type", "What tokens the logins of a method get, where their roles leave it open."),
];

const FORCE: &[Field] =
    &[Field::flag("force", "Removes the mount although users in databases cannot be dropped, and names them.")];

const MOVE: &[Field] = &[
    Field::text("from", "Where it is mounted; a login method's begins with auth/.").required(),
    Field::text("to", "Where it is to be.").required(),
];

const DOCUMENT: &[Field] = &[
    Field::flag("generic_mount_paths", "Whether one mount of each type stands for all, its path being a parameter.")
        .or("false"),
    Field::text("context", "Accepted and without effect: documents of user interfaces."),
];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("mounts", &[Read], "Lists the secrets engines."),
    Route::new("mounts/auth/*path/tune", &[Read], "Shows the settings of a login method.").fields(&[PLACE]),
    Route::new("mounts/auth/*path/tune", &[Write], "Changes the settings of a login method.").fields(&[PLACE, TUNE]),
    Route::new("mounts/*path/tune", &[Read], "Shows the settings of a secrets engine.").fields(&[PLACE]),
    Route::new("mounts/*path/tune", &[Write], "Changes the settings of a secrets engine.").fields(&[PLACE, TUNE]),
    Route::new("mounts/*path", &[Read], "Shows a secrets engine.").fields(&[PLACE]),
    Route::new("mounts/*path", &[Write], "Mounts a secrets engine.").fields(&[PLACE, NEW]),
    Route::new("mounts/*path", &[Delete], "Revokes all leases of a secrets engine and removes it.")
        .fields(&[PLACE, FORCE]),
    Route::new("auth", &[Read], "Lists the login methods."),
    Route::new("auth/*path/tune", &[Read], "Shows the settings of a login method.").guard(Guard::Sudo).fields(&[PLACE]),
    Route::new("auth/*path/tune", &[Write], "Changes the settings of a login method.")
        .guard(Guard::Sudo)
        .fields(&[PLACE, TUNE]),
    Route::new("auth/*path", &[Read], "Shows a login method.").guard(Guard::Sudo).fields(&[PLACE]),
    Route::new("auth/*path", &[Write], "Mounts a login method.").guard(Guard::Sudo).fields(&[PLACE, NEW]),
    Route::new("auth/*path", &[Delete], "Revokes all tokens of a login method and removes it.")
        .guard(Guard::Sudo)
        .fields(&[PLACE]),
    Route::new("remount", &[Write], "Moves a mount to another path and revokes the leases of the old one.")
        .guard(Guard::Sudo)
        .fields(&[MOVE]),
    Route::new("remount/status/:migration_id", &[Read], "Tells what became of a move."),
    Route::new("internal/specs/openapi", &[Read, Write], "Describes the API, as far as the caller may know of it.")
        .guard(Guard::Open)
        .fields(&[DOCUMENT]),
    Route::new("internal/ui/mounts", &[Read], "Lists the mounts that the caller may know of.").guard(Guard::Open),
    Route::new("internal/ui/mounts/*path", &[Read], "Tells which mount a path lies in.")
        .guard(Guard::Looked)
        .fields(&[PLACE]),
];
