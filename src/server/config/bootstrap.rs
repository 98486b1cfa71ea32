//! `bootstrap { … }`: what the engine sets up itself at its first start, so that nobody needs a root token.

use super::seal::key_bytes;
use super::unknown;
use crate::base::hcl::{Block, Error};
use crate::engine::bootstrap::{Kubernetes, Operator, Plan, RecoveryKey};

pub(super) fn read(root: &Block<'_>, warnings: &mut Vec<String>) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    for stanza in root.blocks("bootstrap", 0)? {
        warnings.extend(unknown(&stanza, &["kubernetes_auth", "database", "operator", "recovery_key"], "bootstrap."));
        plan.recovery_key = key_bytes(&stanza, "recovery_key")?.map(RecoveryKey);
        for block in stanza.blocks("kubernetes_auth", 0)? {
            plan.kubernetes = Some(Kubernetes {
                path: block.string("path")?.unwrap_or_else(|| "kubernetes".into()),
                host: required(&block, "kubernetes_host")?,
            });
        }
        for block in stanza.blocks("database", 0)? {
            plan.database = Some(block.string("path")?.unwrap_or_else(|| "database".into()));
        }
        for block in stanza.blocks("operator", 0)? {
            if plan.kubernetes.is_none() {
                return Err(block.error("\"operator\" needs a \"kubernetes_auth\" block before it: it logs in there"));
            }
            plan.operator = Some(Operator {
                role: block.string("role")?.unwrap_or_else(|| "lessor-operator".into()),
                service_account: required(&block, "service_account")?,
                namespace: required(&block, "namespace")?,
                audience: block.string("audience")?.unwrap_or_default(),
            });
        }
    }
    Ok(plan)
}

fn required(block: &Block<'_>, key: &str) -> Result<String, Error> {
    let text = block.string(key)?.filter(|text| !text.is_empty());
    text.ok_or_else(|| block.error(format!("{key:?} is missing")))
}
