//! A table as DataFusion sees it: a fixed list of files, scanned by DataFusion's own Parquet
//! reader.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectStore;

use super::TableSpec;
use super::inspect::Readable;
use super::table::Layout;
use crate::error::Error;

/// A table that does not exist yet has no rows.
pub(super) fn empty(spec: &TableSpec) -> Arc<dyn TableProvider> {
    Arc::new(EmptyTable::new(Arc::clone(&spec.schema)))
}

/// A table whose log cannot be read: its columns are known, and whoever asks for rows is told.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub schema: SchemaRef,
    pub table: String,
    pub log: PathBuf,
    pub reason: String,
}

#[async_trait]
impl TableProvider for Unreadable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (table, path, reason) = (self.table.clone(), self.log.clone(), self.reason.clone());
        Err(DataFusionError::External(Box::new(Error::UnreadableLog { table, path, reason })))
    }
}

#[derive(Debug)]
pub(super) struct ArchiveTable {
    layout: Layout,
    /// Columns of the files, then of the directories: the order in which the reader numbers them.
    scan_schema: TableSchema,
    files: Vec<PartitionedFile>,
    store: Arc<dyn ObjectStore>,
    url: ObjectStoreUrl,
}

impl ArchiveTable {
    pub(super) fn new(
        layout: Layout,
        files: Vec<Readable>,
        store: Arc<dyn ObjectStore>,
        url: ObjectStoreUrl,
    ) -> Self {
        let scan_schema = TableSchema::builder(Arc::clone(&layout.in_file))
            .with_table_partition_cols(layout.partitions.clone())
            .build();
        Self {
            layout,
            scan_schema,
            files: files.into_iter().map(partitioned_file).collect(),
            store,
            url,
        }
    }

    fn scan_index(&self, column: usize) -> Result<usize> {
        let name = self.layout.schema.field(column).name();
        Ok(self.scan_schema.table_schema().index_of(name)?)
    }
}

fn partitioned_file(readable: Readable) -> PartitionedFile {
    let values = readable.file.partition.into_iter();
    let values: Vec<ScalarValue> = values.map(ScalarValue::Utf8).collect();
    let mut statistics = Arc::unwrap_or_clone(readable.statistics);
    statistics.column_statistics.extend(values.iter().map(|v| constant(v, &statistics.num_rows)));
    let mut file = PartitionedFile::new_from_meta(readable.meta).with_partition_values(values);
    file.statistics = Some(Arc::new(statistics));
    file
}

/// Statistics of a column that has one value throughout a file.
fn constant(value: &ScalarValue, rows: &Precision<usize>) -> ColumnStatistics {
    ColumnStatistics {
        null_count: if value.is_null() { *rows } else { Precision::Exact(0) },
        min_value: Precision::Exact(value.clone()),
        max_value: Precision::Exact(value.clone()),
        distinct_count: Precision::Exact(1),
        ..ColumnStatistics::new_unknown()
    }
}

#[async_trait]
impl TableProvider for ArchiveTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The scan skips files, row groups and pages by a filter, and a filter above it does the rest.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.layout.schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all);
        if self.files.is_empty() {
            let schema = self.layout.schema.project(wanted)?;
            return Ok(Arc::new(EmptyExec::new(Arc::new(schema))));
        }
        let runtime = state.runtime_env();
        runtime.register_object_store(self.url.as_ref(), Arc::clone(&self.store));
        let footers = CachedParquetFileReaderFactory::new(
            Arc::clone(&self.store),
            runtime.cache_manager.get_file_metadata_cache(),
        );
        let mut options = datafusion::config::TableParquetOptions::new();
        options.global = state.config_options().execution.parquet.clone();
        let source = ParquetSource::new(self.scan_schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(footers));
        let columns =
            wanted.iter().map(|&column| self.scan_index(column)).collect::<Result<Vec<_>>>()?;
        let statistics = Statistics::try_merge_iter(
            self.files.iter().filter_map(|f| f.statistics.as_deref()),
            self.scan_schema.table_schema(),
        )?;
        let groups =
            FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(columns))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ask, open, rows, txn};
    use arrow::array::{Array, Float64Array, RecordBatch};
    use std::sync::Arc;

    #[tokio::test]
    async fn columns_come_in_any_order_and_filters_skip_files() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        for (version, cluster) in [(0, "a"), (1, "b"), (2, "a")] {
            let rows = vec![rows(cluster, version * 100..version * 100 + 100)];
            archive.commit("events", rows, txn("app", version)).await.unwrap();
        }
        let picked = "select tags, cluster, id, day from events where cluster = 'b' and id < 102";
        assert_eq!(
            ask(&archive, picked).await.unwrap(),
            "[t1],b,100,2026-01-31;[t2],b,101,2026-01-31"
        );
        let star = "select * from events where id = 250";
        let star = ask(&archive, star).await.unwrap();
        assert!(star.starts_with("a,2026-01-31,1970-01-01T00:04:10Z,250,"), "{star}");

        let plan = "explain analyze select value from events where id >= 250";
        let plan = ask(&archive, plan).await.unwrap();
        assert!(plan.contains("DataSourceExec"), "{plan}");
        assert!(plan.contains("files_ranges_pruned_statistics=3 total → 1 matched"), "{plan}");
    }

    #[tokio::test]
    async fn bounds_that_ignore_nan_do_not_answer_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let archive = open(dir.path()).await;
        let plain = rows("a", 0..2);
        let mut columns = plain.columns().to_vec();
        columns[4] = Arc::new(Float64Array::from(vec![1.0, f64::NAN])) as Arc<dyn Array>;
        let batch = RecordBatch::try_new(plain.schema(), columns).unwrap();
        archive.commit("events", vec![batch], txn("app", 1)).await.unwrap();
        let top = ask(&archive, "select max(value), count(*) from events").await;
        assert_eq!(top.unwrap(), "NaN,2");
    }
}
