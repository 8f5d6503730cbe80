//! `window_score(ts_ns, value)` for Arroyo: the statistic is the native one, compiled from the same
//! file.

#[path = "../../src/quantile.rs"]
pub mod quantile;
#[path = "../../src/window_score.rs"]
pub mod window_score;

use arroyo_udf_plugin::udf;

/// Score of the latest value of a group; a point with a null on either side is left out.
#[udf]
fn window_score(timestamps: Vec<Option<i64>>, values: Vec<Option<f64>>) -> Option<f64> {
    let (timestamps, values): (Vec<i64>, Vec<f64>) = timestamps
        .into_iter()
        .zip(values)
        .filter_map(|(timestamp, value)| timestamp.zip(value))
        .unzip();
    window_score::window_score(&timestamps, &values)
}
