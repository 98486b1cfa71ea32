//! `sys/loggers`: how much is logged, changed while the engine runs. There is one logger, named like the program.

use serde_json::json;

use crate::base::telemetry;
use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::wire::{Answer, Error, Fields, Operation};

/// The name of the logger.
const NAME: &str = "lessor";

impl Core {
    /// Not stored: the next start logs what the configuration says.
    pub(super) fn sys_loggers(&self, operation: Operation, name: &str, fields: &Fields) -> Result<Reply, Error> {
        if !matches!(name, "" | NAME) {
            return Err(Error::bad_request(format!("logger {name:?} not found: there is {NAME:?} only")));
        }
        match operation {
            Operation::Read => Ok(Reply::answer(Answer::data(json!({ NAME: telemetry::level() })))),
            Operation::Write => {
                let level = fields.required("level")?;
                telemetry::set_level(Some(telemetry::parse_level(&level).map_err(Error::bad_request)?));
                tracing::warn!(level, "what is logged was changed");
                Ok(Reply::Empty(204))
            }
            Operation::Delete => {
                telemetry::set_level(None);
                Ok(Reply::Empty(204))
            }
            _ => Err(Error::unsupported_operation()),
        }
    }
}
