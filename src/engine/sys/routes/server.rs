//! Routes of audit, plug-ins, tools, monitoring, browsers, and of what Lessor adds.

use crate::wire::Operation::{Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const DEVICE: &[Field] = &[
    Field::text("path", "What the device is called; it may hold slashes."),
    Field::text("type", "Only \"file\" is offered.").required(),
    Field::text("description", "For people."),
    Field::map("options", "Of the device: file_path, mode, format, log_raw and the like."),
    Field::flag("local", "Kept and shown: nothing is replicated.").or("false"),
];

const HASHED: &[Field] = &[
    Field::text("path", "The device."),
    Field::secret("input", "What is to be hashed as the device hashes it.").required(),
];

const PLUGIN: &[Field] = &[
    Field::text("type", "auth, database or secret."),
    Field::text("name", "As the catalog lists it."),
    Field::text("version", "There is one of each."),
];

const RANDOM: &[Field] = &[
    Field::int("bytes", "How many bytes.").or("32"),
    Field::text("format", "base64 or hex.").or("\"base64\""),
    Field::text("source", "platform, seal or all: there is one.").or("\"platform\""),
    Field::text("urlbytes", "How many bytes, or the source."),
];

const HASH: &[Field] = &[
    Field::secret("input", "What is to be hashed, in base64.").required(),
    Field::text("algorithm", "sha2-224, -256, -384, -512, or the same of sha3.").or("\"sha2-256\""),
    Field::text("format", "hex or base64.").or("\"hex\""),
    Field::text("urlalgorithm", "sha2-224, -256, -384, -512, or the same of sha3."),
];

const LOGGER: &[Field] = &[
    Field::text("name", "Only \"lessor\" is there."),
    Field::text("level", "trace, debug, info, warn, error or off.").required(),
];

const REPORT: &[Field] = &[
    Field::text("start_time", "A time in the first month of the report; a year ago when left out."),
    Field::text("end_time", "A time in its last month; now when left out."),
    Field::int("limit_namespaces", "How many namespaces are told of, the busiest first; 0 is all.").or("0"),
    Field::flag("current_billing_period", "Accepted and without effect: nothing is billed.").old(),
];

const COUNTED: &[Field] = &[
    Field::text("enabled", "enable, disable or default, which is to count.").or("\"default\""),
    Field::int("retention_months", "For how many months clients are remembered.").or("48"),
];

const LOCKED: &[Field] = &[Field::text("mount_accessor", "Of the only login method that is looked at.")];

const LOCKED_ONE: &[Field] = &[
    Field::text("accessor", "Of the login method."),
    Field::text("alias", "The name that it knows him by; it may hold slashes."),
];

const FORMAT: &[Field] = &[Field::text("format", "\"prometheus\" for its text form, else JSON.")];

const CORS: &[Field] = &[
    Field::list("allowed_origins", "Whose pages may use the API; * is all of them.").required(),
    Field::list("allowed_headers", "Headers that their requests may hold besides Vault's own."),
    Field::flag("enable", "Writing turns it on, whatever is sent.").old(),
];

const UI_HEADER: &[Field] = &[
    Field::text("header", "The name of a header."),
    Field::flag("multivalue", "Whether all values are answered."),
    Field::texts("values", "Its values."),
];

const AUDITED: &[Field] = &[
    Field::text("header", "The name of a header."),
    Field::flag("hmac", "Whether entries show a hash of its value.").or("false"),
];

const LOGINS: Field = Field::list(
    "logins",
    "Only workloads of the clusters that these login mounts are of, of namespaces below as well: MOUNT or NAMESPACE/auth/MOUNT.",
);

const ENDED: &[Field] =
    &[Field::list("uids", "Of workloads that have ended, as Kubernetes knows them.").required(), LOGINS];

const SINCE: &[Field] =
    &[Field::text("since", "A time: leases that were asked for from then on are listed, too."), LOGINS];

const WORKLOAD: &[Field] =
    &[Field::text("namespace", "Of the workload, in Kubernetes."), Field::text("name", "Of the workload.")];

const USER: &[Field] = &[Field::text("username", "As the database knows it.")];

const MOUNTED: &[Field] = &[
    Field::text("path", "The mount, a slash, and the name of the role or connection in it."),
    Field::flag("remove", "Whether users that nobody leased are dropped.").or("false"),
];

/// Audit, plug-ins, tools and monitoring.
pub(super) const ROUTES: &[Route] = &[
    Route::new("audit", &[Read], "Lists the audit devices.").guard(Guard::Sudo),
    Route::new("audit/*path", &[Write], "Turns an audit device on.").guard(Guard::Sudo).fields(&[DEVICE]),
    Route::new("audit/*path", &[Delete], "Turns an audit device off.").guard(Guard::Sudo),
    Route::new("audit-hash/*path", &[Write], "Hashes a text as an audit device does.").fields(&[HASHED]),
    Route::new("plugins/catalog", &[Read], "Lists what can be mounted."),
    Route::new("plugins/catalog/:type", &[List], "Lists what can be mounted of a kind.").fields(&[PLUGIN]),
    Route::new("plugins/catalog/:type/:name", &[Read, Delete], "Shows a plug-in; none can be removed.")
        .guard(Guard::Sudo)
        .fields(&[PLUGIN]),
    Route::new("plugins/catalog/:type/:name", &[Write], "Refused: everything is built in.")
        .guard(Guard::Sudo)
        .fields(&[PLUGIN])
        .any(),
    Route::new("plugins/reload/backend", &[Write], "Does nothing: what is built in is not read anew.").any(),
    Route::new("plugins/reload/:type/:name", &[Write], "Does nothing: what is built in is not read anew.")
        .fields(&[PLUGIN])
        .any(),
    Route::new("tools/random", &[Write], "Makes random bytes.").fields(&[RANDOM]),
    Route::new("tools/random/:urlbytes", &[Write], "Makes random bytes.").fields(&[RANDOM]),
    Route::new("tools/random/:source/:urlbytes", &[Write], "Makes random bytes.").fields(&[RANDOM]),
    Route::new("tools/hash", &[Write], "Hashes what is sent.").fields(&[HASH]),
    Route::new("tools/hash/:urlalgorithm", &[Write], "Hashes what is sent.").fields(&[HASH]),
    Route::new("host-info", &[Read], "Describes the machine that the engine runs on."),
    Route::new("ha-status", &[Read], "Lists the nodes: there is one."),
    Route::new("locked-users", &[Read], "Lists who is locked out after failed logins.").fields(&[LOCKED]),
    Route::new("locked-users/:accessor/unlock/*alias", &[Write], "Lets somebody who was locked out try again.")
        .fields(&[LOCKED_ONE]),
    Route::new("in-flight-req", &[Read], "Lists the requests that are being answered.").guard(Guard::Sudo),
    Route::new("version-history", &[List], "Lists the versions that have opened this store."),
    Route::new("loggers", &[Read, Delete], "Tells how much is logged, or goes back to what the start said.")
        .guard(Guard::Sudo),
    Route::new("loggers", &[Write], "Changes how much is logged.").guard(Guard::Sudo).fields(&[LOGGER]),
    Route::new("loggers/:name", &[Read, Delete], "The same: there is one logger.").guard(Guard::Sudo).fields(&[LOGGER]),
    Route::new("loggers/:name", &[Write], "The same: there is one logger.").guard(Guard::Sudo).fields(&[LOGGER]),
    Route::new("internal/counters/activity", &[Read], "Counts the clients of past months.").fields(&[REPORT]),
    Route::new("internal/counters/activity/monthly", &[Read], "Counts the clients of this month."),
    Route::new("internal/counters/config", &[Read], "Tells how clients are counted."),
    Route::new("internal/counters/config", &[Write], "Changes how clients are counted.").fields(&[COUNTED]),
    Route::new("internal/counters/tokens", &[Read], "Counts the service tokens."),
    Route::new("internal/counters/entities", &[Read], "Counts the entities."),
    Route::new("config/state/sanitized", &[Read], "Shows the configuration without its secrets."),
    Route::new("metrics", &[Read], "Tells what monitoring should know.").fields(&[FORMAT]),
];

/// What browsers are told, and which headers audit entries show.
pub(super) const BROWSERS: &[Route] = &[
    Route::new("config/cors", &[Read, Delete], "Shows or ends the use of the API by pages of other origins.")
        .guard(Guard::Sudo),
    Route::new("config/cors", &[Write], "Lets pages of other origins use the API.").guard(Guard::Sudo).fields(&[CORS]),
    Route::new("config/ui/headers", &[List], "Lists headers of the user interface; there is none.").guard(Guard::Sudo),
    Route::new("config/ui/headers/:header", &[Read, Write, Delete], "Keeps a header of the user interface.")
        .guard(Guard::Sudo)
        .fields(&[UI_HEADER]),
    Route::new("config/auditing/request-headers", &[Read, List], "Lists the headers that audit entries show.")
        .guard(Guard::Sudo),
    Route::new("config/auditing/request-headers/:header", &[Read, Delete], "Shows or removes such a header.")
        .guard(Guard::Sudo)
        .fields(&[AUDITED]),
    Route::new("config/auditing/request-headers/:header", &[Write], "Has audit entries show a header.")
        .guard(Guard::Sudo)
        .fields(&[AUDITED]),
];

/// What Lessor adds.
pub(super) const OWN: &[Route] = &[
    Route::new("lessor/workloads", &[Read, List], "Lists the workloads that own leases.")
        .guard(Guard::Sudo)
        .fields(&[SINCE]),
    Route::new("lessor/workloads/end", &[Write], "Revokes what workloads own that have ended.")
        .guard(Guard::Sudo)
        .fields(&[ENDED]),
    Route::new("lessor/workloads/:uid", &[Read], "Lists the leases of a workload.").guard(Guard::Sudo),
    Route::new("lessor/workloads/:namespace/:name", &[Read], "Lists the leases of workloads of that name.")
        .guard(Guard::Sudo)
        .fields(&[WORKLOAD]),
    Route::new("lessor/users/*username", &[Read], "Tells who holds a database user.")
        .guard(Guard::Sudo)
        .fields(&[USER]),
    Route::new("lessor/leases/stuck", &[Read, List], "Lists revocations that do not get through, and why.")
        .guard(Guard::Sudo),
    Route::new("lessor/spares/*path", &[Read], "Counts the users of a role that were made ahead.")
        .guard(Guard::Sudo)
        .fields(&[MOUNTED]),
    Route::new("lessor/orphans/*path", &[Read, Write], "Looks for users in a database that nobody leased.")
        .guard(Guard::Sudo)
        .fields(&[MOUNTED]),
];
