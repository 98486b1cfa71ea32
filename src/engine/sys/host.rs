//! `sys/host-info` and `sys/ha-status`: the machine that the engine runs on, as Linux tells of it.

use serde_json::{Map, Value, json};

use crate::engine::core::Core;
use crate::engine::request::Reply;
use crate::engine::status::VERSION;
use crate::wire::{Answer, Error, Operation};

/// Ticks of `/proc/stat` in a second, on every Linux that we run on.
const TICKS: f64 = 100.0;

/// The columns of a processor's line in `/proc/stat`.
const TIMES: &[&str] = &["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guestNice"];

impl Core {
    /// Without `disk`: how full file systems are is nothing that an engine needs rights for.
    pub(super) async fn sys_host_info(&self, operation: Operation) -> Result<Reply, Error> {
        if operation != Operation::Read {
            return Err(Error::unsupported_operation());
        }
        let uptime = read("/proc/uptime").await;
        let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok()).unwrap_or(0);
        Ok(Reply::answer(Answer::data(json!({
            "timestamp": self.shared.clock.now().to_string(),
            "cpu": processors(&read("/proc/cpuinfo").await),
            "cpu_times": times(&read("/proc/stat").await),
            "memory": memory(&read("/proc/meminfo").await),
            "host": {
                "hostname": read("/proc/sys/kernel/hostname").await.trim(), "os": std::env::consts::OS,
                "kernelArch": std::env::consts::ARCH, "kernelVersion": read("/proc/sys/kernel/osrelease").await.trim(),
                "uptime": uptime,
            },
        }))))
    }

    /// One node, which is the active one.
    pub(super) async fn sys_ha_status(&self, operation: Operation) -> Result<Reply, Error> {
        if operation != Operation::Read {
            return Err(Error::unsupported_operation());
        }
        let hostname = read("/proc/sys/kernel/hostname").await;
        Ok(Reply::duplicated(Answer::data(json!({ "nodes": [{
            "hostname": hostname.trim(), "api_address": "", "cluster_address": "", "active_node": true,
            "last_echo": null, "version": VERSION,
        }] }))))
    }
}

/// A file of `/proc`; what cannot be read tells nothing.
async fn read(path: &str) -> String {
    tokio::fs::read_to_string(path).await.unwrap_or_default()
}

fn processors(text: &str) -> Vec<Value> {
    let fields = |block: &str| -> Map<String, Value> {
        let wanted = [("processor", "cpu"), ("vendor_id", "vendorId"), ("model name", "modelName"), ("cpu MHz", "mhz")];
        let lines = block.lines().filter_map(|line| line.split_once(':'));
        let row = |(name, value): (&str, &str)| {
            let (_, field) = wanted.iter().find(|(own, _)| *own == name.trim())?;
            let value = value.trim();
            let number = value.parse::<f64>().ok().filter(|_| matches!(*field, "cpu" | "mhz"));
            Some(((*field).to_owned(), number.map_or_else(|| json!(value), |number| json!(number))))
        };
        lines.filter_map(row).collect()
    };
    text.split("\n\n").map(fields).filter(|row| row.contains_key("cpu")).map(Value::from).collect()
}

fn times(text: &str) -> Vec<Value> {
    let row = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        name.strip_prefix("cpu").filter(|number| number.parse::<u32>().is_ok())?;
        let ticks = rest.split_whitespace().map_while(|ticks| ticks.parse::<f64>().ok());
        let mut row: Map<_, _> =
            TIMES.iter().zip(ticks).map(|(name, ticks)| ((*name).to_owned(), json!(ticks / TICKS))).collect();
        row.insert("cpu".into(), json!(name));
        Some(Value::from(row))
    };
    text.lines().filter_map(row).collect()
}

/// Bytes.
fn memory(text: &str) -> Value {
    let bytes = |wanted: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
    json!({
        "total": total, "available": available, "free": bytes("MemFree"), "buffers": bytes("Buffers"),
        "cached": bytes("Cached"), "used": total.saturating_sub(available),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_texts_are_read() {
        let memory = memory("MemTotal:  100 kB\nMemFree: 10 kB\nMemAvailable:   40 kB\n");
        assert_eq!((&memory["total"], &memory["used"]), (&json!(102_400), &json!(61_440)));
        let times = times("cpu  9 9\ncpu0 100 200 300\nintr 5\n");
        assert_eq!(times, [json!({ "cpu": "cpu0", "user": 1.0, "nice": 2.0, "system": 3.0 })]);
        let cpus = processors("processor\t: 0\nmodel name\t: A 100\n\nprocessor\t: 1\nmodel name\t: A 100\n");
        assert_eq!((cpus.len(), &cpus[1]["modelName"]), (2, &json!("A 100")));
    }
}
