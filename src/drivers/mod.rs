//! Database drivers: the trait that every kind of database implements, and the table of kinds.
