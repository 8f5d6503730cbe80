//! False discovery rate across the series of one tick (Benjamini & Hochberg, 1995).
//!
//! With `m` p-values sorted upwards, `q₍ᵢ₎ = min over j ≥ i of p₍ⱼ₎ · m / j`. Flagging every `q ≤
//! α` keeps the expected share of false flags at or below α, also under positive dependence
//! (Benjamini & Yekutieli, 2001), which is what series of one system have.

/// Turns −log10 p of the series of one tick into −log10 of the adjusted p, in the same order.
///
/// A NaN or negative score counts as p = 1 and gives 0. The answer is never above the score given,
/// never below 0, and rises with it.
pub fn benjamini_hochberg(scores: &[f64]) -> Vec<f64> {
    let clean: Vec<f64> = scores.iter().map(|s| if *s > 0.0 { *s } else { 0.0 }).collect();
    let mut order: Vec<usize> = (0..clean.len()).collect();
    order.sort_by(|a, b| clean[*b].total_cmp(&clean[*a]).then(a.cmp(b)));
    let m = (clean.len() as f64).log10();
    let mut out = vec![0.0; clean.len()];
    let mut best = 0.0f64;
    for (rank, index) in order.iter().enumerate().rev() {
        best = best.max(clean[*index] - m + ((rank + 1) as f64).log10()).min(clean[*index]);
        out[*index] = best;
    }
    out
}

/// The scores of the series of one tick that are discoveries at false discovery rate `alpha`; 0
/// for the others.
///
/// A threshold on the result then bounds both: how often one series alarms (the score), and what
/// share of a tick's alarms is false (`alpha`), however many series there are.
pub fn discoveries(scores: &[f64], alpha: f64) -> Vec<f64> {
    let needed = -alpha.log10();
    let adjusted = benjamini_hochberg(scores);
    let keep = |(score, adjusted): (&f64, f64)| if adjusted >= needed { *score } else { 0.0 };
    scores.iter().zip(adjusted).map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_worked_example_of_the_paper() {
        // The 15 p-values of Benjamini & Hochberg 1995, section 3.2: four pass at 0.05.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        let scores: Vec<f64> = p.iter().map(|p: &f64| -p.log10()).collect();
        let adjusted = benjamini_hochberg(&scores);
        assert_eq!(adjusted.iter().filter(|s| **s >= -0.05f64.log10()).count(), 4);
        assert!((10f64.powf(-adjusted[3]) - 0.0095 * 15.0 / 4.0).abs() < 1e-9);
    }

    #[test]
    fn discoveries_keep_their_score_and_crowds_need_more() {
        assert_eq!(discoveries(&[3.2, 0.1], 0.05), [3.2, 0.0]);
        let mut crowd = vec![0.1; 1_000];
        crowd[7] = 3.2;
        assert_eq!(discoveries(&crowd, 0.05), vec![0.0; 1_000]);
        crowd[8] = 5.0;
        assert_eq!(discoveries(&crowd, 0.05)[8], 5.0);
    }

    #[test]
    fn nothing_and_nonsense_are_harmless() {
        assert!(benjamini_hochberg(&[]).is_empty());
        assert_eq!(benjamini_hochberg(&[4.0]), [4.0]);
        let out = benjamini_hochberg(&[f64::NAN, 5.0, f64::INFINITY, -3.0]);
        assert_eq!(out[0], 0.0);
        assert!((out[1] - (5.0 - 2f64.log10())).abs() < 1e-12);
        assert_eq!(out[2], f64::INFINITY);
        assert_eq!(out[3], 0.0);
    }

    #[test]
    fn keeps_order_and_never_raises_a_score() {
        let scores: Vec<f64> = (0..200u32).map(|i| f64::from(i * 7919 % 211) / 20.0).collect();
        let out = benjamini_hochberg(&scores);
        for i in 0..scores.len() {
            assert!(out[i] <= scores[i] && out[i] >= 0.0);
            for j in 0..scores.len() {
                assert!(scores[i] > scores[j] || out[i] <= out[j]);
            }
        }
    }
}
