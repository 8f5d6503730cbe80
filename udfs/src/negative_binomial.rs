//! Tails of a negative binomial law: of counts that vary more than Poisson's.
//!
//! Given by its mean and variance; both tails are looked at, so `p = 2·min(P(X ≥ k), P(X ≤ k))`,
//! each a regularised incomplete beta function.
//!
//! Source: Numerical Recipes §6.4 (continued fraction).

/// Largest mean that the tail is computed for: the continued fraction takes about its square root
/// of steps.
const MEAN_MAX: f64 = 1e4;
/// Steps of the continued fraction.
const STEPS_MAX: usize = 200;

/// `−ln p` of a count under a negative binomial law with these moments, both tails looked at; 0
/// within one standard deviation.
pub(crate) fn log_tail(count: f64, mean: f64, variance: f64) -> f64 {
    if mean <= 0.0 || (count - mean).powi(2) < variance {
        return 0.0;
    }
    // Beyond `MEAN_MAX` count in larger units; a spread below a Poisson law's there is not
    // believed.
    let unit = (mean / MEAN_MAX).max(1.0);
    let (k, mean) = (count / unit, mean / unit);
    let variance = (variance / (unit * unit)).max(1.1 * mean);
    let size = mean * mean / (variance - mean);
    let p = if k > mean { upper_tail(k, mean, size) } else { lower_tail(k, mean, size) };
    (-(2.0 * p.max(1e-300)).ln()).max(0.0)
}

/// P(X ≥ k) of a negative binomial law with this mean and size.
fn upper_tail(k: f64, mean: f64, size: f64) -> f64 {
    if k > 0.0 { beta_regularised(mean / (mean + size), k, size) } else { 1.0 }
}

/// P(X ≤ k).
fn lower_tail(k: f64, mean: f64, size: f64) -> f64 {
    beta_regularised(size / (mean + size), size, k + 1.0)
}

/// ln Γ(x) for x > 0 by Stirling's series after shifting x above 8; relative error below 1e-10.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 8.0 {
        product *= x;
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.918_938_533_204_672_8 + series - product.ln()
}

/// I_x(a, b), by Lentz's continued fraction on the side where it converges fast.
fn beta_regularised(x: f64, a: f64, b: f64) -> f64 {
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    if x < (a + 1.0) / (a + b + 2.0) {
        (front - a.ln()).exp() * beta_fraction(x, a, b)
    } else {
        1.0 - (front - b.ln()).exp() * beta_fraction(1.0 - x, b, a)
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let guard = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, 1.0 / guard(1.0 - (a + b) * x / (a + 1.0)));
    let mut h = d;
    for i in 1..=STEPS_MAX {
        let m = i as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let factor = d * c;
        h *= factor;
        if (factor - 1.0).abs() < 1e-8 {
            break;
        }
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_with_exact_sums() {
        // Negative binomial probabilities by their recurrence p(j+1) = p(j)·(j + r)/(j + 1)·q.
        for (mean, size) in [(0.01, 0.1), (3.0, 2.0), (40.0, 400.0)] {
            let q = mean / (mean + size);
            let (mut p, mut below) = ((1.0f64 - q).powf(size), 0.0);
            for j in 0..120 {
                let k = f64::from(j);
                let upper = upper_tail(k, mean, size);
                assert!((upper - (1.0 - below)).abs() < 1e-6, "{mean} {size} {k}: {upper}");
                below += p;
                let lower = lower_tail(k, mean, size);
                assert!((lower - below).abs() < 1e-6, "{mean} {size} {k}: {lower}");
                p *= (k + size) / (k + 1.0) * q;
            }
        }
    }
}
