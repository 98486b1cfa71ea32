//! Advice about the statements of a role: what they do that will hurt later.

/// What stands for the user in a statement.
const USER: [&str; 2] = ["{{name}}", "{{username}}"];

/// The kinds of objects that `GRANT … ON ALL …` can name.
const OBJECTS: [&str; 5] = ["tables", "sequences", "functions", "procedures", "routines"];

/// A part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A bare word, or a placeholder.
    Word(String),
    /// A name in double quotes, without them.
    Name(String),
    /// A text in single quotes or between dollars, without them.
    Text(String),
    /// Anything else.
    Mark(char),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own.eq_ignore_ascii_case(word))
    }

    fn is_user(&self) -> bool {
        matches!(self, Self::Word(text) | Self::Name(text) if USER.contains(&text.as_str()))
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Mark(mark) => write!(f, "{mark}"),
        }
    }
}

/// Warnings about the creation statements of a role, split as they will be run.
pub(super) fn lint(statements: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    let (mut creates, mut expires) = (false, false);
    let mut texts: Vec<String> = statements.to_vec();
    while let Some(text) = texts.pop() {
        let tokens = tokens(&text);
        for statement in tokens.split(|token| *token == Token::Mark(';')) {
            warnings.extend(grant(statement));
            creates |= statement.windows(3).any(|three| {
                three[0].is("create") && (three[1].is("role") || three[1].is("user")) && three[2].is_user()
            });
            expires |= statement.windows(2).any(|two| two[0].is("valid") && two[1].is("until"));
            warnings.extend(password(statement));
        }
        // A body between dollars and what EXECUTE is given are statements, too.
        texts.extend(tokens.into_iter().filter_map(|token| match token {
            Token::Text(text) if text.contains(char::is_whitespace) => Some(text),
            _ => None,
        }));
    }
    if creates && !expires {
        warnings.push(
            "creation_statements: without VALID UNTIL '{{expiration}}' the database lets a user in for ever when its lease \
             cannot be revoked"
                .to_owned(),
        );
    }
    warnings.sort_unstable();
    warnings.dedup();
    warnings
}

/// A privilege on all objects of a kind, present (`ON ALL TABLES`) or future (`ALTER DEFAULT PRIVILEGES`), for the user itself.
fn grant(statement: &[Token]) -> Option<String> {
    let start = statement.iter().position(|token| token.is("grant"))?;
    let future = statement[..start].windows(2).any(|two| two[0].is("default") && two[1].is("privileges"));
    let (privileges, rest) = split_at_word(&statement[start + 1..], "on")?;
    let rest = match rest.split_first()? {
        (first, rest) if first.is("all") => rest,
        _ if future => rest,
        _ => return None,
    };
    let (objects, rest) = rest.split_first()?;
    OBJECTS.iter().find(|known| objects.is(known))?;
    let (place, grantees) = split_at_word(rest, "to")?;
    if !grantees.iter().take_while(|token| !token.is("with") && !token.is("granted")).any(Token::is_user) {
        return None;
    }
    let place = if future { &statement[..start] } else { place };
    let schema = place.iter().position(|token| token.is("schema")).and_then(|at| place.get(at + 1));
    Some(advice(privileges, objects, schema, future))
}

fn advice(privileges: &[Token], objects: &Token, schema: Option<&Token>, future: bool) -> String {
    let (objects, privileges) = (objects.to_string().to_uppercase(), joined(privileges));
    let schema = schema.map_or_else(|| "public".to_owned(), Token::to_string);
    let preset = if privileges.eq_ignore_ascii_case("select") { "readonly" } else { "readwrite" };
    let group = format!("{}_{preset}", schema.trim_matches('"'));
    let quoted = if schema.starts_with('"') { format!("\"{group}\"") } else { group };
    let (found, once, harm) = if future {
        let each = format!("ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {privileges} ON {objects} TO");
        (format!("{each} \"{{{{name}}}}\""), format!("{each} {quoted}"), "every new object")
    } else {
        let each = format!("GRANT {privileges} ON ALL {objects} IN SCHEMA {schema} TO");
        (format!("{each} \"{{{{name}}}}\""), format!("{each} {quoted}"), "every object of the schema")
    };
    format!(
        "creation_statements: {found} adds an entry to the privileges of {harm} for each user, which makes PostgreSQL's \
         catalogue grow until such statements fail. Run once, as the owner: CREATE ROLE {quoted} NOLOGIN; GRANT USAGE ON SCHEMA \
         {schema} TO {quoted}; {once}; and write here: GRANT {quoted} TO \"{{{{name}}}}\". Or leave creation_statements out and \
         set preset to {preset} and schema to {schema}"
    )
}

/// `{{password}}` anywhere but behind `PASSWORD`.
fn password(statement: &[Token]) -> Option<String> {
    let placeholder = "{{password}}";
    let misplaced = statement.iter().enumerate().any(|(at, token)| match token {
        Token::Text(text) if text == placeholder => {
            !at.checked_sub(1).is_some_and(|before| statement[before].is("password"))
        }
        Token::Text(text) => text.contains(placeholder) && !text.contains(char::is_whitespace),
        Token::Word(word) | Token::Name(word) => word.contains(placeholder),
        Token::Mark(_) => false,
    });
    misplaced.then(|| {
        "creation_statements: {{password}} stands for a SCRAM verifier, which the server understands behind PASSWORD only, as in \
         PASSWORD '{{password}}'; where a statement needs the password itself, set the connection's password_authentication to \
         \"password\", which shows passwords to the database's log"
            .to_owned()
    })
}

/// What stands before and behind the first such word.
fn split_at_word<'t>(tokens: &'t [Token], word: &str) -> Option<(&'t [Token], &'t [Token])> {
    let at = tokens.iter().position(|token| token.is(word))?;
    Some((&tokens[..at], &tokens[at + 1..]))
}

fn joined(tokens: &[Token]) -> String {
    let text = tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(" ");
    text.replace(" ,", ",")
}

/// The parts of a text in SQL, without comments.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            _ if rest.starts_with("--") => (None, rest.find('\n').unwrap_or(rest.len())),
            _ if rest.starts_with("/*") => (None, comment(rest)),
            _ if rest.starts_with("{{") => {
                let end = rest.find("}}").map_or(rest.len(), |end| end + 2);
                (Some(Token::Word(rest[..end].to_owned())), end)
            }
            '\'' | '"' => quoted(rest, first),
            '$' => dollars(rest).unwrap_or((Some(Token::Mark('$')), 1)),
            c if c.is_whitespace() => (None, c.len_utf8()),
            c if c.is_alphanumeric() || c == '_' => {
                let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
                let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
                (Some(Token::Word(rest[..end].to_owned())), end)
            }
            c => (Some(Token::Mark(c)), c.len_utf8()),
        };
        found.extend(token);
        rest = &rest[length..];
    }
    found
}

/// The length of a comment, comments inside it included.
fn comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let step = match rest {
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// A text or name up to its closing quote; a doubled quote stands for one.
fn quoted(text: &str, quote: char) -> (Option<Token>, usize) {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            content.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return (Some(if quote == '"' { Token::Name(content) } else { Token::Text(content) }), at + 1);
        }
    }
    (Some(Token::Text(content)), text.len())
}

/// `$tag$ … $tag$`.
fn dollars(text: &str) -> Option<(Option<Token>, usize)> {
    let tag = 2 + text[1..].find('$')?;
    let inside = &text[1..tag - 1];
    if !inside.chars().all(|c| c.is_alphanumeric() || c == '_') || inside.starts_with(|c: char| c.is_numeric()) {
        return None;
    }
    let body = &text[tag..];
    let end = body.find(&text[..tag]).unwrap_or(body.len());
    Some((Some(Token::Text(body[..end].to_owned())), (tag + end + tag).min(text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";

    fn lint_of(statement: &str) -> Vec<String> {
        lint(&[CREATE.to_owned(), statement.to_owned()])
    }

    #[test]
    fn privileges_of_each_user_on_everything_are_warned_of() {
        for statement in [
            "GRANT SELECT ON ALL TABLES IN SCHEMA app TO \"{{name}}\"",
            "grant select,insert on\n all  tables in schema \"app\" to {{username}};",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA app TO other, \"{{name}}\" WITH GRANT OPTION",
            "/* a /* nested */ one */ GRANT ALL PRIVILEGES ON ALL -- of them\n FUNCTIONS IN SCHEMA app TO GROUP \"{{name}}\"",
            "DO $do$ BEGIN GRANT SELECT ON ALL TABLES IN SCHEMA app TO \"{{name}}\"; END $do$",
            "DO 'BEGIN EXECUTE ''GRANT SELECT ON ALL TABLES IN SCHEMA app TO \"{{name}}\"''; END'",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO \"{{name}}\"",
        ] {
            let warnings = lint_of(statement);
            assert_eq!(warnings.len(), 1, "{statement}: {warnings:?}");
            assert!(warnings[0].contains("NOLOGIN") && warnings[0].contains("TO \"{{name}}\". Or"), "{warnings:?}");
        }
        let warning = lint_of("grant select on all tables in schema \"My App\" to \"{{name}}\"").remove(0);
        for part in [
            "GRANT select ON ALL TABLES IN SCHEMA \"My App\" TO \"{{name}}\" adds",
            "CREATE ROLE \"My App_readonly\" NOLOGIN",
            "GRANT \"My App_readonly\" TO \"{{name}}\"",
            "preset to readonly and schema to \"My App\"",
        ] {
            assert!(warning.contains(part), "{warning}");
        }
        assert!(lint_of("GRANT INSERT ON ALL TABLES IN SCHEMA s TO \"{{name}}\"")[0].contains("preset to readwrite"));
    }

    #[test]
    fn what_does_no_harm_is_left_alone() {
        for statement in [
            "",
            "GRANT app_readonly TO \"{{name}}\"",
            "GRANT SELECT ON notes, tables TO \"{{name}}\"",
            "GRANT SELECT ON ALL TABLES IN SCHEMA app TO app_readonly; GRANT app_readonly TO \"{{name}}\"",
            "-- GRANT SELECT ON ALL TABLES IN SCHEMA app TO \"{{name}}\"",
            "COMMENT ON ROLE \"{{name}}\" IS 'it''s /* not a comment */ -- nor this'",
            "ALTER ROLE \"{{name}}\" ENCRYPTED PASSWORD '{{password}}'",
            "DO $$ BEGIN ALTER ROLE \"{{name}}\" PASSWORD '{{password}}'; END $$",
            "SELECT $1, $not a tag",
        ] {
            assert_eq!(lint_of(statement), Vec::<String>::new(), "{statement}");
        }
    }

    #[test]
    fn a_user_without_an_end_is_warned_of() {
        let warnings = lint(&["CREATE USER \"{{name}}\" PASSWORD '{{password}}'".to_owned()]);
        assert!(warnings.len() == 1 && warnings[0].contains("VALID UNTIL '{{expiration}}'"), "{warnings:?}");
        let later =
            ["CREATE ROLE {{name}} LOGIN".to_owned(), "ALTER ROLE {{name}} VALID UNTIL '{{expiration}}'".to_owned()];
        assert_eq!(lint(&later), Vec::<String>::new());
    }

    #[test]
    fn a_password_that_is_used_otherwise_is_warned_of() {
        for statement in [
            "INSERT INTO users VALUES ('{{name}}', crypt('{{password}}', gen_salt('bf')))",
            "SELECT set_password('x-{{password}}')",
            "SELECT make({{password}})",
            "DO $$ BEGIN PERFORM dblink_exec('host=h password={{password}}', 'SELECT 1'); END $$",
        ] {
            let warnings = lint_of(statement);
            assert!(warnings.len() == 1 && warnings[0].contains("SCRAM verifier"), "{statement}: {warnings:?}");
        }
    }
}
