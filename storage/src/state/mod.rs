//! Operational state: one SQLite database that one process owns.
//!
//! Offsets, state and what they produced commit in one [`State::transaction`]. Calls block on the
//! disk; async callers run them on a blocking thread.

mod outbox;
mod tx;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

pub use outbox::{OUTBOX_MAX_ROWS, OutboxRow};
pub use tx::Tx;

use crate::durable;
use crate::error::{Error, Result};
use crate::lock::ProcessLock;

/// A tool such as `sqlite3` may look into the database; it is waited for so long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Kept in `user_version`; a database of a newer program is refused.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS blobs (
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (namespace, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        target TEXT NOT NULL,
        app_id TEXT NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
";

#[derive(Debug)]
pub struct State {
    path: PathBuf,
    inner: Mutex<Inner>,
    /// Released by the operating system with the process, however it ends.
    _lock: ProcessLock,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// Set by the first I/O error: what the database file holds is then unknown until it is opened
    /// again and recovers from its log.
    broken: bool,
}

impl State {
    /// Opens the state in `dir`, which is created if it is missing.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it open; [`Error::Damaged`] if the database
    /// fails SQLite's check or a newer program wrote it.
    pub fn open(dir: &Path) -> Result<Self> {
        durable::create_dir_all(dir)?;
        let lock = ProcessLock::take(&dir.join("state.lock"))?;
        let path = dir.join("state.sqlite");
        let connection = connect(&path).map_err(|e| failed(&path, e))?;
        check(&connection, &path)?;
        durable::sync_dir(dir)?;
        Ok(Self { path, inner: Mutex::new(Inner { connection, broken: false }), _lock: lock })
    }

    /// Runs `work`; what it wrote is on stable storage when this returns `Ok`, and gone otherwise.
    /// Transactions run one after the other.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Full`], after which a later call may succeed; [`Error::Sync`] for
    /// any I/O error, after which every call fails with it: the process must stop.
    pub fn transaction<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // A panic in `work` rolled its transaction back, so the connection is as it was.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.broken {
            return Err(self.stopped().into());
        }
        let result = self.run(&mut inner.connection, work);
        if let Err(Outcome::Io(err)) = result {
            inner.broken = err.is_fatal();
            return Err(err.into());
        }
        result.map_err(|outcome| match outcome {
            Outcome::Io(err) => err.into(),
            Outcome::Work(err) => err,
        })
    }

    fn run<T, E>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, Outcome<E>> {
        let io = |e| Outcome::Io(failed(&self.path, e));
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
        let tx = Tx::new(&transaction, &self.path);
        let worked = work(&tx);
        if let Some(err) = tx.take_fatal() {
            return Err(Outcome::Io(err));
        }
        let value = worked.map_err(Outcome::Work)?;
        transaction.commit().map_err(io)?;
        Ok(value)
    }

    fn stopped(&self) -> Error {
        Error::Sync {
            path: self.path.clone(),
            source: std::io::Error::other("an earlier write failed"),
        }
    }
}

enum Outcome<E> {
    /// Of the database itself.
    Io(Error),
    Work(E),
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn check(connection: &Connection, path: &Path) -> Result<()> {
    let io = |e| failed(path, e);
    let damaged = |reason: String| Error::Damaged { path: path.to_path_buf(), reason };
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(io)?;
    if verdict != "ok" {
        return Err(damaged(verdict));
    }
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(io)?;
    match version {
        0 => {
            let create = format!("BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;");
            connection.execute_batch(&create).map_err(io)
        }
        SCHEMA_VERSION => Ok(()),
        newer => Err(damaged(format!(
            "a newer program wrote it (version {newer}, this one knows {SCHEMA_VERSION})"
        ))),
    }
}

/// A full disk heals; any other I/O error leaves the file in a state nobody knows.
fn failed(path: &Path, source: rusqlite::Error) -> Error {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full { path },
        Some(ErrorCode::SystemIoFailure) => {
            Error::Sync { path, source: std::io::Error::other(source.to_string()) }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::Damaged { path, reason: source.to_string() }
        }
        _ => Error::Sqlite { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_transaction_stays_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state
            .transaction(|tx| {
                tx.put("offsets", "p0", b"10")?;
                tx.outbox_push("events", "app", b"row").map(|_| ())
            })
            .unwrap();
        let refused = state.transaction(|tx| {
            tx.put("offsets", "p0", b"20")?;
            tx.outbox_push("events", "app", b"row 2")?;
            Err::<(), _>(Error::Missing { path: "x".into() })
        });
        assert!(matches!(refused, Err(Error::Missing { .. })));
        drop(state);

        let state = State::open(dir.path()).unwrap();
        let (offset, rows) = state
            .transaction(|tx| Ok::<_, Error>((tx.get("offsets", "p0")?, tx.outbox_peek(10)?)))
            .unwrap();
        assert_eq!(offset.as_deref(), Some(b"10".as_slice()));
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn a_panic_rolls_back_and_the_state_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            state.transaction(|tx| -> Result<()> {
                tx.put("n", "k", b"v")?;
                panic!("as planned")
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(state.transaction(|tx| tx.get("n", "k")).unwrap(), None);
    }

    #[test]
    fn one_process_holds_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let first = State::open(dir.path()).unwrap();
        let err = State::open(dir.path()).unwrap_err();
        let holder = format!("process {}", std::process::id());
        assert!(matches!(&err, Error::Locked { holder: h, .. } if *h == holder), "{err}");
        drop(first);
        State::open(dir.path()).unwrap();
    }

    #[test]
    fn a_damaged_database_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state.sqlite"), [7; 4096]).unwrap();
        let err = State::open(dir.path()).unwrap_err();
        assert!(matches!(err, Error::Damaged { .. }), "{err}");
        assert!(err.to_string().contains("state.sqlite"));
    }

    #[test]
    fn scans_are_ordered_and_stay_in_their_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state
            .transaction(|tx| {
                for (namespace, key) in [("a", "x/2"), ("a", "x/1"), ("a", "y"), ("b", "x/0")] {
                    tx.put(namespace, key, key.as_bytes())?;
                }
                let keys = |prefix: &str, limit| -> Result<Vec<String>> {
                    Ok(tx.scan("a", prefix, limit)?.into_iter().map(|(k, _)| k).collect())
                };
                assert_eq!(keys("x/", 10)?, ["x/1", "x/2"]);
                assert_eq!(keys("", 2)?, ["x/1", "x/2"]);
                assert!(tx.delete("a", "x/1")?);
                assert!(!tx.delete("a", "x/1")?);
                assert_eq!(keys("", 10)?, ["x/2", "y"]);
                Ok::<_, Error>(())
            })
            .unwrap();
    }

    #[test]
    fn the_outbox_keeps_order_and_never_reuses_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let push = |text: &[u8]| state.transaction(|tx| tx.outbox_push("t", "app", text));
        let (first, second) = (push(b"1").unwrap(), push(b"2").unwrap());
        let rows = state.transaction(|tx| tx.outbox_peek(10)).unwrap();
        let payloads: Vec<&[u8]> = rows.iter().map(|r| r.payload.as_slice()).collect();
        assert_eq!(payloads, [b"1".as_slice(), b"2"]);
        state
            .transaction(|tx| {
                tx.outbox_ack(first)?;
                tx.outbox_ack(second)
            })
            .unwrap();
        assert!(push(b"3").unwrap() > second);
        assert_eq!(state.transaction(|tx| tx.outbox_len()).unwrap(), 1);
    }
}
