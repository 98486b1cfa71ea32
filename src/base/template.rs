//! Go templates with the functions that Vault's users know; the same renderer for agent, operator and user names.
