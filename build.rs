//! What the linker is told.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The program can be loaded anywhere, for which it has 60,000 pointers that are mended at each start: packed, their list
    // takes 16 KiB of memory instead of 1.6 MiB.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
