//! What a document counts beside how well it fits.

use crate::model::{DAY, Nanos};

/// After this long, half of what age can take away is gone.
const HALF_LIFE: Nanos = 180 * DAY;

/// What is left of a document however old it is.
const LEAST_FOR_AGE: f64 = 0.5;

/// Votes for and against a case that count as given before there are any.
pub const CASE_PRIOR: f64 = 1.0;

/// The same for a section of a runbook: it is cited beside others, and who found the diagnosis
/// unhelpful need not have read it. One vote moves a section by two or three ranks of one list.
pub const SECTION_PRIOR: f64 = 10.0;

/// What an outcome or a person says of what a document advises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// An action was verified, or a person found it right; otherwise it was not verified, was
    /// rolled back or failed, or a person found it wrong.
    pub right: bool,
    /// When; unknown of feedback that an older version has recorded.
    pub at: Option<Nanos>,
}

/// How often what a document advises has worked, and how often it has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(Vec<Vote>);

impl Record {
    pub fn add(&mut self, vote: Vote) {
        self.0.push(vote);
    }

    pub fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn right(&self) -> usize {
        self.0.iter().filter(|vote| vote.right).count()
    }

    pub fn wrong(&self) -> usize {
        self.0.len() - self.right()
    }

    /// 0 to 2, and 1 where nothing is known: twice the mean of a Beta(`prior`, `prior`) after the
    /// votes, each of which counts by its age when it was `asked`.
    pub fn trust(&self, prior: f64, asked: Nanos) -> f64 {
        let (mut right, mut wrong) = (prior, prior);
        for vote in &self.0 {
            *(if vote.right { &mut right } else { &mut wrong }) += of_age(vote.at, asked);
        }
        2.0 * right / (right + wrong)
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

    #[test]
    fn a_late_vote_counts_more_than_an_early_one() {
        let trust = |for_it: Nanos, against: Nanos, prior| {
            let vote = |right, at| Vote { right, at: Some(at) };
            Record(vec![vote(true, for_it), vote(false, against)]).trust(prior, 2 * HALF_LIFE)
        };
        assert!(trust(2 * HALF_LIFE, 0, CASE_PRIOR) > 1.0);
        assert!(trust(0, 2 * HALF_LIFE, CASE_PRIOR) < 1.0);
        let one = Record(vec![Vote { right: false, at: None }]);
        assert!(one.trust(SECTION_PRIOR, 0) > 0.95, "one vote does little");
        assert!(one.trust(SECTION_PRIOR, 0) < 1.0);
    }

    proptest! {
        #[test]
        fn success_raises_and_failure_lowers(
            right in 0usize..200, wrong in 0usize..200, prior in 1.0..9.0, age in 0..9 * HALF_LIFE,
        ) {
            let trust = |right: usize, wrong: usize| {
                let vote = |right| Vote { right, at: Some(-age) };
                let votes = [vec![vote(true); right], vec![vote(false); wrong]];
                Record(votes.concat()).trust(prior, 0)
            };
            let now = trust(right, wrong);
            prop_assert!((0.0..=2.0).contains(&now));
            prop_assert!(trust(right + 1, wrong) > now && trust(right, wrong + 1) < now);
            prop_assert!((trust(right, right) - 1.0).abs() < 1e-12);
        }
    }
}
