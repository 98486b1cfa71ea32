//! What applications do with vaultrs: logins, credentials, revocation, wrapping, policies, KV, tokens.

use std::collections::HashMap;
use std::error::Error;

use vaultrs::api::sys::requests::ListMountsRequest;
use vaultrs::api::token::requests::CreateTokenRequest;
use vaultrs::api::{ResponseWrapper as _, auth, kv2 as kv2_api, sys as sys_api};
use vaultrs::auth::{approle, userpass};
use vaultrs::client::{Client as _, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{database, kv1, kv2, sys, token};

type Outcome = Result<(), Box<dyn Error>>;

fn connect(address: &str, token: &str) -> Result<VaultClient, Box<dyn Error>> {
    let settings = VaultClientSettingsBuilder::default().address(address).token(token).build()?;
    Ok(VaultClient::new(settings)?)
}

/// Ends the program unless the call was refused with that status and a text that holds `part`.
fn refused<T>(answer: Result<T, ClientError>, status: u16, part: &str) {
    match answer {
        Err(ClientError::APIError { code, errors }) => {
            assert_eq!(code, status, "{errors:?}");
            assert!(errors.concat().contains(part), "{errors:?}");
        }
        Err(error) => panic!("{status} {part} expected, got {error:?}"),
        Ok(_) => panic!("{status} {part} expected, but it was granted"),
    }
}

async fn system(root: &VaultClient) -> Outcome {
    let health = sys::health(root).await?;
    assert!(health.initialized && !health.sealed && !health.standby);
    assert_eq!(format!("{:?}", sys::status(root).await?), "OK");
    assert_eq!(sys::mount::list(root).await?["database/"].mount_type, "database");
    assert_eq!(sys::mount::get_configuration_of_a_secret_engine(root, "database").await?.mount_type, "database");
    assert!(sys::auth::list(root).await?.contains_key("token/"));
    assert!(!sys::tools::random(root, None).await?.random_bytes.is_empty());
    Ok(())
}

async fn policies(root: &VaultClient, role: &str) -> Outcome {
    let rules = format!("path \"database/creds/{role}\" {{ capabilities = [\"read\"] }}");
    sys::policy::set(root, "rust-app", &rules).await?;
    assert_eq!(sys::policy::read(root, "rust-app").await?.rules, rules);
    assert!(sys::policy::list(root).await?.policies.contains(&"rust-app".to_owned()));
    sys::policy::set(root, "rust-gone", &rules).await?;
    sys::policy::delete(root, "rust-gone").await?;
    refused(sys::policy::read(root, "rust-gone").await, 404, "");
    Ok(())
}

async fn log_in(root: &VaultClient, address: &str) -> Result<VaultClient, Box<dyn Error>> {
    let mount = "rust-approle";
    sys::auth::enable(root, mount, "approle", None).await?;
    let mut role = auth::approle::requests::SetAppRoleRequest::builder();
    let role = role.token_policies(vec!["rust-app".to_owned()]).token_ttl("1h");
    approle::role::set(root, mount, "app", Some(role)).await?;
    assert_eq!(approle::role::read(root, mount, "app").await?.token_ttl, 3600);
    let role_id = approle::role::read_id(root, mount, "app").await?.role_id;
    let secret = approle::role::secret::generate(root, mount, "app", None).await?;
    let mut client = connect(address, "")?;
    let login = approle::login(&client, mount, &role_id, &secret.secret_id).await?;
    assert_eq!(login.token_policies, ["default", "rust-app"]);
    client.set_token(&login.client_token);
    refused(approle::login(&client, mount, &role_id, "wrong").await, 400, "invalid role or secret ID");

    let mount = "rust-users";
    sys::auth::enable(root, mount, "userpass", None).await?;
    userpass::user::set(root, mount, "ann", "ann's own", None).await?;
    assert_eq!(userpass::user::list(root, mount).await?.keys, ["ann"]);
    userpass::login(&connect(address, "")?, mount, "ann", "ann's own").await?;
    refused(userpass::login(&connect(address, "")?, mount, "ann", "wrong").await, 400, "invalid username or password");
    Ok(client)
}

/// vaultrs shows no lease: what was taken ends with the token that took it.
async fn credentials(client: &VaultClient, role: &str) -> Outcome {
    let taken = database::role::creds(client, "database", role).await?;
    assert!(!taken.password.is_empty());
    refused(database::role::creds(client, "database", "nobodys").await, 403, "permission denied");
    println!("{}", taken.username);
    std::io::stdin().read_line(&mut String::new())?; // the test looks into the database
    token::renew_self(client, Some("30m")).await?;
    token::revoke_self(client).await?;
    refused(token::lookup_self(client).await, 403, "permission denied");
    println!("revoked");
    Ok(())
}

async fn wrapping(root: &VaultClient) -> Outcome {
    let wrapped = ListMountsRequest::builder().build()?.wrap(root).await?;
    assert_eq!(wrapped.lookup(root).await?.creation_path, "sys/mounts");
    let mounts: HashMap<String, sys_api::responses::MountResponse> = wrapped.unwrap(root).await?;
    assert!(mounts.contains_key("database/"));
    assert!(wrapped.unwrap(root).await.is_err(), "a second opening");
    Ok(())
}

async fn key_value(root: &VaultClient) -> Outcome {
    let (mount, one) = ("rust-kv", HashMap::from([("user", "one")]));
    let mut version_two = sys_api::requests::EnableEngineRequest::builder();
    let version_two = version_two.options(HashMap::from([("version".to_owned(), "2".to_owned())]));
    sys::mount::enable(root, mount, "kv", Some(version_two)).await?;
    assert_eq!(kv2::set(root, mount, "a/b", &one).await?.version, 1);
    let past = kv2_api::requests::SetSecretRequestOptions { cas: 0 };
    refused(kv2::set_with_options(root, mount, "a/b", &one, past).await, 400, "check-and-set");
    assert_eq!(kv2::read::<HashMap<String, String>>(root, mount, "a/b").await?["user"], "one");
    assert_eq!(kv2::list(root, mount, "a").await?, ["b"]);
    kv2::delete_latest(root, mount, "a/b").await?;
    kv2::undelete_versions(root, mount, "a/b", vec![1]).await?;
    assert_eq!(kv2::read_metadata(root, mount, "a/b").await?.current_version, 1);
    kv2::delete_metadata(root, mount, "a/b").await?;
    refused(kv2::read::<HashMap<String, String>>(root, mount, "a/b").await, 404, "");

    sys::mount::enable(root, "rust-kv1", "kv", None).await?;
    kv1::set(root, "rust-kv1", "x", &one).await?;
    assert_eq!(kv1::get::<HashMap<String, String>>(root, "rust-kv1", "x").await?["user"], "one");
    assert_eq!(kv1::list(root, "rust-kv1", "").await?.data.keys, ["x"]);
    sys::mount::disable(root, "rust-kv1").await?;
    Ok(())
}

async fn tokens(root: &VaultClient, address: &str) -> Outcome {
    let mut wish = CreateTokenRequest::builder();
    let made =
        token::new(root, Some(wish.policies(vec!["rust-app".to_owned()]).ttl("10m").display_name("child"))).await?;
    let child = connect(address, &made.client_token)?;
    assert!(token::lookup_self(&child).await?.ttl > 500);
    assert_eq!(token::renew_self(&child, Some("20m")).await?.lease_duration, 1200);
    assert_eq!(token::lookup_accessor(root, &made.accessor).await?.id, "");
    token::revoke_accessor(root, &made.accessor).await?;
    refused(token::lookup_self(&child).await, 403, "permission denied");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a provider is installed already")?;
    let arguments: Vec<_> = std::env::args().collect();
    let (address, role) = (&arguments[1], &arguments[2]);
    let root = connect(address, &std::env::var("ROOT_TOKEN")?)?;
    system(&root).await?;
    policies(&root, role).await?;
    let client = log_in(&root, address).await?;
    credentials(&client, role).await?;
    wrapping(&root).await?;
    key_value(&root).await?;
    tokens(&root, address).await
}
