//! `faultline diagnose`: ranked causes for moments that the user names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampNanosecondType;
use clap::ValueEnum;
use faultline_storage::archive::{Archive, Open};

use super::llm::LlmArgs;
use super::output;
use crate::config::Config;
use crate::diagnose::advise::{Advisor, Brief, Refined};
use crate::diagnose::{self, Period, Request, Slices};
use crate::error::{Error, Result};
use crate::knowledge::{Library, Model, Writer, intake, load, recall, table_specs};
use crate::model::{
    Cause, DAY, Diagnosis, Evidence, Incident, IncidentState, Nanos, SECOND, Severity, Signal,
    stable_id,
};
use crate::monitor::calls::{Callers, Calls};
use crate::monitor::logs::LogStage;
use crate::run::now;
use crate::source::{Next, Outage, Source, escape, timestamp};
use crate::stream::ingest::{Feed, Ingest, IngestConfig, JUMP};
use crate::stream::interval;
use crate::stream::rows::Rows;
use crate::stream::schema::Stream;
use crate::stream::series::{Registries, SERIES_MAX};

/// Rank the causes of what was wrong at given moments of an outage directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  faultline diagnose outage/ --at 2024-03-12T09:20:00Z
  faultline diagnose outage/ --at 2024-03-12T09:20:00Z --at 2024-03-12T10:55:00Z --format jsonl
  faultline diagnose outage/ --at 2024-03-12T09:20:00Z --archive archive/   and what is known")]
pub struct Args {
    /// The outage directory.
    dir: PathBuf,
    /// When it went wrong: RFC 3339, or nanoseconds since the epoch. May be given several times;
    /// logs and spans of an earlier one are then not taken for usual at a later one.
    #[arg(long, value_name = "TIME", required = true)]
    at: Vec<String>,
    /// How long from then on counts as abnormal.
    #[arg(long, value_name = "LENGTH", default_value = "5m")]
    window: String,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The cluster to look at, and that of rows which name none; needed where there are several.
    #[arg(long)]
    cluster: Option<String>,
    /// Tells past incidents and runbooks of this archive beside the causes; it also keeps what a
    /// language model was asked.
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    llm: LlmArgs,
    /// The configuration whose [llm] section says which model.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Cluster of rows that name none.
const UNNAMED: &str = "default";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    /// One JSON object a line.
    #[value(alias = "json")]
    Jsonl,
}

/// A moment that the user named.
struct Moment {
    text: String,
    request: Request,
    slices: Slices,
}

pub async fn run(args: &Args) -> Result<()> {
    let window = interval::parse(&args.window).filter(|w| *w > 0).ok_or_else(|| {
        Error::usage(format!("{:?} is no length of time", args.window), "write --window 5m")
    })?;
    let mut beside = Beside::open(args).await?;
    let outage = Outage::open(&args.dir, 8192, args.cluster.as_deref().unwrap_or(UNNAMED))?;
    let edges = outage.topology().to_vec();
    let mut moments =
        args.at.iter().map(|t| moment(t, window, &edges)).collect::<Result<Vec<_>>>()?;
    let named: Vec<Period> = { moments.iter() }
        .map(|m| Period { from: m.request.at, to: m.request.at.saturating_add(window) })
        .collect();
    for Moment { request, .. } in &mut moments {
        let at = request.at;
        let earlier = named.iter().filter(|p| p.from < at);
        request.incidents = earlier.map(|p| Period { to: p.to.min(at), ..*p }).collect();
    }
    let mut clusters = BTreeSet::new();
    let covered = read(Source::Outage(outage), &mut moments, &mut clusters)?;
    let cluster = chosen(args, clusters)?;
    moments.iter_mut().for_each(|moment| moment.request.cluster.clone_from(&cluster));
    for moment in &moments {
        // An answer about nothing must not look like an all-clear.
        if moment.slices.is_empty() {
            tracing::warn!("no telemetry around {}: {covered}", moment.text);
        }
        let diagnosis = beside.explain(args, moment).await?;
        let text = match args.format {
            Format::Jsonl => json(&moment.text, &diagnosis),
            Format::Table if moment.slices.is_empty() => {
                format!("at {}\n  no telemetry around it\n", moment.text)
            }
            Format::Table => table(&moment.text, &diagnosis),
        };
        output::say(&(text + "\n"))?;
    }
    Ok(())
}

/// What is asked beside the telemetry.
struct Beside {
    library: Option<Library>,
    advisor: Option<Arc<Advisor>>,
    /// Keeps what the advisor is asked.
    writer: Option<Writer>,
}

impl Beside {
    async fn open(args: &Args) -> Result<Self> {
        if args.config.is_some() && args.llm.is_off() {
            return Err(Error::usage(
                "--config names a model that is not asked",
                "give --llm record or --llm replay too",
            ));
        }
        let config = args.config.as_deref().map(Config::load).transpose()?;
        let advisor = args.llm.advisor(args.config.as_deref().zip(config.as_ref()))?;
        let (mut library, mut writer) = (None, None);
        if let Some(dir) = &args.archive {
            let archive = Archive::open(dir, table_specs()?, Open::ReadOnly).await?;
            library = Some(load::load(&archive, Model::built_in()).await?);
            // What cannot be kept is not asked.
            if advisor.is_some() {
                writer = Some(Writer::open(dir).await?);
            }
        }
        Ok(Self { library, advisor, writer })
    }

    async fn explain(&mut self, args: &Args, moment: &Moment) -> Result<Diagnosis> {
        let mut diagnosis = diagnose::diagnose(&moment.request, &moment.slices)?;
        let incident = incident(&moment.request, &diagnosis);
        let mut passages = Vec::new();
        if let Some(library) = &mut self.library {
            recall::recall(library, &incident, "", &mut diagnosis)?;
            passages = recall::passages(library, &diagnosis);
        }
        let Some(advisor) = &self.advisor else { return Ok(diagnosis) };
        // Without an incident no window is known to be abnormal.
        let (calls, began) = (moment.request.edges.clone(), BTreeMap::new());
        let refined = advisor.refine(&Brief { diagnosis, calls, began, passages }).await;
        if let Some(writer) = &self.writer {
            let Refined { diagnosis, calls } = &refined;
            let kept = intake::asked(writer, &args.dir, &incident, diagnosis, calls).await;
            if let Err(error) = kept {
                tracing::warn!("what the model was asked is not archived: {error}");
            }
        }
        Ok(refined.diagnosis)
    }
}

/// How many times as much as before, or as little, is a symptom.
const SYMPTOM: f64 = 1.5;

/// The incident that a moment may be, for what is known of old about such ones.
fn incident(request: &Request, diagnosis: &Diagnosis) -> Incident {
    let services: BTreeSet<String> = diagnosis.causes.iter().map(|c| c.service.clone()).collect();
    Incident {
        id: request.incident_id.clone(),
        cluster: request.cluster.clone(),
        state: IncidentState::Open,
        severity: Severity::Warning,
        opened_at: request.at,
        started_at: request.at,
        last_seen_at: request.until,
        closed_at: None,
        services: services.into_iter().collect(),
        signals: diagnosis.evidence.iter().filter_map(|e| signal(request, e)).collect(),
    }
}

/// What a detector would have told of the metric or the lines that a piece of evidence is about, by
/// which past incidents are known again; nothing where it moved little.
fn signal(request: &Request, evidence: &Evidence) -> Option<Signal> {
    let (metric, detail) = match evidence.kind.as_str() {
        "metric" => (evidence.subject.clone(), String::new()),
        "log" => ("log:".to_owned(), evidence.subject.clone()),
        _ => return None,
    };
    let (observed, expected) = (evidence.observed, evidence.expected);
    let moved = observed.abs().max(expected.abs()) > SYMPTOM * observed.abs().min(expected.abs());
    moved.then(|| Signal {
        id: evidence.id.clone(),
        job: String::new(),
        severity: Severity::Warning,
        cluster: request.cluster.clone(),
        service: evidence.service.clone(),
        instance: evidence.instance.clone(),
        metric,
        window_start: evidence.from,
        window_end: evidence.to,
        score: 0.0,
        observed,
        expected,
        direction: if observed < expected { "down" } else { "up" }.to_owned(),
        predicted: false,
        detail,
    })
}

/// The cluster that the user named, or the only one.
fn chosen(args: &Args, found: BTreeSet<String>) -> Result<String> {
    let list = found.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    match (&args.cluster, found.len()) {
        (Some(named), _) if found.contains(named) => Ok(named.clone()),
        (Some(named), 1..) => Err(Error::usage(
            format!("the outage has no rows of cluster {named:?}"),
            format!("name one that it has: {list}"),
        )),
        (None, 2..) => Err(Error::usage(
            format!("the outage has rows of several clusters: {list}"),
            "name one: --cluster NAME",
        )),
        (None, 1) => Ok(list),
        (named, 0) => Ok(named.clone().unwrap_or_else(|| UNNAMED.to_owned())),
    }
}

fn moment(text: &str, window: Nanos, edges: &[(String, String)]) -> Result<Moment> {
    let at = timestamp::read(text).map_err(|problem| {
        Error::usage(format!("{text:?}: {problem}"), "write --at 2024-03-12T09:20:00Z")
    })?;
    let mut request = Request {
        incident_id: stable_id(&["diagnose", text]),
        cluster: String::new(),
        at,
        slack: 0,
        window,
        until: Nanos::MAX,
        edges: edges.to_vec(),
        incidents: Vec::new(),
        signals: Vec::new(),
    };
    request.until = diagnose::wanted(&request).metrics.to;
    Ok(Moment { text: text.to_owned(), request, slices: Slices::default() })
}

/// Reads the outage once and keeps, for each moment, what its diagnosis looks at. Returns what time
/// the outage covers, for a person.
fn read(
    mut source: Source,
    moments: &mut [Moment],
    clusters: &mut BTreeSet<String>,
) -> Result<String> {
    let mut registries = Registries::new(SERIES_MAX);
    let config = IngestConfig {
        lateness: 5 * SECOND,
        not_after: now() + DAY,
        jump: Some(JUMP),
        batch_rows: 8192,
        by_second: false,
    };
    let mut ingest = Ingest::new(config);
    let mut logs = LogStage::default();
    let (mut callers, mut calls) = (Callers::default(), Calls::default());
    let mut covered: Option<(Nanos, Nanos)> = None;
    loop {
        let (fed, end) = match source.next(&mut registries, |_, _| true)? {
            Next::Chunk(chunk) => {
                if let Some(reached) = chunk.reached {
                    ingest.merged_to(reached);
                }
                let mut fed = ingest.push(chunk.stream, chunk.partition, chunk.batch)?;
                if ingest.full() {
                    fed.extend(ingest.release(&mut registries)?);
                }
                (fed, false)
            }
            Next::Idle => (Vec::new(), false),
            Next::End => (ingest.end(&mut registries)?, true),
        };
        for item in fed {
            let Feed::Rows(stream, rows) = item else { continue };
            if let (Some(first), Some(last)) = (rows.ts.first(), rows.ts.last()) {
                let (from, to) = covered.unwrap_or((*first, *last));
                covered = Some((from.min(*first), to.max(*last)));
            }
            let rows = match stream {
                Stream::Logs => logs.annotate(rows, registries.get_mut(stream))?,
                Stream::Spans => callers.annotate(rows)?,
                Stream::Metrics | Stream::Changes => rows,
            };
            diagnose::clusters(&rows.batch, clusters)?;
            if stream == Stream::Spans {
                learn(&mut calls, &rows, moments);
            }
            keep(stream, &rows, moments);
        }
        if end {
            return Ok(match covered {
                Some((from, to)) => format!(
                    "the outage goes from {} to {}",
                    timestamp::format(from),
                    timestamp::format(to)
                ),
                None => "the outage has no rows".to_owned(),
            });
        }
    }
}

fn learn(calls: &mut Calls, rows: &Rows, moments: &mut [Moment]) {
    for (at, edge) in calls.observe(rows) {
        for moment in moments.iter_mut().filter(|m| at < m.request.until) {
            if !moment.request.edges.contains(&edge) {
                moment.request.edges.push(edge.clone());
            }
        }
    }
}

fn keep(stream: Stream, rows: &Rows, moments: &mut [Moment]) {
    for moment in moments {
        let wanted = diagnose::wanted(&moment.request);
        let (period, kept) = match stream {
            Stream::Metrics => (wanted.metrics, &mut moment.slices.metrics),
            Stream::Logs => (wanted.logs, &mut moment.slices.logs),
            Stream::Spans => (wanted.logs, &mut moment.slices.spans),
            Stream::Changes => (wanted.changes, &mut moment.slices.changes),
        };
        let times = rows.batch.column(0).as_primitive::<TimestampNanosecondType>().values();
        let from = times.partition_point(|t| *t < period.from);
        let to = times.partition_point(|t| *t < period.to);
        if from < to {
            kept.push(rows.batch.slice(from, to - from));
        }
    }
}

fn json(at: &str, diagnosis: &Diagnosis) -> String {
    let candidates: Vec<serde_json::Value> = diagnosis
        .causes
        .iter()
        .map(|c| {
            serde_json::json!({
                "service": c.service, "instance": c.instance, "kind": c.kind,
                "score": c.score, "confidence": c.confidence, "evidence_ids": c.evidence_ids,
                "lanes": c.lanes,
            })
        })
        .collect();
    let evidence: Vec<serde_json::Value> = diagnosis
        .evidence
        .iter()
        .map(|e| {
            serde_json::json!({
                "id": e.id, "kind": e.kind, "service": e.service, "instance": e.instance,
                "statement": e.statement,
            })
        })
        .collect();
    serde_json::json!({
        "at": at, "method": diagnosis.method, "weak": diagnosis.is_weak(),
        "candidates": candidates, "evidence": evidence,
    })
    .to_string()
}

/// What the score is made of, ` = metrics 0.21 + logs 0.10`.
fn parts(cause: &Cause) -> String {
    let parts: Vec<String> =
        cause.lanes.iter().map(|s| format!("{} {:.2}", s.lane, s.score)).collect();
    if parts.is_empty() { String::new() } else { format!(" = {}", parts.join(" + ")) }
}

/// Score of a cause that a person is told of; JSON has all.
const LEAST_TOLD: f64 = 0.01;

fn table(at: &str, diagnosis: &Diagnosis) -> String {
    let mut out = format!("at {at}\n");
    if diagnosis.causes.is_empty() {
        out += "  nothing stands out in the telemetry around it\n";
    } else if diagnosis.is_weak() {
        out += "  nothing stands out: moments without a fault look like this, too\n";
    }
    let told = diagnosis.causes.iter().take_while(|c| c.score >= LEAST_TOLD).count();
    for (rank, c) in diagnosis.causes[..told].iter().enumerate() {
        let who = if c.instance.is_empty() { &c.service } else { &c.instance };
        out += &format!(
            "  {:>2}  {}  {}  score {:.2}{}\n",
            rank + 1,
            escape::line(who),
            c.kind,
            c.score,
            parts(c)
        );
        for id in &c.evidence_ids {
            if let Some(e) = diagnosis.evidence.iter().find(|e| e.id == *id) {
                out += &format!("      {id}  {}\n", escape::line(&e.statement));
            }
        }
    }
    match diagnosis.causes.len() - told {
        0 => {}
        left => out += &format!("  and {left} more that hardly stand out\n"),
    }
    for e in diagnosis.evidence.iter().filter(|e| e.is_learned()) {
        out += &format!("  known {}  {}\n", e.id, escape::line(&e.statement));
    }
    out
}
