//! The server's configuration file, in HCL or JSON.
