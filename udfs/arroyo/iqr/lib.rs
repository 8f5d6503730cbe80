//! `iqr(value)` for Arroyo: the statistic is the native one, compiled from the same file.

#[path = "../../src/iqr.rs"]
pub mod iqr;
#[path = "../../src/quantile.rs"]
pub mod quantile;

use arroyo_udf_plugin::udf;

/// Interquartile range of a group; nulls are left out.
#[udf]
fn iqr(values: Vec<Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().flatten().collect();
    iqr::iqr(&values)
}
