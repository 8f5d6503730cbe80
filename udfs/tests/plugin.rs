//! Plugins built from `udfs/arroyo` give, through SQL, exactly the values of the native functions.
//!
//! The libraries are built with their own lockfile into this workspace's target directory, once;
//! the first time takes a minute or two and may need the registry.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    StringViewArray,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::prelude::{SessionConfig, SessionContext};
use faultline_udfs::error::Error;
use faultline_udfs::iqr::iqr;
use faultline_udfs::mad::mad;
use faultline_udfs::plugin::Plugin;
use faultline_udfs::theil_sen::theil_sen;
use faultline_udfs::window_score::window_score;
use proptest::prelude::*;

/// Tests run in the folder of their package, wherever the binary was built.
const WORKSPACE: &str = "arroyo";
const STATISTICS: [&str; 4] = ["mad", "iqr", "theil_sen", "window_score"];
const SECOND: i64 = 1_000_000_000;

/// Where the libraries lie.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("arroyo");
    let status = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["build", "--workspace", "--release", "--locked", "--quiet", "--target-dir"])
        .arg(&target)
        .current_dir(WORKSPACE)
        .status()
        .unwrap();
    assert!(status.success(), "building the plugins in {WORKSPACE} failed");
    target.join("release")
});

fn library(name: &str) -> PathBuf {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    BUILT.join(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"))
}

fn source(name: &str) -> String {
    let folder = if STATISTICS.contains(&name) { "" } else { "fixtures/" };
    std::fs::read_to_string(format!("{WORKSPACE}/{folder}{name}/lib.rs")).unwrap()
}

fn load(library: &Path, source: &str) -> std::result::Result<Plugin, Error> {
    // SAFETY: the libraries here are this repository's own, or are refused before they run.
    unsafe { Plugin::load(library, source) }
}

/// A session with one thread, one partition, the table `t` of these batches and these plugins.
fn session(plugins: &[&str], batches: Vec<RecordBatch>) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for name in plugins {
        load(&library(name), &source(name)).unwrap().register(&context);
    }
    let table = MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    context
}

/// The rows of `sql`. A plan over one partition in memory never waits, so it needs no runtime.
fn query(context: &SessionContext, sql: &str) -> Result<RecordBatch> {
    let mut rows = std::pin::pin!(async {
        let batches = context.sql(sql).await?.collect().await?;
        Ok(arrow::compute::concat_batches(&batches[0].schema(), &batches)?)
    });
    loop {
        if let Poll::Ready(rows) = rows.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return rows;
        }
    }
}

/// The label of the crate's error that `sql` ends with.
fn label(context: &SessionContext, sql: &str) -> &'static str {
    let error = query(context, sql).unwrap_err();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<Error>() {
            return error.label();
        }
        cause = inner.source();
    }
    panic!("not an error of this crate: {error}");
}

type Row = (i64, Option<i64>, Option<f64>);

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 3] = [
        ("g", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("ts", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1)))),
        ("v", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2)))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

/// Checks the statistics per group against the native functions, bit for bit.
fn check_groups(batches: Vec<RecordBatch>, rows: &[Row]) {
    let context = session(&STATISTICS, batches);
    let sql = "SELECT g, mad(v), iqr(v), theil_sen(ts, v), window_score(ts, v)
               FROM t GROUP BY g ORDER BY g";
    let found = query(&context, sql).unwrap();
    let groups = found.column(0).as_primitive::<Int64Type>();
    for (row, group) in groups.values().iter().enumerate() {
        let rows = || rows.iter().filter(|row| row.0 == *group);
        let values: Vec<f64> = rows().filter_map(|row| row.2).collect();
        let (times, trend): (Vec<i64>, Vec<f64>) =
            rows().filter_map(|row| row.1.zip(row.2)).unzip();
        let timed = [theil_sen(&times, &trend), window_score(&times, &trend)];
        let expected = [mad(&values), iqr(&values), timed[0], timed[1]];
        for (column, expected) in found.columns()[1..].iter().zip(expected) {
            let column = column.as_primitive::<Float64Type>();
            let value = column.is_valid(row).then(|| column.value(row).to_bits());
            assert_eq!(value, expected.map(f64::to_bits), "group {group}");
        }
    }
}

const ROWS: [Row; 12] = [
    (1, Some(0), Some(1.0)),
    (1, Some(SECOND), Some(2.5)),
    (2, Some(0), None),
    (1, Some(3 * SECOND), None),
    (1, None, Some(-7.0)),
    (3, Some(SECOND), Some(4.0)),
    (1, Some(2 * SECOND), Some(9.0)),
    (2, Some(SECOND), None),
    (4, Some(5), Some(f64::NAN)),
    (4, Some(SECOND), Some(1.25)),
    (4, Some(2 * SECOND), Some(f64::INFINITY)),
    (4, Some(0), Some(0.1)),
];

#[test]
fn aggregates_equal_the_native_functions() {
    check_groups(vec![batch(&ROWS)], &ROWS);
}

#[test]
fn sliced_batches_give_only_their_own_rows() {
    let whole = batch(&ROWS);
    check_groups(vec![whole.slice(1, 4), whole.slice(6, 5)], &[&ROWS[1..5], &ROWS[6..11]].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_batches_give_the_native_values(
        rows in prop::collection::vec(
            (0i64..4, prop::option::of(0i64..100), prop::option::of(-1e6..1e6f64)), 1..120),
        cut in 0.0..1.0f64,
    ) {
        let cut = (rows.len() as f64 * cut) as usize;
        let whole = batch(&rows);
        check_groups(vec![whole.slice(0, cut), whole.slice(cut, rows.len() - cut)], &rows);
    }
}

#[test]
fn an_empty_group_is_what_the_native_function_says() {
    let context = session(&STATISTICS, vec![batch(&ROWS)]);
    for sql in [
        "SELECT mad(v), iqr(v), theil_sen(ts, v), window_score(ts, v) FROM t WHERE g > 9",
        "SELECT mad(v) FILTER (WHERE v > 99), mad(NULL), iqr(NULL) FROM t",
    ] {
        let found = query(&context, sql).unwrap();
        assert_eq!(found.num_rows(), 1);
        assert!(found.columns().iter().all(|column| column.is_null(0)), "{found:?}");
    }
}

#[test]
fn values_are_cast_to_the_declared_type() {
    let context = session(&["mad"], vec![batch(&ROWS)]);
    let found = query(&context, "SELECT mad(x) FROM (VALUES (1), (2), (4), (8)) AS n (x)").unwrap();
    assert_eq!(found.column(0).as_primitive::<Float64Type>().value(0), 1.5);
}

/// One service name in the three layouts that strings come in.
fn names() -> RecordBatch {
    let names = [Some("api"), None, Some("db"), Some("é")];
    let columns: [(&str, ArrayRef); 4] = [
        ("plain", Arc::new(StringArray::from_iter(names))),
        ("view", Arc::new(StringViewArray::from_iter(names))),
        ("dictionary", Arc::new(DictionaryArray::<Int32Type>::from_iter(names))),
        ("code", Arc::new(Int64Array::from(vec![Some(7), Some(8), None, Some(9)]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn scalars_take_every_layout_of_strings() {
    let whole = names();
    let context = session(&["describe"], vec![whole.slice(0, 1), whole.slice(1, 3)]);
    for column in ["plain", "view", "dictionary"] {
        let found = query(&context, &format!("SELECT describe({column}, code, 0.5) FROM t"));
        let found = found.unwrap();
        let values: Vec<Option<&str>> = found.column(0).as_string::<i32>().iter().collect();
        assert_eq!(values, [Some("api:7:0.5"), None, None, Some("é:9:0.5")], "{column}");
    }
}

#[test]
fn scalars_take_literals_and_no_rows() {
    let context = session(&["describe"], vec![names()]);
    let found = query(&context, "SELECT describe('x', 1, 2.0), describe(NULL, 1, 2.0)").unwrap();
    assert_eq!(found.column(0).as_string::<i32>().value(0), "x:1:2");
    assert!(found.column(1).is_null(0));
    let sql = "SELECT count(describe(plain, code, 1.0)) FROM t WHERE code > 99";
    assert_eq!(query(&context, sql).unwrap().column(0).as_primitive::<Int64Type>().value(0), 0);
}

#[test]
fn a_panic_ends_the_query_and_nothing_else() {
    let context = session(&["describe", "total"], vec![names()]);
    assert_eq!(label(&context, "SELECT describe(plain, -code, 0.5) FROM t"), "plugin_panic");
    assert_eq!(label(&context, "SELECT total(code) FROM t WHERE code > 99"), "plugin_panic");
    let found = query(&context, "SELECT total(code) FROM t").unwrap();
    assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 24);
}

#[test]
fn aggregates_refuse_what_they_would_get_wrong() {
    let context = session(&["mad"], vec![batch(&ROWS)]);
    for (sql, message) in [
        ("SELECT mad(DISTINCT v), mad(DISTINCT ts) FROM t", "distinct rows in a subquery"),
        ("SELECT mad(v ORDER BY ts) FROM t", "pass the sort key as an argument"),
        ("SELECT mad('x'), mad(v, v) FROM t", "mad"),
    ] {
        let error = query(&context, sql).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_library_that_does_not_fit_its_source_is_an_error() {
    let context = session(&[], vec![batch(&ROWS)]);
    let lies = [
        ("#[udf] fn f(a: Vec<i64>) -> f64 { 0.0 }", "mad", "SELECT f(ts) FROM t", "plugin_panic"),
        ("#[udf] fn f(a: Vec<f64>) -> i64 { 0 }", "mad", "SELECT f(v) FROM t", "plugin_result"),
        ("#[udf] fn f(a: i64) -> i64 { a }", "total", "SELECT f(g) FROM t", "plugin_result"),
    ];
    for (source, name, sql, expected) in lies {
        load(&library(name), source).unwrap().register(&context);
        assert_eq!(label(&context, sql), expected, "{source}");
    }
}

#[test]
fn what_is_no_plugin_is_not_loaded() {
    let source = source("mad");
    let label = |path: &Path| load(path, &source).unwrap_err().label();
    assert_eq!(label(Path::new("no_such_library.so")), "plugin_file");
    assert_eq!(label(&Path::new(WORKSPACE).join("Cargo.toml")), "plugin_load");
    assert_eq!(load(&library("mad"), "fn f() {}").unwrap_err().label(), "udf_count");
}
