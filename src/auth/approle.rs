//! Login with a role id and a secret id.
