//! `sys/internal/counters/…`: how many clients, tokens and entities there are, in Vault's words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::base::Timestamp;
use crate::base::clock::add_seconds;
use crate::engine::activity::{self, Client, Config, Months};
use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

/// Months that a report covers when nobody says.
const REPORTED: u32 = 12;

/// A namespace with the clients of its months.
struct Place {
    id: String,
    path: String,
    months: Months,
}

impl Core {
    pub(super) async fn sys_counters(&self, operation: Operation, path: &str, fields: &Fields) -> Result<Reply, Error> {
        let answer = match (path, operation) {
            ("activity", Operation::Read) => self.activity_report(fields).await?,
            ("activity/monthly", Operation::Read) => self.activity_of_month().await?,
            ("config", Operation::Read) => Answer::data(describe(self.activity.config())),
            ("config", Operation::Write) => {
                self.activity.configure(changed(self.activity.config(), fields)?).await?;
                Answer::empty()
            }
            ("tokens", Operation::Read) => {
                let mut total = self.tokens.accessors().await?.len();
                for space in self.shared.directory.below(&self.place.path) {
                    total += space.core.tokens.accessors().await?.len();
                }
                Answer::data(json!({ "counters": { "service_tokens": { "total": total } } }))
            }
            ("entities", Operation::Read) => {
                let mut total = self.identity.count().await?;
                for space in self.shared.directory.below(&self.place.path) {
                    total += space.core.identity.count().await?;
                }
                Answer::data(json!({ "counters": { "entities": { "total": total } } }))
            }
            ("activity" | "activity/monthly" | "config" | "tokens" | "entities", _) => {
                return Err(Error::unsupported_operation());
            }
            _ => return Err(Error::unsupported_path()),
        };
        Ok(Reply::answer(answer))
    }

    /// 204 where there is nothing to report, as in Vault.
    async fn activity_report(&self, fields: &Fields) -> Result<Answer, Error> {
        let now = self.shared.clock.now();
        let last = moment(fields, "end_time")?.unwrap_or(now).min(now);
        let earliest = activity::month_start(&activity::months_before(&activity::month(now), REPORTED));
        let first = moment(fields, "start_time")?.unwrap_or(earliest);
        if first > last {
            return Err(Error::bad_request("start_time is later than end_time"));
        }
        // Older clients ask for it; a report here is about months, and there are no billing periods.
        fields.bool("current_billing_period")?;
        let limit = fields.count("limit_namespaces")?.unwrap_or(0);
        let (first_month, last_month) = (activity::month(first), activity::month(last));
        let places = self.counted_places(&first_month, &last_month).await?;
        if places.iter().all(|place| place.months.is_empty()) {
            return Ok(Answer::empty());
        }
        let mut data = report(&places, limit);
        data["start_time"] = json!(activity::month_start(&first_month).to_string());
        data["end_time"] = json!(last.to_string());
        Ok(Answer::data(data))
    }

    async fn activity_of_month(&self) -> Result<Answer, Error> {
        let month = activity::month(self.shared.clock.now());
        let places = self.counted_places(&month, &month).await?;
        let report = report(&places, 0);
        let mut data = report["total"].clone();
        data["by_namespace"] = report["by_namespace"].clone();
        data["months"] = report["months"].clone();
        Ok(Answer::data(data))
    }

    async fn counted_places(&self, first: &str, last: &str) -> Result<Vec<Place>, Error> {
        let below = self.shared.directory.below(&self.place.path);
        let mut places = Vec::new();
        for core in [self].into_iter().chain(below.iter().map(|space| &*space.core)) {
            let (id, path) = (core.place.shown_id().to_owned(), core.place.path.clone());
            places.push(Place { id, path, months: core.activity.months(first, last).await? });
        }
        Ok(places)
    }
}

/// A time as RFC 3339 or in Unix seconds.
fn moment(fields: &Fields, name: &str) -> Result<Option<Timestamp>, Error> {
    let Some(text) = fields.string(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds = text.parse().ok().map(|seconds| add_seconds(Timestamp::UNIX_EPOCH, seconds));
    let wrong = || Error::bad_request(format!("{name:?} must be a time such as 2026-11-01T00:00:00Z, or Unix seconds"));
    seconds.or_else(|| text.parse().ok()).map(Some).ok_or_else(wrong)
}

fn describe(config: Config) -> Value {
    json!({
        "enabled": if config == Config::default() { "default-enabled" } else if config.enabled { "enable" } else { "disable" },
        "default_report_months": REPORTED, "retention_months": config.retention_months, "minimum_retention_months": 0,
        "queries_available": true, "reporting_enabled": false,
    })
}

fn changed(mut config: Config, fields: &Fields) -> Result<Config, Error> {
    match fields.string("enabled")?.as_deref() {
        None | Some("") => {}
        Some("enable") => config.enabled = true,
        Some("disable") => config.enabled = false,
        Some("default") => config.enabled = Config::default().enabled,
        Some(_) => return Err(Error::bad_request("\"enabled\" must be enable, disable or default")),
    }
    if let Some(months) = fields.count("retention_months")? {
        let wrong = |_| Error::bad_request("\"retention_months\" must be from 1 to 600");
        config.retention_months = u32::try_from(months).map_err(wrong)?;
        if !(1..=600).contains(&config.retention_months) {
            return Err(Error::bad_request("\"retention_months\" must be from 1 to 600"));
        }
    }
    Ok(config)
}

type Clients<'a> = BTreeMap<(&'a str, &'a str), &'a Client>;

/// Counts as Vault names them, under the old names too.
fn counts(clients: &Clients<'_>) -> Value {
    let entities = clients.values().filter(|client| client.entity).count();
    let others = clients.len() - entities;
    json!({
        "clients": clients.len(), "entity_clients": entities, "non_entity_clients": others, "distinct_entities": entities,
        "non_entity_tokens": others, "secret_syncs": 0, "acme_clients": 0,
    })
}

/// The clients of a place in some months, each once.
fn clients_of<'a>(place: &'a Place, wanted: impl Fn(&str) -> bool) -> Clients<'a> {
    let months = place.months.iter().filter(|(month, _)| wanted(month));
    let rows = months.flat_map(|(_, clients)| clients);
    rows.map(|(id, client)| ((place.id.as_str(), id.as_str()), client)).collect()
}

fn by_namespace(places: &[Place], wanted: impl Fn(&str) -> bool + Copy) -> Vec<Value> {
    let mut rows: Vec<_> = places.iter().map(|place| (place, clients_of(place, wanted))).collect();
    rows.retain(|(_, clients)| !clients.is_empty());
    // The busiest first: `limit_namespaces` cuts the rest.
    rows.sort_by_key(|(_, clients)| std::cmp::Reverse(clients.len()));
    let row = |(place, clients): &(&Place, Clients<'_>)| {
        let mounts: BTreeSet<_> = clients.values().map(|client| client.mount.as_str()).collect();
        let mounts: Vec<_> = mounts
            .into_iter()
            .map(|mount| {
                let here = clients.iter().filter(|(_, client)| client.mount == mount);
                json!({ "mount_path": mount, "counts": counts(&here.map(|(id, client)| (*id, *client)).collect()) })
            })
            .collect();
        json!({ "namespace_id": place.id, "namespace_path": place.path, "counts": counts(clients), "mounts": mounts })
    };
    rows.iter().map(row).collect()
}

/// All that is told of the months that are there; at most `limit` namespaces, 0 being all.
fn report(places: &[Place], limit: u64) -> Value {
    let all = |wanted: &dyn Fn(&str) -> bool| -> Clients<'_> {
        places.iter().flat_map(|place| clients_of(place, wanted)).collect()
    };
    let names: BTreeSet<_> = places.iter().flat_map(|place| place.months.keys()).collect();
    let months: Vec<_> = names
        .into_iter()
        .map(|month| {
            let here = all(&|other| other == month);
            let before = all(&|other| other < month.as_str());
            let new: Clients<'_> =
                here.iter().filter(|(id, _)| !before.contains_key(*id)).map(|(id, c)| (*id, *c)).collect();
            json!({
                "timestamp": activity::month_start(month).to_string(), "counts": counts(&here),
                "namespaces": by_namespace(places, |other| other == month), "new_clients": { "counts": counts(&new) },
            })
        })
        .collect();
    let mut namespaces = by_namespace(places, |_| true);
    if let Ok(limit @ 1..) = usize::try_from(limit) {
        namespaces.truncate(limit);
    }
    json!({ "total": counts(&all(&|_| true)), "by_namespace": namespaces, "months": months })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: &str, months: &[(&str, &[(&str, bool)])]) -> Place {
        let clients = |rows: &[(&str, bool)]| {
            let client = |entity| Client { entity, mount: "auth/approle/".to_owned() };
            rows.iter().map(|(id, entity)| ((*id).to_owned(), client(*entity))).collect()
        };
        let months = months.iter().map(|(month, rows)| ((*month).to_owned(), clients(rows))).collect();
        Place { id: id.to_owned(), path: String::new(), months }
    }

    #[test]
    fn a_client_of_two_months_counts_once_in_the_sum() {
        let places = [
            place("root", &[("2026-10", &[("a", true)]), ("2026-11", &[("a", true), ("b", false)])]),
            place("x1", &[("2026-11", &[("c", true), ("d", true), ("b", false)])]),
        ];
        let report = report(&places, 1);
        assert_eq!(report["total"]["clients"], 5, "ids are of their namespace");
        assert_eq!(
            (&report["total"]["entity_clients"], &report["total"]["non_entity_clients"]),
            (&json!(3), &json!(2))
        );
        assert_eq!(report["by_namespace"].as_array().unwrap().len(), 1);
        assert_eq!(report["by_namespace"][0]["namespace_id"], "x1");
        assert_eq!(report["by_namespace"][0]["mounts"][0]["counts"]["clients"], 3);
        let november = &report["months"][1];
        assert_eq!(
            (&november["counts"]["clients"], &november["new_clients"]["counts"]["clients"]),
            (&json!(5), &json!(4))
        );
        assert_eq!(november["timestamp"], "2026-11-01T00:00:00Z");
    }

    #[test]
    fn times_are_taken_in_both_forms() {
        let fields = |text: &str| json!({ "end_time": text }).as_object().unwrap().clone().into();
        assert_eq!(moment(&fields("60"), "end_time").unwrap(), "1970-01-01T00:01:00Z".parse().ok());
        assert_eq!(moment(&fields("1970-01-01T00:01:00Z"), "end_time").unwrap(), "1970-01-01T00:01:00Z".parse().ok());
        assert!(moment(&fields("yesterday"), "end_time").is_err());
    }
}
