//! `HELP` and `?help=1`: what a path is for, in words and as OpenAPI.

use std::fmt::Write as _;

use serde_json::json;

use super::{Place, document, fixed_places, path, schema, whole};
use crate::engine::audit::trail::Trail;
use crate::engine::core::Core;
use crate::engine::request::{Incoming, Reply};
use crate::wire::{Error, Field, Guard, Kind, Operation, Route};

impl Core {
    /// Tells about a path to whoever has a token, or to anybody where the path itself takes none.
    pub(in crate::engine) async fn help(&self, incoming: &Incoming, trail: &mut Trail) -> Result<Reply, Error> {
        let found = self.place_of(&incoming.path);
        let known = found.as_ref().map(|(place, rest)| (place, matching(place, rest)));
        if known.as_ref().is_none_or(|(_, routes)| routes.iter().all(|route| route.guard != Guard::Open)) {
            trail.seen(&self.session(incoming).await?);
            trail.allowed();
        }
        trail.record().await?;
        let unknown = || Error::new(Kind::NotFound, format!("no help about {:?}: nothing is there", incoming.path));
        match known {
            Some((place, routes)) if !routes.is_empty() => Ok(answer(&about_path(&incoming.path, &routes), {
                let mut paths = path::Paths::default();
                routes.iter().for_each(|route| paths.add_route(place, route));
                let (paths, schemas) = paths.done();
                whole(paths, schemas)
            })),
            Some((place, _)) if is_root(place, &incoming.path) => {
                Ok(answer(&about_place(place), document(std::slice::from_ref(place), false)))
            }
            _ => Err(unknown()),
        }
    }

    /// The table that a path belongs to, and the path below it.
    fn place_of<'a>(&self, path: &'a str) -> Option<(Place, &'a str)> {
        let below = |prefix: &str| {
            let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
            if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
        };
        for place in fixed_places() {
            if let Some(rest) = below(&place.prefix) {
                return Some((place, rest));
            }
        }
        if let Some(path) = path.strip_prefix("auth/") {
            let (mounted, rest) = self.methods.route(path)?;
            let prefix = format!("auth/{}", mounted.entry.path);
            return Some((Place::of_mount(prefix, &mounted.entry, "auth", mounted.plugin.routes()), rest));
        }
        let (mounted, rest) = self.mounts.route(path)?;
        let prefix = mounted.entry.path.clone();
        Some((Place::of_mount(prefix, &mounted.entry, "secrets", mounted.plugin.routes()), rest))
    }
}

fn answer(text: &str, openapi: serde_json::Value) -> Reply {
    Reply::Raw(200, json!({ "help": text, "openapi": openapi }))
}

fn is_root(place: &Place, path: &str) -> bool {
    place.prefix.trim_end_matches('/') == path.trim_end_matches('/')
}

/// The routes of a path: those of the first pattern that fits.
fn matching(place: &Place, rest: &str) -> Vec<&'static Route> {
    let first = place.documented().find(|route| route.matches(rest)).map(|route| route.pattern);
    place.documented().filter(|route| Some(route.pattern) == first && !rest.is_empty()).collect()
}

fn about_path(path: &str, routes: &[&'static Route]) -> String {
    let pattern = routes.first().map_or("", |route| route.pattern);
    let mut text = format!("Request:        {path}\nMatching Route: ^{pattern}$\n");
    let mut fields: Vec<&Field> = Vec::new();
    for route in routes {
        let verbs: Vec<_> = route.operations.iter().map(|operation| word(*operation)).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{}: {}", verbs.join(", "), route.summary);
        for field in route.fields.iter().copied().flatten() {
            if fields.iter().all(|known| known.name != field.name) {
                fields.push(field);
            }
        }
    }
    text.push('\n');
    fields.sort_unstable_by_key(|field| field.name);
    if !fields.is_empty() {
        text.push_str("\n## PARAMETERS\n");
    }
    for field in fields {
        let _ = write!(text, "\n    {} ({})\n        {}\n", field.name, schema::word(field.kind), field.about);
    }
    text
}

fn about_place(place: &Place) -> String {
    let mut text = format!(
        "## DESCRIPTION\n\nWhat is mounted at {}.\n\n## PATHS\n\n\
         These paths are served. Ask for the help of a path that fits one of them to learn more.\n",
        place.prefix
    );
    let mut last = None;
    for route in place.documented() {
        if last != Some(route.pattern) {
            let _ = write!(text, "\n    ^{}$\n", route.pattern);
        }
        let _ = writeln!(text, "        {}", route.summary);
        last = Some(route.pattern);
    }
    text
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "read",
        Operation::List => "list",
        Operation::Write => "write",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
        Operation::Help => "help",
    }
}
