//! Who waits for a rollout of which workload, and whose turn it is: changes are batched, and rollouts are paced.
//!
//! Nothing here has to survive: what is wanted stands in the Secrets and their objects' status, and every object says it again
//! in its first pass after a start.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::base::{Timestamp, clock};

/// After a start nobody's turn comes for so long, whole seconds: until all have said what they wait for.
const OPENING: u64 = 3;
/// How long changes that keep coming are collected, in settling times.
const PATIENCE: u64 = 4;
/// A rollout that has not ended after this, whole seconds, keeps no other one waiting.
const STUCK: u64 = 600;
/// Until a rollout that has begun shows in its workload, whole seconds.
const BEGINNING: u64 = 5;
/// The wait for a free place, whole seconds.
const AGAIN: u64 = 2;

/// A content that the pods of a workload are to be started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The annotation of the pod template.
    pub annotation: String,
    /// Its value.
    pub hash: String,
    /// When the Secret was given that content.
    pub changed: Timestamp,
    /// For how long nothing must have changed, whole seconds.
    pub settle: u64,
}

/// Whether a rollout may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Now, and for all these annotations.
    Now(BTreeMap<String, String>),
    /// Not before that moment.
    Later(Timestamp),
}

#[derive(Debug, Default)]
struct Entry {
    /// By the UID of who wishes it.
    wishes: BTreeMap<String, Wish>,
    /// When the present rollout began.
    begun: Option<Timestamp>,
}

impl Entry {
    fn occupies(&self, now: Timestamp) -> bool {
        self.begun.is_some_and(|begun| clock::seconds_between(begun, now) < STUCK)
    }

    /// When the changes have settled.
    fn settled(&self, key: &str) -> Timestamp {
        let moments = self.wishes.values().map(|wish| wish.changed);
        let (first, last) = (moments.clone().min().unwrap_or_default(), moments.max().unwrap_or_default());
        let settle = self.wishes.values().map(|wish| wish.settle).max().unwrap_or_default();
        let quiet = clock::add_seconds(last, settle).min(clock::add_seconds(first, settle.saturating_mul(PATIENCE)));
        clock::add_seconds(quiet, spread(key, settle / 3))
    }
}

/// All workloads that wait or roll, by namespace and name.
#[derive(Debug)]
pub struct Board {
    entries: Mutex<HashMap<String, Entry>>,
    /// How many workloads roll at once.
    limit: usize,
    /// When the first turn was asked for: a replica may have waited long before it leads.
    opened: OnceLock<Timestamp>,
}

impl Board {
    /// Nobody waits yet. At most `limit` workloads roll at once.
    pub fn new(limit: usize) -> Self {
        Self { entries: Mutex::default(), limit: limit.max(1), opened: OnceLock::new() }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what `uid` wishes of the workload `key`.
    pub fn wish(&self, key: &str, uid: &str, wish: Wish) {
        self.entries().entry(key.to_owned()).or_default().wishes.insert(uid.to_owned(), wish);
    }

    /// Says whether the turn of a workload has come; then its place is taken. Whoever is `urgent`, because its pods would lose
    /// their credential, waits for nothing.
    pub fn turn(&self, key: &str, now: Timestamp, urgent: bool) -> Turn {
        let mut entries = self.entries();
        if let Some(later) = self.wait(&entries, key, now).filter(|_| !urgent) {
            return Turn::Later(later);
        }
        let entry = entries.entry(key.to_owned()).or_default();
        entry.begun = Some(now);
        let marks = entry.wishes.values().map(|wish| (wish.annotation.clone(), wish.hash.clone()));
        Turn::Now(marks.collect())
    }

    /// Until when what `uid` wishes of a workload must wait, as far as it is known here. A rollout of that workload itself does not
    /// count: only a look at it tells whether it goes on.
    pub fn waits(&self, key: &str, uid: &str, now: Timestamp) -> Option<Timestamp> {
        let entries = self.entries();
        let known = entries.get(key).is_some_and(|entry| entry.wishes.contains_key(uid));
        if known { self.wait_for_others(&entries, key, now) } else { None }
    }

    fn wait(&self, entries: &HashMap<String, Entry>, key: &str, now: Timestamp) -> Option<Timestamp> {
        let rolling = entries.get(key).is_some_and(|entry| entry.occupies(now));
        self.wait_for_others(entries, key, now).or_else(|| rolling.then(|| clock::add_seconds(now, AGAIN)))
    }

    fn wait_for_others(&self, entries: &HashMap<String, Entry>, key: &str, now: Timestamp) -> Option<Timestamp> {
        let entry = entries.get(key)?;
        let ready = entry.settled(key).max(clock::add_seconds(*self.opened.get_or_init(|| now), OPENING));
        if now < ready {
            return Some(ready);
        }
        let others = entries.iter().filter(|(other, entry)| *other != key && entry.occupies(now)).count();
        (others >= self.limit).then(|| clock::add_seconds(now, AGAIN))
    }

    /// The rollout of that turn did not begin.
    pub fn give_back(&self, key: &str) {
        if let Some(entry) = self.entries().get_mut(key) {
            entry.begun = None;
        }
    }

    /// No rollout of the workload is under way, whoever began one: what was wished of it since may begin.
    pub fn idle(&self, key: &str, now: Timestamp) {
        if let Some(entry) = self.entries().get_mut(key)
            && entry.begun.is_some_and(|begun| clock::seconds_between(begun, now) >= BEGINNING)
        {
            entry.begun = None;
        }
    }

    /// A workload is rolling since `begun`.
    pub fn rolling(&self, key: &str, begun: Timestamp) {
        if let Some(entry) = self.entries().get_mut(key) {
            entry.begun.get_or_insert(begun);
        }
    }

    /// What `uid` wished of the workload is done, or not wished any more.
    pub fn over(&self, key: &str, uid: &str) {
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(key) {
            entry.wishes.remove(uid);
            // Wishes that came during the rollout wait for the next.
            entry.begun = None;
            if entry.wishes.is_empty() {
                entries.remove(key);
            }
        }
    }

    /// `uid` is gone, with all that it wished.
    pub fn forget(&self, uid: &str) {
        self.entries().retain(|_, entry| {
            entry.wishes.remove(uid);
            !entry.wishes.is_empty()
        });
    }
}

/// The same share of `range` for the same text, so that many workloads do not all begin in one second.
pub fn spread(text: &str, range: u64) -> u64 {
    // FNV-1a.
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 16) % (range + 1)
}

#[cfg(test)]
mod tests {
    use super::super::pods::tests::at;
    use super::*;

    fn wish(annotation: &str, changed: i64) -> Wish {
        Wish { annotation: annotation.into(), hash: format!("hash of {annotation}"), changed: at(changed), settle: 15 }
    }

    fn board(limit: usize, opened: i64) -> Board {
        let board = Board::new(limit);
        board.opened.set(at(opened)).unwrap();
        board
    }

    /// The annotations of a rollout that begins, separated by spaces.
    fn ask(board: &Board, key: &str, wish: Wish, now: i64, urgent: bool) -> Option<String> {
        board.wish(key, &wish.annotation.clone(), wish);
        match board.turn(key, at(now), urgent) {
            Turn::Now(marks) => Some(marks.into_keys().collect::<Vec<_>>().join(" ")),
            Turn::Later(until) => {
                assert!(until > at(now));
                None
            }
        }
    }

    #[test]
    fn five_changes_within_a_minute_make_one_rollout() {
        let board = board(10, 0);
        for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            let now = 1000 + 12 * i64::try_from(index).unwrap();
            assert_eq!(ask(&board, "shop/web", wish(name, now), now, false), None, "{name}");
        }
        let begun = (1048..1080).find_map(|now| Some((now, ask(&board, "shop/web", wish("a", 1000), now, false)?)));
        let (now, marks) = begun.unwrap();
        assert_eq!(marks, "a b c d e");
        assert!((1060..=1068).contains(&now), "{now}");
    }

    #[test]
    fn changes_that_keep_coming_hold_a_rollout_up_only_so_long() {
        let board = board(10, 0);
        let mut begun = None;
        for now in 1000..1200 {
            board.wish("shop/web", "b", wish("b", now));
            begun = begun.or(ask(&board, "shop/web", wish("a", 1000), now, false).map(|_| now));
        }
        assert!((1060..=1066).contains(&begun.unwrap()), "{begun:?}");
    }

    #[test]
    fn a_change_during_a_rollout_waits_for_its_end() {
        let board = board(10, 0);
        assert!(ask(&board, "shop/web", wish("a", 1000), 1030, false).is_some());
        assert_eq!(ask(&board, "shop/web", wish("b", 1031), 1080, false), None);
        assert!(board.waits("shop/web", "b", at(1040)).is_some(), "changes settle first");
        assert_eq!(board.waits("shop/web", "b", at(1080)), None, "it looks whether that has ended");
        board.over("shop/web", "a");
        assert_eq!(ask(&board, "shop/web", wish("b", 1031), 1081, false).as_deref(), Some("b"));
    }

    #[test]
    fn a_rollout_that_did_not_begin_may_begin_again() {
        let board = board(1, 0);
        assert!(ask(&board, "shop/web", wish("a", 1000), 1030, false).is_some());
        board.give_back("shop/web");
        assert!(ask(&board, "shop/web", wish("a", 1000), 1030, false).is_some());
    }

    #[test]
    fn a_content_that_replaces_one_under_way_begins_when_that_has_ended() {
        let board = board(10, 0);
        assert!(ask(&board, "shop/web", wish("a", 1000), 1030, false).is_some());
        let newer = Wish { hash: "newer".into(), ..wish("a", 1040) };
        board.idle("shop/web", at(1031));
        assert_eq!(ask(&board, "shop/web", newer.clone(), 1080, false), None);
        board.idle("shop/web", at(1080));
        assert!(ask(&board, "shop/web", newer, 1080, false).is_some());
    }

    #[test]
    fn only_so_many_roll_at_once_unless_it_is_urgent() {
        let board = board(2, 0);
        let begins = |key: &str, now, urgent| ask(&board, key, wish("a", 1000), now, urgent).is_some();
        assert!(begins("one", 1030, false) && begins("two", 1030, false));
        assert!(!begins("three", 1030, false));
        assert!(begins("urgent", 1030, true));
        board.over("one", "a");
        assert!(!begins("three", 1031, false), "the urgent one holds a place, too");
        board.over("two", "a");
        assert!(begins("three", 1032, false));
        assert!(begins("four", 1032 + 601, false), "what is stuck keeps nobody waiting");
    }

    #[test]
    fn after_a_start_all_may_speak_before_one_begins() {
        let board = board(2, 1000);
        assert_eq!(ask(&board, "one", wish("a", 900), 1001, false), None);
        for key in ["two", "three"] {
            board.wish(key, key, wish(key, 900));
            board.rolling(key, at(950));
        }
        assert_eq!(ask(&board, "one", wish("a", 900), 1004, false), None);
        board.forget("two");
        assert!(ask(&board, "one", wish("a", 900), 1006, false).is_some());
    }

    #[test]
    fn workloads_are_spread_within_a_range() {
        let shares: std::collections::BTreeSet<u64> =
            (0..100).map(|index| spread(&format!("shop/Deployment/web-{index}"), 5)).collect();
        assert_eq!(shares, (0..=5).collect());
        assert_eq!(spread("x", 0), 0);
    }
}
