//! What a database brings to the conformance suite: how to start one, log in to it and look at it.

use async_trait::async_trait;
use serde_json::Value;

use lessor::base::Secret;

/// A real server for one test, prepared with an administrator that has no more rights than it needs.
#[async_trait]
pub trait Recipe: Send + Sync + Sized {
    /// The `plugin_name` of the driver.
    const PLUGIN: &'static str;

    /// Starts a server of the test's own.
    async fn start() -> Self;

    /// The connection's fields, `connection_url` and the like.
    fn fields(&self) -> Value;

    /// The statements of a role whose users may do what [`Session::allowed`] does.
    fn creation(&self) -> Vec<String>;

    /// Logs in as a user.
    async fn login(&self, user: &str, password: &Secret) -> Result<Box<dyn Session>, String>;

    /// How many users there are whose names begin with `prefix`.
    async fn users(&self, prefix: &str) -> usize;

    /// Whether the user may log in at most until that moment (Unix seconds); `None` when the database does not say.
    async fn expiry(&self, user: &str) -> Option<i64>;

    /// Ends the server as a crash would.
    fn kill(&mut self);

    /// Starts it again on the same data.
    async fn start_again(&mut self);
}

/// A user's own connection.
#[async_trait]
pub trait Session: Send + Sync {
    /// Something that the role allows.
    async fn allowed(&self) -> Result<(), String>;

    /// Nothing but a sign of life: works while the connection is there, whatever rights are left.
    async fn alive(&self) -> Result<(), String>;

    /// Something that it does not.
    async fn denied(&self) -> Result<(), String>;

    /// Makes an object that then belongs to the user.
    async fn own_something(&self) -> Result<(), String>;
}
