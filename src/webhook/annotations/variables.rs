//! `env-NAME`: which environment variables a secret fills.

use super::files::Body;

/// What was written: one variable for the whole text, or one for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// `DATABASE_URL`.
    Whole(String),
    /// `PGUSER=username,PGPASSWORD=password`.
    Keys(Vec<(String, String)>),
}

/// A variable in the environment of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its template.
    pub template: Body,
    /// In place of `{{` and `}}`.
    pub delimiters: Option<(String, String)>,
    /// Whether a missing key is an error.
    pub missing_key_fails: bool,
}

impl Variable {
    /// One key of the secret at `path`; a variable without its value would be a surprise, so the key has to be there.
    pub fn of_key(name: &str, path: &str, key: &str) -> Self {
        let value = key.split('.').fold(".Data".to_owned(), |inner, part| format!("(index {inner} \"{part}\")"));
        let text = format!("{{{{ with secret \"{path}\" }}}}{{{{ {value} }}}}{{{{ end }}}}");
        Self { name: name.to_owned(), template: Body::Text(text), delimiters: None, missing_key_fails: true }
    }
}

/// # Errors
/// A text that says what to write.
pub fn parse(text: &str) -> Result<Wish, String> {
    let example =
        "use VARIABLE=KEY pairs such as \"PGUSER=username,PGPASSWORD=password\", or one VARIABLE for the whole text";
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if let [word] = words[..]
        && !word.contains('=')
    {
        return if is_variable(word) {
            Ok(Wish::Whole(word.to_owned()))
        } else {
            Err(format!("{word:?} is no variable: {example}"))
        };
    }
    let pairs = words.iter().map(|word| match word.split_once('=') {
        Some((name, key)) if is_variable(name.trim()) && is_key(key.trim()) => {
            Ok((name.trim().to_owned(), key.trim().to_owned()))
        }
        _ => Err(format!("{word:?} is not understood: {example}")),
    });
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    if pairs.is_empty() { Err(format!("is empty: {example}")) } else { Ok(Wish::Keys(pairs)) }
}

fn is_variable(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Of a secret's data; dots lead into what is nested. It stands in a template, so nothing may end the quotes there.
fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '/' | '@' | ' ');
    key.split('.').all(|part| !part.is_empty() && part.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_or_the_whole_text() {
        assert_eq!(parse("URL"), Ok(Wish::Whole("URL".into())));
        let keys = parse("PGUSER=username, PGPASSWORD=data.pass-word,").unwrap();
        let pair = |name: &str, key: &str| (name.to_owned(), key.to_owned());
        assert_eq!(keys, Wish::Keys(vec![pair("PGUSER", "username"), pair("PGPASSWORD", "data.pass-word")]));
        for wrong in ["", "A,B", "1A", "A=", "A=a..b", "A=a\"", "A B=c"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_becomes_a_template() {
        let Body::Text(text) = Variable::of_key("X", "kv/data/app", "data.user-name").template else {
            panic!("a text")
        };
        assert_eq!(text, r#"{{ with secret "kv/data/app" }}{{ (index (index .Data "data") "user-name") }}{{ end }}"#);
        assert_eq!(super::super::value::check_template(&text, None), Ok(()));
    }
}
