//! How surprising an event is in a series that is zero most of the time, judged by all such series
//! of its kind.
//!
//! Errors, restarts and throttled periods are zero but now and then. One such series does not tell
//! for long how often, and how large its next event may be; others of its kind (the same metric of
//! other services, replicas and labels) do. Of the `W` windows that idle series of a kind have
//! shown, `E` held an event, of mean size `m`. For an event of size `v` in a series that has been
//! quiet for `n` windows itself
//!
//! ```text
//! score = log10 (W + 1)/(E + 1) + log10(1 + n/PRIOR) + E · log10(1 + v/(m·E))
//! ```
//!
//! The first part is how often such events come; the second how much less often they come in this
//! series than in its kind, which counts as `PRIOR` windows of its own (gamma–Poisson, for no event
//! in `n` windows); the third is the tail of exponential sizes whose mean is known from `E` of them
//! (the predictive law is Pareto's).
//!
//! Source: Gelman et al., Bayesian Data Analysis, §2.6 and §2.7.

use crate::codec::{Reader, put_f32s};

/// Windows of a kind that are remembered.
const MEMORY: f32 = 20_000.0;
/// Windows of its own that what is known of its kind is worth to a series.
const PRIOR: f64 = 100.0;
/// A larger event is learnt as one so many times the mean, so that a fault does not make the next
/// one usual.
const LARGEST: f32 = 10.0;
/// Events from which the mean size is known well enough for that.
const ENOUGH: f32 = 3.0;

/// What the idle series of one kind have shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RareEvents {
    /// As far as they are remembered.
    windows: f32,
    /// Share of windows with an event.
    share: f32,
    /// Mean size of an event.
    size: f32,
}

impl RareEvents {
    pub(crate) const NEW: Self = Self { windows: 0.0, share: 0.0, size: 0.0 };

    fn events(&self) -> f32 {
        self.windows * self.share
    }

    /// Mean size of an event; 0 before the first.
    pub(crate) fn size(&self) -> f64 {
        self.size.into()
    }

    /// True as soon as the kind is known to have events.
    pub(crate) fn happen(&self) -> bool {
        self.events() >= 1.0
    }

    /// −log10 of the probability of an event of at least this size in a series that had none in
    /// its last windows; 0 where there is none.
    pub(crate) fn score(&self, size: f64, quiet: u32) -> f64 {
        if size == 0.0 {
            return 0.0;
        }
        let (windows, events) = (f64::from(self.windows), f64::from(self.events()));
        let rare = ((windows + 1.0) / (events + 1.0)).log10();
        let here = (1.0 + f64::from(quiet) / PRIOR).log10();
        let usual = f64::from(self.size);
        let larger = if self.happen() { events * (size / usual / events).ln_1p() } else { 0.0 };
        rare + here + larger / std::f64::consts::LN_10
    }

    /// Learns from one window of one series.
    pub(crate) fn learn(&mut self, size: f64) {
        self.windows = (self.windows + 1.0).min(MEMORY);
        let event = size > 0.0;
        self.share += (f32::from(u8::from(event)) - self.share) / self.windows;
        if event {
            let events = self.events().max(1.0);
            let most = if events > ENOUGH { LARGEST * self.size } else { f32::MAX };
            let size = (size.min(f64::from(f32::MAX)) as f32).min(most);
            self.size += size / events - self.size / events;
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_f32s(out, &[self.windows, self.share, self.size]);
    }

    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        let [windows, share, size] = from.f32s()?;
        let sound = windows >= 0.0 && (0.0..=1.0).contains(&share) && size >= 0.0;
        sound.then_some(Self { windows, share, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Rng;

    /// A kind whose windows hold events with this probability, exponential of mean 1.
    fn kind(windows: usize, share: f64) -> RareEvents {
        let (mut kind, mut rng) = (RareEvents::NEW, Rng(5));
        for _ in 0..windows {
            let event = rng.uniform() < share;
            kind.learn(if event { -rng.uniform().ln() } else { 0.0 });
        }
        kind
    }

    #[test]
    fn an_event_is_as_rare_as_those_of_its_kind_and_a_larger_one_rarer() {
        let kind = kind(10_000, 0.01);
        assert!((kind.score(0.01, 0) - 2.0).abs() < 0.1, "{}", kind.score(0.01, 0));
        assert!((kind.score(4.6, 0) - 4.0).abs() < 0.4, "{}", kind.score(4.6, 0));
        assert!((kind.score(0.01, 900) - 3.0).abs() < 0.1, "quiet for long");
        assert_eq!(kind.score(0.0, 900), 0.0);
    }

    #[test]
    fn scores_are_no_higher_than_they_should_be() {
        let (mut kind, mut rng) = (RareEvents::NEW, Rng(9));
        let (mut alarms, windows) = (0, 50_000);
        for _ in 0..windows {
            let size = if rng.uniform() < 0.02 { -rng.uniform().ln() } else { 0.0 };
            alarms += usize::from(kind.score(size, 0) >= 3.0);
            kind.learn(size);
        }
        assert!(alarms <= windows / 1_000, "{alarms}");
    }

    #[test]
    fn a_kind_that_never_moved_knows_no_sizes() {
        let kind = kind(999, 0.0);
        assert!(!kind.happen());
        assert_eq!(kind.score(f64::MAX, 0), 3.0);
    }

    #[test]
    fn a_fault_does_not_make_the_next_one_usual() {
        let mut kind = kind(2_000, 0.01);
        let before = kind.score(500.0, 0);
        for _ in 0..4 {
            kind.learn(500.0);
        }
        assert!(before > 5.0 && kind.score(500.0, 0) > 4.0, "{}", kind.score(500.0, 0));
    }
}
