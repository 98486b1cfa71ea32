//! What every backend must do, run against each of them: a new one joins by one line.

use std::sync::Arc;

use super::barrier::Barrier;
use super::embedded::Embedded;
use super::memory::Memory;
use super::{Backend, Entry, Error, Event, Op, Txn};
use crate::base::clock::SystemClock;
use crate::base::random::SystemRandom;

/// Every backend, plain and behind a barrier, with the folder that must outlive it.
async fn backends() -> Vec<(&'static str, Arc<dyn Backend>, tempfile::TempDir)> {
    let mut all: Vec<(&'static str, Arc<dyn Backend>, tempfile::TempDir)> = Vec::new();
    for (plain, behind) in [("memory", "memory behind a barrier"), ("embedded", "embedded behind a barrier")] {
        for barred in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let inner: Arc<dyn Backend> = match plain {
                "memory" => Arc::new(Memory::default()),
                _ => Arc::new(Embedded::open(folder.path()).await.unwrap()),
            };
            if !barred {
                all.push((plain, inner, folder));
                continue;
            }
            let barrier = Barrier::new(inner, Arc::new(SystemClock), Arc::new(SystemRandom));
            barrier.initialize(zeroize::Zeroizing::new([1; 32]), Txn::default()).await.unwrap();
            all.push((behind, Arc::new(barrier), folder));
        }
    }
    all
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(key.into(), value.into())
}

async fn commit(store: &dyn Backend, expect: &[(&str, u64)], ops: Vec<Op>) -> Result<(), Error> {
    let expect = expect.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect();
    store.commit(Txn { expect, ops }).await
}

async fn keys(store: &dyn Backend, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    store.range(prefix, after, limit).await.unwrap().into_iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn values_are_found_again_with_growing_versions() {
    for (name, store, _folder) in backends().await {
        assert_eq!(store.get("t/k").await.unwrap(), None, "{name}");
        commit(&*store, &[], vec![put("t/k", "1")]).await.unwrap();
        let Entry { value, version: first, .. } = store.get("t/k").await.unwrap().unwrap();
        assert_eq!(value, b"1", "{name}");
        commit(&*store, &[("t/k", first)], vec![put("t/k", "2")]).await.unwrap();
        let second = store.get("t/k").await.unwrap().unwrap().version;
        commit(&*store, &[], vec![Op::Delete("t/k".into())]).await.unwrap();
        assert_eq!(store.get("t/k").await.unwrap(), None, "{name}");
        commit(&*store, &[("t/k", 0)], vec![put("t/k", "3")]).await.unwrap();
        let third = store.get("t/k").await.unwrap().unwrap().version;
        assert!(0 < first && first < second && second < third, "{name}: {first} {second} {third}");
    }
}

#[tokio::test]
async fn ranges_are_ordered_paged_and_stay_within_their_prefix() {
    for (name, store, _folder) in backends().await {
        let ops = ["t/a", "t/b/1", "t/b/2", "t/c", "u"].map(|key| put(key, key)).to_vec();
        commit(&*store, &[], ops).await.unwrap();
        assert_eq!(keys(&*store, "t/", None, 9).await, ["t/a", "t/b/1", "t/b/2", "t/c"], "{name}");
        assert_eq!(keys(&*store, "t/", None, 2).await, ["t/a", "t/b/1"], "{name}");
        assert_eq!(keys(&*store, "t/", Some("t/b/1"), 2).await, ["t/b/2", "t/c"], "{name}");
        assert_eq!(keys(&*store, "t/", Some("t/b0"), 9).await, ["t/c"], "{name}: after a key that is not there");
        assert_eq!(keys(&*store, "t/b/", Some("t/a"), 9).await, ["t/b/1", "t/b/2"], "{name}: after what lies before");
        assert!(keys(&*store, "t/", Some("t/c"), 9).await.is_empty(), "{name}");
        assert!(keys(&*store, "none/", None, 9).await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    for (name, store, _folder) in backends().await {
        commit(&*store, &[], vec![put("t/k", "1")]).await.unwrap();
        let wrong = commit(&*store, &[("t/other", 0), ("t/k", 0)], vec![put("t/other", "x"), put("t/k", "x")]).await;
        assert!(matches!(wrong, Err(Error::Conflict(key)) if key == "t/k"), "{name}");
        assert_eq!(store.get("t/other").await.unwrap(), None, "{name}");
        assert_eq!(store.get("t/k").await.unwrap().unwrap().value, b"1", "{name}");
        commit(&*store, &[], vec![]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_expect_the_same_version_one_wins() {
    for (name, store, _folder) in backends().await {
        commit(&*store, &[], vec![put("t/n", "0")]).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            tasks.spawn(async move {
                for _ in 0..25 {
                    loop {
                        let Entry { value, version, .. } = store.get("t/n").await.unwrap().unwrap();
                        let next = String::from_utf8(value).unwrap().parse::<u32>().unwrap() + 1;
                        match commit(&*store, &[("t/n", version)], vec![put("t/n", &next.to_string())]).await {
                            Ok(()) => break,
                            Err(Error::Conflict(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(store.get("t/n").await.unwrap().unwrap().value, b"200", "{name}: no increment is lost");
    }
}

#[tokio::test]
async fn watchers_see_their_prefix_in_order() {
    for (name, store, _folder) in backends().await {
        let mut events = store.watch("t/");
        commit(
            &*store,
            &[],
            vec![put("u", "x"), put("t/a", "1"), Op::Delete("t/a".into()), Op::Delete("t/none".into())],
        )
        .await
        .unwrap();
        assert!(matches!(events.recv().await, Some(Event::Put(entry)) if entry.value == b"1"), "{name}");
        assert_eq!(events.recv().await, Some(Event::Delete("t/a".into())), "{name}");
        assert!(events.try_recv().is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_watcher_that_falls_behind_is_told_and_then_goes_on() {
    for (name, store, _folder) in backends().await {
        let mut events = store.watch("t/");
        commit(&*store, &[], (0..3000).map(|number| put(&format!("t/{number}"), "x")).collect()).await.unwrap();
        let mut seen = 0;
        let told = async {
            while events.recv().await != Some(Event::Lagged) {
                seen += 1;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), told).await.unwrap();
        assert!((1..3000).contains(&seen), "{name}: {seen}");
        commit(&*store, &[], vec![put("t/next", "y")]).await.unwrap();
        assert!(matches!(events.recv().await, Some(Event::Put(entry)) if entry.key == "t/next"), "{name}");
    }
}
