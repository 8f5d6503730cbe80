//! Who calls whom, as far as it is known.
//!
//! Edges come from `topology.csv`, from spans or from an inventory; all sources merge into one
//! graph. Distances count undirected edges, because a fault shows up on either side of a call,
//! and end at [`MAX_HOPS`]: further away everything is near everything in a real call graph.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::Nanos;

/// Longest distance that means anything for correlation.
pub const MAX_HOPS: u8 = 2;

/// Edges kept; beyond it the edge that was seen longest ago makes room.
pub const MAX_EDGES: usize = 65_536;

/// When a static edge was seen: always.
const FOREVER: Nanos = Nanos::MAX;

/// Directed caller → callee edges, each with the event time at which it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    callees: BTreeMap<String, BTreeMap<String, Nanos>>,
    callers: BTreeMap<String, BTreeSet<String>>,
    edges: usize,
}

impl Topology {
    /// A graph of edges that never age, as a file or an inventory states them.
    pub fn of_static<I, S>(edges: I) -> Self
    where
        I: IntoIterator<Item = (S, S)>,
        S: AsRef<str>,
    {
        let mut topology = Self::default();
        for (caller, callee) in edges {
            topology.observe(caller.as_ref(), callee.as_ref(), FOREVER);
        }
        topology
    }

    /// Records that `caller` called `callee` at `at`; returns whether the edge is new.
    ///
    /// A call to oneself and an empty name say nothing and are ignored.
    pub fn observe(&mut self, caller: &str, callee: &str, at: Nanos) -> bool {
        if caller == callee || caller.is_empty() || callee.is_empty() {
            return false;
        }
        if let Some(seen) = self.callees.get_mut(caller).and_then(|to| to.get_mut(callee)) {
            *seen = at.max(*seen);
            return false;
        }
        if self.edges >= MAX_EDGES {
            self.evict();
        }
        self.callees.entry(caller.to_owned()).or_default().insert(callee.to_owned(), at);
        self.callers.entry(callee.to_owned()).or_default().insert(caller.to_owned());
        self.edges += 1;
        true
    }

    /// All edges with the time of their last sighting, sorted by caller and callee.
    pub fn edges(&self) -> impl Iterator<Item = (&str, &str, Nanos)> {
        self.callees.iter().flat_map(|(caller, to)| {
            to.iter().map(move |(callee, at)| (caller.as_str(), callee.as_str(), *at))
        })
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.edges
    }

    pub fn is_empty(&self) -> bool {
        self.edges == 0
    }

    /// Whether any edge touches this service; of any other its neighbours are unknown.
    pub fn knows(&self, service: &str) -> bool {
        self.callees.contains_key(service) || self.callers.contains_key(service)
    }

    pub fn callers(&self, service: &str) -> impl Iterator<Item = &str> {
        self.callers.get(service).into_iter().flatten().map(String::as_str)
    }

    pub fn callees(&self, service: &str) -> impl Iterator<Item = &str> {
        self.callees.get(service).into_iter().flat_map(|to| to.keys()).map(String::as_str)
    }

    /// Distance over undirected edges, or `None` beyond [`MAX_HOPS`].
    pub fn hops(&self, a: &str, b: &str) -> Option<u8> {
        if a == b {
            return Some(0);
        }
        if self.adjacent(a, b) {
            return Some(1);
        }
        self.neighbours(a).any(|via| self.adjacent(via, b)).then_some(MAX_HOPS)
    }

    /// Every service within [`MAX_HOPS`] of any of `centres`, with its least distance.
    pub fn reach<'a>(&'a self, centres: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, u8> {
        let mut found = BTreeMap::new();
        let mut frontier = Vec::new();
        for centre in centres {
            if found.insert(centre.to_owned(), 0).is_none() {
                frontier.push(centre);
            }
        }
        for hops in 1..=MAX_HOPS {
            let mut next = Vec::new();
            for neighbour in frontier.iter().flat_map(|service| self.neighbours(service)) {
                if !found.contains_key(neighbour) {
                    found.insert(neighbour.to_owned(), hops);
                    next.push(neighbour);
                }
            }
            frontier = next;
        }
        found
    }

    /// Whether `service` is `on` or calls it over at most [`MAX_HOPS`] calls.
    pub fn depends(&self, service: &str, on: &str) -> bool {
        service == on || self.calls(service, on)
    }

    fn calls(&self, from: &str, to: &str) -> bool {
        let direct = |a: &str| self.callees.get(a).is_some_and(|callees| callees.contains_key(to));
        direct(from) || self.callees(from).any(direct)
    }

    fn adjacent(&self, a: &str, b: &str) -> bool {
        let directed =
            |x: &str, y: &str| self.callees.get(x).is_some_and(|callees| callees.contains_key(y));
        directed(a, b) || directed(b, a)
    }

    fn neighbours(&self, service: &str) -> impl Iterator<Item = &str> {
        self.callees(service).chain(self.callers(service))
    }

    fn evict(&mut self) {
        let oldest = self
            .edges()
            .min_by(|a, b| (a.2, a.0, a.1).cmp(&(b.2, b.0, b.1)))
            .map(|(caller, callee, _)| (caller.to_owned(), callee.to_owned()));
        let Some((caller, callee)) = oldest else { return };
        if let Some(to) = self.callees.get_mut(&caller) {
            to.remove(&callee);
            if to.is_empty() {
                self.callees.remove(&caller);
            }
        }
        if let Some(from) = self.callers.get_mut(&callee) {
            from.remove(&caller);
            if from.is_empty() {
                self.callers.remove(&callee);
            }
        }
        self.edges -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// front → cart → db, front → mail
    fn shop() -> Topology {
        Topology::of_static([("front", "cart"), ("cart", "db"), ("front", "mail")])
    }

    #[test]
    fn hops_are_undirected_and_end_at_two() {
        let shop = shop();
        for (a, b, hops) in [
            ("front", "front", Some(0)),
            ("front", "cart", Some(1)),
            ("db", "cart", Some(1)),
            ("front", "db", Some(2)),
            ("cart", "mail", Some(2)),
            ("db", "mail", None),
            ("front", "nobody", None),
        ] {
            assert_eq!(shop.hops(a, b), hops, "{a} {b}");
        }
    }

    #[test]
    fn callers_depend_on_what_they_call_and_not_the_other_way() {
        let shop = shop();
        assert!(shop.depends("front", "db") && shop.depends("db", "db"));
        assert!(!shop.depends("db", "front") && !shop.depends("cart", "mail"));
    }

    #[test]
    fn self_calls_and_empty_names_are_no_edges() {
        let mut topology = Topology::default();
        assert!(!topology.observe("a", "a", 1));
        assert!(!topology.observe("", "a", 1));
        assert!(topology.is_empty() && !topology.knows("a"));
    }

    #[test]
    fn the_oldest_edge_makes_room() {
        let mut topology = Topology::default();
        for i in 0..=MAX_EDGES {
            topology.observe("hub", &format!("leaf{i}"), i as Nanos);
        }
        assert_eq!(topology.len(), MAX_EDGES);
        assert!(!topology.knows("leaf0") && topology.knows("leaf1"));
    }

    fn edges() -> impl Strategy<Value = Vec<(u8, u8, i64)>> {
        prop::collection::vec((0u8..6, 0u8..6, 0i64..9), 0..12)
    }

    fn build(edges: &[(u8, u8, i64)]) -> Topology {
        let mut topology = Topology::default();
        for (a, b, at) in edges {
            topology.observe(&format!("s{a}"), &format!("s{b}"), *at);
        }
        topology
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_what_order_calls_are_seen(a in edges(), b in edges()) {
            prop_assert_eq!(build(&[&a[..], &b].concat()), build(&[&b[..], &a].concat()));
        }

        #[test]
        fn hops_agree_with_reach_and_are_symmetric(edges in edges()) {
            let topology = build(&edges);
            for a in 0..6 {
                let a = format!("s{a}");
                let reach = topology.reach([a.as_str()]);
                for b in 0..6 {
                    let b = format!("s{b}");
                    prop_assert_eq!(topology.hops(&a, &b), reach.get(&b).copied());
                    prop_assert_eq!(topology.hops(&a, &b), topology.hops(&b, &a));
                }
            }
        }
    }
}
