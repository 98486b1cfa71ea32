//! Paths whose names are taken in any case: a rule about one spelling is a rule about them all, or it would protect nothing.

use super::core::Core;
use crate::wire::Error;

/// Where the engine itself keeps names in lower case, or compares them so.
const IN_ANY_CASE: &[&str] = &[
    "sys/policy/",
    "sys/policies/acl/",
    "sys/config/auditing/request-headers/",
    "identity/entity/name/",
    "identity/group/name/",
];

/// A path in the one spelling that stands for all that mean the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spelling {
    pub path: String,
    /// The segment from which on it is in lower case; `None`: only spaces were changed.
    pub lower_from: Option<usize>,
}

impl Core {
    /// The spelling of a path; `None` where each means something else.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn spelling(&self, path: &str) -> Result<Option<Spelling>, Error> {
        if IN_ANY_CASE.iter().any(|lead| path.starts_with(lead)) {
            let (area, rest) = path.split_once('/').unwrap_or((path, ""));
            return Ok(Some(Spelling { path: format!("{area}/{}", rest.to_lowercase()), lower_from: Some(1) }));
        }
        // The names of token roles differ by case.
        let Some(below) = path.strip_prefix("auth/").filter(|below| !below.starts_with("token/")) else {
            return Ok(None);
        };
        let Some((mounted, rest)) = self.methods.route(below) else { return Ok(None) };
        let mount = &path[..path.len() - rest.len()];
        let names = mounted.plugin.names(rest).await?;
        let path = format!("{mount}{}", names.path);
        Ok(Some(Spelling { path, lower_from: names.in_any_case.then(|| mount.matches('/').count()) }))
    }
}
