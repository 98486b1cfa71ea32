//! Which route a request has, of all tables together, and what is wrong with its fields.

use super::core::Core;
use super::request::{Incoming, Reply};
use super::{identity, sys, token_routes};
use crate::wire::fields::Reads;
use crate::wire::route::Found;
use crate::wire::{Answer, Error, Fields, Kind, Operation, Route};

impl Core {
    /// What the tables say of a path; `None` where nothing is mounted, or what is mounted has no table.
    pub(super) fn look_up(&self, path: &str, operation: Operation) -> Option<Found> {
        let (area, rest) = path.split_once('/').unwrap_or((path, ""));
        match area {
            "sys" => Some(Found::among(sys::routes::all(), rest, operation)),
            "identity" => Some(Found::among(identity::routes::ROUTES, rest, operation)),
            "cubbyhole" => Some(Found::among(token_routes::CUBBYHOLE, rest, operation)),
            "auth" => match rest.strip_prefix("token/") {
                Some(rest) => Some(Found::among(token_routes::TOKENS, rest, operation)),
                None => {
                    let (mounted, rest) = self.methods.route(rest)?;
                    let routes = Some(mounted.plugin.routes()).filter(|routes| !routes.is_empty())?;
                    Some(Found::among(routes, rest, operation))
                }
            },
            _ => {
                let (mounted, rest) = self.mounts.route(path)?;
                Some(Found::among(mounted.plugin.routes(), rest, operation))
            }
        }
    }
}

/// Refuses what the tables of paths that need no session do not know.
///
/// # Errors
/// 404, or 405 without text, as Vault answers there.
pub(super) fn early(incoming: &Incoming) -> Result<(), Error> {
    let rest = incoming.path.strip_prefix("sys/").unwrap_or_default();
    match sys::routes::early(rest, incoming.operation) {
        Found::Other(_) => Err(Error::silent(Kind::Unsupported)),
        found => found.route().map(drop),
    }
}

/// What a route's description means for one request.
pub(super) struct Check {
    route: Option<&'static Route>,
    ignored: Option<String>,
    reads: Reads,
}

impl Check {
    /// Lets only requests pass that a route describes; nothing is checked of mounts without a table.
    ///
    /// # Errors
    /// 404 for an unknown path, 405 for an unknown operation.
    pub(super) fn begin(found: Option<Found>, fields: &Fields) -> Result<Self, Error> {
        let route = found.map(|found| found.route()).transpose()?;
        let ignored = route.and_then(|route| route.ignored(fields));
        Ok(Self { route, ignored, reads: fields.reads() })
    }

    /// The answer with a warning about fields that mean nothing; an answer without a body stays without.
    ///
    /// # Errors
    /// 500, in builds for tests, when a field was read that the route does not describe.
    pub(super) fn end(self, mut reply: Reply) -> Result<Reply, Error> {
        if let Some(route) = self.route
            && let Some(name) = self.reads.names().into_iter().find(|name| !route.takes(name))
        {
            let pattern = route.pattern;
            return Err(Error::internal(format!(
                "{name:?} is read by the route {pattern:?}, which does not describe it"
            )));
        }
        let tells = self.route.is_some_and(|route| route.tells_ignored);
        match (self.ignored, &mut reply) {
            (Some(ignored), Reply::Envelope { envelope, .. }) => {
                envelope.warnings.get_or_insert_default().push(ignored);
            }
            (Some(ignored), Reply::Empty(204)) if tells => return Ok(Reply::answer(Answer::empty().warn(ignored))),
            _ => {}
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::auth;
    use crate::base::clock::ManualClock;
    use crate::base::random::SeededRandom;
    use crate::storage::View;
    use crate::storage::memory::Memory;

    const ROLE: &[Route] = &[
        Route::new("role", &[Operation::Write], "One.").fields(&[&[crate::wire::Field::text("name", "Its name.")]]),
        Route::new("loud", &[Operation::Write], "One.").tells_ignored(),
    ];

    fn answered(path: &str, reply: Reply) -> Option<Vec<String>> {
        let fields = json!({ "name": "a", "b": 1, "a": 2 }).as_object().unwrap().clone().into();
        let check = Check::begin(Some(Found::among(ROLE, path, Operation::Write)), &fields).unwrap();
        match check.end(reply).unwrap() {
            Reply::Envelope { envelope, .. } => envelope.warnings,
            Reply::Empty(204) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_with_a_body_tells_which_fields_mean_nothing() {
        let warning = "Endpoint ignored these unrecognized parameters: [a b]".to_owned();
        let with_body = || Reply::answer(Answer::data(json!({})));
        assert_eq!(answered("role", with_body()), Some(vec![warning]));
        assert_eq!(answered("role", Reply::Empty(204)), None);
        assert_eq!(answered("loud", Reply::Empty(204)).unwrap().len(), 1);
    }

    #[test]
    fn a_field_that_is_read_must_be_described() {
        let fields = Fields::default();
        let begin = || Check::begin(Some(Found::among(ROLE, "role", Operation::Write)), &fields).unwrap();
        let check = begin();
        fields.string("name").unwrap();
        assert!(check.end(Reply::Empty(204)).is_ok());
        let check = begin();
        fields.string("undescribed").unwrap();
        let error = check.end(Reply::Empty(204)).unwrap_err();
        assert!(error.to_string().contains("\"undescribed\" is read by the route \"role\""), "{error}");
    }

    #[tokio::test]
    async fn everything_that_can_be_mounted_describes_its_routes() {
        let view = View::new(Arc::new(Memory::default()), "mount/");
        let (clock, random) =
            (Arc::new(ManualClock::new(crate::base::Timestamp::UNIX_EPOCH)), Arc::new(SeededRandom::new(1)));
        for spec in auth::TABLE {
            let (view, clock, random) = (view.clone(), clock.clone(), random.clone());
            let method = (spec.open)(auth::Setup { view, clock, random, mount: spec.kind.to_owned() });
            assert!(!method.routes().is_empty(), "{}: CONTRIBUTING.md, Routes, says how to describe them", spec.kind);
        }
    }
}
