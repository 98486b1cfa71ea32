//! The routes below `auth/token/`, and those of `cubbyhole/`.

use crate::wire::Operation::{Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const NEW: &[Field] = &[
    Field::text("id", "The token's own text; for root tokens only, without dots."),
    Field::texts("policies", "At most those of the caller; the caller's own when left out."),
    Field::map("meta", "Shown in lookups and in audit entries."),
    Field::flag("no_parent", "Whether the token outlives the caller's; takes sudo.").or("false"),
    Field::flag("no_default_policy", "Whether the token goes without the policy \"default\".").or("false"),
    Field::flag("renewable", "Whether it can be prolonged.").or("true"),
    Field::seconds("ttl", "How long it lasts; the mount's default when left out."),
    Field::seconds("lease", "The same, under its name of old.").old(),
    Field::seconds("explicit_max_ttl", "How long it can last, renewals included."),
    Field::seconds("period", "For how long each renewal prolongs it, without end; takes sudo."),
    Field::text("display_name", "Part of the names of users that it asks for.").or("\"token\""),
    Field::int("num_uses", "How many requests it is good for; 0 is any number.").or("0"),
    Field::text("type", "service or batch.").or("\"service\""),
    Field::text("entity_alias", "A name that the role allows; the token is then of its entity."),
];

const TOKEN: &[Field] = &[Field::secret("token", "Which token.").required()];

const OWN: &[Field] = &[Field::secret("token", "The caller's own counts, whatever is sent.").old()];

const ACCESSOR: &[Field] = &[Field::text("accessor", "Of which token.").required()];

const INCREMENT: &[Field] = &[Field::seconds("increment", "For how long from now.")];

const ROLE: &[Field] = &[
    Field::list("allowed_policies", "Policies that tokens of the role may have."),
    Field::list("disallowed_policies", "Policies that they may not have."),
    Field::list("allowed_policies_glob", "The same, where * stands for any characters."),
    Field::list("disallowed_policies_glob", "The same, where * stands for any characters."),
    Field::list("allowed_entity_aliases", "Names that entity_alias may hold; * stands for any characters."),
    Field::flag("orphan", "Whether the tokens outlive their maker's.").or("false"),
    Field::flag("renewable", "Whether they can be prolonged.").or("true"),
    Field::text("path_suffix", "Added to their path, so that they can be revoked by prefix."),
    Field::text("token_type", "service, batch, default-service or default-batch.").or("\"default-service\""),
    Field::flag("token_no_default_policy", "Whether they go without the policy \"default\".").or("false"),
    Field::int("token_num_uses", "How many requests they are good for; 0 is any number.").or("0"),
    Field::seconds("token_period", "For how long each renewal prolongs them, without end."),
    Field::seconds("token_explicit_max_ttl", "How long they can last, renewals included."),
    Field::list("token_bound_cidrs", "Where they may be used from."),
    Field::seconds("period", "As token_period.").old(),
    Field::seconds("explicit_max_ttl", "As token_explicit_max_ttl.").old(),
    Field::list("bound_cidrs", "As token_bound_cidrs.").old(),
];

/// `auth/token/…`.
pub(super) const TOKENS: &[Route] = &[
    Route::new("create", &[Write], "Makes a token.").fields(&[NEW]),
    Route::new("create-orphan", &[Write], "Makes a token that outlives the caller's.").fields(&[NEW]),
    Route::new("create/:role_name", &[Write], "Makes a token of a role.").fields(&[NEW]),
    Route::new("roles", &[List], "Lists the roles."),
    Route::new("roles/:role_name", &[Read, Delete], "Shows or removes a role."),
    Route::new("roles/:role_name", &[Write], "Writes a role; what is left out stays as it is.")
        .fields(&[ROLE])
        .creates(),
    Route::new("lookup", &[Write], "Describes a token.").fields(&[TOKEN]),
    Route::new("lookup-self", &[Read, Write], "Describes the caller's token.").fields(&[OWN]),
    Route::new("lookup-accessor", &[Write], "Describes the token of an accessor.").fields(&[ACCESSOR]),
    Route::new("renew", &[Write], "Prolongs a token.").fields(&[TOKEN, INCREMENT]),
    Route::new("renew-self", &[Write], "Prolongs the caller's token.").fields(&[OWN, INCREMENT]),
    Route::new("renew-accessor", &[Write], "Prolongs the token of an accessor.").fields(&[ACCESSOR, INCREMENT]),
    Route::new("revoke", &[Write], "Revokes a token, its children and their leases.").fields(&[TOKEN]),
    Route::new("revoke-self", &[Write], "Revokes the caller's token, its children and their leases.").fields(&[OWN]),
    Route::new("revoke-accessor", &[Write], "Revokes the token of an accessor, its children and their leases.")
        .fields(&[ACCESSOR]),
    Route::new("revoke-orphan", &[Write], "Revokes a token and its leases, and leaves its children.")
        .guard(Guard::Sudo)
        .fields(&[TOKEN]),
    Route::new("tidy", &[Write], "Cleans the indexes of tokens up in the background."),
    Route::new("accessors", &[List], "Lists the accessors of all tokens.").guard(Guard::Sudo),
];

/// `cubbyhole/…`.
pub(super) const CUBBYHOLE: &[Route] = &[
    Route::new("", &[List], "Lists what the token keeps."),
    Route::new("*path", &[Read, List, Delete], "Shows, lists or removes what the token keeps."),
    Route::new("*path", &[Write], "Keeps an object for as long as the token lasts.").any().creates(),
];
