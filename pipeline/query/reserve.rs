//! The memory of window functions that see all of their rows before they answer. DataFusion keeps
//! these rows and counts none of them, so they are counted as they pass.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::StreamExt;

use crate::stream::rows::bytes;

/// Rows are held as they came and, to be looked at, once more in one piece.
const COPIES: usize = 2;

/// Puts a [`Reserve`] under every such function.
#[derive(Debug)]
pub struct ReserveWindows;

impl PhysicalOptimizerRule for ReserveWindows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let any: &dyn std::any::Any = plan.as_ref();
            if !any.is::<WindowAggExec>() {
                return Ok(Transformed::no(plan));
            }
            let reserved = |input: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
                Arc::new(Reserve { input: Arc::clone(input) })
            };
            let inputs = plan.children().into_iter().map(reserved).collect();
            Ok(Transformed::yes(replace_children_if_necessary(plan, inputs)?))
        })
        .data()
    }

    fn name(&self) -> &str {
        "reserve_windows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Passes rows on and takes their memory from the session's until it is dropped.
#[derive(Debug)]
struct Reserve {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for Reserve {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reserve")
    }
}

impl ExecutionPlan for Reserve {
    fn name(&self) -> &str {
        "Reserve"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self { input }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let reservation = MemoryConsumer::new("window function").register(context.memory_pool());
        let schema = rows.schema();
        let counted = rows.map(move |batch| {
            let batch = batch?;
            reservation.try_grow(COPIES * bytes(&batch))?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }
}
