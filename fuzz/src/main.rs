//! The program that libFuzzer drives: `LESSOR_FUZZ_TARGET` names one of the targets.

#![no_main]
#![allow(unsafe_code, reason = "libFuzzer calls an exported function, which its macro writes")]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<lessor_fuzz::Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("LESSOR_FUZZ_TARGET").unwrap_or_default();
        let found = lessor_fuzz::TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("LESSOR_FUZZ_TARGET={name:?} is no target of fuzz/src/lib.rs")).1
    });
    target(data);
});
