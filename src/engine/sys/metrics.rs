//! `sys/metrics`: what monitoring should know, in Prometheus' text form or as JSON.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::base::Timestamp;
use crate::engine::core::Core;
use crate::engine::lease::Counts;
use crate::engine::request::Reply;
use crate::secrets::Sample;
use crate::wire::{Error, Fields, Operation};

/// Entries of one revocation queue that are counted; a longer one shows this number.
const COUNTED: usize = 100_000;

/// The content type of Prometheus' text form.
const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// All series of one name.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    rows: Vec<(Vec<(&'static str, String)>, u64)>,
}

impl Core {
    pub(in crate::engine) async fn sys_metrics(&self, operation: Operation, fields: &Fields) -> Result<Reply, Error> {
        if operation != Operation::Read {
            return Err(Error::unsupported_operation());
        }
        let families = self.families().await?;
        Ok(match fields.string("format")?.as_deref() {
            Some("prometheus") => Reply::Text(PROMETHEUS, prometheus(&families)),
            _ => Reply::Raw(200, as_json(&families, self.shared.clock.now())),
        })
    }

    /// Of the whole engine: counters are sums over all namespaces, mounts are named as root has them.
    async fn families(&self) -> Result<Vec<Family>, Error> {
        let below = self.shared.directory.below("");
        let cores: Vec<&Core> = [self].into_iter().chain(below.iter().map(|space| &*space.core)).collect();
        let counter = |name, help, count: fn(&Counts) -> &AtomicU64| {
            let total = cores.iter().map(|core| count(&core.leases.counts).load(Ordering::Relaxed)).sum();
            Family { name, kind: "counter", help, rows: vec![(Vec::new(), total)] }
        };
        let mut families = vec![
            counter("lessor_leases_issued_total", "Credentials made and answered.", |counts| &counts.issued),
            counter("lessor_leases_renewed_total", "Leases prolonged.", |counts| &counts.renewed),
            counter("lessor_leases_revoked_total", "Credentials dropped.", |counts| &counts.revoked),
            counter("lessor_revocations_failed_total", "Attempts to drop a credential that failed.", |counts| {
                &counts.failed
            }),
            counter("lessor_leases_forced_total", "Credentials given up by force.", |counts| &counts.forced),
        ];
        let gauge = |name, help| Family { name, kind: "gauge", help, rows: Vec::new() };
        let mut backlog = [
            gauge("lessor_revocations_waiting", "Revocations that wait, by mount and connection."),
            gauge("lessor_revocations_stuck", "Those of them that have failed at least once."),
        ];
        for core in &cores {
            core.add_backlog(&mut backlog).await?;
        }
        families.extend(backlog);
        for core in &cores {
            for mounted in core.mounts.all() {
                for sample in mounted.plugin.samples().await {
                    add(&mut families, &core.place.full(&mounted.entry.path), sample);
                }
            }
        }
        Ok(families)
    }

    async fn add_backlog(&self, [waiting, stuck]: &mut [Family; 2]) -> Result<(), Error> {
        for (group, count, failed) in self.leases.backlog(COUNTED).await? {
            let (uuid, connection) = group.split_once('.').unwrap_or((&group, ""));
            let mounts = self.mounts.all();
            let mount = mounts.iter().find(|mounted| mounted.entry.uuid == uuid);
            let mount =
                mount.map_or_else(|| uuid.to_owned(), |mounted| self.place.full(&mounted.entry.path).into_owned());
            let labels = vec![("mount", mount), ("connection", connection.to_owned())];
            waiting.rows.push((labels.clone(), count as u64));
            stuck.rows.push((labels, failed as u64));
        }
        Ok(())
    }
}

fn add(families: &mut Vec<Family>, mount: &str, sample: Sample) {
    let mut labels = vec![("mount", mount.to_owned())];
    labels.extend(sample.labels);
    match families.iter_mut().find(|family| family.name == sample.name) {
        Some(family) => family.rows.push((labels, sample.value)),
        None => families.push(Family {
            name: sample.name,
            kind: if sample.counter { "counter" } else { "gauge" },
            help: sample.help,
            rows: vec![(labels, sample.value)],
        }),
    }
}

fn prometheus(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, kind, help, rows } in families {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Gauges and counters as Vault's JSON has them.
fn as_json(families: &[Family], now: Timestamp) -> Value {
    let rows = |wanted: &str| -> Vec<Value> {
        let families = families.iter().filter(|family| family.kind == wanted);
        families
            .flat_map(|family| family.rows.iter().map(|(labels, value)| (family.name, labels, value)))
            .map(|(name, labels, value)| {
                let labels: serde_json::Map<_, _> =
                    labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
                let mut row = json!({ "Name": name, "Labels": labels });
                // A counter counts since the start of the engine.
                for field in if wanted == "gauge" { &["Value"] as &[_] } else { &["Count", "Sum"] } {
                    row[*field] = json!(value);
                }
                row
            })
            .collect()
    };
    json!({
        "Timestamp": now.to_string(), "Gauges": rows("gauge"), "Points": [], "Counters": rows("counter"), "Samples": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_families_have_one_head() {
        let mut families = Vec::new();
        for (connection, value) in [("a\"b", 2), ("c", 3)] {
            let labels = vec![("connection", connection.to_owned())];
            add(
                &mut families,
                "db/",
                Sample { name: "lessor_orphans", help: "Orphans.", counter: false, labels, value },
            );
        }
        let expected = "# HELP lessor_orphans Orphans.\n# TYPE lessor_orphans gauge\n\
            lessor_orphans{mount=\"db/\",connection=\"a\\\"b\"} 2\nlessor_orphans{mount=\"db/\",connection=\"c\"} 3\n";
        assert_eq!(prometheus(&families), expected);
        let json = as_json(&families, Timestamp::UNIX_EPOCH);
        assert_eq!(json["Gauges"][1]["Value"], 3);
        assert_eq!(json["Timestamp"], "1970-01-01T00:00:00Z");
    }
}
