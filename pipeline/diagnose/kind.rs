//! Names the kind of fault from which evidence fired.

use std::fmt;

use super::family::Family;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Cpu,
    Memory,
    Disk,
    NetworkDelay,
    NetworkLoss,
    ErrorReturn,
    Exception,
    Crash,
    Dependency,
    Configuration,
    Load,
    Unknown,
}

/// What speaks for a kind at one service; every value is 0..1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs {
    pub cpu_up: f64,
    pub memory_up: f64,
    pub disk: f64,
    pub latency: f64,
    /// Of its own calls, beyond what its callees account for.
    pub dependency: f64,
    /// Seen by the other end of its calls more than by itself.
    pub wire: f64,
    pub errors: f64,
    pub retransmits: f64,
    pub traffic_up: f64,
    /// Load has fallen to nothing, or lines and samples have stopped.
    pub silence: f64,
    pub exceptions: f64,
    pub error_origin: f64,
    pub shape: f64,
    pub self_time: f64,
    /// A change of configuration before it, not one of another kind.
    pub configuration: f64,
    /// Less traffic, or less use of a resource: strange, but the name of no kind.
    pub nameless: f64,
}

/// Below this nothing has fired: the kind is unknown.
const LEAST: f64 = 0.03;

/// Below this share of what has no name, nothing has: the noise of another metric gives none.
const LEAST_SHARE: f64 = 0.25;

impl Signs {
    /// Saturation and exceptions bring about slowness and errors, never the other way round, so a
    /// symptom must be about twice as strong as a cause to give the name.
    pub fn kind(&self) -> Kind {
        let failing = self.errors.max(self.error_origin);
        let votes = [
            (Kind::Crash, self.silence * 1.5),
            (Kind::Cpu, self.cpu_up),
            (Kind::Memory, self.memory_up),
            (Kind::Disk, self.disk * 0.9),
            (Kind::Exception, self.exceptions),
            (Kind::ErrorReturn, (failing * 0.8).max(self.shape * 0.7)),
            (Kind::NetworkLoss, self.retransmits),
            (Kind::NetworkDelay, (self.wire * 0.9).max(self.latency * 0.5)),
            // Slow by its own work, of which no resource says why. Spans are many, so they are
            // surer of it than any reading is of a cause.
            (Kind::Unknown, self.self_time * 0.35),
            (Kind::Dependency, self.dependency * 0.5),
            (Kind::Load, self.traffic_up * 0.6),
        ];
        let mut best = (Kind::Unknown, LEAST.max(LEAST_SHARE * self.nameless));
        for vote in votes {
            if vote.1 > best.1 {
                best = vote;
            }
        }
        if self.configuration > best.1 { Kind::Configuration } else { best.0 }
    }

    /// Takes in one reading's residual severity.
    pub fn add_metric(&mut self, family: Family, rose: bool, severity: f64) {
        let slot = match (family, rose) {
            (Family::Cpu | Family::Runtime, true) => &mut self.cpu_up,
            (Family::Memory, true) => &mut self.memory_up,
            (Family::Disk, _) => &mut self.disk,
            (Family::Loss, true) => &mut self.retransmits,
            (Family::Traffic, true) => &mut self.traffic_up,
            (Family::Traffic | Family::Cpu | Family::Memory, false) => &mut self.nameless,
            _ => return,
        };
        *slot = slot.max(severity);
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Cpu => "cpu",
            Kind::Memory => "memory",
            Kind::Disk => "disk",
            Kind::NetworkDelay => "network_delay",
            Kind::NetworkLoss => "network_loss",
            Kind::ErrorReturn => "error_return",
            Kind::Exception => "exception",
            Kind::Crash => "crash",
            Kind::Dependency => "dependency",
            Kind::Configuration => "configuration",
            Kind::Load => "load",
            Kind::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowness_has_the_name_of_what_saturates_and_of_the_network_only_where_it_shows() {
        let slow = Signs { latency: 0.5, ..Signs::default() };
        for (signs, expect) in [
            (Signs { disk: 0.48, self_time: 0.95, ..slow }, Kind::Disk),
            (Signs { self_time: 0.95, ..slow }, Kind::Unknown),
            (Signs { wire: 0.5, self_time: 0.9, ..slow }, Kind::NetworkDelay),
            (slow, Kind::NetworkDelay),
            (Signs { nameless: 0.9, ..slow }, Kind::NetworkDelay),
            (Signs { nameless: 0.9, latency: 0.2, ..slow }, Kind::Unknown),
        ] {
            assert_eq!(signs.kind(), expect, "{signs:?}");
        }
    }
}
