//! Whether to ask the engine for the password now: a pure decision over what is known.

use super::record::AccountRecord;
use crate::base::Timestamp;
use crate::operator::tenant::Tenant;

/// What can be seen of the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing: it is in a namespace that the operator does not watch, or is not there.
    Unseen,
    /// Its object, which says when the password changed last, as far as it knows.
    Seen(Option<Timestamp>),
}

/// What comes next for the password in the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the engine which password counts.
    Ask,
    /// Nothing before that moment.
    Wait(Timestamp),
}

/// Decides what comes next. `record` says what the Secret holds, if it holds exactly that; `next` is when the password was
/// last said to change.
pub fn next_step(
    now: Timestamp,
    record: Option<&AccountRecord>,
    tenant: &Tenant,
    role: Role,
    next: Option<Timestamp>,
) -> Step {
    let Some(record) = record else { return Step::Ask };
    if record.role != tenant.role || record.service_account != tenant.service_account {
        return Step::Ask;
    }
    match (role, next) {
        // Nobody else would tell of a change by hand.
        (Role::Unseen, _) | (_, None) => Step::Ask,
        (Role::Seen(changed), _) if changed > record.rotated => Step::Ask,
        (_, Some(next)) if now >= next => Step::Ask,
        (_, Some(next)) => Step::Wait(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tenant(role: &str, service_account: &str) -> Tenant {
        Tenant {
            uid: "u".into(),
            namespace: "shop".into(),
            name: "db".into(),
            service_account: service_account.into(),
            role: role.into(),
        }
    }

    #[test]
    fn the_engine_is_asked_for_a_reason_only() {
        let record = AccountRecord {
            username: "app".into(),
            role: "shop.app".into(),
            service_account: "web".into(),
            rotated: Some(at(100)),
            salt: "s".into(),
        };
        let same = tenant("shop.app", "web");
        let step = |record, tenant, role, next| next_step(at(150), record, tenant, role, next);
        let seen = Role::Seen(Some(at(100)));
        assert_eq!(step(Some(&record), &same, seen, Some(at(160))), Step::Wait(at(160)));
        // The Secret may be ahead of its role.
        assert_eq!(step(Some(&record), &same, Role::Seen(Some(at(90))), Some(at(160))), Step::Wait(at(160)));
        assert_eq!(step(Some(&record), &same, Role::Seen(None), Some(at(160))), Step::Wait(at(160)));
        for (record, tenant, role, next) in [
            (None, &same, seen, Some(at(160))),
            (Some(&record), &tenant("shop.other", "web"), seen, Some(at(160))),
            (Some(&record), &tenant("shop.app", "other"), seen, Some(at(160))),
            (Some(&record), &same, Role::Seen(Some(at(140))), Some(at(160))),
            (Some(&record), &same, Role::Unseen, Some(at(160))),
            (Some(&record), &same, seen, Some(at(150))),
            (Some(&record), &same, seen, None),
        ] {
            assert_eq!(step(record, tenant, role, next), Step::Ask, "{record:?} {tenant:?} {role:?} {next:?}");
        }
    }
}
