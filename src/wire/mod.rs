//! Vault's wire types: requests, the envelope of answers, weakly typed fields, and the one error that becomes HTTP.

pub mod envelope;
pub mod error;
pub mod fields;
pub mod health;
pub mod request;
pub mod route;

pub use envelope::{Auth, Envelope, ErrorBody, WrapInfo};
pub use error::{Error, Kind};
pub use fields::Fields;
pub use request::{Answer, Caller, Keep, Operation, Request, WORKLOAD_HEADER};
pub use route::{Field, Guard, Route};
