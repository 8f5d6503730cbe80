//! What a job may not say: clauses that have no meaning on an endless stream.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, FunctionArguments, GroupByExpr, Query, Select, SetExpr, Spanned, Value,
    ValueWithSpan, Visitor, visit_expressions,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::dialect::JobFile;
use super::functions::{OUTSIDE_REMEDY, is_window_name, outside};
use crate::error::Error;

/// Walks a statement and stops at the first thing that has no meaning on an endless stream.
pub struct Refusals<'a> {
    file: &'a JobFile,
}

impl<'a> Refusals<'a> {
    pub fn new(file: &'a JobFile) -> Self {
        Self { file }
    }
}

/// Name and place of the first window function that is called where nothing is grouped.
fn ungrouped_window(select: &Select) -> Option<(String, Span)> {
    match &select.group_by {
        GroupByExpr::Expressions(keys, _) if keys.is_empty() => {}
        _ => return None,
    }
    let call = |e: &Expr| match e {
        Expr::Function(call) if is_window_name(&call.name.to_string()) => {
            ControlFlow::Break((call.name.to_string(), call.span()))
        }
        _ => ControlFlow::Continue(()),
    };
    let found = visit_expressions(&select.projection, call);
    found.break_value().or_else(|| visit_expressions(&select.selection, call).break_value())
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
        if let Some((name, at)) = ungrouped_window(select) {
            return ControlFlow::Break(self.file.refuse_at(at, outside(&name), OUTSIDE_REMEDY));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let subquery = match expr {
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => true,
            Expr::Function(f) => matches!(f.args, FunctionArguments::Subquery(_)),
            _ => false,
        };
        if subquery {
            return ControlFlow::Break(self.file.refuse_at(
                expr.span(),
                "a subquery inside an expression has no meaning on a stream",
                "aggregate both sides by the same window and JOIN them on it",
            ));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<Error> {
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
