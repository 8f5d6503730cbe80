//! Vectors by cosine, in a plain scan: thousands of documents take about a millisecond.

use crate::search::Hit;

/// Vectors of one length, each with the caller's number.
#[derive(Debug, Clone)]
pub struct Vectors {
    dimensions: usize,
    numbers: Vec<u64>,
    /// One after the other.
    values: Vec<f32>,
    /// In how many vectors each dimension is not zero.
    used: Vec<u32>,
}

impl Vectors {
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions, numbers: Vec::new(), values: Vec::new(), used: vec![0; dimensions] }
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Adds a vector; false, and nothing is added, where it has another length or holds what is no
    /// number.
    pub fn add(&mut self, number: u64, vector: &[f32]) -> bool {
        if vector.len() != self.dimensions || vector.iter().any(|v| !v.is_finite()) {
            return false;
        }
        self.numbers.push(number);
        self.values.extend_from_slice(vector);
        for (used, value) in self.used.iter_mut().zip(vector) {
            *used += u32::from(*value != 0.0);
        }
        true
    }

    /// In how many vectors each dimension is not zero.
    pub fn used(&self) -> &[u32] {
        &self.used
    }

    /// Vectors that point where `query` does, best first, with their cosine; `weights` scales the
    /// dimensions of both. Those at a right angle or beyond are left out.
    pub fn nearest(&self, query: &[f32], weights: &[f32]) -> Vec<Hit> {
        let scaled: Vec<f32> = query.iter().zip(weights).map(|(q, w)| q * w).collect();
        let length = norm(scaled.iter().copied());
        if self.dimensions == 0 || scaled.len() != self.dimensions || length == 0.0 {
            return Vec::new();
        }
        let cosine = |vector: &[f32]| {
            let own = || vector.iter().zip(weights).map(|(v, w)| v * w);
            let dot: f32 = own().zip(&scaled).map(|(v, q)| v * q).sum();
            dot / (norm(own()) * length)
        };
        let scores = self.values.chunks_exact(self.dimensions).map(cosine);
        let hits = self.numbers.iter().zip(scores).filter(|(_, score)| *score > 0.0);
        let mut hits: Vec<Hit> =
            hits.map(|(number, score)| Hit { number: *number, score }).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.number.cmp(&b.number)));
        hits
    }
}

fn norm(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|v| v * v).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_comes_first_and_weights_count() {
        let mut vectors = Vectors::new(2);
        assert!(vectors.add(1, &[1.0, 0.0]) && vectors.add(2, &[3.0, 4.0]));
        assert!(vectors.add(3, &[-1.0, 0.0]) && vectors.add(4, &[0.0, 0.0]));
        let found = |query: &[f32], weights: &[f32]| {
            vectors.nearest(query, weights).into_iter().map(|h| h.number).collect::<Vec<_>>()
        };
        assert_eq!(found(&[1.0, 0.0], &[1.0, 1.0]), [1, 2]);
        assert_eq!(found(&[1.0, 1.0], &[1.0, 1.0]), [2, 1]);
        assert_eq!(found(&[1.0, 1.0], &[1.0, 0.0]), [1, 2], "only the first dimension counts");
        assert!(found(&[0.0, 0.0], &[1.0, 1.0]).is_empty());
        assert_eq!(vectors.used(), [3, 1]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut vectors = Vectors::new(2);
        assert!(!vectors.add(1, &[1.0]) && !vectors.add(1, &[f32::NAN, 0.0]));
        assert!(vectors.is_empty() && vectors.nearest(&[1.0, 0.0], &[1.0, 1.0]).is_empty());
        assert!(vectors.add(1, &[1.0, 1.0]) && vectors.nearest(&[1.0], &[1.0]).is_empty());
        assert_eq!(vectors.len(), 1);
    }

    proptest! {
        #[test]
        fn a_vector_is_nearest_to_itself(
            all in prop::collection::vec(prop::collection::vec(-9i8..10, 4), 1..20),
        ) {
            let mut vectors = Vectors::new(4);
            let all: Vec<Vec<f32>> =
                all.iter().map(|v| v.iter().map(|x| f32::from(*x)).collect()).collect();
            for (number, vector) in (0..).zip(&all) {
                vectors.add(number, vector);
            }
            for vector in all.iter().filter(|v| v.iter().any(|x| *x != 0.0)) {
                let best = vectors.nearest(vector, &[1.0; 4])[0];
                prop_assert!((best.score - 1.0).abs() < 1e-5);
            }
        }
    }
}
