//! When a series began to deviate: a change is found by CUSUM and dated by its run length.
//!
//! Page's one-sided sums (Biometrika 1954) in units of the baseline's spread, with the usual
//! allowance of half a unit, tell that there was a change. It was when the run of samples that the
//! alarm belongs to began, which is the most likely one of Bayesian online change point detection
//! (Adams and MacKay, arXiv 0710.3742, 2007):
//!
//! ```text
//! P(run begins at i, x) = h · Σ P(earlier runs, x before i) · Π over j ≥ i of P(x_j | x_i … x_j−1)
//! ```
//!
//! with hazard h. Before any change samples are standard normal; those of a run have an unknown
//! mean and variance under a normal-inverse-gamma prior, so that each is predicted by a Student t.
//! One wild sample in front of the alarm lets a sum leave zero too early, but makes no run.

/// Reference value in units of spread.
const ALLOWANCE: f64 = 0.5;
/// Decision limit in units of spread: an average run of some hundreds of samples when in control.
const LIMIT: f64 = 5.0;
/// Changes per sample that are expected beforehand: as rare as alarms in control.
const HAZARD: f64 = 1.0 / 250.0;
/// Prior of a run: as much as a tenth of a sample at the baseline's centre for its mean, and one
/// sample of the baseline's variance.
const MEAN_WEIGHT: f64 = 0.1;
const SHAPE: f64 = 0.5;
/// Samples are clipped at so many spreads: how far beyond says nothing about when.
const Z_MAX: f64 = 30.0;
/// Samples before the alarm that are dated among; a change further back is dated to the first.
const LOOKBACK: usize = 240;

/// Time of the change in `points` (time order), or `None` if the sums stay in control or the
/// change came before the first of them. `up` tells the direction to look for.
pub fn onset(points: &[(i64, f64)], centre: f64, spread: f64, up: bool) -> Option<i64> {
    let unit = if up { spread } else { -spread };
    let distance = |(_, value): &(i64, f64)| ((value - centre) / unit).clamp(-Z_MAX, Z_MAX);
    let z: Vec<f64> = points.iter().map(distance).collect();
    let mut sum = 0.0;
    let alarm = z.iter().position(|z| {
        sum = f64::max(0.0, sum + z - ALLOWANCE);
        sum > LIMIT
    })?;
    let from = (alarm + 1).saturating_sub(LOOKBACK);
    // What deviates from the first sample on began at an unknown time before.
    let begins = from + run_of_the_last(&z[from..=alarm])?;
    (begins > 0).then(|| points[begins].0)
}

/// A run of samples of one mean and variance.
struct Run {
    begins: usize,
    /// ln of the joint probability of the samples and of this run being the present one.
    ln_joint: f64,
    count: f64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

impl Run {
    /// ln of the probability density of the next sample of the run.
    fn ln_predicted(&self, z: f64) -> f64 {
        let weight = MEAN_WEIGHT + self.count;
        let centre = self.count * self.mean / weight;
        let shape = SHAPE + 0.5 * self.count;
        let pull = MEAN_WEIGHT * self.count * self.mean * self.mean / weight;
        let scale = SHAPE + 0.5 * (self.squares + pull);
        let variance = scale * (weight + 1.0) / (shape * weight);
        let freedom = 2.0 * shape;
        ln_gamma_ratio(shape)
            - 0.5 * (freedom * std::f64::consts::PI * variance).ln()
            - (shape + 0.5) * ((z - centre).powi(2) / (freedom * variance)).ln_1p()
    }

    fn add(&mut self, z: f64) {
        self.count += 1.0;
        let before = z - self.mean;
        self.mean += before / self.count;
        self.squares += before * (z - self.mean);
    }
}

/// ln Γ(a + ½) − ln Γ(a) by its asymptotic series, after shifting `a` up to where that is good.
fn ln_gamma_ratio(mut a: f64) -> f64 {
    let mut shifted = 0.0;
    while a < 8.0 {
        shifted += (a / (a + 0.5)).ln();
        a += 1.0;
    }
    shifted + 0.5 * a.ln() - 1.0 / (8.0 * a) + 1.0 / (192.0 * a.powi(3))
}

/// Where the most likely run that holds the last sample begins, or `None` if nothing has changed.
fn run_of_the_last(z: &[f64]) -> Option<usize> {
    let mut unchanged = 0.0;
    let mut runs: Vec<Run> = Vec::with_capacity(z.len());
    for (i, z) in z.iter().enumerate() {
        let most = runs.iter().map(|run| run.ln_joint).fold(unchanged, f64::max);
        let others: f64 = runs.iter().map(|run| (run.ln_joint - most).exp()).sum();
        let all = most + ((unchanged - most).exp() + others).ln();
        runs.push(Run { begins: i, ln_joint: all, count: 0.0, mean: 0.0, squares: 0.0 });
        let stays = (1.0 - HAZARD).ln();
        unchanged += stays - 0.5 * (z * z + (2.0 * std::f64::consts::PI).ln());
        for run in &mut runs {
            let turn = if run.begins == i { HAZARD.ln() } else { stays };
            run.ln_joint += turn + run.ln_predicted(*z);
            run.add(*z);
        }
    }
    let best = runs.iter().max_by(|a, b| a.ln_joint.total_cmp(&b.ln_joint))?;
    (best.ln_joint > unchanged).then_some(best.begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: impl IntoIterator<Item = f64>) -> Vec<(i64, f64)> {
        (0..).zip(values).collect()
    }

    #[test]
    fn the_change_is_dated_back() {
        let points = points((0..20).map(|i| if i < 10 { 0.0 } else { 2.0 }));
        assert_eq!(onset(&points, 0.0, 1.0, true), Some(10));
        assert_eq!(onset(&points, 0.0, 1.0, false), None);
        assert_eq!(onset(&points[10..], 0.0, 1.0, true), None);
    }

    #[test]
    fn a_wild_sample_before_does_not_date_it() {
        let value = |i: i32| match i {
            6 => 4.0,
            7 | 8 => 0.4,
            0..12 => f64::from(i % 3 - 1),
            _ => 5.0 + f64::from(i % 2),
        };
        assert_eq!(onset(&points((0..20).map(value)), 0.0, 1.0, true), Some(12));
    }

    #[test]
    fn a_student_t_by_hand() {
        // No samples: 1 degree of freedom, centre 0, variance ½·1.1/(½·.1) = 11.
        let run = Run { begins: 0, ln_joint: 0.0, count: 0.0, mean: 0.0, squares: 0.0 };
        let cauchy = |z: f64| {
            let gamma = 11f64.sqrt();
            1.0 / (std::f64::consts::PI * gamma * (1.0 + (z / gamma).powi(2)))
        };
        for z in [0.0, 1.0, -7.5] {
            assert!((run.ln_predicted(z).exp() - cauchy(z)).abs() < 1e-7);
        }
        assert!((ln_gamma_ratio(0.5) + 0.5 * std::f64::consts::PI.ln()).abs() < 1e-7);
    }
}
