//! The default backend: one file on local disk, written by one thread that shares each flush among all who wait for one.
//!
//! Readers see the last committed state and never wait for the writer. The file survives a crash at any moment: redb writes
//! beside what is committed and switches over with one checksummed page.

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use async_trait::async_trait;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition};
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
    shared: Arc<Shared>,
    queue: Option<mpsc::UnboundedSender<Pending>>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    /// Absent while the file cannot be opened again after a failure.
    database: RwLock<Option<Database>>,
    watchers: Mutex<Watchers>,
}

/// Opens the file, at the start and again after the disk was full.
type OpenFile = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

struct Pending {
    txn: Txn,
    answer: oneshot::Sender<Result<(), Error>>,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the storage in {folder}: {problem}", folder = folder.display())]
pub struct OpenError {
    folder: PathBuf,
    problem: String,
    source: Option<Cause>,
}

fn failed(error: impl Into<Cause>) -> Error {
    Error::Backend(error.into())
}

impl Embedded {
    /// Opens the store in `folder`; folder and file are made if they are missing, readable by their owner only.
    ///
    /// # Errors
    /// When another process has it open, or the file cannot be read or made.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_folder(&path)).await;
        opened.unwrap_or_else(|error| Err(error.into())).map_err(|source| {
            let problem = match source.downcast_ref::<DatabaseError>() {
                Some(DatabaseError::DatabaseAlreadyOpen) => "another process has it open".to_owned(),
                _ => source.to_string(),
            };
            OpenError { folder: folder.to_owned(), problem, source: Some(source) }
        })
    }

    fn open_folder(folder: &Path) -> Result<Self, Cause> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(FILE);
        std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let store = Self::start(Box::new(move || Database::builder().set_cache_size(CACHE).create(&path)))?;
        // The new file's name must survive a crash as well.
        std::fs::File::open(folder)?.sync_all()?;
        Ok(store)
    }

    fn start(open: OpenFile) -> Result<Self, Cause> {
        let database = open()?;
        let write = database.begin_write()?;
        write.open_table(ENTRIES)?;
        write.open_table(COUNTER)?;
        write.commit()?;
        let shared = Arc::new(Shared { database: RwLock::new(Some(database)), watchers: Mutex::default() });
        let (queue, pending) = mpsc::unbounded_channel();
        let writer = Writer { shared: shared.clone(), open };
        let writer = std::thread::Builder::new().name("storage".into()).spawn(move || writer.run(pending))?;
        Ok(Self { shared, queue: Some(queue), writer: Some(writer) })
    }

    fn read<T>(&self, look: impl FnOnce(&Reader) -> Result<T, redb::StorageError>) -> Result<T, Error> {
        let database = self.shared.database();
        let database = database.as_ref().ok_or_else(|| failed("the file is closed since the disk was full"))?;
        let table = database.begin_read().map_err(failed)?.open_table(ENTRIES).map_err(failed)?;
        look(&table).map_err(failed)
    }
}

type Reader = redb::ReadOnlyTable<&'static str, (Version, &'static [u8])>;

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic in the writer was answered to everybody who waited for it.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that alone writes.
struct Writer {
    shared: Arc<Shared>,
    open: OpenFile,
}

impl Writer {
    /// Takes whatever waits, writes it in one transaction, flushes once, answers all.
    fn run(self, mut pending: mpsc::UnboundedReceiver<Pending>) {
        let mut group = Vec::new();
        while pending.blocking_recv_many(&mut group, GROUP) > 0 {
            let (txns, answers): (Vec<_>, Vec<_>) =
                group.drain(..).map(|Pending { txn, answer }| (txn, answer)).unzip();
            let (results, events) = self.write(txns).unwrap_or_else(|error| {
                let error = Arc::new(error);
                (answers.iter().map(|_| Err(failed(error.clone()))).collect(), Vec::new())
            });
            let mut watchers = self.shared.watchers.lock().unwrap_or_else(PoisonError::into_inner);
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

    fn write(&self, txns: Vec<Txn>) -> Result<Written, redb::Error> {
        if self.shared.database().is_none() {
            self.reopen()?;
        }
        let closed = Err(redb::Error::DatabaseClosed);
        let written = self.shared.database().as_ref().map_or(closed, |database| write_group(database, txns));
        if let Err(error) = &written {
            tracing::error!(%error, "a write to the storage failed");
            if disk_full(error)
                && let Err(error) = self.reopen()
            {
                tracing::error!(%error, "the storage cannot be opened again; the next write tries it once more");
            }
        }
        written
    }

    /// After one failed write redb refuses everything until the file is opened anew.
    fn reopen(&self) -> Result<(), DatabaseError> {
        let mut database = self.shared.database.write().unwrap_or_else(PoisonError::into_inner);
        // The old handle first: it holds the lock on the file.
        *database = None;
        *database = Some((self.open)()?);
        Ok(())
    }
}

/// Whether room is all that is missing. After any other failure nobody knows what the disk holds, and what is in memory
/// must not pass for durable: then the store answers errors until it is started again.
fn disk_full(error: &redb::Error) -> bool {
    let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
    matches!(error, redb::Error::Io(error) if kinds.contains(&error.kind()))
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
        self.shared.watchers.lock().unwrap_or_else(PoisonError::into_inner).add(prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::FileBackend;

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
        for round in 1..=20_usize {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "storage::embedded::tests::child_that_writes_until_it_is_killed", "--nocapture"])
                .env(CHILD, folder.path())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
            // The harness prints its own words before the first number on the line.
            let number = |line: String| line.rsplit_once("durable ")?.1.parse::<usize>().ok();
            let last = lines.map_while(Result::ok).filter_map(number).nth(round).unwrap();
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

    /// A file on a disk without room, as long as `full` says so.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        full: Arc<AtomicBool>,
    }

    impl Disk {
        fn room(&self) -> std::io::Result<()> {
            if self.full.load(Ordering::Relaxed) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> std::io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.room()?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> std::io::Result<()> {
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            self.room()?;
            self.file.write(offset, data)
        }
    }

    #[tokio::test]
    async fn a_full_disk_fails_writes_until_there_is_room_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let store = Embedded::start(Box::new({
            let (path, full) = (file.path().to_owned(), full.clone());
            move || {
                let file = std::fs::OpenOptions::new().read(true).write(true).open(&path)?;
                Database::builder().create_with_backend(Disk { file: FileBackend::new(file)?, full: full.clone() })
            }
        }))
        .unwrap();
        let put = |key: &str| Txn { ops: vec![Op::Put(key.into(), vec![7; 300])], ..Txn::default() };
        store.commit(put("before")).await.unwrap();
        full.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let error = store.commit(put("while")).await.unwrap_err();
            assert!(error.retryable(), "{error}");
            assert!(std::error::Error::source(&error).is_some());
        }
        full.store(false, Ordering::Relaxed);
        store.commit(put("after")).await.unwrap();
        let found = store.range("", None, 9).await.unwrap();
        assert_eq!(found.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["after", "before"]);
    }
}
