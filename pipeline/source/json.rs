//! Log, span and change rows from JSON lines. Fields that are not known are passed over, because
//! exporters add their own.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::dead::{DeadReason, Defect};
use super::escape;
use super::keys::{KeyCache, intern, key_text};
use super::lines::Line;
use super::rows::Rows;
use super::timestamp;
use crate::model::Nanos;
use crate::stream::schema::Stream;
use crate::stream::series::Registry;

pub struct JsonDecoder {
    stream: Stream,
    cluster: String,
    keys: KeyCache,
}

/// Every field of the three streams; a line has those of its own stream.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    ts: Scalar<'a>,
    cluster: Scalar<'a>,
    service: Scalar<'a>,
    instance: Scalar<'a>,
    severity: Scalar<'a>,
    body: Scalar<'a>,
    trace_id: Scalar<'a>,
    span_id: Scalar<'a>,
    parent_span_id: Scalar<'a>,
    operation: Scalar<'a>,
    status: Scalar<'a>,
    duration_us: Scalar<'a>,
    kind: Scalar<'a>,
    object: Scalar<'a>,
    actor: Scalar<'a>,
    detail: Scalar<'a>,
}

impl JsonDecoder {
    pub fn new(stream: Stream, cluster: &str) -> Self {
        Self { stream, cluster: cluster.to_owned(), keys: KeyCache::default() }
    }

    /// Adds the row to `rows`, or says what is wrong with it.
    pub fn line(
        &mut self,
        line: &Line<'_>,
        rows: &mut Rows,
        registry: &mut Registry,
    ) -> Result<(), Defect> {
        // A list would be taken for a record's fields in order.
        if !line.text.trim_ascii_start().starts_with(b"{") {
            return Err(Defect::new(DeadReason::Malformed, "not a JSON object"));
        }
        if let Ok(record) = serde_json::from_slice(line.text) {
            return self.record(record, line.cut, rows, registry);
        }
        // Invalid UTF-8 and raw control characters are escaped only where they occur.
        let text = escape::json(line.text);
        match serde_json::from_str(&text) {
            Ok(record) => self.record(record, line.cut, rows, registry),
            Err(e) => {
                let detail = format!("not one JSON object on one line: {e}");
                Err(Defect::new(DeadReason::Malformed, detail))
            }
        }
    }

    fn record(
        &mut self,
        record: Record<'_>,
        cut: u64,
        rows: &mut Rows,
        registry: &mut Registry,
    ) -> Result<(), Defect> {
        let ts = record.ts.time()?;
        match self.stream {
            Stream::Metrics => {
                let detail = "metrics come as CSV or Parquet, not as JSON lines";
                return Err(Defect::new(DeadReason::Malformed, detail));
            }
            Stream::Logs => {
                let body = record.body.text("body")?.ok_or_else(|| Defect::missing("body"))?;
                let body = escape::bounded(clean(&body), cut);
                let (trace, span) =
                    (ident("trace_id", &record.trace_id)?, ident("span_id", &record.span_id)?);
                let key = [&record.cluster, &record.service, &record.instance, &record.severity];
                let id = self.id(key, registry)?;
                rows.text(ts, id, &[body, Cow::Borrowed(""), Cow::Borrowed(""), trace, span]);
            }
            Stream::Spans => {
                let duration = record.duration_us.duration()?;
                let ids = [
                    ident("trace_id", &record.trace_id)?,
                    ident("span_id", &record.span_id)?,
                    ident("parent_span_id", &record.parent_span_id)?,
                    Cow::Borrowed(""),
                ];
                let key = [
                    &record.cluster,
                    &record.service,
                    &record.instance,
                    &record.operation,
                    &record.status,
                ];
                let id = self.id(key, registry)?;
                rows.span(ts, id, ids, duration);
            }
            Stream::Changes => {
                let object = record.object.text("object")?.unwrap_or_default();
                let actor = record.actor.text("actor")?.unwrap_or_default();
                let detail = record.detail.text("detail")?.unwrap_or_default();
                let texts = [&object, &actor, &detail].map(|t| escape::bounded(clean(t), 0));
                let id = self.id([&record.cluster, &record.service, &record.kind], registry)?;
                rows.text(ts, id, &texts);
            }
        }
        Ok(())
    }

    fn id<const N: usize>(
        &mut self,
        key: [&Scalar<'_>; N],
        registry: &mut Registry,
    ) -> Result<u32, Defect> {
        let names = self.stream.series_columns();
        let mut texts: [Cow<'_, str>; N] = std::array::from_fn(|_| Cow::Borrowed(""));
        for ((text, scalar), name) in texts.iter_mut().zip(key).zip(names) {
            *text = scalar.text(name)?.unwrap_or_default();
        }
        let raw = texts.each_ref().map(|t| t.as_bytes());
        self.keys.id(&raw, registry.generation(), || intern(&raw, &self.cluster, registry))
    }
}

fn clean(text: &str) -> Cow<'_, str> {
    if escape::is_clean(text.as_bytes()) { Cow::Borrowed(text) } else { escape::body(text) }
}

/// A trace or span id; too long to be one is a defect.
fn ident<'a>(name: &str, scalar: &'a Scalar<'_>) -> Result<Cow<'a, str>, Defect> {
    let Some(text) = scalar.text(name)? else {
        return Ok(Cow::Borrowed(""));
    };
    match text {
        Cow::Borrowed(text) => key_text(name, text.as_bytes()),
        Cow::Owned(text) => Ok(Cow::Owned(key_text(name, text.as_bytes())?.into_owned())),
    }
}

/// A JSON value that a column can hold.
#[derive(Debug, Default)]
enum Scalar<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Integer(i64),
    Number(f64),
    Bool(bool),
    /// An object or array.
    Nested,
}

impl Scalar<'_> {
    fn text(&self, name: &str) -> Result<Option<Cow<'_, str>>, Defect> {
        Ok(Some(match self {
            Self::Absent => return Ok(None),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Nested => {
                let detail = format!("field `{name}` is an object or a list, not a text");
                return Err(Defect::new(DeadReason::BadValue, detail));
            }
        }))
    }

    fn time(&self) -> Result<Nanos, Defect> {
        match self {
            Self::Absent => Err(Defect::missing("ts")),
            Self::Text(text) => timestamp::parse(text.as_bytes()),
            Self::Integer(nanos) => timestamp::checked(*nanos),
            Self::Number(_) | Self::Bool(_) | Self::Nested => {
                let detail = "`ts` is neither RFC 3339 text nor integer nanoseconds";
                Err(Defect::new(DeadReason::BadTimestamp, detail))
            }
        }
    }

    /// Microseconds; fractions are cut.
    fn duration(&self) -> Result<i64, Defect> {
        let number = match self {
            Self::Absent => return Err(Defect::missing("duration_us")),
            Self::Integer(n) => *n as f64,
            Self::Number(n) => *n,
            Self::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
            Self::Bool(_) | Self::Nested => f64::NAN,
        };
        duration(number)
    }
}

/// A span's duration in whole microseconds.
pub fn duration(number: f64) -> Result<i64, Defect> {
    if (0.0..9e15).contains(&number) {
        return Ok(number as i64);
    }
    let detail = "`duration_us` is not a number of microseconds from 0 on";
    Err(Defect::new(DeadReason::BadValue, detail))
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(n).map_or(Scalar::Number(n as f64), Scalar::Integer))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(n))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
}
