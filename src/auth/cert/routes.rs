//! The routes of the method.

use crate::auth::token_params;
use crate::wire::Operation::{Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const LOGIN: &[Field] = &[Field::text("name", "The only role that is looked at; all are when left out.")];

const CONFIG: &[Field] = &[
    Field::flag("disable_binding", "Whether tokens are renewed without the certificate of their login.").or("false"),
    Field::flag("enable_identity_alias_metadata", "Whether the alias has what the token's metadata has.").or("false"),
    Field::int("ocsp_cache_size", "How many answers of OCSP responders are kept.").or("100"),
];

const NAME: &[Field] = &[Field::text("name", "Which one.")];

const ROLE: &[Field] = &[
    Field::text("certificate", "What is trusted, in PEM: authorities, or clients' own certificates."),
    Field::text("display_name", "What tokens are called; the role's name when left out."),
    Field::list("allowed_names", "Patterns of which the common name, a DNS name or a mail address fits one."),
    Field::list("allowed_common_names", "Patterns of which the common name fits one."),
    Field::list("allowed_dns_sans", "Patterns of which a DNS name fits one."),
    Field::list("allowed_email_sans", "Patterns of which a mail address fits one."),
    Field::list("allowed_uri_sans", "Patterns of which a URI fits one."),
    Field::list("allowed_organizational_units", "Patterns of which an organisational unit fits one."),
    Field::list("required_extensions", "OID:PATTERN for texts, hex:OID:PATTERN for anything; all must fit."),
    Field::list("allowed_metadata_extensions", "OIDs whose texts go into the token's metadata."),
    Field::flag("ocsp_enabled", "Whether OCSP responders are asked about each certificate.").or("false"),
    Field::text("ocsp_ca_certificates", "Who besides the issuer may have certified a responder, in PEM."),
    Field::list("ocsp_servers_override", "Responders, in place of those that certificates name."),
    Field::flag("ocsp_fail_open", "Whether certificates pass that no responder knows about.").or("false"),
    Field::flag("ocsp_query_all_servers", "Whether all responders are asked; one that says no is enough.").or("false"),
    Field::int("ocsp_max_retries", "Kept and shown: each responder is asked once.").or("4"),
    Field::seconds("ocsp_this_update_max_age", "How old answers may be; 0 is as old as they say themselves.").or("0"),
];

const CRL: &[Field] = &[
    Field::text("crl", "The list in PEM."),
    Field::text("url", "Where it is published, in place of the list itself."),
];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Write], "Logs in with the certificate of the TLS connection.")
        .guard(Guard::Open)
        .fields(&[LOGIN]),
    Route::new("config", &[Read], "Shows the settings."),
    Route::new("config", &[Write], "Changes the settings.").fields(&[CONFIG]),
    Route::new("certs", &[List], "Lists the roles."),
    Route::new("certs/:name", &[Read, Delete], "Shows or removes a role.").fields(&[NAME]),
    Route::new("certs/:name", &[Write], "Writes a role; what is left out stays as it is.")
        .fields(&[NAME, ROLE, token_params::FIELDS])
        .creates(),
    Route::new("crls", &[List], "Lists the revocation lists."),
    Route::new("crls/:name", &[Read, Delete], "Shows or removes a revocation list.").fields(&[NAME]),
    Route::new("crls/:name", &[Write], "Writes a revocation list.").fields(&[NAME, CRL]).creates(),
];
