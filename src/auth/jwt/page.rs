//! The few pages that a browser sees of the engine on its way back from a provider.

use super::oidc::Brought;
use super::pending::Waiting;
use crate::auth::Outcome;
use crate::wire::Error;

fn page(status: u16, body: &str) -> Outcome {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Login</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n{body}\n</html>\n"
    );
    Outcome::Page(status, html)
}

/// Asks the person whether it is his own program that will have the token: he may have been sent here by somebody else.
pub(super) fn confirm(state: &str, waiting: &Waiting, brought: &Brought) -> Outcome {
    let hidden = [("state", state), ("code", brought.code.expose()), ("id_token", brought.id_token.expose())];
    let hidden: String = hidden
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(value)))
        .collect();
    let who = waiting.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
    page(
        200,
        &format!(
            "<h1>Is this your login?</h1>\n<p>A program at <b>{}</b> asks for a token of the role <b>{}</b>. Go on only if you \
             began this login yourself, at that machine.</p>\n<form method=\"post\">{hidden}\
             <button name=\"confirmation\" value=\"true\">It is mine, go on</button></form>",
            escaped(&who),
            escaped(&waiting.role)
        ),
    )
}

/// A form was taken.
pub(super) fn received() -> Outcome {
    page(200, "<h1>Received</h1>\n<p>Go back to the program where you began this login; it ends there.</p>")
}

/// The token waits for its program.
pub(super) fn done() -> Outcome {
    page(200, "<h1>You are logged in</h1>\n<p>Go back to the program where you began; you may close this page.</p>")
}

/// Says why there is no login.
pub(super) fn failed(error: &Error) -> Outcome {
    let text = format!("<h1>The login has failed</h1>\n<p>{}</p>", escaped(&error.to_string()));
    page(error.status(), &text)
}

/// A text that stays text in HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_stays_text() {
        let Outcome::Page(status, html) = failed(&Error::bad_request("<script>\"&'")) else { panic!("a page") };
        assert_eq!(status, 400);
        assert!(html.contains("&lt;script&gt;&quot;&amp;&#39;") && !html.contains("<script"), "{html}");
    }
}
