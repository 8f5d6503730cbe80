//! What DataFusion says of a job, as this program says it.

use datafusion::common::Span as Known;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use super::super::dialect::JobFile;
use super::super::schema::signals_schema;
use crate::error::Error;

/// Kinds of errors that DataFusion and Arrow name before the message.
const PREFIXES: [&str; 10] = [
    "Internal error: ",
    "Error during planning: ",
    "Schema error: ",
    "Diagnostic: ",
    "This feature is not implemented: ",
    "Execution error: ",
    "Arrow error: ",
    "Cast error: ",
    "Parser error: ",
    "Invalid argument error: ",
];

/// What comes before the reason why a function does not take its arguments.
const NO_SIGNATURE: &str = "failed to match any signature, errors: ";

const REMEDY: &str = "see README for the dialect and sql/detect for examples";

/// An error met while `file` was planned: whatever it is, it is the job that cannot be run.
pub fn readable(file: &JobFile, error: Error) -> Error {
    match error {
        Error::DataFusion(error) => planning_error(file, &error),
        Error::Arrow(error) => planning_error(file, &error.into()),
        other => other,
    }
}

/// The same for an error that comes from the call of `function`.
pub fn readable_at(file: &JobFile, function: &str, error: Error) -> Error {
    match error {
        Error::DataFusion(error) => file.refuse(function, message(&error), REMEDY),
        other => readable(file, other),
    }
}

/// DataFusion's error with the place it knows, or the place of the first name that it quotes.
fn planning_error(file: &JobFile, error: &DataFusionError) -> Error {
    let message = message(error);
    if message.starts_with("Column count doesn't match") {
        let schema = signals_schema();
        let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let remedy = format!("select all columns of signals, in order: {}", columns.join(", "));
        return file.refuse("SELECT", "the columns are not those of signals", &remedy);
    }
    if let Some(span) = error.diagnostic().and_then(|d| d.span) {
        return file.refuse_at(place(span), message, REMEDY);
    }
    let quoted = message.split(['\'', '"', '`']).nth(1).unwrap_or_default();
    let name = quoted.split('(').next().unwrap_or_default();
    let word = name.rsplit('.').next().unwrap_or_default();
    file.refuse(word, &message, REMEDY)
}

/// The error of an expression that fails whatever the rows are.
pub fn failing(file: &JobFile, expression: &str, error: &DataFusionError) -> Error {
    let word = |c: char| !c.is_alphanumeric() && c != '_';
    let known = expression.split(word).find(|w| w.contains(char::is_alphabetic) && file.has(w));
    let reason = message(error);
    file.refuse(known.unwrap_or_default(), format!("{expression} has no value: {reason}"), REMEDY)
}

/// What is wrong, without the kinds and steps that DataFusion names before it.
fn message(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let mut message = text.lines().next().unwrap_or_default();
    if let Some((_, reason)) = message.split_once(NO_SIGNATURE) {
        message = reason.trim_end_matches('.');
    }
    while let Some(rest) = PREFIXES.iter().find_map(|p| message.strip_prefix(p)) {
        message = rest;
    }
    message.to_owned()
}

/// A place in the text as the parser counts it.
pub fn place(span: Known) -> Span {
    let at = |l: datafusion::common::Location| Location::new(l.line, l.column);
    Span::new(at(span.start), at(span.end))
}
