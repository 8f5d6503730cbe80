//! Every row is accounted for: processed, late, rejected, dead or in flight.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use faultline::model::{HOUR, MINUTE, SECOND};
use faultline::source::timestamp;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::archive::{contents, count};
use crate::outage::{Outage, lines, time_of, write_lines};
use crate::program::{ask, replay};

/// The numbers of the summary line.
#[derive(Debug, PartialEq, Eq)]
pub struct Accounts {
    pub received: usize,
    pub processed: usize,
    pub late: usize,
    pub rejected: usize,
    pub dead: usize,
    pub in_flight: usize,
}

impl Accounts {
    /// Reads `N rows in T s: N processed, N late, N rejected, N dead, N in flight`.
    pub fn read(stdout: &str) -> Self {
        let line = stdout.lines().find(|l| l.contains(" processed, ")).unwrap();
        let number = |word: &str| {
            let (before, _) = line.split_once(word).unwrap_or_else(|| panic!("{word}: {line}"));
            before.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let accounts = Self {
            received: number(" rows in"),
            processed: number(" processed"),
            late: number(" late"),
            rejected: number(" rejected"),
            dead: number(" dead"),
            in_flight: number(" in flight"),
        };
        let Self { processed, late, rejected, dead, in_flight, .. } = accounts;
        let sum = processed + late + rejected + dead + in_flight;
        assert_eq!(accounts.received, sum, "out of balance: {line}");
        accounts
    }
}

/// Rows that no job may see: what replaces the time, what replaces the value, and the reason.
const UNUSABLE: [(Option<&str>, Option<&str>, &str); 12] = [
    (None, Some("NaN"), "bad_value"),
    (None, Some("inf"), "bad_value"),
    (None, Some("-Infinity"), "bad_value"),
    (None, Some("many"), "bad_value"),
    (None, Some(""), "missing_field"),
    (None, Some("1,2"), "malformed"),
    (Some(""), None, "missing_field"),
    (Some("yesterday"), None, "bad_timestamp"),
    (Some("-1710223200000000000"), None, "bad_timestamp"),
    // Milliseconds where nanoseconds belong.
    (Some("1710223200000"), None, "bad_timestamp"),
    (Some("2099-01-01T00:00:00Z"), None, "future"),
    // A wrong clock that is not ahead of ours.
    (Some("2024-03-15T06:00:00Z"), None, "future"),
];

/// Puts every unusable row and a late one into the metrics; returns the line of the first.
fn plant(outage: &Outage) -> usize {
    let mut rows = outage.lines("metrics.csv");
    // Far apart, one behind the other, and one as the very first row.
    let step = rows.len() / (UNUSABLE.len() + 2);
    for (i, (ts, value, _)) in UNUSABLE.iter().enumerate().rev() {
        let at = (i + 1) * step;
        let (rest, old_value) = rows[at].rsplit_once(',').unwrap();
        let (old_ts, series) = rest.split_once(',').unwrap();
        let (ts, value) = (ts.unwrap_or(old_ts), value.unwrap_or(old_value));
        rows.insert(at + 1, format!("{ts},{series},{value}"));
    }
    let last = rows.last().unwrap();
    let (_, rest) = last.split_once(',').unwrap();
    let late = timestamp::format(time_of(last) - 5 * SECOND - 1_000_000);
    rows.push(format!("{late},{rest}"));
    write_lines(&outage.file("metrics.csv"), &rows);
    step + 2
}

fn planted(reason: &str) -> usize {
    UNUSABLE.iter().filter(|(_, _, r)| *r == reason).count()
}

#[test]
fn nothing_is_refused_of_a_sound_outage() {
    let outage = Outage::new();
    let archives = TempDir::new().unwrap();
    let rows = outage.rows();
    for batch_rows in ["1", "97", "8192"] {
        let archive = archives.path().join(batch_rows);
        let stdout = replay(outage.path(), &archive, &["--batch-rows", batch_rows]);
        let accounts = Accounts::read(&stdout);
        let clean = Accounts {
            received: rows,
            processed: rows,
            late: 0,
            rejected: 0,
            dead: 0,
            in_flight: 0,
        };
        assert_eq!(accounts, clean, "batches of {batch_rows}");
    }
}

/// NaN is no anomaly, and a clock ten years ahead moves no watermark.
#[test]
fn unusable_rows_are_counted_kept_and_change_nothing_else() {
    let outage = Outage::new();
    let archives = TempDir::new().unwrap();
    let sound = archives.path().join("sound");
    replay(outage.path(), &sound, &[]);
    let expected = contents(&sound);
    assert!(count(&expected, "incidents") > 0);
    let rows = outage.rows();
    let first = plant(&outage);
    let future = planted("future");
    for batch_rows in ["8192", "97", "1"] {
        let archive = archives.path().join(batch_rows);
        let stdout = replay(outage.path(), &archive, &["--batch-rows", batch_rows]);
        let bad = Accounts {
            received: rows + UNUSABLE.len() + 1,
            processed: rows,
            late: 1,
            rejected: future,
            dead: UNUSABLE.len() - future,
            in_flight: 0,
        };
        assert_eq!(Accounts::read(&stdout), bad, "batches of {batch_rows}");
        let place =
            format!("bad_value, such as metrics.csv:{first}: NaN, infinity or a stale marker");
        for told in [&place, "late, such as metrics.csv: older than the watermark;"] {
            assert!(stdout.contains(told), "{told}: {stdout}");
        }
        let found = contents(&archive);
        for table in ["incidents", "signals", "diagnoses", "evidence", "actions", "metrics"] {
            assert_eq!(found[table], expected[table], "{table}, batches of {batch_rows}");
        }
        let sql = "SELECT reason, CAST(sum(rows) AS BIGINT) AS rows FROM dead_letters \
                   GROUP BY reason ORDER BY reason";
        let mut reasons: Vec<(&str, usize)> = ["bad_timestamp", "bad_value", "future"]
            .into_iter()
            .chain(["malformed", "missing_field"])
            .map(|r| (r, planted(r)))
            .collect();
        reasons.insert(3, ("late", 1));
        let reasons = reasons.iter().map(|(r, n)| format!("{r},{n}\n")).collect::<String>();
        assert_eq!(ask(&archive, sql), format!("reason,rows\n{reasons}"));
        let nan = ask(&archive, "SELECT file, line FROM dead_letters WHERE text LIKE '%,NaN'");
        assert_eq!(nan, format!("file,line\nmetrics.csv,{first}\n"), "where to look");
        let silent = "SELECT count(*) AS n FROM dead_letters WHERE detail = '' OR text = ''";
        assert_eq!(ask(&archive, silent), "n\n0\n", "each says what is wrong and shows the row");
    }
}

/// Of an outage that has quiet days, only a row far from all others is taken for a wrong clock.
#[test]
fn few_rows_after_quiet_days_are_processed() {
    let outage = TempDir::new().unwrap();
    let start = timestamp::read("2024-05-01T00:00:00Z").unwrap();
    let at = |hour: i64| timestamp::format(start + hour * HOUR);
    let mut metrics = vec!["ts,service,instance,metric,value".to_owned()];
    metrics.extend((0..=120).map(|hour| format!("{},api,api-0,cpu,1", at(hour))));
    let object =
        |hour: i64, rest: &str| format!(r#"{{"ts":"{}","service":"api",{rest}}}"#, at(hour));
    let logs = [0, 50, 50, 51, 300].map(|hour| object(hour, r#""body":"up""#));
    let deploy = r#""kind":"deploy","object":"api","actor":"ci","detail":"v2""#;
    let changes = [0, 48, 96].map(|hour| object(hour, deploy));
    write_lines(&outage.path().join("metrics.csv"), &metrics);
    write_lines(&outage.path().join("logs.jsonl"), &logs);
    write_lines(&outage.path().join("changes.jsonl"), &changes);
    let archives = TempDir::new().unwrap();
    for batch_rows in ["1", "8192"] {
        let archive = archives.path().join(batch_rows);
        let stdout = replay(outage.path(), &archive, &["--batch-rows", batch_rows]);
        let accounts = Accounts::read(&stdout);
        let Accounts { received, processed, rejected, .. } = accounts;
        assert_eq!((received, processed, rejected), (129, 128, 1), "batches of {batch_rows}");
    }
}

/// A row that comes twice is two rows, and neither is lost.
#[test]
fn duplicates_are_processed() {
    let outage = Outage::new();
    let mut rows = outage.lines("metrics.csv");
    let middle = rows.len() / 2;
    for at in [1, middle, middle, rows.len() - 1] {
        rows.insert(at, rows[at].clone());
    }
    write_lines(&outage.file("metrics.csv"), &rows);
    let archives = TempDir::new().unwrap();
    let accounts = Accounts::read(&replay(outage.path(), &archives.path().join("a"), &[]));
    assert_eq!((accounts.processed, accounts.late), (outage.rows(), 0));
}

#[test]
fn the_first_row_too_needs_a_time() {
    let outage = Outage::new();
    let mut rows = outage.lines("metrics.csv");
    let (_, rest) = rows[1].split_once(',').unwrap();
    let timeless = format!(",{rest}");
    rows.insert(1, timeless.clone());
    rows.insert(1, timeless);
    write_lines(&outage.file("metrics.csv"), &rows);
    let archives = TempDir::new().unwrap();
    let accounts = Accounts::read(&replay(outage.path(), &archives.path().join("a"), &[]));
    assert_eq!((accounts.processed, accounts.dead), (outage.rows() - 2, 2));
}

/// Rows far out of order are late one by one; the rest goes on.
#[test]
fn unsorted_rows_are_late_and_the_rest_goes_on() {
    let outage = Outage::new();
    let mut rows = outage.lines("metrics.csv");
    let end = rows.len() - 1;
    // Ten rows from the middle come back at the end.
    let moved: Vec<String> = rows.drain(end / 2..end / 2 + 10).collect();
    let newest = time_of(rows.last().unwrap());
    assert!(moved.iter().all(|r| time_of(r) < newest - MINUTE));
    rows.extend(moved);
    write_lines(&outage.file("metrics.csv"), &rows);
    let archives = TempDir::new().unwrap();
    for batch_rows in ["1", "8192"] {
        let archive = archives.path().join(batch_rows);
        let stdout = replay(outage.path(), &archive, &["--batch-rows", batch_rows]);
        let accounts = Accounts::read(&stdout);
        assert_eq!((accounts.late, accounts.processed), (10, outage.rows() - 10));
        let late = ask(&archive, "SELECT count(*) AS n FROM dead_letters WHERE reason = 'late'");
        assert_eq!(late, "n\n10\n");
    }
}

#[test]
fn of_a_cut_gzip_file_what_is_readable_is_read() {
    let outage = Outage::new();
    let log = fs::read(outage.file("logs.jsonl")).unwrap();
    fs::remove_file(outage.file("logs.jsonl")).unwrap();
    let cut = outage.file("logs.jsonl.gz");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&log).unwrap();
    let whole = gzip.finish().unwrap();
    fs::write(&cut, &whole[..whole.len() * 3 / 5]).unwrap();
    let readable = readable(&cut);
    let all = log.iter().filter(|b| **b == b'\n').count();
    assert!(readable > 0 && readable < all);
    let others = outage.lines("metrics.csv").len() - 1
        + outage.lines("spans.jsonl").len()
        + lines(&outage.file("changes.jsonl")).len();
    let archives = TempDir::new().unwrap();
    let archive = archives.path().join("archive");
    let accounts = Accounts::read(&replay(outage.path(), &archive, &[]));
    assert_eq!((accounts.processed, accounts.dead), (others + readable, 1));
    let letter = ask(&archive, "SELECT file, line, reason FROM dead_letters");
    assert_eq!(letter, format!("file,line,reason\nlogs.jsonl.gz,{},damaged\n", readable + 1));
}

/// Whole lines that come out of a damaged file.
fn readable(path: &Path) -> usize {
    let mut decoder = MultiGzDecoder::new(File::open(path).unwrap());
    let (mut lines, mut block) = (0, [0; 4096]);
    while let Ok(n @ 1..) = decoder.read(&mut block) {
        lines += block[..n].iter().filter(|b| **b == b'\n').count();
    }
    lines
}
