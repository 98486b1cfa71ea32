//! Who lends database users: the installed engine, or another one. The rest of this folder knows no difference.

mod external;
mod installed;

use async_trait::async_trait;

use super::content::Credential;
use super::endpoint::Endpoint;
use super::order::Order;
use super::record::LeaseRecord;
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::operator::tenant::Tenant;
pub use external::{end, strays};
pub use installed::call;

/// What a renewal came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease lives for so many more seconds.
    Prolonged(u64),
    /// The engine knows the lease no more, or it is at its end.
    Ended,
}

/// An engine that lends users.
#[async_trait]
pub trait Lender: Send + Sync {
    /// Whether it is known to be of no use now.
    ///
    /// # Errors
    /// What is known of the cause, which says more than the engine's refusal would.
    fn require(&self, order: &Order) -> Result<(), Error>;

    /// Where the database is, as far as that can be seen.
    fn endpoint(&self, order: &Order) -> Endpoint;

    /// Makes a user.
    ///
    /// # Errors
    /// When the tenant may not, or the engine or the database do not. Nothing is left behind then.
    async fn issue(&self, order: &Order) -> Result<(LeaseRecord, Credential), Error>;

    /// Prolongs a lease by the time that it was first given for.
    ///
    /// # Errors
    /// When the engine cannot be asked or the tenant may not; the lease lives on to its present end then.
    async fn renew(&self, tenant: &Tenant, lease: &LeaseRecord) -> Result<Renewal, Error>;

    /// Ends a lease. The engine records that durably and drops the user when the database lets it.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    async fn revoke(&self, tenant: &Tenant, lease: &LeaseRecord) -> Result<(), Error>;

    /// Notes that a lease has ended by itself.
    async fn ended(&self, lease: &LeaseRecord);

    /// The longest life of users like that of `lease`, whole seconds, if it can be seen.
    fn longest_life(&self, lease: &LeaseRecord) -> Option<u64>;

    /// What limits that life, for messages: `maxTTL of DatabaseRole shop/app`.
    fn limit(&self, lease: &LeaseRecord) -> String;
}

/// Whom an order goes to.
pub fn for_order<'a>(context: &'a Context, order: &Order) -> Box<dyn Lender + 'a> {
    match &order.place {
        None => Box::new(installed::Installed { context }),
        Some(_) => Box::new(external::External { context }),
    }
}

/// Who has lent a lease.
pub fn of_lease<'a>(context: &'a Context, lease: &LeaseRecord) -> Box<dyn Lender + 'a> {
    match &lease.lent {
        None => Box::new(installed::Installed { context }),
        Some(_) => Box::new(external::External { context }),
    }
}
