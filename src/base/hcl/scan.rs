//! The characters of HCL 1: blanks, comments, identifiers, numbers, strings and heredocs.

use serde_json::{Number, Value};

use super::{Error, Position};

/// A place in the text that moves forward only.
pub(super) struct Scanner<'a> {
    rest: &'a str,
    at: Position,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, at: Position { line: 1, column: 1 } }
    }

    /// Where the next character stands.
    pub fn position(&self) -> Position {
        self.at
    }

    pub fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.at = Position { line: self.at.line + 1, column: 1 };
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    /// Consumes `text` if it comes next.
    pub fn take(&mut self, text: &str) -> bool {
        let found = self.rest.starts_with(text);
        if found {
            for _ in text.chars() {
                self.next();
            }
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let start = self.rest;
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
        &start[..start.len() - self.rest.len()]
    }

    /// An error that says what stands here instead of what was expected.
    pub fn unexpected(&self, expected: &str) -> Error {
        let found = self.peek().map_or_else(|| "the end of the text".to_owned(), |c| format!("{c:?}"));
        self.at.error(format!("expected {expected}, found {found}"))
    }

    /// Skips white space and `#`, `//` and `/* */` comments.
    pub fn skip_blanks(&mut self) -> Result<(), Error> {
        loop {
            self.take_while(char::is_whitespace);
            let start = self.at;
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.take("/*") {
                while !self.take("*/") {
                    self.next().ok_or_else(|| start.error("this comment is not closed with */"))?;
                }
            } else {
                return Ok(());
            }
        }
    }

    /// A bare word: letters, digits, `_`, `-`, `.`, beginning with a letter or `_`. `None` if none stands here.
    pub fn identifier(&mut self) -> Option<&'a str> {
        self.peek().filter(|c| c.is_alphabetic() || *c == '_')?;
        Some(self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
    }

    /// A number as Go writes them: decimal, `0x` hexadecimal, octal after a leading zero, fraction, exponent.
    pub fn number(&mut self) -> Result<Value, Error> {
        let start = self.at;
        let negative = self.take("-");
        let digits = self.take_while(|c| c.is_ascii_alphanumeric() || c == '.');
        let mut text = digits.to_owned();
        // The sign of an exponent belongs to the number; elsewhere a sign ends it.
        if digits.ends_with(['e', 'E']) && !is_hexadecimal(digits) && matches!(self.peek(), Some('+' | '-')) {
            text.extend(self.next());
            text.push_str(self.take_while(|c| c.is_ascii_digit()));
        }
        let sign = if negative { "-" } else { "" };
        read_number(sign, &text).map(Value::Number).ok_or_else(|| start.error(format!("{sign}{text} is not a number")))
    }

    /// A string in double quotes. `${…}` is kept as it stands, quotes and backslashes in it included.
    pub fn string(&mut self) -> Result<String, Error> {
        let start = self.at;
        let open = || start.error("this string is not closed with \"");
        self.next();
        let mut text = String::new();
        loop {
            if self.take("${") {
                text.push_str("${");
                self.interpolation(&mut text).ok_or_else(|| start.error("${ in this string is not closed with }"))?;
                continue;
            }
            match self.next().ok_or_else(open)? {
                '"' => return Ok(text),
                '\n' => return Err(open()),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn interpolation(&mut self, text: &mut String) -> Option<()> {
        let mut depth = 1;
        while depth > 0 {
            let c = self.next()?;
            text.push(c);
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }

    fn escape(&mut self) -> Result<char, Error> {
        let start = self.at;
        let unknown = || start.error("unknown escape in a string; write \\\\ for a backslash");
        let (length, radix, first) = match self.next().ok_or_else(unknown)? {
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\u{b}'),
            c @ ('\\' | '"' | '\'' | '/') => return Ok(c),
            'x' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            c @ '0'..='3' => (2, 8, u32::from(c) - u32::from('0')),
            _ => return Err(unknown()),
        };
        let mut code = first;
        for _ in 0..length {
            let digit = self
                .peek()
                .and_then(|c| c.to_digit(radix))
                .ok_or_else(|| start.error("too few digits in an escape"))?;
            self.next();
            code = code.wrapping_mul(radix).wrapping_add(digit);
        }
        char::from_u32(code).ok_or_else(|| start.error("this escape is not a Unicode character"))
    }

    /// `<<MARK` or `<<-MARK`: the lines up to one that holds the mark alone. With `-`, what stands before that closing
    /// mark is removed from every line, provided that every line begins with it.
    pub fn heredoc(&mut self) -> Result<String, Error> {
        let start = self.at;
        self.take("<<");
        let indented = self.take("-");
        let mark = self.take_while(|c| c.is_alphanumeric() || c == '_');
        self.take_while(|c| c == '\r');
        if mark.is_empty() || self.peek() != Some('\n') {
            return Err(start.error("<< needs a mark such as EOF right behind it and then a new line"));
        }
        self.next();
        let mut lines = Vec::new();
        loop {
            let line = self.take_while(|c| c != '\n');
            if line.trim() == mark {
                let indent = &line[..line.len() - line.trim_start().len()];
                return Ok(join(&lines, if indented { indent } else { "" }));
            }
            lines.push(line);
            self.next().ok_or_else(|| start.error(format!("no line that holds {mark} alone closes this text")))?;
        }
    }
}

fn join(lines: &[&str], indent: &str) -> String {
    let indent = if lines.iter().all(|line| line.starts_with(indent)) { indent } else { "" };
    lines.iter().flat_map(|line| [&line[indent.len()..], "\n"]).collect()
}

fn is_hexadecimal(text: &str) -> bool {
    text.starts_with("0x") || text.starts_with("0X")
}

fn read_number(sign: &str, text: &str) -> Option<Number> {
    let octal = text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    let integer = if is_hexadecimal(text) {
        i64::from_str_radix(&format!("{sign}{}", &text[2..]), 16).ok()?
    } else if octal {
        i64::from_str_radix(&format!("{sign}{text}"), 8).ok()?
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Above i64 only u64 is left; a number that fits neither is an error and not a rounded float.
        let text = format!("{sign}{text}");
        return text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok();
    } else if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return format!("{sign}{text}").parse().ok().and_then(Number::from_f64);
    } else {
        return None;
    };
    Some(integer.into())
}
