//! The routes below `sys/`, in tables by area.

mod leases;
mod mounts;
mod namespaces;
mod policies;
mod seal;
mod server;

use crate::wire::Route;
use crate::wire::route::Found;

pub(in crate::engine) use self::seal::{OPEN, STATUS};

/// Every table of `sys/`.
const TABLES: &[&[Route]] = &[
    STATUS,
    OPEN,
    seal::GUARDED,
    mounts::ROUTES,
    namespaces::ROUTES,
    policies::ROUTES,
    leases::LEASES,
    leases::WRAPPING,
    leases::QUOTAS,
    server::ROUTES,
    server::BROWSERS,
    server::OWN,
];

/// Every route of `sys/`.
pub(in crate::engine) fn all() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().copied().flatten()
}

/// The route of a path that is answered before there is an unsealed engine, or without it.
pub(in crate::engine) fn early(path: &str, operation: crate::wire::Operation) -> Found {
    Found::among(STATUS.iter().chain(OPEN), path, operation)
}
