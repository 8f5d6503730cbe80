//! The streams and their columns.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What a job writes to.
pub const SINK: &str = "signals";

/// A named stream of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    Metrics,
    Logs,
    Spans,
    Changes,
}

impl Stream {
    pub const ALL: [Self; 4] = [Self::Metrics, Self::Logs, Self::Spans, Self::Changes];

    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Spans => "spans",
            Self::Changes => "changes",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Columns in order; `ts` is always column 0.
    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 4]> =
            LazyLock::new(|| Stream::ALL.map(|s| Arc::new(Schema::new(s.fields()))));
        Arc::clone(&SCHEMAS[self as usize])
    }

    /// Columns interned together: their dictionary keys are one series id per row.
    pub fn series_columns(self) -> &'static [&'static str] {
        match self {
            Self::Metrics => &["cluster", "service", "instance", "metric", "labels"],
            Self::Logs => &["cluster", "service", "instance", "severity"],
            Self::Spans => &["cluster", "service", "instance", "operation", "status"],
            Self::Changes => &["cluster", "service", "kind"],
        }
    }

    fn fields(self) -> Vec<Field> {
        let mut fields = vec![Field::new("ts", timestamp(), false)];
        fields.extend(self.series_columns().iter().map(|c| Field::new(*c, interned(), false)));
        fields.extend(match self {
            Self::Metrics => vec![Field::new("value", DataType::Float64, false)],
            Self::Logs => text(&["body", "template_id", "template", "trace_id", "span_id"]),
            Self::Spans => {
                let mut f = text(&["trace_id", "span_id", "parent_span_id", "caller"]);
                f.push(Field::new("duration_us", DataType::Int64, false));
                f
            }
            Self::Changes => text(&["object", "actor", "detail"]),
        });
        fields
    }
}

/// Columns that a job writes; the engine adds the job's name, severity and the signal's id.
pub fn signals_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let float = |n: &str| Field::new(n, DataType::Float64, true);
        let mut fields = text(&["cluster", "service", "instance", "metric"]);
        fields.push(Field::new("window_start", timestamp(), false));
        fields.push(Field::new("window_end", timestamp(), false));
        fields.extend([float("score"), float("observed"), float("expected")]);
        let optional = |n: &str, t| Field::new(n, t, true);
        fields.push(optional("direction", DataType::Utf8));
        fields.push(optional("ongoing", DataType::Boolean));
        fields.push(optional("predicted", DataType::Boolean));
        fields.push(optional("detail", DataType::Utf8));
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

/// Event time: UTC nanoseconds.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

/// Interned text: the key is an id from the stream's series registry.
pub fn interned() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
}

fn text(names: &[&str]) -> Vec<Field> {
    names.iter().map(|n| Field::new(*n, DataType::Utf8, false)).collect()
}
