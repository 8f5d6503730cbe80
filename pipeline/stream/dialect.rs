//! The job dialect: Arroyo's SQL, read with the position of everything that is refused.
//!
//! A job file is a header comment (`-- name:`, `-- description:`, `-- severity:`), optional
//! `CREATE TABLE` declarations of the streams it reads (with `WATERMARK FOR`), and one
//! `INSERT INTO … SELECT …`.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Insert, ObjectName, ObjectNamePart, Spanned, Statement, TableObject, Visit, VisitMut,
    VisitorMut, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowType,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use faultline_udfs::detectors::FUNCTIONS;

use super::nesting::{OPERATORS_MAX, too_deep};
use super::refusals::Refusals;
use super::schema::SINK;
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
    /// The longest that a declared stream allows.
    pub fn lateness(&self) -> Option<Nanos> {
        self.declared.iter().filter_map(|d| d.lateness).max()
    }

    /// Parses `text`; `origin` is the file name that messages show.
    pub fn parse(origin: &str, text: &str) -> Result<Self> {
        let at = |l: Location, message: String, remedy: &str| job_error(origin, l, message, remedy);
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
        let tokens = tokens.map_err(|e| {
            at(e.location, e.message, "check the quotes and comments around this place")
        })?;
        if let Some(place) = too_deep(&tokens) {
            let message = format!("more than {OPERATORS_MAX} operators in one expression");
            return Err(at(place, message, "write a long list of values as IN (…)"));
        }
        let (sql, watermarks) = watermark_clause::extract(origin, text, &tokens)?;
        let statements = parse(&sql).map_err(|e| syntax_error(origin, &e))?;
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
                Statement::Insert(insert) => {
                    inserts += 1;
                    file.check_target(&insert)?;
                    let mut statement = Statement::Insert(insert);
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

    /// True if `word` is a word of the job's text.
    pub fn has(&self, word: &str) -> bool {
        self.tokens.iter().any(|t| is_word(t, word))
    }

    /// Place of a word, or of a text in quotes where no such word is; the beginning if neither is.
    fn locate(&self, word: &str) -> Location {
        let text = Token::SingleQuotedString(word.to_owned());
        let named = self.tokens.iter().find(|t| is_word(t, word));
        let mut quoted = self.tokens.iter().filter(|t| !word.is_empty() && t.token == text);
        let hit = named.or_else(|| quoted.next());
        hit.map_or(Location::new(1, 1), |t| t.span.start)
    }

    /// Jobs add rows to the sink, and that is all that they do.
    fn check_target(&self, insert: &Insert) -> Result<()> {
        let remedy = "write INSERT INTO signals SELECT …";
        if insert.overwrite {
            return Err(self.refuse("overwrite", "signals are added, never overwritten", remedy));
        }
        if insert.replace_into || insert.or.is_some() || insert.on.is_some() {
            let span = insert.insert_token.0.span;
            return Err(self.refuse_at(span, "signals are added, never replaced", remedy));
        }
        let TableObject::TableName(name) = &insert.table else {
            let span = insert.insert_token.0.span;
            return Err(self.refuse_at(span, "an INSERT into something that is no table", remedy));
        };
        if table_name(name) != SINK {
            let message = format!("jobs do not write to {name}");
            return Err(self.refuse_at(name.span(), message, remedy));
        }
        Ok(())
    }

    fn check(&self, statement: &Statement) -> Result<()> {
        match Visit::visit(statement, &mut Refusals::new(self)) {
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

/// As sqlparser does it, but `cluster`, a column of every stream, is a name like any other: after a
/// comma it is taken for the beginning of Hive's CLUSTER BY.
fn parse(sql: &str) -> Result<Vec<Statement>, ParserError> {
    let dialect = GenericDialect {};
    let mut tokens = Tokenizer::new(&dialect, sql).tokenize_with_location()?;
    for token in &mut tokens {
        if let Token::Word(word) = &mut token.token
            && word.keyword == Keyword::CLUSTER
        {
            word.keyword = Keyword::NoKeyword;
        }
    }
    Parser::new(&dialect).with_tokens_with_locations(tokens).parse_statements()
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.value.eq_ignore_ascii_case(word))
}

fn is_stateful(name: &str) -> bool {
    FUNCTIONS.iter().any(|f| f.name.eq_ignore_ascii_case(name))
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

/// As SQL compares it: in lower case unless it is quoted.
fn table_name(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] if name.quote_style.is_some() => name.value.clone(),
        _ => name.to_string().to_ascii_lowercase(),
    }
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
fn syntax_error(origin: &str, error: &ParserError) -> Error {
    if matches!(error, ParserError::RecursionLimitExceeded) {
        let message = "the statement is nested too deeply".to_owned();
        return job_error(origin, Location::new(1, 1), message, "use fewer levels of parentheses");
    }
    let text = error.to_string();
    let number = |key: &str| {
        let rest = &text[text.rfind(key)? + key.len()..];
        rest.trim().split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let at = Location::new(number("Line:").unwrap_or(1), number("Column:").unwrap_or(1));
    let message = text.split(" at Line:").next().unwrap_or(&text);
    let message = message.trim_start_matches("sql parser error: ").to_owned();
    job_error(
        origin,
        at,
        message,
        "see the dialect in README and the jobs in sql/detect for examples",
    )
}
