//! Tokens and leases at another engine: how long they may live, how they are prolonged, looked at and ended.
//!
//! How long something may live at most is told by no path that every token may use. It is found out by asking for a renewal of
//! many years, which is cut to what is possible, and for the usual one right after that.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::base::{Timestamp, clock};
use crate::client::{Client, Error};
use crate::operator::dynamic::lender::Renewal;
use crate::wire::Auth;

/// Longer than any engine lets anything live, whole seconds: twenty years.
const LONG: u64 = 20 * 365 * 86_400;

/// How long a token or a lease lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Life {
    /// For how long it was given, and is prolonged, whole seconds; 0: for ever.
    pub ttl: u64,
    /// Whether it can be prolonged.
    pub renewable: bool,
    /// Past this it cannot be prolonged, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

impl Life {
    fn fixed(ttl: u64, now: Timestamp) -> Self {
        Self { ttl, renewable: false, last: Some(clock::add_seconds(now, ttl)) }
    }

    /// Whole seconds left to something that is not prolonged; `None` where that is not known.
    fn left(&self, now: Timestamp) -> Option<u64> {
        self.last.map(|last| clock::seconds_between(now, last))
    }
}

/// How long a lease lives that ends with its token at the latest.
///
/// Its `ttl` is that of whichever ends first, and never 0 unless both are.
pub fn combined(lease: &Life, token: &Life, now: Timestamp) -> Life {
    let ttl = [lease.ttl, token.ttl].into_iter().filter(|ttl| *ttl > 0).min().unwrap_or(0);
    let last = [lease.last, token.last].into_iter().flatten().min();
    Life { ttl, renewable: last.is_none_or(|last| last > clock::add_seconds(now, ttl)), last }
}

/// How long the token of a login may live.
pub async fn token_life(client: &Client, auth: &Auth, now: Timestamp) -> Life {
    let ttl = auth.lease_duration;
    if ttl == 0 {
        return Life { ttl, renewable: false, last: None };
    }
    if !auth.renewable || auth.token_type == "batch" {
        return Life::fixed(ttl, now);
    }
    let unknown = Life { ttl, renewable: true, last: None };
    let Ok(Some(found)) = client.read("auth/token/lookup-self").await else { return unknown };
    let number = |key: &str| found.data.as_ref().and_then(|data| data[key].as_u64()).unwrap_or(0);
    if number("period") > 0 {
        // Prolonged for ever, each time by its period.
        let explicit = number("explicit_max_ttl");
        return Life { last: (explicit > 0).then(|| clock::add_seconds(now, explicit)), ..unknown };
    }
    match client.renew_self(Some(LONG)).await {
        Ok(longest) => {
            let _ = client.renew_self(Some(ttl)).await;
            Life { last: cut(longest.lease_duration, now), ..unknown }
        }
        // It may not be prolonged: a successor has to be made before it ends.
        Err(error) if error.is_denied() => Life::fixed(ttl, now),
        Err(_) => unknown,
    }
}

/// How long a lease may live that was given for `ttl` seconds.
pub async fn lease_life(client: &Client, id: &str, ttl: u64, renewable: bool, now: Timestamp) -> Life {
    if !renewable {
        return Life::fixed(ttl, now);
    }
    let unknown = Life { ttl, renewable, last: None };
    match client.renew_lease(id, Some(LONG)).await {
        Ok(longest) => {
            let _ = client.renew_lease(id, Some(ttl)).await;
            Life { last: cut(longest.lease_duration, now), ..unknown }
        }
        Err(error) if error.is_denied() => Life::fixed(ttl, now),
        Err(_) => unknown,
    }
}

/// The end of what was granted, unless all was granted that was asked for.
fn cut(granted: u64, now: Timestamp) -> Option<Timestamp> {
    (granted > 0 && granted < LONG).then(|| clock::add_seconds(now, granted))
}

/// Prolongs a lease and the token that it ends with.
///
/// # Errors
/// When the engine cannot be asked, or refuses for another reason than their end.
pub async fn renew(
    client: &Client,
    (token, lease): (&Life, &Life),
    id: &str,
    now: Timestamp,
) -> Result<Renewal, Error> {
    let Some(of_token) = prolong_token(client, token, now).await? else { return Ok(Renewal::Ended) };
    let Some(of_lease) = prolong_lease(client, lease, id, now).await? else { return Ok(Renewal::Ended) };
    Ok(match of_token.min(of_lease) {
        0 => Renewal::Ended,
        left => Renewal::Prolonged(left),
    })
}

/// Whole seconds that the token has left; `None` when it has ended.
async fn prolong_token(client: &Client, token: &Life, now: Timestamp) -> Result<Option<u64>, Error> {
    if token.ttl == 0 {
        return Ok(Some(u64::MAX));
    }
    if !token.renewable {
        return Ok(token.left(now));
    }
    match client.renew_self(Some(token.ttl)).await {
        Ok(auth) => Ok(Some(auth.lease_duration)),
        Err(error) if error.is_unknown_token() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole seconds that the lease has left; `None` when it has ended.
async fn prolong_lease(client: &Client, lease: &Life, id: &str, now: Timestamp) -> Result<Option<u64>, Error> {
    if !lease.renewable {
        return Ok(lease.left(now));
    }
    match client.renew_lease(id, Some(lease.ttl)).await {
        Ok(envelope) => Ok(Some(envelope.lease_duration)),
        Err(error) if error.is_lease_ended() || error.is_unknown_token() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What can be seen of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nothing speaks against its being there.
    There,
    /// It, or its token, is gone.
    Gone,
    /// The engine did not answer.
    Unseen,
}

/// Looks at a lease without prolonging it or, where that is not permitted, at its token.
pub async fn look(client: &Client, id: &str) -> Sight {
    match client.write("sys/leases/lookup", &json!({ "lease_id": id })).await {
        Ok(_) => Sight::There,
        Err(error) if error.status() == Some(400) || error.is_unknown_token() => Sight::Gone,
        Err(error) if error.is_denied() => match client.read("auth/token/lookup-self").await {
            Err(error) if error.is_unknown_token() => Sight::Gone,
            _ => Sight::There,
        },
        Err(_) => Sight::Unseen,
    }
}

/// Ends a token and with it the lease that it has, which the engine does at once or as soon as its database lets it. Where the
/// token may not end itself, its lease is ended.
///
/// # Errors
/// When the engine cannot be asked, or permits neither.
pub async fn end(client: &Client, lease: Option<&str>) -> Result<(), Error> {
    let refused = match client.revoke_self().await {
        Ok(()) => return Ok(()),
        Err(error) if error.is_unknown_token() => return Ok(()),
        // Batch tokens cannot be ended.
        Err(error) if matches!(error.status(), Some(400 | 403)) => error,
        Err(error) => return Err(error),
    };
    let Some(lease) = lease else { return Err(refused) };
    match client.revoke_lease(lease, false).await {
        Err(error) if error.status() != Some(400) => Err(refused),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::base::Secret;
    use crate::base::clock::ManualClock;
    use crate::base::random::SeededRandom;
    use crate::client::ClientConfig;
    use crate::client::testing::{FakeEngine, Seen};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: u64) -> Timestamp {
        clock::add_seconds(NOW, seconds)
    }

    async fn engine(script: impl FnMut(&Seen) -> (u16, Value) + Send + 'static) -> (FakeEngine, Client) {
        let engine = FakeEngine::start(script).await;
        let config = ClientConfig { max_retries: 0, ..ClientConfig::new(&engine.address) };
        let client = Client::new(config, Arc::new(ManualClock::new(NOW)), Arc::new(SeededRandom::new(1))).unwrap();
        (engine, client.with_token(Secret::new("t")))
    }

    fn auth(ttl: u64) -> Auth {
        Auth { lease_duration: ttl, renewable: true, ..Auth::default() }
    }

    fn granted(seen: &Seen, max: u64) -> u64 {
        seen.body["increment"].as_u64().unwrap().min(max)
    }

    #[tokio::test]
    async fn the_longest_life_is_what_is_left_of_a_very_long_wish() {
        let (engine, client) = engine(|seen| match seen.path.as_str() {
            "sys/leases/renew" => (200, json!({ "lease_duration": granted(seen, 180) })),
            "auth/token/renew-self" => {
                (200, json!({ "auth": { "client_token": "t", "lease_duration": granted(seen, 900) } }))
            }
            _ => (200, json!({ "data": { "period": 0 } })),
        })
        .await;
        assert_eq!(
            lease_life(&client, "id", 60, true, NOW).await,
            Life { ttl: 60, renewable: true, last: Some(at(180)) }
        );
        assert_eq!(token_life(&client, &auth(300), NOW).await, Life { ttl: 300, renewable: true, last: Some(at(900)) });
        // And both are as they were afterwards.
        let asked: Vec<Value> = engine.seen().iter().map(|seen| seen.body["increment"].clone()).collect();
        assert_eq!(asked, [json!(LONG), json!(60), Value::Null, json!(LONG), json!(300)]);
    }

    #[tokio::test]
    async fn periodic_tokens_have_no_end_and_others_may_have_one_that_nothing_moves() {
        let (_engine, client) = engine(|_| (200, json!({ "data": { "period": 60, "explicit_max_ttl": 0 } }))).await;
        assert_eq!(token_life(&client, &auth(60), NOW).await.last, None);
        let batch = Auth { token_type: "batch".into(), ..auth(60) };
        assert_eq!(token_life(&client, &batch, NOW).await, Life { ttl: 60, renewable: false, last: Some(at(60)) });
        assert_eq!(token_life(&client, &auth(0), NOW).await, Life { ttl: 0, renewable: false, last: None });
    }

    #[tokio::test]
    async fn what_may_not_be_prolonged_ends_when_it_was_said_to() {
        let denied = |_: &Seen| (403, json!({ "errors": ["1 error occurred:\n\t* permission denied\n\n"] }));
        let (_engine, client) = engine(denied).await;
        let fixed = Life { ttl: 60, renewable: false, last: Some(at(60)) };
        assert_eq!(lease_life(&client, "id", 60, true, NOW).await, fixed);
        let (_engine, client) = engine(move |seen| match seen.path.as_str() {
            "auth/token/lookup-self" => (200, json!({ "data": { "period": 0 } })),
            _ => denied(seen),
        })
        .await;
        assert_eq!(token_life(&client, &auth(60), NOW).await, fixed);
    }

    #[test]
    fn a_lease_ends_with_its_token_at_the_latest() {
        let life = |ttl, renewable, last: Option<u64>| Life { ttl, renewable, last: last.map(at) };
        let combine = |lease, token| combined(&lease, &token, NOW);
        assert_eq!(combine(life(3600, true, Some(86_400)), life(600, true, Some(7200))), life(600, true, Some(7200)));
        assert_eq!(combine(life(60, true, Some(180)), life(0, false, None)), life(60, true, Some(180)));
        // A lease that cannot be prolonged lives on with a token that can, and no longer than its own end.
        assert_eq!(combine(life(3600, false, Some(3600)), life(600, true, None)), life(600, true, Some(3600)));
        assert_eq!(combine(life(3600, true, None), life(600, false, Some(600))), life(600, false, Some(600)));
    }

    #[tokio::test]
    async fn a_renewal_is_as_long_as_the_shorter_of_both() {
        let (_engine, client) = engine(|seen| match seen.path.as_str() {
            "sys/leases/renew" => (200, json!({ "lease_duration": granted(seen, 40) })),
            _ => (200, json!({ "auth": { "client_token": "t", "lease_duration": granted(seen, 50) } })),
        })
        .await;
        let life = |ttl| Life { ttl, renewable: true, last: None };
        assert_eq!(renew(&client, (&life(60), &life(60)), "id", NOW).await.unwrap(), Renewal::Prolonged(40));
        assert_eq!(renew(&client, (&life(30), &life(60)), "id", NOW).await.unwrap(), Renewal::Prolonged(30));
        let ended = Life { ttl: 60, renewable: false, last: Some(NOW) };
        assert_eq!(renew(&client, (&ended, &life(60)), "id", at(1)).await.unwrap(), Renewal::Ended);
    }

    #[tokio::test]
    async fn an_unknown_token_or_lease_has_ended_and_a_denied_path_has_not() {
        let cases = [
            (403, "permission denied", Sight::Gone),
            (403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n", Sight::Gone),
            (403, "1 error occurred:\n\t* permission denied\n\n", Sight::There),
            (400, "invalid lease", Sight::Gone),
            (503, "Vault is sealed", Sight::Unseen),
        ];
        for (status, text, expected) in cases {
            let (_engine, client) = engine(move |seen| match seen.path.as_str() {
                "sys/leases/lookup" => (status, json!({ "errors": [text] })),
                _ => (200, json!({ "data": {} })),
            })
            .await;
            assert_eq!(look(&client, "id").await, expected, "{status} {text}");
        }
    }

    #[tokio::test]
    async fn what_cannot_end_itself_ends_its_lease() {
        let denied = || (403, json!({ "errors": ["1 error occurred:\n\t* permission denied\n\n"] }));
        let (engine, client) = engine(move |seen| match seen.path.as_str() {
            "sys/leases/revoke" => (204, Value::Null),
            _ => denied(),
        })
        .await;
        end(&client, Some("id")).await.unwrap();
        assert_eq!(engine.lines(), ["PUT auth/token/revoke-self", "PUT sys/leases/revoke"]);
        assert!(end(&client, None).await.unwrap_err().is_denied());
    }
}
