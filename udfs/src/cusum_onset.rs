//! When a change began, looking back from where it was noticed (Page, Biometrika 1954).
//!
//! `S⁺ = max(0, S⁺ + z − DRIFT)` and its mirror image `S⁻`, with `z = (x − median)/scale` clipped
//! at ±`Z_MAX`. The maximum-likelihood onset of the change that made a sum peak is the window
//! after its last zero before the peak. The side with the higher peak is taken; a peak below
//! `DECISION` is no change. A second pass, with half of the shift that was found as its drift,
//! places the onset.

/// Half of the smallest shift worth finding, in scales: one.
const DRIFT: f64 = 0.5;
/// Peak below which there is no change; with `DRIFT` .5, white noise of 465 windows reaches it
/// once on average.
const DECISION: f64 = 5.0;
/// One wild window is at most this many scales, so that an isolated spike, though wild, does not
/// reach `DECISION` by itself.
const Z_MAX: f64 = 5.0;

/// The index of the first window of the change, or `None` if there is none. `median` and `scale`
/// are those of the baseline, in the unit of the values. A scale of 0 (a constant baseline) makes
/// any other value `Z_MAX`. NaN is skipped.
pub fn cusum_onset(values: &[f64], median: f64, scale: f64) -> Option<usize> {
    if !median.is_finite() || scale.is_nan() || scale < 0.0 {
        return None;
    }
    let up = peak(values, median, scale, 1.0, DRIFT);
    let down = peak(values, median, scale, -1.0, DRIFT);
    let (found, sign) = if down.sum > up.sum { (down, -1.0) } else { (up, 1.0) };
    if found.sum < DECISION {
        return None;
    }
    // Half of the shift is the best drift (Page), and by now the shift is known.
    let drift = found.sum / (found.last + 1 - found.onset) as f64 + DRIFT;
    Some(peak(&values[..=found.last], median, scale, sign, (drift / 2.0).max(DRIFT)).onset)
}

/// Where a sum is highest.
struct Peak {
    sum: f64,
    /// First window after the last zero before it, and the window of the peak itself.
    onset: usize,
    last: usize,
}

fn peak(values: &[f64], median: f64, scale: f64, sign: f64, drift: f64) -> Peak {
    let (mut sum, mut since) = (0.0, 0);
    let mut best = Peak { sum: 0.0, onset: 0, last: 0 };
    for (i, v) in values.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
        let distance = sign * (v - median);
        let z = if distance == 0.0 { 0.0 } else { (distance / scale).clamp(-Z_MAX, Z_MAX) };
        if sum == 0.0 {
            since = i;
        }
        sum = f64::max(0.0, sum + z - drift);
        if sum > best.sum {
            best = Peak { sum, onset: since, last: i };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Rng;

    #[test]
    fn finds_the_onset_within_a_window_or_two() {
        let mut errors = Vec::new();
        for seed in 0..200 {
            let mut rng = Rng(seed);
            let at = 20 + rng.below(20) as usize;
            let sign = if seed % 2 == 0 { 1.0 } else { -1.0 };
            let x: Vec<f64> = (0..60)
                .map(|i| 100.0 + 2.0 * rng.normal() + if i >= at { 8.0 * sign } else { 0.0 })
                .collect();
            errors.push(cusum_onset(&x, 100.0, 2.0).unwrap().abs_diff(at));
        }
        errors.sort_unstable();
        assert_eq!(errors[100], 0);
        assert!(errors[180] <= 2, "{}", errors[180]);
    }

    #[test]
    fn says_nothing_of_quiet_constant_or_empty_series() {
        assert_eq!(cusum_onset(&[], 0.0, 1.0), None);
        assert_eq!(cusum_onset(&[3.0; 50], 3.0, 0.0), None);
        assert_eq!(cusum_onset(&[f64::NAN; 5], 3.0, 1.0), None);
        assert_eq!(cusum_onset(&[0.0, 0.0, 1e9, 0.0], 0.0, 1.0), None, "one spike is no change");
        assert_eq!(cusum_onset(&[3.0, 3.0, 4.0, 4.0, 4.0], 3.0, 0.0), Some(2));
        assert_eq!(cusum_onset(&[1.0; 20], f64::NAN, 1.0), None);
    }
}
