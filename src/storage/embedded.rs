//! The default backend: one file on local disk, written by one thread that shares each flush among all who wait for one.
//!
//! Readers see the last committed state and never wait for the writer. The file survives a crash at any moment: redb writes
//! beside what is committed and switches over with one checksummed page.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::watch::Watchers;
use super::{Backend, Entry, Error, Event, Op, Txn, Version};

/// Key to version and value.
const ENTRIES: TableDefinition<'_, &str, (Version, &[u8])> = TableDefinition::new("entries");

/// One row: the last version given out. One counter for all keys, so that an entry made anew never repeats a version.
const COUNTER: TableDefinition<'_, (), Version> = TableDefinition::new("counter");

const FILE: &str = "lessor.redb";

/// Pages that redb keeps in memory, bytes. The system's page cache holds the rest.
const CACHE: usize = 8 << 20;

/// Transactions that share one flush at most.
const GROUP: usize = 1024;

/// A file that this process alone holds open.
pub struct Embedded {
    database: Arc<Database>,
    watchers: Arc<Mutex<Watchers>>,
    queue: Option<mpsc::UnboundedSender<Pending>>,
    writer: Option<JoinHandle<()>>,
}

struct Pending {
    txn: Txn,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the storage in {folder}: {problem}", folder = folder.display())]
pub struct OpenError {
    folder: PathBuf,
    problem: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Backend(error.into())
}

impl Embedded {
    /// Opens the store in `folder`; folder and file are made if they are missing, readable by their owner only.
    ///
    /// # Errors
    /// When another process has it open, or the file cannot be read or made.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let folder = folder.to_owned();
        let opening =
            tokio::task::spawn_blocking(move || Self::open_blocking(&folder).map_err(|problem| (folder, problem)));
        let wrong = |(folder, source): (PathBuf, Box<dyn std::error::Error + Send + Sync>)| {
            let problem = match source.downcast_ref::<redb::DatabaseError>() {
                Some(redb::DatabaseError::DatabaseAlreadyOpen) => "another process has it open".to_owned(),
                _ => source.to_string(),
            };
            OpenError { folder, problem, source: Some(source) }
        };
        match opening.await {
            Ok(result) => result.map_err(wrong),
            Err(error) => Err(wrong((PathBuf::new(), error.into()))),
        }
    }

    fn open_blocking(folder: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(FILE);
        std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let database = Arc::new(Database::builder().set_cache_size(CACHE).create(&path)?);
        let write = database.begin_write()?;
        write.open_table(ENTRIES)?;
        write.open_table(COUNTER)?;
        write.commit()?;
        // The new file's name must survive a crash as well.
        std::fs::File::open(folder)?.sync_all()?;
        let watchers = Arc::new(Mutex::new(Watchers::default()));
        let (queue, pending) = mpsc::unbounded_channel();
        let writer = std::thread::Builder::new().name("storage".into()).spawn({
            let (database, watchers) = (database.clone(), watchers.clone());
            move || write_loop(&database, &watchers, pending)
        })?;
        Ok(Self { database, watchers, queue: Some(queue), writer: Some(writer) })
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&redb::ReadOnlyTable<&'static str, (Version, &'static [u8])>) -> Result<T, redb::StorageError>,
    ) -> Result<T, Error> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(ENTRIES).map_err(failed)?;
        look(&table).map_err(failed)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic in the writer was answered to everybody who waited for it.
            let _ = writer.join();
        }
    }
}

/// Takes whatever waits, writes it in one transaction, flushes once, answers all.
fn write_loop(database: &Database, watchers: &Mutex<Watchers>, mut pending: mpsc::UnboundedReceiver<Pending>) {
    let mut group = Vec::new();
    while pending.blocking_recv_many(&mut group, GROUP) > 0 {
        let (txns, answers): (Vec<_>, Vec<_>) = group.drain(..).map(|Pending { txn, answer }| (txn, answer)).unzip();
        let (results, events) = match write_group(database, txns) {
            Ok(written) => written,
            Err(error) => {
                let problem = error.to_string();
                let all_failed = answers.iter().map(|_| Err(failed(problem.clone()))).collect();
                (all_failed, Vec::new())
            }
        };
        let mut watchers = watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, event) in &events {
            watchers.notify(key, event);
        }
        drop(watchers);
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever does not wait any more finds the change all the same.
            let _ = answer.send(result);
        }
    }
}

type Written = (Vec<Result<(), Error>>, Vec<(String, Event)>);

fn write_group(database: &Database, txns: Vec<Txn>) -> Result<Written, redb::Error> {
    let write = database.begin_write()?;
    let mut events = Vec::new();
    let mut results = Vec::with_capacity(txns.len());
    {
        let mut entries = write.open_table(ENTRIES)?;
        let mut counter = write.open_table(COUNTER)?;
        let mut last = counter.get(())?.map_or(0, |row| row.value());
        for txn in txns {
            match broken_expectation(&entries, &txn)? {
                Some(key) => results.push(Err(Error::Conflict(key))),
                None => {
                    apply(&mut entries, &mut last, txn, &mut events)?;
                    results.push(Ok(()));
                }
            }
        }
        counter.insert((), last)?;
    }
    write.commit()?;
    Ok((results, events))
}

type Entries<'t> = Table<'t, &'static str, (Version, &'static [u8])>;

fn broken_expectation(entries: &Entries<'_>, txn: &Txn) -> Result<Option<String>, redb::Error> {
    for (key, version) in &txn.expect {
        if entries.get(key.as_str())?.map_or(0, |row| row.value().0) != *version {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

fn apply(
    entries: &mut Entries<'_>,
    last: &mut Version,
    txn: Txn,
    events: &mut Vec<(String, Event)>,
) -> Result<(), redb::Error> {
    for op in txn.ops {
        match op {
            Op::Put(key, value) => {
                *last += 1;
                entries.insert(key.as_str(), (*last, value.as_slice()))?;
                events.push((key.clone(), Event::Put(Entry { key, value, version: *last })));
            }
            Op::Delete(key) => {
                if entries.remove(key.as_str())?.is_some() {
                    events.push((key.clone(), Event::Delete(key)));
                }
            }
        }
    }
    Ok(())
}

#[async_trait]
impl Backend for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.read(|table| {
            Ok(table.get(key)?.map(|row| {
                let (version, value) = row.value();
                Entry { key: key.to_owned(), value: value.to_vec(), version }
            }))
        })
    }

    async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
        self.read(|table| {
            let start = after.filter(|after| *after >= prefix);
            let mut found = Vec::new();
            for row in table.range(start.unwrap_or(prefix)..)? {
                let (key, value) = row?;
                let key = key.value();
                if !key.starts_with(prefix) && key > prefix || found.len() == limit {
                    break;
                }
                if start != Some(key) {
                    let (version, value) = value.value();
                    found.push(Entry { key: key.to_owned(), value: value.to_vec(), version });
                }
            }
            Ok(found)
        })
    }

    async fn commit(&self, txn: Txn) -> Result<(), Error> {
        if txn.expect.is_empty() && txn.ops.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let stopped = || failed("the storage thread has stopped");
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Pending { txn, answer }).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    fn watch(&self, prefix: &str) -> mpsc::Receiver<Event> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).add(prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn only_one_process_and_only_the_owner_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let store = Embedded::open(&path).await.unwrap();
        let error = Embedded::open(&path).await.err().unwrap();
        assert!(error.to_string().ends_with("another process has it open"), "{error}");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join(FILE))), (0o700, 0o600));
        drop(store);
        Embedded::open(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_something_else_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let text = "not a database".repeat(1000);
        std::fs::write(folder.path().join(FILE), &text).unwrap();
        assert!(Embedded::open(folder.path()).await.is_err());
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
    }

    /// Says which child process of the test below this is to be.
    const CHILD: &str = "LESSOR_TEST_STORAGE_CHILD";

    /// Run by the test below in a process of its own: writes numbers for ever and prints each once it is durable.
    #[tokio::test]
    async fn child_that_writes_until_it_is_killed() {
        let Ok(folder) = std::env::var(CHILD) else { return };
        let store = Embedded::open(Path::new(&folder)).await.unwrap();
        let first = store.range("n/", None, usize::MAX).await.unwrap().len();
        for number in first.. {
            let key = format!("n/{number:09}");
            let ops = vec![Op::Put(key, vec![7; 300]), Op::Put("last".into(), number.to_string().into_bytes())];
            store.commit(Txn { expect: Vec::new(), ops }).await.unwrap();
            println!("durable {number}");
            std::io::stdout().flush().unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_acknowledged_survives_kill_9() {
        let folder = tempfile::tempdir().unwrap();
        for round in 1..=5_usize {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "storage::embedded::tests::child_that_writes_until_it_is_killed", "--nocapture"])
                .env(CHILD, folder.path())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
            // The harness prints its own words before the first number on the line.
            let number = |line: String| line.rsplit_once("durable ")?.1.parse::<usize>().ok();
            let last = lines.map_while(Result::ok).filter_map(number).nth(round * 7).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            let store = Embedded::open(folder.path()).await.unwrap();
            let found = store.range("n/", None, usize::MAX).await.unwrap();
            assert!(found.len() > last, "round {round}: {last} was acknowledged, {} are there", found.len());
            assert!(found.iter().enumerate().all(|(at, entry)| entry.key == format!("n/{at:09}")), "no gaps");
            let newest: usize =
                String::from_utf8(store.get("last").await.unwrap().unwrap().value).unwrap().parse().unwrap();
            assert_eq!(newest + 1, found.len(), "a transaction is there as a whole or not at all");
        }
    }
}
