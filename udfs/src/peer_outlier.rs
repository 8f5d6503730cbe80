//! Which replicas differ from the rest at one tick.
//!
//! Each replica is compared with the `m` *others*: with three, one can then be told from two, and
//! a wild one does not widen its own scale. `z = |x − median|/σ`, where σ² averages the others'
//! variance (by MAD, by the mean absolute deviation where MAD has too few to choose from) and a
//! prior guess, that replicas of a kind agree within `PRIOR_SHARE` of their median, worth
//! `PRIOR_COUNT` replicas. Such a `z` follows Student's law with about `ν = m − 1 + PRIOR_COUNT`
//! degrees of freedom, whose tail is about `(1 + z²/ν)^(−ν/2)`. `k` is how many scales are worth a
//! score of 3 (one in a thousand) where replicas are many.
//!
//! Sources: leave-one-out Hampel identifier (Hampel, JASA 1974); scaled inverse-χ² prior (Gelman
//! et al.).

use crate::mad::{TO_SIGMA, mad};
use crate::quantile::median;
use crate::verdict::SCORE_MAX;

/// Replicas behind a load balancer usually agree within a tenth.
const PRIOR_SHARE: f64 = 0.1;
const PRIOR_COUNT: f64 = 2.0;
/// Fewer replicas have no majority to differ from.
const REPLICAS_MIN: usize = 3;
/// With fewer others than this their MAD is often near 0 by chance.
const MAD_MIN: usize = 6;
/// `√(π/2)`: mean absolute deviation to standard deviation, for normal values.
const MEAN_TO_SIGMA: f64 = 1.253_314_137_315_5;
/// `√(6·ln 10)`: where the normal limit of the tail above is 10⁻³.
const Z_AT_3: f64 = 3.716_922_188_849_838;

/// −log10 p per replica, in order; all 0 with fewer than three numbers or a `k` that is not
/// positive. NaN gets 0.
pub fn mad_outliers(values: &[f64], k: f64) -> Vec<f64> {
    let finite = values.iter().filter(|v| v.is_finite()).count();
    if finite < REPLICAS_MIN || k.is_nan() || k <= 0.0 {
        return vec![0.0; values.len()];
    }
    let score = |i: usize| if values[i].is_finite() { mad_outlier(values, i, k) } else { 0.0 };
    (0..values.len()).map(score).collect()
}

/// −log10 p of the replica at `i`, as [`mad_outliers`] has it.
pub(crate) fn mad_outlier(values: &[f64], i: usize, k: f64) -> f64 {
    let others = values.iter().enumerate().filter(|(j, o)| *j != i && o.is_finite());
    let others: Vec<f64> = others.map(|(_, o)| *o).collect();
    if others.len() + 1 < REPLICAS_MIN { 0.0 } else { against(values[i], &others, k) }
}

fn against(v: f64, others: &[f64], k: f64) -> f64 {
    let Some(centre) = median(others) else {
        return 0.0;
    };
    let distance = (v - centre).abs();
    if distance == 0.0 {
        return 0.0;
    }
    let m = others.len() as f64;
    let sigma = if others.len() < MAD_MIN {
        MEAN_TO_SIGMA * others.iter().map(|o| (o - centre).abs()).sum::<f64>() / m
    } else {
        TO_SIGMA * mad(others).unwrap_or(0.0)
    };
    let prior = PRIOR_SHARE * centre.abs();
    let variance = (m * sigma * sigma + PRIOR_COUNT * prior * prior) / (m + PRIOR_COUNT);
    let z = Z_AT_3 / k * distance / variance.sqrt();
    let degrees = m - 1.0 + PRIOR_COUNT;
    (degrees / 2.0 * (z * z / degrees).ln_1p() / std::f64::consts::LN_10).min(SCORE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Rng;

    #[test]
    fn one_of_three_stands_out_and_the_others_do_not() {
        let out = mad_outliers(&[10.0, 10.1, 50.0], 6.0);
        assert!(out[2] > 3.0 && out[0] < 1.0 && out[1] < 1.0, "{out:?}");
        let out = mad_outliers(&[10.0, 10.1, 9.9, 10.2, 2.0], 5.0);
        assert!(out[4] > 3.0 && out[..4].iter().all(|s| *s < 1.0), "{out:?}");
    }

    #[test]
    fn replicas_of_a_kind_rarely_stand_out() {
        for n in [3, 4, 8, 30] {
            let mut alarms = 0;
            for seed in 0..2_000 {
                let mut rng = Rng(seed);
                let values: Vec<f64> = (0..n).map(|_| 100.0 + rng.normal() * 10.0).collect();
                alarms += mad_outliers(&values, 6.0).iter().filter(|s| **s >= 3.0).count();
            }
            let share = alarms as f64 / (2_000 * n) as f64;
            assert!(share < 3e-3, "{n}: {share}");
        }
    }

    #[test]
    fn flat_few_or_absent_data_is_safe() {
        assert_eq!(mad_outliers(&[5.0; 8], 6.0), [0.0; 8]);
        assert_eq!(mad_outliers(&[1.0, 9.0], 6.0), [0.0; 2]);
        assert_eq!(mad_outliers(&[f64::NAN, 1.0, 9.0], 6.0), [0.0; 3]);
        assert_eq!(mad_outliers(&[], 6.0), [0.0; 0]);
        assert_eq!(mad_outliers(&[0.0, 0.0, 0.0, 7.0], 6.0)[3], SCORE_MAX);
        let flat = mad_outliers(&[5.0, 5.0, 5.0, 5.001], 6.0);
        assert!(flat.iter().all(|s| *s < 1.0), "{flat:?}");
    }
}
