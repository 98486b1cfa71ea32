//! TLS settings of clients and servers, and the one crypto provider of the process.
