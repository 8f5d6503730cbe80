//! Stops asking an endpoint that fails, and tries it again after a while.

use crate::model::{Nanos, SECOND};

/// Failures in a row that open it.
const FAILURES: u32 = 3;

/// How long it stays open.
const REST: Nanos = 60 * SECOND;

/// Closed as long as calls succeed; open after failures in a row; after a rest one call is let
/// through, and its outcome decides.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open_until: Nanos,
}

impl Breaker {
    pub fn allows(&mut self, now: Nanos) -> bool {
        if self.failures < FAILURES {
            return true;
        }
        if now < self.open_until {
            return false;
        }
        // The one that is let through; others wait for its outcome or another rest.
        self.open_until = now.saturating_add(REST);
        true
    }

    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub fn failed(&mut self, now: Nanos) {
        self.failures = self.failures.saturating_add(1);
        self.open_until = now.saturating_add(REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_a_success() {
        let mut breaker = Breaker::default();
        breaker.failed(0);
        breaker.failed(0);
        breaker.succeeded();
        for _ in 0..FAILURES {
            assert!(breaker.allows(0));
            breaker.failed(0);
        }
        assert!(!breaker.allows(REST - 1));
        assert!(breaker.allows(REST) && !breaker.allows(REST), "one at a time");
        breaker.failed(REST);
        assert!(!breaker.allows(2 * REST - 1) && breaker.allows(2 * REST));
        breaker.succeeded();
        assert!(breaker.allows(2 * REST) && breaker.allows(2 * REST));
    }
}
