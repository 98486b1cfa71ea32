//! Prometheus' text form, version 0.0.4.

use std::fmt::{Display, Write as _};

/// What all names of the operator begin with.
const PREFIX: &str = "lessor_operator_";

/// Series as they are written, one family after the other.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family. `name` is without the operator's prefix.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.head_of(&format!("{PREFIX}{name}"), kind, help);
    }

    /// Begins a family whose whole name is `name`.
    pub fn head_of(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One series of the operator.
    pub fn row(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.row_of(&format!("{PREFIX}{name}"), labels, value);
    }

    /// One series whose whole name is `name`.
    pub fn row_of(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escape(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.0
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.row("x", &[("a", "b\"c\\d"), ("e", "f\ng")], 1);
        text.row("y", &[], 2);
        assert_eq!(text.finish(), "lessor_operator_x{a=\"b\\\"c\\\\d\",e=\"f\\ng\"} 1\nlessor_operator_y 2\n");
    }
}
