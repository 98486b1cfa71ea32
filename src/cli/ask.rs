//! Commands that ask a running engine about the users in its databases, and their tables.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::Orphans;
use crate::client::{Client, Error};

/// `lessor orphans`: users that no lease names; with `--remove` those that carry our mark are dropped.
///
/// # Errors
/// What the engine answers.
pub async fn orphans(client: &Client, flags: &Orphans) -> Result<String, Error> {
    let path = format!("sys/lessor/orphans/{}", flags.connection.trim_matches('/'));
    let answer = match flags.remove {
        true => client.write(&path, &json!({ "remove": true })).await?,
        false => client.read(&path).await?,
    };
    let data = answer.and_then(|envelope| envelope.data).unwrap_or_default();
    let part = |title: &str, key: &str, none: &str| format!("{title}\n{}", lines(&rows(Some(data.clone()), key), none));
    let mut text = part("Users of ours that no lease names:", "orphans", "  none");
    if flags.remove {
        text += &part("Of these, dropped now:", "removed", "  none");
    }
    text += &part("Users that only look like ours (no mark; never touched):", "unmarked", "  none");
    text += "Leases whose user was dropped outside:\n";
    text += &table(&rows(Some(data.clone()), "lost"), &["lease_id", "username"], "  none");
    Ok(text)
}

/// The list at `key` of an answer's data.
fn rows(data: Option<Value>, key: &str) -> Vec<Value> {
    data.and_then(|data| data.get(key)?.as_array().cloned()).unwrap_or_default()
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn lines(rows: &[Value], none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    rows.iter().map(|row| format!("{}\n", cell(row))).collect()
}

/// Columns as wide as their widest cell, the last one as it comes.
pub(super) fn table(rows: &[Value], columns: &[&str], none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let head = columns.iter().map(|column| column.to_uppercase().replace('_', " ")).collect();
    let body = rows.iter().map(|row| columns.iter().map(|column| cell(&row[*column])).collect());
    let cells: Vec<Vec<String>> = std::iter::once(head).chain(body).collect();
    let width = |at: usize| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let padded: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_say_when_there_is_nothing() {
        let rows = [json!({"lease_id": "a/b", "failures": 12}), json!({"lease_id": "c", "failures": 3})];
        assert_eq!(table(&rows, &["lease_id", "failures"], "none"), "LEASE ID  FAILURES\na/b       12\nc         3\n");
        assert_eq!(table(&[], &["x"], "none"), "none\n");
        assert_eq!(lines(&[json!("a"), json!("b")], "none"), "a\nb\n");
    }
}
