//! Which objects own more leases than they know of: what a crash between making a credential and writing it leaves behind.

use std::collections::HashMap;

/// Compares counts of leases over several looks at the engine.
#[derive(Debug, Default)]
pub struct Surplus {
    /// How many each owner had at the last look, and whether that was acted on.
    seen: HashMap<String, (usize, bool)>,
}

impl Surplus {
    /// Takes in how many leases each owner has and should have, and returns the owners to look into: those whose surplus was the
    /// same at the last look, because one that is just being given a credential has one more for a moment. Each is returned once
    /// until its number changes.
    pub fn observe<'a>(&mut self, owners: impl Iterator<Item = (&'a str, usize, usize)>) -> Vec<String> {
        let before = std::mem::take(&mut self.seen);
        let mut found = Vec::new();
        for (uid, owned, _) in owners.filter(|(_, owned, expected)| owned > expected) {
            let known = before.get(uid).filter(|(count, _)| *count == owned);
            if known.is_some_and(|(_, told)| !told) {
                found.push(uid.to_owned());
            }
            self.seen.insert(uid.to_owned(), (owned, known.is_some()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(surplus: &mut Surplus, owned: usize, expected: usize) -> usize {
        surplus.observe([("uid", owned, expected)].into_iter()).len()
    }

    #[test]
    fn a_surplus_that_stays_is_told_once() {
        let mut surplus = Surplus::default();
        let told: Vec<_> = [(2, 1), (2, 1), (2, 1), (3, 1), (3, 1)]
            .map(|(owned, expected)| look(&mut surplus, owned, expected))
            .into();
        assert_eq!(told, [0, 1, 0, 0, 1]);
    }

    #[test]
    fn a_lease_that_is_being_delivered_is_no_surplus() {
        let mut surplus = Surplus::default();
        let told: Vec<_> =
            [(1, 0), (1, 1), (2, 1), (1, 1)].map(|(owned, expected)| look(&mut surplus, owned, expected)).into();
        assert_eq!(told, [0, 0, 0, 0]);
    }
}
