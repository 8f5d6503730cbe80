//! `faultline knowledge`: runbooks in, and what is known out.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use faultline_storage::archive::{Archive, Open};
use serde_json::{Value, json};

use super::output;
use crate::config::Config;
use crate::diagnose::advise::Embedder;
use crate::error::{Error, Result};
use crate::knowledge::{
    Case, DEFAULT_CLUSTER, Fitting, Library, Model, Question, Similar, Writer, intake, load, open,
    table_specs,
};
use crate::model::Nanos;
use crate::source::{escape, timestamp};

const ARCHIVE: &str = "faultline-demo/archive";

/// Longest question.
const TEXT_BYTES_MAX: usize = 8_192;

/// Characters of a section that a table shows; JSON shows all.
const EXCERPT_CHARS: usize = 160;

/// Import runbooks, and search them and past incidents.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Import(ImportArgs),
    Search(SearchArgs),
}

/// Read the markdown runbooks and postmortems of a directory into the archive.
///
/// Only what is new or has changed since the last import is written; documents that are gone are
/// no longer found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  faultline knowledge import runbooks/
  faultline knowledge import ../team-b/docs --name team-b --archive archive/")]
struct ImportArgs {
    /// Where the runbooks are.
    dir: PathBuf,
    /// Name of the collection that they form; the directory's own where it is not given.
    #[arg(long)]
    name: Option<String>,
    /// Cluster that they were written for; incidents of all clusters find them.
    #[arg(long, default_value = DEFAULT_CLUSTER)]
    cluster: String,
    /// Put these runbooks in the place of those that another directory of the same name has given.
    #[arg(long)]
    replace: bool,
    /// Read documents that have not changed as well.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    place: Place,
}

/// Find runbooks and past incidents by words, by the name of an alert, or by an incident.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  faultline knowledge search \"disk of the database is filling up\"
  faultline knowledge search KubePodCrashLooping --kind runbook
  faultline knowledge search --incident edd4ef14fac2fc94 --format json")]
struct SearchArgs {
    /// What to look for.
    #[arg(required_unless_present = "incident", conflicts_with = "incident")]
    text: Option<String>,
    /// Look for what was known about this incident when it opened.
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    #[arg(long, value_enum, default_value = "all")]
    kind: Kind,
    /// Answers of each kind at most.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    /// As if it were asked at that time: RFC 3339. The latest that is known where it is not given.
    #[arg(long, value_name = "TIME", conflicts_with = "incident")]
    at: Option<String>,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    place: Place,
}

/// Where it is kept, and what makes vectors.
#[derive(Debug, clap::Args)]
struct Place {
    /// The archive; that of the configuration, or of the demo, where it is not given.
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Configuration whose [embeddings] section names a model; the built-in vectors without it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    All,
    Case,
    Runbook,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    #[value(alias = "jsonl")]
    Json,
}

impl Place {
    fn open(self) -> Result<(PathBuf, Option<Embedder>)> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let embedder = match (&config, &self.config) {
            (Some(config), Some(path)) => Some(Embedder::open(section(config, path)?)?),
            _ => None,
        };
        let archive = self.archive.or(config.map(|c| c.archive));
        Ok((archive.unwrap_or_else(|| ARCHIVE.into()), embedder))
    }
}

fn section<'a>(
    config: &'a Config,
    path: &Path,
) -> Result<&'a crate::diagnose::advise::EmbeddingsConfig> {
    config.embeddings.as_ref().ok_or_else(|| {
        Error::usage(
            format!("{} has no [embeddings] section", path.display()),
            "add one, as faultline.example.toml shows, or leave --config away",
        )
    })
}

pub async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Import(args) => import(args).await,
        Command::Search(args) => search(args).await,
    }
}

async fn import(args: ImportArgs) -> Result<()> {
    let (archive, embedder) = args.place.open()?;
    if !args.dir.is_dir() {
        let message = format!("{} is no directory", args.dir.display());
        return Err(Error::usage(message, "name the directory of the runbooks"));
    }
    let name = args.name.or_else(|| own_name(&args.dir)).filter(|n| !n.is_empty());
    let name = name.ok_or_else(|| {
        Error::usage(format!("{} has no name", args.dir.display()), "give one by --name")
    })?;
    // Nothing is created for a directory without runbooks.
    let found = intake::found(&args.dir)?;
    let new = !archive.is_dir();
    let writer = Writer::open(&archive).await?;
    if new {
        tracing::warn!("there was no archive at {}; a new one is begun", archive.display());
    }
    let order = intake::Order {
        dir: &args.dir,
        collection: &name,
        cluster: &args.cluster,
        replace: args.replace,
        // What another directory has left says where it came from, also where it is the same.
        all: args.all || args.replace,
    };
    let done = intake::import(&writer, order, found).await?;
    let changes = &done.changes;
    for (source, problem) in &changes.warnings {
        tracing::warn!("{}: {problem}", escape::line(source));
    }
    let mut said = format!(
        "{}: {} new, {} changed, {} removed, {}; {}\n",
        escape::line(&name),
        changes.new,
        changes.changed,
        changes.removed,
        output::number(changes.unchanged as u64, "unchanged document"),
        output::number(done.sections as u64, "section")
    );
    if changes.moved > 0 {
        let moved = output::number(changes.moved as u64, "document");
        said += &format!("{moved} taken over from another cluster\n");
    }
    output::say(&said)?;
    if let Some(embedder) = embedder {
        let made = intake::embed(&writer, &args.cluster, &embedder).await?;
        let made = output::number(made as u64, "vector");
        output::say(&format!("{made} of {}\n", escape::line(embedder.model())))?;
    }
    Ok(())
}

fn own_name(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    dir.file_name().map(|name| name.to_string_lossy().into_owned())
}

async fn search(args: SearchArgs) -> Result<()> {
    let (archive, embedder) = args.place.open()?;
    let text = args.text.as_deref().map(str::trim).unwrap_or_default();
    if args.incident.is_none() && (text.is_empty() || text.len() > TEXT_BYTES_MAX) {
        return Err(Error::usage(
            "the question is empty or longer than 8 KiB",
            "write a few words, such as \"disk is filling up\"",
        ));
    }
    let archive = Archive::open(&archive, table_specs()?, Open::ReadOnly).await?;
    let asked = args.at.as_deref().map(moment).transpose()?;
    let model = match &embedder {
        None => Model::built_in(),
        Some(embedder) => model_of(&archive, embedder).await?,
    };
    let mut library = load::load(&archive, model).await?;
    let like = match &args.incident {
        Some(id) => Some(case(&archive, &library, id).await?),
        None => None,
    };
    let mut question = match &like {
        Some(case) => case.question(),
        None => Question::of_text(text, asked.or(library.latest()).unwrap_or_default()),
    };
    if let Some(embedder) = &embedder {
        let text = like.map_or_else(|| text.to_owned(), |case| case.text);
        question.vector = embedder.embed(&[text]).await?.pop().unwrap_or_default();
    }
    let limit = usize::from(args.limit);
    let cases = match args.kind {
        Kind::Runbook => Vec::new(),
        Kind::All | Kind::Case => library.similar(&question, limit)?,
    };
    let sections = match args.kind {
        Kind::Case => Vec::new(),
        Kind::All | Kind::Runbook => library.fitting(&question, limit)?,
    };
    let text: String = ordered(&cases, &sections)
        .into_iter()
        .map(|found| match (args.format, found) {
            (Format::Table, Found::Case(found)) => case_lines(found),
            (Format::Table, Found::Section(found)) => section_lines(found),
            (Format::Json, Found::Case(found)) => format!("{}\n", case_json(found)),
            (Format::Json, Found::Section(found)) => format!("{}\n", section_json(found)),
        })
        .collect();
    if cases.is_empty() && sections.is_empty() {
        let cases = output::number(library.cases() as u64, "case");
        let sections = output::number(library.passages() as u64, "section");
        tracing::info!("nothing fits among {cases} and {sections}");
    }
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has gone away wants no more lines.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("standard output")),
    }
}

/// The model of an endpoint, with the length of the vectors that it has made so far.
async fn model_of(archive: &Archive, embedder: &Embedder) -> Result<Model> {
    let vectors = load::vectors(archive, embedder.model()).await?;
    let dimensions = vectors.values().next().map(Vec::len).ok_or_else(|| {
        Error::usage(
            format!("the archive has no vectors of {}", embedder.model()),
            "run `faultline knowledge import` with the same --config first",
        )
    })?;
    Ok(Model { name: embedder.model().to_owned(), dimensions })
}

fn moment(text: &str) -> Result<Nanos> {
    timestamp::read(text).map_err(|problem| {
        Error::usage(format!("{text:?}: {problem}"), "write --at 2024-03-12T09:20:00Z")
    })
}

/// The case of an incident, or what it would be if the incident is still open.
async fn case(archive: &Archive, library: &Library, id: &str) -> Result<Case> {
    let known = match library.case(id) {
        Some(case) => Some(case.clone()),
        None => open::so_far(archive, id).await?,
    };
    known.ok_or_else(|| intake::no_incident(id))
}

/// An answer of either kind. Both are scored by the same sum over ranks, so they have one order.
enum Found<'a> {
    Case(&'a Similar),
    Section(&'a Fitting),
}

impl Found<'_> {
    fn score(&self) -> f64 {
        match self {
            Found::Case(found) => found.score,
            Found::Section(found) => found.score,
        }
    }
}

/// Answers of both kinds, best first.
fn ordered<'a>(cases: &'a [Similar], sections: &'a [Fitting]) -> Vec<Found<'a>> {
    let cases = cases.iter().map(Found::Case);
    let mut all: Vec<Found> = cases.chain(sections.iter().map(Found::Section)).collect();
    all.sort_by(|a, b| b.score().total_cmp(&a.score()));
    all
}

fn case_lines(found: &Similar) -> String {
    let case = &found.case;
    let cause = match case.root_service.is_empty() {
        true => "cause unknown".to_owned(),
        false => format!("{} · {}", case.root_service, case.root_kind),
    };
    let opened = timestamp::format(case.opened_at);
    let mut out = format!(
        "case     {:.4}  {}  {}  {}\n",
        found.score,
        case.incident_id,
        opened.get(..19).unwrap_or(&opened),
        shown(&cause)
    );
    out += &format!("                 {}\n", shown(&case.title));
    let mut facts = Vec::new();
    if found.times > 1 {
        facts.push(format!("happened {} times", found.times));
    }
    if !found.record.is_empty() {
        let (right, wrong) = (found.record.right(), found.record.wrong());
        facts.push(format!("right {right}, wrong {wrong}"));
    }
    facts.extend(case.actions.first().map(|a| format!("proposed: {a}")));
    if !facts.is_empty() {
        out += &format!("                 {}\n", shown(&facts.join(" · ")));
    }
    out
}

fn section_lines(found: &Fitting) -> String {
    let passage = &found.passage;
    let place = format!("{}/{}", passage.collection, passage.source);
    let heading = match passage.heading.is_empty() {
        true => &passage.title,
        false => &passage.heading,
    };
    format!(
        "{:<8} {:.4}  {}\n                 {}\n                 {}\n",
        passage.kind,
        found.score,
        shown(&place),
        shown(heading),
        shown(&passage.text.replace('\n', " "))
    )
}

/// One line that is safe to print, cut.
fn shown(text: &str) -> String {
    let line = escape::line(text);
    match line.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.into_owned(),
    }
}

fn case_json(found: &Similar) -> Value {
    let case = &found.case;
    json!({
        "kind": "case",
        "score": found.score,
        "likeness": found.likeness,
        "incident_id": case.incident_id,
        "opened_at": timestamp::format(case.opened_at),
        "title": case.title,
        "services": case.services,
        "root_service": case.root_service,
        "root_kind": case.root_kind,
        "actions": case.actions,
        "times": found.times,
        "right": found.record.right(),
        "wrong": found.record.wrong(),
    })
}

fn section_json(found: &Fitting) -> Value {
    let passage = &found.passage;
    json!({
        "kind": passage.kind,
        "score": found.score,
        "likeness": found.likeness,
        "section_id": passage.id,
        "cluster": passage.cluster,
        "collection": passage.collection,
        "source": passage.source,
        "title": passage.title,
        "heading": passage.heading,
        "alerts": passage.alerts,
        "text": passage.text,
    })
}
