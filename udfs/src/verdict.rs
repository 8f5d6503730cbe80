//! What a detector says about one window.

/// Largest score any detector reports: beyond one in 10³⁰ no tail model means anything.
pub const SCORE_MAX: f64 = 30.0;

/// What one window says about its series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Surprise: −log10 of the tail probability under the series' own baseline, in
    /// `0.0..=SCORE_MAX`, always finite.
    pub score: f64,
    /// The value that the baseline expected, in the unit of the series.
    pub expected: f64,
    /// −1 below what was expected, 1 above, 0 neither (or too early to say).
    pub direction: i8,
}

impl Verdict {
    /// A window about which nothing can be said.
    pub(crate) fn silent(expected: f64) -> Self {
        Self { score: 0.0, expected, direction: 0 }
    }
}
