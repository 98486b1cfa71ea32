//! Routes of policies and of what they allow.

use crate::wire::Operation::{Delete, List, Read, Write};
use crate::wire::{Field, Route};

const ACL: &[Field] = &[Field::text("policy", "The rules, in HCL or JSON, or either in base64.").required()];

const LEGACY: &[Field] = &[
    Field::text("policy", "The rules, in HCL or JSON, or either in base64."),
    Field::text("rules", "The same, under its name of old.").old(),
];

const PASSWORD: &[Field] = &[Field::text("policy", "Length and character sets, in HCL or JSON.").required()];

const PATHS: &[Field] =
    &[Field::list("paths", "What is asked about."), Field::list("path", "The same, under its name of old.").old()];

const TOKEN: &[Field] = &[Field::secret("token", "Whose capabilities.").required()];

const SELF: &[Field] = &[Field::secret("token", "The caller's own counts, whatever is sent.").old()];

const ACCESSOR: &[Field] = &[Field::text("accessor", "Of the token whose capabilities.").required()];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("policy", &[Read, List], "Lists the policies."),
    Route::new("policy/*name", &[Read, Delete], "Shows or removes a policy."),
    Route::new("policy/*name", &[Write], "Writes a policy.").fields(&[LEGACY]),
    Route::new("policies/acl", &[List], "Lists the policies."),
    Route::new("policies/acl/*name", &[Read, Delete], "Shows or removes a policy."),
    Route::new("policies/acl/*name", &[Write], "Writes a policy.").fields(&[LEGACY, ACL]),
    Route::new("policies/password", &[List], "Lists the password policies."),
    Route::new("policies/password/:name", &[Read, Delete], "Shows or removes a password policy."),
    Route::new("policies/password/:name", &[Write], "Writes a password policy.").fields(&[PASSWORD]),
    Route::new("policies/password/:name/generate", &[Read], "Makes a password by a policy; it is not kept."),
    Route::new("capabilities", &[Write], "Tells what a token may do.").fields(&[TOKEN, PATHS]),
    Route::new("capabilities-self", &[Write], "Tells what the caller may do.").fields(&[SELF, PATHS]),
    Route::new("capabilities-accessor", &[Write], "Tells what the token of an accessor may do.")
        .fields(&[ACCESSOR, PATHS]),
    Route::new("internal/ui/resultant-acl", &[Read], "Lists the rules that the caller's policies make together."),
];
