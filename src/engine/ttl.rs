//! TTL arithmetic of leases and tokens (vault-api.md 0.6): whole seconds, capped, with the warnings that Vault gives.

use crate::base::clock::{add_seconds, seconds_between};
use crate::base::{Timestamp, duration};

/// 768 hours: what a mount gets that sets nothing itself, for default and max alike.
pub const SYSTEM_TTL: u64 = 2_764_800;

/// Lease limits of a mount with the system's filled in, whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// TTL when neither request nor role says one.
    pub default_ttl: u64,
    /// Longest life.
    pub max_ttl: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { default_ttl: SYSTEM_TTL, max_ttl: SYSTEM_TTL }
    }
}

/// What is asked for, whole seconds; 0 is unset everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// What the caller asks for.
    pub increment: u64,
    /// The role's default.
    pub role_ttl: u64,
    /// The role's maximum.
    pub role_max: u64,
    /// A period: renewed for ever, each time by this much.
    pub period: u64,
    /// A limit that nothing overrides.
    pub explicit_max: u64,
}

/// The TTL that is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Whole seconds from now.
    pub ttl: u64,
    /// Said when less was granted than was asked for.
    pub warning: Option<String>,
}

fn smallest_set(values: [u64; 2], limit: u64) -> u64 {
    values.into_iter().filter(|value| *value > 0).fold(limit, u64::min)
}

/// Grants a TTL to something issued at `issued`; `None` when its longest life is over.
pub fn grant(wish: &Wish, limits: &Limits, issued: Timestamp, now: Timestamp) -> Option<Granted> {
    let max = smallest_set([wish.role_max, wish.explicit_max], limits.max_ttl);
    let lived = seconds_between(issued, now);
    if wish.period > 0 {
        let asked = wish.period.min(smallest_set([wish.role_max, 0], limits.max_ttl));
        let left = if wish.explicit_max > 0 { wish.explicit_max.checked_sub(lived)? } else { asked };
        return (left > 0).then(|| Granted { ttl: asked.min(left), warning: None });
    }
    let wanted = [wish.increment, wish.role_ttl, limits.default_ttl].into_iter().find(|ttl| *ttl > 0).unwrap_or(max);
    let left = max.checked_sub(lived).filter(|left| *left > 0)?;
    // Only a wish that somebody uttered deserves a warning, not the system's default meeting a smaller maximum.
    let uttered = wish.increment > 0 || wish.role_ttl > 0;
    let warning = (uttered && wanted > left).then(|| {
        format!(
            "TTL of {:?} exceeded the effective max_ttl of {:?}; TTL value is capped accordingly",
            duration::format_seconds(wanted),
            duration::format_seconds(left)
        )
    });
    Some(Granted { ttl: wanted.min(left), warning })
}

/// The end of something granted `ttl` seconds at `now`.
pub fn expiry(now: Timestamp, ttl: u64) -> Timestamp {
    add_seconds(now, ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: u64) -> Timestamp {
        add_seconds(START, seconds)
    }

    fn ttl(wish: Wish, now: u64) -> Option<u64> {
        grant(&wish, &Limits::default(), START, at(now)).map(|granted| granted.ttl)
    }

    #[test]
    fn the_request_beats_the_role_and_the_role_the_mount() {
        assert_eq!(ttl(Wish::default(), 0), Some(SYSTEM_TTL));
        assert_eq!(ttl(Wish { role_ttl: 3600, ..Wish::default() }, 0), Some(3600));
        assert_eq!(ttl(Wish { role_ttl: 3600, increment: 60, ..Wish::default() }, 0), Some(60));
    }

    #[test]
    fn the_maximum_counts_from_the_issue_and_is_said() {
        let wish = Wish { increment: 36_000, role_max: 5400, ..Wish::default() };
        let granted = grant(&wish, &Limits::default(), START, START).unwrap();
        assert_eq!(granted.ttl, 5400);
        let text = "TTL of \"10h\" exceeded the effective max_ttl of \"1h30m\"; TTL value is capped accordingly";
        assert_eq!(granted.warning.as_deref(), Some(text));
        assert_eq!(ttl(Wish { role_ttl: 3600, role_max: 5400, ..Wish::default() }, 3000), Some(2400));
        assert_eq!(ttl(Wish { role_ttl: 3600, role_max: 5400, ..Wish::default() }, 5400), None);
    }

    #[test]
    fn a_period_lives_for_ever_unless_an_explicit_maximum_ends_it() {
        assert_eq!(ttl(Wish { period: 600, ..Wish::default() }, SYSTEM_TTL * 2), Some(600));
        assert_eq!(ttl(Wish { period: 600, explicit_max: 1000, ..Wish::default() }, 700), Some(300));
        assert_eq!(ttl(Wish { period: 600, explicit_max: 1000, ..Wish::default() }, 1000), None);
    }
}
