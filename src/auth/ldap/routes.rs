//! The routes of the method.

use crate::auth::token_params;
use crate::wire::Operation::{Delete, List, Read, Write};
use crate::wire::{Field, Guard, Route};

const USERNAME: &[Field] = &[Field::text("username", "Whose.")];

const LOGIN: &[Field] = &[Field::secret("password", "The person's in the directory.").required()];

const CONFIG: &[Field] = &[
    Field::text("url", "The servers with commas between them, ldap:// or ldaps://, tried in this order.")
        .or("\"ldap://127.0.0.1\""),
    Field::text("binddn", "The account that looks people and groups up."),
    Field::secret("bindpass", "Its password; never shown again."),
    Field::text("userdn", "Below which people are."),
    Field::text("userattr", "The attribute that names them.").or("\"cn\""),
    Field::text("userfilter", "How they are found.").or("\"({{.UserAttr}}={{.Username}})\""),
    Field::text("upndomain", "The domain of names such as person@domain."),
    Field::flag("discoverdn", "Whether people are looked up without an account.").or("false"),
    Field::text("groupdn", "Below which groups are."),
    Field::text("groupfilter", "How a person's groups are found; .Username, .UserDN and .UserAttr stand for theirs."),
    Field::text("groupattr", "The attribute that names groups.").or("\"cn\""),
    Field::flag(
        "use_token_groups",
        "Whether Active Directory's tokenGroups tell a person's groups, in groupfilter's place.",
    )
    .or("false"),
    Field::flag("anonymous_group_search", "Whether groups are looked up by nobody in particular.").or("false"),
    Field::text("certificate", "The servers' authority in PEM; the system's when left out."),
    Field::text("client_tls_cert", "The engine's own certificate in PEM."),
    Field::secret("client_tls_key", "Its key; never shown again."),
    Field::flag("starttls", "Whether ldap:// connections turn to TLS before anything is said.").or("false"),
    Field::flag("insecure_tls", "Whether any certificate is taken: whoever is between sees all passwords.").or("false"),
    Field::text("tls_min_version", "tls12 or tls13.").or("\"tls12\""),
    Field::text("tls_max_version", "tls12 or tls13.").or("\"tls12\""),
    Field::flag("deny_null_bind", "Whether logins without a password are refused.").or("true"),
    Field::flag("case_sensitive_names", "Whether names differ by case.").or("false"),
    Field::flag("username_as_alias", "Whether the identity knows people by the name that they typed.").or("false"),
    Field::text("dereference_aliases", "never, searching, finding or always.").or("\"never\""),
    Field::seconds("request_timeout", "For each question.").or("90"),
    Field::seconds("connection_timeout", "For connecting to one server.").or("30"),
    Field::int("max_page_size", "How many entries an answer holds; 0 is all.").or("0"),
];

const USER: &[Field] = &[
    Field::list("groups", "Groups that only the engine knows."),
    Field::list("policies", "What the person may do besides what its groups may."),
];

const GROUP: &[Field] = &[Field::list("policies", "What its members may do.")];

const NAME: &[Field] = &[Field::text("name", "Which one.")];

/// The routes.
pub(super) const ROUTES: &[Route] = &[
    Route::new("login/*username", &[Write], "Logs in with a password of the directory.")
        .guard(Guard::Open)
        .fields(&[USERNAME, LOGIN]),
    Route::new("config", &[Read], "Shows where the directory is."),
    Route::new("config", &[Write], "Sets where the directory is; what is left out stays as it is.")
        .fields(&[CONFIG, token_params::FIELDS]),
    Route::new("config/rotate-root", &[Write], "Changes the password of binddn to one that only the engine knows."),
    Route::new("users", &[List], "Lists the people of whom something is noted."),
    Route::new("users/*name", &[Read, Delete], "Shows or removes what is noted of a person.").fields(&[NAME]),
    Route::new("users/*name", &[Write], "Notes something of a person.").fields(&[NAME, USER]).creates(),
    Route::new("groups", &[List], "Lists the groups of which something is noted."),
    Route::new("groups/*name", &[Read, Delete], "Shows or removes what is noted of a group.").fields(&[NAME]),
    Route::new("groups/*name", &[Write], "Notes something of a group.").fields(&[NAME, GROUP]).creates(),
];
