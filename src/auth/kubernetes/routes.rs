//! The routes of the method.

use crate::auth::token_params;
use crate::wire::Operation::{Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const LOGIN: &[Field] =
    &[Field::text("role", "Which role.").required(), Field::secret("jwt", "A token of the ServiceAccount.").required()];

const CONFIG: &[Field] = &[
    Field::text("kubernetes_host", "The API server's URL.").required(),
    Field::text("kubernetes_ca_cert", "Its authority in PEM; the pod's own when left out."),
    Field::secret("token_reviewer_jwt", "What tokens are reviewed with; the pod's own, or the reviewed one itself."),
    Field::list("pem_keys", "Public keys or certificates in PEM: one must have signed a token before it is reviewed."),
    Field::text("issuer", "Kept and shown.").old(),
    Field::flag("disable_iss_validation", "Kept and shown: the cluster checks the issuer.").or("true").old(),
    Field::flag("disable_local_ca_jwt", "Whether the pod's own authority and token are left alone.").or("false"),
];

const ROLE: &[Field] = &[
    Field::text("name", "Which role."),
    Field::list("bound_service_account_names", "ServiceAccounts that may log in, in all the namespaces."),
    Field::list("bound_service_account_namespaces", "Their namespaces."),
    Field::text(
        "bound_service_account_namespace_selector",
        "A LabelSelector, JSON or YAML, for namespaces beside those that are listed.",
    ),
    Field::list("bound_service_accounts", "NAMESPACE/NAME, each for itself; ours, beside Vault's two lists."),
    Field::text("audience", "What the tokens must be for; any when left out."),
    Field::text("alias_name_source", "serviceaccount_uid or serviceaccount_name.").or("\"serviceaccount_uid\""),
    Field::text("lease_owner", "token or workload: whose end ends the leases of its logins; ours.").or("\"token\""),
];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Write], "Logs in with a token of a ServiceAccount.").guard(Guard::Open).fields(&[LOGIN]),
    Route::new("config", &[Read], "Shows where the cluster is."),
    Route::new("config", &[Write], "Sets where the cluster is.").fields(&[CONFIG]),
    Route::new("role", &[List], "Lists the roles."),
    Route::new("role/:name", &[Read, Delete], "Shows or removes a role."),
    Route::new("role/:name", &[Write], "Writes a role; what is left out stays as it is.")
        .fields(&[ROLE, token_params::FIELDS])
        .creates(),
];
