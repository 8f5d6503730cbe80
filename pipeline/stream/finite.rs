//! Joins, ranks and re-aggregation inside closed windows, each run as a finite DataFusion plan.
//!
//! Rows of a window are kept until the watermark has passed its end; then the planned node runs
//! over exactly these rows. The plan is made once and reset between windows.
//!
//! DataFusion sorts without keeping rows that are equal in order, so what it makes of them depends
//! on all the rows that it is given. Rows of one window are always given in the same order; where
//! windows are run together, rows are sorted here, and DataFusion is told so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result as DfResult};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, SlidingAggregateWindowExpr};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::prelude::Expr;
use futures::StreamExt;

use super::frame::check_constants;
use super::rows::{Rows, bytes};
use super::sift::{Fault, Problem};
use super::window::conform;
use crate::error::{Error, Result};
use crate::model::Nanos;

/// Windows that are run together hold about this many rows at most.
const ROWS_TOGETHER: usize = 8192;

/// Memory of one job for what it makes of a closed window.
const MEMORY_MIB_MAX: usize = 512;

/// Where the plans of one job run: in bounded memory and without files, which would change the
/// order of equal rows.
pub fn runtime() -> Result<Arc<RuntimeEnv>> {
    let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    Ok(RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_MIB_MAX << 20, 1.0)
        .with_disk_manager_builder(no_files)
        .build_arc()?)
}

/// Rows of the windows that are being run, handed to the plan.
#[derive(Default)]
struct Slot(Mutex<Vec<RecordBatch>>);

impl Slot {
    fn set(&self, batches: Vec<RecordBatch>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = batches;
    }

    fn get(&self) -> Vec<RecordBatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A plan over the closed windows of its inputs.
pub struct Finite {
    plan: Arc<dyn ExecutionPlan>,
    slots: Vec<Arc<Slot>>,
    context: Arc<TaskContext>,
    /// Column of the window in each input, and in the output.
    window_at: Vec<usize>,
    output_window_at: usize,
    output: SchemaRef,
    /// Order of the rows that the plan is given, where it keeps windows apart by itself: many small
    /// ones then cost no more than one.
    together: Option<LexOrdering>,
    /// Rows waiting, by (end, start) of their window and by input.
    waiting: BTreeMap<(Nanos, Nanos), Vec<Vec<RecordBatch>>>,
}

impl Finite {
    /// Plans `node`, whose inputs carry their window in the columns `window_at`.
    pub async fn plan(
        node: &LogicalPlan,
        window_at: Vec<usize>,
        output_window_at: usize,
        state: &SessionState,
    ) -> Result<Self> {
        let together = partitions(node).map(|by| ordering(by, node, state)).transpose()?.flatten();
        let mut slots = Vec::new();
        let mut inputs = Vec::new();
        for input in node.inputs() {
            let slot = Arc::new(Slot::default());
            slots.push(Arc::clone(&slot));
            let schema = Arc::clone(input.schema());
            let node = Input { id: slots.len(), schema, slot, ordering: together.clone() };
            inputs.push(LogicalPlan::Extension(Extension { node: Arc::new(node) }));
        }
        let logical = node.with_new_exprs(node.expressions(), inputs)?;
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(InputPlanner)]);
        let plan = planner.create_physical_plan(&logical, state).await?;
        check_accumulators(&plan)?;
        let together = together.filter(|_| !sorts(&plan));
        let output = Arc::clone(node.schema().inner());
        let context = state.task_ctx();
        Ok(Self {
            plan,
            slots,
            context,
            window_at,
            output_window_at,
            output,
            together,
            waiting: BTreeMap::new(),
        })
    }

    pub fn output(&self) -> &SchemaRef {
        &self.output
    }

    pub fn inputs(&self) -> usize {
        self.slots.len()
    }

    /// Keeps rows until their window closes.
    pub fn update(&mut self, input: usize, rows: &Rows) -> Result<()> {
        let window = rows.batch.column(self.window_at[input]).as_struct();
        let side = |i: usize| window.column(i).as_primitive::<TimestampNanosecondType>().values();
        let (starts, ends) = (side(0), side(1));
        let mut members: BTreeMap<(Nanos, Nanos), Vec<u32>> = BTreeMap::new();
        for row in 0..rows.batch.num_rows() {
            members.entry((ends[row], starts[row])).or_default().push(row as u32);
        }
        let whole = members.len() == 1;
        for (window, rows_of_window) in members {
            let batch = compact(&match whole {
                true => rows.batch.clone(),
                false => pick(&rows.batch, rows_of_window)?,
            })?;
            let inputs = self.slots.len();
            let entry = self.waiting.entry(window).or_insert_with(|| vec![Vec::new(); inputs]);
            entry[input].push(batch);
        }
        Ok(())
    }

    /// Runs the plan over every window that ends at or before the watermark, in order. A window
    /// that it cannot work with becomes a fault.
    pub async fn advance(
        &mut self,
        watermark: Nanos,
        faults: &mut Vec<Fault>,
    ) -> Result<Vec<Rows>> {
        let mut out = Vec::new();
        loop {
            let windows = self.closed(watermark);
            if windows.is_empty() {
                return Ok(out);
            }
            match self.answer(&windows).await {
                Err(error) if Problem::of(&error).is_some() => {}
                done => {
                    out.extend(done?);
                    continue;
                }
            }
            for window in &windows {
                match self.answer(std::slice::from_ref(window)).await {
                    Ok(rows) => out.extend(rows),
                    Err(error) => faults.push(fault(error, window)?),
                }
            }
        }
    }

    /// What the plan makes of these windows, if it makes anything.
    async fn answer(&self, windows: &[Vec<Vec<RecordBatch>>]) -> Result<Option<Rows>> {
        for (input, slot) in self.slots.iter().enumerate() {
            let batches: Vec<_> = windows.iter().flat_map(|w| &w[input]).cloned().collect();
            slot.set(match &self.together {
                Some(ordering) => vec![sorted(ordering, &batches)?],
                None => batches,
            });
        }
        let batches = self.run().await?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(None);
        }
        let batch = concat_batches(&batches[0].schema(), &batches)?;
        let batch = conform(&self.output, batch.columns().to_vec(), rows)?;
        self.by_window(batch).map(Some)
    }

    /// All that the plan makes of the rows in the slots.
    async fn run(&self) -> Result<Vec<RecordBatch>> {
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let mut rows = execute_stream(plan, Arc::clone(&self.context))?;
        let answers = MemoryConsumer::new("answers").register(self.context.memory_pool());
        let mut out = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            // Once by itself, and once as part of all that are put together.
            answers.try_grow(2 * bytes(&batch))?;
            out.push(batch);
        }
        Ok(out)
    }

    /// Takes the next closed windows: rows by window and input.
    fn closed(&mut self, watermark: Nanos) -> Vec<Vec<Vec<RecordBatch>>> {
        let mut windows = Vec::new();
        let mut rows = 0;
        while let Some(entry) = self.waiting.first_entry() {
            let enough = if self.together.is_some() { ROWS_TOGETHER } else { 1 };
            if entry.key().0 > watermark || rows >= enough {
                break;
            }
            let inputs = entry.remove();
            rows += inputs.iter().flatten().map(RecordBatch::num_rows).sum::<usize>();
            windows.push(inputs);
        }
        windows
    }

    /// Puts rows into the order of their windows.
    fn by_window(&self, batch: RecordBatch) -> Result<Rows> {
        let window = batch.column(self.output_window_at).as_struct();
        let side = |i: usize| window.column(i).as_primitive::<TimestampNanosecondType>().values();
        let (starts, ends) = (side(0).clone(), side(1).clone());
        let key = |row: u32| (ends[row as usize], starts[row as usize]);
        let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
        if order.is_sorted_by_key(|row| key(*row)) {
            return Ok(Rows { ts: starts, batch });
        }
        order.sort_by_key(|row| key(*row));
        let ts = order.iter().map(|row| starts[*row as usize]).collect();
        Ok(Rows { ts, batch: pick(&batch, order)? })
    }

    /// Waiting rows by input; windows are read back from the rows themselves.
    pub fn save(&self, input: usize) -> Vec<RecordBatch> {
        self.waiting.values().flat_map(|inputs| inputs[input].iter().cloned()).collect()
    }

    pub fn restore(&mut self, input: usize, parts: &[RecordBatch]) -> Result<()> {
        for batch in parts {
            let ts = ScalarBuffer::from(vec![0; batch.num_rows()]);
            self.update(input, &Rows { ts, batch: batch.clone() })?;
        }
        Ok(())
    }

    /// The planned node, for EXPLAIN.
    pub fn display(&self) -> String {
        let text =
            datafusion::physical_plan::displayable(self.plan.as_ref()).one_line().to_string();
        text.lines().next().unwrap_or_default().trim().to_owned()
    }
}

/// A closed window that the plan cannot work with.
fn fault(error: Error, window: &[Vec<RecordBatch>]) -> Result<Fault> {
    let Some(problem) = Problem::of(&error) else { return Err(error) };
    let batches = || window.iter().flatten();
    let rows = batches().map(RecordBatch::num_rows).sum();
    let Some(first) = batches().find(|batch| batch.num_rows() > 0) else { return Err(error) };
    Ok(Fault { problem, row: first.slice(0, 1), rows })
}

/// The partitions of functions over whole partitions, each of which has the window in its key, as
/// the planner demands: no row of one window can change what another gets.
fn partitions(node: &LogicalPlan) -> Option<&[Expr]> {
    let LogicalPlan::Window(window) = node else { return None };
    let mut partitions = window.window_expr.iter().map(|e| match e {
        Expr::WindowFunction(call) if call.params.order_by.is_empty() => {
            Some(call.params.partition_by.as_slice())
        }
        _ => None,
    });
    let first = partitions.next()??;
    partitions.all(|p| p == Some(first)).then_some(first)
}

/// Ascending by these keys over the rows of the node's input; none without keys.
fn ordering(
    keys: &[Expr],
    node: &LogicalPlan,
    state: &SessionState,
) -> Result<Option<LexOrdering>> {
    let Some(input) = node.inputs().first().copied() else { return Ok(None) };
    let physical = |key: &Expr| state.create_physical_expr(key.clone(), input.schema());
    let keys = keys.iter().map(physical).collect::<DfResult<Vec<_>>>()?;
    Ok(LexOrdering::new(keys.into_iter().map(PhysicalSortExpr::new_default)))
}

/// All rows in one batch, in this order; rows that are equal in it stay as they are.
fn sorted(ordering: &LexOrdering, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let batch = concat_batches(&batches[0].schema(), batches)?;
    let rows = batch.num_rows();
    let array = |e: &PhysicalSortExpr| Ok(e.expr.evaluate(&batch)?.into_array(rows)?);
    let keys: Vec<ArrayRef> = ordering.iter().map(array).collect::<Result<_>>()?;
    let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(&keys)?;
    let mut order: Vec<u32> = (0..rows as u32).collect();
    let key = |row: u32| keys.row(row as usize);
    if order.is_sorted_by(|a, b| key(*a) <= key(*b)) {
        return Ok(batch);
    }
    order.sort_by(|a, b| key(*a).cmp(&key(*b)));
    pick(&batch, order)
}

/// True if the plan sorts, which does not keep rows that are equal in order.
fn sorts(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_sort = |p: &Arc<dyn ExecutionPlan>| as_node::<SortExec>(p).is_some();
    plan.exists(|p| Ok(is_sort(p))).unwrap_or(true)
}

/// Looks at the constant arguments of the plan's aggregates, before it first runs.
fn check_accumulators(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let mut functions = Vec::new();
    plan.apply(|p| {
        functions.extend(as_node::<AggregateExec>(p).iter().flat_map(|p| p.aggr_expr()).cloned());
        let bounded = as_node::<BoundedWindowAggExec>(p).map(BoundedWindowAggExec::window_expr);
        let calls = as_node::<WindowAggExec>(p).map(WindowAggExec::window_expr).or(bounded);
        for call in calls.unwrap_or_default() {
            let call = call.as_any();
            let plain = call.downcast_ref().map(PlainAggregateWindowExpr::get_aggregate_expr);
            let sliding = call.downcast_ref().map(SlidingAggregateWindowExpr::get_aggregate_expr);
            functions.extend(plain.or(sliding).cloned().map(Arc::new));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    functions.iter().try_for_each(|f| check_constants(f))
}

/// The plan's node, if it is of this type.
fn as_node<T: 'static>(plan: &Arc<dyn ExecutionPlan>) -> Option<&T> {
    let any: &dyn std::any::Any = plan.as_ref();
    any.downcast_ref()
}

/// Dictionaries with no more values than there are rows. Those of a registry hold every series, and
/// DataFusion puts the dictionaries of batches that it joins one behind the other.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| {
        let DataType::Dictionary(_, values) = column.data_type() else {
            return Ok(Arc::clone(column));
        };
        let dictionary = column.as_any_dictionary();
        if dictionary.values().len() <= dictionary.len() {
            return Ok(Arc::clone(column));
        }
        Ok(cast(&cast(column, values)?, column.data_type())?)
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect::<Result<Vec<_>>>()?)?)
}

fn pick(batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
    let rows = UInt32Array::from(rows);
    let columns: Vec<ArrayRef> =
        batch.columns().iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// Logical leaf that stands for the rows of one input inside one window.
#[derive(Clone)]
struct Input {
    id: usize,
    schema: DFSchemaRef,
    slot: Arc<Slot>,
    /// Order in which the rows are, if in any.
    ordering: Option<LexOrdering>,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClosedWindow: input={}", self.id)
    }
}

impl PartialEq for Input {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slot, &other.slot)
    }
}

impl Eq for Input {}

impl PartialOrd for Input {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.id.partial_cmp(&other.id)
    }
}

impl std::hash::Hash for Input {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for Input {
    fn name(&self) -> &str {
        "ClosedWindow"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{self:?}")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> DfResult<Self> {
        Ok(self.clone())
    }
}

struct InputPlanner;

#[async_trait]
impl ExtensionPlanner for InputPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        _: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(input) = node.as_any().downcast_ref::<Input>() else { return Ok(None) };
        let schema = Arc::clone(input.schema.inner());
        let rows =
            Arc::new(ClosedRows { schema: Arc::clone(&schema), slot: Arc::clone(&input.slot) });
        let ordering = input.ordering.clone();
        let exec = StreamingTableExec::try_new(schema, vec![rows], None, ordering, false, None)?;
        Ok(Some(Arc::new(exec)))
    }
}

#[derive(Clone)]
struct ClosedRows {
    schema: SchemaRef,
    slot: Arc<Slot>,
}

impl fmt::Debug for ClosedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClosedRows")
    }
}

impl PartitionStream for ClosedRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = futures::stream::iter(self.slot.get().into_iter().map(Ok));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
