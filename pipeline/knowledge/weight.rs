//! What a document counts beside how well it fits.

use crate::model::{DAY, Nanos};

/// After this long, half of what age can take away is gone.
const HALF_LIFE: Nanos = 180 * DAY;

/// What is left of a document however old it is.
const LEAST_FOR_AGE: f64 = 0.5;

/// How often what a document advises has worked, and how often it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Actions that were verified, and people who found it right.
    pub right: u64,
    /// Actions that were not verified, were rolled back or failed, and people who found it wrong.
    pub wrong: u64,
}

impl Record {
    pub fn plus(self, other: Self) -> Self {
        Self { right: self.right + other.right, wrong: self.wrong + other.wrong }
    }

    /// 0 to 2, and 1 where nothing is known: twice the mean of a Beta(1, 1) prior after the record.
    pub fn trust(self) -> f64 {
        let (right, wrong) = (self.right as f64, self.wrong as f64);
        2.0 * (right + 1.0) / (right + wrong + 2.0)
    }
}

/// From 1 for what is as young as the question down to one half; 1 where no date is known.
pub fn of_age(dated: Option<Nanos>, asked: Nanos) -> f64 {
    let Some(dated) = dated else { return 1.0 };
    let age = asked.saturating_sub(dated).max(0) as f64 / HALF_LIFE as f64;
    LEAST_FOR_AGE + (1.0 - LEAST_FOR_AGE) * (-age).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn age_halves_what_it_can_take() {
        assert_eq!(of_age(Some(0), 0), 1.0);
        assert_eq!(of_age(Some(0), HALF_LIFE), 0.75);
        assert_eq!(of_age(Some(HALF_LIFE), 0), 1.0, "what is dated later is young");
        assert_eq!(of_age(None, Nanos::MAX), 1.0);
        assert!(of_age(Some(Nanos::MIN), Nanos::MAX) >= LEAST_FOR_AGE);
    }

    proptest! {
        #[test]
        fn success_raises_and_failure_lowers(right in 0u64..1000, wrong in 0u64..1000) {
            let trust = |right, wrong| Record { right, wrong }.trust();
            let now = trust(right, wrong);
            prop_assert!((0.0..=2.0).contains(&now));
            prop_assert!(trust(right + 1, wrong) > now && trust(right, wrong + 1) < now);
            prop_assert!((trust(right, right) - 1.0).abs() < 1e-12);
        }
    }
}
