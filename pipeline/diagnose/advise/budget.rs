//! Hard limits of what a model may cost, per incident and per day.
//!
//! The worst that a call can cost is set aside before it is made, so that no answer, however long,
//! oversteps a limit; what was not used is given back. The sum of the day is on disk before the
//! call goes out, so that neither a crash nor a restart loses it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

use faultline_storage::durable;
use serde::{Deserialize, Serialize};

use super::settings::LlmConfig;
use crate::error::{Error, Result};
use crate::model::{DAY, Nanos};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    pub calls: u64,
    pub tokens: u64,
    pub usd: f64,
}

impl Spent {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            tokens: self.tokens.saturating_add(other.tokens),
            usd: self.usd + other.usd,
        }
    }

    fn settled(self, worst: Self, used: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(worst.calls).saturating_add(used.calls),
            tokens: self.tokens.saturating_sub(worst.tokens).saturating_add(used.tokens),
            usd: (self.usd - worst.usd).max(0.0) + used.usd,
        }
    }

    fn exceeds(self, limit: Self) -> bool {
        self.calls > limit.calls || self.tokens > limit.tokens || self.usd > limit.usd
    }
}

/// What was spent on one UTC day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Today {
    /// Days since the epoch.
    day: i64,
    spent: Spent,
}

/// Which of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    Incident,
    Day,
}

#[derive(Debug)]
pub struct Budget {
    per_incident: Spent,
    per_day: Spent,
    file: PathBuf,
}

impl Budget {
    /// `file` keeps the sum of the day, for every process that uses it.
    pub fn new(config: &LlmConfig, file: PathBuf) -> Self {
        let per_day = Spent {
            calls: config.calls_per_day,
            tokens: config.tokens_per_day,
            usd: config.usd_per_day,
        };
        let per_incident = Spent {
            calls: config.calls_per_incident,
            tokens: config.tokens_per_incident,
            usd: config.usd_per_incident,
        };
        Self { per_incident, per_day, file }
    }

    /// Sets `worst` aside, for the incident and for the day; the limit that has too little left
    /// where it cannot be.
    ///
    /// # Errors
    /// The file cannot be written: what is not on disk must not be spent.
    pub fn reserve(&self, incident: &mut Spent, worst: Spent, now: Nanos) -> Result<Option<Limit>> {
        let day = now.div_euclid(DAY);
        let of_incident = incident.plus(worst);
        if of_incident.exceeds(self.per_incident) {
            return Ok(Some(Limit::Incident));
        }
        let reserved = self.change(day, |today, _| {
            let of_day = today.plus(worst);
            (!of_day.exceeds(self.per_day)).then_some(of_day)
        })?;
        if !reserved {
            return Ok(Some(Limit::Day));
        }
        *incident = of_incident;
        Ok(None)
    }

    /// Replaces what was set aside at `reserved_at` by what was used; nothing is given back to a
    /// day that is over.
    pub fn settle(
        &self,
        incident: &mut Spent,
        worst: Spent,
        used: Spent,
        reserved_at: Nanos,
    ) -> Result<()> {
        *incident = incident.settled(worst, used);
        let settled = |today: Spent, same_day: bool| same_day.then(|| today.settled(worst, used));
        self.change(reserved_at.div_euclid(DAY), settled).map(|_| ())
    }

    /// Changes the sum of the latest day, which may be after `day`, while no other process does.
    fn change(&self, day: i64, new: impl FnOnce(Spent, bool) -> Option<Spent>) -> Result<bool> {
        let lock = self.file.with_extension("lock");
        let held = File::create(&lock).map_err(Error::io(&lock))?;
        held.lock().map_err(Error::io(&lock))?;
        let today = match std::fs::read(&self.file) {
            // What cannot be read counts as nothing left, until the day is over.
            Ok(bytes) => serde_json::from_slice(&bytes)
                .unwrap_or(Today { day, spent: self.per_day.plus(self.per_day) }),
            Err(error) if error.kind() == ErrorKind::NotFound => Today::default(),
            Err(error) => return Err(Error::io(&self.file)(error)),
        };
        // A clock that was far ahead once must not keep a day from ending.
        let today = Today { day: today.day.min(day.saturating_add(1)), ..today };
        let spent = if day > today.day { Spent::default() } else { today.spent };
        let changed = new(spent, day >= today.day);
        let today = Today { day: day.max(today.day), spent: changed.unwrap_or(spent) };
        let text = serde_json::json!(today).to_string();
        durable::replace(&self.file, [text.as_bytes()])?;
        Ok(changed.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> LlmConfig {
        let text = format!("base_url = \"http://localhost\"\nmodel = \"m\"\n{more}");
        toml::from_str(&text).unwrap()
    }

    fn reserve(budget: &Budget, incident: &mut Spent, now: Nanos) -> bool {
        budget.reserve(incident, WORST, now).unwrap().is_none()
    }

    const WORST: Spent = Spent { calls: 1, tokens: 100, usd: 0.1 };

    #[test]
    fn limits_are_hard_and_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spent.json");
        for (limit, expect) in [
            ("calls_per_incident = 3", 3),
            ("calls_per_day = 2", 2),
            ("tokens_per_incident = 250", 2),
            ("tokens_per_day = 399", 3),
            ("usd_per_incident = 0.35", 3),
            ("usd_per_day = 0.05", 0),
        ] {
            let config = config(limit);
            let mut incident = Spent::default();
            let _old = std::fs::remove_file(&file);
            let mut made = 0;
            for _ in 0..10 {
                let budget = Budget::new(&config, file.clone());
                made += u32::from(reserve(&budget, &mut incident, DAY));
            }
            assert_eq!(made, expect, "{limit}");
        }
    }

    #[test]
    fn the_limit_that_is_reached_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spent.json");
        for (limit, expect) in
            [("calls_per_incident = 0", Limit::Incident), ("usd_per_day = 0.0", Limit::Day)]
        {
            let budget = Budget::new(&config(limit), file.clone());
            let met = budget.reserve(&mut Spent::default(), WORST, DAY).unwrap();
            assert_eq!(met, Some(expect), "{limit}");
        }
    }

    #[test]
    fn what_was_not_used_is_given_back_and_a_day_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spent.json");
        let config = config("tokens_per_day = 150\ncalls_per_incident = 9");
        let budget = Budget::new(&config, file.clone());
        let mut incident = Spent::default();
        assert!(reserve(&budget, &mut incident, DAY));
        assert!(!reserve(&budget, &mut incident, DAY));
        let used = Spent { calls: 1, tokens: 40, usd: 0.0 };
        budget.settle(&mut incident, WORST, used, DAY).unwrap();
        assert_eq!((incident.calls, incident.tokens), (1, 40));
        assert!(reserve(&budget, &mut incident, 2 * DAY - 1));
        assert!(!reserve(&budget, &mut incident, 2 * DAY - 1));
        assert!(reserve(&budget, &mut incident, 2 * DAY));
        let late = Spent { calls: 1, tokens: 0, usd: 0.0 };
        budget.settle(&mut incident, WORST, late, DAY).unwrap();
        assert!(!reserve(&budget, &mut incident, 2 * DAY), "yesterday's stays so");
        std::fs::write(&file, r#"{"day":99999,"spent":{"calls":9,"tokens":149,"usd":0.0}}"#)
            .unwrap();
        assert!(!reserve(&budget, &mut Spent::default(), 2 * DAY));
        assert!(!reserve(&budget, &mut Spent::default(), 3 * DAY));
        assert!(reserve(&budget, &mut Spent::default(), 4 * DAY));
        std::fs::write(&file, "{").unwrap();
        let unknown = budget;
        assert!(!reserve(&unknown, &mut Spent::default(), 5 * DAY));
        assert!(reserve(&unknown, &mut Spent::default(), 6 * DAY));
    }
}
