//! One followed path and the file that it stands for at the moment.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::escape;
use super::super::lines::{Lines, LongLines};
use super::super::text::{Decoder, TextReader, long_lines};
use super::identity::Identity;
use super::*;
use crate::stream::series::Registry;

/// Where the reading of one path stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    pub path: PathBuf,
    identity: Identity,
    /// Behind the last line handed out.
    offset: u64,
    /// Number of that line.
    line: u64,
    /// Header of a metrics file.
    header: Option<String>,
}

pub struct Follower {
    file: TailFile,
    partition: u32,
    cluster: String,
    current: Option<Current>,
    /// Kept until a file has been opened.
    resume: Option<Saved>,
    /// Files that the path stood for while nobody read it, in the order in which they are read.
    between: VecDeque<File>,
}

/// The file that is being read.
struct Current {
    state: State,
    identity: Identity,
    /// Offset at which reading began.
    base: u64,
    header: Option<Vec<u8>>,
    /// Reading has come to the end; the path has to be looked at before it goes on.
    at_end: bool,
    /// The path stands for another file, so this one does not grow any more.
    complete: bool,
    reported: u64,
}

enum State {
    /// A metrics file whose header line is not complete yet.
    Header(Lines<File>),
    Rows(Box<TextReader<File>>),
}

/// What has become of a file that was read to its end.
enum Fate {
    Same,
    /// Truncated, or other bytes in the same place.
    Replaced,
    /// The path stands for another file.
    Renamed,
}

impl Follower {
    pub fn open(
        file: TailFile,
        partition: u32,
        cluster: &str,
        resume: Option<Saved>,
    ) -> Result<Self, Error> {
        let (cluster, between) = (cluster.to_owned(), VecDeque::new());
        let mut follower = Self { file, partition, cluster, current: None, resume, between };
        follower.current = follower.find()?;
        if let Some(current) = &mut follower.current {
            current.header(&follower.file, &follower.cluster)?;
        }
        Ok(follower)
    }

    pub fn stream(&self) -> Stream {
        self.file.stream
    }

    pub fn path(&self) -> &Path {
        &self.file.path
    }

    pub fn saved(&self) -> Option<Saved> {
        let Some(current) = &self.current else {
            return self.resume.clone();
        };
        let line = match &current.state {
            State::Header(_) => 0,
            State::Rows(reader) => reader.number(),
        };
        Some(Saved {
            path: self.file.path.clone(),
            identity: current.identity.clone(),
            offset: current.offset(),
            line,
            header: current.header.as_ref().map(|h| escape::utf8(h).into_owned()),
        })
    }

    /// New rows, if there are any.
    pub fn poll(
        &mut self,
        batch_rows: usize,
        registry: &mut Registry,
    ) -> Result<Option<Chunk>, Error> {
        loop {
            let Some(current) = &mut self.current else {
                self.current = self.find()?;
                if self.current.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let failed = |e| Error::unreadable(&self.file.path, e);
            current.complete |= !self.between.is_empty();
            if current.at_end && !current.complete {
                match current.fate(&self.file).map_err(failed)? {
                    Fate::Same => {}
                    Fate::Renamed => {
                        current.complete = true;
                        let file = current.lines().input();
                        self.between = rotated::since(file, &self.file.path).map_err(failed)?;
                    }
                    Fate::Replaced => {
                        let path = self.file.path.display();
                        tracing::info!(%path, "file was truncated or replaced, reading it anew");
                        (self.current, self.resume) = (None, None);
                        continue;
                    }
                }
            }
            // A file that appeared while running and has a wrong header must not stop the others.
            if let Err(error) = current.header(&self.file, &self.cluster) {
                current.refuse(&self.file, error)?;
            }
            let chunk = current.read(&self.file, self.partition, batch_rows, registry)?;
            let finished = current.complete && current.at_end;
            if finished {
                self.resume = None;
                self.current = self.next_between()?;
            }
            if chunk.is_some() || !finished {
                return Ok(chunk);
            }
        }
    }

    /// The next file that was rotated away unread.
    fn next_between(&mut self) -> Result<Option<Current>, Error> {
        let Some(file) = self.between.pop_front() else { return Ok(None) };
        let failed = |e| Error::unreadable(&self.file.path, e);
        Current::begin(file, &self.file, &self.cluster).map_err(failed).map(Some)
    }

    /// Opens the file to read next: the one that the saved position names, else the path's.
    fn find(&mut self) -> Result<Option<Current>, Error> {
        let path = self.file.path.clone();
        let failed = |e| Error::unreadable(&path, e);
        let opened = match regular(&path).and_then(|()| File::open(&path)) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(failed(e)),
        };
        if let Some(saved) = &self.resume {
            let here = match &opened {
                Some(file) => saved.identity.is_place_of(&file.metadata().map_err(failed)?),
                None => false,
            };
            let old = match &opened {
                Some(file) if here => {
                    let same = saved.identity.is_head_of(file).map_err(failed)?;
                    let long_enough = file.metadata().map_err(failed)?.len() >= saved.offset;
                    (same && long_enough).then(|| file.try_clone()).transpose().map_err(failed)?
                }
                _ => saved.identity.find_renamed(&path).or_else(missing).map_err(failed)?,
            };
            if let Some(old) = old {
                if !here {
                    self.between = rotated::since(&old, &path).map_err(failed)?;
                }
                return Current::resume(old, saved, &self.file, &self.cluster).map(Some);
            }
            if opened.is_some() {
                let path = path.display();
                tracing::warn!(%path, "the file read before is gone, rows may be missing");
            }
        }
        let Some(file) = opened else { return Ok(None) };
        self.resume = None;
        Current::begin(file, &self.file, &self.cluster).map_err(failed).map(Some)
    }
}

/// To open a pipe would wait for its writer, and what is read from it cannot be read again.
fn regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is no regular file; write what comes to one")),
    }
}

fn missing(error: io::Error) -> io::Result<Option<File>> {
    if error.kind() == ErrorKind::NotFound { Ok(None) } else { Err(error) }
}

impl Current {
    fn begin(file: File, of: &TailFile, cluster: &str) -> io::Result<Self> {
        let identity = Identity::of(&file, 0)?;
        let lines = Lines::new(file, long_lines(of.stream));
        let state = if of.stream == Stream::Metrics {
            State::Header(lines)
        } else {
            State::Rows(Box::new(reader(lines, Decoder::json(of.stream, cluster), of, 0)))
        };
        Ok(Self {
            state,
            identity,
            base: 0,
            header: None,
            at_end: false,
            complete: false,
            reported: 0,
        })
    }

    fn resume(mut file: File, saved: &Saved, of: &TailFile, cluster: &str) -> Result<Self, Error> {
        file.seek(SeekFrom::Start(saved.offset)).map_err(|e| Error::unreadable(&of.path, e))?;
        let mode = long_lines(of.stream);
        let lines = Lines::new(file, mode);
        let header = saved.header.as_ref().map(|h| h.as_bytes().to_vec());
        let state = match (&header, mode) {
            (Some(header), LongLines::Skip) => {
                let decoder = Decoder::csv(header, cluster, &of.path)?;
                State::Rows(Box::new(reader(lines, decoder, of, saved.line)))
            }
            (None, LongLines::Skip) => State::Header(lines),
            (_, LongLines::CutStrings) => State::Rows(Box::new(reader(
                lines,
                Decoder::json(of.stream, cluster),
                of,
                saved.line,
            ))),
        };
        Ok(Self {
            state,
            identity: saved.identity.clone(),
            base: saved.offset,
            header,
            // Whether the path still stands for it is looked up before anything is read.
            at_end: true,
            complete: false,
            reported: saved.offset,
        })
    }

    fn lines(&self) -> &Lines<File> {
        match &self.state {
            State::Header(lines) => lines,
            State::Rows(reader) => reader.lines(),
        }
    }

    fn offset(&self) -> u64 {
        self.base + self.lines().delivered()
    }

    /// Reads the header line of a metrics file once it is complete.
    fn header(&mut self, of: &TailFile, cluster: &str) -> Result<(), Error> {
        let State::Header(lines) = &mut self.state else { return Ok(()) };
        let line = match lines.next().map_err(|e| Error::unreadable(&of.path, e))? {
            Some(line) => line.text.to_vec(),
            None => {
                self.at_end = true;
                return Ok(());
            }
        };
        let decoder = Decoder::csv(&line, cluster, &of.path)?;
        self.header = Some(line);
        self.rows(decoder, of)
    }

    fn refuse(&mut self, of: &TailFile, error: Error) -> Result<(), Error> {
        match error {
            Error::Header { .. } => self.rows(Decoder::Refused(error.to_string()), of),
            error => Err(error),
        }
    }

    /// Goes on behind the header line.
    fn rows(&mut self, decoder: Decoder, of: &TailFile) -> Result<(), Error> {
        let offset = self.offset();
        let failed = |e| Error::unreadable(&of.path, e);
        let mut file = self.lines().input().try_clone().map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        self.base = offset;
        self.state =
            State::Rows(Box::new(reader(Lines::new(file, LongLines::Skip), decoder, of, 1)));
        Ok(())
    }

    fn fate(&self, of: &TailFile) -> io::Result<Fate> {
        let file = self.lines().input();
        let meta = match fs::metadata(&of.path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Fate::Same),
            Err(e) => return Err(e),
        };
        if !self.identity.is_place_of(&meta) {
            // The writer still has the old file open until it begins the new one.
            return Ok(if meta.len() > 0 { Fate::Renamed } else { Fate::Same });
        }
        let shorter = meta.len() < self.offset();
        Ok(if shorter || !self.identity.is_head_of(file)? { Fate::Replaced } else { Fate::Same })
    }

    fn read(
        &mut self,
        of: &TailFile,
        partition: u32,
        batch_rows: usize,
        registry: &mut Registry,
    ) -> Result<Option<Chunk>, Error> {
        let State::Rows(reader) = &mut self.state else { return Ok(None) };
        let failed = |e| Error::unreadable(&of.path, e);
        self.at_end = !reader.fill(batch_rows, registry).map_err(failed)?;
        if self.at_end && self.complete {
            reader.end(registry);
        }
        let (batch, dead) = reader.take(registry)?;
        let offset = self.offset();
        if !self.identity.is_full() {
            self.identity = Identity::of(self.lines().input(), offset).map_err(failed)?;
        }
        if batch.num_rows() == 0 && dead.is_empty() {
            return Ok(None);
        }
        let bytes = offset - self.reported;
        self.reported = offset;
        Ok(Some(Chunk {
            stream: of.stream,
            partition,
            batch,
            dead,
            bytes,
            last: false,
            reached: None,
        }))
    }
}

fn reader(lines: Lines<File>, decoder: Decoder, of: &TailFile, number: u64) -> TextReader<File> {
    TextReader::new(lines, decoder, of.stream, of.path.to_string_lossy().into_owned(), number)
}
