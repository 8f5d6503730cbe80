//! From a job's SQL to the stages that run it.
//!
//! DataFusion parses, resolves and types the statement; this file turns the logical plan into a
//! small graph of streaming stages, or says why it has no meaning on a stream.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Aggregate as AggregateNode, Expr, LogicalPlan, Window as WindowNode, WindowFunctionDefinition,
};
use datafusion::optimizer::Optimizer;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::physical_expr::aggregate::{LoweredAggregate, LoweredAggregateBuilder};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use faultline_udfs::stateful::Function;

use super::dialect::JobFile;
use super::finite::Finite;
use super::frame::Aggregate;
use super::functions::{WindowKind, window_functions, window_of};
use super::over::{Over, OverSpec, Stage as Call};
use super::schema::{Stream, signals_schema};
use super::session::{Session, SessionSpec};
use super::stage::{Node, Stage};
use super::window::{Window, WindowSpec, window_type};
use crate::error::{Error, Result};
use crate::model::Nanos;

/// What a job writes to.
pub const SINK: &str = "signals";

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

/// Plans a parsed job.
pub async fn plan(file: JobFile) -> Result<Job> {
    check_declared(&file)?;
    let state = session_state();
    let statement = DfStatement::Statement(Box::new(file.insert.clone()));
    let logical =
        state.statement_to_plan(statement).await.map_err(|e| planning_error(&file, &e))?;
    let logical = state
        .analyzer()
        .execute_and_check(logical, state.config_options(), |_, _| {})
        .map_err(|e| planning_error(&file, &e))?;
    let optimizer = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
    let logical = optimizer.optimize(logical, &state, |_, _| {})?;
    let LogicalPlan::Dml(insert) = &logical else {
        return Err(file.refuse(
            "insert",
            "not an INSERT INTO … SELECT",
            "write INSERT INTO signals SELECT …",
        ));
    };
    let hash = crate::model::stable_id(&[&file.name, &logical.display_indent().to_string()]);
    let mut planner =
        Planner { file: &file, state: &state, nodes: Vec::new(), width: 0, streams: Vec::new() };
    planner.node(&insert.input).await?;
    let Planner { nodes, width, streams, .. } = planner;
    let lateness = file.declared.iter().filter_map(|d| d.lateness).max();
    Ok(Job { hash, nodes, streams, width, lateness, file })
}

/// Stages are planned without parallelism of their own; the driver runs jobs side by side.
fn session_state() -> SessionState {
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    config.options_mut().sql_parser.collect_spans = true;
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    let context = SessionContext::new_with_state(state);
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
    context.state()
}

fn check_declared(file: &JobFile) -> Result<()> {
    for declared in &file.declared {
        let schema = match Stream::parse(&declared.table) {
            Some(stream) => stream.schema(),
            None if declared.table == SINK => signals_schema(),
            None => {
                let span =
                    datafusion::sql::sqlparser::tokenizer::Span::new(declared.at, declared.at);
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

/// DataFusion's error with the place it knows, or the place of the first name that it quotes.
fn planning_error(file: &JobFile, error: &datafusion::error::DataFusionError) -> Error {
    let remedy = "see sql/detect for examples and DESIGN for the columns of each stream";
    let text = error.find_root().strip_backtrace();
    let message = text.lines().next().unwrap_or_default();
    let message = ["Error during planning: ", "Schema error: ", "Diagnostic: "]
        .iter()
        .fold(message, |m, prefix| m.strip_prefix(prefix).unwrap_or(m));
    if let Some(span) = error.diagnostic().and_then(|d| d.span) {
        let at = |l: datafusion::common::Location| {
            datafusion::sql::sqlparser::tokenizer::Location::new(l.line, l.column)
        };
        let span = datafusion::sql::sqlparser::tokenizer::Span::new(at(span.start), at(span.end));
        return file.refuse_at(span, message, remedy);
    }
    let quoted = message.split(['\'', '"', '`']).nth(1).unwrap_or_default();
    let word = quoted.rsplit('.').next().unwrap_or_default();
    file.refuse(word, message, remedy)
}

/// What is known about the rows that a planned stage emits.
#[derive(Clone, Copy)]
struct Shape {
    node: usize,
    /// Rows stand for closed windows.
    windowed: bool,
    /// Dictionary columns are interned together and stable.
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
                let stage = Stage::Project { exprs, output: Arc::clone(plan.schema().inner()) };
                Ok(Shape { node: self.push(stage, &[input.node]), ..input })
            }
            LogicalPlan::Filter(f) => {
                let input = Box::pin(self.node(&f.input)).await?;
                let predicate =
                    self.state.create_physical_expr(f.predicate.clone(), f.input.schema())?;
                Ok(Shape { node: self.push(Stage::Filter { predicate }, &[input.node]), ..input })
            }
            LogicalPlan::Aggregate(a) => Box::pin(self.aggregate(plan, a)).await,
            LogicalPlan::Window(w) => Box::pin(self.window(plan, w)).await,
            LogicalPlan::Join(j) => {
                let left = Box::pin(self.node(&j.left)).await?;
                let right = Box::pin(self.node(&j.right)).await?;
                if !left.windowed || !right.windowed {
                    return Err(self.file.refuse(
                        "join",
                        "a join of rows that have no window never ends",
                        "aggregate both sides by the same window first and join on window",
                    ));
                }
                self.finite(plan, &[left, right]).await
            }
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
        Ok(Shape { node, windowed: false, interned: true })
    }

    async fn aggregate(&mut self, plan: &LogicalPlan, a: &AggregateNode) -> Result<Shape> {
        let input = self.node(&a.input).await?;
        let windows: Vec<usize> =
            (0..a.group_expr.len()).filter(|i| window_of(&a.group_expr[*i]).is_some()).collect();
        if input.windowed {
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
                (Stage::Session(Session::new(spec)), gap)
            }
        };
        self.width = self.width.max(width);
        let interned = interned && matches!(kind, WindowKind::Fixed { .. });
        Ok(Shape { node: self.push(stage, &[input.node]), windowed: true, interned })
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
            Ok(Aggregate { args: function.expressions(), function, filter })
        };
        exprs.iter().map(one).collect()
    }

    async fn window(&mut self, plan: &LogicalPlan, w: &WindowNode) -> Result<Shape> {
        let input = self.node(&w.input).await?;
        let calls: Vec<&WindowFunction> = w
            .window_expr
            .iter()
            .filter_map(|e| match e {
                Expr::WindowFunction(f) => Some(f.as_ref()),
                Expr::Alias(a) => match a.expr.as_ref() {
                    Expr::WindowFunction(f) => Some(f.as_ref()),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        let stateful: Vec<Option<Function>> = calls.iter().map(|c| stateful(c)).collect();
        if stateful.iter().all(Option::is_none) {
            self.check_ranking(&calls, input, w.input.schema())?;
            return self.finite(plan, &[input]).await;
        }
        let same = calls.iter().all(|c| {
            c.params.partition_by == calls[0].params.partition_by
                && c.params.order_by == calls[0].params.order_by
        });
        if !same || stateful.iter().any(Option::is_none) {
            return Err(self.file.refuse(
                "over",
                "different OVER clauses in one SELECT",
                "nest them: one SELECT per OVER clause",
            ));
        }
        self.over(plan, w, input, &calls, stateful.into_iter().flatten().collect())
    }

    fn over(
        &mut self,
        plan: &LogicalPlan,
        w: &WindowNode,
        input: Shape,
        calls: &[&WindowFunction],
        functions: Vec<Function>,
    ) -> Result<Shape> {
        let schema = w.input.schema();
        let params = &calls[0].params;
        let window = self.order_column(params.order_by.as_slice(), schema, input)?;
        let keys = self.physical(&params.partition_by, schema)?;
        let key_types = types(&keys, schema)?;
        if key_types.iter().any(|t| *t == window_type()) {
            return Err(self.file.refuse(
                "partition",
                "a stateful function that forgets at every window",
                "partition by the series and order by the window",
            ));
        }
        let interned = input.interned && all_interned(&keys, &key_types);
        let mut specs = Vec::new();
        for (call, function) in calls.iter().zip(functions) {
            specs.push(Call { function, args: self.physical(&call.params.args, schema)? });
        }
        let output = Arc::clone(plan.schema().inner());
        let spec = OverSpec { calls: specs, keys, key_types, interned, window, output };
        let node = self.push(Stage::Over(Over::new(spec)?), &[input.node]);
        Ok(Shape { node, ..input })
    }

    /// The window that a stateful function is ordered by, or none where rows are raw.
    fn order_column(
        &self,
        order: &[datafusion::logical_expr::SortExpr],
        schema: &DFSchema,
        input: Shape,
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let remedy = "write OVER (PARTITION BY … ORDER BY window), or ORDER BY ts on raw rows";
        let [by] = order else {
            return Err(self.file.refuse(
                "over",
                "a stateful function needs exactly one ORDER BY column",
                remedy,
            ));
        };
        if !by.asc {
            return Err(self.file.refuse("desc", "a stream runs forward in time only", remedy));
        }
        let expr = self.state.create_physical_expr(by.expr.clone(), schema)?;
        let data_type = expr.data_type(schema.as_arrow())?;
        if data_type == window_type() {
            return Ok(Some(expr));
        }
        let is_ts = matches!(&by.expr, Expr::Column(c) if c.name == "ts");
        if is_ts && !input.windowed {
            return Ok(None);
        }
        Err(self.file.refuse(
            "over",
            "a stateful function ordered by something other than its window",
            remedy,
        ))
    }

    fn check_ranking(
        &self,
        calls: &[&WindowFunction],
        input: Shape,
        schema: &DFSchema,
    ) -> Result<()> {
        let remedy =
            "aggregate by a window first, then write OVER (PARTITION BY window ORDER BY …)";
        if !input.windowed {
            return Err(self.file.refuse("over", "OVER on rows that have no window", remedy));
        }
        for call in calls {
            let by_window = call.params.partition_by.iter().any(|e| {
                use datafusion::logical_expr::ExprSchemable;
                e.get_type(schema).is_ok_and(|t| t == window_type())
            });
            if !by_window {
                return Err(self.file.refuse(
                    "over",
                    "OVER without the window in PARTITION BY",
                    remedy,
                ));
            }
        }
        Ok(())
    }

    async fn finite(&mut self, plan: &LogicalPlan, inputs: &[Shape]) -> Result<Shape> {
        let column = |schema: &DFSchema| {
            schema.fields().iter().position(|f| *f.data_type() == window_type()).ok_or_else(|| {
                let remedy = "keep the window column in every SELECT up to this step";
                self.file.refuse("select", "the window is lost before a step that needs it", remedy)
            })
        };
        let window_at =
            plan.inputs().iter().map(|i| column(i.schema())).collect::<Result<Vec<_>>>()?;
        let finite = Finite::plan(plan, window_at, column(plan.schema())?, self.state).await?;
        let nodes: Vec<usize> = inputs.iter().map(|s| s.node).collect();
        let node = self.push(Stage::Finite(finite), &nodes);
        Ok(Shape { node, windowed: true, interned: false })
    }

    fn physical(&self, exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs.iter().map(|e| Ok(self.state.create_physical_expr(e.clone(), schema)?)).collect()
    }
}

fn stateful(call: &WindowFunction) -> Option<Function> {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(udwf) => Function::behind(udwf),
        WindowFunctionDefinition::AggregateUDF(_) => None,
    }
}

fn types(exprs: &[Arc<dyn PhysicalExpr>], schema: &DFSchema) -> Result<Vec<DataType>> {
    exprs.iter().map(|e| Ok(e.data_type(schema.as_arrow())?)).collect()
}

/// True if every key is a plain column of interned text.
fn all_interned(keys: &[Arc<dyn PhysicalExpr>], types: &[DataType]) -> bool {
    let column = |k: &Arc<dyn PhysicalExpr>| {
        let any: &dyn std::any::Any = k.as_ref();
        any.is::<datafusion::physical_expr::expressions::Column>()
    };
    !keys.is_empty()
        && keys.iter().all(column)
        && types.iter().all(|t| *t == super::schema::interned())
}
