//! Configuration of the engine: written where it differs, removed where it is not wanted any more.

use serde_json::Value;

use super::context::Context;
use super::drift;
use super::error::Error;

/// What the engine has at `path`, if anything.
///
/// # Errors
/// When the engine cannot be asked.
pub async fn read(context: &Context, path: &str) -> Result<Option<Value>, Error> {
    let answer = context.session.read(path).await;
    let found = answer.map_err(Error::engine(format!("cannot read {path} from the engine")))?;
    Ok(found.and_then(|envelope| envelope.data))
}

/// Writes what the engine does not have yet; the read is cheaper than a write that goes to disk.
///
/// # Errors
/// When the engine cannot be asked, or refuses it.
pub async fn put(context: &Context, path: &str, body: &Value) -> Result<(), Error> {
    put_where_unsaid(context, path, body, &Value::Null).await
}

/// The same for an engine that leaves fields out of its answer whose value is that of `unsaid`.
///
/// # Errors
/// As [`put`].
pub async fn put_where_unsaid(context: &Context, path: &str, body: &Value, unsaid: &Value) -> Result<(), Error> {
    if read(context, path).await?.is_some_and(|data| !drift::differs(body, &drift::filled(data, unsaid))) {
        return Ok(());
    }
    let answer = context.session.write(path, body).await;
    answer.map(drop).map_err(Error::engine(format!("cannot write {path} to the engine")))
}

/// Removes what is at `path`, if anything.
///
/// # Errors
/// When the engine cannot be asked.
pub async fn remove(context: &Context, path: &str) -> Result<(), Error> {
    context.session.delete(path).await.map_err(Error::engine(format!("cannot remove {path} from the engine")))
}
