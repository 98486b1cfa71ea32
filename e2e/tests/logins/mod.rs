//! Logins against what people and machines really log in with: a directory, an OpenID provider, TLS certificates.

mod cert;
mod ldap;
mod oidc;
