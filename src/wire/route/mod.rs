//! What the paths of the API take and who may ask them, told once: dispatch, OpenAPI, help and the tests all read these tables.

mod field;
mod pattern;

pub use field::{Field, Type};
pub use pattern::Parameter;

use super::{Error, Fields, Operation};

/// Who may ask a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Anybody, without a token.
    Open,
    /// Whoever has a token; the handler itself looks whether it may see what it asks about.
    Looked,
    /// A token whose policies allow the operation.
    Token,
    /// The same, with `sudo` besides.
    Sudo,
}

/// A path of a backend and some of its operations. Paths are relative to the backend: to a mount, to `sys/`, to `auth/token/`.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// `role/:name/secret-id`: `:name` is one segment, `*path` is one or more.
    pub pattern: &'static str,
    /// What may be asked of it.
    pub operations: &'static [Operation],
    /// Who may ask.
    pub guard: Guard,
    /// What its requests may hold, in groups that routes share. A field named like a part of the path describes that part.
    pub fields: &'static [&'static [Field]],
    /// Whether it also takes fields of any other name (KV, connections).
    pub takes_any: bool,
    /// Whether policies tell a write that creates from one that updates.
    pub creates: bool,
    /// Whether fields that mean nothing are told of where the answer would have no body.
    pub tells_ignored: bool,
    /// Whether it is there to answer with a hint only: the documentation leaves it out.
    pub hidden: bool,
    /// One sentence for people.
    pub summary: &'static str,
}

impl Route {
    /// A route for tokens whose policies allow it, without fields.
    pub const fn new(pattern: &'static str, operations: &'static [Operation], summary: &'static str) -> Self {
        Self {
            pattern,
            operations,
            guard: Guard::Token,
            fields: &[],
            takes_any: false,
            creates: false,
            tells_ignored: false,
            hidden: false,
            summary,
        }
    }

    /// The same route with fields.
    #[must_use]
    pub const fn fields(mut self, fields: &'static [&'static [Field]]) -> Self {
        self.fields = fields;
        self
    }

    /// The same route for others than [`Guard::Token`].
    #[must_use]
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// The same route for fields of any name besides its own.
    #[must_use]
    pub const fn any(mut self) -> Self {
        self.takes_any = true;
        self
    }

    /// The same route, whose writes create or update.
    #[must_use]
    pub const fn creates(mut self) -> Self {
        self.creates = true;
        self
    }

    /// The same route, whose callers hear of misspelt fields in any case.
    #[must_use]
    pub const fn tells_ignored(mut self) -> Self {
        self.tells_ignored = true;
        self
    }

    /// The same route, not documented.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// The description of a field, or of a part of the path.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().copied().flatten().find(|field| field.name == name)
    }

    /// The parts of the path that requests choose, in their order.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> + use<> {
        pattern::parameters(self.pattern)
    }

    /// The fields that requests hold beside their path.
    pub fn body(&self) -> impl Iterator<Item = &'static Field> {
        let fields = self.fields.iter().copied().flatten();
        fields.filter(|field| self.parameters().all(|parameter| parameter.name != field.name))
    }

    /// Whether a request may hold a field of that name.
    pub fn takes(&self, name: &str) -> bool {
        self.takes_any || self.field(name).is_some() || self.parameters().any(|parameter| parameter.name == name)
    }

    /// The warning about fields that mean nothing here, in Vault's words (vault-api.md 0.5).
    pub fn ignored(&self, fields: &Fields) -> Option<String> {
        // The order of a map's keys is the alphabet's, as in Vault.
        let names: Vec<_> = fields.as_map().keys().map(String::as_str).filter(|name| !self.takes(name)).collect();
        (!names.is_empty()).then(|| format!("Endpoint ignored these unrecognized parameters: [{}]", names.join(" ")))
    }

    /// Whether the route is that of `path`; slashes at its end mean nothing.
    pub fn matches(&self, path: &str) -> bool {
        pattern::matches(self.pattern, path.trim_end_matches('/'))
    }
}

/// What the tables say of a request.
#[derive(Debug, Clone, Copy)]
pub enum Found {
    /// This route answers it.
    Route(&'static Route),
    /// The path is known, with other operations; the first of its routes.
    Other(&'static Route),
    /// No route has that path.
    Nothing,
}

impl Found {
    /// Finds the route of a path: the first pattern that fits counts. A pattern may come more than once, with other operations.
    pub fn among(routes: impl IntoIterator<Item = &'static Route>, path: &str, operation: Operation) -> Self {
        let mut other: Option<&'static Route> = None;
        for route in routes {
            let fits = other.map_or_else(|| route.matches(path), |other| other.pattern == route.pattern);
            if fits && route.operations.contains(&operation) {
                return Self::Route(route);
            }
            if fits {
                other = other.or(Some(route));
            }
        }
        other.map_or(Self::Nothing, Self::Other)
    }

    /// Who may ask; what no table knows is for tokens only.
    pub fn guard(&self) -> Guard {
        match self {
            Self::Route(route) => route.guard,
            Self::Other(route) if route.guard == Guard::Sudo => Guard::Sudo,
            _ => Guard::Token,
        }
    }

    /// The route, if it answers.
    ///
    /// # Errors
    /// 404 for an unknown path, 405 for an unknown operation.
    pub fn route(&self) -> Result<&'static Route, Error> {
        match self {
            Self::Route(route) => Ok(route),
            Self::Other(_) => Err(Error::unsupported_operation()),
            Self::Nothing => Err(Error::unsupported_path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use Operation::{Delete, List, Read, Write};

    use super::*;

    const TUNE: &[Field] = &[Field::seconds("max_lease_ttl", "Longest life of leases."), Field::text("path", "Where.")];

    const TABLE: &[Route] = &[
        Route::new("mounts", &[Read], "All."),
        Route::new("mounts/*path/tune", &[Read, Write], "Settings.").fields(&[TUNE]),
        Route::new("mounts/*path", &[Read, Write, Delete], "One."),
        Route::new("lookup", &[Write], "One."),
        Route::new("lookup", &[List], "Many.").guard(Guard::Sudo),
        Route::new("role/:name/id", &[Read], "Its id."),
    ];

    fn found(path: &str, operation: Operation) -> Result<&'static str, u16> {
        Found::among(TABLE, path, operation).route().map(|route| route.summary).map_err(|error| error.status())
    }

    #[test]
    fn the_first_pattern_that_fits_answers() {
        assert_eq!(found("mounts", Read), Ok("All."));
        assert_eq!(found("mounts/", Read), Ok("All."));
        assert_eq!(found("mounts/a/b/tune", Write), Ok("Settings."));
        assert_eq!(found("mounts/a/b", Delete), Ok("One."));
        assert_eq!(found("mounts/a/tune", Delete), Err(405), "the settings of a mount are no mount");
        assert_eq!(found("lookup", List), Ok("Many."));
        assert_eq!(found("lookup", Read), Err(405));
        assert_eq!(found("role/a/id", Read), Ok("Its id."));
        for unknown in ["", "role", "role/a", "role/a/b/id", "role//id", "mount"] {
            assert_eq!(found(unknown, Read), Err(404), "{unknown}");
        }
    }

    #[test]
    fn each_operation_has_its_own_guard() {
        assert_eq!(Found::among(TABLE, "lookup", Write).guard(), Guard::Token);
        assert_eq!(Found::among(TABLE, "lookup", List).guard(), Guard::Sudo);
    }

    #[test]
    fn parts_of_the_path_are_no_body() {
        let tune = &TABLE[1];
        assert_eq!(tune.body().map(|field| field.name).collect::<Vec<_>>(), ["max_lease_ttl"]);
        assert!(tune.takes("path") && tune.takes("max_lease_ttl") && !tune.takes("other"));
    }
}
