//! Deleting roles and connections that have live leases: refused, or with all their leases, or by force.

use serde_json::json;

use super::creds::Record;
use super::{Database, parse_record};
use crate::secrets::{Ending, Held};
use crate::wire::{Answer, Error, Fields};

/// Leases read at a time.
const PAGE: usize = 1000;

/// What to do about live leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leases {
    /// Refuse.
    Keep,
    /// Revoke them; what they need stays until the last is gone.
    Cascade,
    /// Try to revoke them now, then forget them.
    Force,
}

impl Leases {
    fn read(fields: &Fields) -> Result<Self, Error> {
        match (fields.bool("cascade")?.unwrap_or(false), fields.bool("force")?.unwrap_or(false)) {
            (true, true) => Err(Error::bad_request("cascade and force exclude each other: ask for one of them")),
            (true, false) => Ok(Self::Cascade),
            (false, true) => Ok(Self::Force),
            (false, false) => Ok(Self::Keep),
        }
    }
}

impl Database {
    /// `DELETE config/:name`.
    pub(super) async fn delete_connection(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let how = Leases::read(fields)?;
        if how != Leases::Force {
            self.has_no_static_roles(name).await?;
        }
        if how == Leases::Keep {
            let held = self.held(|_, record| record.connection == name).await?;
            if is_live(&held) {
                return Err(refused("connection", name, &held));
            }
        }
        // From here on no lease can be recorded for it, so the count below is final.
        if !self.connections.set_leaving(name, true).await? {
            return Ok(Answer::empty());
        }
        let held = self.held(|_, record| record.connection == name).await?;
        self.look_at_spares(Some(name)).await?;
        match how {
            Leases::Keep if is_live(&held) => {
                self.connections.set_leaving(name, false).await?;
                self.look_at_spares(Some(name)).await?;
                Err(refused("connection", name, &held))
            }
            Leases::Keep | Leases::Cascade => {
                self.setup.leases.end(ids(&held), Ending::Later).await?;
                self.remove_left().await?;
                Ok(Answer::empty())
            }
            Leases::Force => {
                let answer = self.force(held).await?;
                self.remove(name).await?;
                Ok(answer)
            }
        }
    }

    async fn has_no_static_roles(&self, connection: &str) -> Result<(), Error> {
        let roles = self.rotation.roles_of(connection).await?;
        if roles.is_empty() {
            return Ok(());
        }
        Err(Error::bad_request(format!(
            "connection {connection:?} is used by the static roles {}: delete them first, or delete it with force=true (their \
             passwords then stay as they are)",
            roles.join(", ")
        )))
    }

    /// `DELETE roles/:name`. Leases remember how to drop their user, so they may outlive their role while that happens.
    pub(super) async fn delete_role(&self, name: &str, fields: &Fields) -> Result<Answer, Error> {
        let how = Leases::read(fields)?;
        let held = self.held(|_, record| record.role == name).await?;
        if how == Leases::Keep && is_live(&held) {
            return Err(refused("role", name, &held));
        }
        self.roles.delete(name).await?;
        self.spares.look_at(name);
        if how == Leases::Force {
            return self.force(held).await;
        }
        self.setup.leases.end(ids(&held), Ending::Later).await?;
        Ok(Answer::empty())
    }

    async fn force(&self, held: Vec<Held>) -> Result<Answer, Error> {
        let left = self.setup.leases.end(ids(&held), Ending::Force).await?;
        let left: Vec<_> = held
            .iter()
            .filter(|held| left.contains(&held.id))
            .filter_map(|held| Some(parse_record(&held.record).ok()?.username))
            .collect();
        if left.is_empty() {
            return Ok(Answer::empty());
        }
        tracing::warn!(users = left.len(), "forced: users may be left behind in their database");
        let warning = "these users could not be dropped and may be left behind: drop them by hand";
        Ok(Answer::data(json!({ "left_behind": left })).warn(warning))
    }

    /// Removes the connections that were to go and whose last lease is gone.
    pub(super) async fn remove_left(&self) -> Result<(), Error> {
        let leaving = self.connections.all().await?.into_iter().filter(|(_, stored)| stored.leaving);
        let leaving: Vec<_> = leaving.map(|(name, _)| name).collect();
        if leaving.is_empty() {
            return Ok(());
        }
        let held = self.held(|_, record| leaving.contains(&record.connection)).await?;
        let used: Vec<_> = held.iter().filter_map(|held| Some(parse_record(&held.record).ok()?.connection)).collect();
        for name in leaving.iter().filter(|name| !used.contains(name)) {
            self.remove(name).await?;
        }
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        let _turn = self.rotation.config_turn(name, &Fields::default()).await?;
        self.connections.remove(name).await?;
        self.rotation.config_written(name, false).await
    }

    /// The leases of this mount for which `wanted` holds.
    pub(super) async fn held(&self, wanted: impl Fn(&Held, &Record) -> bool) -> Result<Vec<Held>, Error> {
        let mut found = Vec::new();
        let keep = |held: Held, record: Record| {
            if wanted(&held, &record) {
                found.push(held);
            }
        };
        self.each_held(keep).await?;
        Ok(found)
    }

    /// Shows every lease of this mount, a page at a time: there may be a million.
    pub(super) async fn each_held(&self, mut look: impl FnMut(Held, Record)) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let page = self.setup.leases.page(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            for held in page {
                let record = parse_record(&held.record)?;
                look(held, record);
            }
        }
    }

    /// Has the roles of a connection, or all, get or lose their spares.
    pub(super) async fn look_at_spares(&self, connection: Option<&str>) -> Result<(), Error> {
        for name in self.roles.list().await? {
            let role = self.roles.get(&name).await?;
            if role.is_some_and(|role| role.spares > 0 && connection.is_none_or(|wanted| wanted == role.db_name)) {
                self.spares.look_at(&name);
            }
        }
        Ok(())
    }
}

fn is_live(held: &[Held]) -> bool {
    held.iter().any(|held| !held.stocked && !held.ended)
}

fn ids(held: &[Held]) -> Vec<String> {
    held.iter().map(|held| held.id.clone()).collect()
}

fn refused(what: &str, name: &str, held: &[Held]) -> Error {
    let live = held.iter().filter(|held| !held.stocked && !held.ended).count();
    Error::bad_request(format!(
        "{what} {name:?} has {live} live leases: revoke them first, or delete it with cascade=true (revokes them), or with \
         force=true (forgets those whose user cannot be dropped, and says which users those are)"
    ))
}
