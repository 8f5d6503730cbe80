//! `faultline templates`: the log templates of a file.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;

use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::monitor::template::{Limits, Miner};
use crate::source::escape;

/// Mine the templates of a log file: a line of text in, a template out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  faultline templates app.log                   templates with their counts
  faultline templates app.log --format csv      line,template for every line")]
pub struct Args {
    /// The log file.
    file: PathBuf,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Csv,
}

pub fn run(args: &Args) -> Result<()> {
    let file = File::open(&args.file).map_err(Error::io(&args.file))?;
    let mut lines = BufReader::new(file);
    let mut miner = Miner::new(Limits::default());
    let mut ids = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(Error::io(&args.file))? == 0 {
            break;
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        ids.push(miner.add(&line));
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = match args.format {
        Format::Csv => write_csv(&mut out, &miner, &ids),
        Format::Table => write_table(&mut out, &miner),
    };
    match written.and_then(|()| out.flush()) {
        // A reader that has gone away wants no more lines.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::io("standard output")),
    }
}

fn write_csv(
    out: &mut impl Write,
    miner: &Miner,
    ids: &[crate::monitor::template::TemplateId],
) -> std::io::Result<()> {
    writeln!(out, "line,template")?;
    for (i, id) in ids.iter().enumerate() {
        let template = miner.template(*id).unwrap_or_default();
        writeln!(out, "{},\"{}\"", i + 1, template.replace('"', "\"\""))?;
    }
    Ok(())
}

fn write_table(out: &mut impl Write, miner: &Miner) -> std::io::Result<()> {
    let mut rows: Vec<_> = miner.templates().collect();
    rows.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.0.cmp(&b.0.0)));
    writeln!(out, "{:>10}  {:16}  template", "lines", "id")?;
    for (id, template, count) in rows {
        writeln!(out, "{count:>10}  {:016x}  {}", id.0, escape::line(&template))?;
    }
    Ok(())
}
