//! Moments written by Go's layouts (`2006-01-02T15:04:05Z07:00`), always in UTC.

use crate::base::Timestamp;

/// Go's elements with what stands for them in strftime; a longer element comes before its beginnings.
const ELEMENTS: &[(&str, &str)] = &[
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "UTC"),
    ("2006", "%Y"),
    ("-07:00:00", "+00:00:00"),
    ("-070000", "+000000"),
    ("-07:00", "+00:00"),
    ("-0700", "+0000"),
    ("-07", "+00"),
    ("Z07:00:00", "Z"),
    ("Z070000", "Z"),
    ("Z07:00", "Z"),
    ("Z0700", "Z"),
    ("Z07", "Z"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("_2", "%e"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

/// `moment` as `layout` shows it.
pub(super) fn format(moment: Timestamp, layout: &str) -> String {
    let mut pattern = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((digits, trim)) = fraction(rest) {
            pattern.push_str(&subsecond(moment, digits, trim));
            rest = &rest[1 + digits..];
        } else if let Some((element, directive)) = ELEMENTS.iter().find(|(element, _)| rest.starts_with(element)) {
            pattern.push_str(directive);
            rest = &rest[element.len()..];
        } else {
            pattern.push(first);
            if first == '%' {
                pattern.push('%');
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    moment.strftime(&pattern).to_string()
}

/// `.000` keeps its zeros, `.999` loses them; either needs no digit behind it.
fn fraction(text: &str) -> Option<(usize, bool)> {
    let digits = text.strip_prefix(['.', ','])?;
    let kind = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = digits.chars().take_while(|c| *c == kind).count();
    let follows = digits[count..].starts_with(|c: char| c.is_ascii_digit());
    (!follows).then_some((count, kind == '9'))
}

fn subsecond(moment: Timestamp, digits: usize, trim: bool) -> String {
    let nanos = moment.subsec_nanosecond().unsigned_abs();
    let text = format!(".{nanos:09}");
    let kept = &text[..text.len().min(digits + 1)];
    if trim { kept.trim_end_matches('0').trim_end_matches('.').to_owned() } else { kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_go_are_understood() {
        let moment: Timestamp = "2026-03-04T15:06:07.089Z".parse().unwrap();
        for (layout, text) in [
            ("2006-01-02T15:04:05Z07:00", "2026-03-04T15:06:07Z"),
            ("2006-01-02T15:04:05.999999999Z07:00", "2026-03-04T15:06:07.089Z"),
            ("20060102150405", "20260304150607"),
            ("Mon Jan _2 03:04:05.000000 PM MST 2006", "Wed Mar  4 03:06:07.089000 PM UTC 2026"),
            ("Monday, 2 January 06", "Wednesday, 4 March 26"),
            ("%Y -0700", "%Y +0000"),
        ] {
            assert_eq!(format(moment, layout), text, "{layout}");
        }
    }
}
