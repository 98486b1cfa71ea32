//! Our randomness as RustCrypto's libraries want it.

use rsa::rand_core::{CryptoRng, Error, RngCore};

use super::Random;

/// A source of random bytes for a function that takes a `CryptoRng` of `rand_core` 0.6.
pub struct RandCore<'a>(pub &'a dyn Random);

impl CryptoRng for RandCore<'_> {}

impl RngCore for RandCore<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, buffer: &mut [u8]) {
        self.0.fill(buffer);
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.0.fill(buffer);
        Ok(())
    }
}
