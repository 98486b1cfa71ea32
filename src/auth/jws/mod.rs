//! Signed tokens (RFC 7515): public keys out of PEM and JWKs, and whether one of them signed a token.

mod key;
#[cfg(test)]
pub mod signer;
mod token;

pub use key::{ALGORITHMS, Error as KeyError, Key};
pub use token::{Error as TokenError, Unverified};
