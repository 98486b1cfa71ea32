//! The agent that runs beside a pod.
fn main() {}
