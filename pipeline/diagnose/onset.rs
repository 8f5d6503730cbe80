//! When a series began to deviate: a back-dated change point by CUSUM.
//!
//! Page's one-sided sums (Biometrika 1954) in units of the baseline's spread, with the usual
//! allowance of half a unit. The change is dated to where the sum that raised the alarm last left
//! zero, not to when it crossed the limit.

/// Reference value in units of spread.
const ALLOWANCE: f64 = 0.5;
/// Decision limit in units of spread: an average run of some hundreds of samples when in control.
const LIMIT: f64 = 5.0;

/// Time of the change in `points` (time order), or `None` if the sums stay in control or the
/// change came before the first of them. `up` tells
/// the direction to look for.
pub fn onset(points: &[(i64, f64)], centre: f64, spread: f64, up: bool) -> Option<i64> {
    let mut sum = 0.0;
    let mut since = None;
    for &(ts, value) in points {
        let z = (value - centre) / spread;
        let step = if up { z } else { -z } - ALLOWANCE;
        sum = f64::max(0.0, sum + step);
        if sum == 0.0 {
            since = None;
        } else if since.is_none() {
            since = Some(ts);
        }
        if sum > LIMIT {
            // What deviates from the first sample on began at an unknown time before.
            return since.filter(|at| points.first().is_some_and(|p| p.0 < *at));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_is_dated_back() {
        let points: Vec<(i64, f64)> =
            (0..20).map(|i| (i, if i < 10 { 0.0 } else { 2.0 })).collect();
        assert_eq!(onset(&points, 0.0, 1.0, true), Some(10));
        assert_eq!(onset(&points, 0.0, 1.0, false), None);
        assert_eq!(onset(&points[10..], 0.0, 1.0, true), None);
    }
}
