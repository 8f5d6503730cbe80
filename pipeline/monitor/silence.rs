//! Silences: notifications that a person asked not to get for a while.

use serde::{Deserialize, Serialize};

use super::matcher::{Labels, Matcher, all_match};
use crate::model::Nanos;

/// Mutes alerts that match all of `matchers` from `starts_at` until before `ends_at`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<Matcher>,
    #[serde(with = "instant_text")]
    pub starts_at: Nanos,
    #[serde(with = "instant_text")]
    pub ends_at: Nanos,
    pub comment: String,
}

impl Silence {
    pub fn mutes(&self, labels: &Labels, at: Nanos) -> bool {
        (self.starts_at..self.ends_at).contains(&at) && all_match(&self.matchers, labels)
    }

    /// Refuses what could only be a mistake, as Alertmanager does.
    pub fn check(&self) -> Result<(), String> {
        if self.ends_at <= self.starts_at {
            return Err(format!("silence `{}` ends before it starts; swap the times", self.id));
        }
        // Matchers that all accept the empty value would silence everything.
        if all_match(&self.matchers, &Labels::new()) {
            return Err(format!(
                "silence `{}` would mute every alert; add a matcher such as `service=\"cart\"`",
                self.id
            ));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    id: String,
    matchers: Vec<Matcher>,
    #[serde(with = "instant_text")]
    starts_at: Nanos,
    #[serde(with = "instant_text")]
    ends_at: Nanos,
    #[serde(default)]
    comment: String,
}

impl TryFrom<Unchecked> for Silence {
    type Error = String;

    fn try_from(raw: Unchecked) -> Result<Self, String> {
        let Unchecked { id, matchers, starts_at, ends_at, comment } = raw;
        let silence = Self { id, matchers, starts_at, ends_at, comment };
        silence.check()?;
        Ok(silence)
    }
}

/// Moments written as RFC 3339.
mod instant_text {
    use chrono::{DateTime, SecondsFormat};
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::model::Nanos;

    pub fn serialize<S: Serializer>(nanos: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
        let text = DateTime::from_timestamp_nanos(*nanos);
        serializer.serialize_str(&text.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nanos, D::Error> {
        let text = String::deserialize(deserializer)?;
        let instant = DateTime::parse_from_rfc3339(&text).ok();
        instant.and_then(|instant| instant.timestamp_nanos_opt()).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not a time; write it as `2026-01-31T12:00:00Z`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::samples::{labels, matchers};
    use super::*;
    use crate::model::HOUR;

    fn silence(texts: &[&str], starts_at: Nanos, ends_at: Nanos) -> Silence {
        let (id, comment) = ("s".into(), String::new());
        Silence { id, matchers: matchers(texts), starts_at, ends_at, comment }
    }

    #[test]
    fn mutes_what_matches_while_it_lasts() {
        let silence = silence(&["service=cart", "severity!=critical"], HOUR, 2 * HOUR);
        let warning = labels(&[("service", "cart"), ("severity", "warning")]);
        let critical = labels(&[("service", "cart"), ("severity", "critical")]);
        for (labels, at, expect) in [
            (&warning, HOUR - 1, false),
            (&warning, HOUR, true),
            (&warning, 2 * HOUR - 1, true),
            (&warning, 2 * HOUR, false),
            (&critical, HOUR, false),
        ] {
            assert_eq!(silence.mutes(labels, at), expect, "{labels:?} {at}");
        }
    }

    #[test]
    fn mistakes_are_refused() {
        assert!(silence(&["a=b"], HOUR, HOUR).check().is_err());
        assert!(silence(&[], 0, HOUR).check().is_err());
        assert!(silence(&["a=~\".*\""], 0, HOUR).check().is_err());
        assert!(silence(&["a=~\".*\"", "b=c"], 0, HOUR).check().is_ok());
    }

    #[test]
    fn json_round_trips_and_unknown_keys_are_refused() {
        let silence = silence(&["a=b"], 0, 90 * HOUR);
        let text = serde_json::to_string(&silence).unwrap();
        assert!(text.contains("1970-01-04T18:00:00Z"), "{text}");
        assert_eq!(serde_json::from_str::<Silence>(&text).unwrap(), silence);
        let unknown = text.replacen('{', "{\"extra\":1,", 1);
        assert!(serde_json::from_str::<Silence>(&unknown).is_err());
    }
}
