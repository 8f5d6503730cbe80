//! From a job's SQL to the stages that run it.
//!
//! DataFusion parses, resolves and types the statement; this file turns the logical plan into a
//! small graph of streaming stages, or says why it has no meaning on a stream.

mod check;
mod join;
mod message;
mod over;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate as AggregateNode, Expr, LogicalPlan};
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_expr::aggregate::{LoweredAggregate, LoweredAggregateBuilder};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;

use super::dialect::JobFile;
use super::finite::{self, Finite};
use super::frame::{Aggregate, check_constants};
use super::functions::{WindowKind, window_functions, window_of};
use super::interval;
use super::schema::{SINK, Stream, interned, signals_schema};
use super::session::{Session, SessionSpec};
use super::stage::{Node, Stage, check_types};
use super::window::{Window, WindowSpec, window_type};
use crate::error::Result;
use crate::model::Nanos;
use message::{readable, readable_at};

/// A job, ready to run.
pub struct Job {
    pub file: JobFile,
    /// Hash of everything that decides the job's results, part of its signals' ids.
    pub hash: String,
    /// Stages in topological order; the last one writes to the sink.
    pub nodes: Vec<Node>,
    pub streams: Vec<Stream>,
    /// Widest window of the job, 0 for none.
    pub width: Nanos,
    pub lateness: Option<Nanos>,
}

impl Job {
    /// Time from one window of a series to the next at least, if they are of a fixed width: in the
    /// windows that signals are about, of which `due` leaves out what overlaps.
    pub fn pace(&self) -> Option<Nanos> {
        let is_due = |node: &Node| match &node.stage {
            Stage::Over(over) => over.spec().calls.iter().any(|c| c.function.name == "due"),
            _ => false,
        };
        let apart = self.nodes.iter().any(is_due);
        let windows = self.nodes.iter().rev().filter_map(|node| match &node.stage {
            Stage::Window(window) => Some(window.spec()),
            _ => None,
        });
        { windows }.next().map(|spec| if apart { spec.width } else { spec.slide })
    }
}

/// Plans a parsed job.
pub async fn plan(file: JobFile) -> Result<Job> {
    check::declared(&file)?;
    let state = session_state()?;
    let (hash, planner) = stages(&file, &state).await.map_err(|e| readable(&file, e))?;
    let Planner { nodes, width, streams, .. } = planner;
    check_types(&nodes).map_err(|e| readable(&file, e))?;
    let lateness = file.lateness();
    Ok(Job { hash, nodes, streams, width, lateness, file })
}

/// The job's hash and its stages.
async fn stages<'a>(file: &'a JobFile, state: &'a SessionState) -> Result<(String, Planner<'a>)> {
    let statement = DfStatement::Statement(Box::new(file.insert.clone()));
    let logical = state.statement_to_plan(statement).await?;
    check::functions(file, &logical)?;
    check::columns(file, &logical)?;
    check::sums(file, &logical)?;
    let analyzer = state.analyzer();
    let logical = analyzer.execute_and_check(logical, state.config_options(), |_, _| {})?;
    let sink = check::sink(file, &logical);
    let logical = optimizer().optimize(logical, state, |_, _| {})?;
    check::constants(file, &logical, state)?;
    let LogicalPlan::Dml(insert) = &logical else {
        return Err(file.refuse(
            "insert",
            "not an INSERT INTO … SELECT",
            "write INSERT INTO signals SELECT …",
        ));
    };
    let mut parts = vec![file.name.clone(), logical.display_indent().to_string()];
    parts.extend(file.lateness().map(interval::format));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let hash = crate::model::stable_id(&parts);
    let mut planner = Planner { file, state, nodes: Vec::new(), width: 0, streams: Vec::new() };
    planner.node(&insert.input).await?;
    // After what is wrong further inside.
    sink?;
    Ok((hash, planner))
}

/// Rules that keep the shape of a plan. Equalities of a JOIN … ON become keys to look rows up by.
fn optimizer() -> Optimizer {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> =
        vec![Arc::new(SimplifyExpressions::new()), Arc::new(ExtractEquijoinPredicate::new())];
    Optimizer::with_rules(rules)
}

/// Stages are planned without parallelism of their own; the driver runs jobs side by side.
fn session_state() -> Result<SessionState> {
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    config.options_mut().sql_parser.collect_spans = true;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(finite::runtime()?)
        .with_default_features();
    let context = SessionContext::new_with_state(state.build());
    for stream in Stream::ALL {
        let table = datafusion::datasource::empty::EmptyTable::new(stream.schema());
        let _replaced = context.register_table(stream.name(), Arc::new(table));
    }
    let sink = datafusion::datasource::empty::EmptyTable::new(signals_schema());
    let _replaced = context.register_table(SINK, Arc::new(sink));
    for function in window_functions() {
        context.register_udf(function.as_ref().clone());
    }
    faultline_udfs::register(&context);
    // In the place of functions whose answer depends on how rows are cut into batches, or on
    // whether a checkpoint was taken.
    let exact = faultline_udfs::approx_percentile::functions();
    for function in exact.chain(faultline_udfs::moments::functions()) {
        context.register_udaf(function);
    }
    context.deregister_udaf("approx_percentile_cont_with_weight");
    Ok(context.state())
}

/// Message and remedy where a step needs a window of which an outer join leaves nothing.
const MAYBE_NULL: (&str, &str) =
    ("a window that may be null", "use the window of the left side of the join");

/// What is known about the rows that a planned stage emits.
#[derive(Clone, Copy)]
struct Shape {
    node: usize,
    /// What each row stands for, where rows stand for closed windows.
    window: Option<WindowKind>,
    /// Dictionary columns are interned together, and stable until they are renumbered.
    interned: bool,
}

struct Planner<'a> {
    file: &'a JobFile,
    state: &'a SessionState,
    nodes: Vec<Node>,
    width: Nanos,
    streams: Vec<Stream>,
}

impl Planner<'_> {
    fn push(&mut self, stage: Stage, inputs: &[usize]) -> usize {
        let at = self.nodes.len();
        for (port, input) in inputs.iter().enumerate() {
            self.nodes[*input].next = Some((at, port));
        }
        self.nodes.push(Node::new(stage, inputs.len()));
        at
    }

    async fn node(&mut self, plan: &LogicalPlan) -> Result<Shape> {
        // Boxed, because plans nest.
        match plan {
            LogicalPlan::TableScan(scan) => self.source(scan.table_name.table()),
            LogicalPlan::SubqueryAlias(alias) => Box::pin(self.node(&alias.input)).await,
            LogicalPlan::Projection(p) => {
                let input = Box::pin(self.node(&p.input)).await?;
                let exprs = self.physical(&p.expr, p.input.schema())?;
                let output = Arc::clone(plan.schema().inner());
                // A dictionary that an expression makes is of one batch only.
                let computed = exprs
                    .iter()
                    .zip(output.fields())
                    .any(|(expr, field)| *field.data_type() == interned() && !is_column(expr));
                let interned = input.interned && !computed;
                let stage = Stage::Project { exprs, output };
                Ok(Shape { node: self.push(stage, &[input.node]), interned, ..input })
            }
            LogicalPlan::Filter(f) => {
                let input = Box::pin(self.node(&f.input)).await?;
                let predicate =
                    self.state.create_physical_expr(f.predicate.clone(), f.input.schema())?;
                Ok(Shape { node: self.push(Stage::Filter { predicate }, &[input.node]), ..input })
            }
            LogicalPlan::Aggregate(a) => Box::pin(self.aggregate(plan, a)).await,
            LogicalPlan::Window(w) => Box::pin(self.window(plan, w)).await,
            LogicalPlan::Join(j) => Box::pin(self.join(plan, j)).await,
            LogicalPlan::Sort(_) => {
                Err(self.file.refuse("order", "ORDER BY on a stream", "rank inside a window"))
            }
            LogicalPlan::Limit(_) => {
                Err(self.file.refuse("limit", "LIMIT on a stream", "rank inside a window"))
            }
            other => Err(self.file.refuse(
                "select",
                format!("{} has no meaning on a stream", other.display()),
                "use SELECT with WHERE, GROUP BY a window, JOIN on a window, and OVER",
            )),
        }
    }

    fn source(&mut self, table: &str) -> Result<Shape> {
        let Some(stream) = Stream::parse(table) else {
            let remedy = "read metrics, logs, spans or changes";
            return Err(self.file.refuse(
                table,
                format!("{table} is not a stream that jobs read"),
                remedy,
            ));
        };
        if !self.streams.contains(&stream) {
            self.streams.push(stream);
        }
        let node = self.push(Stage::Source(stream), &[]);
        Ok(Shape { node, window: None, interned: true })
    }

    async fn aggregate(&mut self, plan: &LogicalPlan, a: &AggregateNode) -> Result<Shape> {
        let input = self.node(&a.input).await?;
        let windows: Vec<usize> =
            (0..a.group_expr.len()).filter(|i| window_of(&a.group_expr[*i]).is_some()).collect();
        if input.window.is_some() {
            if !windows.is_empty() {
                return Err(self.file.refuse(
                    "tumble",
                    "a window over rows that already stand for windows",
                    "group by the window that they have",
                ));
            }
            return self.finite(plan, &[input]).await;
        }
        let [window_at] = windows.as_slice() else {
            let message = match windows.len() {
                0 => "an aggregate without a window never ends",
                _ => "more than one window in a GROUP BY",
            };
            let remedy =
                "add one window to GROUP BY, such as tumble(interval '1 minute') AS window";
            return Err(self.file.refuse("group", message, remedy));
        };
        let kind = match window_of(&a.group_expr[*window_at]) {
            Some(Ok(kind)) => kind,
            Some(Err(bad)) => return Err(self.file.refuse(bad.function, bad.message, bad.remedy)),
            None => unreachable!("the index was found by the same test"),
        };
        let mut exprs = a.group_expr.clone();
        exprs.remove(*window_at);
        let schema = a.input.schema();
        let keys = self.physical(&exprs, schema)?;
        let key_types = types(&keys, schema)?;
        let aggregates = self.aggregates(&a.aggr_expr, schema)?;
        let output = Arc::clone(plan.schema().inner());
        let interned = input.interned && all_interned(&keys, &key_types);
        let (stage, width) = match kind {
            WindowKind::Fixed { width, slide } => {
                let window_at = *window_at;
                let spec = WindowSpec {
                    width,
                    slide,
                    keys,
                    key_types,
                    interned,
                    window_at,
                    aggregates,
                    output,
                };
                (Stage::Window(Window::new(spec)), width)
            }
            WindowKind::Session { gap } => {
                let window_at = *window_at;
                let spec = SessionSpec { gap, keys, key_types, window_at, aggregates, output };
                (Stage::Session(Session::new(spec)?), gap)
            }
        };
        self.width = self.width.max(width);
        // Text that an aggregate picks, as first_value does, comes in a dictionary of one answer.
        let answers = &plan.schema().fields()[a.group_expr.len()..];
        let picked = answers.iter().any(|f| *f.data_type() == self::interned());
        let interned = interned && !picked && matches!(kind, WindowKind::Fixed { .. });
        Ok(Shape { node: self.push(stage, &[input.node]), window: Some(kind), interned })
    }

    fn aggregates(&self, exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Aggregate>> {
        let props = self.state.execution_props();
        let context = PhysicalPlanningContext::default();
        let one = |e: &Expr| {
            let lowered =
                LoweredAggregateBuilder::new(e, schema, schema.as_arrow(), props, &context)
                    .build()?;
            let LoweredAggregate { aggregate: function, filter, order_bys } = lowered;
            if !order_bys.is_empty() {
                let remedy = "pass window or timestamps as an argument to a function that sorts";
                return Err(self.file.refuse("order", "ORDER BY inside an aggregate", remedy));
            }
            let name = function.fun().name();
            check_constants(&function).map_err(|e| readable_at(self.file, name, e))?;
            Ok(Aggregate { args: function.expressions(), function, filter })
        };
        exprs.iter().map(one).collect()
    }

    async fn finite(&mut self, plan: &LogicalPlan, inputs: &[Shape]) -> Result<Shape> {
        let column = |schema: &DFSchema| {
            let is_window = |f: &&Arc<Field>| *f.data_type() == window_type();
            let sure = |f: &Arc<Field>| is_window(&f) && !f.is_nullable();
            schema.fields().iter().position(sure).ok_or_else(|| {
                let (message, remedy) = match schema.fields().iter().any(|f| is_window(&f)) {
                    true => MAYBE_NULL,
                    false => (
                        "the window is lost before a step that needs it",
                        "keep the window column in every SELECT up to this step",
                    ),
                };
                self.file.refuse("select", message, remedy)
            })
        };
        let window_at =
            plan.inputs().iter().map(|i| column(i.schema())).collect::<Result<Vec<_>>>()?;
        let finite = Finite::plan(plan, window_at, column(plan.schema())?, self.state).await?;
        let nodes: Vec<usize> = inputs.iter().map(|s| s.node).collect();
        let node = self.push(Stage::Finite(finite), &nodes);
        Ok(Shape { node, window: inputs[0].window, interned: false })
    }

    fn physical(&self, exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs.iter().map(|e| Ok(self.state.create_physical_expr(e.clone(), schema)?)).collect()
    }
}

fn types(exprs: &[Arc<dyn PhysicalExpr>], schema: &DFSchema) -> Result<Vec<DataType>> {
    exprs.iter().map(|e| Ok(e.data_type(schema.as_arrow())?)).collect()
}

/// True if every key is a plain column of interned text.
fn all_interned(keys: &[Arc<dyn PhysicalExpr>], types: &[DataType]) -> bool {
    !keys.is_empty() && keys.iter().all(is_column) && types.iter().all(|t| *t == interned())
}

fn is_column(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let any: &dyn std::any::Any = expr.as_ref();
    any.is::<datafusion::physical_expr::expressions::Column>()
}
