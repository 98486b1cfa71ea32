//! Exchanges under a moved clock: several replicas, conflicts, failures, and a client that checks what is shown.

use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls_pki_types::{ServerName, UnixTime};

use super::issue::issue;
use super::upkeep::Tend as _;
use super::*;
use crate::base::clock::{Clock, ManualClock};
use crate::base::random::SeededRandom;
use crate::base::{Secret, tls};

const DAY: u64 = 86_400;

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn names() -> Vec<String> {
    vec!["lessor-webhook.lessor-system.svc".to_owned()]
}

fn bundle() -> Bundle {
    let identity = Identity {
        certificate: "c1\n".into(),
        key: Secret::new("k1"),
        ca: "ca1\n".into(),
        not_before: start(),
        not_after: add(start(), Duration::from_secs(90 * DAY)),
    };
    Bundle { names: names(), current: identity, next: None, retired_ca: None, changed: start() }
}

fn due(bundle: &Bundle, after: u64, trusted_since: Timestamp) -> Step {
    plan(Some(bundle), &names(), Policy::default(), add(start(), Duration::from_secs(after)), trusted_since)
}

#[test]
fn each_step_has_its_time() {
    let quiet = bundle();
    assert_eq!(plan(None, &names(), Policy::default(), start(), start()), Step::Create);
    assert_eq!(plan(Some(&quiet), &["other".to_owned()], Policy::default(), start(), start()), Step::Create);
    assert_eq!(due(&quiet, 0, start()), Step::Wait(add(start(), Duration::from_secs(60 * DAY))));
    assert_eq!(due(&quiet, 60 * DAY, start()), Step::Stage);
    assert_eq!(due(&quiet, 90 * DAY, start()), Step::Create, "it has ended");

    let changed = add(start(), Duration::from_secs(60 * DAY));
    let staged = Bundle { next: Some(bundle().current), changed, ..bundle() };
    assert_eq!(due(&staged, 60 * DAY + 299, changed), Step::Wait(add(changed, Duration::from_secs(300))));
    assert_eq!(due(&staged, 60 * DAY + 300, changed), Step::Promote);
    let late = add(changed, Duration::from_secs(200));
    assert_eq!(due(&staged, 60 * DAY + 300, late), Step::Wait(add(late, Duration::from_secs(300))));

    let promoted = Bundle { retired_ca: Some("old".into()), changed, ..bundle() };
    assert!(matches!(due(&promoted, 60 * DAY + 299, start()), Step::Wait(_)));
    assert_eq!(due(&promoted, 60 * DAY + 300, start()), Step::Retire);
}

#[test]
fn a_secret_holds_everything_and_nothing_readable_as_more() {
    let full = Bundle { next: Some(bundle().current), retired_ca: Some("old\n".into()), ..bundle() };
    for bundle in [bundle(), full.clone()] {
        assert_eq!(Bundle::from_secret(&bundle.to_secret().unwrap()), Some(bundle));
    }
    assert_eq!(full.trusted(), "ca1\nca1\nold\n");
    let mut half = full.to_secret().unwrap();
    half.remove("next-tls.key");
    assert_eq!(Bundle::from_secret(&half), None);
    assert_eq!(Bundle::from_secret(&Default::default()), None);
    assert!(!format!("{full:?}").contains("k1"));
}

#[test]
fn a_ca_vouches_for_its_own_certificate_only() {
    let first = issue(&names(), start(), Duration::from_secs(DAY)).unwrap();
    let second = issue(&names(), add(start(), Duration::from_secs(1)), Duration::from_secs(DAY)).unwrap();
    assert!(accepts(&first.ca, first.certificate.as_bytes(), start()));
    assert!(!accepts(&second.ca, first.certificate.as_bytes(), start()));
    assert!(accepts(&format!("{}{}", second.ca, first.ca), first.certificate.as_bytes(), start()));
    assert!(!accepts(&first.ca, first.certificate.as_bytes(), add(start(), Duration::from_secs(DAY + 1))));
    let slow_clock = start().saturating_sub(Duration::from_secs(600)).unwrap();
    assert!(accepts(&first.ca, first.certificate.as_bytes(), slow_clock));
}

/// Whether a client that trusts `cas` at `now` accepts the certificate (PEM or, from a resolver, its DER) for our name.
fn accepts(cas: &str, certificate: &[u8], now: Timestamp) -> bool {
    let chain = tls::certificates(certificate, "the certificate").unwrap();
    verify(cas, &chain[0], now)
}

fn verify(cas: &str, leaf: &rustls_pki_types::CertificateDer<'_>, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(tls::certificates(cas.as_bytes(), "the CAs").unwrap());
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let name = ServerName::try_from(names()[0].clone()).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().try_into().unwrap()));
    verifier.verify_server_cert(leaf, &[], &name, &[], now).is_ok()
}

/// A Secret and an API server's trust in memory, with conflicts as the real ones have.
#[derive(Default)]
struct MemoryStore(Mutex<Shared>);

#[derive(Default)]
struct Shared {
    bundle: Option<Bundle>,
    version: u64,
    trusted: String,
    writes: u64,
    broken: bool,
}

impl MemoryStore {
    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.0.lock().unwrap()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn read(&self) -> Result<(Option<Bundle>, Version), Error> {
        let shared = self.shared();
        Ok((shared.bundle.clone(), shared.bundle.as_ref().map(|_| shared.version.to_string())))
    }

    async fn write(&self, bundle: &Bundle, expected: &Version) -> Result<bool, Error> {
        let mut shared = self.shared();
        if shared.bundle.as_ref().map(|_| shared.version.to_string()) != *expected {
            return Ok(false);
        }
        *shared = Shared {
            bundle: Some(bundle.clone()),
            version: shared.version + 1,
            writes: shared.writes + 1,
            trusted: std::mem::take(&mut shared.trusted),
            broken: shared.broken,
        };
        Ok(true)
    }

    async fn publish(&self, cas: &str) -> Result<bool, Error> {
        let mut shared = self.shared();
        if shared.broken {
            return Err(Error::NoConfiguration("gone".into()));
        }
        Ok(std::mem::replace(&mut shared.trusted, cas.to_owned()) != cas)
    }
}

fn replicas(count: u64, store: &Arc<MemoryStore>, clock: &ManualClock) -> Vec<Keeper> {
    let one = |seed| {
        let (store, clock) = (Arc::clone(store) as Arc<dyn Store>, Arc::new(clock.clone()) as Arc<dyn Clock>);
        Keeper::new(store, names(), Policy::default(), clock, Arc::new(SeededRandom::new(seed)))
    };
    (0..count).map(one).collect()
}

fn all_accepted(store: &MemoryStore, keepers: &[Keeper], now: Timestamp) -> bool {
    let trusted = store.shared().trusted.clone();
    let mut shown = keepers.iter().filter_map(|keeper| keeper.resolver().shown());
    shown.all(|key| verify(&trusted, &key.cert[0], now))
}

#[tokio::test]
async fn a_hundred_exchanges_with_three_replicas_and_never_a_refused_connection() {
    let (store, clock) = (Arc::new(MemoryStore::default()), ManualClock::new(start()));
    let mut keepers = replicas(3, &store, &clock);
    let mut next = [start(); 3];
    let mut checked: Option<(String, Vec<Option<Timestamp>>)> = None;
    // One write made the first certificate; each exchange is three more.
    while store.shared().writes < 1 + 3 * 100 {
        let at = (0..3).min_by_key(|at| next[*at]).unwrap();
        if let Ok(wait) = Duration::try_from(next[at].duration_since(clock.now())) {
            // Nothing happens between two looks, so quiet months may be skipped.
            let quiet =
                store.shared().bundle.as_ref().is_some_and(|all| all.next.is_none() && all.retired_ca.is_none());
            clock.advance(if quiet && wait > Duration::ZERO { wait.max(Duration::from_secs(DAY)) } else { wait });
        }
        next[at] = keepers[at].tend().await.unwrap();
        let state =
            (store.shared().trusted.clone(), keepers.iter().map(|keeper| keeper.resolver().not_after()).collect());
        if checked.as_ref() != Some(&state) {
            assert!(all_accepted(&store, &keepers, clock.now()), "at {}", clock.now());
            checked = Some(state);
        }
    }
    let versions: Vec<_> = keepers.iter().map(|keeper| keeper.resolver().not_after()).collect();
    assert!(versions.iter().all(Option::is_some));
}

#[tokio::test]
async fn two_replicas_that_start_together_agree_on_one_certificate() {
    let (store, clock) = (Arc::new(MemoryStore::default()), ManualClock::new(start()));
    let mut keepers = replicas(2, &store, &clock);
    let (stale, version) = store.read().await.unwrap();
    assert!(stale.is_none());
    keepers[0].tend().await.unwrap();
    assert!(!store.write(&bundle(), &version).await.unwrap(), "the second writer must lose");
    keepers[1].tend().await.unwrap();
    let shown = |keeper: &Keeper| keeper.resolver().shown().unwrap().cert[0].clone();
    assert_eq!(shown(&keepers[0]), shown(&keepers[1]));
}

#[tokio::test]
async fn who_loses_the_race_for_the_first_certificate_begins_with_the_winners() {
    struct Raced(Arc<MemoryStore>, Mutex<Option<Bundle>>);
    #[async_trait]
    impl Store for Raced {
        async fn read(&self) -> Result<(Option<Bundle>, Version), Error> {
            self.0.read().await
        }
        async fn write(&self, bundle: &Bundle, expected: &Version) -> Result<bool, Error> {
            let winner = self.1.lock().unwrap().take();
            if let Some(winner) = winner {
                self.0.write(&winner, expected).await?;
            }
            self.0.write(bundle, expected).await
        }
        async fn publish(&self, cas: &str) -> Result<bool, Error> {
            self.0.publish(cas).await
        }
    }
    let (store, clock) = (Arc::new(MemoryStore::default()), ManualClock::new(start()));
    let current = issue(&names(), start(), Policy::default().validity).unwrap();
    let winner = Bundle { current, ..bundle() };
    let raced = Arc::new(Raced(Arc::clone(&store), Mutex::new(Some(winner.clone()))));
    let random = Arc::new(SeededRandom::new(1));
    let keeper = Keeper::new(raced, names(), Policy::default(), Arc::new(clock.clone()), random.clone());
    let mut keeper = Upkeep::new(keeper, Arc::new(clock.clone()), random);
    let (_trigger, stop) = crate::base::shutdown::channel();
    assert!(keeper.begin(&stop).await);
    let shown = keeper.resolver().shown().unwrap().cert[0].clone();
    assert_eq!(shown, tls::certificates(winner.current.certificate.as_bytes(), "it").unwrap()[0]);
    assert!(verify(&store.shared().trusted, &keeper.resolver().shown().unwrap().cert[0], clock.now()));
}

#[tokio::test]
async fn nothing_new_is_shown_while_the_api_server_cannot_be_told() {
    let (store, clock) = (Arc::new(MemoryStore::default()), ManualClock::new(start()));
    let mut keepers = replicas(1, &store, &clock);
    keepers[0].tend().await.unwrap();
    let before = keepers[0].resolver().not_after();
    clock.advance(Duration::from_secs(61 * DAY));
    store.shared().broken = true;
    for _ in 0..10 {
        assert!(keepers[0].tend().await.is_err());
        clock.advance(Duration::from_secs(300));
    }
    assert_eq!(keepers[0].resolver().not_after(), before);
    store.shared().broken = false;
    for _ in 0..2 {
        keepers[0].tend().await.unwrap();
        assert_eq!(keepers[0].resolver().not_after(), before, "the new CA has not been trusted for long enough");
        clock.advance(Duration::from_secs(299));
    }
    clock.advance(Duration::from_secs(2));
    keepers[0].tend().await.unwrap();
    clock.advance(Duration::from_secs(301));
    keepers[0].tend().await.unwrap();
    assert_ne!(keepers[0].resolver().not_after(), before);
    assert!(all_accepted(&store, &keepers, clock.now()));
}

#[tokio::test]
async fn what_somebody_took_away_from_the_configuration_is_put_back() {
    let (store, clock) = (Arc::new(MemoryStore::default()), ManualClock::new(start()));
    let mut keepers = replicas(1, &store, &clock);
    keepers[0].tend().await.unwrap();
    store.shared().trusted.clear();
    keepers[0].tend().await.unwrap();
    assert!(all_accepted(&store, &keepers, clock.now()));
}
