//! Robust straight line: the median of the slopes between pairs of points.
//!
//! Up to 29 % of the points may be arbitrary. Sources: Theil 1950; Sen, JASA 1968. All pairs would
//! be quadratic, so beyond [`POINTS_MAX`] points runs of neighbours are first replaced by their
//! medians, which keeps a trend and its robustness.

use crate::quantile::median;

/// Points of which all pairs are taken: 32,640 slopes.
pub const POINTS_MAX: usize = 256;

/// A line `value = intercept + slope · t`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// In the unit of the values per unit of `t`.
    pub slope: f64,
    /// The median of `value − slope · t`.
    pub intercept: f64,
}

/// The line through points `(t, value)`; `None` if fewer than two different `t` remain once points
/// that are not finite are left out.
pub fn trend_line(t: &[f64], value: &[f64]) -> Option<Line> {
    let points = condensed(t, value);
    let mut slopes = Vec::with_capacity(points.len() * points.len().saturating_sub(1) / 2);
    for (i, (t0, v0)) in points.iter().enumerate() {
        for (t1, v1) in &points[i + 1..] {
            if t1 != t0 {
                slopes.push((v1 - v0) / (t1 - t0));
            }
        }
    }
    let slope = median(&slopes)?;
    let rests: Vec<f64> = points.iter().map(|(t, v)| v - slope * t).collect();
    Some(Line { slope, intercept: median(&rests)? })
}

/// At most `POINTS_MAX` finite points, each the medians of a run of neighbours.
pub(crate) fn condensed(t: &[f64], value: &[f64]) -> Vec<(f64, f64)> {
    let finite = |(t, v): (&f64, &f64)| (t.is_finite() && v.is_finite()).then_some((*t, *v));
    let points: Vec<(f64, f64)> = t.iter().zip(value).filter_map(finite).collect();
    let run = points.len().div_ceil(POINTS_MAX).max(1);
    if run == 1 {
        return points;
    }
    let middle = |run: &[(f64, f64)]| {
        let (t, v): (Vec<f64>, Vec<f64>) = run.iter().copied().unzip();
        median(&t).zip(median(&v))
    };
    points.chunks(run).filter_map(middle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_wild_points_leaves_the_line() {
        for n in [40u32, 4_000] {
            let t: Vec<f64> = (0..n).map(f64::from).collect();
            let wild = |i: u32| i % 4 == 3;
            let v: Vec<f64> =
                (0..n).map(|i| if wild(i) { 1e6 } else { 3.0 + 0.5 * f64::from(i) }).collect();
            let line = trend_line(&t, &v).unwrap();
            assert!((line.slope - 0.5).abs() < 0.05, "{n}: {line:?}");
        }
    }

    #[test]
    fn needs_two_times() {
        assert_eq!(trend_line(&[], &[]), None);
        assert_eq!(trend_line(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(trend_line(&[1.0, 2.0], &[1.0, f64::NAN]), None);
        let line = trend_line(&[1.0, 3.0], &[1.0, 5.0]);
        assert_eq!(line, Some(Line { slope: 2.0, intercept: -1.0 }));
    }
}
