//! `operator generate-root`: a root token out of shares of the key, when there is none any more.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value, json};

use super::super::grammar::{Command, Flag, Shared, ask, between};
use super::super::output::columns::columns;
use super::super::output::value::plain;
use super::super::request::Ask;
use super::super::session::Session;
use super::super::{Failure, Outcome, pgp_keys};
use crate::base::Secret;

/// As long as a root token, where no engine is there to ask: `hvs.` and 24 characters.
const TOKEN_LENGTH: usize = 28;

pub(super) const COMMANDS: &[Command] = &[Command {
    name: "operator generate-root",
    operands: "[KEY]",
    arity: between(0, 1),
    summary: "Makes a root token by shares of the key.",
    about: "First somebody begins with -init and keeps the one-time password, then the keepers hand in their shares, then \
            -decode makes the token out of what the last of them is shown.\n    operator generate-root -init\n    operator \
            generate-root\n    operator generate-root -decode=ENCODED -otp=OTP",
    flags: &[
        Flag::switch("init", "Begins; without -otp it makes a one-time password and prints it."),
        Flag::switch("cancel", "Gives up what was begun."),
        Flag::switch("status", "Tells how far it is."),
        Flag::switch("generate-otp", "Prints a one-time password, and does nothing else."),
        Flag::text("otp", "The one-time password, for -init and -decode."),
        Flag::text("decode", "Decodes this encoded token with -otp; - reads it from standard input."),
        Flag::text("nonce", "The nonce that -init printed; asked for from the engine where it is left out."),
        Flag::text(
            "pgp-key",
            "For -init: a file with a PGP public key, which the token is encrypted with in place of the password.",
        ),
        Flag::switch("dr-token", "Not offered: there is no replication."),
        Flag::switch("recovery-token", "Not offered: there is no recovery mode."),
    ],
    shared: Shared::Format,
    run: ask!(generate_root),
}];

async fn generate_root(session: &Session<'_>) -> Outcome {
    let values = session.values;
    for flag in ["dr-token", "recovery-token"] {
        if values.has(flag) {
            return Err(Failure::local(format!("-{flag} is not offered: leave it out")));
        }
    }
    if values.on("generate-otp") {
        let length = match session.look(&Ask::get("sys/generate-root/attempt")).await {
            Ok(reply) => reply.body["otp_length"].as_u64().and_then(|length| usize::try_from(length).ok()),
            Err(_) => None,
        };
        let otp = session.around.random.base62(length.filter(|length| *length > 0).unwrap_or(TOKEN_LENGTH));
        return session.show(&json!({ "otp": otp }), || format!("{otp}\n"));
    }
    if let Some(encoded) = values.text("decode") {
        let encoded = session.secret_argument(Some(encoded), "Encoded Token")?;
        let otp = values.text("otp").map(Secret::new);
        let token = decode(&encoded, otp.as_ref().ok_or_else(|| Failure::local("Missing otp: use -otp to supply it"))?)
            .map_err(|problem| Failure::local(format!("Error decoding root token: {problem}")))?;
        return session.show(&json!({ "token": token.expose() }), || format!("{}\n", token.expose()));
    }
    if values.on("cancel") {
        session.raw(&Ask::delete("sys/generate-root/attempt"), "Error canceling root token generation").await?;
        return session.succeed("Success! Root token generation canceled (if it was started)");
    }
    if values.on("init") {
        return begin(session).await;
    }
    let known = session.raw(&Ask::get("sys/generate-root/attempt"), "Error getting root generation status").await?;
    if values.on("status") {
        return show(session, &known);
    }
    hand_in(session, &known).await
}

async fn begin(session: &Session<'_>) -> Outcome {
    let mut body = Map::new();
    if let Some(otp) = session.values.text("otp") {
        body.insert("otp".to_owned(), otp.into());
    }
    pgp_keys::add(&mut body, "pgp_key", (session.values, "pgp-key", false))?;
    let ask = Ask::put("sys/generate-root/attempt", body.into());
    let status = session.raw(&ask, "Error initializing root generation").await?;
    if status["otp"].as_str().is_some_and(|otp| !otp.is_empty()) {
        session.around.say(
            "The one-time password in the field OTP is shown this once. The root token is decoded with it, so keep it safe.",
        );
    }
    show(session, &status)
}

async fn hand_in(session: &Session<'_>, known: &Value) -> Outcome {
    if !known["started"].as_bool().unwrap_or(false) {
        return Err(Failure::local("No root generation is in progress. Start a root generation with -init."));
    }
    let nonce = session.values.text("nonce").map_or_else(|| plain(&known["nonce"]), str::to_owned);
    let given = session.values.arguments.first().map(String::as_str);
    let share = session.secret_argument(given, "Unseal Key")?;
    let body = json!({ "key": share.expose().trim(), "nonce": nonce });
    let status = session.raw(&Ask::put("sys/generate-root/update", body), "Error posting unseal key").await?;
    show(session, &status)
}

fn show(session: &Session<'_>, status: &Value) -> Outcome {
    session.show(status, || {
        let text = |key: &str| status[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let mut rows = vec![
            ("Nonce", plain(&status["nonce"])),
            ("Started", plain(&status["started"])),
            ("Progress", format!("{}/{}", plain(&status["progress"]), plain(&status["required"]))),
            ("Complete", plain(&status["complete"])),
        ];
        rows.extend(text("otp").map(|otp| ("OTP", otp)));
        let reader = text("pgp_fingerprint");
        let length = status["otp_length"].as_u64().filter(|length| *length > 0 && reader.is_none());
        rows.extend(length.map(|length| ("OTP Length", length.to_string())));
        rows.extend(reader.map(|fingerprint| ("PGP Fingerprint", fingerprint)));
        let encoded = text("encoded_token").or_else(|| text("encoded_root_token"));
        rows.extend(encoded.map(|encoded| ("Encoded Token", encoded)));
        columns(&rows.into_iter().map(|(title, value)| vec![title.to_owned(), value]).collect::<Vec<_>>())
    })
}

/// The token under its one-time password: base64 of both, bit by bit.
fn decode(encoded: &Secret, otp: &Secret) -> Result<Secret, &'static str> {
    let text = encoded.expose().trim();
    let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
    let bytes = zeroize::Zeroizing::new(bytes.map_err(|_| "the encoded token is not base64")?);
    if bytes.len() != otp.expose().len() {
        return Err("the one-time password is not as long as the token: it belongs to another");
    }
    let token = bytes.iter().zip(otp.expose().bytes()).map(|(token, otp)| token ^ otp).collect();
    let token = String::from_utf8(token).map_err(|_| "the one-time password belongs to another token")?;
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_decoded_by_its_own_password_only() {
        let (token, otp) = ("hvs.abc", "OTP7otp");
        let mixed: Vec<u8> = token.bytes().zip(otp.bytes()).map(|(a, b)| a ^ b).collect();
        for encoded in [STANDARD.encode(&mixed), STANDARD_NO_PAD.encode(&mixed)] {
            assert_eq!(decode(&Secret::new(encoded), &Secret::new(otp)).unwrap().expose(), token);
        }
        let encoded = Secret::new(STANDARD.encode(&mixed));
        assert!(decode(&encoded, &Secret::new("short")).unwrap_err().contains("not as long"));
        assert!(decode(&Secret::new("!"), &Secret::new("x")).unwrap_err().contains("not base64"));
    }
}
