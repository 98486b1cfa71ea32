//! Secrets that go from one agent to the next by the state file.

use super::{Entry, Lease, Secrets};
use crate::agent::renderer::Renderer;
use crate::agent::state_file::{Left, LeftSecret};
use crate::base::Secret;
use crate::wire::Envelope;

impl Secrets {
    /// Notes what the next agent needs; secrets without a lease it reads itself.
    pub fn leave(&self, left: &mut Left) {
        for (query, entry) in &self.entries {
            let kept = entry.kept.as_ref().and_then(|kept| serde_json::from_str(kept.expose()).ok());
            if let (Some(lease), Some(envelope)) = (&entry.lease, kept) {
                left.secrets.push(LeftSecret { query: query.clone(), envelope, ends: lease.ends });
            }
        }
        left.retired = self.retired.iter().map(|(id, due)| (id.expose().to_owned(), *due)).collect();
    }

    /// Takes over what an earlier agent has left. Each lease is renewed at once, which shows whether it still lives; meanwhile,
    /// and as long as the engine is down, what was written stays in use.
    pub fn take_over(&mut self, left: Left, session: u64, renderer: &Renderer) {
        let now = self.context.clock.now();
        for LeftSecret { query, envelope, ends } in left.secrets {
            if ends <= now || envelope.lease_id.is_empty() {
                continue;
            }
            tracing::info!(path = query.path(), "took over from an earlier agent");
            renderer.learn(&query, query.shown(&envelope));
            let kept = self.kept(&envelope);
            let (id, granted) = (Secret::new(envelope.lease_id.as_str()), envelope.lease_duration);
            let due = if envelope.renewable { now } else { ends };
            let lease = Some(Lease { id, granted, ends });
            let entry = Entry { known: true, lease, renews: envelope.renewable, due, failures: 0, session, kept };
            self.entries.insert(query, entry);
        }
        self.retired.extend(left.retired.into_iter().map(|(id, due)| (Secret::new(id), due)));
    }

    /// An answer as the state file has it, if there is to be one.
    pub(super) fn kept(&self, envelope: &Envelope) -> Option<Secret> {
        self.context.config.state_file.as_ref()?;
        serde_json::to_string(envelope).ok().map(Secret::new)
    }
}
