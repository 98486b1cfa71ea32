//! Columns as Vault's program prints them: four blanks between, `n/a` for what is empty, rulers below the titles.

/// Rows, the first of which are the titles, with a line break behind each.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let shown = |cell: &str| if cell.is_empty() { "n/a".to_owned() } else { cell.to_owned() };
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let width = |at: usize| cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &cells {
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < row.len() {
                let gap = widths[at] - cell.chars().count() + 4;
                text.extend(std::iter::repeat_n(' ', gap));
            }
        }
        text.push('\n');
    }
    text
}

/// Titles and the rulers below them, as the first two rows.
pub fn titled(titles: &[&str], body: impl IntoIterator<Item = Vec<String>>) -> String {
    let head = titles.iter().map(|title| (*title).to_owned()).collect();
    let rulers = titles.iter().map(|title| "-".repeat(title.len())).collect();
    let rows: Vec<Vec<String>> = [head, rulers].into_iter().chain(body).collect();
    columns(&rows)
}

/// `Key    Value` and what they are.
pub fn pairs<K: Into<String>, V: Into<String>>(rows: impl IntoIterator<Item = (K, V)>) -> String {
    titled(&["Key", "Value"], rows.into_iter().map(|(key, value)| vec![key.into(), value.into()]))
}

/// `Keys` and the keys below.
pub fn keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    titled(&["Keys"], keys.into_iter().map(|key| vec![key.to_owned()]))
}

/// `== Title ==`, as wide as the first line of what stands below it.
pub fn header(title: &str, below: &str) -> String {
    let width = below.lines().next().unwrap_or_default().chars().count();
    let room = width.saturating_sub(title.chars().count() + 2);
    let side = if room == 0 { 2 } else { room.div_ceil(2) };
    let signs = "=".repeat(side);
    format!("{signs} {title} {signs}\n{below}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_one_is_not_padded() {
        assert_eq!(
            pairs([("refresh_interval", "768h"), ("foo", ""), ("a", "∞")]),
            "Key                 Value\n---                 -----\nrefresh_interval    768h\nfoo                 n/a\na                   ∞\n"
        );
        assert_eq!(keys(["app/", "b"]), "Keys\n----\napp/\nb\n");
        assert_eq!(
            columns(&[vec!["Nonce".into(), "x".into()], vec!["OTP".into(), String::new()]]),
            "Nonce    x\nOTP      n/a\n"
        );
    }

    #[test]
    fn a_header_is_as_wide_as_the_line_below_it() {
        assert_eq!(header("Data", "Key    Value\n"), "=== Data ===\nKey    Value\n");
        assert_eq!(header("Data", "Key         Value\n"), "====== Data ======\nKey         Value\n");
        assert_eq!(header("Secret Path", "secret/data/hello\n"), "== Secret Path ==\nsecret/data/hello\n");
        assert_eq!(header("Secret Path", "kv/a\n"), "== Secret Path ==\nkv/a\n");
    }
}
