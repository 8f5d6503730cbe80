//! `mad`: median absolute deviation. Standard library only: the Arroyo plugin compiles this file
//! too.

use crate::quantile::quantile;

/// Factor from MAD to the standard deviation of normal values: 1/Φ⁻¹(3/4).
pub const TO_SIGMA: f64 = 1.482_602_218_505_602;

/// `median(|x_i - median(x)|)`, a scale that up to half of the values cannot carry away (Hampel,
/// "The Influence Curve and its Role in Robust Estimation", JASA 69, 1974). It is in the unit of
/// the values, not multiplied by [`TO_SIGMA`].
///
/// Only finite values count. `None` when there is none; 0 when there is one.
pub fn mad(values: &[f64]) -> Option<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let median = quantile(&mut values, 0.5)?;
    for value in &mut values {
        *value = (*value - median).abs();
    }
    quantile(&mut values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::mad;
    use proptest::prelude::*;

    #[test]
    fn is_the_median_distance_from_the_median() {
        assert_eq!(mad(&[1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0]), Some(1.0));
        assert_eq!(mad(&[1.0, 2.0, 4.0, 8.0]), Some(1.5));
    }

    #[test]
    fn counts_only_finite_values() {
        assert_eq!(mad(&[]), None);
        assert_eq!(mad(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!(mad(&[5.0]), Some(0.0));
        assert_eq!(mad(&[f64::NAN, 1.0, f64::NEG_INFINITY, 3.0]), Some(1.0));
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
            let expected = mad(&original).map(|deviation| deviation * f64::from(scale.abs()));
            prop_assert_eq!(mad(&moved), expected);
        }

        #[test]
        fn is_not_carried_away_by_fewer_than_half_of_the_values(
            values in prop::collection::vec(-1.0..1.0f64, 11..40),
            outliers in 0usize..5,
        ) {
            let mut spoiled = values;
            spoiled.iter_mut().take(outliers).for_each(|value| *value = 1e12);
            prop_assert!(mad(&spoiled).is_some_and(|deviation| deviation <= 2.0));
        }
    }
}
