//! Answers for one person's eyes: shares and root tokens, encrypted with PGP keys that come with the request.

#[cfg(not(feature = "pgp"))]
mod absent;
#[cfg(feature = "pgp")]
mod recipient;
#[cfg(test)]
#[cfg(feature = "pgp")]
pub(super) mod testing;

use std::sync::Arc;

use serde_json::{Value, json};

#[cfg(not(feature = "pgp"))]
pub use self::absent::Recipient;
#[cfg(feature = "pgp")]
pub use self::recipient::Recipient;
use super::shares;
use crate::base::{Random, Secret, Timestamp};
use crate::wire::{Error, Fields};

/// A share, or a message, in hex and in base64.
pub(in crate::engine) type Shown = (Secret, Secret);

/// Who reads what an initialisation makes; whatever has nobody is answered in clear.
#[derive(Default)]
pub(in crate::engine) struct Readers {
    /// One for each share, in their order, or nobody.
    pub(in crate::engine) shares: Vec<Recipient>,
    /// Of the root token.
    pub(in crate::engine) root_token: Option<Recipient>,
}

/// The keys in the list `name`, of which there must be one for each of `shares`; empty when none were sent. `mismatch` is
/// what Vault says to another number.
///
/// # Errors
/// 400 for another number, or a key that nothing can be encrypted to.
pub(in crate::engine) async fn recipients(
    fields: &Fields,
    name: &'static str,
    (shares, mismatch): (u8, &str),
    now: Timestamp,
    random: &Arc<dyn Random>,
) -> Result<Vec<Recipient>, Error> {
    let keys = fields.comma_list(name)?.unwrap_or_default();
    if !keys.is_empty() && keys.len() != usize::from(shares) {
        let text = format!("{mismatch}: {name} has {}, and there are {shares} shares: send one for each", keys.len());
        return Err(Error::bad_request(text));
    }
    let (of, random) = (keys.len(), random.clone());
    let read = move || {
        let keys = keys.iter().enumerate();
        keys.map(|(at, key)| Recipient::parse(&format!("{name}: key {} of {of}", at + 1), key, now, &*random)).collect()
    };
    blocking(name, read).await
}

/// The key in the field `name`.
///
/// # Errors
/// 400 for a key that nothing can be encrypted to.
pub(in crate::engine) async fn recipient(
    fields: &Fields,
    name: &'static str,
    now: Timestamp,
    random: &Arc<dyn Random>,
) -> Result<Option<Recipient>, Error> {
    let Some(key) = fields.string(name)?.filter(|key| !key.is_empty()) else { return Ok(None) };
    let random = random.clone();
    blocking(name, move || Recipient::parse(name, &key, now, &*random)).await.map(Some)
}

/// Checking a key's signatures takes milliseconds, and much longer if somebody means it to: not on the threads that serve
/// requests. What the library does with a key that was made to break it, it does there.
async fn blocking<T: Send + 'static>(
    name: &str,
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(read).await;
    done.map_err(|error| Error::bad_request(format!("{name}: reading the key failed")).caused_by(error))?
}

/// The shares as they are answered: each for its reader, or all in clear when there are none. What is encrypted is the
/// share's hexadecimal text, as in Vault.
///
/// # Errors
/// What the library says.
pub(in crate::engine) fn for_readers(
    made: Vec<Shown>,
    readers: &[Recipient],
    random: &dyn Random,
) -> Result<Vec<Shown>, Error> {
    if readers.is_empty() {
        return Ok(made);
    }
    readers.iter().zip(&made).map(|(reader, (hex, _))| Ok(shares::show(&reader.encrypt(hex, random)?))).collect()
}

/// A message in base64.
///
/// # Errors
/// What the library says.
pub(in crate::engine) fn message(plain: &Secret, reader: &Recipient, random: &dyn Random) -> Result<Secret, Error> {
    Ok(shares::show(&reader.encrypt(plain, random)?).1)
}

/// Whose the answers are: `pgp_fingerprints`, null when they are in clear.
pub(in crate::engine) fn fingerprints(readers: &[Recipient]) -> Value {
    match readers {
        [] => Value::Null,
        readers => json!(readers.iter().map(Recipient::fingerprint).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SystemRandom;

    #[tokio::test]
    async fn whoever_names_no_key_is_answered_in_clear_and_nobody_else() {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let read = async |keys: Value| {
            let fields = Fields::from(json!({ "k": keys }).as_object().cloned().unwrap_or_default());
            recipients(&fields, "k", (1, "incorrect number"), Timestamp::UNIX_EPOCH, &random).await
        };
        for none in [json!(null), json!([]), json!("")] {
            assert!(read(none.clone()).await.unwrap().is_empty(), "{none}");
        }
        for wrong in [json!([""]), json!(["", ""]), json!("a,b"), json!(["a"]), json!({}), json!([[]])] {
            assert_eq!(read(wrong.clone()).await.err().unwrap().status(), 400, "{wrong}");
        }
    }
}
