//! Replicas of one service that differ from the rest at one tick.
//!
//! DBSCAN decides which values lie outside the main cluster; its epsilon is set here from the
//! robust spread of the values, because one spike would shift an epsilon taken from their range.
//! The leave-one-out score of [`crate::peer_outlier`] says how surprising each of them is.

use augurs::outlier::{DbscanDetector, OutlierDetector};

use crate::mad::TO_SIGMA;
use crate::peer_outlier::mad_outlier;
use crate::quantile::median;

/// Scales between neighbours that still belong together.
const EPSILON_SCALES: f64 = 3.0;

/// Least epsilon as a share of the median: closer replicas are the same to an operator.
const EPSILON_SHARE: f64 = 0.05;

/// −log10 p of each value that lies outside the main cluster, 0 for the others and for NaN.
pub fn peer_outlier(values: &[f64]) -> Vec<f64> {
    let finite: Vec<usize> = (0..values.len()).filter(|i| values[*i].is_finite()).collect();
    let mut scores = vec![0.0; values.len()];
    // Each is compared with all others, so only those are that count.
    for i in outside_main_cluster(values, &finite) {
        scores[i] = mad_outlier(values, i, EPSILON_SCALES);
    }
    scores
}

fn outside_main_cluster(values: &[f64], finite: &[usize]) -> Vec<usize> {
    let present: Vec<f64> = finite.iter().map(|i| values[*i]).collect();
    let Some(centre) = median(&present) else { return Vec::new() };
    let distances: Vec<f64> = present.iter().map(|v| (v - centre).abs()).collect();
    let spread = TO_SIGMA * median(&distances).unwrap_or(0.0);
    let epsilon = (EPSILON_SCALES * spread).max(EPSILON_SHARE * centre.abs());
    if epsilon <= 0.0 {
        return finite.iter().copied().filter(|i| values[*i] != centre).collect();
    }
    let series: Vec<Vec<f64>> = present.iter().map(|v| vec![*v]).collect();
    let slices: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
    let detector = DbscanDetector::with_epsilon(epsilon);
    let found = detector.preprocess(&slices).and_then(|data| detector.detect(&data));
    // Too few replicas for a cluster: none of them is an outlier.
    found.map_or_else(|_| Vec::new(), |o| o.outlying_series.iter().map(|i| finite[*i]).collect())
}

#[cfg(test)]
mod tests {
    use super::peer_outlier;

    #[test]
    fn the_one_that_differs_is_found_whatever_the_unit() {
        for unit in [1e-6, 1.0, 1e9] {
            let values = [10.0, 10.4, 9.8, 31.0, 10.1].map(|v| v * unit);
            let scores = peer_outlier(&values);
            assert!(scores[3] > 3.0, "{scores:?}");
            assert!(scores.iter().enumerate().all(|(i, s)| i == 3 || *s == 0.0), "{scores:?}");
        }
    }

    #[test]
    fn equal_few_or_missing_replicas_are_quiet() {
        for values in [vec![], vec![1.0], vec![1.0, 9.0], vec![5.0; 6], vec![f64::NAN; 4]] {
            assert!(peer_outlier(&values).iter().all(|s| *s == 0.0), "{values:?}");
        }
        assert_eq!(peer_outlier(&[1.0, f64::NAN, 1.0, 1.01])[1], 0.0);
    }
}
