//! The Kubernetes kinds of Lessor: one custom resource per file, their shared parts, and the generated definitions.

pub mod additional_user;
pub mod condition;
pub mod connection;
pub mod crds;
pub mod destination;
pub mod dynamic_secret;
pub mod engine;
pub mod names;
pub mod period;
pub mod restart;
pub mod role;
pub mod static_role;
pub mod static_secret;

pub use additional_user::AdditionalUser;
pub use connection::{DatabaseConnection, DatabaseConnectionSpec, DatabaseConnectionStatus};
pub use crds::crds;
pub use destination::Destination;
pub use dynamic_secret::{DynamicDatabaseSecret, DynamicDatabaseSecretSpec, DynamicDatabaseSecretStatus};
pub use engine::{CredentialEngine, CredentialEngineSpec, CredentialEngineStatus};
pub use period::Period;
pub use role::{DatabaseRole, DatabaseRoleSpec, DatabaseRoleStatus};
pub use static_role::{StaticDatabaseRole, StaticDatabaseRoleSpec, StaticDatabaseRoleStatus};
pub use static_secret::{StaticDatabaseSecret, StaticDatabaseSecretSpec, StaticDatabaseSecretStatus};
