//! Routes of leases, of wrapped answers, and of the quotas on leases and requests.

use crate::wire::Operation::{self, Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const SHOWN: &[Operation] = &[Read, Delete];

const ID: &[Field] = &[Field::text("lease_id", "The lease, as its credential was answered with it.").required()];

const INCREMENT: &[Field] = &[Field::seconds("increment", "For how long from now; the terms of its role cut it.")];

const SYNC: &[Field] = &[Field::flag("sync", "Whether the answer waits until the credential is dropped.").or("true")];

const PREFIX: &[Field] = &[Field::text("prefix", "What the ids of the leases begin with.")];

const STUCK: &[Field] = &[
    Field::text("type", "Only \"irrevocable\" leases can be asked for.").required(),
    Field::text("limit", "How many are shown at most; \"none\" is all of them.").or("10000"),
    Field::flag("include_child_namespaces", "Whether those of the namespaces below are meant, too."),
];

const WRAPPED: &[Field] = &[Field::secret("token", "The wrapping token; else the caller's own.")];

const LEASE_COUNT: &[Field] = &[
    Field::text("path", "The mount or role that it holds for; all of them when it is empty."),
    Field::int("max_leases", "How many leases there may be at once.").required(),
];

const RATE: &[Field] = &[
    Field::text("path", "The path that it holds for; all of them when it is empty."),
    Field::text("rate", "How many requests an address may send in an interval.").required(),
    Field::seconds("interval", "Over which time they are counted.").or("1"),
    Field::seconds("block_interval", "For how long an address is refused that sent more.").or("0"),
    Field::text("role", "Refused: quotas of single login roles are not offered."),
];

const SETTINGS: &[Field] = &[
    Field::flag("enable_rate_limit_audit_logging", "Whether refused requests are audited."),
    Field::flag("enable_rate_limit_response_headers", "Whether answers tell what quotas leave."),
    Field::list("rate_limit_exempt_paths", "Paths that no quota on requests holds for."),
];

/// `leases/…`, and the paths before Vault 0.8, which node-vault and spring-vault still call.
pub(super) const LEASES: &[Route] = &[
    Route::new("leases", &[Read], "Lists leases whose credentials could not be dropped so far.")
        .guard(Guard::Sudo)
        .fields(&[STUCK]),
    Route::new("leases/count", &[Read], "Counts leases whose credentials could not be dropped so far.")
        .fields(&[STUCK]),
    Route::new("leases/tidy", &[Write], "Cleans the indexes of leases up in the background."),
    Route::new("leases/lookup", &[Write], "Shows a lease.").fields(&[ID]),
    Route::new("leases/lookup", &[List], "Lists the first parts of all lease ids.").guard(Guard::Sudo),
    Route::new("leases/lookup/*lease_id", &[Write], "Shows a lease.").guard(Guard::Sudo).fields(&[ID]),
    Route::new("leases/lookup/*lease_id", &[List], "Lists the leases below a path.").guard(Guard::Sudo),
    Route::new("leases/renew", &[Write], "Prolongs a lease.").fields(&[ID, INCREMENT]),
    Route::new("leases/renew/*lease_id", &[Write], "Prolongs a lease.").fields(&[ID, INCREMENT]),
    Route::new("leases/revoke", &[Write], "Revokes a lease.").fields(&[ID, SYNC]),
    Route::new("leases/revoke/*lease_id", &[Write], "Revokes a lease.").fields(&[ID, SYNC]),
    Route::new("leases/revoke-prefix/*prefix", &[Write], "Revokes all leases below a path.")
        .guard(Guard::Sudo)
        .fields(&[PREFIX, SYNC]),
    Route::new(
        "leases/revoke-force/*prefix",
        &[Write],
        "Forgets all leases below a path, whatever their databases say.",
    )
    .guard(Guard::Sudo)
    .fields(&[PREFIX]),
    Route::new("renew", &[Write], "Prolongs a lease.").fields(&[ID, INCREMENT]),
    Route::new("renew/*lease_id", &[Write], "Prolongs a lease.").fields(&[ID, INCREMENT]),
    Route::new("revoke", &[Write], "Revokes a lease.").fields(&[ID, SYNC]),
    Route::new("revoke/*lease_id", &[Write], "Revokes a lease.").fields(&[ID, SYNC]),
    Route::new("revoke-prefix/*prefix", &[Write], "Revokes all leases below a path.")
        .guard(Guard::Sudo)
        .fields(&[PREFIX, SYNC]),
    Route::new("revoke-force/*prefix", &[Write], "Forgets all leases below a path, whatever their databases say.")
        .guard(Guard::Sudo)
        .fields(&[PREFIX]),
];

/// `wrapping/…`.
pub(super) const WRAPPING: &[Route] = &[
    Route::new("wrapping/wrap", &[Write], "Wraps what is sent.").any(),
    Route::new("wrapping/lookup", &[Read, Write], "Tells what a wrapping token was made for.")
        .guard(Guard::Open)
        .fields(&[WRAPPED]),
    Route::new("wrapping/unwrap", &[Write], "Gives out what a wrapping token keeps.").fields(&[WRAPPED]),
    Route::new("wrapping/rewrap", &[Write], "Puts what a wrapping token keeps under another one.").fields(&[WRAPPED]),
];

/// `quotas/…`.
pub(super) const QUOTAS: &[Route] = &[
    Route::new("quotas/config", &[Read], "Shows what holds for all quotas on requests.").guard(Guard::Sudo),
    Route::new("quotas/config", &[Write], "Changes what holds for all quotas on requests.")
        .guard(Guard::Sudo)
        .fields(&[SETTINGS]),
    Route::new("quotas/lease-count", &[List], "Lists the quotas on leases.").guard(Guard::Sudo),
    Route::new("quotas/lease-count/:name", SHOWN, "Shows or removes a quota on leases.").guard(Guard::Sudo),
    Route::new("quotas/lease-count/:name", &[Write], "Writes a quota on leases.")
        .guard(Guard::Sudo)
        .fields(&[LEASE_COUNT]),
    Route::new("quotas/rate-limit", &[List], "Lists the quotas on requests.").guard(Guard::Sudo),
    Route::new("quotas/rate-limit/:name", SHOWN, "Shows or removes a quota on requests.").guard(Guard::Sudo),
    Route::new("quotas/rate-limit/:name", &[Write], "Writes a quota on requests.").guard(Guard::Sudo).fields(&[RATE]),
];
