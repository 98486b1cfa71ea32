//! Response wrapping: an answer is kept in the cubbyhole of a token that can be used once, and the caller gets that token.

use serde_json::{Map, Value, json};

use super::core::Core;
use super::policies;
use super::request::{Incoming, Reply};
use super::token::{Found, Token};
use crate::base::{Secret, duration};
use crate::wire::{Answer, Envelope, Error, Fields, Operation, WrapInfo};

/// Where a wrapping token keeps the answer: as the text of its JSON, in a field of the same name.
const RESPONSE: &str = "response";

/// Where it keeps what may be told of the answer before it is taken.
const INFO: &str = "wrapinfo";

/// For how many seconds the answer is to be wrapped, if it is.
///
/// # Errors
/// 400 when the header is no duration.
pub(super) fn wanted(incoming: &Incoming) -> Result<Option<u64>, Error> {
    let Some(text) = incoming.wrap_ttl.as_deref() else { return Ok(None) };
    let seconds = duration::parse_seconds(text)
        .map_err(|problem| Error::bad_request(format!("error parsing X-Vault-Wrap-TTL header: {problem}")))?;
    Ok(Some(seconds).filter(|seconds| *seconds > 0))
}

/// The one text that says nothing about why: clients look for its end.
fn invalid() -> Error {
    Error::bad_request("wrapping token is not valid or does not exist")
}

impl Core {
    /// Puts an answer away and replies with the token that fetches it. Only answers with an envelope are wrapped.
    pub(super) async fn wrap(&self, reply: Reply, path: &str, ttl: u64) -> Result<Reply, Error> {
        match reply {
            Reply::Envelope { mut envelope, delivery, .. } if envelope.wrap_info.is_none() => {
                envelope.request_id = self.shared.random.uuid();
                let accessor = envelope.auth.as_ref().map(|auth| auth.accessor.clone()).filter(|a| !a.is_empty());
                let text = serde_json::to_string(&envelope)
                    .map_err(|error| Error::internal("the answer is not JSON").caused_by(error))?;
                let info = self.put_away(text, path, ttl, accessor).await?;
                let envelope = Envelope { wrap_info: Some(info), ..Envelope::default() };
                // A lease in the answer hangs on its token reaching the caller.
                Ok(Reply::Envelope { envelope: Box::new(envelope), duplicate: false, delivery })
            }
            reply => Ok(reply),
        }
    }

    async fn put_away(
        &self,
        response: String,
        path: &str,
        ttl: u64,
        wrapped_accessor: Option<String>,
    ) -> Result<WrapInfo, Error> {
        let token = Token {
            policies: vec![policies::WRAPPING.to_owned()],
            path: path.to_owned(),
            role_ttl: ttl,
            explicit_max_ttl: ttl,
            num_uses: 1,
            renewable: false,
            ..Token::blank(self.shared.clock.now())
        };
        let made = self.tokens.create(token, None, self.shared.settings.limits).await?;
        let found = self.tokens.find(&made.id).await?.ok_or_else(invalid)?;
        let info = WrapInfo {
            token: made.id.expose().to_owned(),
            accessor: made.token.accessor,
            ttl: made.token.creation_ttl,
            creation_time: made.token.created.to_string(),
            creation_path: path.to_owned(),
            wrapped_accessor,
        };
        let told = json!({ "creation_path": info.creation_path, "creation_time": info.creation_time,
            "creation_ttl": info.ttl, "wrapped_accessor": info.wrapped_accessor });
        self.tokens.keep(&found, INFO, &object(told)).await?;
        self.tokens.keep(&found, RESPONSE, &object(json!({ RESPONSE: response }))).await?;
        Ok(info)
    }

    /// `sys/wrapping/lookup`, which needs no other token, and `sys/wrapping/unwrap` by the wrapping token itself.
    pub(super) async fn by_wrapping_token(&self, incoming: &Incoming) -> Result<Option<Reply>, Error> {
        let named = || Ok::<_, Error>(named(&incoming.fields)?.or_else(|| incoming.token.clone()));
        match (incoming.operation, incoming.path.as_str()) {
            (Operation::Read | Operation::Write, "sys/wrapping/lookup") => {
                let token = named()?.ok_or_else(Error::denied)?;
                let found = self.wrapping_token(&token).await?;
                let mut told = self.tokens.kept(&found.hash, INFO).await?.ok_or_else(invalid)?;
                told.remove("wrapped_accessor");
                Ok(Some(Reply::answer(Answer::data(told.into()))))
            }
            (Operation::Write, "sys/wrapping/unwrap") => {
                let token = named()?.ok_or_else(Error::denied)?;
                let found = self.wrapping_token(&token).await?;
                // Named in the body, somebody else opens it, whose token and policies come first.
                if incoming.token.as_ref().is_some_and(|own| *own != token) || incoming.token.is_none() {
                    return Ok(None);
                }
                self.unwrap(found).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `sys/wrapping/…` with a token of one's own.
    pub(super) async fn sys_wrapping(&self, path: &str, incoming: &Incoming, fields: &Fields) -> Result<Reply, Error> {
        match (incoming.operation, path) {
            (Operation::Write, "wrap") => {
                wanted(incoming)?
                    .ok_or_else(|| Error::bad_request("endpoint requires response wrapping to be used"))?;
                Ok(Reply::answer(Answer::data(fields.as_map().clone().into())))
            }
            (Operation::Write, "unwrap") => self.unwrap(self.named_in(fields).await?).await,
            (Operation::Write, "rewrap") => self.rewrap(self.named_in(fields).await?).await,
            (_, "wrap" | "lookup" | "unwrap" | "rewrap") => Err(Error::unsupported_operation()),
            _ => Err(Error::unsupported_path()),
        }
    }

    async fn named_in(&self, fields: &Fields) -> Result<Found, Error> {
        self.wrapping_token(&named(fields)?.ok_or_else(invalid)?).await
    }

    async fn wrapping_token(&self, token: &Secret) -> Result<Found, Error> {
        let found = self.tokens.find(token).await?;
        found.filter(|found| found.token.policies == [policies::WRAPPING]).ok_or_else(invalid)
    }

    async fn unwrap(&self, found: Found) -> Result<Reply, Error> {
        let (response, _) = self.take(found).await?;
        let envelope = serde_json::from_str::<Envelope>(&response)
            .map_err(|error| Error::internal("a wrapped answer cannot be read").caused_by(error))?;
        Ok(Reply::Envelope { envelope: Box::new(envelope), duplicate: false, delivery: None })
    }

    /// The same answer under another token, for as long again.
    async fn rewrap(&self, found: Found) -> Result<Reply, Error> {
        let (response, told) = self.take(found).await?;
        let text = |name: &str| told.get(name).and_then(Value::as_str).map(str::to_owned);
        let path = text("creation_path").ok_or_else(invalid)?;
        let ttl = told.get("creation_ttl").and_then(Value::as_u64).ok_or_else(invalid)?;
        let info = self.put_away(response, &path, ttl, text("wrapped_accessor")).await?;
        let envelope = Envelope { wrap_info: Some(info), ..Envelope::default() };
        Ok(Reply::Envelope { envelope: Box::new(envelope), duplicate: false, delivery: None })
    }

    /// The answer that a wrapping token keeps, and what is told of it; of several who ask at once one gets it.
    async fn take(&self, mut found: Found) -> Result<(String, Map<String, Value>), Error> {
        if !self.tokens.use_once(&mut found).await? {
            return Err(invalid());
        }
        let response = self.tokens.kept(&found.hash, RESPONSE).await?.ok_or_else(invalid)?;
        let told = self.tokens.kept(&found.hash, INFO).await?.ok_or_else(invalid)?;
        self.leases.end_token(&found.hash).await?;
        let response = response.get(RESPONSE).and_then(Value::as_str).ok_or_else(invalid)?;
        Ok((response.to_owned(), told))
    }
}

fn named(fields: &Fields) -> Result<Option<Secret>, Error> {
    Ok(fields.secret("token")?.filter(|token| !token.is_empty()))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
