//! The certificates in a Secret, and the CAs in the MutatingWebhookConfiguration.

use std::collections::BTreeMap;

use async_trait::async_trait;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation, TestOperation};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{Bundle, Error, Given, Source, Store, Version};

/// The store of a cluster.
pub struct KubernetesStore {
    secrets: Api<KubernetesSecret>,
    secret: String,
    configurations: Api<MutatingWebhookConfiguration>,
    configuration: String,
}

impl KubernetesStore {
    /// The Secret `secret` of `namespace`, and the configuration `configuration`.
    pub fn new(client: Client, namespace: &str, secret: &str, configuration: &str) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            secret: secret.to_owned(),
            configurations: Api::all(client),
            configuration: configuration.to_owned(),
        }
    }

    async fn webhooks(&self) -> Result<(Vec<MutatingWebhook>, Version), Error> {
        let name = &self.configuration;
        let failed = Self::failed("read", "MutatingWebhookConfiguration", name);
        let found = self.configurations.get_opt(name).await.map_err(failed)?.unwrap_or_default();
        let webhooks = found.webhooks.unwrap_or_default();
        if webhooks.is_empty() {
            return Err(Error::NoConfiguration(name.clone()));
        }
        Ok((webhooks, found.metadata.resource_version))
    }

    fn failed(verb: &str, object: &str, name: &str) -> impl Fn(kube::Error) -> Error {
        let doing = format!("{verb} {object} {name}");
        move |source| Error::Kubernetes { doing: doing.clone(), source: Box::new(source) }
    }
}

#[async_trait]
impl Store for KubernetesStore {
    async fn read(&self) -> Result<(Option<Bundle>, Version), Error> {
        let found = self.secrets.get_opt(&self.secret).await.map_err(Self::failed("read", "Secret", &self.secret))?;
        let Some(secret) = found else { return Ok((None, None)) };
        Ok((secret.data.as_ref().and_then(Bundle::from_secret), secret.metadata.resource_version))
    }

    async fn write(&self, bundle: &Bundle, expected: &Version) -> Result<bool, Error> {
        let failed = Self::failed("write", "Secret", &self.secret);
        let data = bundle.to_secret().map_err(|error| failed(kube::Error::SerdeError(error)))?;
        let written = match expected {
            // A patch, so that labels and annotations of the chart stay; with the version, so that it may conflict.
            Some(version) => {
                let changes = json!({"metadata": {"resourceVersion": version}, "data": replacing(&data)});
                self.secrets.patch(&self.secret, &PatchParams::default(), &Patch::Merge(changes)).await.map(drop)
            }
            None => {
                let mut secret = KubernetesSecret { data: Some(data), ..KubernetesSecret::default() };
                secret.metadata.name = Some(self.secret.clone());
                secret.type_ = Some("kubernetes.io/tls".to_owned());
                self.secrets.create(&PostParams::default(), &secret).await.map(drop)
            }
        };
        match written {
            Ok(()) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    async fn publish(&self, cas: &str) -> Result<bool, Error> {
        let name = &self.configuration;
        let (webhooks, _) = self.webhooks().await?;
        let operations = trusting(&webhooks, cas);
        if operations.is_empty() {
            return Ok(false);
        }
        let patch = Patch::Json::<()>(JsonPatch(operations));
        let failed = Self::failed("patch", "MutatingWebhookConfiguration", name);
        self.configurations.patch(name, &PatchParams::default(), &patch).await.map_err(failed)?;
        Ok(true)
    }
}

#[async_trait]
impl Source for KubernetesStore {
    async fn given(&self) -> Result<Given, Error> {
        let found = self.secrets.get_opt(&self.secret).await.map_err(Self::failed("read", "Secret", &self.secret))?;
        let data = found.and_then(|secret| secret.data).unwrap_or_default();
        let text = |key: &str| {
            let text = String::from_utf8(data.get(key)?.0.clone()).ok()?;
            Some(text).filter(|text| !text.trim().is_empty())
        };
        let (certificate, key) =
            text("tls.crt").zip(text("tls.key")).ok_or_else(|| Error::NoCertificate(self.secret.clone()))?;
        Ok(Given { certificate, key: key.into(), cas: text("ca.crt").unwrap_or_default() })
    }

    async fn trusted(&self) -> Result<(String, Version), Error> {
        let (webhooks, version) = self.webhooks().await?;
        let bundles = webhooks.into_iter().map(|webhook| webhook.client_config.ca_bundle);
        // Where webhooks of one configuration differ, none of the CAs is trusted by all.
        let mut bundles: Vec<_> = bundles.map(|bundle| bundle.map(|bundle| bundle.0).unwrap_or_default()).collect();
        bundles.dedup();
        let common = if bundles.len() == 1 { bundles.swap_remove(0) } else { Vec::new() };
        Ok((String::from_utf8(common).unwrap_or_default(), version))
    }

    async fn trust(&self, cas: &str, expected: &Version) -> Result<bool, Error> {
        let name = &self.configuration;
        let (webhooks, version) = self.webhooks().await?;
        if version != *expected {
            return Ok(false);
        }
        let path = PointerBuf::from_tokens(["metadata", "resourceVersion"]);
        let mut operations = vec![PatchOperation::Test(TestOperation { path, value: json!(version) })];
        operations.extend(trusting(&webhooks, cas));
        let patch = Patch::Json::<()>(JsonPatch(operations));
        // Whoever comes between fails the test; that is told as an error, since CAs that cannot be used are answered the same way.
        let failed = Self::failed("patch", "MutatingWebhookConfiguration", name);
        self.configurations.patch(name, &PatchParams::default(), &patch).await.map_err(failed)?;
        Ok(true)
    }
}

/// What has every webhook trust these CAs and no others; nothing where all do.
fn trusting(webhooks: &[MutatingWebhook], cas: &str) -> Vec<PatchOperation> {
    let wanted = ByteString(cas.as_bytes().to_vec());
    let mut operations = Vec::new();
    for (at, webhook) in webhooks.iter().enumerate() {
        if webhook.client_config.ca_bundle.as_ref() == Some(&wanted) {
            continue;
        }
        let at = at.to_string();
        let path = |tokens: &[&str]| PointerBuf::from_tokens(["webhooks", &at].iter().chain(tokens).copied());
        // The test keeps the CAs out of another webhook, should the list have been reordered meanwhile.
        operations.push(PatchOperation::Test(TestOperation { path: path(&["name"]), value: json!(webhook.name) }));
        let path = path(&["clientConfig", "caBundle"]);
        operations.push(PatchOperation::Add(AddOperation { path, value: json!(wanted) }));
    }
    operations
}

/// A merge patch keeps what it does not name, so what is no longer there is named.
fn replacing(data: &BTreeMap<String, ByteString>) -> Value {
    let mut changes = json!(data);
    for optional in ["next-tls.crt", "next-tls.key", "next-ca.crt", "retired-ca.crt"] {
        if !data.contains_key(optional) {
            changes[optional] = Value::Null;
        }
    }
    changes
}
