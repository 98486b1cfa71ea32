//! Comparing the users of a database with the leases: users that no lease names (orphans), leases whose user is gone.
//!
//! Ours are known by their mark, which was written when they were made. A user without it is never touched, whatever its name.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::creds::{Record, mark};
use super::{Call, Database, MOVES, answered};
use crate::base::clock::seconds_between;
use crate::base::{Timestamp, telemetry};
use crate::drivers::{DropUser, FoundUser, UsernameShape};
use crate::secrets::{Ending, Held, Sample};
use crate::wire::{Answer, Error, Fields};

/// Between two sweeps; after one that took long, ten times its length.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a database may take to list its users, in a sweep that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A lease younger than that may still be on its way to its user, unless an earlier sweep has met the user.
const BEING_MADE: u64 = 60;

/// What one sweep found for one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Users of ours that no lease names.
    pub(super) orphans: Vec<String>,
    /// Users that no lease names and whose names look like ours, but which do not carry our mark: of another engine, or made
    /// by hand. Never touched.
    pub(super) unmarked: Vec<String>,
    /// Leases whose user is gone, and the user.
    pub(super) lost: Vec<(String, String)>,
}

impl Found {
    fn has_users(&self) -> bool {
        !self.orphans.is_empty() || !self.unmarked.is_empty()
    }

    /// Leaves out users that are gone when looked for once more: they were dropped, and then their lease forgotten, between the
    /// first list and the reading of the leases.
    fn still_there(&mut self, users: &[FoundUser]) {
        let there: HashSet<&str> = users.iter().map(|user| user.username.as_str()).collect();
        self.orphans.retain(|name| there.contains(name.as_str()));
        self.unmarked.retain(|name| there.contains(name.as_str()));
    }
}

impl Database {
    /// `lessor/orphans/:connection`: a dry run, or with `remove=true` the removal of what it finds.
    pub(super) async fn orphans(&self, name: &str, remove: bool) -> Result<Answer, Error> {
        let began = self.setup.clock.now();
        let found = self.compare(BTreeMap::from([(name.to_owned(), self.users(name).await?)]), began).await?;
        let mut found = found.into_iter().next().map(|(_, found)| found).unwrap_or_default();
        found.still_there(&self.users(name).await?);
        let mut removed = Vec::new();
        if remove {
            removed = self.remove_orphans(name, &found.orphans).await?;
        }
        self.swept
            .lock()
            .await
            .insert(name.to_owned(), Found { orphans: without(&found.orphans, &removed), ..found.clone() });
        let lost: Vec<Value> =
            found.lost.iter().map(|(lease, user)| json!({ "lease_id": lease, "username": user })).collect();
        Ok(Answer::data(json!({
            "orphans": found.orphans, "unmarked": found.unmarked, "lost": lost, "removed": removed, "dry_run": !remove,
        })))
    }

    /// All users of a connection's database.
    async fn users(&self, name: &str) -> Result<Vec<FoundUser>, Error> {
        let mark = mark(&self.setup.uuid, name);
        let mut moves = 0;
        loop {
            let connection = self.connections.get(name).await?;
            moves += 1;
            match connection.driver.users(&mark).await {
                Err(error) if moves < MOVES && self.was_moved(name, connection.version, &error).await => {}
                users => return users.map_err(|error| answered(name, error)),
            }
        }
    }

    /// Drops users that carry our mark and that no lease names; returns those that are gone.
    async fn remove_orphans(&self, name: &str, orphans: &[String]) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for username in orphans {
            let user = DropUser { username, statements: &[], end_sessions: true };
            match self.follow(name, Call::Delete(user)).await {
                Ok(()) => removed.push(username.clone()),
                Err(error) => tracing::warn!(connection = name, %error, "an orphan cannot be dropped"),
            }
        }
        tracing::info!(connection = name, orphans = orphans.len(), removed = removed.len(), "orphans were removed");
        Ok(removed)
    }

    /// What the last sweeps found, for monitoring.
    pub(super) async fn orphan_samples(&self) -> Vec<Sample> {
        let swept = self.swept.lock().await;
        let sample = |name, help, connection: &str, value: usize| Sample {
            name,
            help,
            counter: false,
            labels: vec![("connection", connection.to_owned())],
            value: value as u64,
        };
        swept
            .iter()
            .flat_map(|(connection, found)| {
                [
                    sample("lessor_orphans", "Users of ours that no lease names.", connection, found.orphans.len()),
                    sample(
                        "lessor_unmarked_users",
                        "Users that look like ours but do not carry our mark; never touched.",
                        connection,
                        found.unmarked.len(),
                    ),
                ]
            })
            .collect()
    }

    /// Sweeps all connections again and again.
    pub(super) async fn sweep_for_ever(&self) {
        let clock = &self.setup.clock;
        loop {
            let began = clock.now();
            if let Err(error) = self.sweep().await {
                tracing::warn!(error = telemetry::chain(&error), "the sweep for orphans stopped");
            }
            let took = Duration::from_secs(seconds_between(began, clock.now()));
            clock.sleep(INTERVAL.max(took * 10)).await;
        }
    }

    async fn sweep(&self) -> Result<(), Error> {
        self.remove_left().await?;
        let began = self.setup.clock.now();
        let names = self.connections.all().await?.into_iter().filter(|(_, stored)| !stored.leaving);
        let lists = join_all(names.map(|(name, stored)| async move {
            let users = self.list_users(&name).await;
            (name, stored.removes_orphans(), users)
        }))
        .await;
        let removing: HashSet<_> =
            lists.iter().filter(|(_, removes, _)| *removes).map(|(name, ..)| name.clone()).collect();
        let users: BTreeMap<_, _> = lists.into_iter().filter_map(|(name, _, users)| Some((name, users?))).collect();
        if users.is_empty() {
            return Ok(());
        }
        for (name, mut found) in self.compare(users, began).await? {
            if found.has_users() {
                let Some(users) = self.list_users(&name).await else { continue };
                found.still_there(&users);
            }
            if !found.orphans.is_empty() && removing.contains(&name) {
                let removed = self.remove_orphans(&name, &found.orphans).await?;
                found.orphans = without(&found.orphans, &removed);
            }
            if !found.lost.is_empty() {
                tracing::warn!(
                    connection = name,
                    leases = found.lost.len(),
                    "users were dropped outside; their leases end"
                );
                let ids = found.lost.iter().map(|(lease, _)| lease.clone()).collect();
                self.setup.leases.end(ids, Ending::Later).await?;
            }
            self.swept.lock().await.insert(name, found);
        }
        Ok(())
    }

    /// The users of a connection; `None` when its database cannot say.
    async fn list_users(&self, name: &str) -> Option<Vec<FoundUser>> {
        let connection = self.connections.get(name).await.ok()?;
        if !connection.spec.capabilities.marks_users {
            return None;
        }
        tokio::select! {
            users = self.users(name) => match users {
                Ok(users) => Some(users),
                Err(error) => {
                    tracing::debug!(connection = name, %error, "the sweep cannot list users");
                    None
                }
            },
            () = self.setup.clock.sleep(PATIENCE) => None,
        }
    }

    /// Notes that a role's users are found where its connection leads.
    async fn prove(&self, connection: &str, role: &str) -> Result<(), Error> {
        let version = self.connections.get(connection).await?.version;
        let mut proven = self.proven.lock().await;
        let (of, roles) = proven.entry(connection.to_owned()).or_default();
        if *of != version {
            (*of, *roles) = (version, HashSet::new());
        }
        if !roles.contains(role) {
            roles.insert(role.to_owned());
        }
        Ok(())
    }

    /// Whether a user of the role was ever found over the connection as it is now. Without that its absence says nothing: the
    /// statements may name users in a way of their own, or the connection may lead elsewhere since.
    async fn is_proven(&self, connection: &str, role: &str) -> Result<bool, Error> {
        let version = self.connections.get(connection).await?.version;
        let proven = self.proven.lock().await;
        Ok(proven.get(connection).is_some_and(|(of, roles)| *of == version && roles.contains(role)))
    }

    /// Compares users with leases that are read after them: whoever has a lease had it before it had a user.
    async fn compare(
        &self,
        users: BTreeMap<String, Vec<FoundUser>>,
        listed: Timestamp,
    ) -> Result<BTreeMap<String, Found>, Error> {
        let mut lists: BTreeMap<_, _> = users.into_iter().map(|(name, users)| (name, Listed::new(users))).collect();
        let (mut missing, mut proven) = (Vec::new(), HashSet::new());
        let mut met = self.met.lock().await;
        let look = |held: Held, record: Record| {
            let Some(list) = lists.get_mut(&record.connection) else { return };
            let settled = seconds_between(held.issued, listed) > BEING_MADE;
            if list.name(&record.username) {
                let origin = (record.connection, record.role);
                if !proven.contains(&origin) {
                    proven.insert(origin);
                }
                if !settled {
                    met.insert(held.id, held.issued);
                }
            } else if !held.ended && (settled || met.contains_key(&held.id)) {
                missing.push((held.id, record));
            }
        };
        self.each_held(look).await?;
        for (connection, role) in proven {
            self.prove(&connection, &role).await?;
        }
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for (name, list) in lists {
            let shape = self.connections.get(&name).await?.spec.username;
            found.insert(name, list.found(&shape));
        }
        met.retain(|_, issued| seconds_between(*issued, listed) <= BEING_MADE);
        drop(met);
        for (id, record) in missing {
            if self.is_proven(&record.connection, &record.role).await? {
                found.entry(record.connection).or_default().lost.push((id, record.username));
            }
        }
        Ok(found)
    }
}

/// The users of one connection, and which of them a lease names.
struct Listed {
    /// By name.
    users: Vec<FoundUser>,
    named: Vec<bool>,
}

impl Listed {
    fn new(mut users: Vec<FoundUser>) -> Self {
        users.sort_unstable_by(|a, b| a.username.cmp(&b.username));
        Self { named: vec![false; users.len()], users }
    }

    /// Notes that a lease names that user; whether there is such a user.
    fn name(&mut self, username: &str) -> bool {
        let at = self.users.binary_search_by(|user| user.username.as_str().cmp(username));
        at.map(|at| self.named[at] = true).is_ok()
    }

    /// What no lease names.
    fn found(self, shape: &UsernameShape) -> Found {
        let mut found = Found::default();
        for (user, _) in self.users.into_iter().zip(self.named).filter(|(_, named)| !named) {
            if user.marked {
                found.orphans.push(user.username);
            } else if looks_like_ours(shape, &user.username) {
                found.unmarked.push(user.username);
            }
        }
        found
    }
}

/// Whether a connection's owner lets the sweep drop what it finds.
pub(super) fn removes_orphans(details: &Fields) -> bool {
    details.bool("remove_orphans").ok().flatten().unwrap_or(false)
}

fn without(all: &[String], removed: &[String]) -> Vec<String> {
    all.iter().filter(|name| !removed.contains(name)).cloned().collect()
}

/// Whether a name has the driver's default shape: its prefix, and a random part and a time at its end.
fn looks_like_ours(shape: &UsernameShape, name: &str) -> bool {
    let mut parts = name.rsplit(shape.separator);
    let (time, random) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    name.split(shape.separator).next() == Some(shape.prefix)
        && time.len() == 10
        && time.chars().all(|c| c.is_ascii_digit())
        && random.len() == shape.random
        && random.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_was_dropped_meanwhile_is_no_orphan() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut found = Found { orphans: names(&["a", "b"]), unmarked: names(&["c"]), lost: Vec::new() };
        found.still_there(&[FoundUser { username: "b".into(), marked: true }]);
        assert_eq!(found, Found { orphans: names(&["b"]), ..Found::default() });
    }

    #[test]
    fn what_no_lease_names_is_an_orphan_only_with_our_mark() {
        let shape = crate::drivers::find("postgresql-database-plugin").unwrap().username;
        let user = |name: &str, marked| FoundUser { username: name.to_owned(), marked };
        let ours = "v-aB3dEfGhIjKlMnOpQrSt-1700000000";
        let mut list = Listed::new(vec![user("z", true), user("b", false), user(ours, false), user("a", true)]);
        assert!(list.name("z") && !list.name("c"));
        let expected = Found { orphans: vec!["a".into()], unmarked: vec![ours.into()], lost: Vec::new() };
        assert_eq!(list.found(&shape), expected);
    }

    #[test]
    fn names_of_the_default_shape_are_recognised() {
        let shape = crate::drivers::find("postgresql-database-plugin").unwrap().username;
        for (name, expected) in [
            ("v-token-app-aB3dEfGhIjKlMnOpQrSt-1700000000", true),
            ("v-aB3dEfGhIjKlMnOpQrSt-1700000000", true),
            ("v-token-app-short-1700000000", false),
            ("x-token-app-aB3dEfGhIjKlMnOpQrSt-1700000000", false),
            ("v-token-app-aB3dEfGhIjKlMnOpQrSt-17", false),
            ("postgres", false),
        ] {
            assert_eq!(looks_like_ours(&shape, name), expected, "{name}");
        }
    }
}
