//! `status`, and the same table behind `operator unseal`.

use serde_json::{Value, json};

use super::super::grammar::{Command, Shared, ask, exactly};
use super::super::output::pairs;
use super::super::output::value::plain;
use super::super::request::Ask;
use super::super::session::Session;
use super::super::{Failure, Outcome};

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "status",
    operands: "",
    arity: exactly(0),
    summary: "Tells whether the engine is initialised and unsealed.",
    about: "It ends with 0 when the engine is unsealed, with 2 when it is sealed, and with 1 when it cannot be asked.",
    flags: &[],
    shared: Shared::Field,
    run: ask!(status),
}];

async fn status(session: &Session<'_>) -> Outcome {
    // Here 2 is for a sealed engine, so whatever goes wrong is 1.
    let local = |failure: Failure| Failure { code: failure.code.min(1), ..failure };
    let seal = session.raw(&Ask::get("sys/seal-status"), "Error checking seal status").await.map_err(local)?;
    let sealed = seal["sealed"].as_bool().unwrap_or(true);
    let leader = match sealed {
        true => Value::Null,
        false => session.raw(&Ask::get("sys/leader"), "Error checking leader status").await.map_err(local)?,
    };
    show(session, seal, &leader)?;
    Ok(if sealed { 2 } else { 0 })
}

/// Prints a seal status together with what is known about the cluster.
pub(super) fn show(session: &Session<'_>, mut seal: Value, leader: &Value) -> Outcome {
    if let (Some(all), Some(leader)) = (seal.as_object_mut(), leader.as_object()) {
        all.extend(leader.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    if let Some(field) = session.values.text("field") {
        return session.show_field(seal.get(field).cloned(), field);
    }
    let rows = rows(&seal);
    session.show(&seal, || pairs(rows))
}

fn rows(seal: &Value) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let text = |key: &str| plain(&seal[key]);
    let known = |key: &str| seal[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let on = |key: &str| seal[key].as_bool().unwrap_or(false);
    let recovery = on("recovery_seal");
    rows.push(("Seal Type", text("type")));
    if recovery {
        rows.push(("Recovery Seal Type", known("recovery_seal_type").unwrap_or_else(|| "shamir".to_owned())));
    }
    rows.push(("Initialized", text("initialized")));
    rows.push(("Sealed", text("sealed")));
    rows.push((if recovery { "Total Recovery Shares" } else { "Total Shares" }, text("n")));
    rows.push(("Threshold", text("t")));
    if on("sealed") {
        rows.push(("Unseal Progress", format!("{}/{}", text("progress"), text("t"))));
        rows.push(("Unseal Nonce", text("nonce")));
    }
    if on("migration") {
        rows.push(("Seal Migration in Progress", "true".to_owned()));
    }
    rows.push(("Version", text("version")));
    rows.push(("Build Date", text("build_date")));
    rows.push(("Storage Type", text("storage_type")));
    for (key, title) in [("cluster_name", "Cluster Name"), ("cluster_id", "Cluster ID")] {
        rows.extend(known(key).map(|text| (title, text)));
    }
    if seal.get("ha_enabled").is_none() {
        return rows;
    }
    rows.push(("HA Enabled", text("ha_enabled")));
    if on("ha_enabled") {
        rows.push(("HA Cluster", known("leader_cluster_address").unwrap_or_else(|| "n/a".to_owned())));
        rows.push(("HA Mode", if on("is_self") { "active" } else { "standby" }.to_owned()));
        if on("is_self") {
            rows.extend(known("active_time").map(|time| ("Active Since", time)));
        } else {
            let address = known("leader_address").unwrap_or_else(|| "<none>".to_owned());
            rows.push(("Active Node Address", address));
        }
    }
    rows
}

/// The status of an engine that has not told anything about its cluster.
pub(super) fn show_seal(session: &Session<'_>, seal: Value) -> Outcome {
    show(session, seal, &json!(null))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(seal: Value) -> Vec<&'static str> {
        rows(&seal).into_iter().map(|(title, _)| title).collect()
    }

    #[test]
    fn a_sealed_engine_shows_its_progress() {
        let seal = json!({ "type": "shamir", "initialized": true, "sealed": true, "t": 3, "n": 5, "progress": 1, "nonce": "x",
            "version": "1.18.0", "build_date": "d", "storage_type": "file", "migration": false, "recovery_seal": false });
        assert_eq!(
            titles(seal.clone()),
            [
                "Seal Type",
                "Initialized",
                "Sealed",
                "Total Shares",
                "Threshold",
                "Unseal Progress",
                "Unseal Nonce",
                "Version",
                "Build Date",
                "Storage Type"
            ]
        );
        assert!(rows(&seal).contains(&("Unseal Progress", "1/3".to_owned())));
    }

    #[test]
    fn an_engine_that_opens_itself_has_recovery_shares() {
        let seal = json!({ "type": "static", "sealed": false, "recovery_seal": true, "ha_enabled": true, "is_self": false,
            "cluster_name": "c", "cluster_id": "" });
        let titles = titles(seal);
        assert!(titles.contains(&"Recovery Seal Type") && titles.contains(&"Total Recovery Shares"), "{titles:?}");
        assert!(titles.contains(&"Cluster Name") && !titles.contains(&"Cluster ID"), "{titles:?}");
        assert!(titles.contains(&"Active Node Address"), "{titles:?}");
    }
}
