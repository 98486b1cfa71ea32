//! Logins at another engine, by the method that its CredentialEngine names.

use serde_json::{Value, json};

use super::place::EngineName;
use crate::api::CredentialEngine;
use crate::api::engine::{AppRoleAuth, EngineAuth, JwtAuth, KubernetesAuth};
use crate::base::Secret;
use crate::client::{self, Client};
use crate::operator::context::Context;
use crate::operator::error::Error;
use crate::operator::metrics;
use crate::operator::secrets::SecretKey;
use crate::wire::Auth;

/// Whom tokens of ServiceAccounts are for unless something else is said.
const AUDIENCE: &str = "vault";

/// The ServiceAccount that an object acts as.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub account: &'a str,
}

/// One of the methods of a CredentialEngine.
enum Method<'a> {
    /// A token of the caller's ServiceAccount, for an audience.
    Account { mount: &'a str, role: &'a str, audiences: Vec<String> },
    /// A token out of a Secret.
    Token(&'a JwtAuth),
    /// An AppRole.
    AppRole(&'a AppRoleAuth),
}

fn method(auth: &EngineAuth) -> Option<Method<'_>> {
    match auth {
        EngineAuth { kubernetes: Some(KubernetesAuth { mount, role, audiences }), .. } => {
            Some(Method::Account { mount, role, audiences: audiences.clone() })
        }
        EngineAuth { jwt: Some(jwt), .. } if jwt.token_ref.is_some() => Some(Method::Token(jwt)),
        EngineAuth { jwt: Some(JwtAuth { mount, role, audiences, .. }), .. } => {
            let audiences = audiences.clone().unwrap_or_else(|| vec![AUDIENCE.to_owned()]);
            Some(Method::Account { mount, role, audiences })
        }
        EngineAuth { app_role: Some(role), .. } => Some(Method::AppRole(role)),
        EngineAuth { kubernetes: None, jwt: None, app_role: None } => None,
    }
}

/// What an engine is given that does not depend on who asks.
pub struct Fixed {
    mount: String,
    body: Value,
    /// Versions of the Secrets that it comes from.
    pub versions: Vec<(String, String)>,
}

/// The login of the CredentialEngine itself, if it has one: the same for all who may use it.
///
/// # Errors
/// When a Secret cannot be read or lacks the key.
pub async fn fixed(context: &Context, engine: &CredentialEngine) -> Result<Option<Fixed>, Error> {
    let namespace = &EngineName::of(engine).namespace;
    match method(&engine.spec.auth) {
        Some(Method::Token(jwt)) => {
            let Some(reference) = &jwt.token_ref else { return Ok(None) };
            let key =
                SecretKey { namespace, name: &reference.name, key: &reference.key, field: "spec.auth.jwt.tokenRef" };
            let token = key.read(context).await?;
            let body = json!({ "role": jwt.role, "jwt": token.text.expose() });
            let versions = vec![(reference.name.clone(), token.version)];
            Ok(Some(Fixed { mount: jwt.mount.clone(), body, versions }))
        }
        Some(Method::AppRole(role)) => {
            let mut fixed =
                Fixed { mount: role.mount.clone(), body: json!({ "role_id": role.role_id }), versions: Vec::new() };
            if let Some(reference) = &role.secret_id_ref {
                let field = "spec.auth.appRole.secretIDRef";
                let id =
                    SecretKey { namespace, name: &reference.name, key: &reference.key, field }.read(context).await?;
                fixed.body["secret_id"] = json!(id.text.expose());
                fixed.versions.push((reference.name.clone(), id.version));
            }
            Ok(Some(fixed))
        }
        Some(Method::Account { .. }) | None => Ok(None),
    }
}

/// Logs in for `caller`; the client carries the token of the answer.
///
/// # Errors
/// [`Error::Refused`] when the engine does not let it in, or the login cannot bear a lease.
pub async fn log_in(context: &Context, engine: &CredentialEngine, caller: Caller<'_>) -> Result<(Client, Auth), Error> {
    context.external.require_leadership()?;
    let reach = context.external.reach(context, engine).await?;
    let client = context.external.clients.client(&reach)?;
    metrics::count(&context.metrics.tenant_logins);
    let auth = match method(&engine.spec.auth) {
        Some(Method::Account { mount, role, audiences }) => {
            with_account(context, engine, &client, caller, (mount, role, &audiences)).await?
        }
        _ => match fixed(context, engine).await? {
            Some(login) => enter(engine, &client, &login).await?,
            None => return Err(Error::refused("InvalidSpec", "spec.auth: give one of kubernetes, jwt and appRole")),
        },
    };
    if auth.num_uses > 0 {
        // Its end is reported to nobody, and takes the lease with it. What it has left ends it here.
        let client = client.with_token(Secret::new(auth.client_token));
        let _ = client.revoke_self().await;
        let message = format!(
            "the login at CredentialEngine {} gives tokens for {} uses, which would end a credential with the last of them: \
             set token_num_uses of its login role to 0",
            EngineName::of(engine),
            auth.num_uses
        );
        return Err(Error::refused("LoginUnusable", message));
    }
    Ok((client.with_token(Secret::new(auth.client_token.clone())), auth))
}

/// Logs in with what is the same for everybody.
///
/// # Errors
/// As [`log_in`].
pub async fn enter(engine: &CredentialEngine, client: &Client, login: &Fixed) -> Result<Auth, Error> {
    let answer = client.login(&login.mount, &login.body).await;
    answer.map_err(|error| refusal(engine, &login.mount, "its own login", error))
}

/// Refuses tokens of ServiceAccounts that another engine could use at the installed one.
///
/// # Errors
/// [`Error::Refused`] naming the audience.
pub fn check(context: &Context, engine: &CredentialEngine) -> Result<(), Error> {
    match method(&engine.spec.auth) {
        Some(Method::Account { audiences, .. }) if audiences.contains(&context.audience) => {
            let message = format!(
                "spec.auth of CredentialEngine {}: audience {:?} is that of the installed engine, where another engine could \
                 act with such a token: choose another",
                EngineName::of(engine),
                context.audience
            );
            Err(Error::refused("InvalidSpec", message))
        }
        _ => Ok(()),
    }
}

async fn with_account(
    context: &Context,
    engine: &CredentialEngine,
    client: &Client,
    caller: Caller<'_>,
    (mount, role, audiences): (&str, &str, &[String]),
) -> Result<Auth, Error> {
    check(context, engine)?;
    let mut anew = false;
    loop {
        let token = context.external.accounts.get(caller.namespace, caller.account, audiences, anew).await?;
        let body = json!({ "role": role, "jwt": token.jwt.expose() });
        match client.login(mount, &body).await {
            // The account may have been deleted and made again since its token was made.
            Err(error) if matches!(error.status(), Some(400 | 403)) && !token.fresh => anew = true,
            answer => {
                let who = format!("ServiceAccount {}/{}", caller.namespace, caller.account);
                return answer.map_err(|error| refusal(engine, mount, &who, error));
            }
        }
    }
}

fn refusal(engine: &CredentialEngine, mount: &str, who: &str, error: client::Error) -> Error {
    let name = EngineName::of(engine);
    match error.status() {
        Some(400 | 403 | 404) => Error::refused(
            "LoginRefused",
            format!("CredentialEngine {name} does not let {who} in at auth/{mount} ({error})"),
        ),
        _ => Error::engine(format!("cannot log in at CredentialEngine {name}"))(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(auth: Value) -> CredentialEngine {
        serde_json::from_value(json!({
            "apiVersion": "lessor.dev/v1alpha1", "kind": "CredentialEngine",
            "metadata": { "name": "vault", "namespace": "platform" },
            "spec": { "address": "https://vault:8200", "auth": auth },
        }))
        .unwrap()
    }

    #[test]
    fn tokens_of_accounts_are_for_vault_unless_something_else_is_said() {
        for (auth, expected) in [
            (json!({ "kubernetes": { "role": "r" } }), vec!["vault"]),
            (json!({ "kubernetes": { "role": "r", "audiences": [] } }), vec![]),
            (json!({ "jwt": { "role": "r" } }), vec!["vault"]),
            (json!({ "jwt": { "role": "r", "audiences": ["a", "b"] } }), vec!["a", "b"]),
        ] {
            match method(&engine(auth).spec.auth) {
                Some(Method::Account { role, audiences, .. }) => {
                    assert_eq!((role, audiences), ("r", expected.iter().map(ToString::to_string).collect()))
                }
                _ => panic!("no login of the caller's"),
            }
        }
    }

    #[test]
    fn a_refusal_names_engine_mount_and_caller() {
        let engine = engine(json!({ "appRole": { "roleID": "r" } }));
        assert!(matches!(method(&engine.spec.auth), Some(Method::AppRole(_))));
        let answer = |status| client::Error::Api {
            path: "auth/approle/login".into(),
            status,
            errors: vec!["invalid role ID".into()],
        };
        let refused = refusal(&engine, "approle", "its own login", answer(400));
        assert_eq!(refused.reason(), "LoginRefused");
        assert!(
            refused.story().contains("platform/vault") && refused.story().contains("auth/approle"),
            "{}",
            refused.story()
        );
        assert_eq!(refusal(&engine, "approle", "its own login", answer(503)).reason(), "EngineUnavailable");
    }
}
