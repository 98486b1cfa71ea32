//! What a command works with: its flags, an engine, and a way to print.

use std::cell::OnceCell;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;

use super::output::{self, Format, Secret};
use super::parse::Values;
use super::request::{Ask, Reply};
use super::surroundings::{Program, Surroundings};
use super::{Failure, Outcome, connect, prompt};
use crate::base::{self, telemetry};
use crate::client::{Client, Forwarded};

/// One command's run.
pub struct Session<'a> {
    /// This program.
    pub program: &'a Program,
    /// The process around it.
    pub around: &'a Surroundings,
    /// Flags and arguments.
    pub values: &'a Values,
    client: OnceCell<Client>,
}

impl<'a> Session<'a> {
    /// Asks nothing yet.
    pub fn new(program: &'a Program, around: &'a Surroundings, values: &'a Values) -> Self {
        Self { program, around, values, client: OnceCell::new() }
    }

    /// An argument by its place; empty where there is none.
    pub fn argument(&self, at: usize) -> &str {
        self.values.arguments.get(at).map_or("", String::as_str)
    }

    /// The engine, as flags and environment name it.
    ///
    /// # Errors
    /// Names what cannot be used.
    pub fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = connect::client(self.values, self.around)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Sends a request, or prints it where that is what was asked for.
    ///
    /// # Errors
    /// When there is no answer; [`Failure::done`] after printing.
    pub async fn send(&self, ask: &Ask) -> Result<Reply, Failure> {
        let headers = self.to_send(ask)?;
        self.exchange(self.client()?, ask, &headers).await
    }

    /// Sends a request that only prepares the command's own, whatever the flags say about that one.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn look(&self, ask: &Ask) -> Result<Reply, Failure> {
        let headers = self.headers()?;
        self.exchange(self.client()?, ask, &headers).await
    }

    /// Sends a request as another token, or as none; or prints it, as [`Session::send`] does.
    ///
    /// # Errors
    /// When there is no answer; [`Failure::done`] after printing.
    pub async fn send_as(&self, token: Option<&base::Secret>, ask: &Ask) -> Result<Reply, Failure> {
        let client = match token {
            Some(token) => self.client()?.with_token(token.clone()),
            None => self.client()?.without_token(),
        };
        let headers = self.to_send(ask)?;
        self.exchange(&client, ask, &headers).await
    }

    /// The headers of a request that is to be sent.
    ///
    /// # Errors
    /// [`Failure::done`] where it was to be printed only, and is.
    fn to_send(&self, ask: &Ask) -> Result<Vec<(String, String)>, Failure> {
        let mut headers = self.headers()?;
        if let Some(ttl) = self.wrap_ttl(ask) {
            headers.push(("X-Vault-Wrap-TTL".to_owned(), ttl));
        }
        if self.values.on("output-curl-string") {
            if let Some(namespace) = self.namespace() {
                headers.push(("X-Vault-Namespace".to_owned(), namespace));
            }
            let curl = ask.curl(&self.program.name, self.client()?.address(), &headers);
            self.around.print(&format!("{curl}\n"));
            return Err(Failure::done());
        }
        if self.values.on("output-policy") {
            self.around.print(&format!("{}\n", ask.policy()));
            return Err(Failure::done());
        }
        Ok(headers)
    }

    /// An answer with an envelope; `None` where there is nothing to say, and for what is not there.
    ///
    /// # Errors
    /// What the engine says, after `doing`.
    pub async fn secret(&self, ask: &Ask, doing: &str) -> Result<Option<Secret>, Failure> {
        read_secret(self.send(ask).await?, ask, doing)
    }

    /// An answer without an envelope.
    ///
    /// # Errors
    /// What the engine says, after `doing`.
    pub async fn raw(&self, ask: &Ask, doing: &str) -> Result<Value, Failure> {
        let reply = self.send(ask).await?;
        if reply.is_success() { Ok(reply.body) } else { Err(reply.refusal(doing)) }
    }

    /// The `data` of an answer.
    ///
    /// # Errors
    /// What the engine says, after `doing`; also when what was asked for is not there.
    pub async fn data(&self, ask: &Ask, doing: &str) -> Result<Value, Failure> {
        let reply = self.send(ask).await?;
        if !reply.is_success() {
            return Err(reply.refusal(doing));
        }
        Ok(read_secret(reply, ask, doing)?.unwrap_or_default().data)
    }

    fn headers(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut headers = Vec::new();
        for (name, value) in self.values.pairs("header") {
            if name.to_ascii_lowercase().starts_with("x-vault-") {
                return Err(Failure::local(format!("-header: {name} is the engine's own: there are flags for these")));
            }
            headers.push((name, value.as_str().unwrap_or_default().to_owned()));
        }
        let factors = self.values.list("mfa").to_vec();
        let said = || self.around.variable("MFA").into_iter().collect();
        for factor in if factors.is_empty() { said() } else { factors } {
            headers.push(("X-Vault-MFA".to_owned(), factor));
        }
        if self.values.on("policy-override") {
            headers.push(("X-Vault-Policy-Override".to_owned(), "true".to_owned()));
        }
        Ok(headers)
    }

    /// The namespace that requests go to, if it is not root.
    pub fn namespace(&self) -> Option<String> {
        let said = self.values.text("namespace").map(str::to_owned).or_else(|| self.around.variable("NAMESPACE"));
        said.filter(|namespace| !namespace.is_empty())
    }

    /// `sys/wrapping/wrap` does nothing but wrap, so it has a life where nobody names one.
    fn wrap_ttl(&self, ask: &Ask) -> Option<String> {
        let own = || (ask.path == "sys/wrapping/wrap").then(|| "5m".to_owned());
        self.values.text("wrap-ttl").map(str::to_owned).or_else(|| self.around.variable("WRAP_TTL")).or_else(own)
    }

    async fn exchange(&self, client: &Client, ask: &Ask, headers: &[(String, String)]) -> Result<Reply, Failure> {
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let name = name.map_err(|_| Failure::local("-header: a name holds characters that no header has"))?;
            let value = HeaderValue::from_str(value);
            let mut value = value.map_err(|_| Failure::local(format!("the value of header {name} cannot be sent")))?;
            value.set_sensitive(true);
            sent.append(name, value);
        }
        if ask.method == http::Method::PATCH {
            sent.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/merge-patch+json"));
        }
        let body = ask.body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = Forwarded {
            method: ask.method.clone(),
            path: ask.escaped(),
            headers: sent,
            body: body.into_bytes().into(),
        };
        let answer = client.forward(&request).await.map_err(|error| no_answer(client.address(), &error))?;
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let text = if body.is_null() { String::from_utf8_lossy(&answer.body).into_owned() } else { String::new() };
        let asked = format!("{} {}/v1/{}", ask.method, client.address(), ask.path);
        Ok(Reply { status: answer.status.as_u16(), body, text, asked })
    }

    /// How to print.
    ///
    /// # Errors
    /// When flag or variable name no format.
    pub fn format(&self) -> Result<Format, Failure> {
        let text = self.values.text("format").map(str::to_owned).or_else(|| self.around.variable("FORMAT"));
        text.unwrap_or_default().parse().map_err(Failure::local)
    }

    /// Prints a value for programs, or else the table.
    ///
    /// # Errors
    /// When the format is none.
    pub fn show(&self, value: &impl Serialize, table: impl FnOnce() -> String) -> Outcome {
        let text = self.format()?.render(value).map_err(Failure::local)?;
        self.around.print(&text.unwrap_or_else(table));
        Ok(0)
    }

    /// Prints an answer, or the field of it that was asked for.
    ///
    /// # Errors
    /// When it has no such field.
    pub fn show_secret(&self, secret: &Secret) -> Outcome {
        if let Some(name) = self.values.text("field") {
            return self.show_field(secret.field(name), name);
        }
        self.warn(secret)?;
        self.show(secret, || output::pairs(secret.rows()))
    }

    /// The warnings of an answer, where programs do not get them with it.
    ///
    /// # Errors
    /// When the format is none.
    pub fn warn(&self, secret: &Secret) -> Result<(), Failure> {
        let warnings = secret.warnings.as_deref().unwrap_or_default();
        if self.format()? == Format::Table && !warnings.is_empty() {
            self.around.say("WARNING! The following warnings were returned from Vault:\n");
            warnings.iter().for_each(|warning| self.around.say(&format!("  * {warning}\n")));
        }
        Ok(())
    }

    /// Prints one field. A pipe gets no line break behind it.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn show_field(&self, value: Option<Value>, name: &str) -> Outcome {
        let value = value.ok_or_else(|| Failure::local(format!("Field {name:?} not present in secret")))?;
        let text = match self.format()?.render(&value).map_err(Failure::local)? {
            Some(text) => text.trim_end().to_owned(),
            None => output::value::plain(&value),
        };
        let end = if self.around.output_is_terminal { "\n" } else { "" };
        self.around.print(&format!("{text}{end}"));
        Ok(0)
    }

    /// Says that it is done, to people.
    ///
    /// # Errors
    /// When the format is none.
    pub fn succeed(&self, text: impl AsRef<str>) -> Outcome {
        if self.format()? == Format::Table {
            self.around.print(&format!("{}\n", text.as_ref()));
        }
        Ok(0)
    }

    /// Asks on the terminal, showing nothing of what is typed.
    ///
    /// # Errors
    /// When nobody can be asked.
    pub fn prompt(&self, question: &str) -> Result<base::Secret, Failure> {
        if self.values.on("non-interactive") {
            return Err(Failure::local(format!("{question} is needed, and -non-interactive forbids asking for it")));
        }
        if !self.around.input_is_terminal {
            let text =
                format!("{question} is needed and nobody can be asked: give it as an argument, or - and pipe it in");
            return Err(Failure::local(text));
        }
        self.around.error.borrow_mut().write_all(format!("{question} (will be hidden): ").as_bytes()).ok();
        let answer = prompt::hidden(&mut **self.around.input.borrow_mut());
        self.around.say("");
        answer.map_err(Failure::local)
    }

    /// A secret argument: `-` stands for standard input, and none is asked for.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn secret_argument(&self, given: Option<&str>, question: &str) -> Result<base::Secret, Failure> {
        match given {
            Some("-") => Ok(base::Secret::new(self.around.read_input().map_err(Failure::local)?.trim())),
            Some(text) if !text.is_empty() => Ok(base::Secret::new(text)),
            _ => self.prompt(question),
        }
    }
}

/// An envelope out of an answer.
///
/// # Errors
/// What the engine says, after `doing`.
pub fn read_secret(reply: Reply, ask: &Ask, doing: &str) -> Result<Option<Secret>, Failure> {
    let parsed = serde_json::from_value::<Secret>(reply.body.clone());
    if reply.status == 404 && ask.only_reads() {
        // A version of a secret that was deleted is 404, with what is still known of it.
        let known = parsed.ok().filter(|secret| secret.has_content() || secret.warnings.is_some());
        return Ok(known);
    }
    if !reply.is_success() {
        return Err(reply.refusal(doing));
    }
    if reply.body.is_null() {
        return if reply.text.trim().is_empty() || reply.text.trim() == "null" {
            Ok(None)
        } else {
            Err(Failure::server(format!("{doing}: the answer is not JSON")))
        };
    }
    parsed.map(Some).map_err(|_| Failure::server(format!("{doing}: the answer is JSON of another shape than Vault's")))
}

fn no_answer(address: &str, error: &crate::client::Error) -> Failure {
    let mut text = telemetry::chain(error);
    if address.starts_with("https://127.0.0.1") {
        text += "\n\nA server in dev mode has no TLS: set VAULT_ADDR='http://127.0.0.1:8200' for it.";
    }
    Failure::server(text)
}
