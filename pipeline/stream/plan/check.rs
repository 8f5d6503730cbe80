//! What is looked at before a job is planned.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Volatility};
use datafusion::sql::sqlparser::ast::{ObjectName, SelectItem, SetExpr, Spanned, Statement};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::super::dialect::JobFile;
use super::super::functions::{OUTSIDE_REMEDY, is_window, outside, window_of};
use super::super::schema::{SINK, Stream, signals_schema};
use super::super::window::window_type;
use super::message;
use crate::error::{Error, Result};

/// Declared tables are streams, and their columns the stream's.
pub fn declared(file: &JobFile) -> Result<()> {
    for declared in &file.declared {
        let schema = match Stream::parse(&declared.table) {
            Some(stream) => stream.schema(),
            None if declared.table == SINK => signals_schema(),
            None => {
                let span = Span::new(declared.at, declared.at);
                return Err(file.refuse_at(
                    span,
                    format!("table {} is not a stream", declared.table),
                    "declare metrics, logs, spans, changes or signals",
                ));
            }
        };
        for column in &declared.columns {
            if schema.index_of(column).is_err() {
                return Err(file.refuse(
                    column,
                    format!("stream {} has no column {column}", declared.table),
                    &format!("its columns are {}", names(&schema)),
                ));
            }
        }
    }
    Ok(())
}

fn names(schema: &SchemaRef) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    names.join(", ")
}

/// Every function's answer follows from its arguments alone, and windows are made in GROUP BY. The
/// plan must not be simplified yet: that puts the present time in the place of `now()`.
pub fn functions(file: &JobFile, plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            if matches!(node, LogicalPlan::Aggregate(_)) && window_of(e).is_some() {
                return Ok(TreeNodeRecursion::Continue);
            }
            e.apply(|e| {
                if let Expr::ScalarFunction(call) = e
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    found = Some(Arc::clone(&call.func));
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let Some(function) = found else { return Ok(()) };
    if is_window(&function) {
        let name = function.name();
        return Err(file.refuse(name, outside(name), OUTSIDE_REMEDY));
    }
    let aliases = function.aliases().iter().map(String::as_str);
    let mut names = std::iter::once(function.name()).chain(aliases);
    let name = names.find(|name| file.has(name)).unwrap_or(function.name());
    Err(file.refuse(
        name,
        format!("{name} has no place in event time: it answers differently at every call"),
        "use window.start or window.end, or a column",
    ))
}

/// Every column that is written is of the kind that the sink has, or becomes it whatever its value
/// is. The plan must not be simplified yet: that works the casts of the INSERT into it.
pub fn columns(file: &JobFile, plan: &LogicalPlan) -> Result<()> {
    let LogicalPlan::Dml(insert) = plan else { return Ok(()) };
    let LogicalPlan::Projection(written) = insert.input.as_ref() else { return Ok(()) };
    let (given, sink) = (written.input.schema(), signals_schema());
    for (expr, wanted) in written.expr.iter().zip(sink.fields()) {
        for column in expr.column_refs() {
            let found = given.field_from_column(column)?;
            if !fits(found.data_type(), wanted.data_type()) {
                return Err(misfit(file, found, wanted));
            }
        }
    }
    Ok(())
}

fn misfit(file: &JobFile, found: &Field, wanted: &Field) -> Error {
    let word = if file.has(found.name()) { found.name() } else { "SELECT" };
    let [is, due] = [found, wanted].map(|f| format!("{} ({})", kind(f.data_type()), f.data_type()));
    let order = names(&signals_schema());
    let remedy = format!("write such a value there, or put the columns in order: {order}");
    file.refuse(word, format!("column {} is {is} where {due} is due", wanted.name()), &remedy)
}

/// Whether every value of one type becomes one of the other that says the same.
fn fits(found: &DataType, wanted: &DataType) -> bool {
    let (found, wanted) = (kind(found), kind(wanted));
    let simple = |kind| kind == NUMBER || kind == BOOLEAN;
    found == wanted || found == NULL || wanted == TEXT || simple(found) && simple(wanted)
}

const NULL: &str = "null";
const TEXT: &str = "text";
const NUMBER: &str = "a number";
const TIMESTAMP: &str = "a timestamp";
const BOOLEAN: &str = "a boolean";

fn kind(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Null => NULL,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => TEXT,
        DataType::Dictionary(_, values) => kind(values),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => TIMESTAMP,
        DataType::Boolean => BOOLEAN,
        number if number.is_numeric() => NUMBER,
        window if *window == window_type() => "a window",
        _ => "something else",
    }
}

/// Sums of doubles round by the order of their terms, and distinct values come in none. The plan
/// must have the types that were written.
pub fn sums(file: &JobFile, plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        let inputs: Vec<_> = node.inputs().iter().map(|i| Arc::clone(i.schema())).collect();
        node.apply_expressions(|e| {
            e.apply(|e| {
                let summed = distinct_sum(e).filter(|(_, arg)| {
                    let of = |schema: &DFSchema| arg.get_type(schema).ok();
                    inputs.iter().find_map(|i| of(i)).is_some_and(|t| t.is_floating())
                });
                found = found.take().or(summed.map(|(name, _)| name.to_owned()));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let Some(name) = found else { return Ok(()) };
    Err(file.refuse(
        "distinct",
        format!("{name}(DISTINCT …) of doubles rounds differently at every run"),
        &format!("write {name}(DISTINCT CAST(… AS DECIMAL(38, 9)))"),
    ))
}

/// Name and argument of a sum or mean over distinct values.
fn distinct_sum(e: &Expr) -> Option<(&str, &Expr)> {
    let (name, distinct, args) = match e {
        Expr::AggregateFunction(call) => {
            (call.func.name(), call.params.distinct, &call.params.args)
        }
        Expr::WindowFunction(call) => (call.fun.name(), call.params.distinct, &call.params.args),
        _ => return None,
    };
    let arg = args.first().filter(|_| distinct && ["sum", "avg"].contains(&name))?;
    Some((name, arg))
}

/// Columns of the sink that say when a signal was, and what of a window they are.
const WHEN: [(&str, &str); 2] = [("window_start", "start"), ("window_end", "end")];

/// A signal always has a window. The plan must not be simplified yet: that forgets what is never
/// null.
pub fn sink(file: &JobFile, plan: &LogicalPlan) -> Result<()> {
    let LogicalPlan::Dml(insert) = plan else { return Ok(()) };
    let fields = insert.input.schema();
    let maybe_null = |(column, _): &&(&str, &str)| {
        fields.field_with_unqualified_name(column).is_ok_and(|f| f.is_nullable())
    };
    let Some((column, side)) = WHEN.iter().find(maybe_null) else { return Ok(()) };
    let (why, remedy) = match is_written(file, column) {
        true => ("may be null", "of the left side of a join, or coalesce(…, window.start)"),
        false => ("is not written", "and all other columns of signals"),
    };
    Err(file.refuse_at(
        place_in_select(file, column).unwrap_or_else(Span::empty),
        format!("{column} {why}, and a signal without it belongs to no time"),
        &format!("write window.{side} {remedy}"),
    ))
}

/// Whether the job names the column, or none and so all of them.
fn is_written(file: &JobFile, column: &str) -> bool {
    let Statement::Insert(insert) = &file.insert else { return false };
    insert.columns.is_empty() || insert.columns.iter().any(|c| is_named(c, column))
}

/// Where the job's SELECT says what goes into a column of the sink.
fn place_in_select(file: &JobFile, column: &str) -> Option<Span> {
    let Statement::Insert(insert) = &file.insert else { return None };
    let at = match insert.columns.as_slice() {
        [] => signals_schema().index_of(column).ok()?,
        columns => columns.iter().position(|c| is_named(c, column))?,
    };
    let SetExpr::Select(select) = insert.source.as_ref()?.body.as_ref() else { return None };
    let one =
        |i: &SelectItem| matches!(i, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    let item = select.projection.get(at).filter(|_| select.projection.iter().all(one))?;
    Some(item.span())
}

fn is_named(name: &ObjectName, column: &str) -> bool {
    name.to_string().trim_matches('"').eq_ignore_ascii_case(column)
}

/// What does not depend on any row, such as `1 / 0`, can be worked out. The plan is simplified:
/// what is still there is what could not be.
pub fn constants(file: &JobFile, plan: &LogicalPlan, state: &SessionState) -> Result<()> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let evaluate = |e: &Expr| -> Result<_, DataFusionError> {
        state.create_physical_expr(e.clone(), &DFSchema::empty())?.evaluate(&row)
    };
    let mut failed = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                if matches!(e, Expr::Literal(..)) || !is_constant(e) {
                    return Ok(TreeNodeRecursion::Continue);
                }
                failed = evaluate(e).err().map(|error| (e.human_display().to_string(), error));
                let stop = failed.is_some();
                Ok(if stop { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Jump })
            })
        })
    })?;
    let Some((expression, error)) = failed else { return Ok(()) };
    Err(message::failing(file, &expression, &error))
}

/// It can be evaluated without a row, and by itself.
fn is_constant(e: &Expr) -> bool {
    let apart = |e: &Expr| match e {
        Expr::ScalarFunction(call) => is_window(&call.func),
        Expr::Literal(..)
        | Expr::BinaryExpr(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::Case(_)
        | Expr::Not(_)
        | Expr::Negative(_)
        | Expr::Like(_)
        | Expr::Between(_)
        | Expr::InList(_) => false,
        _ => true,
    };
    !e.exists(|e| Ok(apart(e))).unwrap_or(true)
}
