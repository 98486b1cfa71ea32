//! Passwords of database users: by the role's policy, the connection's, or the built-in one, and safe inside statements.

use crate::base::{Random, Secret};
use crate::drivers::sql;
use crate::secrets::password_policy::PasswordPolicies;
use crate::wire::Error;

/// How often a password that could end the quotes around it is drawn again.
const DRAWS: usize = 200;

/// A new password by the policy of that name; "" is the built-in one.
///
/// # Errors
/// 400 naming the policy, when there is none of that name or when it makes hardly a password that is safe in a statement.
pub(super) async fn generate(policies: &PasswordPolicies, name: &str, random: &dyn Random) -> Result<Secret, Error> {
    let policy = policies.policy(name).await?;
    let drawn = (0..DRAWS).map(|_| policy.generate(random));
    let mut safe = drawn.filter(|password| sql::check_value("password", password.expose()).is_ok());
    safe.next().ok_or_else(|| {
        Error::bad_request(format!(
            "password policy {name:?}: of {DRAWS} passwords each holds a quote or a backslash, which is not safe inside \
             statements: leave these out of its charsets"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::random::SeededRandom;
    use crate::storage::View;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn what_could_break_out_of_a_statement_is_drawn_again() {
        let policies = PasswordPolicies::new(View::new(Arc::new(Memory::default()), ""));
        let random = SeededRandom::new(1);
        policies.put("some", r#"length = 8 rule "charset" { charset = "abcdefgh'\\" }"#).await.unwrap();
        policies.put("always", r#"length = 8 rule "charset" { charset = "abc'" min-chars = 1 } rule "charset" { charset = "'" min-chars = 1 }"#).await.unwrap();
        for _ in 0..100 {
            let password = generate(&policies, "some", &random).await.unwrap();
            assert!(password.expose().chars().all(char::is_alphabetic));
        }
        let refused = generate(&policies, "always", &random).await.unwrap_err();
        assert!(refused.status() == 400 && refused.to_string().contains("\"always\""), "{refused}");
        assert!(generate(&policies, "none", &random).await.unwrap_err().to_string().contains("\"none\""));
    }
}
