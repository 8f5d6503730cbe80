//! Text files of rows: CSV for metrics, JSON lines for the other streams.

use std::io::{self, Read};
use std::path::Path;

use arrow::record_batch::RecordBatch;

use super::csv::CsvDecoder;
use super::dead::{DeadLetter, DeadReason, Defect};
use super::error::Error;
use super::json::JsonDecoder;
use super::lines::{LINE_BYTES_MAX, Line, Lines, LongLines};
use super::rows::Rows;
use crate::stream::schema::Stream;
use crate::stream::series::Registry;

/// Lines read in one go: a file of empty lines must not keep its reader from all else.
const LINES_AT_ONCE: u64 = 1 << 20;

/// Decodes the lines of one input, which may still be growing.
pub struct TextReader<R> {
    lines: Lines<R>,
    decoder: Decoder,
    rows: Rows,
    number: u64,
}

pub enum Decoder {
    Csv(Box<CsvDecoder>),
    Json(Box<JsonDecoder>),
    /// The header of a file that appeared later was wrong: its rows are all dead letters.
    Refused(String),
}

impl Decoder {
    /// For metric rows below this header.
    pub fn csv(header: &[u8], cluster: &str, file: &Path) -> Result<Self, Error> {
        Ok(Self::Csv(Box::new(CsvDecoder::new(header, cluster, file)?)))
    }

    /// For logs, spans and changes.
    pub fn json(stream: Stream, cluster: &str) -> Self {
        Self::Json(Box::new(JsonDecoder::new(stream, cluster)))
    }

    fn line(
        &mut self,
        line: &Line<'_>,
        rows: &mut Rows,
        registry: &mut Registry,
    ) -> Result<(), Defect> {
        if line.too_long {
            let detail = format!("the line has more than {LINE_BYTES_MAX} bytes");
            return Err(Defect::new(DeadReason::TooLong, detail));
        }
        match self {
            Self::Csv(csv) => csv.line(line.text, rows, registry),
            Self::Json(json) => json.line(line, rows, registry),
            Self::Refused(why) => Err(Defect::new(DeadReason::Malformed, why.clone())),
        }
    }
}

/// How long lines of a stream are treated: a log body may be cut, a CSV row may not.
pub fn long_lines(stream: Stream) -> LongLines {
    if stream == Stream::Metrics { LongLines::Skip } else { LongLines::CutStrings }
}

impl<R: Read> TextReader<R> {
    /// `name` is the file's name in dead letters; `lines` stand behind line `number`.
    pub fn new(
        lines: Lines<R>,
        decoder: Decoder,
        stream: Stream,
        name: String,
        number: u64,
    ) -> Self {
        Self { lines, decoder, rows: Rows::new(stream, name), number }
    }

    /// Decodes until the batch is full, or a great many lines were empty (true), or the input holds
    /// no further whole line (false).
    pub fn fill(&mut self, batch_rows: usize, registry: &mut Registry) -> io::Result<bool> {
        let last = self.number + LINES_AT_ONCE;
        while !self.rows.is_full(batch_rows) && self.number < last {
            let Some(line) = self.lines.next()? else {
                return Ok(false);
            };
            self.number += 1;
            decode(&mut self.decoder, &mut self.rows, &line, self.number, registry);
        }
        Ok(true)
    }

    /// The input has ended: what stands behind the last line end is a row too.
    pub fn end(&mut self, registry: &mut Registry) {
        if let Some(line) = self.lines.rest() {
            self.number += 1;
            decode(&mut self.decoder, &mut self.rows, &line, self.number, registry);
        }
    }

    /// The input cannot be read further: the row that was being read is lost.
    pub fn damaged(&mut self, error: &io::Error) {
        let row = self.lines.rest().map(|l| l.text.to_vec()).unwrap_or_default();
        let detail = format!("the file cannot be read beyond this line: {error}");
        self.rows.dead(self.number + 1, Defect::new(DeadReason::Damaged, detail), &row);
    }

    pub fn take(
        &mut self,
        registry: &mut Registry,
    ) -> Result<(RecordBatch, Vec<DeadLetter>), Error> {
        self.rows.finish(registry)
    }

    pub fn lines(&self) -> &Lines<R> {
        &self.lines
    }

    /// Number of the last line decoded.
    pub fn number(&self) -> u64 {
        self.number
    }
}

fn decode(
    decoder: &mut Decoder,
    rows: &mut Rows,
    line: &Line<'_>,
    number: u64,
    registry: &mut Registry,
) {
    let text = line.text.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(line.text);
    if text.trim_ascii().is_empty() {
        return;
    }
    let line = Line { text, ..*line };
    if let Err(defect) = decoder.line(&line, rows, registry) {
        rows.dead(number, defect, text);
    }
}
