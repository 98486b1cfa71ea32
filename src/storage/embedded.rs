//! The default backend: one file on local disk, with group commit.
