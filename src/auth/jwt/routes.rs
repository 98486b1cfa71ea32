//! The routes of the method.

use crate::auth::token_params;
use crate::wire::Operation::{Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const LOGIN: &[Field] = &[
    Field::text("role", "Which role; the configured one when left out."),
    Field::secret("jwt", "The signed token.").required(),
];

const AUTH_URL: &[Field] = &[
    Field::text("role", "Which role; the configured one when left out."),
    Field::text("redirect_uri", "Where the provider sends the browser back to; one that the role allows."),
    Field::secret("client_nonce", "Chosen by the client, which shows it again at the callback."),
];

const POLL: &[Field] = &[
    Field::secret("state", "As oidc/auth_url answered it.").required(),
    Field::secret("client_nonce", "As at oidc/auth_url.").required(),
];

const CALLBACK: &[Field] = &[
    Field::secret("state", "As in the address that the browser was sent to.").required(),
    Field::secret("code", "What the provider gave the browser."),
    Field::secret("id_token", "The same, in a form."),
    Field::text("confirmation", "That the person in front of the browser knows whose login it is."),
    Field::secret("client_nonce", "As at oidc/auth_url."),
    Field::text("error", "What the provider says in place of a code."),
];

const CONFIG: &[Field] = &[
    Field::text("oidc_discovery_url", "The provider's address, without /.well-known."),
    Field::text("oidc_discovery_ca_pem", "The provider's authority in PEM; the system's when left out."),
    Field::text("oidc_client_id", "What the provider knows the engine as."),
    Field::secret("oidc_client_secret", "Its password at the provider."),
    Field::text("oidc_response_mode", "query or form_post: how the provider's answer comes back.").or("\"query\""),
    Field::list("oidc_response_types", "code, or with form_post id_token.").or("[\"code\"]"),
    Field::text("jwks_url", "Where a set of keys is published."),
    Field::text("jwks_ca_pem", "The authority of that server in PEM; the system's when left out."),
    Field::object("jwks_pairs", "Several of both: a list of {\"jwks_url\", \"jwks_ca_pem\"}."),
    Field::list("jwt_validation_pubkeys", "Keys, or certificates of keys, in PEM."),
    Field::list("jwt_supported_algs", "Which signatures are taken; all that are offered when left out."),
    Field::text("bound_issuer", "Whom tokens must be of; the provider when left out."),
    Field::text("default_role", "The role of logins that name none."),
    Field::object("provider_config", "Kept and shown: claims are taken from tokens and userinfo alone."),
    Field::flag("namespace_in_state", "Kept and shown.").or("true"),
    Field::flag("skip_jwks_validation", "Takes the configuration although its keys are out of reach.").or("false"),
];

const NAME: &[Field] = &[Field::text("name", "Which role.")];

const ROLE: &[Field] = &[
    Field::text("role_type", "oidc or jwt: with a browser, or with a token at hand.").or("\"oidc\""),
    Field::text("user_claim", "The claim that names the caller."),
    Field::flag("user_claim_json_pointer", "Whether user_claim is a JSON pointer.").or("false"),
    Field::list("bound_audiences", "Whom tokens must be for; one of them."),
    Field::text("bound_subject", "Whom tokens must be about."),
    Field::object("bound_claims", "Values that claims must have: one or a list for each name or JSON pointer."),
    Field::text("bound_claims_type", "string or glob: how they are compared.").or("\"string\""),
    Field::map("claim_mappings", "Claims that are told in the token's metadata, and by which name."),
    Field::text("groups_claim", "The claim that lists the caller's groups."),
    Field::seconds("expiration_leeway", "How long tokens without an end are good; -1 is not at all.").or("150"),
    Field::seconds("not_before_leeway", "How long before their end tokens without a beginning are good.").or("150"),
    Field::seconds("clock_skew_leeway", "How far clocks may differ; -1 is not at all.").or("60"),
    Field::list("allowed_redirect_uris", "Where browsers may be sent back to; on one's own machine with any port."),
    Field::list("oidc_scopes", "What the provider is asked for besides openid."),
    Field::flag("verbose_oidc_logging", "Whether the names of claims are logged at debug.").or("false"),
    Field::seconds("max_age", "How long ago people may have shown their password to the provider."),
    Field::text("callback_mode", "client, direct or device: how the provider's answer gets to the engine.")
        .or("\"client\""),
    Field::seconds("poll_interval", "Between two questions of a program, with direct and device.").or("5"),
    Field::flag("oidc_disable_confirmation", "Whether direct logins do without a click that confirms them.")
        .or("false"),
];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Write], "Logs in with a signed token.").guard(Guard::Open).fields(&[LOGIN]),
    Route::new("oidc/auth_url", &[Write], "Tells where to send a browser for a login.")
        .guard(Guard::Open)
        .fields(&[AUTH_URL]),
    Route::new("oidc/callback", &[Read, Write], "Ends the login of a browser that came back.")
        .guard(Guard::Open)
        .fields(&[CALLBACK]),
    Route::new("oidc/poll", &[Write], "Ends the login of a program that waits for a browser elsewhere.")
        .guard(Guard::Open)
        .fields(&[POLL]),
    Route::new("config", &[Read], "Shows where keys come from."),
    Route::new("config", &[Write], "Sets where keys come from.").fields(&[CONFIG]),
    Route::new("role", &[List], "Lists the roles."),
    Route::new("role/:name", &[Read, Delete], "Shows or removes a role.").fields(&[NAME]),
    Route::new("role/:name", &[Write], "Writes a role; what is left out stays as it is.")
        .fields(&[NAME, ROLE, token_params::FIELDS])
        .creates(),
];
