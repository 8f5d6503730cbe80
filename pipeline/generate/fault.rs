//! Faults and what they do to the service that they hit.

use super::random::wave;
use super::system::System;
use crate::model::{MINUTE, Nanos, SECOND};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    CpuSaturation,
    MemoryLeak,
    /// Queries slow down after a change of the configuration.
    SlowDatabase,
    /// Requests fail after a deploy.
    ErrorReturn,
    NetworkDelay,
    CrashLoop,
}

impl FaultKind {
    pub const ALL: [Self; 6] = [
        Self::CpuSaturation,
        Self::MemoryLeak,
        Self::SlowDatabase,
        Self::ErrorReturn,
        Self::NetworkDelay,
        Self::CrashLoop,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::CpuSaturation => "cpu_saturation",
            Self::MemoryLeak => "memory_leak",
            Self::SlowDatabase => "slow_database",
            Self::ErrorReturn => "error_return",
            Self::NetworkDelay => "network_delay",
            Self::CrashLoop => "crash_loop",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSpec {
    /// After the start of the scenario.
    pub at: Nanos,
    pub duration: Nanos,
    pub service: String,
    pub kind: FaultKind,
    /// The one replica that is hit; `None` for all of them.
    pub replica: Option<usize>,
}

/// How one replica of a service differs from its healthy self.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Times the time spent in the service.
    pub slowdown: f64,
    /// Added to every call of the service, seen by its callers only.
    pub network_ms: f64,
    /// Share of requests that fail.
    pub errors: f64,
    /// Busy processor beyond what requests need, 0 to 1.
    pub cpu: f64,
    /// Memory beyond the normal, as a share of the normal.
    pub memory: f64,
    /// The replica is down and reports nothing.
    pub down: bool,
}

impl Effect {
    pub const NONE: Self =
        Self { slowdown: 1.0, network_ms: 0.0, errors: 0.0, cpu: 0.0, memory: 0.0, down: false };
}

/// Length of a crash loop's cycle: some seconds of work, then down.
const CRASH_CYCLE: Nanos = 3 * MINUTE;
/// Most faults come on over this time.
const ONSET: Nanos = 45 * SECOND;

impl FaultSpec {
    pub fn is_active(&self, offset: Nanos) -> bool {
        (self.at..self.at + self.duration).contains(&offset)
    }

    /// Effect at a time after the start of the scenario on a replica of the service it names.
    pub fn effect(&self, offset: Nanos, replica: usize) -> Effect {
        let hit = self.replica.is_none_or(|r| r == replica);
        if !hit || !self.is_active(offset) {
            return Effect::NONE;
        }
        let since = offset - self.at;
        let onset = (since as f64 / ONSET as f64).min(1.0);
        let progress = since as f64 / self.duration as f64;
        let none = Effect::NONE;
        match self.kind {
            FaultKind::CpuSaturation => {
                Effect { slowdown: 1.0 + 3.5 * onset, cpu: 0.75 * onset, ..none }
            }
            FaultKind::MemoryLeak => Effect {
                slowdown: 1.0 + 2.0 * progress * progress,
                memory: 1.6 * progress,
                errors: if progress > 0.8 { 0.15 } else { 0.0 },
                ..none
            },
            FaultKind::SlowDatabase => {
                let swing = 1.0 + 0.15 * wave(progress * 5.0);
                Effect { slowdown: 1.0 + 11.0 * onset * swing, cpu: 0.12 * onset, ..none }
            }
            FaultKind::ErrorReturn => Effect { slowdown: 0.7, errors: 0.38 * onset, ..none },
            FaultKind::NetworkDelay => Effect { network_ms: 180.0 * onset, ..none },
            FaultKind::CrashLoop => {
                let down = since % CRASH_CYCLE > CRASH_CYCLE / 3;
                Effect { errors: 0.5, memory: -0.4, slowdown: 1.6, down, ..none }
            }
        }
    }
}

/// Effects of all faults on one replica together.
pub fn combined(
    faults: &[FaultSpec],
    system: &System,
    service: usize,
    replica: usize,
    offset: Nanos,
) -> Effect {
    let name = &system.services[service].name;
    faults.iter().filter(|f| f.service == *name).fold(Effect::NONE, |sum, fault| {
        let e = fault.effect(offset, replica);
        Effect {
            slowdown: sum.slowdown * e.slowdown,
            network_ms: sum.network_ms + e.network_ms,
            errors: 1.0 - (1.0 - sum.errors) * (1.0 - e.errors),
            cpu: sum.cpu + e.cpu,
            memory: sum.memory + e.memory,
            down: sum.down || e.down,
        }
    })
}
