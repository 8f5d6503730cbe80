//! `faultline templates`: the log templates of a file.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::{Error, Result};
use crate::monitor::template::fold::Folder;
use crate::monitor::template::{Limits, Miner, TemplateId};
use crate::source::escape;
use crate::source::lines::{Lines, LongLines};
use crate::source::outage::input::Input;

/// Bytes of an event of several lines that are looked at.
const EVENT_BYTES_MAX: usize = 64 << 10;

/// Lines after which the progress bar moves.
const PROGRESS_LINES: usize = 1 << 14;

/// Mine the templates of a log file: a line of text in, a template out. Lines that go on with the
/// one before, as of a stack trace, have its template.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  faultline templates app.log                   templates with their counts
  faultline templates app.log --format csv      line,template for every line
  faultline templates app.log.gz                a file that gzip made
  kubectl logs web-0 | faultline templates -    standard input")]
pub struct Args {
    /// The log file, which may be gzipped if its name ends in `.gz`; `-` is standard input.
    file: PathBuf,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Csv,
}

/// What was made of the lines.
struct Mined {
    miner: Miner,
    /// Template of each event, and its lines.
    events: Vec<(TemplateId, u32)>,
    /// Why the lines after these could not be read.
    broken: Option<io::Error>,
}

/// The event whose lines are being read.
#[derive(Default)]
struct Open {
    text: Vec<u8>,
    lines: u32,
}

pub fn run(args: &Args) -> Result<()> {
    let mined = read(&args.file).map_err(Error::io(&args.file))?;
    let forgotten = mined.miner.forgotten();
    if forgotten > 0 {
        let most = Limits::default().templates_max;
        tracing::warn!(
            "the log has more than {most} kinds of lines: {forgotten} templates were put aside \
             before the end, and lines that are alike may have several"
        );
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = match args.format {
        Format::Csv => write_csv(&mut out, &mined),
        Format::Table => write_table(&mut out, &mined),
    };
    match written.and_then(|()| out.flush()) {
        // A reader that has gone away wants no more lines.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.map_err(Error::io("standard output"))?,
    }
    match mined.broken {
        None => Ok(()),
        Some(error) => Err(Error::io(&args.file)(error)),
    }
}

fn read(path: &Path) -> io::Result<Mined> {
    if path == Path::new("-") {
        return mine(io::stdin().lock(), |_| ());
    }
    let stored = path.metadata()?.len();
    let bar = ProgressBar::with_draw_target(Some(stored), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3}%") {
        bar.set_style(style);
    }
    let mined = mine(Input::open(path)?, |input| bar.set_position(input.bytes()));
    bar.finish_and_clear();
    mined
}

/// Mines what `input` holds; `progress` is told how far that has been read.
fn mine<R: Read>(input: R, progress: impl Fn(&R)) -> io::Result<Mined> {
    let mut lines = Lines::new(input, LongLines::CutStrings);
    let miner = Miner::with_memory(Limits::default());
    let mut mined = Mined { miner, events: Vec::new(), broken: None };
    let mut folder = Folder::default();
    let mut open = Open::default();
    let mut read = 0_usize;
    loop {
        match lines.next() {
            Ok(Some(line)) => mined.take(&mut open, &mut folder, line.text),
            Ok(None) => break,
            // Of a file that was cut short, what is there is still worth reading.
            Err(error) if is_damage(&error) => {
                mined.broken = Some(unreadable_from(read + 1, &error));
                break;
            }
            Err(error) => return Err(error),
        }
        read += 1;
        if read.is_multiple_of(PROGRESS_LINES) {
            progress(lines.input());
        }
    }
    if let Some(line) = lines.rest() {
        mined.take(&mut open, &mut folder, line.text);
    }
    mined.add(&mut open);
    Ok(mined)
}

/// Whether the input, not its reading, is at fault, as in a gzip file that is none or has no end.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn unreadable_from(line: usize, error: &io::Error) -> io::Error {
    let remedy = "check that gzip made the file and that it is whole";
    let message = format!("line {line} and what follows cannot be read: {error}; {remedy}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl Mined {
    /// Takes a line, which ends the event before or goes on with it.
    fn take(&mut self, open: &mut Open, folder: &mut Folder, line: &[u8]) {
        if folder.continues(&escape::utf8(line)) {
            if open.text.len() + line.len() < EVENT_BYTES_MAX {
                open.text.push(b'\n');
                open.text.extend_from_slice(line);
            }
        } else {
            self.add(open);
            open.text.extend_from_slice(line);
        }
        open.lines += 1;
    }

    /// Takes an event that is complete; none is left open.
    fn add(&mut self, open: &mut Open) {
        if open.lines > 0 {
            self.events.push((self.miner.add(&open.text), open.lines));
        }
        open.text.clear();
        open.lines = 0;
    }
}

fn write_csv(out: &mut impl Write, mined: &Mined) -> std::io::Result<()> {
    writeln!(out, "line,template")?;
    let mut line = 0_u64;
    for (id, lines) in &mined.events {
        let template = mined.miner.template(*id).unwrap_or_default();
        let template = escape::line(&template).replace('"', "\"\"");
        for _ in 0..*lines {
            line += 1;
            writeln!(out, "{line},\"{template}\"")?;
        }
    }
    Ok(())
}

fn write_table(out: &mut impl Write, mined: &Mined) -> std::io::Result<()> {
    let mut counts: BTreeMap<TemplateId, u64> = BTreeMap::new();
    for (id, _) in &mined.events {
        *counts.entry(mined.miner.resolve(*id)).or_default() += 1;
    }
    let mut rows: Vec<(TemplateId, u64)> = counts.into_iter().collect();
    rows.sort_by_key(|(id, count)| (Reverse(*count), *id));
    writeln!(out, "{:>10}  {:16}  template", "events", "id")?;
    for (id, count) in rows {
        let template = mined.miner.template(id).unwrap_or_default();
        writeln!(out, "{count:>10}  {:016x}  {}", id.0, escape::line(&template))?;
    }
    Ok(())
}
