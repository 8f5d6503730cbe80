//! Metric rows from CSV. A row is a line: a quoted field may not hold a line end.

use std::path::Path;

use csv_core::{ReadRecordResult, Reader};

use super::dead::{DeadReason, Defect};
use super::error::Error;
use super::keys::{KeyCache, intern};
use super::rows::{Rows, finite};
use super::timestamp;
use crate::model::Nanos;
use crate::stream::series::Registry;

const COLUMNS: [&str; 7] = ["cluster", "service", "instance", "metric", "labels", "ts", "value"];
/// Key columns come first in [`COLUMNS`], in the order of the series key.
const KEYS: usize = 5;
const TS: usize = 5;
const VALUE: usize = 6;
const OPTIONAL: [&str; 2] = ["cluster", "labels"];
const HEADER: &str =
    "write the header ts,service,instance,metric,value, optionally with cluster and labels";

/// Most fields that a line is split into; a metrics file has at most seven.
const FIELDS_MAX: usize = 16;

/// Decodes the lines below one header.
pub struct CsvDecoder {
    /// Position in the file of each of [`COLUMNS`].
    places: [Option<usize>; COLUMNS.len()],
    width: usize,
    cluster: String,
    keys: KeyCache,
    last_ts: (Vec<u8>, Nanos),
    unquoted: Vec<u8>,
}

impl CsvDecoder {
    pub fn new(header: &[u8], cluster: &str, file: &Path) -> Result<Self, Error> {
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header);
        let mut unquoted = Vec::new();
        let mut ends = [0; FIELDS_MAX];
        let wrong = |problem: String| Error::header(file, problem, HEADER);
        let fields = split(header, &mut unquoted, &mut ends);
        let Ok(fields) = fields.map(|f| f.iter().collect::<Vec<_>>()) else {
            return Err(wrong("the header cannot be split into columns".to_owned()));
        };
        let mut places = [None; COLUMNS.len()];
        for (i, field) in fields.iter().enumerate() {
            let name = super::escape::utf8(field.trim_ascii());
            let Some(column) = COLUMNS.iter().position(|c| *c == name) else {
                return Err(wrong(format!("unknown column `{}`", super::escape::line(&name))));
            };
            if places[column].replace(i).is_some() {
                return Err(wrong(format!("column `{name}` comes twice")));
            }
        }
        let missing =
            COLUMNS.iter().zip(&places).find(|(c, p)| p.is_none() && !OPTIONAL.contains(c));
        if let Some((name, _)) = missing {
            return Err(wrong(format!("column `{name}` is missing")));
        }
        Ok(Self {
            places,
            width: fields.len(),
            cluster: cluster.to_owned(),
            keys: KeyCache::default(),
            last_ts: (Vec::new(), 0),
            unquoted,
        })
    }

    /// Adds the row to `rows`, or says what is wrong with it.
    pub fn line(
        &mut self,
        line: &[u8],
        rows: &mut Rows,
        registry: &mut Registry,
    ) -> Result<(), Defect> {
        let mut ends = [0; FIELDS_MAX];
        let fields = split(line, &mut self.unquoted, &mut ends)?;
        if fields.len() != self.width {
            let detail = format!("{} fields where the header has {}", fields.len(), self.width);
            return Err(Defect::new(DeadReason::Malformed, detail));
        }
        let column = |c: usize| self.places[c].map_or(&b""[..], |i| fields.get(i));
        let ts = column(TS);
        if ts.is_empty() || self.last_ts.0 != ts {
            self.last_ts.1 = timestamp::parse(ts)?;
            self.last_ts.0.clear();
            self.last_ts.0.extend_from_slice(ts);
        }
        let value = value(column(VALUE))?;
        let key: [&[u8]; KEYS] = std::array::from_fn(column);
        let id =
            self.keys.id(&key, registry.generation(), || intern(&key, &self.cluster, registry))?;
        rows.metric(self.last_ts.1, id, value);
        Ok(())
    }
}

fn value(field: &[u8]) -> Result<f64, Defect> {
    let field = field.trim_ascii();
    if field.is_empty() {
        return Err(Defect::missing("value"));
    }
    let number = std::str::from_utf8(field).ok().and_then(|t| t.parse::<f64>().ok());
    let Some(number) = number else {
        return Err(Defect::new(DeadReason::BadValue, "`value` is not a number"));
    };
    finite(number)
}

/// Fields of one line: a text and where each of them ends.
struct Fields<'a> {
    text: &'a [u8],
    ends: &'a [usize],
    /// Bytes between two fields: the comma, or nothing once quotes are resolved.
    gap: usize,
}

impl<'a> Fields<'a> {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, i: usize) -> &'a [u8] {
        let from = if i == 0 { 0 } else { self.ends[i - 1] + self.gap };
        &self.text[from..self.ends[i]]
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).map(|i| self.get(i))
    }
}

/// Splits at commas; a line with quotes takes the slower way through the full grammar.
fn split<'a>(
    line: &'a [u8],
    unquoted: &'a mut Vec<u8>,
    ends: &'a mut [usize; FIELDS_MAX],
) -> Result<Fields<'a>, Defect> {
    let mut count = 0;
    for (i, byte) in line.iter().enumerate() {
        match byte {
            b'"' => return split_quoted(line, unquoted, ends),
            b',' => {
                *ends.get_mut(count).ok_or_else(too_many)? = i;
                count += 1;
            }
            _ => {}
        }
    }
    *ends.get_mut(count).ok_or_else(too_many)? = line.len();
    Ok(Fields { text: line, ends: &ends[..=count], gap: 1 })
}

fn split_quoted<'a>(
    line: &[u8],
    unquoted: &'a mut Vec<u8>,
    ends: &'a mut [usize; FIELDS_MAX],
) -> Result<Fields<'a>, Defect> {
    unquoted.clear();
    unquoted.resize(line.len() + 1, 0);
    let mut reader = Reader::new();
    let (result, read, written, mut count) = reader.read_record(line, unquoted, ends);
    let mut written = written;
    if result == ReadRecordResult::InputEmpty && read == line.len() {
        // The line end closes the last field; inside open quotes it would belong to the field.
        let (result, _, more, fields) =
            reader.read_record(b"\n", &mut unquoted[written..], &mut ends[count..]);
        if result != ReadRecordResult::Record {
            let detail = "a quote is not closed: a row must end on its line";
            return Err(Defect::new(DeadReason::Malformed, detail));
        }
        written += more;
        count += fields;
    } else {
        return Err(too_many());
    }
    Ok(Fields { text: &unquoted[..written], ends: &ends[..count], gap: 0 })
}

fn too_many() -> Defect {
    Defect::new(DeadReason::Malformed, "more fields than the header has")
}
