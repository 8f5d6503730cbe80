//! Notifications by Alertmanager's rules, in event time.
//!
//! Every open incident is one alert. Alerts that agree on the `group_by` labels form a group. A
//! group is first looked at `group_wait` after its first alert and then every `group_interval`,
//! until it is empty. At each look, alerts that are inhibited or silenced are left out. What
//! remains is compared with the last notification of the group, and sent if an alert fires that
//! it did not name as firing, if all of its firing alerts are over, if an alert is over that it
//! did not name as over, or if more than `repeat_interval` has passed. Alerts that are over leave
//! the group after the look. An incident that turns more severe counts as a new alert of its
//! group, as it would in Alertmanager, where severity is part of an alert's identity. So does one
//! whose cause is found: who was woken by it should not have to go and ask.
//!
//! Source: prometheus/alertmanager, `dispatch` (groups) and `notify` (`DedupStage`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::inhibit::InhibitRule;
use super::interval_text;
use super::matcher::{Labels, Matcher};
use super::silence::Silence;
use crate::model::{HOUR, MINUTE, Nanos, SECOND};

/// In `group_by`: every label, which is a group for each alert.
const ALL_LABELS: &str = "...";

/// The labels of an alert.
pub const LABELS: [&str; 5] = ["alertname", "cluster", "incident", "service", "severity"];

/// Defaults are Alertmanager's, but that alerts of one cluster form a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyConfig {
    /// Of [`LABELS`], or `...` for all.
    pub group_by: Vec<String>,
    #[serde(with = "interval_text")]
    pub group_wait: Nanos,
    #[serde(with = "interval_text")]
    pub group_interval: Nanos,
    #[serde(with = "interval_text")]
    pub repeat_interval: Nanos,
    pub send_resolved: bool,
    pub inhibit_rules: Vec<InhibitRule>,
    pub silences: Vec<Silence>,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            group_by: vec!["cluster".into()],
            group_wait: 30 * SECOND,
            group_interval: 5 * MINUTE,
            repeat_interval: 4 * HOUR,
            send_resolved: true,
            inhibit_rules: Vec::new(),
            silences: Vec::new(),
        }
    }
}

impl NotifyConfig {
    /// Says what is wrong and what to write: a label that no alert has is a slip of the pen.
    pub fn check(&self) -> Result<(), String> {
        let known = |key: &str, name: &str| match LABELS.contains(&name) {
            true => Ok(()),
            false => Err(format!(
                "`{key}` names `{name}`, which no alert has; the labels are {}",
                LABELS.join(", ")
            )),
        };
        let by = self.group_by.iter().filter(|name| *name != ALL_LABELS);
        by.map(String::as_str).try_for_each(|name| known("notify.group_by", name))?;
        for rule in &self.inhibit_rules {
            let matchers = rule.source_matchers.iter().chain(&rule.target_matchers);
            let equal = rule.equal.iter().map(String::as_str);
            matchers
                .map(Matcher::label)
                .chain(equal)
                .try_for_each(|name| known("notify.inhibit_rules", name))?;
        }
        for silence in &self.silences {
            let labels = silence.matchers.iter().map(Matcher::label);
            labels.into_iter().try_for_each(|name| known("notify.silences", name))?;
            silence.check()?;
        }
        Ok(())
    }
}

/// One incident as a receiver sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub incident_id: String,
    pub labels: Labels,
    pub title: String,
    /// What is known of its cause; empty until it is diagnosed.
    #[serde(default)]
    pub annotations: Labels,
    pub starts_at: Nanos,
    /// `None` while it fires.
    pub ends_at: Option<Nanos>,
}

impl Alert {
    /// What makes it another alert to the receiver: a cause is news to who was told of it without.
    fn fingerprint(&self) -> String {
        let severity = self.labels.get("severity").map_or("", String::as_str);
        let cause = self.annotations.get("cause").map_or("", String::as_str);
        format!("{}/{severity}/{cause}", self.incident_id)
    }

    fn fires(&self, at: Nanos) -> bool {
        self.ends_at.is_none_or(|end| end > at)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    First,
    NewAlerts,
    SomeResolved,
    AllResolved,
    Repeat,
}

/// One message about one group of alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub at: Nanos,
    pub reason: Reason,
    pub group_labels: Labels,
    /// Sorted by incident; at least one.
    pub alerts: Vec<Alert>,
}

impl Notification {
    /// Whether nothing in it fires any more.
    pub fn is_resolved(&self) -> bool {
        self.alerts.iter().all(|alert| !alert.fires(self.at))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Group {
    labels: Labels,
    /// By incident id.
    alerts: BTreeMap<String, Alert>,
    look_at: Nanos,
}

/// What the receiver of a group was last told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    at: Nanos,
    firing: BTreeSet<String>,
    resolved: BTreeSet<String>,
}

/// Alerts in, notifications out; holds as many alerts as there are open incidents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispatcher {
    config: NotifyConfig,
    silences: Vec<Silence>,
    groups: BTreeMap<String, Group>,
    told: BTreeMap<String, Told>,
    /// Incident → key of its group, fixed for its life.
    placed: BTreeMap<String, String>,
}

impl Dispatcher {
    pub fn new(config: NotifyConfig) -> Self {
        Self {
            silences: config.silences.clone(),
            groups: BTreeMap::new(),
            told: BTreeMap::new(),
            placed: BTreeMap::new(),
            config,
        }
    }

    /// Goes on under another configuration; the silences are those of the new one.
    pub fn reconfigure(&mut self, config: NotifyConfig) {
        self.silences = config.silences.clone();
        self.config = config;
    }

    /// Tells the newest state of an alert, firing or not, at `at`.
    ///
    /// An alert that is over and was never here needs no message.
    pub fn update(&mut self, alert: Alert, at: Nanos) {
        let key = match self.placed.get(&alert.incident_id) {
            Some(key) => key.clone(),
            None if !alert.fires(at) => return,
            None => self.place(&alert, at),
        };
        if let Some(group) = self.groups.get_mut(&key) {
            group.alerts.insert(alert.incident_id.clone(), alert);
        }
    }

    fn place(&mut self, alert: &Alert, at: Nanos) -> String {
        let by = &self.config.group_by;
        let all = by.iter().any(|name| name == ALL_LABELS);
        let chosen = alert.labels.iter().filter(|(name, _)| all || by.contains(name));
        let labels: Labels = chosen.map(|(name, value)| (name.clone(), value.clone())).collect();
        let key = format!("{labels:?}");
        let look_at = at.saturating_add(self.config.group_wait);
        self.groups.entry(key.clone()).or_insert_with(|| Group {
            labels,
            alerts: BTreeMap::new(),
            look_at,
        });
        self.placed.insert(alert.incident_id.clone(), key.clone());
        key
    }

    /// When the next group is to be looked at.
    pub fn next_look(&self) -> Option<Nanos> {
        self.groups.values().map(|group| group.look_at).min()
    }

    /// Looks at every group whose time has come.
    pub fn look(&mut self, now: Nanos) -> Vec<Notification> {
        let due = self.groups.iter().filter(|(_, group)| group.look_at <= now);
        let due: Vec<String> = due.map(|(key, _)| key.clone()).collect();
        let sent = due.iter().filter_map(|key| self.look_at_group(key, now)).collect();
        for key in due {
            self.leave(&key, now);
        }
        // As long as Alertmanager keeps its notification log.
        let kept_until = |told: &Told| told.at.saturating_add(2 * self.config.repeat_interval);
        self.told.retain(|_, told| kept_until(told) >= now);
        sent
    }

    fn look_at_group(&mut self, key: &str, now: Nanos) -> Option<Notification> {
        let group = self.groups.get(key)?;
        let audible: Vec<&Alert> =
            group.alerts.values().filter(|alert| !self.is_muted(alert, now)).collect();
        if audible.is_empty() {
            return None;
        }
        let names = |firing: bool| -> BTreeSet<String> {
            let chosen = audible.iter().filter(|alert| alert.fires(now) == firing);
            chosen.map(|alert| alert.fingerprint()).collect()
        };
        let (firing, resolved) = (names(true), names(false));
        let reason = self.reason(key, &firing, &resolved, now)?;
        let send_resolved = self.config.send_resolved;
        let alerts: Vec<Alert> = audible
            .into_iter()
            .filter(|alert| send_resolved || alert.fires(now))
            .cloned()
            .collect();
        let group_labels = group.labels.clone();
        self.told.insert(key.to_owned(), Told { at: now, firing, resolved });
        (!alerts.is_empty()).then_some(Notification { at: now, reason, group_labels, alerts })
    }

    fn reason(
        &self,
        key: &str,
        firing: &BTreeSet<String>,
        resolved: &BTreeSet<String>,
        now: Nanos,
    ) -> Option<Reason> {
        let Some(told) = self.told.get(key) else {
            return (!firing.is_empty()).then_some(Reason::First);
        };
        if !firing.is_subset(&told.firing) {
            return Some(if told.firing.is_empty() { Reason::First } else { Reason::NewAlerts });
        }
        if firing.is_empty() {
            return (!told.firing.is_empty()).then_some(Reason::AllResolved);
        }
        if self.config.send_resolved && !resolved.is_subset(&told.resolved) {
            return Some(Reason::SomeResolved);
        }
        (told.at < now.saturating_sub(self.config.repeat_interval)).then_some(Reason::Repeat)
    }

    fn is_muted(&self, alert: &Alert, now: Nanos) -> bool {
        let inhibits = |source: &Alert| {
            source.fires(now)
                && self.config.inhibit_rules.iter().any(|r| r.mutes(&source.labels, &alert.labels))
        };
        self.silences.iter().any(|silence| silence.mutes(&alert.labels, now))
            || self.groups.values().flat_map(|group| group.alerts.values()).any(inhibits)
    }

    fn leave(&mut self, key: &str, now: Nanos) {
        let Some(group) = self.groups.get_mut(key) else { return };
        group.look_at = now.saturating_add(self.config.group_interval);
        let placed = &mut self.placed;
        group.alerts.retain(|id, alert| {
            let fires = alert.fires(now);
            if !fires {
                placed.remove(id);
            }
            fires
        });
        if group.alerts.is_empty() {
            self.groups.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::samples::{labels, matchers};
    use super::*;

    /// What happened in an episode, and when in minutes.
    enum Happens {
        Fires(&'static str, f64),
        FiresCritical(&'static str, f64),
        Ends(&'static str, f64),
    }
    use Happens::{Ends, Fires, FiresCritical};

    fn nanos(minutes: f64) -> Nanos {
        (minutes * MINUTE as f64) as Nanos
    }

    fn alert(id: &str, severity: &str, starts_at: Nanos, ends_at: Option<Nanos>) -> Alert {
        let cluster = id.split('-').next().unwrap_or_default();
        Alert {
            incident_id: id.into(),
            labels: labels(&[("cluster", cluster), ("incident", id), ("severity", severity)]),
            annotations: Labels::new(),
            title: String::new(),
            starts_at,
            ends_at,
        }
    }

    /// `minutes reason firing/resolved` of every notification up to `until` minutes.
    fn check(config: NotifyConfig, happens: &[Happens], until: f64, expect: &[&str]) {
        let mut dispatcher = Dispatcher::new(config);
        let mut sent = Vec::new();
        let mut look_until = |dispatcher: &mut Dispatcher, to: Nanos| {
            while let Some(at) = dispatcher.next_look().filter(|at| *at < to) {
                sent.extend(dispatcher.look(at));
            }
        };
        for event in happens {
            let (at, alert) = match event {
                Fires(id, at) => (*at, alert(id, "warning", nanos(*at), None)),
                FiresCritical(id, at) => (*at, alert(id, "critical", nanos(*at), None)),
                Ends(id, at) => (*at, alert(id, "warning", 0, Some(nanos(*at)))),
            };
            look_until(&mut dispatcher, nanos(at));
            dispatcher.update(alert, nanos(at));
        }
        look_until(&mut dispatcher, nanos(until) + 1);
        let told = sent.iter().map(|n| {
            let firing = n.alerts.iter().filter(|alert| alert.fires(n.at)).count();
            let minutes = n.at as f64 / MINUTE as f64;
            format!("{minutes} {:?} {firing}/{}", n.reason, n.alerts.len() - firing)
        });
        assert_eq!(told.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn groups_wait_then_look_every_interval_and_forget_when_empty() {
        let d = NotifyConfig::default;
        check(d(), &[Fires("a-1", 0.0)], 20.0, &["0.5 First 1/0"]);
        // Too short for anyone to hear of it.
        check(d(), &[Fires("a-1", 0.0), Ends("a-1", 0.4)], 20.0, &[]);
        check(
            d(),
            &[Fires("a-1", 0.0), Fires("a-2", 0.3), Fires("a-3", 1.0), Ends("a-3", 2.0)],
            20.0,
            &["0.5 First 2/0", "5.5 SomeResolved 2/1"],
        );
        check(
            d(),
            &[Fires("a-1", 0.0), Fires("a-2", 1.0), Ends("a-1", 6.0), Ends("a-2", 7.0)],
            20.0,
            &["0.5 First 1/0", "5.5 NewAlerts 2/0", "10.5 AllResolved 0/2"],
        );
        // The empty group is gone: the next alert waits for `group_wait` again.
        check(
            d(),
            &[Fires("a-1", 0.0), Ends("a-1", 1.0), Fires("a-2", 6.0)],
            20.0,
            &["0.5 First 1/0", "5.5 AllResolved 0/1", "6.5 First 1/0"],
        );
        check(
            d(),
            &[Fires("a-1", 0.0), Fires("b-1", 0.2)],
            9.0,
            &["0.5 First 1/0", "0.7 First 1/0"],
        );
    }

    #[test]
    fn repeats_only_after_more_than_the_interval() {
        // 240 minutes later is not yet more than four hours.
        let expect = ["0.5 First 1/0", "245.5 Repeat 1/0", "490.5 Repeat 1/0"];
        check(NotifyConfig::default(), &[Fires("a-1", 0.0)], 500.0, &expect);
    }

    #[test]
    fn a_rise_in_severity_is_news() {
        let events = [Fires("a-1", 0.0), FiresCritical("a-1", 2.0)];
        let expect = ["0.5 First 1/0", "5.5 NewAlerts 1/0"];
        check(NotifyConfig::default(), &events, 20.0, &expect);
    }

    #[test]
    fn inhibited_and_silenced_alerts_are_left_out() {
        let rule = InhibitRule {
            source_matchers: matchers(&["severity=critical"]),
            target_matchers: matchers(&["severity=warning"]),
            equal: vec!["cluster".into(), "zone".into()],
        };
        let inhibit = NotifyConfig { inhibit_rules: vec![rule], ..NotifyConfig::default() };
        let events = [Fires("a-1", 0.0), FiresCritical("a-2", 0.1), Fires("b-1", 0.2)];
        check(inhibit.clone(), &events, 4.0, &["0.5 First 1/0", "0.7 First 1/0"]);
        // Once the source is over, the target is heard.
        let events = [FiresCritical("a-2", 0.0), Fires("a-1", 0.1), Ends("a-2", 3.0)];
        check(inhibit, &events, 20.0, &["0.5 First 1/0", "5.5 NewAlerts 1/1"]);

        let silence = Silence {
            id: "s".into(),
            matchers: matchers(&["incident=~\"a-.*\""]),
            starts_at: 0,
            ends_at: 7 * MINUTE,
            comment: String::new(),
        };
        let silenced = NotifyConfig { silences: vec![silence], ..NotifyConfig::default() };
        check(silenced, &[Fires("a-1", 0.0)], 20.0, &["10.5 First 1/0"]);
    }

    #[test]
    fn group_by_all_labels_and_by_none() {
        let by = |names: &[&str]| NotifyConfig {
            group_by: names.iter().map(|name| (*name).to_owned()).collect(),
            ..NotifyConfig::default()
        };
        let events = || [Fires("a-1", 0.0), Fires("a-2", 0.1), Fires("b-1", 0.2)];
        check(by(&[]), &events(), 4.0, &["0.5 First 3/0"]);
        let expect = ["0.5 First 1/0", "0.6 First 1/0", "0.7 First 1/0"];
        check(by(&["..."]), &events(), 4.0, &expect);
    }

    #[test]
    fn a_receiver_that_wants_no_resolution_gets_none() {
        let config = NotifyConfig { send_resolved: false, ..NotifyConfig::default() };
        let events = [Fires("a-1", 0.0), Fires("a-2", 0.1), Ends("a-1", 1.0), Ends("a-2", 7.0)];
        check(config, &events, 20.0, &["0.5 First 2/0"]);
    }

    #[test]
    fn at_the_end_of_time_everything_comes_to_rest() {
        let mut dispatcher = Dispatcher::new(NotifyConfig::default());
        dispatcher.update(alert("a-1", "warning", 0, None), 0);
        dispatcher.update(alert("a-1", "warning", 0, Some(1)), 1);
        dispatcher.look(Nanos::MAX);
        assert_eq!(dispatcher.next_look(), None);
    }
}
