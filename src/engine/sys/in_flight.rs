//! `sys/in-flight-req`: what is being answered at this moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use crate::base::Timestamp;
use crate::engine::core::Core;
use crate::engine::namespace::Place;
use crate::engine::request::{Incoming, Reply};
use crate::wire::{Error, Operation};

type Rows = BTreeMap<String, Flight>;

struct Flight {
    since: Timestamp,
    address: String,
    path: String,
    operation: Operation,
}

/// The requests under way, by id.
#[derive(Clone, Default)]
pub(in crate::engine) struct Flights(Arc<Mutex<Rows>>);

/// One of them; it ends with this value.
pub(in crate::engine) struct Under {
    flights: Flights,
    id: String,
}

impl Flights {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::engine) fn begin(&self, incoming: &Incoming, place: &Place, since: Timestamp) -> Under {
        let address = incoming.address.map_or_else(String::new, |address| format!("{address}:{}", incoming.port));
        let path = format!("/v1/{}", place.full(&incoming.path));
        let flight = Flight { since, address, path, operation: incoming.operation };
        self.rows().insert(incoming.id.clone(), flight);
        Under { flights: self.clone(), id: incoming.id.clone() }
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.flights.rows().remove(&self.id);
    }
}

impl Core {
    pub(super) fn sys_in_flight(&self, operation: Operation) -> Result<Reply, Error> {
        if operation != Operation::Read {
            return Err(Error::unsupported_operation());
        }
        let row = |(id, flight): (&String, &Flight)| {
            let method = match flight.operation {
                Operation::Read => "GET",
                Operation::List => "LIST",
                Operation::Write => "PUT",
                Operation::Patch => "PATCH",
                Operation::Delete => "DELETE",
                Operation::Help => "HELP",
            };
            let row = json!({
                "start_time": flight.since.to_string(), "client_remote_address": flight.address,
                "request_path": flight.path, "request_method": method, "client_id": "",
            });
            (id.clone(), row)
        };
        let rows: Map<String, Value> = self.shared.flights.rows().iter().map(row).collect();
        Ok(Reply::Raw(200, rows.into()))
    }
}
