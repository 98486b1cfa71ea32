//! Durations as Vault writes and reads them: whole seconds, Go's notation, and days.

use std::fmt::Write as _;

/// Reads a duration in whole seconds, truncating: `"3600"`, `"1h30m"`, `"1.5h"`, `"100ms"`, `"2d"`, `""` (0).
///
/// # Errors
/// Text in the words of Go's `time.ParseDuration`, which clients know; negative durations are refused.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(0);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return u64::try_from(seconds).map_err(|_| format!("negative duration {text:?}"));
    }
    if let Some(days) = text.strip_suffix('d')
        && let Ok(days) = days.parse::<u64>()
    {
        return days.checked_mul(86_400).ok_or_else(|| invalid(text));
    }
    if text.starts_with('-') {
        return Err(format!("negative duration {text:?}"));
    }
    parse_go(text).map(|seconds| seconds as u64)
}

fn invalid(text: &str) -> String {
    format!("time: invalid duration {text:?}")
}

fn parse_go(text: &str) -> Result<f64, String> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(invalid(text));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| invalid(text))?;
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += number * scale;
        rest = tail;
    }
    if total > u64::MAX as f64 / 2.0 { Err(invalid(text)) } else { Ok(total) }
}

/// Seconds in Go's notation with zero units left out: `5400` is `1h30m`, `0` is `0s`.
pub fn format_seconds(seconds: u64) -> String {
    let mut text = String::new();
    for (amount, unit) in [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')] {
        if amount > 0 {
            let _ = write!(text, "{amount}{unit}");
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_vault_reads() {
        for (text, seconds) in
            [("", 0), ("3600", 3600), ("1h", 3600), ("10m0s", 600), ("1.5h", 5400), ("100ms", 0), ("2d", 172_800)]
        {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_in_gos_words() {
        assert_eq!(parse_seconds("1x").unwrap_err(), "time: unknown unit \"x\" in duration \"1x\"");
        assert_eq!(parse_seconds("1.5").unwrap_err(), "time: missing unit in duration \"1.5\"");
        assert!(parse_seconds("-1h").is_err());
        assert!(parse_seconds("h").is_err());
        assert!(parse_seconds("99999999999999999999h").is_err());
    }

    #[test]
    fn writes_without_zero_units() {
        assert_eq!(format_seconds(5400), "1h30m");
        assert_eq!(format_seconds(86_400), "24h");
        assert_eq!(format_seconds(0), "0s");
    }
}
