//! `sys/lessor/users/…` and `sys/lessor/workloads…`: from a database user to who holds it, and back.

use serde_json::{Value, json};

use crate::auth::{LoginMount, Workload};
use crate::base::Timestamp;
use crate::engine::core::Core;
use crate::engine::lease::trace::{Census, Held};
use crate::engine::lease::{Lease, Owner};
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Kind};

impl Core {
    /// `GET users/<username>`: the leases of that user, each with its holder.
    pub(super) async fn holders_of_user(&self, username: &str) -> Result<Reply, Error> {
        let leases = self.leases.of_user(username).await?;
        if leases.is_empty() {
            let text = format!("no lease names a user {username:?}: it is not one of ours, or its life is over");
            return Err(Error::new(Kind::NotFound, text));
        }
        self.rows("users", &leases).await
    }

    /// `GET workloads/<uid>`: the leases of that workload.
    pub(super) async fn users_of_uid(&self, uid: &str) -> Result<Reply, Error> {
        self.rows("leases", &self.leases.of_workload(uid).await?).await
    }

    /// `GET workloads/<namespace>/<name>`: the same by name.
    pub(super) async fn users_of_name(&self, namespace: &str, name: &str) -> Result<Reply, Error> {
        self.rows("leases", &self.leases.of_named(namespace, name).await?).await
    }

    /// `GET workloads`: who owns leases; with `since` also the leases that were asked for from that moment on, with `logins` only
    /// the workloads of these clusters, of namespaces below as well.
    pub(super) async fn workloads(&self, fields: &Fields) -> Result<Reply, Error> {
        let wrong = |text: String| Error::bad_request(format!("since: {text:?} is no time like 2026-01-31T12:00:00Z"));
        let since = match fields.string("since")? {
            Some(text) => Some(text.parse::<Timestamp>().map_err(|error| wrong(text).caused_by(error))?),
            None => None,
        };
        // Taken before the look: what is asked for meanwhile belongs to the next one.
        let now = self.shared.clock.now();
        let (mut workloads, mut issued) = (Vec::new(), Vec::new());
        let mut show = |namespace: &str, census: Census| {
            workloads.extend(census.workloads.iter().map(|found| counted(namespace, found)));
            issued.extend(census.recent.iter().map(|held| recent(namespace, held)));
        };
        match fields.comma_list("logins")? {
            None => show("", self.leases.census(since).await?),
            Some(logins) => {
                for part in self.parts_of_clusters(&logins).await? {
                    let mut census = part.leases.census(since).await?;
                    census.workloads.retain(|(workload, _)| part.logins.cover(workload));
                    census.recent.retain(|held| part.logins.cover(&held.grant.workload));
                    show(&part.namespace, census);
                }
            }
        }
        let mut data = json!({ "workloads": workloads, "time": now.to_string() });
        if since.is_some() {
            data["issued"] = issued.into();
        }
        Ok(Reply::answer(Answer::data(data)))
    }

    /// Ends workloads of the clusters that these login mounts are of, here and in the namespaces below.
    pub(super) async fn end_in_clusters(&self, uids: &[String], logins: &[String]) -> Result<usize, Error> {
        let mut ended = 0;
        for part in self.parts_of_clusters(logins).await? {
            ended += part.leases.end_workloads(uids, Some(&part.logins)).await?;
        }
        Ok(ended)
    }

    async fn rows(&self, key: &str, leases: &[Lease]) -> Result<Reply, Error> {
        let mut rows = Vec::new();
        for lease in leases {
            rows.push(self.row(lease).await?);
        }
        Ok(Reply::answer(Answer::data(json!({ key: rows }))))
    }

    async fn row(&self, lease: &Lease) -> Result<Value, Error> {
        let now = self.shared.clock.now();
        let (path, handle) = lease.shown();
        let connection = lease.group.split_once('.').map_or("", |(_, connection)| connection);
        Ok(json!({
            "username": lease.username(), "path": path, "mount": lease.mount, "connection": connection,
            "lease": handle, "lease_id": lease.id, "renewable": lease.renewable,
            "issue_time": lease.issued.to_string(), "expire_time": lease.expires.to_string(),
            "last_renewal": lease.last_renewal.map_or(Value::Null, |renewed| json!(renewed.to_string())),
            "ttl": lease.ttl(now), "ended": lease.has_ended(now), "holder": self.holder(&lease.owner).await?,
        }))
    }

    /// A workload by its name, a token by its accessor.
    async fn holder(&self, owner: &Owner) -> Result<Value, Error> {
        Ok(match owner {
            Owner::Workload(workload) => named(workload),
            Owner::Stock(_) => json!({ "type": "spare" }),
            Owner::Token(hash) => {
                let token = self.tokens.find_hash(hash.clone()).await?.map(|found| found.token);
                token.map_or_else(
                    || json!({ "type": "token" }),
                    |token| {
                        json!({ "type": "token", "accessor": token.accessor, "display_name": token.display_name,
                            "login": token.path, "metadata": token.meta, "entity_id": token.entity_id })
                    },
                )
            }
        })
    }
}

fn named(workload: &Workload) -> Value {
    let Workload { uid, namespace, name, service_account, pod, login } = workload;
    let mut row = json!({ "type": if *pod { "pod" } else { "object" }, "namespace": namespace, "name": name, "uid": uid,
        "service_account": service_account });
    if let Some(LoginMount { path, accessor }) = login {
        row["login"] = json!(path);
        row["login_accessor"] = json!(accessor);
    }
    row
}

/// A workload of a namespace of the engine below the asked one, or of that itself.
fn named_in(namespace: &str, workload: &Workload) -> Value {
    let mut row = named(workload);
    if !namespace.is_empty() {
        row["engine_namespace"] = json!(namespace);
    }
    row
}

fn counted(namespace: &str, (workload, leases): &(Workload, usize)) -> Value {
    let mut row = named_in(namespace, workload);
    row["leases"] = json!(leases);
    row
}

fn recent(namespace: &str, held: &Held) -> Value {
    let mut row = named_in(namespace, &held.grant.workload);
    row["username"] = json!(held.grant.username);
    row["path"] = json!(format!("{namespace}{}", held.path));
    row["lease"] = json!(held.handle);
    row["issue_time"] = json!(held.grant.issued.to_string());
    row
}
