//! ACL policies: parsing, and the decision which capabilities a path has.
