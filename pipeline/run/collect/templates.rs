//! Template ids that the archive names, and what it was told of them.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use serde::{Deserialize, Serialize};

use crate::knowledge::ClosedCase;
use crate::model::{Signal, stable_id};
use crate::monitor::template::TemplateId;
use crate::monitor::template::history::Known;

/// Ids that are kept, of all clusters. There are never more in use: what ingest has forgotten is
/// forgotten here with the next checkpoint.
const IDS_MAX: usize = 65_536;

/// For each cluster the ids that its rows name, each with a hash of what was told last.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Templates(BTreeMap<String, BTreeMap<u64, String>>);

impl Templates {
    /// Takes note of what signals name.
    pub(super) fn of_signals(&mut self, settled: &[(Signal, Option<String>)]) {
        for (signal, _) in settled {
            self.name(&signal.cluster, signal.metric.strip_prefix("log:"));
        }
    }

    /// Takes note of what the lines name that are kept for an incident.
    pub(super) fn of_case(&mut self, case: &ClosedCase) {
        for batch in &case.slices.logs {
            let ids = batch.column_by_name("template_id").and_then(|c| c.as_string_opt::<i32>());
            for id in ids.into_iter().flatten() {
                self.name(&case.incident.cluster, id);
            }
        }
    }

    fn name(&mut self, cluster: &str, id: Option<&str>) {
        if let Some(id) = id.and_then(TemplateId::parse) {
            self.keep(cluster, id);
        }
    }

    fn keep(&mut self, cluster: &str, id: TemplateId) {
        if self.0.values().map(BTreeMap::len).sum::<usize>() < IDS_MAX {
            self.0.entry(cluster.to_owned()).or_default().entry(id.0).or_default();
        }
    }

    /// What the archive is yet to be told: of the ids that its rows name, and of the templates that
    /// they are part of, those of which `known`, in order of ids, now says something else.
    pub(super) fn news<'a>(&'a mut self, known: &'a [Known]) -> Vec<(&'a str, &'a Known)> {
        let find = |id: u64| known.binary_search_by_key(&id, |k| k.id.0).ok().map(|at| &known[at]);
        for ids in self.0.values_mut() {
            ids.retain(|id, _| find(*id).is_some());
        }
        for cluster in self.0.keys().cloned().collect::<Vec<_>>() {
            let canonical: Vec<TemplateId> =
                self.0[&cluster].keys().filter_map(|id| Some(find(*id)?.canonical)).collect();
            canonical.into_iter().for_each(|id| self.keep(&cluster, id));
        }
        let mut out = Vec::new();
        for (cluster, ids) in &mut self.0 {
            for (id, told) in ids {
                let Some(known) = find(*id) else { continue };
                let moved = known.moved_at.map_or_else(String::new, |at| at.to_string());
                let now = stable_id(&[&known.canonical.to_string(), &known.template, &moved]);
                if *told != now {
                    *told = now;
                    out.push((cluster.as_str(), known));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: u64, canonical: u64, moved_at: Option<i64>) -> Known {
        let [id, canonical] = [id, canonical].map(TemplateId);
        Known { id, canonical, template: "a <*>".into(), first_seen_at: 1, moved_at }
    }

    #[test]
    fn what_rows_name_is_told_once_and_again_when_it_has_moved() {
        let mut templates = Templates::default();
        let mut told = |names: &[&str], known: &[Known]| -> Vec<u64> {
            names.iter().for_each(|id| templates.name("c", Some(id)));
            templates.news(known).into_iter().map(|(_, k)| k.id.0).collect()
        };
        let one = "0000000000000001";
        assert_eq!(told(&[], &[known(1, 1, None)]), [0; 0]);
        assert_eq!(told(&[one, "mix", "errors"], &[known(1, 1, None), known(2, 2, None)]), [1]);
        assert_eq!(told(&[one], &[known(1, 1, None), known(2, 2, None)]), [0; 0]);
        let merged = [known(1, 3, Some(9)), known(2, 2, None), known(3, 3, None)];
        assert_eq!(told(&[], &merged), [1, 3]);
        assert_eq!(told(&[], &merged), [0; 0]);
        // An alias that was taken back.
        assert_eq!(told(&[], &[known(1, 1, Some(12)), known(3, 3, None)]), [1]);
    }
}
