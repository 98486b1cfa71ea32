//! The filters of searches, as configurations write them: `({{.UserAttr}}={{.Username}})`.

use ldap3::ldap_escape;

/// What the placeholders stand for. Nobody's name can change what a filter asks for: every value is escaped.
pub(super) struct Values<'a> {
    pub username: &'a str,
    pub user_attr: &'a str,
    pub user_dn: &'a str,
}

/// Fills the placeholders in.
///
/// # Errors
/// Says what of the template is no placeholder.
pub(super) fn fill(template: &str, values: &Values<'_>) -> Result<String, String> {
    let (mut filter, mut rest) = (String::new(), template);
    while let Some((before, tail)) = rest.split_once("{{") {
        let (name, after) = tail.split_once("}}").ok_or("a {{ is never closed")?;
        let value = match name.trim() {
            ".Username" => values.username,
            ".UserAttr" => values.user_attr,
            ".UserDN" => values.user_dn,
            other => return Err(format!("{{{{{other}}}}} is not offered: use .UserAttr, .Username and .UserDN")),
        };
        filter.push_str(before);
        filter.push_str(&ldap_escape(value));
        rest = after;
    }
    filter.push_str(rest);
    Ok(filter)
}

/// A filter for entries of which an attribute has one of these values.
pub(super) fn any_of(attribute: &str, values: &[Vec<u8>]) -> String {
    let one = |value: &Vec<u8>| {
        let value: String = value.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("({attribute}={value})")
    };
    format!("(|{})", values.iter().map(one).collect::<String>())
}

/// Whether a template can be a filter.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn check(template: &str) -> Result<(), String> {
    let filled = fill(template, &Values { username: "a", user_attr: "cn", user_dn: "cn=a" })?;
    ldap3::parse_filter(&filled).map(drop).map_err(|()| "it is not an LDAP filter".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_change_a_filter() {
        let values = Values { username: "*)(uid=*", user_attr: "cn", user_dn: "cn=a\\,b,dc=x" };
        let filled = fill("(&({{.UserAttr}}={{ .Username }})(member={{.UserDN}}))", &values).unwrap();
        assert_eq!(filled, "(&(cn=\\2a\\29\\28uid=\\2a)(member=cn=a\\5c,b,dc=x))");
    }

    #[test]
    fn binary_values_are_looked_for_byte_by_byte() {
        let filter = any_of("objectSid", &[vec![1, 5, 0x2a], b"ab".to_vec()]);
        assert_eq!(filter, "(|(objectSid=\\01\\05\\2a)(objectSid=\\61\\62))");
        assert!(ldap3::parse_filter(&filter).is_ok());
    }

    #[test]
    fn wrong_templates_are_found_when_they_are_configured() {
        assert!(check("(&(objectClass=user)({{.UserAttr}}={{.Username}}))").is_ok());
        for (template, text) in [
            ("({{.Password}}=x)", ".Password"),
            ("({{.Username", "never closed"),
            ("(cn={{.Username}}", "not an LDAP filter"),
        ] {
            let error = check(template).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
