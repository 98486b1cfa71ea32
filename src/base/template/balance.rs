//! The blocks of a template: every `if`, `with`, `range`, `define` and `block` has its `end`, and no `end` is left over.
//!
//! The parser below us takes an open block as closed at the end of the text and drops what follows a surplus `end`; both
//! would write half a file.

use super::Problem;

struct Open<'a> {
    keyword: &'a str,
    offset: usize,
    has_else: bool,
}

/// Checks `text`, which the parser has accepted, so that strings, comments and actions in it are complete.
pub(super) fn check(text: &str, left: &str, right: &str) -> Result<(), Problem> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(left) {
        let offset = at + found;
        let inside = skip_trim_marker(text, offset + left.len());
        if text[inside..].starts_with("/*") {
            at = text[inside..].find("*/").map_or(text.len(), |end| inside + end + 2);
            continue;
        }
        let (keyword, rest) = word(&text[inside..]);
        enter(&mut open, keyword, word(rest).0, offset)?;
        at = end_of_action(text, inside, right);
    }
    match open.pop() {
        Some(block) => problem(block.offset, format!("{{{{{}}}}} has no {{{{end}}}}", block.keyword)),
        None => Ok(()),
    }
}

fn enter<'a>(open: &mut Vec<Open<'a>>, keyword: &'a str, next: &str, offset: usize) -> Result<(), Problem> {
    match keyword {
        "if" | "with" | "range" | "define" | "block" => open.push(Open { keyword, offset, has_else: false }),
        "end" => return if open.pop().is_some() { Ok(()) } else { problem(offset, "{{end}} closes nothing".into()) },
        "else" => match open.last_mut() {
            Some(block) if matches!(block.keyword, "if" | "with" | "range") && !block.has_else => {
                block.has_else = !matches!(next, "if" | "with");
            }
            _ => return problem(offset, "{{else}} belongs to no {{if}}, {{with}} or {{range}}".into()),
        },
        "break" | "continue" => {
            let mut around = open.iter().rev().take_while(|block| !matches!(block.keyword, "define" | "block"));
            if !around.any(|block| block.keyword == "range") {
                return problem(offset, format!("{{{{{keyword}}}}} stands outside {{{{range}}}}"));
            }
        }
        _ => {}
    }
    Ok(())
}

fn problem<T>(offset: usize, message: String) -> Result<T, Problem> {
    Err(Problem { offset, message })
}

fn skip_trim_marker(text: &str, at: usize) -> usize {
    let rest = text[at..].strip_prefix('-').filter(|rest| rest.starts_with([' ', '\t', '\r', '\n']));
    rest.map_or(at, |rest| text.len() - rest.trim_start().len())
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()))
}

/// Where the action that goes on at `from` ends, behind its right delimiter; strings may hold delimiters.
fn end_of_action(text: &str, from: usize, right: &str) -> usize {
    let mut at = from;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(right) {
            return at + right.len();
        }
        at += match rest.as_bytes()[0] {
            b'`' => rest[1..].find('`').map_or(rest.len(), |end| end + 2),
            quote @ (b'"' | b'\'') => quoted(rest, quote),
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    text.len()
}

fn quoted(text: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Result<(), (usize, String)> {
        check(text, "{{", "}}").map_err(|problem| (problem.offset, problem.message))
    }

    #[test]
    fn complete_blocks_pass() {
        for text in [
            "",
            "a }} b",
            "{{if .a}}{{else if .b}}{{else}}{{end}}",
            "{{- range .x -}}{{break}}{{- end -}}",
            "{{/* {{if}} */}}{{ \"{{end}}\" }}{{ `}}{{end}}` }}{{ '\\'' }}",
            "{{define \"a\"}}{{with .x}}{{else with .y}}{{end}}{{end}}{{endings}}",
        ] {
            assert_eq!(outcome(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_open_or_left_over_is_pointed_at() {
        let at = |text| outcome(text).unwrap_err().0;
        assert_eq!(outcome("ab{{with .x}}c").unwrap_err(), (2, "{{with}} has no {{end}}".into()));
        assert_eq!(at("{{if .a}}{{range .b}}{{end}}"), 0);
        assert_eq!(at("{{if .a}}{{end}} {{end}} rest"), 17);
        assert_eq!(at("{{else}}"), 0);
        assert_eq!(at("{{if .a}}{{else}}{{else}}{{end}}"), 17);
        assert_eq!(at("{{define \"x\"}}{{else}}{{end}}"), 14);
        assert_eq!(at("{{range .a}}{{define \"x\"}}{{break}}{{end}}{{end}}"), 26);
    }
}
