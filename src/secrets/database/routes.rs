//! The routes of the engine.

use crate::wire::Operation::{self, Delete, List, Patch, Read, Write};
use crate::wire::{Field, Route};

const CHANGE: &[Operation] = &[Write, Patch];

const CONNECTION: &[Field] = &[
    Field::text("name", "Which connection."),
    Field::text("plugin_name", "The driver, as sys/plugins/catalog lists them.").required(),
    Field::text("plugin_version", "There is one of each."),
    Field::flag("verify_connection", "Whether the database is asked before anything is stored.").or("true"),
    Field::list("allowed_roles", "Roles that may use it; * stands for any characters."),
    Field::text("connection_url", "Where the database is; {{username}} and {{password}} stand for the two fields."),
    Field::text("username", "The account that makes and drops users."),
    Field::secret("password", "Its password; never shown again."),
    Field::text("username_template", "How users are called."),
    Field::text("password_policy", "How passwords are made where a role does not say it."),
    Field::int("max_open_connections", "How many connections there are at most."),
    Field::int("max_idle_connections", "How many of them are kept idle."),
    Field::seconds("max_connection_lifetime", "How long one is used."),
    Field::text("password_authentication", "\"password\" or \"scram-sha-256\"."),
    Field::text("tls_ca", "The server's authority, in PEM."),
    Field::text("tls_certificate", "The account's certificate, in PEM."),
    Field::secret("private_key", "Of that certificate, in PEM."),
    Field::texts("root_rotation_statements", "How the account's own password is changed."),
    Field::seconds("rotation_period", "How often that happens by itself."),
    Field::text("rotation_schedule", "When that happens by itself, as cron has it."),
    Field::seconds("rotation_window", "How long after that moment it may still begin."),
    Field::flag("disable_automated_rotation", "Whether it does not happen by itself.").or("false"),
    Field::flag("skip_static_role_import_rotation", "Whether new static roles keep their passwords.").or("false"),
];

const LEAVE: &[Field] = &[
    Field::flag("cascade", "Revokes its leases first; it goes with the last of them.").or("false"),
    Field::flag("force", "Forgets its leases, and names the users left behind.").or("false"),
];

const ROLE: &[Field] = &[
    Field::text("name", "Which role."),
    Field::text("db_name", "The connection.").required(),
    Field::texts("creation_statements", "How a user is made."),
    Field::texts("revocation_statements", "How it is dropped; the driver's own way when left out."),
    Field::texts("rollback_statements", "Kept and shown: a failed creation leaves nothing behind."),
    Field::texts("renew_statements", "How it is prolonged; the driver's own way when left out."),
    Field::seconds("default_ttl", "How long its leases last."),
    Field::seconds("max_ttl", "How long they can last, renewals included."),
    Field::text("credential_type", "password, rsa_private_key or client_certificate.").or("\"password\""),
    Field::object("credential_config", "How the credential is made: password_policy, key_bits and the like."),
    Field::text(
        "preset",
        "Rights by a name of ours instead of statements: readonly, readwrite or owner-of-schema; ours.",
    ),
    Field::text("schema", "Where the preset holds; ours."),
    Field::int("spares", "How many users are made ahead; ours.").or("0"),
    Field::flag("end_sessions", "Whether the sessions of a dropped user end with it; ours.").or("true"),
];

const STATIC: &[Field] = &[
    Field::text("name", "Which role."),
    Field::text("db_name", "The connection.").required(),
    Field::text("username", "The account whose password is changed."),
    Field::list("usernames", "Two accounts that take turns; ours."),
    Field::seconds("grace_period", "How long the one before keeps its password; ours."),
    Field::seconds("rotation_period", "How often its password is changed."),
    Field::text("rotation_schedule", "When its password is changed, as cron has it."),
    Field::seconds("rotation_window", "How long after that moment it may still begin."),
    Field::texts("rotation_statements", "How its password is changed; the driver's own way when left out."),
    Field::text("credential_type", "Only \"password\" is offered.").or("\"password\""),
    Field::object("credential_config", "How the password is made: password_policy."),
    Field::flag("verify_login", "Whether a login proves each change.").or("true"),
    Field::secret("password", "The present password, where it is known."),
    Field::secret("self_managed_password", "The same, under Vault's name."),
    Field::flag("skip_import_rotation", "Whether a new role keeps the password.").or("false"),
];

const TTL: &[Field] = &[
    Field::seconds("ttl", "How long the lease is to last; the role's terms cut it."),
    Field::text("name", "Which role."),
];

const PLUGIN: &[Field] = &[Field::text("plugin_name", "The driver.")];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("config", &[List], "Lists the connections."),
    Route::new("config/:name", &[Read], "Shows a connection, without its secrets."),
    Route::new("config/:name", CHANGE, "Writes a connection; what is left out stays as it is.")
        .fields(&[CONNECTION])
        .any()
        .creates(),
    Route::new("config/:name", &[Delete], "Removes a connection.").fields(&[LEAVE]),
    Route::new("reset/:name", &[Write], "Closes a connection and opens it anew."),
    Route::new("reload/:plugin_name", &[Write], "Closes all connections of a driver and opens them anew.")
        .fields(&[PLUGIN]),
    Route::new("roles", &[List], "Lists the roles."),
    Route::new("roles/:name", &[Read], "Shows a role."),
    Route::new("roles/:name", CHANGE, "Writes a role; what is left out stays as it is.")
        .fields(&[ROLE])
        .creates()
        .tells_ignored(),
    Route::new("roles/:name", &[Delete], "Removes a role.").fields(&[LEAVE]),
    Route::new("creds/:name", &[Read], "Makes a user of a role and leases it.").fields(&[TTL]),
    Route::new("static-roles", &[List], "Lists the static roles."),
    Route::new("static-roles/:name", &[Read, Delete], "Shows or forgets a static role."),
    Route::new("static-roles/:name", CHANGE, "Writes a static role; what is left out stays as it is.")
        .fields(&[STATIC])
        .creates()
        .tells_ignored(),
    Route::new("static-creds/:name", &[Read], "Shows the present password of a static role."),
    Route::new("rotate-role/:name", &[Write], "Changes the password of a static role now."),
    Route::new("rotate-root/:name", &[Write], "Changes the password of a connection's own account now."),
];
