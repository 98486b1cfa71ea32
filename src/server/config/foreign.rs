//! Keys of Vault's configuration files that mean nothing here, or something else than there: each is said, or refused.

use crate::base::hcl::{Block, Error};

/// What becomes of a key.
enum Fate {
    /// What it asks for is so in any case.
    Fine,
    /// It is ignored, for this reason.
    Ignored(&'static str),
    /// Ignoring it would do something else than what somebody wanted; fine where it is off or empty.
    Refused(&'static str),
}
use Fate::{Fine, Ignored, Refused};

const TOP_LEVEL: &[(&str, Fate)] = &[
    ("api_addr", Fine),
    ("disable_mlock", Fine),
    ("disable_cache", Fine),
    ("cache_size", Ignored("there is no cache of its kind")),
    ("cluster_addr", Ignored("nodes do not talk to each other")),
    ("disable_clustering", Fine),
    ("disable_indexing", Fine),
    ("disable_performance_standby", Fine),
    ("disable_printable_check", Fine),
    ("disable_sealwrap", Fine),
    ("disable_sentinel_trace", Fine),
    ("enable_response_header_hostname", Ignored("answers carry no such header")),
    ("enable_response_header_raft_node_id", Ignored("answers carry no such header")),
    ("enable_ui", Ignored("there is no web interface")),
    ("ha_storage", Refused("there is no other storage for the lock of a cluster: leave it out")),
    ("hsm_lib", Refused("keys in hardware modules are not offered")),
    ("imprecise_lease_role_tracking", Fine),
    ("introspection_endpoint", Ignored("there is no such endpoint")),
    ("license_path", Fine),
    ("log_file", Ignored("logs go to standard error")),
    ("log_requests_level", Ignored("requests are recorded by audit devices")),
    ("log_rotate_bytes", Ignored("logs go to standard error")),
    ("log_rotate_duration", Ignored("logs go to standard error")),
    ("log_rotate_max_files", Ignored("logs go to standard error")),
    (
        "max_request_duration",
        Ignored("http_read_timeout limits how long a request is sent, http_write_timeout how long it is answered"),
    ),
    ("pid_file", Ignored("no such file is written")),
    ("plugin_directory", Ignored("there are no plug-ins from outside")),
    ("plugin_file_permissions", Ignored("there are no plug-ins from outside")),
    ("plugin_file_uid", Ignored("there are no plug-ins from outside")),
    ("raw_storage_endpoint", Refused("sys/raw is not offered: leave it out")),
    ("entropy", Refused("randomness from outside is not offered: leave it out")),
    ("kms_library", Refused("keys in hardware modules are not offered: leave it out")),
    ("service_registration", Ignored("clients find the engine by its Service")),
    ("telemetry", Fine),
    ("ui", Ignored("there is no web interface")),
    ("user_lockout", Ignored("the limits are those of each login method")),
    ("reporting", Ignored("nothing is reported to anybody")),
];

const TELEMETRY: &[(&str, Fate)] = &[
    ("disable_hostname", Fine),
    ("enable_hostname_label", Ignored("metrics carry no such label")),
    ("prometheus_retention_time", Ignored("sys/metrics always tells the present")),
    ("usage_gauge_period", Ignored("sys/metrics always tells the present")),
    ("maximum_gauge_cardinality", Fine),
    ("lease_metrics_epsilon", Fine),
    ("num_lease_metrics_buckets", Fine),
    ("add_lease_metrics_namespace_labels", Fine),
    ("filter_default", Fine),
    ("prefix_filter", Ignored("all metrics are told")),
    ("metrics_prefix", Ignored("metrics have names of their own")),
    ("statsd_address", Refused("metrics are fetched from sys/metrics, and sent nowhere: leave it out")),
    ("statsite_address", Refused("metrics are fetched from sys/metrics, and sent nowhere: leave it out")),
    ("dogstatsd_addr", Refused("metrics are fetched from sys/metrics, and sent nowhere: leave it out")),
    ("circonus_api_token", Refused("metrics are fetched from sys/metrics, and sent nowhere: leave it out")),
    ("stackdriver_project_id", Refused("metrics are fetched from sys/metrics, and sent nowhere: leave it out")),
];

const LISTENER: &[(&str, Fate)] = &[
    ("cluster_address", Ignored("nodes do not talk to each other")),
    ("purpose", Ignored("every listener answers everything")),
    (
        "max_request_duration",
        Ignored("http_read_timeout limits how long a request is sent, http_write_timeout how long it is answered"),
    ),
    ("tls_cipher_suites", Ignored("only suites that nobody knows how to break are offered")),
    ("tls_prefer_server_cipher_suites", Fine),
    ("proxy_protocol_behavior", Refused("the PROXY protocol is not spoken: leave it out")),
    ("proxy_protocol_authorized_addrs", Ignored("the PROXY protocol is not spoken")),
    ("x_forwarded_for_authorized_addrs", Ignored("callers are known by the address that they connect from")),
    ("x_forwarded_for_hop_skips", Ignored("callers are known by the address that they connect from")),
    ("x_forwarded_for_reject_not_authorized", Ignored("callers are known by the address that they connect from")),
    ("x_forwarded_for_reject_not_present", Ignored("callers are known by the address that they connect from")),
    ("agent_api", Ignored("it is for agents")),
    ("role", Ignored("it is for agents")),
    ("profiling", Ignored("there are no profiles to fetch")),
    ("inflight_requests_logging", Ignored("sys/in-flight-req takes a token")),
    ("custom_response_headers", Ignored("answers carry the headers that clients know")),
];

/// Warnings about the top level and about `telemetry`.
pub(super) fn top_level(root: &Block<'_>, known: &[&str]) -> Result<Vec<String>, Error> {
    let mut warnings = judged(root, known, TOP_LEVEL, "")?;
    for telemetry in root.blocks("telemetry", 0)? {
        warnings.extend(judged(&telemetry, &[], TELEMETRY, "telemetry.")?);
    }
    Ok(warnings)
}

/// Warnings about a listener.
pub(super) fn listener(block: &Block<'_>, known: &[&str]) -> Result<Vec<String>, Error> {
    judged(block, known, LISTENER, "listener.")
}

fn judged(block: &Block<'_>, known: &[&str], table: &[(&str, Fate)], place: &str) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    for key in block.unknown(known) {
        let line = block.line(key).map(|line| format!("line {line}: ")).unwrap_or_default();
        match table.iter().find(|(name, _)| *name == key).map(|(_, fate)| fate) {
            None => warnings.push(format!("{line}{place}{key} is not known and is ignored")),
            Some(Fine) => {}
            Some(Ignored(reason)) => warnings.push(format!("{line}{place}{key} is ignored: {reason}")),
            Some(Refused(reason)) if is_wanted(block, key) => {
                return Err(block.error_at(key, format!("{key:?}: {reason}")));
            }
            Some(Refused(_)) => {}
        }
    }
    Ok(warnings)
}

/// Whether a key asks for anything: neither false, nor empty.
fn is_wanted(block: &Block<'_>, key: &str) -> bool {
    match block.bool(key) {
        Ok(on) => on.unwrap_or(false),
        Err(_) => block.string(key).ok().flatten().is_none_or(|text| !text.is_empty()),
    }
}
