//! The services and instances of which an incident's telemetry comes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Cause, Diagnosis, Incident};

/// Names from key columns only: never from a message, a template or a statement.
#[derive(Debug, Default)]
pub struct Inventory<'a> {
    instances: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Those of which samples of metrics still come.
    reporting: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Inventory<'a> {
    pub fn of(incident: &'a Incident, diagnosis: &'a Diagnosis) -> Self {
        let signals = incident.signals.iter().map(|s| (&s.service, &s.instance));
        // What the past knows may be gone by now, or be in another cluster.
        let evidence = diagnosis.evidence.iter().filter(|e| !e.is_learned());
        let evidence = evidence.map(|e| (&e.service, &e.instance));
        let reporting = diagnosis.reporting.iter();
        let reporting =
            reporting.map(|(s, i)| (s.as_str(), i.iter().map(String::as_str).collect()));
        let mut inventory = Self { reporting: reporting.collect(), ..Self::default() };
        for (service, instance) in signals.chain(evidence) {
            if service.is_empty() {
                continue;
            }
            let instances = inventory.instances.entry(service).or_default();
            if !instance.is_empty() {
                instances.insert(instance);
            }
        }
        inventory
    }

    pub fn has_service(&self, service: &str) -> bool {
        self.instances.contains_key(service)
    }

    /// The instance that a cause names, if it is one of its service.
    pub fn instance<'c>(&self, cause: &'c Cause) -> Option<&'c str> {
        let known = self.instances.get(cause.service.as_str())?;
        known.contains(cause.instance.as_str()).then_some(cause.instance.as_str())
    }

    /// How many instances of the service are known to serve; there may be more.
    pub fn instance_count(&self, service: &str) -> usize {
        let known = self.reporting.get(service).or_else(|| self.instances.get(service));
        known.map_or(0, BTreeSet::len)
    }

    /// Whether another instance than the one to blame serves meanwhile.
    pub fn others_serve(&self, cause: &Cause) -> bool {
        let service = cause.service.as_str();
        let known = self.reporting.get(service).or_else(|| self.instances.get(service));
        known.is_some_and(|known| known.iter().any(|instance| *instance != cause.instance))
    }
}
