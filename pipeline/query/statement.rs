//! Which statements are questions, and where one ends and the next begins.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    Ident, Statement, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};

use super::refusal;
use crate::error::Result;

/// Refuses whatever is not a query, a description or an explanation. Queries that write, such as
/// `SELECT … INTO`, are refused by their plan.
pub(super) fn check_read_only(parsed: &Parsed) -> Result<()> {
    let asks = match parsed {
        Parsed::Explain(explain) => return check_read_only(&explain.statement),
        Parsed::Statement(statement) => is_question(statement),
        Parsed::CreateExternalTable(_) | Parsed::CopyTo(_) | Parsed::Reset(_) => false,
    };
    if asks { Ok(()) } else { Err(refusal::not_a_question()) }
}

fn is_question(statement: &Statement) -> bool {
    match statement {
        Statement::Query(_)
        | Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowFunctions { .. }
        | Statement::ShowVariable { .. } => true,
        Statement::Explain { statement, .. } => is_question(statement),
        _ => false,
    }
}

/// Whether the answer is a list of tables, which DataFusion gives in no order.
pub(super) fn lists_tables(parsed: &Parsed) -> bool {
    let Parsed::Statement(statement) = parsed else { return false };
    matches!(statement.as_ref(), Statement::ShowTables { .. })
}

/// Refuses TABLESAMPLE, which DataFusion reads and passes over: it would answer for all rows.
pub(super) fn check_samples(parsed: &Parsed) -> Result<()> {
    let sampled = match parsed {
        Parsed::Statement(statement) => Visit::visit(statement.as_ref(), &mut Samples).is_break(),
        Parsed::Explain(explain) => return check_samples(&explain.statement),
        Parsed::CreateExternalTable(_) | Parsed::CopyTo(_) | Parsed::Reset(_) => false,
    };
    if sampled { Err(refusal::sampled()) } else { Ok(()) }
}

struct Samples;

impl Visitor for Samples {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { sample: Some(_), .. }
            | TableFactor::Derived { sample: Some(_), .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Names the subqueries in FROM that have no name. DataFusion 55 takes two nested projections of
/// the same text for one, also where they compute something: `SELECT x + 1 AS x FROM (SELECT x + 1
/// AS x FROM …)` would add once. A name between the two keeps them apart.
pub(super) fn name_subqueries(parsed: &mut Parsed) {
    match parsed {
        Parsed::Statement(statement) => {
            let ControlFlow::Continue(()) = VisitMut::visit(statement.as_mut(), &mut Namer(0));
        }
        Parsed::Explain(explain) => name_subqueries(&mut explain.statement),
        Parsed::CreateExternalTable(_) | Parsed::CopyTo(_) | Parsed::Reset(_) => {}
    }
}

struct Namer(usize);

impl VisitorMut for Namer {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Derived { alias: alias @ None, .. } = factor {
            self.0 += 1;
            let name = Ident::new(format!("subquery {}", self.0));
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}

/// The statements of `text`, without their `;`, and what follows the last one; comments alone are
/// nothing.
pub(super) fn split(text: &str) -> (Vec<&str>, &str) {
    let mut statements = Vec::new();
    let (mut start, mut says_something) = (0, false);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' | '"' => {
                // A doubled quote ends one text and begins the next, which comes to the same.
                chars.by_ref().find(|(_, other)| *other == c);
                says_something = true;
            }
            '-' if text[at..].starts_with("--") => {
                chars.by_ref().find(|(_, other)| *other == '\n');
            }
            '/' if text[at..].starts_with("/*") => {
                let end = text[at + 2..].find("*/").map_or(text.len(), |end| at + end + 4);
                while chars.next_if(|(next, _)| *next < end).is_some() {}
            }
            ';' => {
                if says_something {
                    statements.push(text[start..at].trim());
                }
                (start, says_something) = (at + 1, false);
            }
            c => says_something |= !c.is_whitespace(),
        }
    }
    (statements, if says_something { text[start..].trim() } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_in_text_or_comment_ends_nothing() {
        let text = "select ';' , 'it''s;' ; -- no; end\nselect \"a;b\" /* ;\n; */ ; rest 'open;";
        let (statements, rest) = split(text);
        assert_eq!(statements.len(), 2);
        assert_eq!(statements[0], "select ';' , 'it''s;'");
        assert!(statements[1].ends_with("/* ;\n; */"));
        assert_eq!(rest, "rest 'open;");
        assert_eq!(split(" ;; "), (vec![], ""));
        assert_eq!(split("select 1; -- done"), (vec!["select 1"], ""));
    }
}
