//! The agent: logs in, renders templates, renews and revokes.
