//! Shamir's secret sharing over GF(2^8): a secret in `n` shares, any `t` of which give it back and fewer say nothing.
//!
//! A share is the values of the polynomials (one per byte of the secret) followed by the point they were taken at, as in
//! Vault, so that a share is one byte longer than the secret.

use zeroize::Zeroizing;

use crate::base::Random;

/// How many shares there are and how many of them are needed: `1 <= threshold <= shares <= 255`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    shares: u8,
    threshold: u8,
}

impl Scheme {
    /// One share, which is the whole secret.
    pub const ONE: Self = Self { shares: 1, threshold: 1 };

    /// Checks the numbers once, so that no other function has to.
    ///
    /// # Errors
    /// A text that says what to change.
    pub fn new(shares: u64, threshold: u64) -> Result<Self, String> {
        match (u8::try_from(shares), u8::try_from(threshold)) {
            (Ok(0), _) | (_, Ok(0)) => Err("shares and threshold must be at least one".into()),
            (Ok(1), Ok(1)) => Ok(Self { shares: 1, threshold: 1 }),
            (Ok(_), Ok(1)) => Err("threshold must be greater than one for multiple shares".into()),
            (Ok(shares), Ok(threshold)) if threshold <= shares => Ok(Self { shares, threshold }),
            (Ok(_), Ok(_)) => Err("threshold cannot be greater than shares".into()),
            _ => Err("shares and threshold cannot exceed 255".into()),
        }
    }

    /// How many shares there are.
    pub fn shares(&self) -> u8 {
        self.shares
    }

    /// How many are needed.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }
}

/// Why shares do not give a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No shares, or not all of the same length (at least two bytes).
    #[error("shares must be there, and all of the same length")]
    Length,
    /// Two shares were taken at the same point: one of them was handed in twice.
    #[error("the same share was given twice")]
    Duplicate,
}

type Share = Zeroizing<Vec<u8>>;

/// Splits a secret. With a threshold of 1 the only share is the secret itself, as in Vault.
pub fn split(secret: &[u8], scheme: Scheme, random: &dyn Random) -> Vec<Share> {
    if scheme.threshold == 1 {
        return vec![Zeroizing::new(secret.to_vec())];
    }
    let mut shares: Vec<Share> =
        (1..=scheme.shares).map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + 1))).collect();
    let mut polynomial = Zeroizing::new(vec![0; usize::from(scheme.threshold)]);
    for byte in secret {
        random.fill(&mut polynomial);
        polynomial[0] = *byte;
        for (point, share) in (1..=scheme.shares).zip(&mut shares) {
            share.push(evaluate(&polynomial, point));
        }
    }
    for (point, share) in (1..=scheme.shares).zip(&mut shares) {
        share.push(point);
    }
    shares
}

/// Gives back the secret from at least `threshold` shares (two or more). Wrong or too few shares give a wrong secret: what
/// the secret opens must tell.
///
/// # Errors
/// When the shares cannot belong together.
pub fn combine(shares: &[&[u8]]) -> Result<Share, Error> {
    let length = shares.first().map_or(0, |share| share.len());
    if length < 2 || shares.iter().any(|share| share.len() != length) {
        return Err(Error::Length);
    }
    let points: Vec<u8> = shares.iter().map(|share| share[length - 1]).collect();
    if points.iter().enumerate().any(|(at, point)| *point == 0 || points[..at].contains(point)) {
        return Err(Error::Duplicate);
    }
    let weights: Vec<u8> = points.iter().map(|point| weight_at_zero(*point, &points)).collect();
    let byte =
        |at: usize| shares.iter().zip(&weights).fold(0, |sum, (share, weight)| sum ^ multiply(share[at], *weight));
    Ok(Zeroizing::new((0..length - 1).map(byte).collect()))
}

/// Lagrange's basis polynomial of `point` among `points`, at 0. Subtraction is addition is exclusive or.
fn weight_at_zero(point: u8, points: &[u8]) -> u8 {
    let others = points.iter().filter(|other| **other != point);
    others.fold(1, |weight, other| multiply(weight, multiply(*other, invert(*other ^ point))))
}

fn evaluate(polynomial: &[u8], at: u8) -> u8 {
    polynomial.iter().rev().fold(0, |value, coefficient| multiply(value, at) ^ coefficient)
}

/// Multiplication modulo x^8 + x^4 + x^3 + x + 1, without tables or branches that depend on the operands.
fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut product) = (a, 0);
    for bit in 0..8 {
        product ^= a & 0u8.wrapping_sub(b >> bit & 1);
        a = (a << 1) ^ (0x1b & 0u8.wrapping_sub(a >> 7));
    }
    product
}

/// The inverse is the 254th power; that of 0 is 0.
fn invert(a: u8) -> u8 {
    let mut square = a;
    let mut product = 1;
    for _ in 0..7 {
        square = multiply(square, square);
        product = multiply(product, square);
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::random::SeededRandom;

    proptest! {
        #[test]
        fn any_threshold_of_shares_gives_the_secret_back(
            secret in proptest::collection::vec(any::<u8>(), 1..64),
            threshold in 2u64..8, more in 0u64..8, seed: u64, skip: usize,
        ) {
            let scheme = Scheme::new(threshold + more, threshold).unwrap();
            let shares = split(&secret, scheme, &SeededRandom::new(seed));
            let skip = skip % (usize::try_from(more).unwrap() + 1);
            let some: Vec<&[u8]> =
                shares.iter().skip(skip).take(usize::from(scheme.threshold())).map(|share| share.as_slice()).collect();
            prop_assert_eq!(&**combine(&some).unwrap(), &secret[..]);
        }

        #[test]
        fn inverses_invert(a in 1u8..) {
            prop_assert_eq!(multiply(a, invert(a)), 1);
        }
    }

    #[test]
    fn too_few_shares_do_not_give_the_secret() {
        let secret = [7; 32];
        let shares = split(&secret, Scheme::new(5, 3).unwrap(), &SeededRandom::new(1));
        assert_ne!(&**combine(&[&shares[0], &shares[1]]).unwrap(), &secret);
        assert_eq!(combine(&[&shares[0], &shares[0]]).unwrap_err(), Error::Duplicate);
        assert_eq!(combine(&[]).unwrap_err(), Error::Length);
    }

    #[test]
    fn impossible_schemes_are_refused() {
        for (shares, threshold) in [(0, 0), (1, 0), (3, 1), (2, 3), (256, 3)] {
            assert!(Scheme::new(shares, threshold).is_err(), "{shares} {threshold}");
        }
    }
}
