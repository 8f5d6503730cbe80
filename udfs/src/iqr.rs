//! `iqr`: interquartile range. Standard library only: the Arroyo plugin compiles this file too.

use crate::quantile::quantile;

/// `Q(0.75) - Q(0.25)`, the width of the middle half of the values, in their unit; quartiles as
/// [`quantile`] defines them (Tukey, "Exploratory Data Analysis", 1977, for its use as a robust
/// scale).
///
/// Only finite values count. `None` when there is none; 0 when there is one.
pub fn iqr(values: &[f64]) -> Option<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let upper = quantile(&mut values, 0.75)?;
    let lower = quantile(&mut values, 0.25)?;
    Some(upper - lower)
}

#[cfg(test)]
mod tests {
    use super::iqr;
    use proptest::prelude::*;

    #[test]
    fn is_the_width_of_the_middle_half() {
        assert_eq!(iqr(&[1.0, 2.0, 3.0, 4.0, 5.0]), Some(2.0));
        assert_eq!(iqr(&[4.0, 1.0, 2.0, 3.0]), Some(1.5));
    }

    #[test]
    fn counts_only_finite_values() {
        assert_eq!(iqr(&[]), None);
        assert_eq!(iqr(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!(iqr(&[5.0]), Some(0.0));
        assert_eq!(iqr(&[f64::NAN, 1.0, f64::NEG_INFINITY, 3.0]), Some(1.0));
    }

    proptest! {
        // Small integers keep the arithmetic exact, so the laws hold to the last bit.
        #[test]
        fn follows_scale_and_ignores_shift_and_order(
            values in prop::collection::vec(-1000i32..1000, 1..40),
            shift in -1000i32..1000,
            scale in -8i32..8,
        ) {
            let original: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            let moved: Vec<f64> =
                values.iter().rev().map(|&v| f64::from(v * scale + shift)).collect();
            let expected = iqr(&original).map(|range| range * f64::from(scale.abs()));
            prop_assert_eq!(iqr(&moved), expected);
        }

        #[test]
        fn never_exceeds_the_whole_range(values in prop::collection::vec(-1e6..1e6f64, 1..40)) {
            let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let whole = 0.0..=highest - lowest;
            prop_assert!(iqr(&values).is_some_and(|range| whole.contains(&range)));
        }
    }
}
