//! How unusual a window of one series is, measured against that series' own baseline.
//!
//! The statistic of a window is the largest deviation, in either direction, of the median of half
//! the window (any contiguous half: a fault may begin late or end early) from the baseline's
//! median, and beside it that of the whole window. The same statistic slides over the baseline; a
//! Student t with the smallest scale that
//! dominates the quantiles of those excursions gives the tail probability. Four degrees of freedom
//! are heavy enough for operational series; shorter baselines get still heavier tails.

/// Bounds the work per series; windows are spread evenly over the baseline.
const MAX_EXCURSIONS: usize = 128;
/// Two-sided tail levels at which the t distribution must dominate the baseline's excursions.
/// Beyond the last one the baseline may be contaminated by earlier faults.
const LEVELS: [f64; 3] = [0.5, 0.75, 0.9];
/// Samples of a window that are compared one by one; of a longer one, medians of equal blocks.
const MAX_WINDOW: usize = 16;
/// Weight of the median of the whole window beside that of its most deviating half. What lasts is
/// less often a glitch, but a fault may also begin late or end early.
const LASTING: f64 = 0.25;
/// A change below this share of the level is no finding, however steady the series.
const RELATIVE_FLOOR: f64 = 0.02;
/// Fewest samples of baseline that have a middle and a spread.
const MIN_BASELINE: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// Median of the baseline.
    pub expected: f64,
    /// Median of the most deviating half of the window.
    pub observed: f64,
    /// `(observed - expected) / IQR`; not finite where the IQR is zero.
    pub iqrs: f64,
    /// -log10 of the two-sided tail probability.
    pub surprise: f64,
    /// Robust standard deviation of single samples, never zero.
    pub spread: f64,
}

/// A finding that chance would bring once in a thousand incidents has strength one half: the
/// project's usual threshold.
const HALF_STRENGTH: f64 = 3.0;
/// IQR of a normal distribution in standard deviations.
const NORMAL_IQR: f64 = 1.349;

/// Maps a surprise, the greatest of `tests` alike, to 0..1. What counts is how many findings like
/// it chance would bring among that many tests (an E-value): with a thousand series, one is a
/// thousandth by chance alone. Never quite 1, and never 0 for a surprise: the order is kept.
pub fn strength(surprise: f64, tests: usize) -> f64 {
    let s = (1.0 + 10f64.powf(surprise.clamp(0.0, 300.0)) / tests.max(1) as f64).log10();
    s / (s + HALF_STRENGTH)
}

/// Difference of two counts in standard deviations, where the first is expected to be `ratio`
/// times the second: Anscombe's square root, with the variance of both. Doubled, since what is
/// counted (lines, spans) comes in bunches.
pub fn count_z(now: u64, before: u64, ratio: f64) -> f64 {
    let root = |x: f64| (x + 0.375).sqrt();
    let difference = root(now as f64) - ratio.sqrt() * root(before as f64);
    2.0 * difference / (2.0 * (1.0 + ratio)).sqrt()
}

/// Difference of two shares in standard deviations: Fisher's arcsine, with Anscombe's correction.
pub fn share_z(now: (u64, u64), before: (u64, u64)) -> f64 {
    let angle = |(k, n): (u64, u64)| ((k as f64 + 0.375) / (n as f64 + 0.75)).sqrt().asin();
    let noise = 1.0 / (now.1 as f64 + 0.5) + 1.0 / (before.1 as f64 + 0.5);
    2.0 * (angle(now) - angle(before)) / noise.sqrt()
}

/// -log10 of the two-sided normal tail of `z`, by Mills' ratio: for counts, whose variance is
/// known.
pub fn surprise_of(z: f64) -> f64 {
    let z = z.abs();
    let mills = 2.0 / (z + (z * z + 8.0 / std::f64::consts::PI).sqrt());
    let tail = (2.0 / std::f64::consts::PI).sqrt() * mills;
    (z * z / 2.0 - tail.ln()) / std::f64::consts::LN_10
}

/// Measures `window` against `baseline`, both in time order; distances below `least` are no
/// finding. `None` if either is too short.
pub fn measure(baseline: &[f64], window: &[f64], least: f64) -> Option<Deviation> {
    if baseline.len() < MIN_BASELINE || window.is_empty() {
        return None;
    }
    let block = block(window.len());
    if block > 1 {
        return measure(&medians(baseline, block), &medians(window, block), least);
    }
    let mut scratch = baseline.to_vec();
    let [low, expected, high] = quantiles(&mut scratch, [0.25, 0.5, 0.75]);
    let iqr = high - low;
    let half = window.len().div_ceil(2);
    let (observed, brief) = tail(baseline, window, expected, least, half);
    let (_, lasting) = tail(baseline, window, expected, least, window.len());
    let share = LASTING;
    let surprise = share * lasting + (1.0 - share) * brief;
    let level = expected.abs().max(observed.abs());
    let floor = (RELATIVE_FLOOR * level).max(least);
    Some(Deviation {
        expected,
        observed,
        iqrs: (observed - expected) / iqr,
        surprise,
        spread: (iqr / NORMAL_IQR).max(floor).max(f64::MIN_POSITIVE),
    })
}

/// Furthest median of `half` samples of the window, and its surprise.
fn tail(baseline: &[f64], window: &[f64], expected: f64, least: f64, half: usize) -> (f64, f64) {
    let observed = furthest(&rolling_median(window, half), expected);
    let mut excursions = excursions(baseline, window.len(), half, expected);
    let level = expected.abs().max(observed.abs());
    let windows = baseline.len() / window.len(); // that do not overlap
    let (freedom, critical) = tail_of(windows);
    let envelope = quantiles(&mut excursions, LEVELS)
        .into_iter()
        .zip(critical)
        .map(|(excursion, t)| excursion / t)
        .fold(0.0, f64::max);
    let floor = (RELATIVE_FLOOR * level).max(least);
    let scale = envelope.max(floor).max(f64::MIN_POSITIVE);
    let distance = (observed - expected).abs();
    let mut surprise = -two_sided_t(distance / scale, freedom).log10();
    let seen = excursions.iter().filter(|e| **e >= distance).count() as f64;
    let counted = -((seen + 1.0) / (excursions.len() as f64 + 1.0)).log10();
    if seen == 0.0 && distance > floor {
        surprise = surprise.max((windows.max(1) as f64 + 1.0).log10()); // rule of succession
    } else if counted < surprise {
        // As much has been seen before: a habit of the series, or an earlier incident. Either is
        // as likely, so the truth is taken to lie half way.
        surprise = (surprise + counted) / 2.0;
    }
    (observed, surprise)
}

/// Samples that are first put together where a window has so many.
pub fn block(window: usize) -> usize {
    window.div_ceil(MAX_WINDOW)
}

/// Medians of consecutive blocks; the first may be short, so that both ends meet at the onset.
fn medians(values: &[f64], block: usize) -> Vec<f64> {
    let mut out: Vec<f64> = values.rchunks(block).map(|c| median(&mut c.to_vec())).collect();
    out.reverse();
    out
}

/// Medians of every `half` consecutive values.
fn rolling_median(values: &[f64], half: usize) -> Vec<f64> {
    values.windows(half).map(small_median).collect()
}

/// Median of at most [`MAX_WINDOW`] values, by comparisons without branches.
fn small_median(values: &[f64]) -> f64 {
    match values.len() {
        1 => values[0],
        2 => select::<2>(values),
        3 => select::<3>(values),
        4 => select::<4>(values),
        5 => select::<5>(values),
        6 => select::<6>(values),
        7 => select::<7>(values),
        8 => select::<8>(values),
        9 => select::<9>(values),
        10 => select::<10>(values),
        _ => median(&mut values.to_vec()),
    }
}

/// Bubbles the smaller half of `N` values to the front.
fn select<const N: usize>(values: &[f64]) -> f64 {
    let mut v = [0.0; N];
    v.copy_from_slice(values);
    for done in 0..=N / 2 {
        for i in (done + 1..N).rev() {
            let (a, b) = (v[i - 1], v[i]);
            v[i - 1] = if b < a { b } else { a };
            v[i] = if b < a { a } else { b };
        }
    }
    (v[(N - 1) / 2] + v[N / 2]) / 2.0
}

fn furthest(medians: &[f64], centre: f64) -> f64 {
    medians
        .iter()
        .copied()
        .fold(centre, |best, m| if (m - centre).abs() > (best - centre).abs() { m } else { best })
}

/// The statistic's distance from the centre for windows of `len` samples across the baseline.
fn excursions(baseline: &[f64], len: usize, half: usize, centre: f64) -> Vec<f64> {
    let len = len.min(baseline.len() / 2).max(1);
    let half = half.min(len);
    if half == len {
        let count = baseline.len() + 1 - len;
        let every = count.div_ceil(MAX_EXCURSIONS);
        let median = |window: &[f64]| (small_median(window) - centre).abs();
        return baseline.windows(len).step_by(every).map(median).collect();
    }
    let medians = rolling_median(baseline, half);
    let inside = len - half + 1;
    let count = medians.len() - inside + 1;
    (0..count)
        .step_by(count.div_ceil(MAX_EXCURSIONS))
        .map(|i| (furthest(&medians[i..i + inside], centre) - centre).abs())
        .collect()
}

/// Degrees of freedom for a baseline of so many windows, and t at `LEVELS`.
fn tail_of(windows: usize) -> (u8, [f64; 3]) {
    match windows {
        0..=11 => (1, [1.000, 2.414, 6.314]),
        12..=23 => (2, [0.816, 1.604, 2.920]),
        _ => (4, [0.741, 1.344, 2.132]),
    }
}

/// `P(|T| > t)` for 1, 2 or 4 degrees of freedom, in closed form without cancellation.
fn two_sided_t(t: f64, freedom: u8) -> f64 {
    let nu = f64::from(freedom);
    let x = t / (nu + t * t).sqrt();
    let rest = nu / (nu + t * t) / (1.0 + x); // 1 - x
    match freedom {
        1 => std::f64::consts::FRAC_2_PI * (1.0 / t).atan(),
        2 => rest,
        _ => rest * rest * (2.0 + x) / 2.0,
    }
}

/// Three quantiles in ascending order, by linear interpolation between order statistics (R's
/// type 7). Reorders `values`, which is not empty.
fn quantiles(values: &mut [f64], levels: [f64; 3]) -> [f64; 3] {
    let last = values.len() - 1;
    let mut done = 0; // what lies before is in its place
    levels.map(|q| {
        let at = q * last as f64;
        let low = at.floor() as usize;
        values[done..].select_nth_unstable_by(low - done, f64::total_cmp);
        done = low;
        let next = values[low..].iter().skip(1).copied().fold(f64::INFINITY, f64::min);
        let next = if next.is_finite() { next } else { values[low] };
        values[low] + (next - values[low]) * (at - low as f64)
    })
}

/// Reorders `values`, which is not empty.
fn median(values: &mut [f64]) -> f64 {
    let n = values.len();
    let (_, upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    let upper = *upper;
    if n % 2 == 1 {
        return upper;
    }
    let lower = values[..n / 2].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (lower + upper) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize) -> Vec<f64> {
        (0..n).map(|i| 10.0 + ((i * 7919) % 13) as f64 / 13.0).collect()
    }

    #[test]
    fn a_drop_is_as_visible_as_a_rise() {
        let rise = measure(&wave(200), &[20.0; 5], 0.0).unwrap();
        let drop = measure(&wave(200), &[1.0; 5], 0.0).unwrap();
        assert!(rise.surprise > 3.0 && drop.surprise > 3.0, "{rise:?} {drop:?}");
        assert!(rise.iqrs > 0.0 && drop.iqrs < 0.0);
    }

    #[test]
    fn what_is_said_in_iqrs_is_the_change_that_is_told() {
        let base: Vec<f64> = (0..200).map(|i| f64::from(i % 5)).collect();
        for (window, observed, iqrs) in [
            ([2.0, 2.0, 2.0, 9.0, 9.0, 9.0], 9.0, 3.5),
            ([1.0, 3.0, 2.0, -6.0, -6.0, 2.0], -6.0, -4.0),
            ([2.0, 2.0, 2.0, 900.0, 900.0, 900.0], 900.0, 449.0),
        ] {
            let d = measure(&base, &window, 0.0).unwrap();
            assert_eq!((d.expected, d.observed, d.iqrs), (2.0, observed, iqrs));
        }
    }

    #[test]
    fn the_usual_is_no_surprise() {
        let base = wave(200);
        assert!(measure(&base, &base[50..55], 0.0).unwrap().surprise < 1.0);
    }

    #[test]
    fn scale_and_offset_free() {
        let base = wave(100);
        let scaled: Vec<f64> = base.iter().map(|x| x * 1e-6).collect();
        let a = measure(&base, &[14.0; 3], 0.0).unwrap();
        let b = measure(&scaled, &[14.0e-6; 3], 0.0).unwrap();
        assert!((a.surprise - b.surprise).abs() < 1e-9);
    }

    #[test]
    fn constant_baseline_is_handled() {
        let d = measure(&[0.0; 60], &[3.0, 3.0], 0.0).unwrap();
        assert!(d.surprise > 1.5 && d.surprise.is_finite() && !d.iqrs.is_finite());
        assert_eq!(measure(&[5.0; 60], &[5.0], 0.0).unwrap().surprise, 0.0);
    }

    #[test]
    fn medians_are_those_of_sorted_values() {
        let values: Vec<f64> = (0..40).map(|i| f64::from((i * 7919) % 23)).collect();
        for half in 1..=16 {
            for (window, found) in values.windows(half).zip(rolling_median(&values, half)) {
                let mut sorted = window.to_vec();
                sorted.sort_by(f64::total_cmp);
                assert_eq!(found, (sorted[(half - 1) / 2] + sorted[half / 2]) / 2.0);
            }
        }
    }

    #[test]
    fn t_tails_match_tables() {
        for (t, nu, p) in [(6.314, 1, 0.1), (2.920, 2, 0.1), (2.132, 4, 0.1), (4.604, 4, 0.01)] {
            assert!((two_sided_t(t, nu) - p).abs() < 2e-4);
        }
    }
}
