//! One order out of several: reciprocal rank fusion (Cormack, Clarke and Büttcher 2009).

use std::collections::BTreeMap;

/// Damps the first places, as the paper has it.
const K: f64 = 60.0;

/// What is in any of the lists, best first, with the sum of `1 / (60 + rank)` over them; ranks
/// count from 1, and only the first place of an item in a list counts. Equal ones by their order.
pub fn fuse<T: Copy + Ord>(lists: &[Vec<T>], weight: impl Fn(T) -> f64) -> Vec<(T, f64)> {
    let mut scores: BTreeMap<T, f64> = BTreeMap::new();
    for list in lists {
        let mut seen = std::collections::BTreeSet::new();
        let places = list.iter().filter(|item| seen.insert(**item));
        for (rank, item) in places.enumerate() {
            *scores.entry(*item).or_default() += 1.0 / (K + rank as f64 + 1.0);
        }
    }
    let mut fused: Vec<(T, f64)> =
        scores.into_iter().map(|(item, score)| (item, score * weight(item))).collect();
    fused.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    fused
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agreement_beats_one_first_place_and_weights_count() {
        let lists = [vec![1, 2], vec![3, 2], vec![4, 4, 2]];
        let order = |weight: fn(i32) -> f64| {
            fuse(&lists, weight).into_iter().map(|(i, _)| i).collect::<Vec<_>>()
        };
        assert_eq!(order(|_| 1.0), [2, 1, 3, 4]);
        assert_eq!(order(|i| if i == 2 { 0.1 } else { 1.0 }), [1, 3, 4, 2]);
        let top = fuse(&lists[..1], |_| 1.0)[0];
        assert_eq!(top, (1, 1.0 / 61.0));
    }

    proptest! {
        #[test]
        fn the_order_of_the_lists_does_not_matter(
            mut lists in prop::collection::vec(prop::collection::vec(0u8..20, 0..20), 0..4),
        ) {
            let items = |lists: &[Vec<u8>]| {
                let fused = fuse(lists, |_| 1.0);
                // Sums of other orders differ in their last digit.
                fused.into_iter().map(|(i, s)| (i, (s * 1e9).round())).collect::<Vec<_>>()
            };
            let mut before = items(&lists);
            lists.reverse();
            let mut after = items(&lists);
            before.sort_by_key(|(item, _)| *item);
            after.sort_by_key(|(item, _)| *item);
            prop_assert_eq!(before, after);
        }

        #[test]
        fn what_leads_everywhere_leads(
            lists in prop::collection::vec(prop::collection::vec(1u8..20, 0..20), 1..4),
        ) {
            let led: Vec<Vec<u8>> =
                lists.into_iter().map(|l| std::iter::once(0).chain(l).collect()).collect();
            prop_assert_eq!(fuse(&led, |_| 1.0)[0].0, 0);
        }
    }
}
