//! The Secret of an object: its keys, by templates and patterns, and what is known of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex_lite::Regex;

use super::finding::Findings;
use super::read::{Input, Key, Source};
use super::template::Surroundings;
use super::vso::{self, Template, Texts};
use crate::api::destination::Destination;
use crate::api::names::{GROUP, MANAGED_BY};
use crate::api::restart::{Restart, RestartTarget};
use crate::base::Clock;

/// The raw keys of a credential.
const RAW: [&str; 2] = ["username", "password"];

/// What an object of any kind says of its Secret.
pub struct Wanted<'a, S> {
    /// The object.
    pub source: &'a Source<S>,
    /// Its `destination`.
    pub destination: &'a vso::Destination,
    /// Whether Secrets that are there are taken over, whatever the object says.
    pub take_over: bool,
    /// What templates are tried with.
    pub clock: &'a Arc<dyn Clock>,
}

impl<S> Wanted<'_, S> {
    /// The same Secret as our operator writes it.
    pub fn convert(&self, input: &Input, findings: &mut Findings) -> Destination {
        let (title, from) = (&self.source.title, self.destination);
        let mut keys = Keys::collect(self, input, findings);
        let templates = keys.translate(self, findings);
        if !from.create {
            let why = "the Secret that is there is taken over, and is deleted with the new object";
            findings.differs(title, "spec.destination.create", why);
        }
        Destination {
            name: from.name.clone(),
            kind: from.kind.clone().filter(|kind| !kind.is_empty()).unwrap_or_else(|| "Opaque".to_owned()),
            labels: self.texts("labels", &from.labels, findings),
            annotations: self.texts("annotations", &from.annotations, findings),
            formats: BTreeMap::new(),
            templates,
            exclude: keys.excluded,
            endpoint: None,
            overwrite: !from.create || from.overwrite || self.take_over,
        }
    }

    /// Labels or annotations that are not the operator's own.
    fn texts(&self, what: &str, texts: &Texts, findings: &mut Findings) -> Texts {
        let own = |key: &str| (what == "labels" && key == MANAGED_BY) || key.starts_with(&format!("{GROUP}/"));
        for key in texts.keys().filter(|key| own(key)) {
            findings.differs(
                &self.source.title,
                format!("spec.destination.{what}.{key}"),
                "the operator sets it to a value of its own",
            );
        }
        texts.iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// The keys of a Secret.
struct Keys {
    /// Texts by key, with the field that each comes from.
    templates: BTreeMap<String, (String, String)>,
    /// What they may call by name.
    named: Vec<Template>,
    /// Raw keys to leave out.
    excluded: Vec<String>,
}

impl Keys {
    fn collect<S>(wanted: &Wanted<'_, S>, input: &Input, findings: &mut Findings) -> Self {
        let title = &wanted.source.title;
        let mut keys = Self { templates: BTreeMap::new(), named: Vec::new(), excluded: Vec::new() };
        let none = vso::Transformation::default();
        let own = wanted.destination.transformation.as_ref().unwrap_or(&none);
        if !own.exclude_raw.unwrap_or_default() {
            let why = "the key _raw, which VSO writes besides, is not written";
            findings.differs(title, "spec.destination.transformation.excludeRaw", why);
        }
        let (mut includes, mut excludes) = (own.includes.clone(), own.excludes.clone());
        for (at, reference) in own.transformation_refs.iter().enumerate() {
            let field = format!("spec.destination.transformation.transformationRefs[{at}]");
            let namespace = reference.namespace.as_deref().filter(|namespace| !namespace.is_empty());
            let key = Key::parse(&reference.name, namespace.or(wanted.source.key.namespace.as_deref()));
            let Some(shared) = input.transformations.get(&key) else {
                findings.lost(title, field, format!("SecretTransformation {key} was not given"));
                continue;
            };
            keys.refer(title, &field, reference, &shared.spec, findings);
            if !reference.ignore_includes {
                includes.extend(shared.spec.includes.iter().cloned());
            }
            if !reference.ignore_excludes {
                excludes.extend(shared.spec.excludes.iter().cloned());
            }
        }
        for (key, template) in &own.templates {
            keys.add(key, template, format!("spec.destination.transformation.templates.{key}"));
        }
        keys.filter(title, &includes, &excludes, findings);
        keys
    }

    /// Templates of the object itself come last and win.
    fn add(&mut self, key: &str, template: &Template, field: String) {
        let name = template.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| key.to_owned());
        self.named.push(Template { name: Some(name), text: template.text.clone() });
        self.templates.insert(key.to_owned(), (template.text.clone(), field));
    }

    fn refer(
        &mut self,
        title: &str,
        field: &str,
        reference: &vso::TransformationRef,
        shared: &vso::SecretTransformation,
        findings: &mut Findings,
    ) {
        self.named.extend(shared.source_templates.iter().cloned());
        if reference.template_refs.is_empty() {
            for (key, template) in &shared.templates {
                self.add(key, template, field.to_owned());
            }
        }
        for (at, wanted) in reference.template_refs.iter().enumerate() {
            let field = format!("{field}.templateRefs[{at}]");
            match shared.templates.get(&wanted.name) {
                Some(template) => {
                    let key = wanted.key_override.as_deref().filter(|key| !key.is_empty());
                    self.add(key.unwrap_or(&wanted.name), template, field);
                }
                None => findings.lost(title, field, "the SecretTransformation has no template of this name"),
            }
        }
    }

    /// Patterns hold anywhere in a key, as Go's do; those that leave out come first.
    fn filter(&mut self, title: &str, includes: &[String], excludes: &[String], findings: &mut Findings) {
        let mut compile = |what: &str, patterns: &[String]| {
            let mut compiled = Vec::new();
            for pattern in patterns {
                match Regex::new(pattern) {
                    Ok(pattern) => compiled.push(pattern),
                    Err(error) => findings.lost(
                        title,
                        format!("spec.destination.transformation.{what}"),
                        format!("{pattern:?} is not a regular expression that is understood here: {error}"),
                    ),
                }
            }
            compiled
        };
        let (kept, left) = (compile("includes", includes), compile("excludes", excludes));
        let excluded = |key: &&str| {
            left.iter().any(|pattern| pattern.is_match(key))
                || !(kept.is_empty() || kept.iter().any(|pattern| pattern.is_match(key)))
        };
        self.excluded = RAW.into_iter().filter(excluded).map(str::to_owned).collect();
    }

    /// The templates in our terms. Those under the raw keys are left to the operator where they mean the same.
    fn translate<S>(&mut self, wanted: &Wanted<'_, S>, findings: &mut Findings) -> BTreeMap<String, String> {
        let (title, metadata) = (&wanted.source.title, &wanted.source.metadata);
        let surroundings = Surroundings {
            labels: &metadata.labels,
            annotations: &metadata.annotations,
            named: std::mem::take(&mut self.named),
            clock: wanted.clock,
        };
        let mut translated = BTreeMap::new();
        for (key, (text, field)) in std::mem::take(&mut self.templates) {
            match surroundings.translate(&key, &text) {
                Ok(text) if !RAW.contains(&key.as_str()) => {
                    translated.insert(key, text);
                }
                Ok(text) if is_raw(&text, &key) => self.excluded.retain(|excluded| *excluded != key),
                Ok(_) => {
                    let why = format!("{key:?} is the raw value here: give the text another key");
                    findings.lost(title, field, why);
                }
                Err(why) => findings.lost(title, field, format!("the key {key:?} is left out: {why}")),
            }
        }
        if self.excluded.len() == RAW.len() && translated.is_empty() {
            let why = "nothing of the credential would be left: exclude less, or add formats or templates";
            findings.lost(title, "spec.destination.transformation.excludes", why);
            self.excluded.clear();
        }
        translated
    }
}

/// Whether a template is nothing but the raw value: `{{ .username }}`, with any white space and trimming.
fn is_raw(text: &str, key: &str) -> bool {
    let inner = text.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    let value = inner.map(|inner| inner.trim_matches(|c: char| c == '-' || c == '(' || c == ')' || c.is_whitespace()));
    value.is_some_and(|value| value.trim_start_matches('$').strip_prefix('.') == Some(key))
}

/// What is restarted.
pub fn restart(title: &str, targets: &[vso::RestartTarget], findings: &mut Findings) -> Option<Restart> {
    let mut known = Vec::new();
    for (at, target) in targets.iter().enumerate() {
        let kind = match target.kind.as_str() {
            kind @ ("Deployment" | "DaemonSet" | "StatefulSet") => kind,
            "argo.Rollout" => "Rollout",
            other => {
                let why = format!("{other:?} is not a kind that VSO knows: name it with its apiVersion");
                findings.lost(title, format!("spec.rolloutRestartTargets[{at}].kind"), why);
                continue;
            }
        };
        known.push(RestartTarget {
            kind: kind.to_owned(),
            api_version: None,
            name: Some(target.name.clone()),
            selector: None,
        });
    }
    let some = !known.is_empty();
    some.then_some(Restart { targets: known, auto: false, expected_duration: None, settle: None })
}
