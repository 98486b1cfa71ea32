//! Whether a pod's specification uses a Secret, and whether a running pod sees the Secret change.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, PodSpec, VolumeMount};

/// How a pod uses a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// In files that Kubernetes brings up to date within two minutes.
    Followed,
    /// In environment variables, or in files mounted by `subPath`: as it was when the container started.
    Frozen,
}

/// How `spec` uses one of `secrets`; `None`: not at all.
pub fn usage(spec: &PodSpec, secrets: &[&str]) -> Option<Usage> {
    let wanted = |name: &str| secrets.contains(&name);
    let volumes: Vec<&str> = spec
        .volumes
        .iter()
        .flatten()
        .filter_map(|volume| {
            let plain = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref());
            let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
            let mut names =
                plain.into_iter().chain(projected.filter_map(|source| Some(source.secret.as_ref()?.name.as_str())));
            names.any(wanted).then_some(volume.name.as_str())
        })
        .collect();
    let frozen = containers(spec).any(|container| {
        let by_name = container.env.iter().any(|variable| wanted(variable_source(variable).unwrap_or_default()));
        let whole =
            container.env_from.iter().any(|from| from.secret_ref.as_ref().is_some_and(|secret| wanted(&secret.name)));
        let part = container.mounts.iter().any(|mount| {
            (mount.sub_path.is_some() || mount.sub_path_expr.is_some()) && volumes.contains(&mount.name.as_str())
        });
        by_name || whole || part
    });
    if frozen { Some(Usage::Frozen) } else { (!volumes.is_empty()).then_some(Usage::Followed) }
}

/// What the three kinds of containers have in common.
struct Container<'a> {
    env: &'a [EnvVar],
    env_from: &'a [EnvFromSource],
    mounts: &'a [VolumeMount],
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = Container<'_>> {
    let plain = spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|container| Container {
        env: container.env.as_deref().unwrap_or_default(),
        env_from: container.env_from.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| Container {
        env: container.env.as_deref().unwrap_or_default(),
        env_from: container.env_from.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
    });
    plain.chain(ephemeral)
}

fn variable_source(variable: &EnvVar) -> Option<&str> {
    Some(variable.value_from.as_ref()?.secret_key_ref.as_ref()?.name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value) -> Option<Usage> {
        usage(&serde_json::from_value(spec).unwrap(), &["db"])
    }

    fn with(container: Value) -> Value {
        json!({ "containers": [{ "name": "other" }], "initContainers": [container] })
    }

    #[test]
    fn variables_are_frozen_when_the_container_starts() {
        let reference = json!({ "secretKeyRef": { "name": "db", "key": "password" } });
        let variable = json!([{ "name": "PGPASSWORD", "valueFrom": reference }]);
        assert_eq!(of(with(json!({ "name": "app", "env": variable }))), Some(Usage::Frozen));
        assert_eq!(
            of(with(json!({ "name": "app", "envFrom": [{ "secretRef": { "name": "db" } }] }))),
            Some(Usage::Frozen)
        );
        let ephemeral = json!({ "containers": [], "ephemeralContainers": [{ "name": "debug", "env": variable }] });
        assert_eq!(of(ephemeral), Some(Usage::Frozen));
    }

    #[test]
    fn volumes_follow_the_secret_unless_a_part_is_mounted_by_path() {
        let mounted = |volume: Value, mount: Value| {
            of(json!({ "containers": [{ "name": "app", "volumeMounts": [mount] }], "volumes": [volume] }))
        };
        let whole = json!({ "name": "v", "mountPath": "/db" });
        let part = json!({ "name": "v", "mountPath": "/db", "subPath": "password" });
        let plain = json!({ "name": "v", "secret": { "secretName": "db" } });
        let sources = json!([{ "configMap": { "name": "db" } }, { "secret": { "name": "db" } }]);
        let projected = json!({ "name": "v", "projected": { "sources": sources } });
        assert_eq!(mounted(plain.clone(), whole.clone()), Some(Usage::Followed));
        assert_eq!(mounted(projected, whole.clone()), Some(Usage::Followed));
        assert_eq!(mounted(plain, part), Some(Usage::Frozen));
        assert_eq!(mounted(json!({ "name": "v", "secret": { "secretName": "other" } }), whole), None);
    }

    #[test]
    fn a_name_elsewhere_is_no_use() {
        let env = json!([{ "name": "db", "value": "db" }, { "name": "X", "valueFrom": { "configMapKeyRef": { "name": "db", "key": "k" } } }]);
        assert_eq!(
            of(with(json!({ "name": "db", "env": env, "envFrom": [{ "configMapRef": { "name": "db" } }] }))),
            None
        );
        assert_eq!(of(json!({ "containers": [], "imagePullSecrets": [{ "name": "db" }] })), None);
    }
}
