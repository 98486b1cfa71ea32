//! A certificate that somebody else keeps, such as cert-manager: followed in its Secret, and shown once API servers trust its CA.
//!
//! Replicas agree without a word: each has its own look at the Secret and at what API servers trust, adds the CAs that it needs,
//! and takes away what nobody can need any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::upkeep::{LOOK, Tend};
use super::{Error, Identity, Resolver, Version};
use crate::base::clock::add;
use crate::base::{Clock, Random, Secret, Timestamp};

/// After so many overlaps without a change every replica has moved on.
const SETTLED: u32 = 3;

/// What the Secret holds. All PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The certificate, with what leads from it to its CA.
    pub certificate: String,
    /// Its key.
    pub key: Secret,
    /// The CAs that vouch for it; empty: the certificate is its own.
    pub cas: String,
}

/// Where certificates come from, and where API servers learn of their CAs.
#[async_trait]
pub trait Source: Send + Sync {
    /// What there is to show.
    async fn given(&self) -> Result<Given, Error>;

    /// The CAs (PEM) that API servers trust now, empty before the first; with the version to hand back to [`Source::trust`].
    async fn trusted(&self) -> Result<(String, Version), Error>;

    /// Has API servers trust these CAs (PEM) and no others; false when somebody else has been faster, and nothing was written.
    async fn trust(&self, cas: &str, expected: &Version) -> Result<bool, Error>;
}

/// CAs without an order.
type Cas = BTreeSet<String>;

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    /// Have these trusted.
    Trust(Cas),
    /// Show what the Secret holds.
    Show,
    /// Nothing before that moment.
    Wait(Timestamp),
    /// Nothing before the next look.
    Rest,
}

/// What one replica knows.
#[derive(Debug)]
struct View<'a> {
    /// The CAs of what it shows; nothing before the first.
    shown: Option<&'a Cas>,
    /// Whether it shows what the Secret holds.
    is_current: bool,
    given: &'a Cas,
    trusted: &'a Cas,
    /// Since when it has seen API servers trust these.
    since: Timestamp,
}

impl View<'_> {
    fn next(&self, overlap: Duration, now: Timestamp) -> Move {
        let needed: Cas = self.given.iter().chain(self.shown.into_iter().flatten()).cloned().collect();
        if !needed.is_subset(self.trusted) {
            return Move::Trust(self.trusted.union(&needed).cloned().collect());
        }
        if !self.is_current {
            let known = add(self.since, overlap);
            // Without any certificate there is nothing to lose. And a CA that stays needs no time to become known.
            let at_once = self.shown.is_none_or(|shown| shown == self.given);
            return if at_once || known <= now { Move::Show } else { Move::Wait(known) };
        }
        if needed == *self.trusted {
            return Move::Rest;
        }
        let settled = add(self.since, overlap.saturating_mul(SETTLED));
        if settled <= now { Move::Trust(needed) } else { Move::Wait(settled) }
    }
}

/// One replica's part in following the Secret.
pub struct Follower {
    source: Arc<dyn Source>,
    overlap: Duration,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    resolver: Arc<Resolver>,
    shown: Option<(Given, Cas)>,
    seen: Option<(Cas, Timestamp)>,
}

impl Follower {
    /// `overlap` is how long every API server and replica may take to learn of a change.
    pub fn new(source: Arc<dyn Source>, overlap: Duration, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { source, overlap, clock, random, resolver: Arc::default(), shown: None, seen: None }
    }
}

#[async_trait]
impl Tend for Follower {
    async fn tend(&mut self) -> Result<Timestamp, Error> {
        let now = self.clock.now();
        let given = self.source.given().await?;
        let cas = blocks(if given.cas.is_empty() { &given.certificate } else { &given.cas });
        let (trusted, version) = self.source.trusted().await?;
        let trusted = blocks(&trusted);
        let since = match &self.seen {
            Some((seen, since)) if *seen == trusted => *since,
            _ => now,
        };
        let next = View {
            shown: self.shown.as_ref().map(|(_, cas)| cas),
            is_current: self.shown.as_ref().is_some_and(|(shown, _)| *shown == given),
            given: &cas,
            trusted: &trusted,
            since,
        }
        .next(self.overlap, now);
        self.seen = Some((trusted, since));
        let look = add(now, LOOK.min(self.overlap / 3).mul_f64(self.random.jitter(0.2)));
        match next {
            Move::Trust(cas) => {
                // By what was seen: another replica may have added the CA that it needs meanwhile, and shows it at once.
                if !self.source.trust(&cas.iter().map(String::as_str).collect::<String>(), &version).await? {
                    tracing::debug!("another replica was faster");
                    return Ok(now);
                }
                tracing::info!("told the API server which CAs to trust");
                self.seen = Some((cas, self.clock.now()));
                Ok(now)
            }
            Move::Show => {
                let not_after = end_of(&given.certificate)?;
                let (certificate, key) = (given.certificate.clone(), given.key.clone());
                self.resolver.show(&Identity { certificate, key, ca: String::new(), not_before: now, not_after })?;
                tracing::info!(valid_until = %not_after, "showing another certificate");
                self.shown = Some((given, cas));
                Ok(now)
            }
            Move::Wait(until) => Ok(until.min(look)),
            Move::Rest => Ok(look),
        }
    }

    fn resolver(&self) -> Arc<Resolver> {
        Arc::clone(&self.resolver)
    }
}

/// The certificates of a PEM text, each by itself, so that order, comments and repetitions make no difference.
fn blocks(pem: &str) -> Cas {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let bodies = pem.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END)).map(|(body, _)| body.trim());
    bodies.map(|body| format!("{BEGIN}\n{body}\n{END}\n")).collect()
}

/// When the first certificate of a PEM text ends.
fn end_of(pem: &str) -> Result<Timestamp, Error> {
    let chain = crate::base::tls::certificates(pem.as_bytes(), "the webhook's certificate")?;
    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0])?;
    Ok(Timestamp::from_second(leaf.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::issue::issue;
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::base::random::SeededRandom;

    const OVERLAP: Duration = Duration::from_secs(300);

    #[derive(Default)]
    struct Memory {
        given: Mutex<Option<Given>>,
        /// And how often it was written.
        trusted: Mutex<(String, u32)>,
        /// What another replica writes as soon as somebody has looked.
        meanwhile: Mutex<Option<String>>,
    }

    impl Memory {
        fn give(&self, now: Timestamp) -> String {
            let made = issue(&["a".to_owned()], now, Duration::from_secs(86_400)).unwrap();
            let given = Given { certificate: made.certificate.clone(), key: made.key, cas: made.ca.clone() };
            *self.given.lock().unwrap() = Some(given);
            made.ca
        }
    }

    #[async_trait]
    impl Source for Memory {
        async fn given(&self) -> Result<Given, Error> {
            self.given.lock().unwrap().clone().ok_or_else(|| Error::NoConfiguration("none".into()))
        }

        async fn trusted(&self) -> Result<(String, Version), Error> {
            let mut trusted = self.trusted.lock().unwrap();
            let (seen, version) = trusted.clone();
            if let Some(other) = self.meanwhile.lock().unwrap().take() {
                *trusted = (other, version + 1);
            }
            Ok((seen, Some(version.to_string())))
        }

        async fn trust(&self, cas: &str, expected: &Version) -> Result<bool, Error> {
            let mut trusted = self.trusted.lock().unwrap();
            let found = *expected == Some(trusted.1.to_string());
            if found {
                *trusted = (cas.to_owned(), trusted.1 + 1);
            }
            Ok(found)
        }
    }

    fn set(names: &[&str]) -> Cas {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_shown_when_its_ca_is_known_and_the_old_ca_goes_when_nobody_shows_its_certificate() {
        let (old, new, both) = (set(&["old"]), set(&["new"]), set(&["new", "old"]));
        let since = Timestamp::UNIX_EPOCH;
        let at = |seconds| add(since, Duration::from_secs(seconds));
        let view = |shown, is_current, given, trusted, now| {
            View { shown, is_current, given, trusted, since }.next(OVERLAP, at(now))
        };
        let nothing = Cas::new();
        assert_eq!(view(None, false, &new, &nothing, 0), Move::Trust(new.clone()));
        assert_eq!(view(None, false, &new, &new, 0), Move::Show, "there is nothing to lose");
        assert_eq!(view(Some(&old), false, &new, &old, 9000), Move::Trust(both.clone()));
        assert_eq!(view(Some(&old), false, &new, &both, 299), Move::Wait(at(300)));
        assert_eq!(view(Some(&old), false, &new, &both, 300), Move::Show);
        assert_eq!(view(Some(&old), false, &old, &old, 0), Move::Show, "renewed by the same CA");
        assert_eq!(view(Some(&new), true, &new, &both, 899), Move::Wait(at(900)), "another replica may be behind");
        assert_eq!(view(Some(&new), true, &new, &both, 900), Move::Trust(new.clone()));
        assert_eq!(view(Some(&new), true, &new, &new, 900), Move::Rest);
        assert_eq!(view(Some(&old), false, &new, &new, 900), Move::Trust(both), "a replica that is behind says so");
    }

    #[test]
    fn texts_are_the_same_whatever_their_order_and_comments() {
        let (one, two) = (
            "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nUg==\n-----END CERTIFICATE-----",
        );
        assert_eq!(blocks(&format!("# a\n{one}{two}")), blocks(&format!("{two}\n\n{one}{one}")));
        assert_eq!(blocks("").len(), 0);
    }

    #[tokio::test]
    async fn replicas_follow_a_change_of_ca_one_after_the_other_and_all_are_trusted_all_the_time() {
        let (source, clock) = (Arc::new(Memory::default()), ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let follower =
            |seed| Follower::new(source.clone(), OVERLAP, Arc::new(clock.clone()), Arc::new(SeededRandom::new(seed)));
        let mut followers = [follower(1), follower(2), follower(3)];
        source.give(clock.now());
        let mut next = [clock.now(); 3];
        let mut shown = Vec::new();
        for change in 0..10 {
            let ca = if change > 0 { source.give(clock.now()) } else { source.trusted().await.unwrap().0 };
            for _ in 0..200 {
                let at = (0..3).min_by_key(|at| next[*at]).unwrap();
                if let Ok(wait) = Duration::try_from(next[at].duration_since(clock.now())) {
                    clock.advance(wait);
                }
                next[at] = followers[at].tend().await.unwrap();
                let trusted = blocks(&source.trusted().await.unwrap().0);
                for (_, cas) in followers.iter().filter_map(|follower| follower.shown.as_ref()) {
                    assert!(cas.is_subset(&trusted));
                }
            }
            assert_eq!(
                blocks(&source.trusted().await.unwrap().0).len(),
                1,
                "{ca}: the CA of before is trusted no longer"
            );
            shown.push(followers[0].resolver.shown().unwrap().cert[0].clone());
            assert!(followers.iter().all(|follower| follower.resolver.shown().unwrap().cert[0] == shown[change]));
        }
        shown.dedup();
        assert_eq!(shown.len(), 10);
    }

    #[tokio::test]
    async fn a_ca_that_another_replica_has_just_added_stays() {
        let (source, clock) = (Arc::new(Memory::default()), ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let own = source.give(clock.now());
        let mut follower =
            Follower::new(source.clone(), OVERLAP, Arc::new(clock.clone()), Arc::new(SeededRandom::new(1)));
        while follower.resolver.shown().is_none() {
            follower.tend().await.unwrap();
        }
        let ca = |name: &str| format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n");
        source.trusted.lock().unwrap().0 = format!("{own}{}", ca("old"));
        follower.tend().await.unwrap();
        clock.advance(OVERLAP * SETTLED);
        let all = format!("{own}{}{}", ca("old"), ca("next"));
        *source.meanwhile.lock().unwrap() = Some(all.clone());
        follower.tend().await.unwrap();
        assert_eq!(blocks(&source.trusted.lock().unwrap().0), blocks(&all), "what it took away was seen before that");
    }
}
