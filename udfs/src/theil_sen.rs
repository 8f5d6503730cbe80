//! `theil_sen`: robust slope. Standard library only: the Arroyo plugin compiles this file too.

use crate::quantile::quantile;

/// Pairs that enter one estimate at most (4 MiB of slopes): all pairs of 1024 points.
const PAIRS_MAX: usize = 1024 * 1023 / 2;
const NANOS_PER_SECOND: f64 = 1e9;

/// The median of the slopes `(x_j - x_i) / (t_j - t_i)` over all pairs of points with different
/// times, per second; timestamps are in nanoseconds, in any order. Up to 29 % of the points cannot
/// carry it away (Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63,
/// 1968).
///
/// `timestamps[i]` belongs to `values[i]`; what the longer slice has over is not looked at. Only
/// finite values count. `None` when fewer than two times remain.
///
/// Beyond 1024 points the pairs are those whose distance in time order is a multiple of a stride,
/// the smallest that stays within the bound (an incomplete U-statistic, Blom, Biometrika 63, 1976);
/// its limit, points half the series apart, is Theil's own incomplete method. So cost and memory
/// are bounded and the answer does not depend on chance.
pub fn theil_sen(timestamps: &[i64], values: &[f64]) -> Option<f64> {
    let mut points: Vec<(i64, f64)> = timestamps
        .iter()
        .copied()
        .zip(values.iter().copied())
        .filter(|(_, value)| value.is_finite())
        .collect();
    // Values break ties, so that the arrival order of points with equal times cannot show in the
    // answer.
    points.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut slopes = slopes(&points, stride(points.len()));
    quantile(&mut slopes, 0.5)
}

/// Pairs at multiples of a stride `s` are about `n^2 / 2s`.
fn stride(points: usize) -> usize {
    let pairs = points.saturating_mul(points.saturating_sub(1)) / 2;
    pairs.div_ceil(PAIRS_MAX).clamp(1, (points / 2).max(1))
}

fn slopes(points: &[(i64, f64)], stride: usize) -> Vec<f64> {
    let mut slopes = Vec::new();
    for (index, earlier) in points.iter().enumerate() {
        for later in points.iter().skip(index + stride).step_by(stride) {
            let elapsed_ns = later.0.abs_diff(earlier.0);
            if elapsed_ns > 0 {
                slopes.push((later.1 - earlier.1) / (elapsed_ns as f64 / NANOS_PER_SECOND));
            }
        }
    }
    slopes
}

#[cfg(test)]
mod tests {
    use super::{PAIRS_MAX, slopes, stride, theil_sen};
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn is_the_median_slope_per_second() {
        // Slopes: 1 (twice), 3, and from the outlier 10, 14 and 7.5 once each.
        let times = [0, SECOND, 2 * SECOND, 3 * SECOND];
        assert_eq!(theil_sen(&times, &[0.0, 1.0, 2.0, 3.0]), Some(1.0));
        assert_eq!(theil_sen(&times, &[0.0, 1.0, 2.0, 30.0]), Some(5.5));
        assert_eq!(theil_sen(&[0, SECOND / 2], &[1.0, 0.0]), Some(-2.0));
    }

    #[test]
    fn needs_two_different_times_with_finite_values() {
        assert_eq!(theil_sen(&[], &[]), None);
        assert_eq!(theil_sen(&[5], &[1.0]), None);
        assert_eq!(theil_sen(&[5, 5], &[1.0, 2.0]), None);
        assert_eq!(theil_sen(&[0, SECOND], &[f64::NAN, 2.0]), None);
        assert_eq!(theil_sen(&[0, SECOND], &[f64::INFINITY, 2.0]), None);
        assert_eq!(theil_sen(&[0, SECOND, 2 * SECOND], &[1.0, f64::NAN, 2.0]), Some(0.5));
    }

    #[test]
    fn spans_the_whole_range_of_timestamps() {
        assert_eq!(theil_sen(&[i64::MIN, i64::MAX], &[0.0, 0.0]), Some(0.0));
    }

    #[test]
    fn bounds_the_pairs_of_a_long_series() {
        for length in [1024, 1025, 5000] {
            let points: Vec<(i64, f64)> = (0..length).map(|i| (i * SECOND, i as f64)).collect();
            let taken = slopes(&points, stride(points.len())).len();
            assert!((PAIRS_MAX / 3..=PAIRS_MAX).contains(&taken), "{length} points, {taken} pairs");
        }
        let (times, values): (Vec<i64>, Vec<f64>) =
            (0..5000).map(|i| (i * SECOND, if i % 5 == 0 { 1e6 } else { i as f64 * 0.5 })).unzip();
        let slope = theil_sen(&times, &values).unwrap();
        assert!((slope - 0.5).abs() < 0.01, "{slope}");
    }

    proptest! {
        // Small integers keep the arithmetic exact, so the laws hold to the last bit.
        #[test]
        fn adds_a_trend_and_ignores_shift_and_order(
            values in prop::collection::vec(-1000i32..1000, 2..30),
            start in -1_000_000i64..1_000_000,
            trend in -8i32..8,
            shift in -1000i32..1000,
        ) {
            let seconds = 0..values.len() as i32;
            let original: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            let times: Vec<i64> = seconds.clone().map(|s| i64::from(s) * SECOND).collect();
            let (moved_times, moved): (Vec<i64>, Vec<f64>) = seconds
                .rev()
                .map(|s| {
                    let value = values[s as usize] + trend * s + shift;
                    ((i64::from(s) + start) * SECOND, f64::from(value))
                })
                .unzip();
            let expected = theil_sen(&times, &original).map(|slope| slope + f64::from(trend));
            let slope = theil_sen(&moved_times, &moved);
            let equal = slope.zip(expected).is_some_and(|(a, b)| (a - b).abs() < 1e-9);
            prop_assert!(equal, "{:?} {:?}", slope, expected);
        }
    }
}
