//! Why a statement is not answered, and what to write instead.

use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use super::session::Limits;
use crate::error::Error;
use crate::knowledge::TableDoc;

/// Names that are offered for one that is not known.
const NAMES_OFFERED: usize = 8;

/// What DataFusion puts before the name of a table.
const QUALIFIER: &str = "faultline.archive.";

/// What a statement that asks for too much can do.
const NARROW: &str = "narrow it by cluster, day or incident_id, join on a key, or raise the limit";

/// How DataFusion names the limit of what may be put on disk.
const SPILL_LIMIT: &str = "max_temp_directory_size";

pub(super) fn not_a_question() -> Error {
    query(
        "the archive is read only",
        "use SELECT, WITH … SELECT, VALUES, SHOW TABLES, DESCRIBE or EXPLAIN",
    )
}

pub(super) fn sampled() -> Error {
    query("TABLESAMPLE is not known here", "choose rows by a condition, or aggregate all of them")
}

pub(super) fn too_long(bytes: usize, max: usize) -> Error {
    query(format!("the statement has {bytes} bytes, more than {max}"), "shorten it")
}

pub(super) fn too_deep(max: usize) -> Error {
    query(
        format!("the statement has more than {max} operators in one expression"),
        "write a long list of values as IN (…), or ask several times",
    )
}

pub(super) fn too_slow(limit: Duration) -> Error {
    query(format!("no answer within the time limit of {} s", limit.as_secs_f64()), NARROW)
}

pub(super) fn rows_cut(limit: usize) -> String {
    format!("only the first {limit} rows are shown; add a LIMIT, aggregate, or raise the limit")
}

pub(super) fn bytes_cut(rows: usize, limit: usize) -> String {
    format!(
        "only the first {rows} rows are shown, as they fill {limit} bytes; select fewer columns"
    )
}

/// Says in the words of the archive what DataFusion says in its own.
pub(super) fn explain(err: Error, tables: &[TableDoc], limits: Limits) -> Error {
    let Error::DataFusion(err) = err else {
        return err;
    };
    // Wherever it was met, it comes as the failed write of a file.
    if err.to_string().contains(SPILL_LIMIT) {
        let message = "it needs more room on disk than a query may have";
        return query(message, "narrow it by cluster, day or incident_id, or join on a key");
    }
    match err.find_root() {
        DataFusionError::SQL(err, _) => syntax(err),
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let known = valid_fields.iter().map(|c| c.name.as_str()).collect();
                query(
                    format!("unknown column {}", field.name),
                    offer("columns", &field.name, known),
                )
            }
            other => query(other.to_string().replace(QUALIFIER, ""), "name the column's table"),
        },
        DataFusionError::Plan(message) => planning(message, tables),
        DataFusionError::ResourcesExhausted(message) => {
            let first = message.split(" with top memory consumers").next().unwrap_or_default();
            query(
                format!("the memory limit of {} bytes is used up: {first}", limits.memory_bytes),
                NARROW,
            )
        }
        DataFusionError::NotImplemented(message) if message.contains("single SQL statement") => {
            query("it holds more than one statement", "send them one by one")
        }
        DataFusionError::NotImplemented(message) => {
            query(message.replace(QUALIFIER, ""), "write it another way")
        }
        DataFusionError::ArrowError(failed, _) => match failed.as_ref() {
            ArrowError::DivideByZero => query("division by zero", "divide by NULLIF(x, 0)"),
            ArrowError::CastError(message) | ArrowError::ParseError(message) => {
                query(one_line(message), "use TRY_CAST, which gives NULL for what does not fit")
            }
            ArrowError::ArithmeticOverflow(message) | ArrowError::ComputeError(message) => {
                query(one_line(message), "compute in DOUBLE, or leave such rows out in WHERE")
            }
            ArrowError::InvalidArgumentError(message) => query(one_line(message), LIST),
            _ => Error::DataFusion(err),
        },
        DataFusionError::Execution(message) => query(one_line(message), LIST),
        DataFusionError::External(cause) if cause.to_string().starts_with("regex") => {
            query(one_line(&cause.to_string()), "correct the pattern")
        }
        DataFusionError::External(cause) => {
            unreadable_log(cause.as_ref()).unwrap_or(Error::DataFusion(err))
        }
        _ => Error::DataFusion(err),
    }
}

/// A table whose log cannot be read, in the archive's own words.
fn unreadable_log(cause: &(dyn std::error::Error + 'static)) -> Option<Error> {
    use faultline_storage::Error as Storage;
    let Some(Storage::UnreadableLog { table, path, reason }) = cause.downcast_ref() else {
        return None;
    };
    let (table, path, reason) = (table.clone(), path.clone(), reason.clone());
    Some(Storage::UnreadableLog { table, path, reason }.into())
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn syntax(err: &ParserError) -> Error {
    match err {
        ParserError::RecursionLimitExceeded => {
            query("the statement is nested too deeply", "use fewer levels of parentheses")
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
            query(format!("syntax error: {message}"), "correct the text around that place")
        }
    }
}

fn planning(message: &str, tables: &[TableDoc]) -> Error {
    let message = message.replace(QUALIFIER, "");
    let unknown = message.strip_prefix("table '").and_then(|m| m.strip_suffix("' not found"));
    if let Some(name) = unknown {
        let known: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
        return query(
            format!("table not found: {name}"),
            format!("the tables are {}", known.join(", ")),
        );
    }
    // A wrong argument is nobody's bug, whatever the planner says of itself.
    let message: String = message.replace(BUG, "").replace("Internal error: ", "");
    query(one_line(&message), LIST)
}

const LIST: &str = "SHOW TABLES, DESCRIBE a table and SHOW FUNCTIONS list what there is";

const BUG: &str = "This issue was likely caused by a bug in DataFusion's code. Please help us to \
                   resolve this by filing a bug report in our issue tracker: \
                   https://github.com/apache/datafusion/issues.";

/// The names nearest to `wanted`.
fn offer(what: &str, wanted: &str, mut known: Vec<&str>) -> String {
    known.sort_by_cached_key(|name| (levenshtein(name, wanted), *name));
    known.dedup();
    known.truncate(NAMES_OFFERED);
    match known.is_empty() {
        true => format!("no {what} are known here"),
        false => format!("the nearest {what} are {}", known.join(", ")),
    }
}

fn query(message: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::Query { message: message.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::SessionStateBuilder;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn a_query_that_fills_the_disk_is_refused() {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(32 << 20, 1.0)
            .with_max_temp_directory_size(1 << 20)
            .build_arc()
            .unwrap();
        let state = SessionStateBuilder::new().with_runtime_env(runtime).with_default_features();
        let context = SessionContext::new_with_state(state.build());
        let sql = "SELECT value FROM generate_series(1, 10000000) ORDER BY value % 1000 DESC";
        let failed = context.sql(sql).await.unwrap().collect().await.unwrap_err();
        let refused = explain(failed.into(), &[], Limits::default());
        assert!(refused.is_bad_input(), "{refused}");
        let expected = "query refused: it needs more room on disk than a query may have; narrow it";
        assert!(refused.to_string().starts_with(expected), "{refused}");
    }
}
