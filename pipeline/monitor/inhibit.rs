//! Inhibition: a firing alert silences the notifications of those that it explains.

use serde::{Deserialize, Serialize};

use super::matcher::{Labels, Matcher, all_match};

/// While an alert that matches `source_matchers` fires, those that match `target_matchers` and
/// agree with it on every label of `equal` are muted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InhibitRule {
    pub source_matchers: Vec<Matcher>,
    pub target_matchers: Vec<Matcher>,
    /// A label that is missing or empty on both sides is equal.
    pub equal: Vec<String>,
}

impl InhibitRule {
    /// Whether `source`, which fires, mutes `target`.
    ///
    /// An alert that matches both sides is not muted by another one that does, itself included:
    /// otherwise two such alerts would hide each other.
    pub fn mutes(&self, source: &Labels, target: &Labels) -> bool {
        let value = |labels: &Labels, name: &str| labels.get(name).cloned().unwrap_or_default();
        all_match(&self.source_matchers, source)
            && all_match(&self.target_matchers, target)
            && self.equal.iter().all(|name| value(source, name) == value(target, name))
            && !(all_match(&self.source_matchers, target)
                && all_match(&self.target_matchers, source))
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::samples::{labels, matchers};
    use super::*;

    fn rule(source: &[&str], target: &[&str], equal: &[&str]) -> InhibitRule {
        InhibitRule {
            source_matchers: matchers(source),
            target_matchers: matchers(target),
            equal: equal.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn equal_labels_decide_and_missing_on_both_sides_is_equal() {
        let rule = rule(&["severity=critical"], &["severity=warning"], &["cluster", "zone"]);
        for (source, target, expect) in [
            (vec![("cluster", "a")], vec![("cluster", "a")], true),
            (vec![("cluster", "a")], vec![("cluster", "b")], false),
            (vec![("cluster", "a"), ("zone", "1")], vec![("cluster", "a")], false),
            (vec![("cluster", "a"), ("zone", "")], vec![("cluster", "a")], true),
            (vec![], vec![], true),
        ] {
            let with = |mut pairs: Vec<(&'static str, &'static str)>, severity| {
                pairs.push(("severity", severity));
                labels(&pairs)
            };
            let (source, target) = (with(source, "critical"), with(target, "warning"));
            assert_eq!(rule.mutes(&source, &target), expect, "{source:?} {target:?}");
            assert!(!rule.mutes(&target, &source));
        }
    }

    #[test]
    fn alerts_that_match_both_sides_do_not_hide_each_other() {
        let rule = rule(&["severity=~\"critical|warning\""], &["severity=warning"], &[]);
        let warning = labels(&[("severity", "warning")]);
        assert!(!rule.mutes(&warning, &warning));
        assert!(rule.mutes(&labels(&[("severity", "critical")]), &warning));
    }
}
