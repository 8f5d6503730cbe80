//! Quantiles of a slice, by linear interpolation between order statistics (type 7 of Hyndman &
//! Fan, 1996: what NumPy, R and DuckDB's `quantile_cont` give). NaN is left out.

/// The finite and infinite values in ascending order.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut kept: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    kept.sort_by(f64::total_cmp);
    kept
}

/// The `tau` quantile, 0..=1, of an ascending slice; `None` if it is empty.
pub fn of_sorted(sorted: &[f64], tau: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = tau.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(if low == high { low } else { low + (high - low) * at.fract() })
}

/// The median; `None` without a number.
pub fn median(values: &[f64]) -> Option<f64> {
    of_sorted(&sorted(values), 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_and_leaves_nan_out() {
        let s = sorted(&[4.0, f64::NAN, 1.0, 3.0, 2.0]);
        assert_eq!(of_sorted(&s, 0.5), Some(2.5));
        assert_eq!(of_sorted(&s, 0.25), Some(1.75));
        assert_eq!(of_sorted(&s, 0.0), Some(1.0));
        assert_eq!(of_sorted(&s, 1.0), Some(4.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::NAN]), None);
        assert_eq!(median(&[f64::INFINITY, f64::INFINITY]), Some(f64::INFINITY));
    }
}
