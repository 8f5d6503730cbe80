//! Who calls whom, and how blame runs along the calls.

use std::collections::BTreeSet;

/// Share of the walk that follows calls; the rest starts again at the symptoms (Page et al. 1999).
const DAMPING: f64 = 0.85;
/// Enough for the walk's mass to settle to 1e-4: 0.85^57.
const STEPS: usize = 57;

/// Calls between services `0..len`, without self-calls.
#[derive(Clone, Debug)]
pub struct CallGraph {
    callees: Vec<Vec<usize>>,
    callers: Vec<Vec<usize>>,
}

impl CallGraph {
    pub fn new(len: usize, calls: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let calls: BTreeSet<(usize, usize)> =
            calls.into_iter().filter(|(a, b)| a != b && *a < len && *b < len).collect();
        let mut graph =
            CallGraph { callees: vec![Vec::new(); len], callers: vec![Vec::new(); len] };
        for (caller, callee) in calls {
            graph.callees[caller].push(callee);
            graph.callers[callee].push(caller);
        }
        graph
    }

    pub fn is_empty(&self) -> bool {
        self.callees.iter().all(Vec::is_empty)
    }

    pub fn callees(&self, service: usize) -> &[usize] {
        &self.callees[service]
    }

    pub fn callers(&self, service: usize) -> &[usize] {
        &self.callers[service]
    }

    /// Services that call others and are called by none: where users come in.
    pub fn entries(&self) -> Vec<usize> {
        (0..self.callees.len())
            .filter(|&v| self.callers[v].is_empty() && !self.callees[v].is_empty())
            .collect()
    }

    pub fn isolated(&self, service: usize) -> bool {
        self.callees[service].is_empty() && self.callers[service].is_empty()
    }

    /// Makes `probe` a caller of every entry.
    pub fn attach_probe(&mut self, probe: usize) {
        for entry in self.entries() {
            self.callees[probe].push(entry);
            self.callers[entry].push(probe);
        }
    }
}

/// What is left of each severity after the neighbour that explains most of it.
///
/// `explains(v, n)` is the share, 0..=1, of `v`'s deviation that neighbour `n` accounts for.
pub fn residuals(
    severity: &[f64],
    neighbours: impl Fn(usize) -> Vec<usize>,
    explains: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    (0..severity.len())
        .map(|v| {
            let most = neighbours(v)
                .into_iter()
                .map(|n| explains(v, n).clamp(0.0, 1.0))
                .fold(0.0, f64::max);
            severity[v] * (1.0 - most)
        })
        .collect()
}

/// Personalised PageRank from the symptoms towards what explains them.
///
/// From `v` the walk goes on to callee `c` with probability `follow(v, c)`, scaled so that all
/// callees together take at most as much as the one that explains most, and otherwise stays. The
/// result sums to one; all zero where there are no symptoms.
pub fn blame(
    graph: &CallGraph,
    symptoms: &[f64],
    follow: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let total: f64 = symptoms.iter().sum();
    if total <= 0.0 {
        return vec![0.0; symptoms.len()];
    }
    let start: Vec<f64> = symptoms.iter().map(|s| s / total).collect();
    let onward: Vec<Vec<(usize, f64)>> = (0..symptoms.len())
        .map(|v| {
            let shares: Vec<(usize, f64)> =
                graph.callees(v).iter().map(|&c| (c, follow(v, c).clamp(0.0, 1.0))).collect();
            let sum: f64 = shares.iter().map(|(_, p)| p).sum();
            let most = shares.iter().map(|(_, p)| *p).fold(0.0, f64::max);
            shares.into_iter().filter(|(_, p)| *p > 0.0).map(|(c, p)| (c, p * most / sum)).collect()
        })
        .collect();
    let mut mass = start.clone();
    for _ in 0..STEPS {
        let mut next: Vec<f64> = start.iter().map(|s| s * (1.0 - DAMPING)).collect();
        for (v, m) in mass.iter().enumerate() {
            let gone: f64 = onward[v].iter().map(|(_, p)| p).sum();
            next[v] += DAMPING * m * (1.0 - gone);
            for (c, p) in &onward[v] {
                next[*c] += DAMPING * m * p;
            }
        }
        mass = next;
    }
    mass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blame_flows_to_the_slow_database() {
        // web -> api -> db, and web -> cache which is fine
        let g = CallGraph::new(4, [(0, 1), (1, 2), (0, 3)]);
        let sev = [0.8, 0.8, 0.7, 0.0];
        let follow = |v: usize, c: usize| f64::min(1.0, sev[c] / sev[v]);
        let mass = blame(&g, &sev, follow);
        assert!((mass.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(mass[2] > mass[0] && mass[2] > mass[1] && mass[3] < 1e-9, "{mass:?}");
        let left = residuals(&sev, |v| g.callees(v).to_vec(), follow);
        assert!(left[2] > left[0] && left[2] > left[1], "{left:?}");
    }

    #[test]
    fn no_symptoms_no_blame() {
        let g = CallGraph::new(2, [(0, 1), (1, 0)]);
        assert_eq!(blame(&g, &[0.0, 0.0], |_, _| 1.0), vec![0.0, 0.0]);
    }
}
