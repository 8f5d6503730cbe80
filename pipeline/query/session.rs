//! Runs one statement over the archive as it is now.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, SortExpr};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use faultline_storage::archive::{Archive, Open};
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

use super::{bounded, refusal, reserve, statement};
use crate::error::Result;
use crate::knowledge::{TableDoc, archive_tables, table_specs};
use crate::stream::nesting;

/// Longest statement that is looked at.
const SQL_BYTES_MAX: usize = 1 << 20;

/// What a sort or an aggregation may put on disk once its memory is full.
const SPILL_BYTES_MAX: u64 = 1 << 30;

/// Share of the memory limit that one sort keeps back to merge what it has spilled. DataFusion
/// keeps back 10 MB for each thread, which a small limit or a machine of many cores cannot spare.
const SORT_RESERVE_SHARE: usize = 64;

/// Scalar functions whose result can be any size, outside of what the memory limit counts. The
/// table functions `range` and `generate_series` stay: they stream.
const UNBOUNDED_FUNCTIONS: [&str; 9] = [
    "array_repeat",
    "array_resize",
    "generate_series",
    "list_repeat",
    "list_resize",
    "lpad",
    "range",
    "repeat",
    "rpad",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For all statements of the session together, and for the answer of one.
    pub memory_bytes: usize,
    pub time: Duration,
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, time: Duration::from_secs(60), rows: 10_000 }
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    /// Where and why the answer was cut, if it was.
    pub truncated: Option<String>,
    /// Damaged files that are missing from the answer, one sentence each.
    pub warnings: Vec<String>,
}

/// An archive that answers SQL. Must be used within a tokio runtime, best one with two threads or
/// more: a statement that computes without pause then still meets its time limit.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    archive: Archive,
    tables: Vec<TableDoc>,
    limits: Limits,
    runtime: Arc<RuntimeEnv>,
}

impl Session {
    /// Opens the archive in `dir` for reading.
    ///
    /// # Errors
    /// [`crate::error::Error::Storage`] where there is no directory, or a table is not one of this
    /// program's.
    pub async fn open(dir: &Path, limits: Limits) -> Result<Self> {
        let archive = Archive::open(dir, table_specs()?, Open::ReadOnly).await?;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(limits.memory_bytes, 1.0)
            .with_max_temp_directory_size(SPILL_BYTES_MAX)
            .build_arc()?;
        runtime.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
        let tables = archive_tables()?;
        Ok(Self { shared: Arc::new(Shared { archive, tables, limits, runtime }) })
    }

    pub fn tables(&self) -> &[TableDoc] {
        &self.shared.tables
    }

    /// Runs one statement. Dropping the returned future ends it.
    ///
    /// # Errors
    /// [`crate::error::Error::Query`] for what is not allowed, not known, or beyond a limit.
    pub async fn run(&self, sql: &str) -> Result<Answer> {
        if sql.len() > SQL_BYTES_MAX {
            return Err(refusal::too_long(sql.len(), SQL_BYTES_MAX));
        }
        let (shared, sql) = (Arc::clone(&self.shared), sql.to_owned());
        let limits = shared.limits;
        // A task of its own, so that a statement that never yields cannot hold up its own limit.
        let mut task = Ended(tokio::spawn(shared.answer(sql)));
        match tokio::time::timeout(limits.time, &mut task.0).await {
            Ok(Ok(answer)) => answer.map_err(|e| refusal::explain(e, self.tables(), limits)),
            Ok(Err(ended)) => {
                let ended = faultline_storage::Error::Panicked(ended.to_string());
                Err(ended.into())
            }
            Err(_) => Err(refusal::too_slow(limits.time)),
        }
    }
}

/// A task that ends with its handle.
struct Ended<T>(JoinHandle<T>);

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, sql: String) -> Result<Answer> {
        let asked = Arc::clone(&self);
        let attempt = async move |_: &Archive| asked.attempt(&sql).await;
        // Boxed, as the compiler cannot see through the closure that the future is `Send`.
        let attempts: BoxFuture<'_, Result<Answer>> =
            Box::pin(self.archive.run_with_quarantine(attempt));
        let mut answer = attempts.await?;
        let named = |d: faultline_storage::archive::Damaged| {
            format!("damaged file left out: {}: {}", d.path.display(), d.reason)
        };
        answer.warnings = self.archive.quarantined().into_iter().map(named).collect();
        Ok(answer)
    }

    async fn attempt(&self, sql: &str) -> Result<Answer> {
        let context = self.context().await?;
        let state = context.state();
        let dialect = state.config().options().sql_parser.dialect;
        if nesting::is_too_deep(&PostgreSqlDialect {}, sql) {
            return Err(refusal::too_deep(nesting::OPERATORS_MAX));
        }
        let mut parsed = state.sql_to_statement(sql, &dialect)?;
        statement::check_read_only(&parsed)?;
        statement::check_samples(&parsed)?;
        statement::name_subqueries(&mut parsed);
        let in_order = statement::lists_tables(&parsed);
        let mut plan = state.statement_to_plan(parsed).await?;
        if in_order {
            let columns = plan.schema().columns().into_iter().map(Expr::Column);
            let sorts: Vec<SortExpr> = columns.map(|c| c.sort(true, false)).collect();
            plan = LogicalPlanBuilder::from(plan).sort(sorts)?.build()?;
        }
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)
            .map_err(|_| refusal::not_a_question())?;
        let frame = context.execute_logical_plan(plan).await?;
        let mut stream = frame.execute_stream().await?;
        let (schema, mut batches, mut truncated) = (stream.schema(), Vec::new(), None);
        let (mut rows, mut bytes) = (0, 0);
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let room = self.limits.rows - rows;
            if batch.num_rows() > room {
                batches.push(batch.slice(0, room));
                truncated = Some(refusal::rows_cut(self.limits.rows));
                break;
            }
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            batches.push(batch);
            if bytes > self.limits.memory_bytes {
                truncated = Some(refusal::bytes_cut(rows, self.limits.memory_bytes));
                break;
            }
        }
        Ok(Answer { schema, batches, truncated, warnings: Vec::new() })
    }

    /// A context that knows the archive's tables as of now.
    async fn context(&self) -> Result<SessionContext> {
        let config = SessionConfig::new()
            .with_information_schema(true)
            .with_sort_spill_reservation_bytes(self.limits.memory_bytes / SORT_RESERVE_SHARE)
            .set_str("datafusion.sql_parser.dialect", "postgresql")
            .with_default_catalog_and_schema("faultline", "archive");
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_physical_optimizer_rule(Arc::new(reserve::ReserveWindows))
            .with_default_features()
            .build();
        let context = SessionContext::new_with_state(state);
        faultline_udfs::register(&context);
        for function in UNBOUNDED_FUNCTIONS {
            context.deregister_udf(function);
        }
        bounded::bound(&context);
        // `incidents` comes first here and last when written: what it shows has all its rows.
        for table in &self.tables {
            let provider = self.archive.provider(&table.name).await?;
            if !table.has_versions() {
                context.register_table(&table.name, provider)?;
            } else {
                let written = SessionContext::new();
                written.register_table(&table.name, provider)?;
                let plan =
                    written.sql(&table.latest_rows(&table.name)).await?.into_unoptimized_plan();
                context.register_table(&table.name, Arc::new(ViewTable::new(plan, None)))?;
            }
        }
        Ok(context)
    }
}
