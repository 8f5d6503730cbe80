//! Sample quantiles. Standard library only: the Arroyo plugins compile this file too.

/// The `q`-quantile by linear interpolation between order statistics, at position `q * (n - 1)`:
/// definition 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American
/// Statistician 50(4), 1996, the default of R and NumPy.
///
/// Reorders `values` (selection, O(n)). `None` when `values` is empty or `q` lies outside `[0, 1]`.
/// The values are expected to be finite; others are ordered by IEEE 754 total order.
pub fn quantile(values: &mut [f64], q: f64) -> Option<f64> {
    if values.is_empty() || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let position = q * (values.len() - 1) as f64;
    let index = position as usize;
    let fraction = position - index as f64;
    let (_, &mut lower, above) = values.select_nth_unstable_by(index, f64::total_cmp);
    // Nothing lies above only at q = 1, where the fraction is zero.
    let upper = above.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
    // Two equal infinities have no difference.
    Some(if lower == upper { lower } else { lower + (upper - lower) * fraction })
}

/// The median of the values that are numbers; `None` without any.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut kept: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    quantile(&mut kept, 0.5)
}

#[cfg(test)]
mod tests {
    use super::{median, quantile};
    use proptest::prelude::*;

    #[test]
    fn interpolates_between_order_statistics() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&mut values, 0.0), Some(1.0));
        assert_eq!(quantile(&mut values, 0.25), Some(1.75));
        assert_eq!(quantile(&mut values, 0.5), Some(2.5));
        assert_eq!(quantile(&mut values, 1.0), Some(4.0));
        assert_eq!(quantile(&mut [7.0], 0.9), Some(7.0));
    }

    #[test]
    fn a_median_leaves_out_what_is_no_number() {
        assert_eq!(median(&[4.0, f64::NAN, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[f64::NAN]), None);
        assert_eq!(median(&[f64::INFINITY, f64::INFINITY]), Some(f64::INFINITY));
    }

    #[test]
    fn has_no_answer_without_values_or_outside_the_unit_interval() {
        assert_eq!(quantile(&mut [], 0.5), None);
        assert_eq!(quantile(&mut [1.0], -0.1), None);
        assert_eq!(quantile(&mut [1.0], 1.1), None);
        assert_eq!(quantile(&mut [1.0], f64::NAN), None);
    }

    proptest! {
        #[test]
        fn equals_the_definition_on_sorted_values(
            mut values in prop::collection::vec(-1e9..1e9f64, 1..40),
            q in 0.0..=1.0f64,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let position = q * (sorted.len() - 1) as f64;
            let (floor, ceiling) = (position.floor(), position.ceil());
            let (lower, upper) = (sorted[floor as usize], sorted[ceiling as usize]);
            let expected = lower + (upper - lower) * (position - floor);
            prop_assert_eq!(quantile(&mut values, q), Some(expected));
        }
    }
}
