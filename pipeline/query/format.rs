//! An answer as text: a table for people, CSV and JSON lines for programs.
//!
//! Whatever the archive holds, control characters never reach a terminal.

use std::io::{self, Write};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use datafusion::logical_expr::LogicalPlan;
use serde_json::{Map, Number, Value};

use super::session::Answer;
use crate::error::{Error, Result};
use crate::source::escape;

/// Characters of a value that a terminal shows; every other output has all.
const CELL_CHARS_MAX: usize = 120;

/// Width of a column at most: longer values stand out of it.
const WIDTH_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Table,
    /// A table on a terminal: long values are cut.
    Screen,
    /// RFC 4180 with a header; the items of a list are joined by `;`, null is empty.
    Csv,
    /// One object per line.
    Json,
}

impl Format {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "table" => Some(Self::Table),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Writes the rows. That an answer was cut, and its warnings, are the caller's to show elsewhere.
pub fn write(answer: &Answer, format: Format, out: &mut dyn Write) -> Result<()> {
    let written = match format {
        Format::Table | Format::Screen if is_plan(answer) => plan(answer, out),
        Format::Table => table(answer, usize::MAX, out),
        Format::Screen => table(answer, CELL_CHARS_MAX, out),
        Format::Csv => csv(answer, out),
        Format::Json => json(answer, out),
    };
    written.map_err(|err| match err.downcast::<ArrowError>() {
        Ok(arrow) => Error::Arrow(arrow),
        Err(err) => Error::io("the output")(err),
    })
}

/// What EXPLAIN answers.
fn is_plan(answer: &Answer) -> bool {
    answer.schema == LogicalPlan::explain_schema()
}

/// Each plan below its name, on as many lines as it has.
fn plan(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    for_each_row(answer, |columns, row| {
        for (depth, column) in columns.iter().enumerate() {
            for line in column.text(row, "", "")?.lines() {
                writeln!(out, "{}{}", "  ".repeat(depth), escape::line(line))?;
            }
        }
        Ok(())
    })
}

fn table(answer: &Answer, chars_max: usize, out: &mut dyn Write) -> io::Result<()> {
    let names = answer.schema.fields().iter().map(|f| shown(f.name(), chars_max));
    let mut lines: Vec<Vec<String>> = vec![names.collect()];
    for_each_row(answer, |columns, row| {
        let cells = columns.iter().map(|c| Ok(shown(&c.text(row, "NULL", ", ")?, chars_max)));
        lines.push(cells.collect::<io::Result<_>>()?);
        Ok(())
    })?;
    let width = |column: usize| {
        let longest = lines.iter().map(|l| l[column].chars().count()).max();
        longest.unwrap_or(0).min(WIDTH_MAX)
    };
    let widths: Vec<usize> = (0..answer.schema.fields().len()).map(width).collect();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(answer.schema.fields()).zip(&widths);
        let cells = cells.map(|((cell, field), width)| match field.data_type().is_numeric() {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        if number == 0 {
            let rules = widths.iter().map(|w| "-".repeat(*w));
            writeln!(out, "{}", rules.collect::<Vec<_>>().join("  "))?;
        }
    }
    let rows = lines.len() - 1;
    writeln!(out, "({rows} {})", if rows == 1 { "row" } else { "rows" })
}

/// On one line, without control characters, cut.
fn shown(text: &str, chars_max: usize) -> String {
    let safe = escape::line(text);
    match safe.char_indices().nth(chars_max) {
        Some(_) => {
            let kept: String = safe.chars().take(chars_max - 1).collect();
            kept + "…"
        }
        None => safe.into_owned(),
    }
}

fn csv(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let names: Vec<String> = answer.schema.fields().iter().map(|f| quoted(f.name())).collect();
    writeln!(out, "{}", names.join(","))?;
    for_each_row(answer, |columns, row| {
        let cells = columns.iter().map(|c| Ok(quoted(&c.text(row, "", ";")?)));
        writeln!(out, "{}", cells.collect::<io::Result<Vec<_>>>()?.join(","))
    })
}

fn quoted(text: &str) -> String {
    let safe = escape::body(text);
    match safe.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", safe.replace('"', "\"\"")),
        false => safe.into_owned(),
    }
}

fn json(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let schema = &answer.schema;
    for_each_row(answer, |columns, row| {
        let mut object = Map::new();
        for (field, column) in schema.fields().iter().zip(columns) {
            object.insert(field.name().clone(), column.json(row)?);
        }
        writeln!(out, "{}", ascii_controls(&Value::Object(object).to_string()))
    })
}

/// JSON escapes the control characters of ASCII; terminals obey those above it as well.
fn ascii_controls(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            c if c.is_control() || escape::turns(c) => {
                safe.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => safe.push(c),
        }
    }
    safe
}

/// One column of a batch, ready to be shown.
struct Cells<'a> {
    column: &'a ArrayRef,
    formatter: ArrayFormatter<'a>,
}

impl<'a> Cells<'a> {
    fn of(column: &'a ArrayRef) -> io::Result<Self> {
        let options = FormatOptions::default().with_duration_format(DurationFormat::Pretty);
        let formatter = ArrayFormatter::try_new(column, &options).map_err(io::Error::other)?;
        Ok(Self { column, formatter })
    }

    /// The value as text; times as RFC 3339.
    fn text(&self, row: usize, null: &str, separator: &str) -> io::Result<String> {
        if self.column.is_null(row) {
            return Ok(null.to_owned());
        }
        if let DataType::List(_) = self.column.data_type() {
            let items = self.column.as_list::<i32>().value(row);
            let cells = Cells::of(&items)?;
            let items = (0..items.len()).map(|item| cells.text(item, null, separator));
            return Ok(items.collect::<io::Result<Vec<_>>>()?.join(separator));
        }
        self.formatter.value(row).try_to_string().map_err(io::Error::other)
    }

    fn json(&self, row: usize) -> io::Result<Value> {
        if self.column.is_null(row) {
            return Ok(Value::Null);
        }
        match self.column.data_type() {
            DataType::Boolean => return Ok(self.column.as_boolean().value(row).into()),
            DataType::List(_) => {
                let items = self.column.as_list::<i32>().value(row);
                let cells = Cells::of(&items)?;
                return (0..items.len()).map(|item| cells.json(item)).collect();
            }
            DataType::Struct(fields) => {
                let members = fields.iter().zip(self.column.as_struct().columns());
                let members =
                    members.map(|(f, c)| Ok((f.name().clone(), Cells::of(c)?.json(row)?)));
                return Ok(Value::Object(members.collect::<io::Result<_>>()?));
            }
            _ => {}
        }
        let text = self.text(row, "", ";")?;
        let number = match self.column.data_type() {
            kind if kind.is_integer() || kind.is_floating() => text.parse::<Number>().ok(),
            _ => None,
        };
        // JSON has no NaN and no infinities: they stay readable as text.
        Ok(number.map_or_else(|| Value::from(text), Value::Number))
    }
}

fn for_each_row(
    answer: &Answer,
    mut each: impl FnMut(&[Cells<'_>], usize) -> io::Result<()>,
) -> io::Result<()> {
    for batch in &answer.batches {
        let cells = batch.columns().iter().map(Cells::of).collect::<io::Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            each(&cells, row)?;
        }
    }
    Ok(())
}
