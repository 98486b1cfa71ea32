//! Randomness as an argument: the operating system's for programs, a repeatable one for tests.

use std::cell::RefCell;
use std::sync::Mutex;

use zeroize::Zeroize as _;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A source of random bytes. Everything secret must come from [`SystemRandom`] outside tests.
pub trait Random: Send + Sync {
    /// Fills the whole buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// A number in `0..bound`, without bias. `bound` must not be 0.
    fn below(&self, bound: u32) -> u32 {
        let zone = u32::MAX - u32::MAX % bound;
        loop {
            let mut word = [0; 4];
            self.fill(&mut word);
            let value = u32::from_le_bytes(word);
            if value < zone {
                return value % bound;
            }
        }
    }

    /// `length` characters of `0-9A-Za-z`, as Vault forms lease ids, tokens and accessors.
    fn base62(&self, length: usize) -> String {
        // A byte below 248 = 4 * 62 maps to a character without bias; others are drawn again.
        let mut text = String::with_capacity(length);
        let mut pool = [0; 32];
        while text.len() < length {
            self.fill(&mut pool);
            let usable = pool.iter().filter(|byte| **byte < 248).take(length - text.len());
            text.extend(usable.map(|byte| char::from(BASE62[usize::from(byte % 62)])));
        }
        text
    }

    /// A version 4 UUID in its usual lower-case form.
    fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// A factor in `1 - spread ..= 1 + spread`, to keep many clients from acting in step.
    fn jitter(&self, spread: f64) -> f64 {
        1.0 - spread + 2.0 * spread * f64::from(self.below(1 << 20)) / f64::from((1 << 20) - 1)
    }
}

/// The operating system's cryptographic randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

/// Random bytes of one thread that nobody has had yet: passwords and names are drawn a few bytes at a time, and each call of
/// the operating system costs more than they do.
struct Pool {
    bytes: [u8; 256],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; 256], used: 256 }) };
}

impl Pool {
    /// Hands out bytes and keeps no copy of them.
    fn take(&mut self, buffer: &mut [u8]) {
        if self.bytes.len() - self.used < buffer.len() {
            from_system(&mut self.bytes);
            self.used = 0;
        }
        let taken = &mut self.bytes[self.used..self.used + buffer.len()];
        buffer.copy_from_slice(taken);
        taken.zeroize();
        self.used += buffer.len();
    }
}

#[expect(clippy::disallowed_methods, clippy::expect_used, reason = "the one source; without it nothing is safe")]
fn from_system(buffer: &mut [u8]) {
    getrandom::fill(buffer).expect("the operating system has no randomness");
}

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        if buffer.len() > 64 {
            return from_system(buffer);
        }
        // A thread that is ending has no pool any more.
        if POOL.try_with(|pool| pool.borrow_mut().take(buffer)).is_err() {
            from_system(buffer);
        }
    }
}

/// A repeatable sequence (SplitMix64) for tests. Never use it for a secret.
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = *state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_has_the_asked_length_and_alphabet() {
        let text = SystemRandom.base62(1000);
        assert_eq!(text.len(), 1000);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(text, SystemRandom.base62(1000));
    }

    #[test]
    fn a_uuid_carries_version_and_variant() {
        let uuid = SeededRandom::new(7).uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "4");
        assert!("89ab".contains(&uuid[19..20]));
    }

    #[test]
    fn no_byte_is_handed_out_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let mut word = [0; 16];
            SystemRandom.fill(&mut word);
            assert!(seen.insert(word));
        }
        let mut long = [0; 1000];
        SystemRandom.fill(&mut long);
        assert!(long.iter().any(|byte| *byte != 0));
    }

    #[test]
    fn jitter_stays_within_its_spread() {
        let random = SeededRandom::new(1);
        assert!((0..1000).map(|_| random.jitter(0.1)).all(|factor| (0.9..=1.1).contains(&factor)));
    }
}
