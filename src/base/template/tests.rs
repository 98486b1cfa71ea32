//! Templates as Vault's and consul-template's documentation shows them, and the errors that users will make.

mod documentation;

use serde_json::json;

use super::*;
use crate::base::clock::ManualClock;
use crate::base::{Clock, Timestamp};

fn functions() -> Functions {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new("2026-03-04T15:06:07Z".parse::<Timestamp>().unwrap()));
    let variables: Variables = Arc::new(|name| (name == "HOME").then(|| "/root".to_owned()));
    let mut set = Functions::host(&clock, variables);
    set.add("secret", 1..=usize::MAX, |_| {
        Ok(from_json(&json!({
            "Data": {"username": "v-app", "password": "p<&\"w", "port": 5432, "ratio": 1.5},
            "LeaseID": "database/creds/app/x", "LeaseDuration": 3600, "Renewable": true
        })))
    });
    set
}

fn render(text: &str) -> Result<String, TemplateError> {
    let data = from_json(&json!({"a": "x", "list": ["p", "q"], "zero": 0}));
    Template::parse("t", text, None, &functions())?.render(&data, Missing::Print)
}

#[test]
fn documented_examples_render() {
    for (template, text) in [
        (r#"{{ with secret "database/creds/app" }}{{ .Data.username }}:{{ .Data.password }}{{ end }}"#, "v-app:p<&\"w"),
        (
            r#"{{ with secret "d" -}}
postgresql://{{ .Data.username }}:{{ .Data.password | urlquery }}@db:{{ .Data.port }}/app
{{- end }}"#,
            "postgresql://v-app:p%3C%26%22w@db:5432/app",
        ),
        (
            r#"{{ with secret "d" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}
{{ end }}{{ end }}"#,
            "password: p<&\"w\nport: 5432\nratio: 1.5\nusername: v-app\n",
        ),
        (
            r#"{{ with secret "d" }}{{ .Data | toJSON }}{{ end }}"#,
            r#"{"password":"p\u003c\u0026\"w","port":5432,"ratio":1.5,"username":"v-app"}"#,
        ),
        (r#"{{ with secret "d" }}{{ .Data.password | toUnescapedJSON }}{{ end }}"#, r#""p<&\"w""#),
        (r#"{{ (secret "d").Data.username | toUpper }}"#, "V-APP"),
        (
            r#"{{ with secret "d" }}{{ .LeaseDuration }} {{ .Renewable }} {{ .Data.nope }}{{ end }}"#,
            "3600 true <no value>",
        ),
        (r#"{{ .list | join "," }} {{ range split "," "a,b" }}[{{ . }}]{{ end }}"#, "p,q [a][b]"),
        (r#"{{ "ab" | base64Encode }} {{ "YWI=" | base64Decode }}"#, "YWI= ab"),
        (r#"{{ env "HOME" }} {{ envOrDefault "NOPE" "d" }}"#, "/root d"),
        (r#"{{ "a-b" | replaceAll "-" "_" }} {{ " x " | trimSpace }} {{ trimPrefix "a" "ab" }}"#, "a_b x b"),
        (r#"{{ 10 | subtract 3 }} {{ "4" | parseInt | add 1 }} {{ 7 | modulo 4 }} {{ 1.5 | multiply 2 }}"#, "7 5 3 3"),
        (r#"{{ .nope | default "d" | quote }} {{ sprig_upper "x" }}"#, "\"d\" X"),
        (r#"{{ (parseJSON "{\"k\":[1,2]}").k }}"#, "[1 2]"),
        (r#"{{ if contains "p" .list }}yes{{ else }}no{{ end }}{{ if regexMatch "^x$" .a }}!{{ end }}"#, "yes!"),
        (r#"{{ "foo.bar" | regexReplaceAll "o+" "0" }}"#, "f0.bar"),
        (r#"{{ timestamp }} {{ timestamp "2006" }} {{ timestamp "unix" }}"#, "2026-03-04T15:06:07Z 2026 1772636767"),
        (r#"{{ define "x" }}<{{ . }}>{{ end }}{{ template "x" .a }}"#, "<x>"),
        (r#"{{ range loop 2 4 }}{{ . }}{{ end }}{{ if .zero }}a{{ else if eq .a "x" }}b{{ else }}c{{ end }}d"#, "23bd"),
        ("{{ .a | printf \"%s:%s\" \"n\" | len }}{{/* note */}}", "3"),
    ] {
        assert_eq!(render(template).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn mistakes_are_found_when_the_template_is_parsed() {
    for (template, message) in [
        ("a\n  {{ with secret \"d\" }}\n{{ .Data }}", "template t:2:3: {{with}} has no {{end}}"),
        ("{{ if .a }}x{{ end }}\n{{ end }}\nlost", "template t:2:1: {{end}} closes nothing"),
        ("{{ secert \"d\" }}", "template t:1:4: function \"secert\" is not defined; did you mean secret?"),
        ("{{ if .a }}\n{{ nope | toJSON }}{{ end }}", "template t:2:4: function \"nope\" is not defined"),
        ("{{ $x }}", "template t:1:4: variable \"$x\" is not defined"),
        ("{{ if .a }}{{ $x := 1 }}{{ end }}{{ $x }}", "template t:1:37: variable \"$x\" is not defined"),
        ("{{ secret }}", "template t:1:4: secret: 0 arguments, but it takes at least 1"),
        ("{{ .a | join }}", "template t:1:9: join: 1 arguments, but it takes 2"),
        ("{{ with (toJSON .a .b) }}{{ end }}", "template t:1:10: toJSON: 2 arguments, but it takes 1"),
        ("{{ .a \"x\" }}", "template t:1:4: this is no function, and so takes no arguments"),
        ("{{ key \"a\" }}", "template t:1:4: key asks Consul, which lessor-agent does not talk to"),
        ("{{ scratch.Set \"a\" }}", "template t:1:4: scratch.Set: 1 arguments, but it takes 2"),
        ("{{ template \"nope\" }}", "template t:1:4: template \"nope\" is not defined"),
    ] {
        assert_eq!(render(template).unwrap_err().to_string(), message, "{template}");
    }
    let error = render("line\n{{ .a ").unwrap_err();
    assert_eq!(error.line, 2, "{error}");
    assert!(render("{{ .a | }}").is_err());
}

#[test]
fn failures_while_rendering_have_a_place_and_quote_no_data() {
    let error = render("x\n{{ with secret \"d\" }}\n {{ .Data.password | parseInt }}{{ end }}").unwrap_err();
    assert_eq!((error.line, error.column), (3, 5), "{error}");
    assert!(!error.to_string().contains("p<"), "{error}");
    assert_eq!(
        render("{{ .nope | base64Encode }}").unwrap_err().to_string(),
        "template t:1:4: base64Encode: argument 1 must be text, but is missing"
    );
    let strict = Template::parse("t", "{{ with .a }}{{ end }}\n{{ .nope }}", None, &functions()).unwrap();
    let error = strict.render(&from_json(&json!({"a": 1})), Missing::Error).unwrap_err();
    assert_eq!(error.to_string(), "template t:2:4: map has no entry for key: nope");
}

#[test]
fn pki_certificates_are_had_by_another_way_that_is_told() {
    let error = render("{{ with pkiCert \"pki/issue/x\" \"common_name=a\" }}{{ .Cert }}{{ end }}").unwrap_err();
    assert_eq!((error.line, error.column), (1, 9));
    assert!(error.message.contains("`with secret` of the same path"), "{error}");
}

#[test]
fn denied_functions_and_a_sandbox_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in/a");
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(&path, "text").unwrap();
    let mut set = functions();
    set.deny("env");
    set.confine(&folder.path().join("in"));
    let error = Template::parse("t", "{{ env \"HOME\" }}", None, &set).unwrap_err();
    assert!(error.message.contains("denied by function_denylist"), "{error}");
    let read = |path: &str| {
        let template = Template::parse("t", &format!("{{{{ file {path:?} }}}}"), None, &set).unwrap();
        template.render(&Value::Nil, Missing::Print)
    };
    assert_eq!(read(path.to_str().unwrap()).unwrap(), "text");
    assert!(read("/etc/passwd").unwrap_err().message.contains("outside the sandbox_path"));
}

#[test]
fn further_files_are_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/key.pem");
    let call = |flags: &str| {
        let text = format!("{{{{ \"PEM\" | writeToFile {path:?} \"\" \"\" \"0600\" }}}}rest{flags}");
        render(&text).unwrap()
    };
    assert_eq!(call(""), "rest");
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    call("");
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "PEM");
    let flags = format!("{{{{ writeToFile {path:?} \"\" \"\" \"0640\" \"more\" \"append,newline\" }}}}");
    render(&flags).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "PEMmore\n");
}

#[test]
fn other_delimiters_work_throughout() {
    let parse = |text| Template::parse("t", text, Some(("[[", "]]")), &functions());
    let template = parse("{{ kept }} [[ if .a ]][[ .a ]][[ end ]]").unwrap();
    assert_eq!(template.render(&from_json(&json!({"a": "b"})), Missing::Print).unwrap(), "{{ kept }} b");
    assert_eq!(parse("[[ if .a ]]").unwrap_err().message, "{{if}} has no {{end}}");
}
