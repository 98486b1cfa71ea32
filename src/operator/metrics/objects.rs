//! Series of single objects, read from the watched objects themselves: they end with their object.

use kube::ResourceExt;

use super::Text;
use crate::api::condition::Conditions;
use crate::operator::context::Context;
use crate::operator::kind::{Kind, PasswordTimes, Validity, kind_name, namespace_of};

/// One object.
struct Row {
    kind: &'static str,
    namespace: String,
    name: String,
    conditions: Vec<(String, String, bool)>,
    validity: Option<Validity>,
    password: Option<PasswordTimes>,
}

impl Row {
    fn labels(&self) -> [(&str, &str); 3] {
        [("kind", self.kind), ("namespace", &self.namespace), ("name", &self.name)]
    }
}

/// All series of objects.
pub fn render(context: &Context, text: &mut Text) {
    let mut rows = Vec::new();
    collect(&mut rows, &context.connections.all());
    collect(&mut rows, &context.roles.all());
    collect(&mut rows, &context.secrets.all());
    collect(&mut rows, &context.static_roles.all());
    collect(&mut rows, &context.static_secrets.all());
    collect(&mut rows, &context.engines.all());
    write(&rows, text);
}

fn collect<K: Kind>(rows: &mut Vec<Row>, objects: &[std::sync::Arc<K>]) {
    rows.extend(objects.iter().map(|object| {
        let conditions = object.status().map(Conditions::conditions).unwrap_or_default().iter();
        Row {
            kind: kind_name::<K>(),
            namespace: namespace_of(&**object),
            name: object.name_any(),
            conditions: conditions
                .map(|condition| (condition.type_.clone(), condition.reason.clone(), condition.status == "True"))
                .collect(),
            validity: object.validity(),
            password: object.password(),
        }
    }));
}

fn write(rows: &[Row], text: &mut Text) {
    text.head("object_condition", "gauge", "Conditions of objects: 1 where the condition holds, with its reason.");
    for Row { kind, namespace, name, conditions, .. } in rows {
        for (condition, reason, holds) in conditions {
            let labels = [
                ("kind", *kind),
                ("namespace", namespace),
                ("name", name),
                ("condition", condition),
                ("reason", reason),
            ];
            text.row("object_condition", &labels, u8::from(*holds));
        }
    }
    let head = "When the credential of an object ends unless it is renewed or replaced, Unix time.";
    text.head("credential_expiry_timestamp_seconds", "gauge", head);
    for (labels, validity) in valid(rows) {
        text.row("credential_expiry_timestamp_seconds", &labels, validity.expires.as_second());
    }
    text.head(
        "credential_ttl_seconds",
        "gauge",
        "For how long the credential of an object was last prolonged, or made.",
    );
    for (labels, validity) in valid(rows) {
        text.row("credential_ttl_seconds", &labels, validity.ttl);
    }
    let passwords = || rows.iter().filter_map(|row| Some((row.labels(), row.password?)));
    let head = "When the password of an account was changed or taken over, Unix time.";
    text.head("password_changed_timestamp_seconds", "gauge", head);
    for (labels, password) in passwords() {
        text.row("password_changed_timestamp_seconds", &labels, password.changed.as_second());
    }
    let head = "When the password of an account is to change next, Unix time.";
    text.head("password_change_due_timestamp_seconds", "gauge", head);
    for (labels, due) in passwords().filter_map(|(labels, password)| Some((labels, password.due?))) {
        text.row("password_change_due_timestamp_seconds", &labels, due.as_second());
    }
}

fn valid(rows: &[Row]) -> impl Iterator<Item = ([(&str, &str); 3], Validity)> {
    rows.iter().filter_map(|row| Some((row.labels(), row.validity?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn an_object_has_a_series_for_each_condition_and_for_its_credential() {
        let row = Row {
            kind: "DynamicDatabaseSecret",
            namespace: "shop".into(),
            name: "db".into(),
            conditions: vec![("Ready".into(), "Issued".into(), true), ("Degraded".into(), "AsExpected".into(), false)],
            validity: Some(Validity { expires: Timestamp::UNIX_EPOCH, ttl: 60 }),
            password: Some(PasswordTimes { changed: Timestamp::UNIX_EPOCH, due: None }),
        };
        let mut text = Text::default();
        write(&[row], &mut text);
        let text = text.finish();
        let object = "kind=\"DynamicDatabaseSecret\",namespace=\"shop\",name=\"db\"";
        for line in [
            format!("lessor_operator_object_condition{{{object},condition=\"Ready\",reason=\"Issued\"}} 1"),
            format!("lessor_operator_object_condition{{{object},condition=\"Degraded\",reason=\"AsExpected\"}} 0"),
            format!("lessor_operator_credential_expiry_timestamp_seconds{{{object}}} 0"),
            format!("lessor_operator_credential_ttl_seconds{{{object}}} 60"),
            format!("lessor_operator_password_changed_timestamp_seconds{{{object}}} 0"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("password_change_due_timestamp_seconds{"), "nobody knows when the next one is due");
    }
}
