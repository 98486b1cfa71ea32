//! The agent that runs beside a pod.

use std::process::ExitCode;

fn main() -> ExitCode {
    lessor::agent::main(std::env::args().skip(1))
}
