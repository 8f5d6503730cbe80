//! The streaming plan of a job as text.

use std::fmt::Write;

use super::interval::format as length;
use super::plan::Job;
use super::stage::Stage;

/// One line per stage, the sink first, inputs indented below it.
pub fn explain(job: &Job) -> String {
    let mut out = String::new();
    // The longest of a run's jobs and of its configuration counts for all of them.
    let lateness = job.lateness.map_or("default".to_owned(), |l| format!("{} or more", length(l)));
    let _ = writeln!(
        out,
        "job {} (severity {}, lateness {lateness})",
        job.file.name,
        job.file.severity.as_str()
    );
    let _ = writeln!(out, "Sink: signals");
    if !job.nodes.is_empty() {
        node(job, job.nodes.len() - 1, 1, &mut out);
    }
    out
}

fn node(job: &Job, at: usize, depth: usize, out: &mut String) {
    let _ = writeln!(out, "{}{}", "  ".repeat(depth), describe(&job.nodes[at].stage));
    for (input, n) in job.nodes.iter().enumerate() {
        if n.next.is_some_and(|(next, _)| next == at) {
            node(job, input, depth + 1, out);
        }
    }
}

fn describe(stage: &Stage) -> String {
    let list = |items: &[std::sync::Arc<dyn datafusion::physical_plan::PhysicalExpr>]| {
        items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let aggregates = |a: &[super::frame::Aggregate]| {
        a.iter().map(|a| a.function.name().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let keys = |interned| if interned { "interned" } else { "hashed" };
    match stage {
        Stage::Source(stream) => format!("Source: {}", stream.name()),
        Stage::Project { exprs, .. } => format!("Project: {}", list(exprs)),
        Stage::Filter { predicate } => format!("Filter: {predicate}"),
        Stage::Window(w) => {
            let s = w.spec();
            let kind = match s.slide == s.width {
                true => format!("tumble {}", length(s.width)),
                false => format!("hop {} every {}", length(s.width), length(s.slide)),
            };
            format!(
                "Window: {kind}, keys=[{}] ({}), aggregates=[{}]",
                list(&s.keys),
                keys(s.interned),
                aggregates(&s.aggregates)
            )
        }
        Stage::Session(w) => {
            let s = w.spec();
            format!(
                "Session: gap {}, keys=[{}], aggregates=[{}]",
                length(s.gap),
                list(&s.keys),
                aggregates(&s.aggregates)
            )
        }
        Stage::Over(o) => {
            let s = o.spec();
            let calls: Vec<String> =
                s.calls.iter().map(|c| format!("{}({})", c.function.name, list(&c.args))).collect();
            format!(
                "Stateful: {}, series=[{}] ({})",
                calls.join(", "),
                list(&s.keys),
                keys(s.interned)
            )
        }
        Stage::Finite(f) => format!("ClosedWindow: {}", f.display()),
    }
}
