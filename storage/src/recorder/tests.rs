use super::*;
use arrow::array::TimestampNanosecondArray;
use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
use proptest::prelude::*;
use std::sync::Arc;

use crate::checkpoint::CheckpointStore;

const SECOND: i64 = 1_000_000_000;
const TABLES: [&str; 3] = ["a", "b-c", "d"];

/// Seconds and text of each row.
fn batch(rows: &[(i64, String)]) -> RecordBatch {
    let ts = TimestampNanosecondArray::from_iter_values(rows.iter().map(|r| r.0 * SECOND));
    let text = StringArray::from_iter_values(rows.iter().map(|r| &r.1));
    let columns: [(_, ArrayRef); 2] =
        [("ts", Arc::new(ts.with_timezone("UTC"))), ("text", Arc::new(text))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn push(recorder: &mut Recorder, table: &str, seconds: &[i64]) {
    let rows: Vec<_> = seconds.iter().map(|s| (*s, "text".to_owned())).collect();
    recorder.push(table, batch(&rows)).unwrap();
}

/// What is kept of a table between two seconds, in order.
fn kept(recorder: &Recorder, table: &str, from: i64, to: i64) -> Vec<(i64, String)> {
    let mut rows = Vec::new();
    for slice in recorder.slice(table, from * SECOND, to * SECOND).unwrap() {
        let seconds = slice.column(0).as_primitive::<TimestampNanosecondType>();
        let texts = slice.column(1).as_string::<i32>();
        let row = |i| (seconds.value(i) / SECOND, texts.value(i).to_owned());
        rows.extend((0..slice.num_rows()).map(row));
    }
    rows
}

fn all(recorder: &Recorder) -> [Vec<(i64, String)>; 3] {
    TABLES.map(|table| kept(recorder, table, 0, 1_000_000))
}

#[test]
fn a_dictionary_is_not_part_of_a_row() {
    let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100_000)]));
    let keys = DictionaryArray::new(Int32Array::from(vec![0; 8]), values);
    let columns: [(_, ArrayRef); 1] = [("k", Arc::new(keys))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    assert_eq!(logical_bytes("t", &batch).unwrap(), 32);
}

#[test]
fn a_dictionary_that_grows_is_kept_once() {
    let mut recorder = Recorder::new(usize::MAX, i64::MAX, "ts");
    for i in 0..300 {
        let ts = TimestampNanosecondArray::from(vec![i64::from(i) * SECOND; 2]);
        let values = StringArray::from_iter_values((0..=i).map(|n| format!("series {n}")));
        let keys = DictionaryArray::new(Int32Array::from(vec![i, i / 2]), Arc::new(values));
        let columns: [(_, ArrayRef); 2] = [("ts", Arc::new(ts)), ("k", Arc::new(keys))];
        recorder.push("t", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        recorder.advance(i64::from(i) * SECOND).unwrap();
    }
    let batches = recorder.slice("t", 0, i64::MAX).unwrap();
    let values = batches.iter().map(|b| b.column(1).as_any_dictionary().values());
    let mut copies: Vec<*const dyn Array> = values.map(Arc::as_ptr).collect();
    copies.dedup_by(|a, b| std::ptr::addr_eq(*a, *b));
    assert_eq!(copies.len(), 2, "one of the slots that are over, one of the present slot");
    for (i, batch) in batches.iter().enumerate() {
        let texts = arrow::compute::cast(batch.column(1), &DataType::Utf8).unwrap();
        let expected = [i, i / 2].map(|n| format!("series {n}"));
        assert_eq!(*texts.as_string::<i32>(), StringArray::from(expected.to_vec()));
    }
}

/// Two columns of text that share keys, of which one does not change.
fn interned(second: i64, key: i32, texts: impl Iterator<Item = String>) -> RecordBatch {
    let ts = TimestampNanosecondArray::from(vec![second * SECOND]);
    let texts = StringArray::from_iter_values(texts);
    let same = StringArray::from(vec!["test"; texts.len()]);
    let column = |values| {
        Arc::new(DictionaryArray::new(Int32Array::from(vec![key]), Arc::new(values))) as ArrayRef
    };
    let columns = [("ts", Arc::new(ts) as ArrayRef), ("c", column(same)), ("k", column(texts))];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn rows_keep_their_texts_when_the_dictionary_becomes_another() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    let mut recorder = Recorder::new(usize::MAX, i64::MAX, "ts");
    let mut expected = Vec::new();
    for (epoch, (generation, length)) in [(1, (0, 90)), (2, (1, 40)), (3, (2, 70)), (4, (0, 100))] {
        for n in 0..length {
            let text = |i: i32| format!("series {i} of {generation}");
            let second = expected.len() as i64;
            expected.push(text(n));
            recorder.push("t", interned(second, n, (0..=n).map(text))).unwrap();
            recorder.advance(second * SECOND).unwrap();
        }
        let parts = recorder.save().unwrap();
        store.write(epoch, "p", &parts, &serde_json::json!(null)).unwrap();
    }
    let mut loaded = Recorder::new(usize::MAX, i64::MAX, "ts");
    loaded.load(&store.latest().unwrap().unwrap()).unwrap();
    for recorder in [recorder, loaded] {
        let mut found = Vec::new();
        for batch in recorder.slice("t", 0, i64::MAX).unwrap() {
            let [same, texts] = [1, 2].map(|column| {
                let texts = arrow::compute::cast(batch.column(column), &DataType::Utf8).unwrap();
                texts.as_string::<i32>().iter().map(|t| t.unwrap().to_owned()).collect::<Vec<_>>()
            });
            assert!(same.iter().all(|text| text == "test"));
            found.extend(texts);
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn a_chatty_table_does_not_push_out_a_quiet_one() {
    let mut recorder = Recorder::new(100_000, i64::MAX, "ts");
    for minute in 0..100 {
        push(&mut recorder, "a", &[60 * minute]);
        push(&mut recorder, "d", &vec![60 * minute + 30; 1_000]);
        recorder.advance(60 * (minute + 1) * SECOND).unwrap();
    }
    let [quiet, _, chatty] = all(&recorder);
    assert_eq!(quiet.len(), 100);
    // 16 bytes a row: the last minutes that fit.
    assert_eq!((chatty.len(), chatty[0].0), (6_000, 94 * 60 + 30));
}

#[test]
fn a_table_that_cannot_be_recorded_is_refused() {
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let timeless = RecordBatch::try_from_iter([("ts", ids)]).unwrap();
    let err = Recorder::new(1, 1, "ts").push("t", timeless).unwrap_err();
    assert!(err.to_string().contains("must be Timestamp(ns)"), "{err}");
    let ts: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1]));
    let none: ArrayRef = Arc::new(arrow::array::NullArray::new(1));
    let odd = RecordBatch::try_from_iter([("ts", ts), ("odd", none)]).unwrap();
    let err = Recorder::new(1, 1, "ts").push("t", odd).unwrap_err();
    assert!(err.to_string().contains("column odd is Null"), "{err}");
}

#[test]
fn a_row_is_written_a_few_times_however_many_checkpoints_there_are() {
    let mut recorder = Recorder::new(usize::MAX, i64::MAX, "ts");
    let (mut written, mut most) = (0, 0);
    for i in 0..1_000 {
        push(&mut recorder, "metrics", &[i]);
        let parts = recorder.save().unwrap();
        most = most.max(parts.len());
        for (_, part) in parts {
            let Part::Batches(batches) = part else { continue };
            written += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        }
    }
    assert!(written <= 10 * 1_000, "{written}");
    assert!(most <= 10, "{most}");
}

/// Rows by time: table, second and text of each.
fn telemetry() -> impl Strategy<Value = Vec<(usize, i64, String)>> {
    let row = (0..3_usize, 0..40_i64, "[a-z]{0,30}");
    prop::collection::vec(row, 1..120).prop_map(|rows| {
        let mut second = 0;
        let mut row = |(table, gap, text)| {
            second += gap;
            (table, second, text)
        };
        rows.into_iter().map(&mut row).collect()
    })
}

/// Pushes rows `size` at a time and advances behind them, and a last time to the end.
fn record(recorder: &mut Recorder, rows: &[(usize, i64, String)], size: usize) {
    for chunk in rows.chunks(size) {
        for (table, name) in TABLES.iter().enumerate() {
            let own = chunk.iter().filter(|r| r.0 == table);
            let own: Vec<_> = own.map(|(_, second, text)| (*second, text.clone())).collect();
            recorder.push(name, batch(&own)).unwrap();
        }
        recorder.advance(chunk[chunk.len() - 1].1 * SECOND).unwrap();
    }
    recorder.advance(1_000_000 * SECOND).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_decide_nothing(
        rows in telemetry(),
        sizes in [1..150_usize, 1..150_usize],
        cap in 0..4_000_usize,
    ) {
        let recorded = |size| {
            let mut recorder = Recorder::new(cap, i64::MAX, "ts");
            record(&mut recorder, &rows, size);
            let bytes: usize = recorder.tables.values().map(|table| table.bytes).sum();
            assert!(bytes <= cap);
            all(&recorder)
        };
        prop_assert_eq!(recorded(sizes[0]), recorded(sizes[1]));
    }

    /// What is lost for want of bytes is the oldest of each table, in whole minutes.
    #[test]
    fn a_table_keeps_its_newest_rows(rows in telemetry(), cap in 0..4_000_usize) {
        let mut recorder = Recorder::new(cap, i64::MAX, "ts");
        record(&mut recorder, &rows, 7);
        for (table, kept) in all(&recorder).into_iter().enumerate() {
            let own = rows.iter().filter(|r| r.0 == table);
            let own: Vec<_> = own.map(|(_, second, text)| (*second, text.clone())).collect();
            prop_assert!(own.ends_with(&kept));
            let lost = &own[..own.len() - kept.len()];
            if let (Some(last), Some(first)) = (lost.last(), kept.first()) {
                prop_assert!(last.0 / 60 < first.0 / 60);
            }
        }
    }

    /// Rows that are young enough are all there, and those between two times are cut out.
    #[test]
    fn slices_hold_exactly_the_rows_between(
        rows in telemetry(),
        horizon in 0..3_000_i64,
        from in 0..3_000_i64,
        width in 0..1_000_i64,
    ) {
        let mut recorder = Recorder::new(usize::MAX, horizon * SECOND, "ts");
        for (table, second, text) in &rows {
            recorder.push(TABLES[*table], batch(&[(*second, text.clone())])).unwrap();
        }
        let now = rows[rows.len() - 1].1 / 60 * 60;
        recorder.advance(now * SECOND).unwrap();
        let to = from + width;
        for (table, name) in TABLES.iter().enumerate() {
            let young = |s: &i64| (s / 60 + 1) * 60 > now - horizon && (from..to).contains(s);
            let own = rows.iter().filter(|r| r.0 == table && young(&r.1));
            let own: Vec<_> = own.map(|(_, second, text)| (*second, text.clone())).collect();
            prop_assert_eq!(kept(&recorder, name, from, to), own);
        }
    }

    /// Checkpoints at any time, each of them restored: the rows that are kept, then and later.
    #[test]
    fn a_checkpoint_restores_what_was_kept(
        rows in telemetry(),
        cuts in prop::collection::vec(10..60_usize, 1..10),
        cap in 0..4_000_usize,
        horizon in 0..3_000_i64,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = CheckpointStore::open(dir.path()).unwrap();
        let new = || Recorder::new(cap, horizon * SECOND, "ts");
        let (mut recorder, mut resumed) = (new(), new());
        let (mut rest, mut cuts) = (rows.as_slice(), cuts.iter().cycle());
        for epoch in 1.. {
            let (part, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            for recorder in [&mut recorder, &mut resumed] {
                for (table, second, text) in part {
                    recorder.push(TABLES[*table], batch(&[(*second, text.clone())])).unwrap();
                }
                recorder.advance(part[part.len() - 1].1 * SECOND).unwrap();
            }
            prop_assert_eq!(all(&resumed), all(&recorder));
            let parts = recorder.save().unwrap();
            store.write(epoch, "p", &parts, &serde_json::json!(null)).unwrap();
            if epoch % 2 == 1 {
                resumed = new();
                resumed.load(&store.latest().unwrap().unwrap()).unwrap();
                prop_assert_eq!(all(&resumed), all(&recorder));
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }
}
