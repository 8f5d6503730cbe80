//! Changes to the system, and the truth about its faults.

use std::path::Path;

use super::fault::FaultKind;
use super::metrics::instance;
use super::table::{Table, write_lines};
use super::{Error, Scenario};
use crate::model::{MINUTE, Nanos, SECOND};
use crate::source::timestamp;

/// A change that somebody or something made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSpec {
    /// After the start of the scenario.
    pub at: Nanos,
    pub service: String,
    pub kind: String,
    pub object: String,
    pub actor: String,
    pub detail: String,
}

/// A bad change is made this long before its fault shows.
const LEAD: Nanos = 40 * SECOND;
/// After the end of the fault, its record follows.
const UNDONE: Nanos = MINUTE / 4;

impl ChangeSpec {
    pub fn new(
        at: Nanos,
        service: &str,
        kind: &str,
        object: &str,
        actor: &str,
        detail: &str,
    ) -> Self {
        let [service, kind, object, actor, detail] =
            [service, kind, object, actor, detail].map(str::to_owned);
        Self { at, service, kind, object, actor, detail }
    }
}

/// Changes of the scenario with those that begin and end its faults.
pub fn table(scenario: &Scenario) -> Table {
    let mut all = scenario.changes.clone();
    for fault in &scenario.faults {
        let s = fault.service.as_str();
        let begin = (fault.at - LEAD).max(0);
        let end = fault.at + fault.duration - UNDONE;
        match fault.kind {
            FaultKind::SlowDatabase => {
                let object = format!("{s} settings");
                all.push(ChangeSpec::new(
                    begin,
                    s,
                    "config",
                    &object,
                    "jonas",
                    "planner random_page_cost 1.1 to 8",
                ));
                all.push(ChangeSpec::new(
                    end,
                    s,
                    "config",
                    &object,
                    "jonas",
                    "planner random_page_cost 8 to 1.1",
                ));
            }
            FaultKind::ErrorReturn => {
                all.push(ChangeSpec::new(
                    begin,
                    s,
                    "deploy",
                    &format!("{s} v231"),
                    "pipeline",
                    "rounding of charges",
                ));
                all.push(ChangeSpec::new(
                    end,
                    s,
                    "deploy",
                    &format!("{s} v230"),
                    "ines",
                    "back to the version before",
                ));
            }
            FaultKind::CrashLoop => {
                let object = instance(s, fault.replica.unwrap_or(0));
                all.push(ChangeSpec::new(
                    fault.at + MINUTE,
                    s,
                    "event",
                    &object,
                    "kubelet",
                    "BackOff: restarting failed container",
                ));
            }
            FaultKind::CpuSaturation | FaultKind::MemoryLeak | FaultKind::NetworkDelay => {}
        }
    }
    let mut table = Table::new("changes", &["service", "kind", "object", "actor", "detail"]);
    for c in all {
        let cells =
            [c.service.into(), c.kind.into(), c.object.into(), c.actor.into(), c.detail.into()];
        table.push(scenario.start + c.at, cells);
    }
    table
}

/// `faults.csv` and `scope.csv`, for scoring.
pub fn write_truth(scenario: &Scenario, dir: &Path) -> Result<(), Error> {
    let time = |offset: Nanos| timestamp::format(scenario.start + offset);
    let faults = scenario.faults.iter().enumerate().map(|(i, f)| {
        let name = f.replica.map(|r| instance(&f.service, r)).unwrap_or_default();
        let (start, end) = (time(f.at), time(f.at + f.duration));
        format!("fault-{:02},{start},{end},{},{name},{}", i + 1, f.service, f.kind.as_str())
    });
    let header = std::iter::once("fault_id,start,end,service,instance,kind".to_owned());
    write_lines(&dir.join("faults.csv"), header.chain(faults))?;
    let scope = format!("*,*,*,{},{}", time(0), time(scenario.duration));
    let lines = ["service,instance,metric,start,end".to_owned(), scope];
    write_lines(&dir.join("scope.csv"), lines.into_iter())
}
