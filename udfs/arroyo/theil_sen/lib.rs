//! `theil_sen(ts_ns, value)` for Arroyo: the statistic is the native one, compiled from the same
//! file.

#[path = "../../src/quantile.rs"]
pub mod quantile;
#[path = "../../src/theil_sen.rs"]
pub mod theil_sen;

use arroyo_udf_plugin::udf;

/// Theil-Sen slope per second of a group; a point with a null on either side is left out.
///
/// The elements are `Option`, because nulls of a plain `Vec` are dropped per column and the columns
/// would no longer line up. The timestamps travel along because the engine does not promise an
/// order of values.
#[udf]
fn theil_sen(timestamps: Vec<Option<i64>>, values: Vec<Option<f64>>) -> Option<f64> {
    let (timestamps, values): (Vec<i64>, Vec<f64>) = timestamps
        .into_iter()
        .zip(values)
        .filter_map(|(timestamp, value)| timestamp.zip(value))
        .unzip();
    theil_sen::theil_sen(&timestamps, &values)
}
