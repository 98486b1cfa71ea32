//! A small HTTPS client over hyper: one request, one answer, with a deadline.
