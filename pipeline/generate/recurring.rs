//! Days on which a few faults come back again and again, as they do where their causes stay, and
//! days without any.

use super::random::Random;
use super::{ChangeSpec, FaultKind, FaultSpec, Scenario};
use crate::model::{DAY, HOUR, MINUTE, Nanos};

/// Quiet before the first fault, in which baselines are learned.
const LEARNING: Nanos = 4 * HOUR;

/// From the start of a fault to the start of the next, at least; up to as much is added.
const APART: Nanos = 75 * MINUTE;

/// Faults per different fault.
const REPEATS: usize = 4;

/// From a fault that has ended to the end of the scenario.
const CALM: Nanos = HOUR;

impl Scenario {
    /// Days of the demo's system without a fault, with deploys that do no harm.
    pub fn calm(seed: u64, days: u16) -> Self {
        let demo = Self::demo();
        let mut random = Random::new(seed, "calm");
        let services: Vec<&str> = demo.system.services.iter().map(|s| s.name.as_str()).collect();
        let deploy = |day: Nanos| {
            let service = services[random.below(services.len() as u64) as usize];
            let at = day * DAY + random.below((DAY / MINUTE) as u64) as Nanos * MINUTE;
            ChangeSpec::new(at, service, "deploy", &format!("{service} v{day}"), "pipeline", "")
        };
        let changes = (0..Nanos::from(days)).map(deploy).collect();
        Self { seed, duration: Nanos::from(days) * DAY, faults: Vec::new(), changes, ..demo }
    }

    /// `count` faults on the demo's system, drawn from a quarter as many different ones.
    pub fn recurring(seed: u64, count: usize) -> Self {
        let demo = Self::demo();
        let mut random = Random::new(seed, "recurring");
        let services: Vec<String> = demo.system.services.iter().map(|s| s.name.clone()).collect();
        let mut different: Vec<(String, FaultKind)> = Vec::new();
        while different.len() < count.div_ceil(REPEATS).min(services.len() * FaultKind::ALL.len()) {
            let service = services[random.below(services.len() as u64) as usize].clone();
            let kind = FaultKind::ALL[random.below(FaultKind::ALL.len() as u64) as usize];
            if !different.contains(&(service.clone(), kind)) {
                different.push((service, kind));
            }
        }
        let mut at = LEARNING;
        let mut faults = Vec::with_capacity(count);
        let mut changes = Vec::new();
        for n in 0..count {
            let (service, kind) = different[random.below(different.len() as u64) as usize].clone();
            let minutes = 9 + random.below(8) as Nanos;
            faults.push(FaultSpec { at, duration: minutes * MINUTE, service, kind, replica: None });
            if random.chance(0.3) {
                let service = &services[random.below(services.len() as u64) as usize];
                let object = format!("{service} v{}", 300 + n);
                let before = at - HOUR / 2;
                changes.push(ChangeSpec::new(before, service, "deploy", &object, "pipeline", ""));
            }
            at += APART + random.below((APART / MINUTE) as u64) as Nanos * MINUTE;
        }
        let last = faults.last().map_or(LEARNING, |f| f.at + f.duration);
        Self { seed, duration: last + CALM, faults, changes, ..demo }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn few_faults_come_back_and_never_two_at_once() {
        let scenario = Scenario::recurring(7, 60);
        let different: BTreeSet<(String, &str)> =
            scenario.faults.iter().map(|f| (f.service.clone(), f.kind.as_str())).collect();
        assert!(scenario.faults.len() == 60 && (10..=15).contains(&different.len()));
        let apart = |w: &[FaultSpec]| w[1].at - (w[0].at + w[0].duration);
        assert!(scenario.faults.windows(2).map(apart).all(|quiet| quiet >= 45 * MINUTE));
        assert!(scenario.check().is_ok());
        assert_ne!(scenario.faults, Scenario::recurring(8, 60).faults);
        assert_eq!(scenario.faults, Scenario::recurring(7, 60).faults);
    }
}
