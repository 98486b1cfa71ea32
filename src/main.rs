//! Lessor: one role per process, chosen by the first argument.

use std::process::ExitCode;

fn main() -> ExitCode {
    lessor::base::tls::install_provider();
    lessor::cli::main(std::env::args_os().collect())
}
