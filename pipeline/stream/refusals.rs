//! What a job may not say: clauses that have no meaning on an endless stream, and clauses of other
//! databases that would otherwise be read and passed over.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ConnectByKind, Distinct, Expr, FunctionArguments, GroupByExpr, GroupByWithModifier, LockType,
    Query, Select, SetExpr, Spanned, TableFactor, TableSampleKind, Value, ValueWithSpan, Visitor,
    visit_expressions,
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

    /// Stops at a clause that would be read and passed over.
    fn foreign(&self, clause: Option<(&str, Span)>) -> ControlFlow<Error> {
        let Some((name, at)) = clause else { return ControlFlow::Continue(()) };
        let message = format!("{name} is no part of the dialect of jobs");
        let remedy = "leave it out: WHERE chooses rows, GROUP BY makes groups";
        let word = name.rsplit(' ').next().unwrap_or(name);
        ControlFlow::Break(match at.start.line {
            0 => self.file.refuse(word, message, remedy),
            _ => self.file.refuse_at(at, message, remedy),
        })
    }
}

/// A clause of other databases after the body of a query, and its place where that is known.
fn after_body(query: &Query) -> Option<(&'static str, Span)> {
    let lock = query.locks.first().map(|lock| match lock.lock_type {
        LockType::Share => ("FOR SHARE", Span::empty()),
        LockType::Update => ("FOR UPDATE", Span::empty()),
    });
    let settings = query.settings.as_ref();
    let settings = settings.map(|s| s.first().map_or(Span::empty(), |s| s.key.span));
    let output = query.for_clause.as_ref().map(|_| ("FOR", Span::empty()));
    let format = query.format_clause.as_ref().map(|_| ("FORMAT", Span::empty()));
    lock.or(settings.map(|at| ("SETTINGS", at))).or(output).or(format)
}

/// The same inside of a SELECT.
fn inside(select: &Select) -> Option<(&'static str, Span)> {
    let prewhere = select.prewhere.as_ref().map(|e| ("PREWHERE", e.span()));
    let tree = select.connect_by.first().map(|kind| match kind {
        ConnectByKind::ConnectBy { connect_token: at, .. } => ("CONNECT BY", at.0.span),
        ConnectByKind::StartWith { start_token: at, .. } => ("START WITH", at.0.span),
    });
    let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = &select.group_by;
    let modifier = modifiers.first().map(|modifier| match modifier {
        GroupByWithModifier::Rollup => ("WITH ROLLUP", Span::empty()),
        GroupByWithModifier::Cube => ("WITH CUBE", Span::empty()),
        GroupByWithModifier::Totals => ("WITH TOTALS", Span::empty()),
        GroupByWithModifier::GroupingSets(sets) => ("GROUPING SETS", sets.span()),
    });
    let others = [
        (select.exclude.is_some(), "EXCLUDE"),
        (select.value_table_mode.is_some(), "AS VALUE or AS STRUCT"),
        (select.select_modifiers.as_ref().is_some_and(|m| m.is_any_set()), "a modifier of SELECT"),
    ];
    let other = others.into_iter().find(|(is, _)| *is);
    let other = other.map(|(_, name)| (name, select.select_token.0.span));
    prewhere.or(tree).or(modifier).or(other)
}

/// The same after the name of a table.
fn after_table(table: &TableFactor) -> Option<(&'static str, Span)> {
    let sampled =
        |sample: &Option<TableSampleKind>| sample.is_some().then(|| ("TABLESAMPLE", table.span()));
    match table {
        TableFactor::Derived { sample, .. } => sampled(sample),
        TableFactor::Table {
            sample,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            index_hints,
            ..
        } => {
            let at = table.span();
            let hint = with_hints.first().map(|hint| ("WITH (…)", hint.span()));
            let partition = partitions.first().map(|name| ("PARTITION", name.span));
            let others = [
                (version.is_some(), "AS OF"),
                (*with_ordinality, "WITH ORDINALITY"),
                (json_path.is_some(), "a path into a table"),
                (!index_hints.is_empty(), "an INDEX hint"),
            ];
            let other = others.into_iter().find(|(is, _)| *is).map(|(_, name)| (name, at));
            sampled(sample).or(hint).or(partition).or(other)
        }
        _ => None,
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
        self.foreign(after_body(query))?;
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
        self.foreign(inside(select))
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Error> {
        self.foreign(after_table(table))
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
