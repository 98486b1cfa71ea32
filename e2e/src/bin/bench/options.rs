//! What the environment asks for.

use std::time::Duration;

/// The parts of the report, in its order: what `LESSOR_BENCH_ONLY` may name.
pub const PARTS: [&str; 10] =
    ["issue", "spares", "renew", "revoke", "lookup", "login", "leases", "agent", "operator", "webhook"];

/// A Vault-compatible server to be measured beside Lessor.
pub struct Peer {
    /// `PEER`: `http://HOST:PORT`.
    pub address: String,
    /// `PEER_TOKEN`: may mount a secrets engine and an auth method.
    pub token: String,
    /// `PEER_NAME`: what the report calls it.
    pub name: String,
    /// `PEER_PID`: its process, so that its CPU time can be read.
    pub pid: Option<u32>,
}

/// All options.
pub struct Options {
    /// `LESSOR_BENCH_SECONDS`: length of one measurement.
    pub length: Duration,
    /// `LESSOR_BENCH_ROUNDS`: how often each is repeated.
    pub rounds: usize,
    /// `LESSOR_BENCH_LEASES`: the most leases of one engine.
    pub leases: usize,
    /// `PEER` and its companions.
    pub peer: Option<Peer>,
    parts: Vec<String>,
}

impl Options {
    /// Reads the environment.
    ///
    /// # Panics
    /// When a variable is wrong; the message names it.
    pub fn read() -> Self {
        let parts: Vec<String> = match text("LESSOR_BENCH_ONLY") {
            Some(list) => list.split(',').map(|part| part.trim().to_owned()).collect(),
            None => PARTS.map(str::to_owned).to_vec(),
        };
        for part in &parts {
            assert!(PARTS.contains(&part.as_str()), "LESSOR_BENCH_ONLY: {part:?} is none of {}", PARTS.join(", "));
        }
        let peer = text("PEER").map(|address| Peer {
            address: address.trim_end_matches('/').to_owned(),
            token: text("PEER_TOKEN").expect("PEER is set: PEER_TOKEN must be set, too"),
            name: text("PEER_NAME").unwrap_or_else(|| "peer".to_owned()),
            pid: text("PEER_PID").map(|pid| pid.parse().expect("PEER_PID is a process id")),
        });
        Self {
            length: Duration::from_secs(number("LESSOR_BENCH_SECONDS", 5) as u64),
            rounds: number("LESSOR_BENCH_ROUNDS", 3),
            leases: number("LESSOR_BENCH_LEASES", 100_000),
            peer,
            parts,
        }
    }

    /// Whether a part is to be measured.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.iter().any(|wanted| wanted == part)
    }

    /// Whether nothing else is to be measured.
    pub fn wants_only(&self, parts: &[&str]) -> bool {
        self.parts.iter().all(|wanted| parts.contains(&wanted.as_str()))
    }

    /// The command that repeats one part.
    pub fn command(&self, part: &str) -> String {
        let peer = self.peer.as_ref().map(|_| "PEER=… PEER_TOKEN=… ").unwrap_or_default();
        let leases = if part == "leases" { format!("LESSOR_BENCH_LEASES={} ", self.leases) } else { String::new() };
        let (seconds, rounds) = (self.length.as_secs(), self.rounds);
        format!(
            "{peer}{leases}LESSOR_BENCH_SECONDS={seconds} LESSOR_BENCH_ROUNDS={rounds} LESSOR_BENCH_ONLY={part} make bench"
        )
    }
}

fn text(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|text| !text.is_empty())
}

fn number(variable: &str, default: usize) -> usize {
    let Some(text) = text(variable) else { return default };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.unwrap_or_else(|| panic!("{variable}: {text:?} is not a positive number"))
}
