//! Lessor: one role per process, chosen by the first argument.
fn main() {}
