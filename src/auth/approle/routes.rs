//! The routes of the method.

use crate::auth::token_params;
use crate::wire::Operation::{self, Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const PART: &[Operation] = &[Read, Delete];

const LOGIN: &[Field] = &[
    Field::text("role_id", "Which role.").required(),
    Field::secret("secret_id", "A secret id of the role, where it binds one."),
];

const NAME: &[Field] = &[Field::text("role_name", "Which role.")];

const ROLE: &[Field] = &[
    Field::text("role_id", "What clients log in with; made when left out."),
    Field::flag("bind_secret_id", "Whether a login takes a secret id.").or("true"),
    Field::list("secret_id_bound_cidrs", "Where secret ids may be used from."),
    Field::list("bound_cidr_list", "As secret_id_bound_cidrs.").old(),
    Field::int("secret_id_num_uses", "For how many logins a secret id is good; 0 is any number.").or("0"),
    Field::seconds("secret_id_ttl", "How long a secret id is good; 0 is without end.").or("0"),
    Field::flag("local_secret_ids", "Kept and shown: nothing is replicated. Fixed when the role is made.").or("false"),
];

const SECRET_ID: &[Field] = &[
    Field::text("metadata", "Texts by name, as an object or as its JSON; shown in audit entries."),
    Field::list("cidr_list", "Where it may be used from; within what the role says."),
    Field::list("token_bound_cidrs", "Where the tokens of its logins may be used from; within what the role says."),
    Field::int("num_uses", "For how many logins it is good; at most what the role says."),
    Field::seconds("ttl", "How long it is good; at most what the role says."),
];

const OWN_ID: &[Field] = &[Field::secret("secret_id", "The text of the new secret id.").required()];

const ID: &[Field] = &[Field::secret("secret_id", "Which one.").required()];

const ACCESSOR: &[Field] = &[Field::text("secret_id_accessor", "Of which secret id.").required()];

const ROLE_ID: &[Field] = &[Field::text("role_id", "What clients log in with.").required()];

const POLICIES: &[Field] =
    &[Field::list("token_policies", "Policies of the tokens."), Field::list("policies", "As token_policies.").old()];
const BOUND: &[Field] = &[
    Field::list("secret_id_bound_cidrs", "Where secret ids may be used from."),
    Field::list("bound_cidr_list", "As secret_id_bound_cidrs.").old(),
];
const TOKEN_BOUND: &[Field] = &[Field::list("token_bound_cidrs", "Where the tokens may be used from.")];
const BIND: &[Field] = &[Field::flag("bind_secret_id", "Whether a login takes a secret id.")];
const USES: &[Field] = &[Field::int("secret_id_num_uses", "For how many logins a secret id is good.")];
const TTL: &[Field] = &[Field::seconds("secret_id_ttl", "How long a secret id is good.")];
const PERIOD: &[Field] = &[
    Field::seconds("token_period", "For how long each renewal prolongs a token, without end."),
    Field::seconds("period", "As token_period.").old(),
];
const TOKEN_USES: &[Field] = &[Field::int("token_num_uses", "How many requests a token is good for.")];
const TOKEN_TTL: &[Field] = &[Field::seconds("token_ttl", "How long a token lasts.")];
const TOKEN_MAX: &[Field] = &[Field::seconds("token_max_ttl", "How long a token can last, renewals included.")];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Write], "Logs in with a role id and a secret id.").guard(Guard::Open).fields(&[LOGIN]),
    Route::new("role", &[List], "Lists the roles."),
    Route::new("role/:role_name", PART, "Shows or removes a role.").fields(&[NAME]),
    Route::new("role/:role_name", &[Write], "Writes a role; what is left out stays as it is.")
        .fields(&[NAME, ROLE, token_params::FIELDS])
        .creates(),
    Route::new("role/:role_name/role-id", &[Read], "Shows what clients log in with.").fields(&[NAME]),
    Route::new("role/:role_name/role-id", &[Write], "Sets what clients log in with.").fields(&[NAME, ROLE_ID]),
    Route::new("role/:role_name/secret-id", &[List], "Lists the accessors of a role's secret ids.").fields(&[NAME]),
    Route::new("role/:role_name/secret-id", &[Write], "Makes a secret id.").fields(&[NAME, SECRET_ID]),
    Route::new("role/:role_name/custom-secret-id", &[Write], "Makes a secret id of the caller's own text.")
        .fields(&[NAME, OWN_ID, SECRET_ID]),
    Route::new("role/:role_name/secret-id/lookup", &[Write], "Describes a secret id.").fields(&[NAME, ID]),
    Route::new("role/:role_name/secret-id/destroy", &[Write, Delete], "Removes a secret id.").fields(&[NAME, ID]),
    Route::new("role/:role_name/secret-id-accessor/lookup", &[Write], "Describes the secret id of an accessor.")
        .fields(&[NAME, ACCESSOR]),
    Route::new("role/:role_name/secret-id-accessor/destroy", &[Write, Delete], "Removes the secret id of an accessor.")
        .fields(&[NAME, ACCESSOR]),
    Route::new("role/:role_name/policies", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/policies", &[Write], "Changes one setting.").fields(&[NAME, POLICIES]),
    Route::new("role/:role_name/bound-cidr-list", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/bound-cidr-list", &[Write], "Changes one setting.").fields(&[NAME, BOUND]),
    Route::new("role/:role_name/secret-id-bound-cidrs", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/secret-id-bound-cidrs", &[Write], "Changes one setting.").fields(&[NAME, BOUND]),
    Route::new("role/:role_name/token-bound-cidrs", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/token-bound-cidrs", &[Write], "Changes one setting.").fields(&[NAME, TOKEN_BOUND]),
    Route::new("role/:role_name/bind-secret-id", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/bind-secret-id", &[Write], "Changes one setting.").fields(&[NAME, BIND]),
    Route::new("role/:role_name/secret-id-num-uses", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/secret-id-num-uses", &[Write], "Changes one setting.").fields(&[NAME, USES]),
    Route::new("role/:role_name/secret-id-ttl", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/secret-id-ttl", &[Write], "Changes one setting.").fields(&[NAME, TTL]),
    Route::new("role/:role_name/period", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/period", &[Write], "Changes one setting.").fields(&[NAME, PERIOD]),
    Route::new("role/:role_name/token-num-uses", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/token-num-uses", &[Write], "Changes one setting.").fields(&[NAME, TOKEN_USES]),
    Route::new("role/:role_name/token-ttl", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/token-ttl", &[Write], "Changes one setting.").fields(&[NAME, TOKEN_TTL]),
    Route::new("role/:role_name/token-max-ttl", PART, "Shows or resets one setting.").fields(&[NAME]),
    Route::new("role/:role_name/token-max-ttl", &[Write], "Changes one setting.").fields(&[NAME, TOKEN_MAX]),
    Route::new("role/:role_name/local-secret-ids", &[Read], "Shows one setting.").fields(&[NAME]),
    Route::new("tidy/secret-id", &[Write], "Removes secret ids that have ended, in the background."),
];
