//! Address blocks (`10.0.0.0/8`, `fd00::/8`, a single address) that bind roles and tokens to where requests come from.

use std::net::IpAddr;

use crate::wire::Error;

/// A block of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u32,
}

impl Cidr {
    /// Reads `ADDRESS/BITS`, or an address alone as a block of one. IPv4 written as IPv6 (`::ffff:10.0.0.1`) is IPv4.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.trim().split_once('/').map_or((text.trim(), None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(width), |bits| bits.parse().ok().filter(|bits| *bits <= width))?;
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), address @ IpAddr::V4(_)) if bits >= 96 => Some(Self { address, bits: bits - 96 }),
            _ => Some(Self { address, bits }),
        }
    }

    /// Whether the address lies in the block. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.holds(address.to_canonical())
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether every address of `other` lies in this block.
    pub fn covers(&self, other: Self) -> bool {
        self.bits <= other.bits && self.holds(other.address)
    }
}

/// Checks texts that are to become bounds.
///
/// # Errors
/// 400 naming the field and the text that is no block.
pub fn check(field: &str, blocks: &[String]) -> Result<(), Error> {
    match blocks.iter().find(|block| Cidr::parse(block).is_none()) {
        None => Ok(()),
        Some(block) => Err(Error::bad_request(format!("{field:?}: {block:?} is not a CIDR block such as 10.0.0.0/8"))),
    }
}

/// Whether a caller may pass: always without bounds, never from an unknown address with bounds.
pub fn admits(blocks: &[String], address: Option<IpAddr>) -> bool {
    let within = |address| blocks.iter().filter_map(|block| Cidr::parse(block)).any(|block| block.contains(address));
    blocks.is_empty() || address.is_some_and(within)
}

/// Whether every one of `inner` lies in one of `outer`; an empty `outer` is everywhere.
pub fn all_within(inner: &[String], outer: &[String]) -> bool {
    let outer: Vec<_> = outer.iter().filter_map(|block| Cidr::parse(block)).collect();
    outer.is_empty()
        || inner.iter().all(|block| Cidr::parse(block).is_some_and(|block| outer.iter().any(|o| o.covers(block))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(blocks: &[&str]) -> Vec<String> {
        blocks.iter().map(|block| (*block).to_owned()).collect()
    }

    #[test]
    fn ipv4_written_as_ipv6_is_ipv4() {
        let address = "10.1.2.3".parse().ok();
        assert!(admits(&list(&["::ffff:10.1.0.0/112"]), address) && !admits(&list(&["::ffff:10.2.0.0/112"]), address));
        for block in ["::ffff:10.1.2.3", "::ffff:10.0.0.0/104", "::ffff:0.0.0.0/90", "fd00::/8"] {
            assert!(all_within(&list(&[block]), &list(&[block])), "{block}");
        }
        assert!(all_within(&list(&["::ffff:10.1.2.3"]), &list(&["10.0.0.0/8"])));
    }

    #[test]
    fn blocks_hold_their_addresses_and_no_others() {
        for (blocks, address, expected) in [
            (&["10.1.0.0/16"] as &[_], "10.1.255.255", true),
            (&["10.1.0.0/16"], "10.2.0.0", false),
            (&["10.1.0.0/16"], "::ffff:10.1.0.1", true),
            (&["0.0.0.0/0"], "1.2.3.4", true),
            (&["0.0.0.0/0"], "::1", false),
            (&["192.0.2.7"], "192.0.2.7", true),
            (&["192.0.2.7"], "192.0.2.6", false),
            (&["::/0"], "fd00::1", true),
            (&["fd00::/8", "10.0.0.0/8"], "10.9.9.9", true),
            (&[], "10.9.9.9", true),
        ] {
            assert_eq!(admits(&list(blocks), address.parse().ok()), expected, "{blocks:?} {address}");
        }
        assert!(!admits(&list(&["::/0"]), None) && admits(&[], None));
    }

    #[test]
    fn bounds_may_only_be_narrowed() {
        assert!(all_within(&list(&["10.1.0.0/16"]), &list(&["10.0.0.0/8"])));
        assert!(!all_within(&list(&["10.0.0.0/7"]), &list(&["10.0.0.0/8"])));
        assert!(all_within(&list(&["1.2.3.4/32"]), &[]));
    }

    #[test]
    fn what_is_no_block_is_named() {
        assert!(check("f", &list(&["10.0.0.0/8", "::1"])).is_ok());
        for wrong in ["10.0.0.0/33", "10.0.0/8", "x", "", "::/129", "10.0.0.0/-1"] {
            assert!(check("f", &list(&[wrong])).unwrap_err().to_string().starts_with("\"f\": "), "{wrong}");
        }
    }
}
