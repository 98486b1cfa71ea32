//! What the programs of an installed release tell monitoring, read through the API server.

use std::collections::BTreeSet;

use crate::cluster::{LESSOR_NAMESPACE, kubectl};

/// The Deployment and the coordination Lease of the operator.
pub const OPERATOR: &str = "lessor-operator";

/// Where a program tells it: scheme and port.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The operator.
    Operator,
    /// The webhook.
    Webhook,
}

/// Series in Prometheus' text form.
#[derive(Debug, Clone, Default)]
pub struct Figures(String);

impl Figures {
    /// Takes a scraped text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Asks a pod; `None` when it does not answer.
    pub async fn of(pod: &str, source: Source) -> Option<Self> {
        let place = match source {
            Source::Operator => format!("{pod}:8080"),
            Source::Webhook => format!("https:{pod}:8443"),
        };
        let path = format!("/api/v1/namespaces/{LESSOR_NAMESPACE}/pods/{place}/proxy/metrics");
        let (answered, text) = kubectl(&["get", "--raw", &path]).await;
        answered.then_some(Self(text))
    }

    /// The sum of all series of `name` whose text holds all of `labels` (`kind="DatabaseRole"`); `None` when there is none.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let series = self.0.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, own) = series.split_once('{').unwrap_or((series, ""));
            let meant = found == name && labels.iter().all(|label| own.contains(label));
            meant.then(|| value.parse::<f64>().ok())?
        });
        series.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The lines that hold a text.
    pub fn lines_with(&self, text: &str) -> Vec<&str> {
        self.0.lines().filter(|line| line.contains(text)).collect()
    }

    /// The names of all families.
    pub fn names(&self) -> BTreeSet<&str> {
        let heads = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        heads.filter_map(|head| head.split_whitespace().next()).collect()
    }
}

/// The names of a component's pods that are not on their way out.
///
/// # Panics
/// When kubectl fails.
pub async fn pods(component: &str) -> Vec<String> {
    let selector = format!("app.kubernetes.io/component={component}");
    let path =
        "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{\"\\n\"}}{{end}}{{end}}";
    let get = ["get", "pods", "--namespace", LESSOR_NAMESPACE, "--selector", &selector, "--output", path];
    let (listed, text) = kubectl(&get).await;
    assert!(listed, "{text}");
    text.lines().map(str::to_owned).collect()
}

/// The operator's pod that works; empty while none does.
pub async fn leader() -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    let get = ["get", "lease", OPERATOR, "--namespace", LESSOR_NAMESPACE, "--output", path];
    let (found, text) = kubectl(&get).await;
    if found { text } else { String::new() }
}

/// What the working operator tells.
///
/// # Panics
/// When none works.
pub async fn of_the_leader() -> Figures {
    Figures::of(&leader().await, Source::Operator).await.expect("the working operator answers")
}
