//! The finalizer of our objects, put there and taken away without touching those of others.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::context::Context;
use super::error::{self, Error};
use super::kind::{Kind, api, describe};
use crate::api::names::{FINALIZER, MANAGER};

/// How often a write is tried that others have come before.
const RACES: usize = 4;

/// Puts the finalizer to the end of the list, or takes it away. Returns whether the object is still there; one that was deleted and
/// made again meanwhile is another.
///
/// A merge of the list, on condition that the object is the version that the list was read from.
///
/// # Errors
/// What Kubernetes says.
pub async fn set<K: Kind>(object: &K, context: &Context, present: bool) -> Result<bool, Error> {
    let (api, name) = (api(object, context), object.name_any());
    let mut version = (object.resource_version(), object.finalizers().to_vec());
    for race in 1.. {
        let Some(list) = changed(&version.1, present) else { break };
        let patch = json!({ "metadata": { "resourceVersion": version.0, "finalizers": list } });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(&name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => break,
            Err(error) if error::is_not_found(&error) => return Ok(false),
            Err(error) if error::is_conflict(&error) && race < RACES => {}
            Err(error) => return Err(refused(object, error)),
        }
        match api.get_metadata_opt(&name).await.map_err(|error| refused(object, error))? {
            Some(now) if now.uid() == object.uid() => version = (now.resource_version(), now.finalizers().to_vec()),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn refused<K: Kind>(object: &K, error: kube::Error) -> Error {
    Error::kube(format!("cannot set the finalizer of {}", describe(object)))(error)
}

/// The list as it is to be; `None` if it is so already.
fn changed(list: &[String], present: bool) -> Option<Vec<String>> {
    if list.iter().any(|finalizer| finalizer == FINALIZER) == present {
        return None;
    }
    let mut list: Vec<String> = list.iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
    if present {
        list.push(FINALIZER.to_owned());
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finalizers_of_others_stay_as_they_are() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (theirs, both) = (list(&["a/b", "c/d"]), list(&["a/b", "c/d", FINALIZER]));
        assert_eq!(changed(&theirs, true).as_ref(), Some(&both));
        assert_eq!(changed(&both, false).as_ref(), Some(&theirs));
        assert_eq!((changed(&both, true), changed(&theirs, false)), (None, None));
    }
}
