//! Seeded noise for tests and benches: families that real metrics resemble.

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1, never 0.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (limit, mut k, mut p) = ((-mean).exp(), 0.0, self.uniform());
        while p > limit {
            k += 1.0;
            p *= self.uniform();
        }
        k
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    Normal,
    LogNormal,
    Poisson,
    RarePoisson,
    StudentT3,
    Ar1,
    Ar1Slow,
    Bursty,
    Uniform,
    Bimodal,
    Rounded,
    Mixed,
    StochasticVolatility,
    Cron,
    HeavyAr1,
}

pub const FAMILIES: [Family; 15] = [
    Family::Normal,
    Family::LogNormal,
    Family::Poisson,
    Family::RarePoisson,
    Family::StudentT3,
    Family::Ar1,
    Family::Ar1Slow,
    Family::Bursty,
    Family::Uniform,
    Family::Bimodal,
    Family::Rounded,
    Family::Mixed,
    Family::StochasticVolatility,
    Family::Cron,
    Family::HeavyAr1,
];

/// A stationary source of one family with a spread of about 1.
pub struct Noise {
    pub family: Family,
    pub rng: Rng,
    state: f64,
}

impl Noise {
    pub fn new(family: Family, seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
        let state = match family {
            Family::Ar1 | Family::Ar1Slow => rng.normal(),
            _ => 0.0,
        };
        Self { family, rng, state }
    }

    pub fn next(&mut self) -> f64 {
        let r = &mut self.rng;
        match self.family {
            Family::Normal => r.normal(),
            Family::LogNormal => (0.8 * r.normal()).exp(),
            Family::Poisson => r.poisson(20.0) / 4.5,
            Family::RarePoisson => r.poisson(0.2),
            Family::StudentT3 => {
                let chi: f64 = (0..3).map(|_| r.normal().powi(2)).sum();
                r.normal() / (chi / 3.0).sqrt()
            }
            Family::Ar1 => {
                self.state = 0.8 * self.state + 0.6 * r.normal();
                self.state
            }
            Family::Ar1Slow => {
                self.state = 0.97 * self.state + (1.0f64 - 0.97 * 0.97).sqrt() * r.normal();
                self.state
            }
            Family::Bursty => {
                if self.state > 0.5 {
                    self.state = if r.uniform() < 0.3 { 0.0 } else { 1.0 };
                } else if r.uniform() < 0.01 {
                    self.state = 1.0;
                }
                0.3 * r.normal() + self.state * (5.0 + 3.0 * r.uniform())
            }
            Family::Uniform => 3.4 * r.uniform(),
            Family::Bimodal => 0.2 * r.normal() + if r.uniform() < 0.3 { 2.0 } else { 0.0 },
            Family::Rounded => (r.normal() * 1.5).round(),
            Family::StochasticVolatility => {
                self.state = 0.98 * self.state + 0.12 * r.normal();
                0.8 * self.state.exp() * r.normal()
            }
            Family::Cron => {
                self.state += 1.0;
                let job = self.state % 97.0 < 3.0;
                0.4 * r.normal() + if job { 5.0 + r.normal() } else { 0.0 }
            }
            Family::HeavyAr1 => {
                let chi: f64 = (0..3).map(|_| r.normal().powi(2)).sum();
                self.state = 0.85 * self.state + 0.35 * r.normal() / (chi / 3.0).sqrt();
                self.state
            }
            Family::Mixed => {
                self.state = 0.9 * self.state + 0.3 * r.normal();
                self.state + if r.uniform() < 0.02 { 6.0 * r.uniform() } else { 0.0 }
            }
        }
    }
}
