//! Lessor as it is measured: `lessor server` with embedded storage on local disk, initialised and unsealed.

use lessor_e2e::http::Http;
use lessor_e2e::lessor::Lessor;

/// An engine that ends with the value.
pub struct Engine {
    /// The process.
    pub lessor: Lessor,
    /// With the root token.
    pub http: Http,
}

impl Engine {
    /// Starts one on an empty store.
    pub async fn start() -> Self {
        let lessor = Lessor::quiet_server().await;
        let root = lessor.initialise().await;
        lessor.unsealed().await;
        let http = lessor.http().with_token(&root);
        Self { lessor, http }
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> f64 {
        resident(self.lessor.pid())
    }
}

/// Resident memory of a process in MiB.
pub fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has VmRSS");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1024.0
}
