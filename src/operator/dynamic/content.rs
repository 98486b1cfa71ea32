//! What a destination Secret holds: the raw values, ready-made forms, and what its templates make of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::endpoint::Endpoint;
use super::formats;
use super::record::sha256;
use crate::api::destination::{Destination, Format};
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

/// The credentials of additional users, by the names that they have in the spec.
pub type Additional = BTreeMap<String, Credential>;

/// An additional user, as far as it is written.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// What it is called in keys and templates.
    pub name: String,
    /// Its keys in ready-made forms.
    pub formats: BTreeMap<String, Format>,
    /// Where its database is.
    pub endpoint: Endpoint,
}

/// What a content was made from, credentials aside: written again only when this changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Hash over formats, templates, and what is known of the databases.
    pub content: String,
    /// Hash over labels and annotations.
    pub metadata: String,
    /// The keys that are the operator's.
    pub keys: Vec<String>,
}

/// The renderer of one destination, its templates parsed.
pub struct Renderer {
    destination: Destination,
    endpoint: Endpoint,
    users: Vec<User>,
    templates: Vec<(String, Template)>,
    recipe: Recipe,
}

/// The raw keys of a user; the first user has no name.
pub fn raw_keys(user: Option<&str>) -> [String; 2] {
    ["username", "password"].map(|field| user.map_or(field.to_owned(), |name| format!("{name}_{field}")))
}

impl Renderer {
    /// Parses the templates and tries everything with an invented credential, so that a mistake shows before a user is made.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the key and, in templates, the line and the column.
    pub fn new(
        destination: &Destination,
        endpoint: Endpoint,
        users: Vec<User>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let functions = Functions::plain(clock);
        let mut templates = Vec::new();
        for (key, text) in &destination.templates {
            templates.push((key.clone(), Template::parse(key, text, None, &functions).map_err(template_error)?));
        }
        let endpoint = endpoint.seen_from(destination.endpoint.as_ref());
        let hash = |of: Value| sha256(&[of.to_string().as_bytes()]);
        let content = hash(json!([destination.formats, destination.templates, destination.exclude, endpoint, users]));
        let metadata = hash(json!([destination.labels, destination.annotations]));
        let recipe = Recipe { content, metadata, keys: Vec::new() };
        let mut renderer = Self { destination: destination.clone(), endpoint, users, templates, recipe };
        renderer.check_excluded()?;
        let invented = Credential { username: "username".into(), password: Secret::new("password") };
        let additional = renderer.users.iter().map(|user| (user.name.clone(), invented.clone())).collect();
        renderer.recipe.keys = renderer.render(&invented, &additional)?.into_keys().collect();
        Ok(renderer)
    }

    /// What its content is made from.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn check_excluded(&self) -> Result<(), Error> {
        let names = self.users.iter().map(|user| Some(user.name.as_str()));
        let known: Vec<String> = std::iter::once(None).chain(names).flat_map(raw_keys).collect();
        match self.destination.exclude.iter().find(|key| !known.contains(key)) {
            Some(key) => {
                let message =
                    format!("spec.destination.exclude: there is no raw key {key:?}, only {}", known.join(", "));
                Err(Error::refused("InvalidSpec", message))
            }
            None => Ok(()),
        }
    }

    /// The whole content for the credentials.
    ///
    /// # Errors
    /// As [`Renderer::new`], and when an additional user's credential is missing.
    pub fn render(&self, credential: &Credential, additional: &Additional) -> Result<Data, Error> {
        let mut dot = Self::describe(credential, &self.endpoint);
        let mut content = Content { excluded: &self.destination.exclude, data: Data::new() };
        content.raw(None, credential)?;
        content.formats("spec.destination", &self.destination.formats, credential, &self.endpoint)?;
        let mut described = Map::new();
        for user in &self.users {
            let missing =
                || Error::waiting("UserMissing", format!("additional user {:?} has no credential", user.name));
            let credential = additional.get(&user.name).ok_or_else(missing)?;
            content.raw(Some(&user.name), credential)?;
            let field = format!("spec.additionalUsers.{}", user.name);
            content.formats(&field, &user.formats, credential, &user.endpoint)?;
            described.insert(user.name.clone(), Self::describe(credential, &user.endpoint).into());
        }
        dot.insert("users".into(), described.into());
        let dot = from_json(&dot.into());
        for (key, template) in &self.templates {
            let text = template.render(&dot, Missing::Error).map_err(template_error)?;
            content.put("spec.destination.templates", key.clone(), Secret::new(text))?;
        }
        Ok(content.data)
    }

    fn describe(credential: &Credential, endpoint: &Endpoint) -> Map<String, Value> {
        let mut dot = Map::new();
        dot.insert("username".into(), json!(credential.username));
        dot.insert("password".into(), json!(credential.password.expose()));
        endpoint.describe(&mut dot);
        dot
    }
}

fn template_error(error: crate::base::template::TemplateError) -> Error {
    Error::refused("TemplateInvalid", format!("spec.destination.templates: {error}"))
}

struct Content<'a> {
    excluded: &'a [String],
    data: Data,
}

impl Content<'_> {
    fn put(&mut self, field: &str, key: String, value: Secret) -> Result<(), Error> {
        if self.data.contains_key(&key) {
            let message = format!("{field}: the key {key:?} is written twice; give one of them another name");
            return Err(Error::refused("InvalidSpec", message));
        }
        self.data.insert(key, value);
        Ok(())
    }

    fn raw(&mut self, user: Option<&str>, credential: &Credential) -> Result<(), Error> {
        let [username, password] = raw_keys(user);
        for (key, value) in
            [(username, Secret::new(credential.username.clone())), (password, credential.password.clone())]
        {
            if !self.excluded.contains(&key) {
                self.put("spec.additionalUsers", key, value)?;
            }
        }
        Ok(())
    }

    fn formats(
        &mut self,
        field: &str,
        formats: &BTreeMap<String, Format>,
        credential: &Credential,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        for (key, format) in formats {
            let text = formats::write(*format, credential, endpoint)
                .map_err(|problem| Error::refused("FormatInvalid", format!("{field}.formats.{key}: {problem}")))?;
            self.put(&format!("{field}.formats"), key.clone(), Secret::new(text))?;
        }
        Ok(())
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

    const DB: &str = "postgresql://db:5432/app";

    fn made(destination: Value, users: &[(&str, Value)]) -> Result<Renderer, Error> {
        let mut full = json!({ "name": "db" });
        full.as_object_mut().unwrap().extend(destination.as_object().unwrap().clone());
        let destination = serde_json::from_value(full).unwrap();
        let users = users.iter().map(|(name, formats)| User {
            name: name.to_string(),
            formats: serde_json::from_value(formats.clone()).unwrap(),
            endpoint: Endpoint::parse("postgresql://other/shop"),
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Renderer::new(&destination, Endpoint::parse(DB), users.collect(), &clock)
    }

    fn templates(templates: &[(&str, &str)]) -> Result<Renderer, Error> {
        let templates: BTreeMap<_, _> = templates.iter().copied().collect();
        made(json!({ "templates": templates }), &[])
    }

    fn credential(name: &str) -> Credential {
        Credential { username: name.into(), password: Secret::new("p@ss/word") }
    }

    fn rendered(renderer: &Renderer) -> Data {
        renderer.render(&credential("v-app"), &Additional::new()).unwrap()
    }

    #[test]
    fn templates_and_formats_stand_beside_username_and_password() {
        let url = "postgresql://{{ .username }}:{{ .password | urlEscape }}@{{ .host }}:{{ .port }}/{{ .database }}";
        let data = rendered(&templates(&[("url", url)]).unwrap());
        assert_eq!(data.keys().collect::<Vec<_>>(), ["password", "url", "username"]);
        assert_eq!(data["url"].expose(), "postgresql://v-app:p%40ss%2Fword@db:5432/app");
        let data =
            rendered(&made(json!({ "formats": { "DATABASE_URL": "url" }, "exclude": ["password"] }), &[]).unwrap());
        assert_eq!(data.keys().collect::<Vec<_>>(), ["DATABASE_URL", "username"]);
        assert_eq!(data["DATABASE_URL"].expose(), "postgresql://v-app:p%40ss%2Fword@db:5432/app");
    }

    #[test]
    fn additional_users_have_keys_formats_and_templates_of_their_own() {
        let template = json!({ "templates": { "both": "{{ .username }} {{ .users.migrations.username }}@{{ .users.migrations.host }}" } });
        let renderer = made(template, &[("migrations", json!({ "MIGRATIONS_URL": "url" }))]).unwrap();
        let additional = Additional::from([("migrations".to_owned(), credential("v-owner"))]);
        let data = renderer.render(&credential("v-app"), &additional).unwrap();
        let keys = ["MIGRATIONS_URL", "both", "migrations_password", "migrations_username", "password", "username"];
        assert_eq!(data.keys().collect::<Vec<_>>(), keys);
        assert_eq!(renderer.recipe().keys, keys);
        assert_eq!(data["both"].expose(), "v-app v-owner@other");
        assert!(data["MIGRATIONS_URL"].expose().ends_with("@other:5432/shop"));
        assert_eq!(renderer.render(&credential("v-app"), &Additional::new()).unwrap_err().reason(), "UserMissing");
    }

    #[test]
    fn a_mistake_shows_before_a_user_is_made_and_names_the_key() {
        for text in ["{{ .username", "{{ .hostname }}", "{{ env \"HOME\" }}"] {
            let error = templates(&[("url", text)]).err().unwrap();
            assert_eq!(error.reason(), "TemplateInvalid");
            assert!(error.story().contains("url:1:"), "{}", error.story());
        }
        for (destination, users, reason, said) in [
            (json!({ "exclude": ["owner_password"] }), vec![], "InvalidSpec", "owner_password"),
            (
                json!({ "endpoint": { "scheme": "oracle" }, "formats": { "j": "jdbc" } }),
                vec![],
                "FormatInvalid",
                "formats.j",
            ),
            (json!({}), vec![("owner", json!({ "password": "url" }))], "InvalidSpec", "written twice"),
            (
                json!({ "templates": { "owner_password": "x" } }),
                vec![("owner", json!({}))],
                "InvalidSpec",
                "written twice",
            ),
        ] {
            let error = made(destination, &users).err().unwrap();
            assert_eq!(error.reason(), reason);
            assert!(error.story().contains(said), "{}", error.story());
        }
    }

    #[test]
    fn the_recipe_follows_what_is_written_and_not_who_writes_it() {
        let recipe = |destination: Value| made(destination, &[]).unwrap().recipe().clone();
        let plain = recipe(json!({}));
        assert_eq!(plain, recipe(json!({ "overwrite": true, "type": "example.org/db" })));
        for changed in [json!({ "templates": { "a": "b" } }), json!({ "endpoint": { "host": "pooler" } })] {
            assert_ne!(plain.content, recipe(changed).content);
        }
        let labelled = recipe(json!({ "labels": { "a": "b" } }));
        assert_eq!(plain.content, labelled.content);
        assert_ne!(plain.metadata, labelled.metadata);
    }

    #[test]
    fn the_hash_follows_the_content() {
        let hash = |password: &str| content_hash(&Data::from([("password".to_owned(), Secret::new(password))]));
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
    }
}
