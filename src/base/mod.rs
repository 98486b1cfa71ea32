//! What every other layer stands on: secrets, time, randomness, text formats, TLS, logs and shutdown.

pub mod boolean;
pub mod clock;
#[cfg(any(feature = "engine", feature = "operator"))]
pub mod connection;
pub mod duration;
pub mod gate;
pub mod glob;
pub mod hcl;
pub mod http;
pub mod log_file;
pub mod nearest;
pub mod owner;
pub mod process;
pub mod proxy;
#[cfg(feature = "engine")]
pub mod rand_core;
pub mod random;
pub mod scalar;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
pub mod template;
pub mod tls;

pub use clock::{Clock, Timestamp};
pub use gate::Gate;
pub use random::Random;
pub use secret::Secret;
