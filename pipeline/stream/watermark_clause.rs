//! `WATERMARK FOR column AS expression`, which the SQL parser does not know: read here and blanked
//! out, so that every other position in the text stays true.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::dialect::job_error;
use super::interval;
use crate::error::Result;
use crate::model::{HOUR, Nanos, SECOND};

/// Lateness of `WATERMARK FOR ts` without an expression, as in Arroyo.
const DEFAULT_LATENESS: Nanos = SECOND;

/// Longest lateness: all that a run reads in this time waits in memory.
pub const LATENESS_MAX: Nanos = HOUR;

/// One clause and the part of the text, from its `CREATE` on, that it belongs to.
pub struct Clause {
    pub lateness: Nanos,
    create: Location,
    end: Location,
}

impl Clause {
    /// True if the place lies in the same `CREATE TABLE`.
    pub fn inside(&self, at: Location) -> bool {
        self.create <= at && at <= self.end
    }
}

/// Returns the text without its watermark clauses, and the clauses.
pub fn extract(
    origin: &str,
    text: &str,
    tokens: &[TokenWithSpan],
) -> Result<(String, Vec<Clause>)> {
    let solid: Vec<&TokenWithSpan> =
        tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut chars: Vec<Vec<char>> = text.split('\n').map(|l| l.chars().collect()).collect();
    let mut clauses = Vec::new();
    let mut create = Location::new(1, 1);
    for i in 0..solid.len() {
        if is_word(solid[i], "create") {
            create = solid[i].span.start;
        }
        let starts =
            is_word(solid[i], "watermark") && solid.get(i + 1).is_some_and(|t| is_word(t, "for"));
        if !starts {
            continue;
        }
        let end = clause_end(&solid, i);
        let lateness = lateness(origin, &solid[i + 2..end])?;
        let before = i.checked_sub(1).filter(|b| solid[*b].token == Token::Comma);
        blank(&mut chars, solid[before.unwrap_or(i)].span.start, solid[end - 1].span.end);
        clauses.push(Clause { lateness, create, end: solid[end - 1].span.end });
    }
    let lines: Vec<String> = chars.into_iter().map(String::from_iter).collect();
    Ok((lines.join("\n"), clauses))
}

/// Index after the last token of the clause: the comma or parenthesis that ends it.
fn clause_end(solid: &[&TokenWithSpan], start: usize) -> usize {
    let mut depth = 0;
    for (i, token) in solid.iter().enumerate().skip(start) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return i,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => return i,
            _ => {}
        }
    }
    solid.len()
}

/// Reads `ts`, `ts AS ts` or `ts AS ts - INTERVAL '5 seconds'`.
fn lateness(origin: &str, clause: &[&TokenWithSpan]) -> Result<Nanos> {
    let at = clause.first().map_or(Location::new(1, 1), |t| t.span.start);
    let refuse = |message: &str| {
        let remedy = "write WATERMARK FOR ts AS ts - INTERVAL '5 seconds'";
        Err(job_error(origin, at, message.to_owned(), remedy))
    };
    let is_ts = |t: &&TokenWithSpan| matches!(&t.token, Token::Word(w) if w.value == "ts");
    if !clause.first().is_some_and(is_ts) {
        return refuse("a watermark on a column other than ts");
    }
    match &clause[1..] {
        [] => Ok(DEFAULT_LATENESS),
        [r#as, column] if is_word(r#as, "as") && is_ts(column) => Ok(0),
        [r#as, column, minus, word, value]
            if is_word(r#as, "as")
                && is_ts(column)
                && minus.token == Token::Minus
                && matches!(&word.token, Token::Word(w) if w.keyword == Keyword::INTERVAL) =>
        {
            let Token::SingleQuotedString(text) = &value.token else {
                return refuse("an interval that is not a quoted literal");
            };
            match interval::parse(text) {
                Some(nanos) if nanos > LATENESS_MAX => refuse(
                    "a lateness above one hour, which would hold back the signals of every job",
                ),
                Some(nanos) if nanos >= 0 => Ok(nanos),
                _ => refuse("an interval that cannot be read"),
            }
        }
        _ => refuse("a watermark expression that is not ts minus an interval"),
    }
}

fn blank(lines: &mut [Vec<char>], from: Location, to: Location) {
    for line in from.line..=to.line {
        let row = &mut lines[line as usize - 1];
        let start = if line == from.line { from.column as usize - 1 } else { 0 };
        let end = if line == to.line { to.column as usize - 1 } else { row.len() };
        let end = end.min(row.len());
        row[start.min(end)..end].fill(' ');
    }
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    let Token::Word(w) = &token.token else { return false };
    w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word)
}
