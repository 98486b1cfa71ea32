//! `secrets` and `auth`: enable, tune, move.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, exactly};
use super::super::request::{Ask, clean};
use super::super::session::{Session, read_secret};
use super::super::{Failure, Outcome};

/// How long a move may take before the command gives up waiting for it.
const MOVE_LIMIT: Duration = Duration::from_secs(300);
const MOVE_PAUSE: Duration = Duration::from_millis(500);

const DESCRIPTION: Flag = Flag::text("description", "Words for people.");
const DEFAULT_TTL: Flag = Flag::text("default-lease-ttl", "How long leases last; \"system\" is the server's own.");
const MAX_TTL: Flag = Flag::text("max-lease-ttl", "How long leases may last; \"system\" is the server's own.");
const REQUEST_KEYS: Flag =
    Flag::list("audit-non-hmac-request-keys", "A field that audit logs show as it is; may be given several times.");
const RESPONSE_KEYS: Flag = Flag::list("audit-non-hmac-response-keys", "The same for answers.");
const VISIBILITY: Flag =
    Flag::text("listing-visibility", "Whether it is listed for those without a token: unauth or hidden.");
const REQUEST_HEADERS: Flag =
    Flag::list("passthrough-request-headers", "A header that it gets; may be given several times.");
const RESPONSE_HEADERS: Flag =
    Flag::list("allowed-response-headers", "A header that it may set; may be given several times.");
const OPTIONS: Flag = Flag::pairs("options", "An option of the engine, key=value; may be given several times.");
const PLUGIN_VERSION: Flag = Flag::text("plugin-version", "The version of it, where there are several.");
const TOKEN_TYPE: Flag =
    Flag::text("token-type", "What tokens it gives.").one_of(&["default-service", "default-batch", "service", "batch"]);
const VERSION: Flag = Flag::number("version", "The version of the key-value engine: 1 or 2.");

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "secrets enable",
        operands: "TYPE",
        arity: exactly(1),
        summary: "Mounts a secrets engine.",
        about: "    secrets enable database\n    secrets enable -path=team-kv -version=2 kv",
        flags: &[
            Flag::text("path", "Where. Default: its type."),
            DESCRIPTION,
            DEFAULT_TTL,
            MAX_TTL,
            REQUEST_KEYS,
            RESPONSE_KEYS,
            VISIBILITY,
            REQUEST_HEADERS,
            RESPONSE_HEADERS,
            OPTIONS,
            PLUGIN_VERSION,
            VERSION,
            Flag::text("plugin-name", "Its name, where that is not its type."),
            Flag::switch("force-no-cache", "Nothing of it is cached."),
            Flag::switch("local", "It is not replicated."),
            Flag::switch("seal-wrap", "Its storage is wrapped by the seal besides."),
            Flag::switch("external-entropy-access", "It may use entropy from outside."),
        ],
        shared: Shared::Http,
        run: ask!(secrets_enable),
    },
    Command {
        name: "secrets tune",
        operands: "PATH",
        arity: exactly(1),
        summary: "Changes a mounted secrets engine.",
        about: "    secrets tune -default-lease-ttl=30m database",
        flags: &[
            DESCRIPTION,
            DEFAULT_TTL,
            MAX_TTL,
            REQUEST_KEYS,
            RESPONSE_KEYS,
            VISIBILITY,
            REQUEST_HEADERS,
            RESPONSE_HEADERS,
            OPTIONS,
            PLUGIN_VERSION,
            VERSION,
        ],
        shared: Shared::Http,
        run: ask!(secrets_tune),
    },
    Command {
        name: "secrets move",
        operands: "SOURCE DESTINATION",
        arity: exactly(2),
        summary: "Moves a secrets engine to another path. What it leased is taken back.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(secrets_move),
    },
    Command {
        name: "auth enable",
        operands: "TYPE",
        arity: exactly(1),
        summary: "Mounts a login method.",
        about: "    auth enable -path=cluster-a kubernetes",
        flags: &[
            Flag::text("path", "Where. Default: its type."),
            DESCRIPTION,
            DEFAULT_TTL,
            MAX_TTL,
            REQUEST_KEYS,
            RESPONSE_KEYS,
            VISIBILITY,
            REQUEST_HEADERS,
            RESPONSE_HEADERS,
            OPTIONS,
            PLUGIN_VERSION,
            TOKEN_TYPE,
            Flag::text("plugin-name", "Its name, where that is not its type."),
            Flag::switch("local", "It is not replicated."),
            Flag::switch("seal-wrap", "Its storage is wrapped by the seal besides."),
            Flag::switch("external-entropy-access", "It may use entropy from outside."),
        ],
        shared: Shared::Http,
        run: ask!(auth_enable),
    },
    Command {
        name: "auth tune",
        operands: "PATH",
        arity: exactly(1),
        summary: "Changes a mounted login method.",
        about: "",
        flags: &[
            DESCRIPTION,
            DEFAULT_TTL,
            MAX_TTL,
            REQUEST_KEYS,
            RESPONSE_KEYS,
            VISIBILITY,
            REQUEST_HEADERS,
            RESPONSE_HEADERS,
            OPTIONS,
            PLUGIN_VERSION,
            TOKEN_TYPE,
            Flag::number("user-lockout-threshold", "How many failed logins lock a user out."),
            Flag::duration("user-lockout-duration", "How long."),
            Flag::duration("user-lockout-counter-reset-duration", "After how long failures are forgotten."),
            Flag::switch("user-lockout-disable", "Nobody is locked out."),
        ],
        shared: Shared::Http,
        run: ask!(auth_tune),
    },
    Command {
        name: "auth move",
        operands: "SOURCE DESTINATION",
        arity: exactly(2),
        summary: "Moves a login method to another path. Tokens that came from it end.",
        about: "",
        flags: &[],
        shared: Shared::Http,
        run: ask!(auth_move),
    },
];

/// The settings that mounting and tuning share.
fn settings(session: &Session<'_>) -> Map<String, Value> {
    let values = session.values;
    let mut found = Map::new();
    for (flag, key) in [
        ("default-lease-ttl", "default_lease_ttl"),
        ("max-lease-ttl", "max_lease_ttl"),
        ("listing-visibility", "listing_visibility"),
        ("token-type", "token_type"),
    ] {
        if let Some(text) = values.text(flag) {
            found.insert(key.to_owned(), text.into());
        }
    }
    for (flag, key) in [
        ("audit-non-hmac-request-keys", "audit_non_hmac_request_keys"),
        ("audit-non-hmac-response-keys", "audit_non_hmac_response_keys"),
        ("passthrough-request-headers", "passthrough_request_headers"),
        ("allowed-response-headers", "allowed_response_headers"),
    ] {
        if values.has(flag) {
            found.insert(key.to_owned(), values.comma_list(flag).into());
        }
    }
    found
}

/// Options, the version of a key-value engine among them.
fn options(session: &Session<'_>) -> Option<Value> {
    let mut options = session.values.pairs("options");
    if let Some(version) = session.values.number("version") {
        options.insert("version".to_owned(), version.to_string().into());
    }
    (!options.is_empty()).then(|| options.into())
}

fn mount(session: &Session<'_>) -> Value {
    let values = session.values;
    let mut config = settings(session);
    if values.on("force-no-cache") {
        config.insert("force_no_cache".to_owned(), true.into());
    }
    if let Some(version) = values.text("plugin-version") {
        config.insert("plugin_version".to_owned(), version.into());
    }
    let kind = values.text("plugin-name").filter(|_| session.argument(0) == "plugin").unwrap_or(session.argument(0));
    let mut body = json!({
        "type": kind, "description": values.text("description").unwrap_or_default(), "config": config,
        "local": values.on("local"), "seal_wrap": values.on("seal-wrap"),
        "external_entropy_access": values.on("external-entropy-access"),
    });
    if let Some(options) = options(session) {
        body["options"] = options;
    }
    body
}

async fn secrets_enable(session: &Session<'_>) -> Outcome {
    let kind = session.argument(0);
    let path = clean(session.values.text("path").unwrap_or(kind));
    session.raw(&Ask::post(format!("sys/mounts/{path}"), mount(session)), "Error enabling").await?;
    session.succeed(format!("Success! Enabled the {kind} secrets engine at: {path}/"))
}

async fn auth_enable(session: &Session<'_>) -> Outcome {
    let kind = session.argument(0);
    let path = clean(session.values.text("path").unwrap_or(kind));
    let ask = Ask::post(format!("sys/auth/{path}"), mount(session));
    session.raw(&ask, &format!("Error enabling {kind} auth")).await?;
    session.succeed(format!("Success! Enabled {kind} auth method at: {path}/"))
}

async fn tune(session: &Session<'_>, at: &str, what: &str) -> Outcome {
    let values = session.values;
    let mut body = settings(session);
    for (flag, key) in [("description", "description"), ("plugin-version", "plugin_version")] {
        if let Some(text) = values.text(flag) {
            body.insert(key.to_owned(), text.into());
        }
    }
    if let Some(options) = options(session) {
        body.insert("options".to_owned(), options);
    }
    let mut lockout = Map::new();
    if let Some(number) = values.number("user-lockout-threshold") {
        lockout.insert("lockout_threshold".to_owned(), number.to_string().into());
    }
    for (flag, key) in [
        ("user-lockout-duration", "lockout_duration"),
        ("user-lockout-counter-reset-duration", "lockout_counter_reset_duration"),
    ] {
        if let Some(seconds) = values.seconds(flag) {
            lockout.insert(key.to_owned(), format!("{seconds}s").into());
        }
    }
    if let Some(on) = values.switch("user-lockout-disable") {
        lockout.insert("lockout_disable".to_owned(), on.into());
    }
    if !lockout.is_empty() {
        body.insert("user_lockout_config".to_owned(), lockout.into());
    }
    let path = clean(session.argument(0));
    let ask = Ask::post(format!("{at}/{path}/tune"), body.into());
    let reply = session.send(&ask).await?;
    if let Some(secret) = read_secret(reply, &ask, &format!("Error tuning {what} {path}/"))? {
        session.warn(&secret)?;
    }
    session.succeed(format!("Success! Tuned the {what} at: {path}/"))
}

async fn secrets_tune(session: &Session<'_>) -> Outcome {
    tune(session, "sys/mounts", "secrets engine").await
}

async fn auth_tune(session: &Session<'_>) -> Outcome {
    tune(session, "sys/auth", "auth method").await
}

async fn secrets_move(session: &Session<'_>) -> Outcome {
    remount(session, "", "secrets engine").await
}

async fn auth_move(session: &Session<'_>) -> Outcome {
    remount(session, "auth/", "auth method").await
}

async fn remount(session: &Session<'_>, front: &str, what: &str) -> Outcome {
    let place = |at| format!("{front}{}", clean(session.argument(at)).trim_start_matches("auth/"));
    let (from, to) = (place(0), place(1));
    let doing = format!("Error moving {what} {from}/ to {to}/");
    let data = session.data(&Ask::post("sys/remount", json!({ "from": from, "to": to })), &doing).await?;
    let Some(id) = data["migration_id"].as_str() else {
        return session.succeed(format!("Success! Moved {what} {from}/ to: {to}/"));
    };
    session.succeed(format!("Started moving {what} {from}/ to {to}/, with migration ID {id}"))?;
    let mut waited = Duration::ZERO;
    while waited < MOVE_LIMIT {
        let status = session.data(&Ask::get(format!("sys/remount/status/{id}")), &doing).await?;
        match status["migration_info"]["status"].as_str() {
            Some("success") => {
                let done = format!("Success! Finished moving {what} {from}/ to {to}/, with migration ID {id}");
                return session.succeed(done);
            }
            Some("failure") => return Err(Failure::server(format!("{doing}: the server's log says why"))),
            _ => session.around.clock.sleep(MOVE_PAUSE).await,
        }
        waited += MOVE_PAUSE;
    }
    Err(Failure::server(format!("{doing}: it is still under way, see sys/remount/status/{id}")))
}
