//! The routes of the method.

use crate::auth::token_params;
use crate::wire::Operation::{Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const NAME: &[Field] = &[Field::text("username", "Which user.")];

const LOGIN: &[Field] = &[Field::secret("password", "The user's.").required()];

const PASSWORD: &[Field] = &[
    Field::secret("password", "What the user logs in with; at most 72 bytes."),
    Field::secret("password_hash", "Its bcrypt hash, in place of the password."),
];

const POLICIES: &[Field] =
    &[Field::list("token_policies", "Policies of the tokens."), Field::list("policies", "As token_policies.").old()];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("login/:username", &[Write], "Logs in with a password.").guard(Guard::Open).fields(&[NAME, LOGIN]),
    Route::new("users", &[List], "Lists the users."),
    Route::new("users/:username", &[Read, Delete], "Shows or removes a user.").fields(&[NAME]),
    Route::new("users/:username", &[Write], "Writes a user; what is left out stays as it is.")
        .fields(&[NAME, PASSWORD, token_params::FIELDS])
        .creates(),
    Route::new("users/:username/password", &[Write], "Changes a user's password.").fields(&[NAME, PASSWORD]),
    Route::new("users/:username/policies", &[Write], "Changes the policies of a user's tokens.")
        .fields(&[NAME, POLICIES]),
];
