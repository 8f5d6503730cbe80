//! `window_score`: the metric detector's question for engines that keep no state between windows.
//! Standard library only: the Arroyo plugin compiles this file too.

use crate::quantile::quantile;

/// Earlier values below which nothing is said.
const EARLIER_MIN: usize = 16;

/// Share of the earlier values that shape the tail.
const TAIL: f64 = 0.1;

/// Least mean excess over the threshold, in units of scale: a tail made of ties claims no more
/// than a light one. That of a normal distribution beyond its upper tenth is 0.42.
const EXCESS_MIN: f64 = 0.25;

/// Largest score, that of `verdict.rs`, which the plugin does not compile.
const SCORE_MAX: f64 = 30.0;

/// Score of the latest value of a window, −log10 of its tail probability under the earlier ones;
/// timestamps are in nanoseconds, in any order.
///
/// With the median `m` of the `n` earlier values and the scale
/// `s = max(IQR/1.349, (p95 − p05)/3.29, 10⁻³·|m|)`, deviations are `d = |x − m|/s`. Those of the
/// earlier values beyond their `k`-th largest, `k = ⌈n/10⌉`, are taken for exponential with mean
/// `β` (peaks over threshold, Pickands 1975). A further deviation that exceeds the threshold by `y`
/// then has the predictive probability
///
/// ```text
/// p = (k + 1)/(n + 1) · (1 + y/(kβ))^−k
/// ```
///
/// where the power instead of the exponential is what not knowing `β` costs (Jeffreys' prior); one
/// below the threshold has its rank. The score is at most 30 and always finite. Values that share
/// the latest time count as their median. Only finite values count; `None` with fewer than 16
/// earlier ones. Earlier values that are all the same have no scale unless they are not zero, and
/// then only rank counts.
pub fn window_score(timestamps: &[i64], values: &[f64]) -> Option<f64> {
    let points = || timestamps.iter().zip(values).filter(|(_, value)| value.is_finite());
    let latest = *points().map(|(ts, _)| ts).max()?;
    let (mut now, mut earlier) = (Vec::new(), Vec::new());
    points().for_each(|(ts, value)| match *ts == latest {
        true => now.push(*value),
        false => earlier.push(*value),
    });
    if earlier.len() < EARLIER_MIN {
        return None;
    }
    let x = quantile(&mut now, 0.5)?;
    let m = quantile(&mut earlier, 0.5)?;
    let mut width = |low, high| Some(quantile(&mut earlier, high)? - quantile(&mut earlier, low)?);
    let scale = (width(0.25, 0.75)? / 1.349).max(width(0.05, 0.95)? / 3.29).max(1e-3 * m.abs());
    let mut deviations: Vec<f64> = earlier.iter().map(|value| (value - m).abs()).collect();
    deviations.sort_unstable_by(|a, b| b.total_cmp(a));
    Some(surprise((x - m).abs(), scale, &deviations).min(SCORE_MAX))
}

/// −log10 of the probability of a deviation of at least `d`, given earlier ones in descending
/// order. Taken from the logarithm itself: the probability may be too small for a float.
fn surprise(d: f64, scale: f64, deviations: &[f64]) -> f64 {
    let n = deviations.len() as f64;
    let k = (n * TAIL).ceil() as usize;
    let threshold = deviations[k];
    if d <= threshold || scale <= 0.0 {
        let rank = deviations.iter().filter(|earlier| **earlier >= d).count();
        return ((n + 1.0) / (rank as f64 + 1.0)).log10();
    }
    let peaks = k as f64;
    let excess = deviations[..k].iter().map(|peak| peak - threshold).sum::<f64>() / peaks;
    let excess = (excess / scale).max(EXCESS_MIN);
    let y = (d - threshold) / scale;
    let beyond = peaks * (y / (peaks * excess)).ln_1p() / std::f64::consts::LN_10;
    ((n + 1.0) / (peaks + 1.0)).log10() + beyond
}

#[cfg(test)]
mod tests {
    use super::{SCORE_MAX, window_score};
    use crate::noise::Rng;
    use proptest::prelude::*;

    fn score(values: &[f64]) -> Option<f64> {
        let times: Vec<i64> = (0..values.len() as i64).collect();
        window_score(&times, values)
    }

    #[test]
    fn by_hand() {
        // Median 10, IQR 10: the scale 10/1.349 is more than 18/3.29.
        let mut values: Vec<f64> = (0..=20).map(f64::from).collect();
        values.push(110.0);
        let n = 21.0f64;
        let scale: f64 = 10.0 / 1.349;
        let peaks = [10.0, 10.0, 9.0];
        let threshold = 9.0;
        let excess = peaks.iter().map(|p| p - threshold).sum::<f64>() / 3.0 / scale;
        let y = (100.0 - threshold) / scale;
        let p = 4.0 / (n + 1.0) * (1.0 + y / (3.0 * excess.max(0.25))).powi(-3);
        assert!((score(&values).unwrap() + p.log10()).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_more_surprising_than_the_cap() {
        // A tail of 500 peaks: the probability is 10^-1500 or so, which no float holds.
        let mut values: Vec<f64> = (0..5000).map(|n| f64::from(n % 100)).collect();
        values.push(1e6);
        assert_eq!(score(&values), Some(SCORE_MAX));
        values.push(f64::MAX);
        assert_eq!(score(&values), Some(SCORE_MAX));
        assert_eq!(SCORE_MAX, crate::verdict::SCORE_MAX);
    }

    #[test]
    fn says_nothing_of_little() {
        assert_eq!(score(&[1.0; 16]), None);
        assert_eq!(score(&[]), None);
        assert_eq!(score(&[f64::NAN; 40]), None);
        let mut constant = vec![0.0; 20];
        constant.push(7.0);
        assert!((score(&constant).unwrap() - 21f64.log10()).abs() < 1e-12);
        constant[20] = 0.0;
        assert_eq!(score(&constant), Some(0.0));
    }

    #[test]
    fn a_score_of_three_is_rarer_than_one_normal_window_in_a_thousand() {
        let mut rng = Rng(7);
        let mut alarms = 0;
        for _ in 0..40_000 {
            let values: Vec<f64> = (0..121).map(|_| rng.normal()).collect();
            alarms += u32::from(score(&values).unwrap() >= 3.0);
        }
        assert!((2..=40).contains(&alarms), "{alarms} of 40,000");
    }

    proptest! {
        #[test]
        fn unit_sign_and_order_do_not_matter(
            values in prop::collection::vec(-1000i32..1000, 17..60),
            factor in 0..8,
        ) {
            let plain: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            let unit = f64::powi(-2.0, factor);
            let scaled: Vec<f64> = plain.iter().map(|v| v * unit).collect();
            let found = score(&plain).unwrap();
            prop_assert!(found >= 0.0);
            prop_assert!((score(&scaled).unwrap() - found).abs() < 1e-9);
            let times: Vec<i64> = (0..values.len() as i64).rev().collect();
            let reversed: Vec<f64> = plain.iter().rev().copied().collect();
            prop_assert_eq!(window_score(&times, &reversed), Some(found));
        }

        #[test]
        fn a_larger_deviation_never_scores_less(
            values in prop::collection::vec(-1000f64..1000.0, 16..60),
            a in 0f64..5000.0,
            b in 0f64..5000.0,
        ) {
            let at = |x: f64| {
                let mut values = values.clone();
                values.sort_unstable_by(f64::total_cmp);
                let median = values[values.len() / 2].max(values[(values.len() - 1) / 2]);
                values.push(median + x);
                score(&values).unwrap()
            };
            prop_assert!(at(a.min(b)) <= at(a.max(b)) + 1e-9);
        }
    }
}
