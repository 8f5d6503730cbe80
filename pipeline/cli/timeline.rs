//! A run as people read it: a progress bar on standard error, incidents on standard output.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output;
use super::spark::Sparks;
use crate::error::{Error, Result};
use crate::knowledge::ClosedCase;
use crate::model::{Incident, Nanos, Signal, Step};
use crate::run::{EXPRESSION, Observer, Report, SetAside};
use crate::source::escape;
use crate::source::timestamp;
use crate::stream::interval;

/// Causes shown per incident.
const CAUSES: usize = 3;
/// Confidence of a cause beside the first that a person is told of; the archive has all.
const LEAST_TOLD: f64 = 0.01;

/// Evidence shown per cause.
const EVIDENCE: usize = 4;

/// Signals shown per incident.
const SIGNALS: usize = 4;

pub struct Timeline {
    bar: ProgressBar,
    signals: bool,
    paint: Paint,
    started: Instant,
    live: bool,
    /// The first error of standard output, which the end of the run tells.
    failed: Arc<Mutex<Option<std::io::Error>>>,
}

/// Prints the end of a run.
pub struct Summary {
    bar: ProgressBar,
    paint: Paint,
    started: Instant,
    live: bool,
    failed: Arc<Mutex<Option<std::io::Error>>>,
}

/// Colours, on a terminal only.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn new() -> Self {
        Self(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn red(self, text: &str) -> String {
        self.wrap("31;1", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

impl Timeline {
    /// `total` is the number of input bytes; 0 where it is not known.
    pub fn new(total: u64, signals: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let style = match total {
            0 => "{spinner} {bytes} read, event time {msg}",
            _ => "{wide_bar} {percent:>3}%  event time {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        let (paint, started) = (Paint::new(), Instant::now());
        Self { bar, signals, paint, started, live: total == 0, failed: Arc::default() }
    }

    pub fn summary(&self) -> Summary {
        let Self { paint, started, live, .. } = *self;
        Summary { bar: self.bar.clone(), paint, started, live, failed: Arc::clone(&self.failed) }
    }

    fn print(&self, text: &str) {
        let said = self.bar.suspend(|| writeln!(std::io::stdout(), "{text}"));
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = failed.take().or(said.err());
    }
}

impl Observer for Timeline {
    fn progress(&mut self, bytes: u64, event_time: i64) {
        self.bar.inc(bytes);
        if event_time > 0 {
            self.bar.set_message(timestamp::format(event_time));
        }
    }

    fn signal(&mut self, signal: &Signal) {
        if self.signals {
            let line = format!("{}  signal  {}", clock(signal.window_end), describe(signal, ""));
            self.print(&self.paint.dim(&line));
        }
    }

    fn opened(&mut self, incident: &Incident, title: &str, due: Nanos) {
        self.print(&format!(
            "{}  {}  {}\n   {} · {} · began {} · causes follow at {}\n",
            clock(incident.opened_at),
            self.paint.red("OPENED  "),
            self.paint.bold(&safe(title)),
            incident.id,
            incident.severity.as_str(),
            clock(incident.started_at),
            clock(due),
        ));
    }

    fn case(&mut self, case: &ClosedCase) {
        self.print(&render(case, self.paint));
    }
}

impl Summary {
    /// # Errors
    /// [`Error::Io`] where standard output takes no more of it.
    pub fn print(&self, report: &Report, archive: Option<&Path>) -> Result<()> {
        self.bar.finish_and_clear();
        let a = &report.accounts;
        let mut lines = vec![format!(
            "{} in {:.1} s: {} processed, {} late, {} rejected, {} dead, {} in flight",
            output::number(a.received, "row"),
            self.started.elapsed().as_secs_f64(),
            a.processed,
            a.late,
            a.rejected,
            a.dead,
            a.in_flight
        )];
        let open = match report.open {
            0 => String::new(),
            open => format!(", of which {open} still open"),
        };
        let incidents = report.incidents + report.open;
        let signals = output::number(report.signals, "signal");
        lines.push(format!("{signals}, {}{open}", output::number(incidents, "incident")));
        lines.extend(report.dead_letters.iter().map(set_aside));
        if let Some(archive) = archive {
            let archive = archive.display();
            let found = report.signals + incidents > 0 || !report.dead_letters.is_empty();
            let kept = match (report.archived, found) {
                (true, _) => "",
                (false, true) if self.live => " (nothing new is ready for it yet)",
                (false, true) => " (it had this replay already)",
                (false, false) => " (there was nothing to keep)",
            };
            lines.push(format!("archive: {archive}{kept}"));
            lines.push("ask it, for example:".to_owned());
            let dead = "SELECT reason, file, line, detail FROM dead_letters";
            for sql in [
                "SELECT opened_at, title, root_service FROM incidents ORDER BY opened_at",
                "SELECT rank, service, kind, confidence FROM diagnoses ORDER BY incident_id, rank",
                "SELECT statement, sql FROM evidence",
            ]
            .into_iter()
            .chain((!report.dead_letters.is_empty()).then_some(dead))
            {
                lines.push(format!("  faultline query --archive {archive} \"{sql}\""));
            }
        }
        let text = self.paint.dim(&lines.join("\n")) + "\n";
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        output::unless_gone(failed.map_or(Ok(()), |e| Err(Error::io("the output")(e))))?;
        output::say(&text)
    }
}

fn set_aside(dead: &SetAside) -> String {
    let SetAside { reason, rows, first } = dead;
    let rows = output::number(*rows, "row");
    let first = first.as_ref().map_or(String::new(), |row| {
        // What is read and refused later has no line any more.
        let line = if row.line > 0 { format!(":{}", row.line) } else { String::new() };
        safe(&format!(", such as {}{line}: {}", row.file, row.detail))
    });
    // These were processed: what failed is the SQL of one job, on them or on what it made of them.
    let place = if reason == EXPRESSION { " in jobs" } else { "" };
    format!("  {rows}{place} set aside as dead letters: {reason}{first}")
}

fn render(case: &ClosedCase, paint: Paint) -> String {
    let i = &case.incident;
    let mut out = String::new();
    let lasted = i.closed_at.map_or("still open".to_owned(), |c| {
        format!("lasted {}", interval::format((c - i.started_at) / 1_000_000_000 * 1_000_000_000))
    });
    let at = match (case.shown, i.closed_at) {
        (false, _) => i.opened_at,
        (true, None) => case.diagnosis.diagnosed_at,
        (true, Some(closed)) => closed,
    };
    out += &format!(
        "{}  {}  {}\n",
        clock(at),
        match (case.shown, i.closed_at) {
            (false, _) => paint.red("INCIDENT"),
            (true, None) => paint.red("UPDATE  "),
            (true, Some(_)) => paint.bold("CLOSED  "),
        },
        paint.bold(&safe(&case.title)),
    );
    out += &format!(
        "   {} · {} · began {} · {lasted} · {}\n",
        i.id,
        i.severity.as_str(),
        clock(i.started_at),
        output::number(case.signal_count, "signal")
    );
    if case.retold {
        return out;
    }
    let mut signals: Vec<&Signal> = i.signals.iter().collect();
    signals.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    let sparks = Sparks::of(&case.slices.metrics);
    for signal in signals.iter().take(SIGNALS) {
        let course = sparks.line(signal).map_or(String::new(), |line| format!("  {line}"));
        // Of an episode the archive has each signal; here stands its highest window.
        let moved = match signal.direction.as_str() {
            "up" => "up to ",
            "down" => "down to ",
            _ => "",
        };
        out += &paint.dim(&format!("   signal    {}{course}\n", describe(signal, moved)));
    }
    if signals.len() > SIGNALS {
        out += &paint.dim(&format!("             and {} more series\n", signals.len() - SIGNALS));
    }
    causes(case, paint, &mut out);
    for known in case.diagnosis.evidence.iter().filter(|e| e.is_learned()) {
        out += &format!("   {}     {}\n", paint.bold("known"), safe(&known.statement));
    }
    for step in &case.plan.steps {
        out += &format!("   {}  {}\n", paint.bold("proposed"), action(step));
    }
    out += &paint.dim("             dry run: nothing was carried out\n");
    out
}

fn causes(case: &ClosedCase, paint: Paint, out: &mut String) {
    if case.diagnosis.causes.is_empty() {
        *out += "   cause     unknown: nothing stood out in the telemetry around it\n";
    }
    let told = case.diagnosis.causes.iter().take(CAUSES).enumerate();
    for (rank, cause) in told.filter(|(rank, c)| *rank == 0 || c.confidence >= LEAST_TOLD) {
        let label = format!("cause {}", rank + 1);
        let who = if cause.instance.is_empty() { &cause.service } else { &cause.instance };
        let mut text =
            format!("{} · {} · confidence {:.2}", safe(who), cause.kind, cause.confidence);
        if rank == 0 && case.diagnosis.method == "llm" {
            text += " · order by the language model";
        }
        *out += &format!(
            "   {}   {}\n",
            paint.bold(&label),
            if rank == 0 { paint.bold(&text) } else { text }
        );
        let cited = cause
            .evidence_ids
            .iter()
            .filter_map(|id| case.diagnosis.evidence.iter().find(|e| e.id == *id));
        for evidence in cited.take(if rank == 0 { EVIDENCE } else { 1 }) {
            *out += &format!(
                "             {} {}\n",
                paint.dim(&evidence.id),
                safe(&evidence.statement)
            );
        }
    }
}

/// `moved` is said before the value.
fn describe(s: &Signal, moved: &str) -> String {
    let who = if s.instance.is_empty() { &s.service } else { &s.instance };
    let detail = if s.detail.is_empty() { String::new() } else { format!(" ({})", s.detail) };
    let text = format!(
        "{}: {} {} {}{} (expected {}), score {:.1}{detail}",
        s.job,
        who,
        s.metric,
        moved,
        short(s.observed),
        short(s.expected),
        s.score
    );
    safe(&text)
}

fn action(step: &Step) -> String {
    // The ids that the reason cites stand above, beside the evidence.
    let reason = step.reason.split(" [").next().unwrap_or_default();
    format!("{} · {} risk · {}", safe(&step.action.to_string()), step.risk.as_str(), safe(reason))
}

/// Text from telemetry, without anything that a terminal would act on.
fn safe(text: &str) -> String {
    let mut line = escape::line(text).into_owned();
    let end = escape::boundary(&line, 240);
    if end < line.len() {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn clock(at: Nanos) -> String {
    let text = timestamp::format(at);
    text.get(..19).map_or(text.clone(), |t| t.replace('T', " "))
}

fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if !(1e-3..1e6).contains(&v) => format!("{value:.2e}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
