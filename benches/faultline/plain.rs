//! Plain batch DataFusion, to compare with: planned outside of what is measured.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;

/// A planned query.
pub struct Query {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
}

impl Query {
    pub async fn plan(context: &SessionContext, sql: &str) -> Self {
        let frame = context.sql(sql).await.unwrap();
        Self { plan: frame.create_physical_plan().await.unwrap(), context: context.task_ctx() }
    }

    /// Rows that it returns.
    pub async fn run(self) -> usize {
        let mut batches = execute_stream(self.plan, self.context).unwrap();
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            rows += batch.unwrap().num_rows();
        }
        rows
    }
}

pub fn session(threads: usize) -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads))
}

/// One thread, with the table `metrics` in memory.
pub fn in_memory(batches: Vec<RecordBatch>) -> SessionContext {
    let context = session(1);
    let table = MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
    context.register_table("metrics", Arc::new(table)).unwrap();
    context
}
