//! Lengths of time in configuration files, written as text: `30s`, `5m`, `4h`.

use serde::{Deserialize, Deserializer, Serializer, de};

use crate::model::Nanos;
use crate::stream::interval;

pub fn serialize<S: Serializer>(nanos: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&interval::format(*nanos))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nanos, D::Error> {
    let text = String::deserialize(deserializer)?;
    interval::parse(&text).filter(|nanos| *nanos > 0).ok_or_else(|| {
        de::Error::custom(format!("`{text}` is not a length of time; write one such as `5m`"))
    })
}
