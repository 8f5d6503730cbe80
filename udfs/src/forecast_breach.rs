//! When a trend will reach a limit: disks, leaks, quotas, certificates, queues.
//!
//! The line is Theil–Sen's. It counts as real only if Mann–Kendall's test says so (`p ≤ P_MAX`,
//! the variance enlarged for autocorrelation), if the recent half still trends the same way, and
//! if the values are not already at the limit (that is an alert, not a forecast). The slope is
//! damped to the smaller of the whole and the recent one, so that a growth that ebbs forecasts
//! late rather than never. Sources: Mann 1945, Kendall 1975; Hamed & Rao 1998 (autocorrelation).

use crate::mad::{TO_SIGMA, mad};
use crate::trend_line::{condensed, trend_line};

/// Points below which no trend is claimed.
const POINTS_MIN: usize = 16;
/// Chance at which a trendless series may pass the test.
const P_MAX: f64 = 1e-3;

/// A breach to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breach {
    /// When the trend meets the limit, nanoseconds since 1970.
    pub at_ns: i64,
    /// Probability that the limit is met within the horizon, given scatter and uncertain slope,
    /// 0..1.
    pub confidence: f64,
}

/// The first time within `horizon_ns` of the last point at which the trend of `value` reaches
/// `limit`, from whichever side it is on. `ts_ns` ascends; points that are not finite are left
/// out. `None` if the trend is not real, leads elsewhere, or takes longer.
pub fn forecast_breach(
    ts_ns: &[i64],
    value: &[f64],
    limit: f64,
    horizon_ns: i64,
) -> Option<Breach> {
    let first = *ts_ns.first()?;
    let last = *ts_ns.last()?;
    if !limit.is_finite() || horizon_ns <= 0 || last <= first {
        return None;
    }
    let seconds: Vec<f64> = ts_ns.iter().map(|t| t.saturating_sub(first) as f64 * 1e-9).collect();
    let points = condensed(&seconds, value);
    if points.len() < POINTS_MIN {
        return None;
    }
    let (t, v): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
    let whole = trend_line(&t, &v)?;
    let half = t.len() / 2;
    let recent = trend_line(&t[half..], &v[half..])?;
    let slope = damped(whole.slope, recent.slope)?;
    let rests: Vec<f64> =
        t.iter().zip(&v).map(|(t, v)| v - whole.intercept - whole.slope * t).collect();
    if significance(&v, &rests) > P_MAX {
        return None;
    }
    let now = (last - first) as f64 * 1e-9;
    let level = recent.intercept + recent.slope * now;
    let way = limit - level;
    if way == 0.0 || way.signum() != slope.signum() {
        return None;
    }
    let (wait, horizon) = (way / slope, horizon_ns as f64 * 1e-9);
    if wait > horizon {
        return None;
    }
    let at_ns = last.saturating_add((wait * 1e9) as i64);
    Some(Breach { at_ns, confidence: confidence(slope, wait, horizon, &t, &rests) })
}

/// The smaller of two slopes that agree in sign.
fn damped(whole: f64, recent: f64) -> Option<f64> {
    let agree = whole * recent > 0.0;
    agree.then(|| if whole.abs() < recent.abs() { whole } else { recent })
}

/// Two-sided p of Mann–Kendall's test with the variance enlarged by `(1 + ρ)/(1 − ρ)`, `ρ` the
/// lag-1 autocorrelation of what the trend leaves.
fn significance(v: &[f64], rests: &[f64]) -> f64 {
    let mut s = 0.0;
    for (i, a) in v.iter().enumerate() {
        for b in &v[i + 1..] {
            s += f64::from(u8::from(b > a)) - f64::from(u8::from(b < a));
        }
    }
    let n = v.len() as f64;
    let (mut lag, mut power) = (0.0, 0.0);
    for pair in rests.windows(2) {
        lag += pair[0] * pair[1];
        power += pair[0] * pair[0];
    }
    let rho = if power > 0.0 { (lag / power).clamp(0.0, 0.99) } else { 0.0 };
    let variance = n * (n - 1.0) * (2.0 * n + 5.0) / 18.0 * (1.0 + rho) / (1.0 - rho);
    2.0 * upper_normal((f64::abs(s) - 1.0).max(0.0) / variance.sqrt())
}

/// P(the line, with its standard error, has met the limit at the horizon).
fn confidence(slope: f64, wait: f64, horizon: f64, t: &[f64], rests: &[f64]) -> f64 {
    let sigma = mad(rests).unwrap_or(0.0) * TO_SIGMA;
    let n = t.len() as f64;
    let mean = t.iter().sum::<f64>() / n;
    let spread = t.iter().map(|t| (t - mean).powi(2)).sum::<f64>();
    let ahead = t[t.len() - 1] + horizon - mean;
    let error = sigma * (1.0 / n + ahead * ahead / spread).sqrt();
    let margin = slope.abs() * (horizon - wait);
    if error == 0.0 { 1.0 } else { 1.0 - upper_normal(margin / error) }
}

/// P(Z ≥ z) for z ≥ 0 (Abramowitz & Stegun 26.2.17, absolute error below 7.5e-8).
fn upper_normal(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt() * poly
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Family, Noise};

    const MINUTE: i64 = 60_000_000_000;

    fn series(n: i64, slope: f64, family: Family, seed: u64) -> (Vec<i64>, Vec<f64>) {
        let mut noise = Noise::new(family, seed);
        (0..n).map(|i| (i * MINUTE, 50.0 + slope * i as f64 + noise.next())).unzip()
    }

    #[test]
    fn tells_when_a_disk_is_full() {
        let (ts, v) = series(120, 0.2, Family::Normal, 3);
        let breach = forecast_breach(&ts, &v, 100.0, 10 * 60 * MINUTE).unwrap();
        // 50 + 0.2·i = 100 at i = 250.
        assert!((breach.at_ns - 250 * MINUTE).abs() < 30 * MINUTE, "{}", breach.at_ns / MINUTE);
        assert!(breach.confidence > 0.95);
        assert_eq!(forecast_breach(&ts, &v, 100.0, 60 * MINUTE), None, "beyond the horizon");
        assert_eq!(forecast_breach(&ts, &v, 0.0, 600 * MINUTE), None, "leads elsewhere");
        let falling: Vec<f64> = v.iter().map(|v| -v).collect();
        assert!(forecast_breach(&ts, &falling, -100.0, 600 * MINUTE).is_some());
    }

    #[test]
    fn is_silent_where_there_is_no_trend() {
        for family in [Family::Normal, Family::StudentT3, Family::Ar1, Family::Bursty] {
            let claims = (0..200)
                .filter(|seed| {
                    let (ts, v) = series(120, 0.0, family, *seed);
                    forecast_breach(&ts, &v, 53.0, 600 * MINUTE).is_some()
                })
                .count();
            assert!(claims <= 2, "{family:?}: {claims} of 200");
        }
    }

    #[test]
    fn a_growth_that_stopped_is_no_trend_and_nonsense_is_harmless() {
        let (ts, mut v) = series(120, 0.2, Family::Normal, 9);
        let top = v[40];
        for (i, v) in v.iter_mut().enumerate().skip(40) {
            *v = top - 0.001 * i as f64;
        }
        assert_eq!(forecast_breach(&ts, &v, 100.0, 600 * MINUTE), None);
        assert_eq!(forecast_breach(&[], &[], 1.0, 1), None);
        assert_eq!(forecast_breach(&ts, &[f64::NAN; 120], 1.0, MINUTE), None);
        assert_eq!(forecast_breach(&ts, &[1.0; 120], 2.0, MINUTE), None);
        assert_eq!(forecast_breach(&[5; 40], &[1.0; 40], 2.0, MINUTE), None);
    }
}
