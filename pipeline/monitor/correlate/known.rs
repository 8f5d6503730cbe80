//! What was part of an incident before, by service.
//!
//! Every series judges a window by its own past, so a fault that comes back looks less rare each
//! time: what happened twice today is no surprise. As noise it is not; but telemetry that was
//! abnormal in an incident of the same service, and is so again, is more likely that fault than
//! noise. So a service opens an incident on less, if what is abnormal about it is known: see
//! [`super::unrest`].
//!
//! What comes back before its incident would have ended, had that waited for twice as long, is no
//! new one, and the wait was too short. The next incident with such a series waits for twice as
//! long, and so on, as routers damp a route that flaps (RFC 2439): what is abnormal every five
//! minutes opens one or two incidents and not a hundred.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::track::SeriesKey;
use super::witness::family;
use crate::model::{DAY, Nanos};

/// After this long without coming back, it is as if it had never been.
const MEMORY: Nanos = 14 * DAY;

/// Services remembered, and kinds of telemetry of each; further ones are left out until others
/// are forgotten.
const MAX_SERVICES: usize = 4096;
const MAX_KINDS: usize = 64;

/// Times that the wait of an incident is doubled at most: from two minutes to half an hour.
const PATIENCE_MAX: u8 = 4;

/// The last incident of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Last {
    at: Nanos,
    /// For how long nothing was abnormal when it closed, and how often that had been doubled.
    waited: Nanos,
    patience: u8,
}

/// The last incident of each kind of each service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    #[serde(with = "super::entries")]
    services: BTreeMap<(String, String), BTreeMap<String, Last>>,
}

impl Known {
    /// The series is part of an incident that closes at `at`, when nothing had been abnormal about
    /// it for `waited`, which had been doubled `patience` times.
    pub fn learn(&mut self, key: &SeriesKey, at: Nanos, waited: Nanos, patience: u8) {
        let service = key.place();
        if !self.services.contains_key(&service) && self.services.len() >= MAX_SERVICES {
            self.forget(at);
            if self.services.len() >= MAX_SERVICES {
                return;
            }
        }
        let kinds = self.services.entry(service).or_default();
        let kind = kind(key);
        if kinds.contains_key(&kind) || kinds.len() < MAX_KINDS {
            kinds.insert(kind, Last { at, waited, patience });
        } else {
            kinds.retain(|_, last| at - last.at <= MEMORY);
        }
    }

    fn last(&self, key: &SeriesKey) -> Option<&Last> {
        self.services.get(&key.place())?.get(&kind(key))
    }

    /// Whether a series of this kind was part of an incident of its service.
    pub fn knows(&self, key: &SeriesKey, at: Nanos) -> bool {
        self.last(key).is_some_and(|last| at - last.at <= MEMORY)
    }

    /// How often the wait of an incident that the series opens at `at` is to be doubled.
    pub fn patience(&self, key: &SeriesKey, at: Nanos) -> u8 {
        let back = self.last(key).filter(|last| at - last.at <= last.waited);
        back.map_or(0, |last| (last.patience + 1).min(PATIENCE_MAX))
    }

    fn forget(&mut self, at: Nanos) {
        self.services.retain(|_, kinds| {
            kinds.retain(|_, last| at - last.at <= MEMORY);
            !kinds.is_empty()
        });
    }
}

fn kind(key: &SeriesKey) -> String {
    let (kind, name) = family(&key.metric);
    format!("{kind}:{name}")
}

#[cfg(test)]
mod tests {
    use super::super::samples::signal;
    use super::*;
    use crate::model::MINUTE;

    #[test]
    fn a_kind_is_known_where_it_was_and_for_two_weeks() {
        let mut known = Known::default();
        let key = |service: &str, metric: &str| SeriesKey::of(&signal(service, metric, 1, 5.0));
        let learn = |known: &mut Known, key: SeriesKey, at| known.learn(&key, at, MINUTE, 0);
        learn(&mut known, key("a", "cpu"), DAY);
        learn(&mut known, key("a", "log:1"), DAY);
        assert!(known.knows(&key("a", "cpu"), 2 * DAY) && known.knows(&key("a", "log:2"), DAY));
        assert!(!known.knows(&key("b", "cpu"), DAY) && !known.knows(&key("a", "memory"), DAY));
        assert!(!known.knows(&key("a", "cpu"), 16 * DAY));
        for n in 0..2 * MAX_SERVICES {
            learn(&mut known, key(&n.to_string(), "cpu"), 2 * DAY);
        }
        assert!(known.services.len() <= MAX_SERVICES && known.knows(&key("a", "cpu"), 2 * DAY));
        learn(&mut known, key("late", "cpu"), 30 * DAY);
        assert!(known.services.len() == 1 && known.knows(&key("late", "cpu"), 30 * DAY));
    }

    #[test]
    fn what_comes_back_while_twice_the_wait_would_have_lasted_doubles_it() {
        let mut known = Known::default();
        let key = SeriesKey::of(&signal("a", "cpu", 1, 5.0));
        let other = SeriesKey::of(&signal("a", "memory", 1, 5.0));
        assert_eq!(known.patience(&key, DAY), 0);
        known.learn(&key, DAY, 3 * MINUTE, 0);
        let back = |known: &Known, after| known.patience(&key, DAY + after * MINUTE);
        assert_eq!((back(&known, 3), back(&known, 4)), (1, 0));
        assert_eq!(known.patience(&other, DAY), 0);
        known.learn(&key, DAY, 48 * MINUTE, PATIENCE_MAX);
        assert_eq!((back(&known, 48), back(&known, 49)), (PATIENCE_MAX, 0));
    }
}
