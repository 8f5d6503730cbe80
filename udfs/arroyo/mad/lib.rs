//! `mad(value)` for Arroyo: the statistic is the native one, compiled from the same file.

#[path = "../../src/mad.rs"]
pub mod mad;
#[path = "../../src/quantile.rs"]
pub mod quantile;

use arroyo_udf_plugin::udf;

/// Median absolute deviation of a group; nulls are left out.
#[udf]
fn mad(values: Vec<Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().flatten().collect();
    mad::mad(&values)
}
