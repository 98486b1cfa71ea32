//! What HCL 1 texts mean, and that no text whatever makes the parser panic.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn reads_a_servers_configuration() {
    let text = r#"
        # a comment
        ui = true // another
        /* and a
           third */
        default_lease_ttl = "768h"
        storage "embedded" { path = "/data" }
        listener "tcp" { address = "127.0.0.1:8200" tls_disable = 1 }
        listener tcp {
          "address" = "[::1]:8200",
          telemetry { unauthenticated_metrics_access = true }
        }
    "#;
    assert_eq!(
        parse(text).unwrap(),
        json!({
            "ui": true,
            "default_lease_ttl": "768h",
            "storage": [{"embedded": [{"path": "/data"}]}],
            "listener": [
                {"tcp": [{"address": "127.0.0.1:8200", "tls_disable": 1}]},
                {"tcp": [{"address": "[::1]:8200", "telemetry": [{"unauthenticated_metrics_access": true}]}]},
            ],
        })
    );
}

#[test]
fn objects_need_no_commas_and_blocks_fit_on_one_line() {
    assert_eq!(
        parse(r#"rule "charset" { charset = "abc" min-chars = 1 } m = { a = [1, 2,] "b.c" = {} d = [] }"#).unwrap(),
        json!({"rule": [{"charset": [{"charset": "abc", "min-chars": 1}]}], "m": {"a": [1, 2], "b.c": {}, "d": []}})
    );
    assert_eq!(parse("a = {x = 1}\na { x = 2 }\na = {x = 3}").unwrap(), json!({"a": [{"x": 1}, {"x": 2}, {"x": 3}]}));
    assert_eq!(parse("").unwrap(), json!({}));
    assert_eq!(parse("\u{feff}a=1\r\nb=2").unwrap(), json!({"a": 1, "b": 2}));
}

#[test]
fn reads_every_kind_of_number() {
    let text = "a = 0x1F b = 0755 c = -12 d = 1.5e+3 e = 1E2 f = 18446744073709551615 g = 0 h = -0x10 i = .5";
    assert_eq!(
        parse(text).unwrap(),
        json!({"a": 31, "b": 493, "c": -12, "d": 1500.0, "e": 100.0, "f": u64::MAX, "g": 0, "h": -16, "i": 0.5})
    );
    for wrong in ["a = 08", "a = 0x", "a = 1.2.3", "a = 12ab", "a = 1e999", "a = 99999999999999999999", "a = -"] {
        assert!(error(wrong).contains("is not a number"), "{wrong}: {}", error(wrong));
    }
}

#[test]
fn reads_strings_with_escapes_and_keeps_interpolations() {
    let text = r#"a = "tab\t quote\" \\ é \101 \x41" c = "{{identity.entity.id}}/*""#;
    let value = parse(text).unwrap();
    assert_eq!(value["a"], "tab\t quote\" \\ é A A");
    assert_eq!(value["c"], "{{identity.entity.id}}/*");
    assert_eq!(parse(r#"b = "x ${f("q", "\n")} y\n""#).unwrap()["b"], "x ${f(\"q\", \"\\n\")} y\n");
    for (wrong, message) in [
        ("a = \"x\ny\"", "line 1, column 5: this string is not closed"),
        (r#"a = "\q""#, "unknown escape"),
        (r#"a = "\ud800""#, "not a Unicode character"),
        (r#"a = "\u12""#, "too few digits"),
        (r#"a = "${x""#, "is not closed with }"),
    ] {
        assert!(error(wrong).contains(message), "{wrong}: {}", error(wrong));
    }
}

#[test]
fn reads_heredocs() {
    assert_eq!(parse("a = <<EOF\n one\n  two\nEOF\nb = 1").unwrap(), json!({"a": " one\n  two\n", "b": 1}));
    assert_eq!(parse("a = <<-EOF\n    one\n      two\n    EOF\n").unwrap()["a"], "one\n  two\n");
    assert_eq!(parse("a = <<-EOF\n  one\n    EOF\n").unwrap()["a"], "  one\n");
    assert_eq!(parse("a = [<<X\n1\nX\n, \"2\"]").unwrap()["a"], json!(["1\n", "2"]));
    assert!(error("a = <<EOF\nnever").starts_with("line 1, column 5: no line that holds EOF alone"));
    assert!(error("a = <<\n").contains("needs a mark"));
}

#[test]
fn errors_name_line_and_column() {
    for (text, message) in [
        ("a = 1\nb", "line 2, column 2: expected = or { after \"b\", found the end of the text"),
        ("a = 1\n  b = yes", "line 2, column 7: yes is not a value; write \"yes\" for a text"),
        ("a = [1 2]", "line 1, column 8: expected , or ] in a list, found '2'"),
        ("a {\n b = 1", "line 2, column 7: expected a key, found the end of the text"),
        ("a = 1\na = 2", "line 2, column 1: \"a\" was set on line 1 already"),
        ("a = 1\na {}", "line 2, column 1: \"a\" was set on line 1 already, and not as a block"),
        ("/* x", "line 1, column 1: this comment is not closed with */"),
        ("a \"b\" = 1", "line 1, column 7: expected { after \"a\", found '='"),
        ("{\"a\": }", "line 1, column 7: expected value"),
    ] {
        assert_eq!(error(text), message);
    }
}

#[test]
fn nesting_has_a_limit() {
    let deep = |open: &str, n: usize| format!("a = {}", open.repeat(n));
    for text in
        [deep("[", 10_000), deep("{ a = ", 10_000), format!("a{} {{}}", " b".repeat(10_000)), "{\"a\":".repeat(10_000)]
    {
        assert!(parse(&text).is_err());
    }
    assert!(parse(&format!("a = {}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))).is_ok());
}

#[test]
fn blocks_are_found_however_they_are_written() {
    for text in [
        "p \"x\" { n = 1 }\np \"y\" { n = 2 }",
        "p = { \"x\" = { n = 1 }, y = { n = 2 } }",
        "p { x { n = 1 } y { n = 2 } }",
        r#"{"p": {"x": {"n": 1}, "y": {"n": 2}}}"#,
        r#"{"p": [{"x": [{"n": 1}]}, {"y": {"n": 2}}]}"#,
    ] {
        let document = Document::parse(text).unwrap();
        let blocks = document.root().blocks("p", 1).unwrap();
        let found: Vec<_> = blocks.iter().map(|block| (block.label(), block.count("n").unwrap())).collect();
        assert_eq!(found, [("x", Some(1)), ("y", Some(2))], "{text}");
    }
    let document = Document::parse("a = 1\np = \"x\"\nq {}").unwrap();
    assert_eq!(document.root().blocks("none", 1).unwrap().len(), 0);
    assert_eq!(document.root().blocks("q", 0).unwrap().len(), 1);
    let error = document.root().blocks("p", 1).unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 1: \"p\" must be a block: p \"label\" { … }");
}

#[test]
fn typed_reading_names_key_and_line() {
    let document = Document::parse("l \"tcp\" {\n  tls = \"1\"\n  n = []\n  ttl = \"1h\"\n  one = \"x\"\n}").unwrap();
    let block = document.root().blocks("l", 1).unwrap().remove(0);
    assert_eq!(block.bool("tls").unwrap(), Some(true));
    assert_eq!(block.seconds("ttl").unwrap(), Some(3600));
    assert_eq!(block.strings("one").unwrap().unwrap(), ["x"]);
    assert_eq!(block.string("absent").unwrap(), None);
    assert_eq!(block.string("n").unwrap_err().to_string(), "line 3, column 3: \"n\" must be a text");
    assert!(block.seconds("one").unwrap_err().message.starts_with("\"one\" must be a duration"));
    assert_eq!(block.unknown(&["tls", "n"]), ["one", "ttl"]);
    assert_eq!(block.line("ttl"), Some(4));
}

/// Writes a value as HCL; the inverse of the parser for what arguments can hold.
fn print(value: &Value) -> String {
    match value {
        Value::Object(map) => format!("{{ {} }}", print_items(map)),
        Value::Array(items) => format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(",\n")),
        Value::String(text) => {
            let escaped: String = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
            format!("\"{escaped}\"")
        }
        other => other.to_string(),
    }
}

fn print_items(map: &Map<String, Value>) -> String {
    map.iter().map(|(key, value)| format!("{} = {}", print(&json!(key)), print(value))).collect::<Vec<_>>().join(" ")
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n\t\\PC]*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_hcl_like_text_makes_it_panic(text in "([a-c]|[0-9]|[={}\\[\\],.\"#<-]|/\\*|\\*/|//|\\$\\{|\\\\[nux\"]|<<-?EOF\n|\nEOF\n| |\n){0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_printed_value_reads_back(map in prop::collection::btree_map(any::<String>(), values(), 0..5)) {
        let map: Map<String, Value> = map.into_iter().collect();
        prop_assert_eq!(parse(&print_items(&map)).unwrap(), Value::Object(map));
    }
}
