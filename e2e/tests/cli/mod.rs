//! The command line as its users type it: the built program, under its own name and under that of Vault's, against a real server.

mod families;
mod keys;
mod leases;
mod pgp;
mod serving;
mod shell;
mod silence;
