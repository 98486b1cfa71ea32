//! `sys/capabilities`, `-self` and `-accessor`, and `sys/internal/ui/resultant-acl`: what a token may do.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::engine::core::Core;
use crate::engine::policies::Access;
use crate::engine::request::Reply;
use crate::engine::session::Session;
use crate::wire::{Answer, Error, Fields, Kind, Operation};

impl Core {
    /// `which` is the path below `sys/`.
    pub(super) async fn sys_capabilities(
        &self,
        which: &str,
        operation: Operation,
        fields: &Fields,
        session: &Session,
    ) -> Result<Reply, Error> {
        if operation != Operation::Write {
            return Err(Error::unsupported_operation());
        }
        let paths = match fields.comma_list("paths")? {
            Some(paths) => paths,
            None => fields.comma_list("path")?.unwrap_or_default(),
        };
        if paths.is_empty() {
            return Err(Error::bad_request("paths must be supplied"));
        }
        let other = match which {
            "capabilities" => Some(self.access_of_token(fields).await?),
            "capabilities-accessor" => Some(self.access_of_accessor(fields).await?),
            _ => None,
        };
        let of =
            |path: &str| other.as_ref().map_or_else(|| session.capabilities(path), |other| other.capabilities(path));
        let mut data: Map<_, _> = paths.iter().map(|path| (path.clone(), json!(of(path)))).collect();
        if let [path] = &paths[..] {
            data.insert("capabilities".into(), json!(of(path)));
        }
        Ok(Reply::duplicated(Answer::data(data.into())))
    }

    async fn access_of_token(&self, fields: &Fields) -> Result<Arc<Access>, Error> {
        let token = fields.secret("token")?.filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| Error::bad_request("no token found"))?;
        let found = self.tokens.find(&token).await?.ok_or_else(|| Error::listed(Kind::BadRequest, "invalid token"))?;
        self.access_of(&found.token).await
    }

    async fn access_of_accessor(&self, fields: &Fields) -> Result<Arc<Access>, Error> {
        let accessor = fields.required("accessor")?;
        let found = self.tokens.find_accessor(&accessor).await?;
        let found = found.ok_or_else(|| Error::listed(Kind::BadRequest, "invalid accessor"))?;
        self.access_of(&found.token).await
    }

    /// For user interfaces: every rule that the caller's policies make together.
    pub(super) fn resultant_acl(&self, operation: Operation, session: &Session) -> Result<Reply, Error> {
        if operation != Operation::Read {
            return Err(Error::unsupported_operation());
        }
        let (mut exact, mut glob) = (Map::new(), Map::new());
        for (path, prefix, capabilities) in session.rules() {
            let rule: Value = json!({ "capabilities": capabilities });
            if prefix {
                glob.insert(path, rule)
            } else {
                exact.insert(path, rule)
            };
        }
        Ok(Reply::answer(Answer::data(json!({
            "root": session.is_root(), "exact_paths": exact, "glob_paths": glob, "chroot_namespace": self.place.path,
        }))))
    }
}
