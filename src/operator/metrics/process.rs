//! What the process uses, under the names that every Prometheus client library gives it.

use super::Text;
use crate::base::process;

/// Memory and processor time; nothing where there is no `/proc`.
pub fn render(text: &mut Text) {
    if let Some(bytes) = process::resident_bytes() {
        text.head_of("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
        text.row_of("process_resident_memory_bytes", &[], bytes);
    }
    if let Some(seconds) = process::processor_seconds() {
        text.head_of("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
        text.row_of("process_cpu_seconds_total", &[], seconds);
    }
}
