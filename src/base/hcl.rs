//! HCL 1, the language of Vault's configuration files and policies, read into JSON values.
