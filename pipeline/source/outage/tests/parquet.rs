use std::fs::File;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, StringArray, TimestampNanosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

use super::*;
use crate::model::{MINUTE, SECOND};

const START: Nanos = 1_714_521_600 * SECOND;

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, group_rows: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn text(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Metrics of `rows` rows, a minute apart, over 3 services.
fn metrics(rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let ts = (0..rows as i64).map(|i| START + i / 3 * MINUTE);
    vec![
        ("ts", Arc::new(TimestampNanosecondArray::from_iter_values(ts)) as ArrayRef),
        ("service", text((0..rows).map(|i| format!("s{}", i % 3)))),
        ("instance", text((0..rows).map(|i| format!("s{}-0", i % 3)))),
        ("metric", text((0..rows).map(|_| "cpu".to_owned()))),
        ("value", Arc::new(Float64Array::from_iter_values((0..rows).map(|i| i as f64)))),
    ]
}

fn expected(rows: usize) -> Vec<String> {
    let row = |i: usize| {
        let ts = super::super::super::timestamp::format(START + (i / 3) as i64 * MINUTE);
        format!("0 metrics: {}|main|s{}|s{}-0|cpu||{:?}", &ts[..19], i % 3, i % 3, i as f64)
    };
    (0..rows).map(row).collect()
}

#[test]
fn every_type_of_text_and_time_gives_the_same_rows() {
    let texts = [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::LargeUtf8)),
    ];
    let zone = Some(Arc::from("+00:00"));
    let times = [
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
        DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Int64,
        DataType::Utf8,
    ];
    for (i, time) in times.iter().enumerate() {
        let kind = &texts[i % texts.len()];
        let mut columns = metrics(20);
        columns[0].1 = cast(&columns[0].1, time).unwrap();
        for column in &mut columns[1..4] {
            column.1 = cast(&column.1, kind).unwrap();
        }
        let dir = TempDir::new().unwrap();
        write(&dir.path().join("metrics/a.parquet"), columns, 7);
        for batch_rows in [1, 5, 8192] {
            let reading = read(dir.path(), batch_rows);
            assert_eq!(reading.rows, expected(20), "{time} {kind} {batch_rows}");
            assert!(reading.dead.is_empty());
        }
    }
}

#[test]
fn a_new_dictionary_keeps_the_series() {
    // Every row group has a dictionary of its own, in another order.
    let dir = TempDir::new().unwrap();
    write(&dir.path().join("metrics/a.parquet"), metrics(300), 50);
    let mut outage = Outage::open(dir.path(), 97, "main").unwrap();
    let mut registries = Registries::new(1000);
    while let Next::Chunk(_) = outage.next(&mut registries).unwrap() {}
    assert_eq!(registries.get(Stream::Metrics).len(), 3);
    assert_eq!(read(dir.path(), 97).rows, expected(300));
}

#[test]
fn bad_rows_become_dead_letters_with_their_number() {
    let mut columns = metrics(8);
    let at = |i: i64| Some(START + i * MINUTE);
    let ts = vec![at(0), None, Some(-5), at(3), at(4), at(5), at(6), at(7)];
    columns[0].1 = Arc::new(Int64Array::from(ts));
    let nan = f32::NAN;
    let values = [
        Some(1.0),
        Some(1.0),
        Some(1.0),
        Some(nan),
        None,
        Some(f32::INFINITY),
        Some(2.0),
        Some(3.0),
    ];
    columns[4].1 = Arc::new(Float32Array::from(values.to_vec()));
    let names = [
        Some("cpu"),
        Some("cpu"),
        Some("cpu"),
        Some("cpu"),
        Some("cpu"),
        Some("cpu"),
        None,
        Some("cpu"),
    ];
    columns[3].1 = Arc::new(StringArray::from(names.to_vec()));
    let dir = TempDir::new().unwrap();
    write(&dir.path().join("metrics/a.parquet"), columns, 5);
    for batch_rows in [1, 3, 100] {
        let reading = read(dir.path(), batch_rows);
        use DeadReason::*;
        assert_eq!(
            reading.reasons(),
            [
                (2, MissingField),
                (3, BadTimestamp),
                (4, BadValue),
                (5, MissingField),
                (6, BadValue),
                (7, MissingField)
            ]
        );
        assert_eq!(reading.rows.len(), 2);
        assert!(reading.dead[1].text.contains("instance=s2-0"), "{}", reading.dead[1].text);
        assert_eq!(reading.dead[0].file, "metrics/a.parquet");
    }
}

#[test]
fn logs_spans_and_changes_have_their_columns() {
    let dir = TempDir::new().unwrap();
    let ts = || Arc::new(Int64Array::from(vec![START, START + 1])) as ArrayRef;
    let pair = |a: &str, b: &str| text([a.to_owned(), b.to_owned()]);
    let bytes = arrow::array::BinaryArray::from(vec![&b"caf\xe9"[..], &b"\x1b[0m"[..]]);
    write(
        &dir.path().join("logs/a.parquet"),
        vec![
            ("ts", ts()),
            ("service", pair("a", "b")),
            ("severity", pair("err", "debug")),
            ("body", Arc::new(bytes)),
            ("template", pair("x", "y")),
            ("added_by_exporter", pair("1", "2")),
        ],
        10,
    );
    write(
        &dir.path().join("spans/a.parquet"),
        vec![
            ("ts", ts()),
            ("service", pair("a", "b")),
            ("operation", pair("GET", "PUT")),
            ("span_id", Arc::new(Int64Array::from(vec![7, 8]))),
            ("duration_us", Arc::new(Int64Array::from(vec![5, -1]))),
        ],
        10,
    );
    write(
        &dir.path().join("changes/a.parquet"),
        vec![("ts", ts()), ("service", pair("a", "b")), ("kind", pair("deploy", "scale"))],
        10,
    );
    let reading = read(dir.path(), 10);
    assert_eq!(
        reading.rows,
        [
            "0 logs: 2024-05-01T00:00:00|main|a||ERROR|caf\\xe9||||",
            "0 logs: 2024-05-01T00:00:00.000000001|main|b||DEBUG|\\x1b[0m||||",
            "1 spans: 2024-05-01T00:00:00|main|a||GET|||7|||5",
            "2 changes: 2024-05-01T00:00:00|main|a|deploy|||",
            "2 changes: 2024-05-01T00:00:00.000000001|main|b|scale|||",
        ]
    );
    assert_eq!(reading.reasons(), [(2, DeadReason::BadValue)]);
}

#[test]
fn files_in_sequence_are_read_in_sequence() {
    let dir = TempDir::new().unwrap();
    for (name, hours) in [("b", 0), ("a", 2), ("c", 1)] {
        let mut columns = metrics(9);
        let ts = (0..9).map(|i| START + hours * 60 * MINUTE + i * MINUTE);
        columns[0].1 = Arc::new(Int64Array::from_iter_values(ts));
        write(&dir.path().join(format!("metrics/{name}.parquet")), columns, 100);
    }
    let mut outage = Outage::open(dir.path(), 4, "main").unwrap();
    let mut registries = Registries::new(10);
    let mut order = Vec::new();
    while let Next::Chunk(chunk) = outage.next(&mut registries).unwrap() {
        let reached = chunk.reached.map(|ts| (ts - START) / MINUTE);
        order.push((chunk.partition, chunk.last, reached));
    }
    let t = true;
    let f = false;
    assert_eq!(
        order,
        [
            (1, f, Some(0)),
            (1, f, Some(4)),
            (1, t, Some(8)),
            (2, f, Some(60)),
            (2, f, Some(64)),
            (2, t, Some(68)),
            (0, f, Some(120)),
            (0, f, Some(124)),
            (0, t, Some(128)),
        ]
    );
}

#[test]
fn a_damaged_row_group_costs_only_itself() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("metrics/a.parquet");
    write(&path, metrics(90), 30);
    let mut bytes = fs::read(&path).unwrap();
    // The first pages lie right behind the magic number.
    bytes[4..24].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let reading = read(dir.path(), 8192);
    assert_eq!(reading.rows, expected(90)[30..]);
    assert_eq!(reading.reasons(), [(1, DeadReason::Damaged)]);
    assert_eq!(reading.dead[0].rows, 30);
}

#[test]
fn wrong_columns_are_refused_before_anything_is_read() {
    let cases: [(Vec<(&str, ArrayRef)>, &str); 3] = [
        (
            metrics(3)[..4].to_vec(),
            "column `value` is missing: a file of metrics has the columns ts, service",
        ),
        (
            [metrics(3), vec![("lables", text(vec!["x".to_owned(); 3]))]].concat(),
            "unknown column `lables`",
        ),
        (
            [metrics(3)[..4].to_vec(), vec![("value", text(vec!["x".to_owned(); 3]))]].concat(),
            "column `value` cannot be of type Utf8",
        ),
    ];
    for (columns, words) in cases {
        let dir = TempDir::new().unwrap();
        write(&dir.path().join("metrics/a.parquet"), columns, 10);
        let message = refusal(dir.path());
        assert!(message.contains(words), "{message}");
    }
}
