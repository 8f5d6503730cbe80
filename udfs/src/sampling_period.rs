//! The usual distance of a series' windows, inferred from the distances seen.
//!
//! Near ones are averaged, others pull by fixed ratios that balance where one in six is longer (a
//! gap, say): an approximate low quantile that neither gaps nor bursts of rows fix for long.

/// The new period after a distance of `delta` (any unit, > 0); `period` is 0 while unknown.
pub(crate) fn follow(period: f64, delta: f64) -> f64 {
    if period <= 0.0 {
        return delta;
    }
    match delta / period {
        ratio if ratio < 0.75 => period * 0.9,
        ratio if ratio > 1.5 => period * 1.02,
        _ => period + 0.05 * (delta - period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_bursts_hardly_move_it() {
        let mut period = 0.0;
        for i in 0..500 {
            period = follow(period, if i % 10 == 9 { 600.0 } else { 60.0 });
        }
        assert!((period - 60.0).abs() < 6.0, "{period}");
        period = follow(period, 0.001);
        assert!((50.0..66.0).contains(&period), "{period}");
        for _ in 0..60 {
            period = follow(period, 10.0);
        }
        assert!((period - 10.0).abs() < 1.0, "follows a new period: {period}");
    }
}
