//! The body of `database/config/…`.

use serde_json::{Map, Value, json};

use super::secrets::Secrets;
use crate::api::{DatabaseConnectionSpec, Period};
use crate::operator::error::Error;

/// The connection as the engine should have it. Roles may use it in its own namespace only, which their engine names tell.
/// `found` is what the engine has: a schedule of there ends when the spec has none.
///
/// # Errors
/// [`Error::Refused`] naming the field.
pub fn config(
    spec: &DatabaseConnectionSpec,
    secrets: &Secrets,
    namespace: &str,
    found: Option<&Value>,
) -> Result<Value, Error> {
    let mut body = Map::new();
    body.extend(spec.parameters.iter().map(|(key, value)| (key.clone(), json!(value))));
    body.insert("plugin_name".into(), json!(spec.plugin));
    body.insert("allowed_roles".into(), json!([format!("{namespace}.*")]));
    body.insert("verify_connection".into(), json!(spec.verify));
    rotation(spec, found, &mut body)?;
    let mut set = |key: &str, value: Option<Value>| value.map(|value| body.insert(key.to_owned(), value));
    set("connection_url", spec.connection_url.as_ref().map(|url| json!(url)));
    set("username_template", spec.username_template.as_ref().map(|template| json!(template)));
    if let Some((username, password)) = &secrets.account {
        set("username", Some(json!(username)));
        set("password", Some(json!(password.expose())));
    }
    set("tls_ca", secrets.ca.as_ref().map(|pem| json!(pem)));
    if let Some((certificate, key)) = &secrets.certificate {
        set("tls_certificate", Some(json!(certificate)));
        set("private_key", Some(json!(key.expose())));
    }
    if let Some(pool) = &spec.pool {
        set("max_open_connections", pool.max_open_connections.map(|number| json!(number)));
        set("max_idle_connections", pool.max_idle_connections.map(|number| json!(number)));
        let lifetime = seconds(pool.max_connection_lifetime.as_ref(), "spec.pool.maxConnectionLifetime")?;
        set("max_connection_lifetime", lifetime.map(|seconds| json!(format!("{seconds}s"))));
    }
    Ok(Value::Object(body))
}

/// When the engine changes the admin account's password by itself.
fn rotation(spec: &DatabaseConnectionSpec, found: Option<&Value>, body: &mut Map<String, Value>) -> Result<(), Error> {
    let root = spec.rotate_root.as_ref();
    if let Some(schedule) = root.and_then(|root| root.schedule.as_ref()) {
        let schedule = schedule.split_whitespace().collect::<Vec<_>>().join(" ");
        let window = seconds(root.and_then(|root| root.window.as_ref()), "spec.rotateRoot.window")?;
        body.insert("rotation_schedule".into(), json!(schedule));
        body.insert("rotation_window".into(), json!(window.unwrap_or(0)));
        return Ok(());
    }
    let period = seconds(root.and_then(|root| root.period.as_ref()), "spec.rotateRoot.period")?;
    if let Some(period) = period {
        body.insert("rotation_period".into(), json!(period));
        return Ok(());
    }
    // Some engines have no schedules: they are told nothing about any.
    let told = |field: &str| found.is_some_and(|found| found.get(field).is_some());
    let by_parameters = ["rotation_period", "rotation_schedule"].iter().any(|field| body.contains_key(*field));
    if !by_parameters && told("rotation_period") && told("rotation_schedule") {
        body.insert("rotation_period".into(), json!(0));
        body.insert("rotation_schedule".into(), json!(""));
    }
    Ok(())
}

fn seconds(period: Option<&Period>, field: &str) -> Result<Option<u64>, Error> {
    period.map(|period| period.seconds(field).map_err(|text| Error::refused("InvalidConfiguration", text))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(fields: Value, secrets: &Secrets, found: Option<&Value>) -> Value {
        let mut spec = json!({
            "connectionURL": "postgresql://{{username}}:{{password}}@db/app",
            "credentialsSecretRef": { "name": "admin" },
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        config(&serde_json::from_value(spec).unwrap(), secrets, "shop", found).unwrap()
    }

    #[test]
    fn a_connection_serves_the_roles_of_its_own_namespace_only() {
        let fields = json!({
            "pool": { "maxOpenConnections": 8, "maxConnectionLifetime": "1h" },
            "parameters": { "password_authentication": "scram-sha-256" },
        });
        let secrets = Secrets { account: Some(("admin".into(), "pw".into())), ..Secrets::default() };
        assert_eq!(
            body(fields, &secrets, None),
            json!({
                "plugin_name": "postgresql-database-plugin", "allowed_roles": ["shop.*"], "verify_connection": true,
                "connection_url": "postgresql://{{username}}:{{password}}@db/app", "username": "admin", "password": "pw",
                "max_open_connections": 8, "max_connection_lifetime": "3600s", "password_authentication": "scram-sha-256",
            })
        );
    }

    #[test]
    fn a_schedule_is_sent_in_one_form_and_ended_where_there_is_one() {
        let part = |fields: Value, found: Option<&Value>| {
            let body = body(fields, &Secrets::default(), found);
            ["rotation_period", "rotation_schedule", "rotation_window"].map(|field| body.get(field).cloned())
        };
        let period = json!({ "rotateRoot": { "period": "24h" } });
        assert_eq!(part(period, None), [Some(json!(86_400)), None, None]);
        let schedule = json!({ "rotateRoot": { "schedule": "0 3  * * SUN", "window": "2h" } });
        assert_eq!(part(schedule, None), [None, Some(json!("0 3 * * SUN")), Some(json!(7200))]);
        let found = json!({ "rotation_period": 60, "rotation_schedule": "", "rotation_window": 0 });
        assert_eq!(part(json!({}), Some(&found)), [Some(json!(0)), Some(json!("")), None]);
        assert_eq!(part(json!({ "rotateRoot": {} }), Some(&json!({ "plugin_name": "x" }))), [None, None, None]);
        let own = json!({ "parameters": { "rotation_period": "60" } });
        assert_eq!(part(own, Some(&found)), [Some(json!("60")), None, None]);
    }
}
