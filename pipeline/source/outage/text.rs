//! One CSV or JSON-lines file of an outage.

use super::super::lines::Lines;
use super::super::text::{Decoder, TextReader, long_lines};
use super::input::Input;
use super::*;

pub struct TextFile {
    stream: Stream,
    reader: TextReader<Input>,
    /// Stored bytes already reported.
    reported: u64,
    ended: bool,
}

impl TextFile {
    /// Opens the file and reads its beginning: the header of CSV, the first block of gzip.
    pub fn open(path: &Path, name: String, stream: Stream, cluster: &str) -> Result<Self, Error> {
        let unreadable = |e| Error::unreadable(path, e);
        let mut lines = Lines::new(Input::open(path).map_err(unreadable)?, long_lines(stream));
        let filled = lines.probe().map_err(unreadable)?;
        let (decoder, number) = if stream == Stream::Metrics {
            let remedy = "write the header ts,service,instance,metric,value";
            if !filled {
                return Err(Error::header(path, "the file is empty", remedy));
            }
            (header(&mut lines, path, cluster)?, 1)
        } else {
            (Decoder::json(stream, cluster), 0)
        };
        let reader = TextReader::new(lines, decoder, stream, name, number);
        Ok(Self { stream, reader, reported: 0, ended: false })
    }

    pub fn read(
        &mut self,
        batch_rows: usize,
        registries: &mut Registries,
    ) -> Result<Option<Rows>, Error> {
        let registry = registries.get_mut(self.stream);
        if !self.ended {
            match self.reader.fill(batch_rows, registry) {
                Ok(true) => {}
                Ok(false) => {
                    self.reader.end(registry);
                    self.ended = true;
                }
                Err(error) => {
                    self.reader.damaged(&error);
                    self.ended = true;
                }
            }
        }
        let (batch, dead) = self.reader.take(registry)?;
        let bytes = self.reader.lines().input().bytes() - self.reported;
        if self.ended && batch.num_rows() == 0 && dead.is_empty() {
            return Ok(None);
        }
        self.reported += bytes;
        Ok(Some(Rows { batch, dead, bytes }))
    }
}

fn header(lines: &mut Lines<Input>, path: &Path, cluster: &str) -> Result<Decoder, Error> {
    let unreadable = |e| Error::unreadable(path, e);
    let line = match lines.next().map_err(unreadable)? {
        Some(line) => line.text.to_vec(),
        None => lines.rest().map(|l| l.text.to_vec()).unwrap_or_default(),
    };
    Decoder::csv(&line, cluster, path)
}
