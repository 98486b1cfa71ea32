//! Fields of routes as OpenAPI schemas.

use serde_json::{Map, Value, json};

use crate::wire::Field;
use crate::wire::route::Type;

/// The schema of one field.
pub(super) fn of_field(field: &Field) -> Map<String, Value> {
    let mut schema = match field.kind {
        Type::Text => json!({ "type": "string" }),
        Type::Secret => json!({ "type": "string", "x-vault-displayAttrs": { "sensitive": true } }),
        Type::Flag => json!({ "type": "boolean" }),
        Type::Int => json!({ "type": "integer" }),
        Type::Seconds => json!({ "type": "string", "format": "duration" }),
        Type::List | Type::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Type::Map => json!({ "type": "object", "format": "kvpairs", "additionalProperties": { "type": "string" } }),
        Type::Object => json!({ "type": "object", "format": "map", "additionalProperties": true }),
    };
    schema["description"] = json!(field.about);
    if field.old {
        schema["deprecated"] = json!(true);
    }
    if let Some(default) = default(field) {
        schema["default"] = default;
    }
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// What holds when the field is not sent, in the type of its schema.
fn default(field: &Field) -> Option<Value> {
    let default: Value = serde_json::from_str(field.default?).ok()?;
    Some(match (field.kind, default) {
        (Type::Seconds, Value::Number(seconds)) => json!(format!("{seconds}s")),
        (Type::Text | Type::Secret, Value::Number(number)) => json!(number.to_string()),
        (Type::List | Type::Texts, Value::String(only)) => json!([only]),
        (_, default) => default,
    })
}

/// The schema of a body.
pub(super) fn of_body(fields: &[&Field], takes_any: bool) -> Value {
    let properties: Map<_, _> = fields.iter().map(|field| (field.name.to_owned(), of_field(field).into())).collect();
    let mut schema = json!({ "type": "object" });
    if !properties.is_empty() {
        schema["properties"] = properties.into();
    }
    let required: Vec<_> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if takes_any {
        schema["additionalProperties"] = json!(true);
    }
    schema
}

/// The type as people read it in help texts.
pub(super) fn word(kind: Type) -> &'static str {
    match kind {
        Type::Text | Type::Secret => "string",
        Type::Flag => "bool",
        Type::Int => "int",
        Type::Seconds => "duration (sec)",
        Type::List | Type::Texts => "slice",
        Type::Map => "keypair",
        Type::Object => "map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_has_the_type_of_its_field() {
        let of = |field: Field| of_field(&field).get("default").cloned();
        assert_eq!(of(Field::seconds("a", "A.").or("60")), Some(json!("60s")));
        assert_eq!(of(Field::text("a", "A.").or("10")), Some(json!("10")));
        assert_eq!(of(Field::text("a", "A.").or("\"x\"")), Some(json!("x")));
        assert_eq!(of(Field::list("a", "A.").or("\"x\"")), Some(json!(["x"])));
        assert_eq!(of(Field::int("a", "A.").or("3")), Some(json!(3)));
        assert_eq!(of(Field::flag("a", "A.").or("true")), Some(json!(true)));
        assert_eq!(of(Field::flag("a", "A.")), None);
    }
}
