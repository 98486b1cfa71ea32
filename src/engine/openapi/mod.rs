//! `sys/internal/specs/openapi`: the tables of routes as an OpenAPI document, for the mounts that the caller may know of.

mod help;
mod path;
mod schema;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::core::Core;
use super::request::{Incoming, Reply};
use super::session::Session;
use super::status::VERSION;
use super::{identity, mount, sys, token_routes};
use crate::secrets::kv;
use crate::wire::{Error, Route};

/// Where the document is.
pub(super) const PATH: &str = "sys/internal/specs/openapi";

/// A table of routes and where it is.
pub(super) struct Place {
    /// `database/`, `auth/approle/`.
    prefix: String,
    /// The name of a parameter that stands for the mount's own part of the path in documents for all mounts of a type;
    /// `None` for what is always at one place.
    generic: Option<String>,
    tag: &'static str,
    routes: Vec<&'static Route>,
}

impl Place {
    fn fixed(prefix: &str, tag: &'static str, routes: impl IntoIterator<Item = &'static Route>) -> Self {
        Self { prefix: prefix.to_owned(), generic: None, tag, routes: routes.into_iter().collect() }
    }

    fn of_mount(prefix: String, entry: &mount::Entry, tag: &'static str, routes: &'static [Route]) -> Self {
        let version = match entry.kind == kv::SPEC.kind {
            true => kv::version(&entry.options).map_or(String::new(), |version| format!("_v{version}")),
            false => String::new(),
        };
        let generic = Some(format!("{}{version}_mount_path", entry.kind.replace('-', "_")));
        Self { prefix, generic, tag, routes: routes.iter().collect() }
    }

    /// The routes that are documented.
    fn documented(&self) -> impl Iterator<Item = &'static Route> {
        self.routes.iter().copied().filter(|route| !route.hidden)
    }
}

/// What is always there.
fn fixed_places() -> [Place; 4] {
    [
        Place::fixed("sys/", "system", sys::routes::all()),
        Place::fixed("identity/", "identity", identity::routes::ROUTES),
        Place::fixed("cubbyhole/", "secrets", token_routes::CUBBYHOLE),
        Place::fixed("auth/token/", "auth", token_routes::TOKENS),
    ]
}

impl Core {
    /// The document for whoever asks: without a token only of mounts that are tuned to be listed.
    pub(super) async fn openapi(&self, incoming: &Incoming) -> Result<Reply, Error> {
        let session = self.optional_session(incoming).await?;
        let generic = incoming.fields.bool("generic_mount_paths")?.unwrap_or(false);
        // Part of Vault's request, for documents of user interfaces.
        incoming.fields.string("context")?;
        Ok(Reply::Raw(200, document(&self.places(session.as_ref()), generic)))
    }

    fn places(&self, session: Option<&Session>) -> Vec<Place> {
        let visible = |path: &str, entry: Option<&mount::Entry>| match session {
            Some(session) => session.reaches(path),
            None => entry.is_some_and(|entry| entry.listing_visibility == "unauth"),
        };
        let mut places: Vec<_> = fixed_places().into_iter().filter(|place| visible(&place.prefix, None)).collect();
        for mounted in self.methods.all() {
            let prefix = format!("auth/{}", mounted.entry.path);
            if visible(&prefix, Some(&mounted.entry)) {
                places.push(Place::of_mount(prefix, &mounted.entry, "auth", mounted.plugin.routes()));
            }
        }
        for mounted in self.mounts.all() {
            let prefix = mounted.entry.path.clone();
            if visible(&prefix, Some(&mounted.entry)) {
                places.push(Place::of_mount(prefix, &mounted.entry, "secrets", mounted.plugin.routes()));
            }
        }
        places
    }
}

/// The document of some places. If `generic`, mounts of a type are one, whose place is a parameter.
pub(super) fn document(places: &[Place], generic: bool) -> Value {
    let mut paths = path::Paths::default();
    let mut seen = BTreeSet::new();
    for place in places {
        let parameter = place.generic.as_ref().filter(|_| generic);
        if parameter.is_none_or(|name| seen.insert(name.clone())) {
            paths.add(place, parameter.map(String::as_str));
        }
    }
    let (paths, schemas) = paths.done();
    whole(paths, schemas)
}

fn whole(paths: Map<String, Value>, schemas: Map<String, Value>) -> Value {
    json!({
        "openapi": "3.0.2",
        "info": {
            "title": "Lessor API",
            "description": "HTTP API of Lessor, which is Vault's. All API routes are prefixed with `/v1/`.",
            "version": VERSION,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

#[cfg(test)]
mod tests;
