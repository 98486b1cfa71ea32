//! Templates as the public documentation of Vault Agent, its injector and Consul Template writes them.

use super::*;

/// Renders with answers in the form of each path's engine.
fn documented(text: &str) -> Result<String, TemplateError> {
    let mut set = functions();
    set.add("secret", 1..=usize::MAX, |args| {
        let path = args[0].as_str().unwrap_or_default();
        Ok(from_json(&match path {
            _ if path.starts_with("secret/data/") || path == "secret/my-secret" => {
                json!({"Data": {"data": {"foo": "bar", "password": "s3cr3t", "with-dash": 1}, "metadata": {"version": 2}}})
            }
            _ if path.starts_with("pki/issue/") && args.len() > 1 => {
                json!({"Data": {"certificate": "CERT", "private_key": "KEY", "issuing_ca": "CA", "ca_chain": ["A", "B"]}})
            }
            _ => json!({"LeaseID": "l", "Data": {"username": "u", "password": "p"}}),
        }))
    });
    set.add("secrets", 1..=1, |_| Ok(from_json(&json!(["zip", "zap/"]))));
    Template::parse("t", text, None, &set)?.render(&Value::Nil, Missing::Error)
}

#[test]
fn vault_agents_examples() {
    for (template, text) in [
        // developer.hashicorp.com/vault/docs/agent-and-proxy/agent/template
        ("{{ with secret \"secret/my-secret\" }}\n{{ .Data.data.foo }}\n{{ end }}\n", "\nbar\n\n"),
        (
            "{{- /* my-cert.tmpl */ -}}\n{{ with secret \"pki/issue/my-domain-dot-com\" \"common_name=foo.example.com\" \"ttl=24h\" }}\n\
             {{- .Data.certificate }}\n{{ .Data.private_key }}\n{{ .Data.issuing_ca }}{{ end }}",
            "CERT\nKEY\nCA",
        ),
        (
            "{{ range $i, $c := (secret \"pki/issue/a\" \"common_name=a\").Data.ca_chain }}{{ if $i }}\n{{ end }}{{ $c }}{{ end }}",
            "A\nB",
        ),
        // … /agent/process-supervisor
        ("{{ with secret \"secret/data/foo\" }}{{ .Data.data.password }}{{ end }}", "s3cr3t"),
        ("{{ with secret `secret/data/foo` }}{{ index .Data.data \"with-dash\" }}{{ end }}", "1"),
        // developer.hashicorp.com/vault/docs/platform/k8s/injector
        (
            "{{- with secret \"database/creds/db-app\" -}}\npostgres://{{ .Data.username }}:{{ .Data.password }}@postgres:5432/appdb?sslmode=disable\n{{- end }}\n",
            "postgres://u:p@postgres:5432/appdb?sslmode=disable\n",
        ),
        (
            "{{ with secret \"database/creds/db-app\" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}{{ end }}",
            "password: p\nusername: u\n",
        ),
        (
            "{{ with secret \"secret/data/a\" -}}{{ .Data.data | toJSON }}{{- end }}",
            r#"{"foo":"bar","password":"s3cr3t","with-dash":1}"#,
        ),
        (
            "{{ with secret \"secret/data/a\" }}{{ range $k, $v := .Data.data }}export {{ $k | replaceAll \"-\" \"_\" | toUpper }}={{ $v }}\n{{ end }}{{ end }}",
            "export FOO=bar\nexport PASSWORD=s3cr3t\nexport WITH_DASH=1\n",
        ),
    ] {
        assert_eq!(documented(template).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn consul_templates_examples() {
    for (template, text) in [
        ("{{ range secrets \"secret/\" }}{{ . }},{{ end }}", "zip,zap/,"),
        (
            "{{ \"dGVzdA==\" | base64Decode }} {{ base64URLEncode \"a?b\" }} {{ \"YT9i\" | base64URLDecode }}",
            "test YT9i a?b",
        ),
        (
            "{{ $list := split \",\" \"a,b\" }}{{ if containsAll $list $list }}1{{ end }}{{ if containsAny (split \",\" \"x,a\") $list }}2{{ end }}{{ if containsNone (split \",\" \"x\") $list }}3{{ end }}{{ if containsNotAll (split \",\" \"a,x\") $list }}4{{ end }}",
            "1234",
        ),
        ("{{ if (\"foo\" | contains \"o\") }}yes{{ end }}{{ if \"baz\" | in \"foobaz\" }}!{{ end }}", "yes!"),
        ("{{ range loop 3 }}{{ . }}{{ end }}{{ range $i := loop 5 7 }}{{ $i }}{{ end }}", "01256"),
        ("{{ \"a:b\" | split \":\" | join \",\" }} {{ \"hello\" | toTitle }} {{ \"  x\" | trimSpace }}", "a,b Hello x"),
        (
            "{{ $m := parseJSON \"{\\\"a\\\":1}\" }}{{ $n := parseJSON \"{\\\"a\\\":2,\\\"b\\\":3}\" }}{{ mergeMap $m $n | toJSON }} {{ mergeMapWithOverride $m $n | toJSON }}",
            "{\"a\":1,\"b\":3} {\"a\":2,\"b\":3}",
        ),
        ("{{ (splitToMap \",\" \":\" \"a:1, b:2\").b }} {{ (explodeMap (parseJSON \"{\\\"a/b\\\":1}\")).a.b }}", "2 1"),
        ("{{ parseJSON \"{\\\"a\\\":[1],\\\"b\\\":{\\\"c\\\":\\\"d\\\"}}\" | toYAML }}", "a:\n- 1\nb:\n  c: d"),
        ("{{ parseJSON \"{\\\"foo\\\":\\\"bar\\\"}\" | toTOML }}", "foo = \"bar\""),
        (
            "{{ \"key\" | hmacSHA256Hex \"message\" }}",
            "6e9ef29b75fffc5b7abae527d58fdadb2fe42e7219011976917343065f58ed4a",
        ),
        ("{{ \"bladibla\" | sha256Hex }}", "54cf4c66bcabb5c20e25331c01dd600b73369e97a947861bd8d3a0e0b8b3d70b"),
        (
            "{{ scratch.Set \"foo\" \"bar\" }}{{ scratch.SetX \"foo\" \"zip\" }}{{ scratch.Get \"foo\" }}{{ if scratch.Key \"nope\" }}!{{ end }}",
            "bar",
        ),
        (
            "{{ scratch.MapSet \"vals\" \"b\" \"2\" }}{{ scratch.MapSet \"vals\" \"a\" \"1\" }}{{ scratch.MapSetX \"vals\" \"a\" \"x\" }}{{ range scratch.MapValues \"vals\" }}{{ . }}{{ end }}",
            "12",
        ),
        ("{{ \"a\\nb\" | indent 2 }}", "  a\n  b"),
        (
            "{{ sprig_default \"d\" \"\" }} {{ \"x-y Zw\" | sprig_snakecase }} {{ sprig_add 1 2 3 }} {{ sprig_date \"2006\" (sprig_now) }} {{ sprig_contains \"b\" \"abc\" }}",
            "d x_y_zw 6 2026 true",
        ),
        (
            "{{ list \"b\" \"a\" \"b\" | sprig_uniq | sprig_sortAlpha | join \"\" }} {{ (sprig_pick (dict \"a\" 1 \"b\" 2) \"a\") | toJSON }}",
            "ab {\"a\":1}",
        ),
    ] {
        assert_eq!(documented(template).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn a_missing_key_is_an_error_where_it_stands() {
    let error = documented("ok\n{{ with secret \"secret/data/a\" }}\n  {{ .Data.data.nope }}{{ end }}").unwrap_err();
    assert_eq!(error.to_string(), "template t:3:6: map has no entry for key: nope");
}
