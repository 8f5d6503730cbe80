//! How often noise alone would look like this.
//!
//! A signal of score s is a window that its own baseline exceeds with probability p = 10^−s. With
//! N windows watched per day, noise shows N·p windows a day at least that surprising. An opening
//! candidate is an *anchor*, its strongest series, and *companions*: independent series that
//! turned abnormal near it in time and topology. With M windows that could have coincided with
//! the anchor, u = M·p companions as surprising as a given one are expected by chance.
//!
//! ```text
//! companions  F = k · min over j of P[Poisson(u_(j)) ≥ j]      (u sorted, k companions, F ≤ 1)
//! product     π = N·p_anchor · F
//! candidate   E = π · (1 + ln(U/π)),  U = N·10^−floor          (E = π where π ≥ U)
//! ```
//!
//! The minimum is Berk and Jones' statistic: how unlikely is it that noise puts j series at least
//! this surprising next to the anchor, for the best j. It counts how many weak companions agree,
//! is not diluted by weaker ones, and k pays for the choice of j. The last line is the law of a
//! product of two uniform quantities, Fisher's method in units of events per day: without it the
//! freedom to trade a weak anchor for strong companions would go unpaid. E is thus the number of
//! noise candidates a day that look at least like this one, to be compared with a budget.
//!
//! Sources: R. A. Fisher, Statistical Methods for Research Workers (1932), §21.1; R. H. Berk and
//! D. H. Jones, Z. Wahrscheinlichkeitstheorie 47 (1979).

use std::f64::consts::LN_10;

/// Natural logarithm of E, the expected number of noise candidates per day like this one.
///
/// `windows_per_day` is N, `score` and `floor` are the anchor's score and the least score that a
/// signal has, `companions` holds ln u of each companion in any order.
pub fn ln_false_per_day(
    windows_per_day: f64,
    score: f64,
    floor: f64,
    companions: &mut [f64],
) -> f64 {
    let anchor = windows_per_day.ln() - score * LN_10;
    let product = anchor + ln_companions(companions);
    let most = windows_per_day.ln() - floor * LN_10;
    product + (most - product).max(0.0).ln_1p()
}

/// ln F; zero, which is certainty, without companions.
fn ln_companions(companions: &mut [f64]) -> f64 {
    companions.sort_by(f64::total_cmp);
    let best = companions
        .iter()
        .enumerate()
        .map(|(i, ln_u)| ln_poisson_tail(*ln_u, i + 1))
        .fold(0.0, f64::min);
    (best + (companions.len().max(1) as f64).ln()).min(0.0)
}

/// ln P[Poisson(u) ≥ j] for j ≥ 1; zero where u ≥ j, because nothing is surprising there.
fn ln_poisson_tail(ln_u: f64, j: usize) -> f64 {
    let j = j as f64;
    if ln_u >= j.ln() {
        return 0.0;
    }
    let u = ln_u.exp();
    let (mut sum, mut term, mut next) = (1.0, 1.0, j + 1.0);
    while term > sum * f64::EPSILON {
        term *= u / next;
        sum += term;
        next += 1.0;
    }
    let ln_factorial: f64 = (2..=j as u64).map(|i| (i as f64).ln()).sum();
    (j * ln_u - u - ln_factorial + f64::ln(sum)).min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One window a minute of 1,000 series.
    const N: f64 = 1_440_000.0;

    #[test]
    fn poisson_tail_by_hand() {
        let tail = |u: f64, j| ln_poisson_tail(u.ln(), j).exp();
        assert!((tail(0.5, 1) - (1.0 - (-0.5f64).exp())).abs() < 1e-12);
        assert!((tail(0.5, 2) - (1.0 - 1.5 * (-0.5f64).exp())).abs() < 1e-12);
        assert!((tail(1e-9, 3) - 1e-27 / 6.0).abs() < 1e-33);
        assert_eq!(tail(7.0, 3), 1.0);
    }

    #[test]
    fn the_weakest_signal_alone_is_as_common_as_signals_are() {
        let e = ln_false_per_day(N, 3.0, 3.0, &mut []).exp();
        assert!((e - 1440.0).abs() < 1e-6, "{e}");
    }

    #[test]
    fn a_companion_that_chance_explains_changes_nothing() {
        let alone = ln_false_per_day(N, 5.0, 3.0, &mut []);
        assert_eq!(alone, ln_false_per_day(N, 5.0, 3.0, &mut [2.0f64.ln()]));
    }

    #[test]
    fn more_and_stronger_companions_only_add_evidence() {
        let with = |u: &[f64]| {
            let mut ln: Vec<f64> = u.iter().map(|u| u.ln()).collect();
            ln_false_per_day(N, 4.0, 3.0, &mut ln)
        };
        assert!(with(&[1e-2]) < with(&[]));
        assert!(with(&[1e-4]) < with(&[1e-2]));
        assert!(with(&[1e-2, 1e-2, 1e-2]) < with(&[1e-2, 1e-2]));
    }

    #[test]
    fn extreme_scores_stay_finite() {
        let e = ln_false_per_day(N, 300.0, 3.0, &mut [-700.0; 64]);
        assert!(e.is_finite() && e < -600.0);
    }

    /// Noise of Poisson anchors and companions must cross a budget about as often as it says.
    #[test]
    fn the_budget_is_kept_by_noise() {
        let mut state = 7u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        let (days, mut opened) = (300, 0);
        for _ in 0..days * 1440 {
            let score = 3.0 - uniform().log10();
            // 200 windows near the anchor, each abnormal with probability 10^−3.
            let mut near = Vec::new();
            for _ in 0..200 {
                if uniform() < 1e-3 {
                    near.push((200.0 * 1e-3 * uniform()).ln());
                }
            }
            opened += u32::from(ln_false_per_day(N, score, 3.0, &mut near) <= 0.0);
        }
        let per_day = f64::from(opened) / f64::from(days);
        assert!((0.2..=1.2).contains(&per_day), "{per_day}");
    }
}
