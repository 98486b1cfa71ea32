//! What a destination Secret holds: username, password, and what its templates make of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, json};

use super::endpoint::Endpoint;
use super::record::sha256;
use crate::api::dynamic_secret::Destination;
use crate::base::template::{Functions, Missing, Template, from_json};
use crate::base::{Clock, Secret};
use crate::operator::error::Error;

/// A database user and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// The keys of a Secret with their values.
pub type Data = BTreeMap<String, Secret>;

/// The renderer of one destination, its templates parsed.
pub struct Renderer {
    templates: Vec<(String, Template)>,
    endpoint: Endpoint,
}

impl Renderer {
    /// Parses the templates and tries them with an invented credential, so that a mistake shows before a user is made.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the key, the line and the column.
    pub fn new(destination: &Destination, endpoint: Endpoint, clock: &Arc<dyn Clock>) -> Result<Self, Error> {
        let functions = Functions::plain(clock);
        let mut templates = Vec::new();
        for (key, text) in &destination.templates {
            let template = Template::parse(key, text, None, &functions);
            let template = template
                .map_err(|error| Error::refused("TemplateInvalid", format!("spec.destination.templates: {error}")))?;
            templates.push((key.clone(), template));
        }
        let renderer = Self { templates, endpoint };
        renderer.render(&Credential { username: "username".into(), password: Secret::new("password") })?;
        Ok(renderer)
    }

    /// The whole content for a credential.
    ///
    /// # Errors
    /// As [`Renderer::new`].
    pub fn render(&self, credential: &Credential) -> Result<Data, Error> {
        let mut dot = Map::new();
        dot.insert("username".into(), json!(credential.username));
        dot.insert("password".into(), json!(credential.password.expose()));
        self.endpoint.describe(&mut dot);
        let dot = from_json(&dot.into());
        let mut data = Data::from([
            ("username".to_owned(), Secret::new(credential.username.clone())),
            ("password".to_owned(), credential.password.clone()),
        ]);
        for (key, template) in &self.templates {
            let text = template
                .render(&dot, Missing::Error)
                .map_err(|error| Error::refused("TemplateInvalid", format!("spec.destination.templates: {error}")))?;
            data.insert(key.clone(), Secret::new(text));
        }
        Ok(data)
    }
}

/// A hash of a Secret's content. Passwords are random and long, so it tells nothing about them.
pub fn content_hash(data: &Data) -> String {
    let parts: Vec<&[u8]> = data.iter().flat_map(|(key, value)| [key.as_bytes(), value.expose().as_bytes()]).collect();
    sha256(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;

    fn renderer(templates: &[(&str, &str)]) -> Result<Renderer, Error> {
        let templates: BTreeMap<_, _> =
            templates.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect();
        let destination = serde_json::from_value(json!({ "name": "db", "templates": templates })).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Renderer::new(&destination, Endpoint::parse("postgresql://db:5432/app"), &clock)
    }

    fn credential() -> Credential {
        Credential { username: "v-app".into(), password: Secret::new("p@ss/word") }
    }

    #[test]
    fn templates_stand_beside_username_and_password() {
        let url = "postgresql://{{ .username }}:{{ .password | urlquery }}@{{ .host }}:{{ .port }}/{{ .database }}";
        let data = renderer(&[("url", url)]).unwrap().render(&credential()).unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["password", "url", "username"]);
        assert_eq!(data["url"].expose(), "postgresql://v-app:p%40ss%2Fword@db:5432/app");
    }

    #[test]
    fn a_mistake_shows_before_a_user_is_made_and_names_the_key() {
        for text in ["{{ .username", "{{ .hostname }}", "{{ env \"HOME\" }}"] {
            let error = renderer(&[("url", text)]).err().unwrap();
            assert_eq!(error.reason(), "TemplateInvalid");
            assert!(error.story().contains("url:1:"), "{}", error.story());
        }
    }

    #[test]
    fn the_hash_follows_the_content() {
        let hash = |password: &str| content_hash(&Data::from([("password".to_owned(), Secret::new(password))]));
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
    }
}
