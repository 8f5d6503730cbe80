//! The job dialect: Arroyo's SQL, read with the position of everything that is refused.
//!
//! A job file is a header comment (`-- name:`, `-- description:`, `-- severity:`), optional
//! `CREATE TABLE` declarations of the streams it reads (with `WATERMARK FOR`), and one
//! `INSERT INTO … SELECT …`.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, ObjectName, Query, Select, SetExpr, Spanned, Statement, Value, Visit, VisitMut,
    Visitor, VisitorMut, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowType,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use faultline_udfs::detectors::FUNCTIONS;

use super::watermark_clause;
use crate::error::{Error, Result};
use crate::model::{Nanos, Severity};

/// A job as written, parsed and checked against the dialect but not yet planned.
#[derive(Debug)]
pub struct JobFile {
    /// Where the text came from, for messages.
    pub origin: String,
    pub name: String,
    pub description: String,
    pub severity: Severity,
    pub declared: Vec<Declared>,
    pub insert: Statement,
    pub text: String,
    tokens: Vec<TokenWithSpan>,
}

/// A stream declared by `CREATE TABLE` in the job.
#[derive(Debug)]
pub struct Declared {
    pub table: String,
    /// Column names as declared.
    pub columns: Vec<String>,
    /// Allowed lateness from `WATERMARK FOR`.
    pub lateness: Option<Nanos>,
    pub at: Location,
}

impl JobFile {
    /// Parses `text`; `origin` is the file name that messages show.
    pub fn parse(origin: &str, text: &str) -> Result<Self> {
        let at = |l: Location, message: String, remedy: &str| job_error(origin, l, message, remedy);
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
        let tokens = tokens.map_err(|e| {
            at(e.location, e.message, "check the quotes and comments around this place")
        })?;
        let (sql, watermarks) = watermark_clause::extract(origin, text, &tokens)?;
        let statements = Parser::parse_sql(&GenericDialect {}, &sql)
            .map_err(|e| syntax_error(origin, &e.to_string()))?;
        let header = Header::read(origin, text)?;
        let mut file = Self {
            origin: origin.to_owned(),
            name: header.name,
            description: header.description,
            severity: header.severity,
            declared: Vec::new(),
            insert: Statement::Commit { chain: false, end: false, modifier: None },
            text: text.to_owned(),
            tokens,
        };
        let mut inserts = 0;
        for statement in statements {
            match statement {
                Statement::CreateTable(create) => {
                    let table = table_name(&create.name);
                    let span = create.name.span();
                    let lateness =
                        watermarks.iter().find(|w| w.inside(span.start)).map(|w| w.lateness);
                    let columns = create.columns.iter().map(|c| c.name.value.clone()).collect();
                    file.declared.push(Declared { table, columns, lateness, at: span.start });
                }
                mut statement @ Statement::Insert(_) => {
                    inserts += 1;
                    let span = statement.span().start;
                    if inserts > 1 {
                        return Err(at(
                            span,
                            "a second INSERT".into(),
                            "put each INSERT into a job file of its own",
                        ));
                    }
                    file.check(&statement)?;
                    let ControlFlow::Continue(()) = VisitMut::visit(&mut statement, &mut RowFrames);
                    file.insert = statement;
                }
                other => {
                    let remedy =
                        "a job holds CREATE TABLE declarations and one INSERT INTO … SELECT";
                    let word = other.to_string().split(' ').next().unwrap_or_default().to_owned();
                    return Err(at(
                        file.locate(&word),
                        format!("{word} is not part of a job"),
                        remedy,
                    ));
                }
            }
        }
        if inserts == 0 {
            let remedy = "write INSERT INTO signals SELECT …";
            return Err(at(Location::new(1, 1), "no INSERT statement".into(), remedy));
        }
        Ok(file)
    }

    /// Error at the first place where `word` stands in the job's text.
    pub fn refuse(&self, word: &str, message: impl Into<String>, remedy: &str) -> Error {
        job_error(&self.origin, self.locate(word), message.into(), remedy)
    }

    /// Error at a span of the job's text, or at its first line where the span is unknown.
    pub fn refuse_at(&self, span: Span, message: impl Into<String>, remedy: &str) -> Error {
        let at = if span.start.line == 0 { Location::new(1, 1) } else { span.start };
        job_error(&self.origin, at, message.into(), remedy)
    }

    fn locate(&self, word: &str) -> Location {
        let hit = self
            .tokens
            .iter()
            .find(|t| matches!(&t.token, Token::Word(w) if w.value.eq_ignore_ascii_case(word)));
        hit.map_or(Location::new(1, 1), |t| t.span.start)
    }

    fn check(&self, statement: &Statement) -> Result<()> {
        match Visit::visit(statement, &mut Refusals { file: self }) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }
}

/// Gives calls of stateful functions a frame of rows: the default frame is a range of values, which
/// a window, being a start and an end, does not have.
struct RowFrames;

impl VisitorMut for RowFrames {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Expr::Function(call) = expr
            && is_stateful(&call.name.to_string())
            && let Some(WindowType::WindowSpec(spec)) = &mut call.over
            && spec.window_frame.is_none()
        {
            spec.window_frame = Some(WindowFrame {
                units: WindowFrameUnits::Rows,
                start_bound: WindowFrameBound::Preceding(None),
                end_bound: Some(WindowFrameBound::CurrentRow),
            });
        }
        ControlFlow::Continue(())
    }
}

fn is_stateful(name: &str) -> bool {
    FUNCTIONS.iter().any(|f| f.name.eq_ignore_ascii_case(name))
}

/// Walks a statement and stops at the first thing that has no meaning on an endless stream.
struct Refusals<'a> {
    file: &'a JobFile,
}

impl Visitor for Refusals<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let refuse = |span, what: &str, remedy| {
            ControlFlow::Break(self.file.refuse_at(span, format!("{what} on a stream"), remedy))
        };
        let top = "rank inside a window: ROW_NUMBER() OVER (PARTITION BY window ORDER BY …) and \
                   filter on it";
        if let Some(order) = &query.order_by {
            return refuse(order.span(), "ORDER BY", top);
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            let word = if query.fetch.is_some() { "fetch" } else { "limit" };
            return ControlFlow::Break(self.file.refuse(word, "LIMIT on a stream", top));
        }
        if query.with.as_ref().is_some_and(|w| w.recursive) {
            return ControlFlow::Break(self.file.refuse(
                "recursive",
                "a recursive query on a stream",
                "write the steps out as nested SELECTs",
            ));
        }
        if let SetExpr::SetOperation { .. } = query.body.as_ref() {
            return refuse(
                query.body.span(),
                "UNION, INTERSECT or EXCEPT",
                "write one job per branch",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        if let Some(Distinct::Distinct | Distinct::On(_)) = &select.distinct {
            return ControlFlow::Break(self.file.refuse(
                "distinct",
                "SELECT DISTINCT on a stream",
                "group by the columns and a window instead",
            ));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        if let Expr::Function(f) = expr
            && matches!(
                f.name.to_string().to_ascii_lowercase().as_str(),
                "now" | "current_timestamp" | "random"
            )
        {
            return ControlFlow::Break(self.file.refuse_at(
                expr.span(),
                format!("{} has no place in event time", f.name),
                "use window.start or window.end",
            ));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(
        &mut self,
        value: &datafusion::sql::sqlparser::ast::ValueWithSpan,
    ) -> ControlFlow<Error> {
        if let Value::Placeholder(name) = &value.value {
            return ControlFlow::Break(self.file.refuse_at(
                value.span,
                format!("placeholder {name}"),
                "write the value itself",
            ));
        }
        ControlFlow::Continue(())
    }
}

#[derive(Default)]
struct Header {
    name: String,
    description: String,
    severity: Severity,
}

impl Header {
    fn read(origin: &str, text: &str) -> Result<Self> {
        let mut header = Self { name: stem(origin), ..Self::default() };
        for (i, line) in text.lines().enumerate() {
            let Some(comment) = line.trim().strip_prefix("--") else {
                if line.trim().is_empty() {
                    continue;
                }
                break;
            };
            let Some((key, value)) = comment.split_once(':') else { continue };
            let value = value.trim();
            match key.trim() {
                "name" => header.name = value.to_owned(),
                "description" => header.description = value.to_owned(),
                "severity" => {
                    header.severity = Severity::parse(value).ok_or_else(|| {
                        let at = Location::new(i as u64 + 1, 1);
                        let message = format!("unknown severity {value:?}");
                        job_error(origin, at, message, "use info, warning or critical")
                    })?;
                }
                _ => {}
            }
        }
        Ok(header)
    }
}

fn stem(origin: &str) -> String {
    let file = origin.rsplit('/').next().unwrap_or(origin);
    file.strip_suffix(".sql").unwrap_or(file).to_owned()
}

fn table_name(name: &ObjectName) -> String {
    name.to_string().to_ascii_lowercase()
}

pub(super) fn job_error(origin: &str, at: Location, message: String, remedy: &str) -> Error {
    Error::Job {
        job: origin.to_owned(),
        line: at.line,
        column: at.column,
        message,
        remedy: remedy.to_owned(),
    }
}

/// sqlparser reports places as text at the end of its message.
fn syntax_error(origin: &str, text: &str) -> Error {
    let number = |key: &str| {
        let rest = &text[text.rfind(key)? + key.len()..];
        rest.trim().split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let at = Location::new(number("Line:").unwrap_or(1), number("Column:").unwrap_or(1));
    let message = text.split(" at Line:").next().unwrap_or(text);
    let message = message.trim_start_matches("sql parser error: ").to_owned();
    job_error(
        origin,
        at,
        message,
        "see the dialect in README and the jobs in sql/detect for examples",
    )
}
