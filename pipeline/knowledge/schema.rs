//! The archive's tables as `sql/schema` describes them.
//!
//! A file is one `CREATE TABLE`, each column on a line of its own with a comment that documents
//! it, under header lines `-- name: value`: `version`, `partition by`, and for tables whose rows
//! may be written again `key` (what identifies a row) and either `latest by` (which of two is
//! newer) or `written together` (what all rows of one write have in common: only those of the last
//! write count). The column `written` is filled in on the way to the archive, and not shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, ColumnDef, ColumnOption, CreateTable, DataType as SqlType, Statement,
    TimezoneInfo,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use faultline_storage::archive::TableSpec;

use crate::error::{Error, Result};

/// Column with the number of the write that a row is of.
pub const WRITTEN: &str = "written";

/// Name of the file and its text, in the order in which a reader should meet the tables.
const FILES: [(&str, &str); 17] = [
    ("incidents", include_str!("../../sql/schema/incidents.sql")),
    ("signals", include_str!("../../sql/schema/signals.sql")),
    ("evidence", include_str!("../../sql/schema/evidence.sql")),
    ("diagnoses", include_str!("../../sql/schema/diagnoses.sql")),
    ("llm_calls", include_str!("../../sql/schema/llm_calls.sql")),
    ("actions", include_str!("../../sql/schema/actions.sql")),
    ("outcomes", include_str!("../../sql/schema/outcomes.sql")),
    ("cases", include_str!("../../sql/schema/cases.sql")),
    ("feedback", include_str!("../../sql/schema/feedback.sql")),
    ("runbooks", include_str!("../../sql/schema/runbooks.sql")),
    ("vectors", include_str!("../../sql/schema/vectors.sql")),
    ("metrics", include_str!("../../sql/schema/metrics.sql")),
    ("logs", include_str!("../../sql/schema/logs.sql")),
    ("templates", include_str!("../../sql/schema/templates.sql")),
    ("spans", include_str!("../../sql/schema/spans.sql")),
    ("changes", include_str!("../../sql/schema/changes.sql")),
    ("dead_letters", include_str!("../../sql/schema/dead_letters.sql")),
];

/// One documented column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    /// As the schema file writes it, such as `TEXT`.
    pub sql_type: String,
    pub data_type: DataType,
    pub nullable: bool,
    pub comment: String,
}

/// One documented table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDoc {
    pub name: String,
    pub comment: String,
    pub version: u32,
    pub partition_by: Vec<String>,
    /// Columns that identify a row; empty for tables whose rows have no identity.
    pub key: Vec<String>,
    /// Of rows with one key, the one with the greatest values here counts.
    pub latest_by: Vec<String>,
    /// What rows of one write share, in a partition; only those of the last write count.
    pub written_together: Option<String>,
    /// A BOOLEAN column: where the row that counts has it set, there is none any more.
    pub gone_where: Option<String>,
    pub columns: Vec<Column>,
}

/// The tables of the archive, documented.
pub fn archive_tables() -> Result<Vec<TableDoc>> {
    FILES.iter().map(|(name, text)| parse(name, text)).collect()
}

/// The same for `storage`.
pub fn table_specs() -> Result<Vec<TableSpec>> {
    Ok(archive_tables()?.iter().map(TableDoc::spec).collect())
}

impl TableDoc {
    pub fn spec(&self) -> TableSpec {
        let fields = self.columns.iter().map(|c| {
            let comment = [("comment".to_owned(), c.comment.clone())].into();
            Field::new(&c.name, c.data_type.clone(), c.nullable).with_metadata(comment)
        });
        TableSpec {
            name: self.name.clone(),
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            partition_by: self.partition_by.clone(),
            version: self.version,
        }
    }

    /// A query over the table `stored` for the rows that count: each once, also where two runs
    /// over the same telemetry have written it. Rows of one key lie in one partition; saying so
    /// lets a filter on cluster or day pass through.
    pub fn latest_rows(&self, stored: &str) -> String {
        let quoted = |name: &String| format!("\"{name}\"");
        let list = |names: &[String]| names.iter().map(quoted).collect::<Vec<_>>().join(", ");
        let shown = self.columns.iter().map(|c| c.name.clone()).filter(|name| name != WRITTEN);
        let columns = list(&shown.collect::<Vec<_>>());
        let mut same = self.partition_by.clone();
        if let Some(group) = &self.written_together {
            same.push(group.clone());
            let same = list(&same);
            return format!(
                "SELECT {columns} FROM (SELECT *, coalesce({WRITTEN}, 0) AS nth FROM {stored}) \
                 AS one NATURAL JOIN (SELECT {same}, max(coalesce({WRITTEN}, 0)) AS nth \
                 FROM {stored} GROUP BY {same}) AS last"
            );
        }
        same.extend_from_slice(&self.key);
        let newest: Vec<String> = { self.latest_by.iter() }
            .map(|column| format!("{} DESC NULLS LAST", quoted(column)))
            .collect();
        let newest = match newest.is_empty() {
            true => String::new(),
            false => format!(" ORDER BY {}", newest.join(", ")),
        };
        let there = match &self.gone_where {
            Some(column) => format!(" AND NOT {}", quoted(column)),
            None => String::new(),
        };
        format!(
            "SELECT {columns} FROM (SELECT *, row_number() OVER (PARTITION BY {}{newest}) AS nth \
             FROM {stored}) WHERE nth = 1{there}",
            list(&same),
        )
    }

    /// Whether its rows say of which write they are.
    pub fn is_numbered(&self) -> bool {
        self.columns.iter().any(|column| column.name == WRITTEN)
    }

    /// Whether two rows of it may be one.
    pub fn has_versions(&self) -> bool {
        !self.key.is_empty() || self.written_together.is_some()
    }
}

fn parse(name: &str, text: &str) -> Result<TableDoc> {
    let fail = |message: String| Error::Config {
        path: format!("sql/schema/{name}.sql").into(),
        message,
        remedy: "follow the form of the other files in that folder".to_owned(),
    };
    let (comment, mut headers) = read_headers(text);
    let mut statements =
        Parser::parse_sql(&GenericDialect {}, text).map_err(|e| fail(e.to_string()))?;
    let (Some(Statement::CreateTable(table)), true) = (statements.pop(), statements.is_empty())
    else {
        return Err(fail("it must hold one CREATE TABLE".to_owned()));
    };
    let CreateTable { name: declared, columns, .. } = table;
    if declared.to_string() != name {
        return Err(fail(format!("it declares table {declared}")));
    }
    let version = headers.remove("version").and_then(|v| v.parse().ok());
    let mut list = |header: &str| {
        let text = headers.remove(header).unwrap_or_default();
        text.split(',').map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect()
    };
    let [partition_by, key, latest_by]: [Vec<String>; 3] =
        ["partition by", "key", "latest by"].map(&mut list);
    let lines: Vec<&str> = text.lines().collect();
    let columns = columns
        .iter()
        .map(|c| column(c, &lines).map_err(|e| fail(format!("column {}: {e}", c.name))))
        .collect::<Result<Vec<_>>>()?;
    let [gone_where, written_together] =
        ["gone where", "written together"].map(|header| headers.remove(header));
    let named = partition_by.iter().chain(&key).chain(&latest_by).chain(&gone_where);
    let named = named.chain(&written_together);
    if let Some(unknown) = named.into_iter().find(|n| columns.iter().all(|c| c.name != **n)) {
        return Err(fail(format!("its header names column {unknown}, which it does not declare")));
    }
    Ok(TableDoc {
        name: name.to_owned(),
        comment,
        version: version.ok_or_else(|| fail("header `-- version:` is missing".to_owned()))?,
        partition_by,
        key,
        latest_by,
        gone_where,
        written_together,
        columns,
    })
}

/// The first comment line, and the `-- name: value` lines above the statement.
fn read_headers(text: &str) -> (String, BTreeMap<&str, String>) {
    let mut lines = text.lines().map_while(|line| line.strip_prefix("--")).map(str::trim);
    let comment = lines.next().unwrap_or_default().to_owned();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    (comment, pairs.map(|(name, value)| (name, value.trim().to_owned())).collect())
}

fn column(declared: &ColumnDef, lines: &[&str]) -> Result<Column, String> {
    let line = usize::try_from(declared.name.span.start.line).unwrap_or(0);
    let line = line.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or_default();
    let comment = line.split_once("-- ").map(|(_, comment)| comment.trim()).unwrap_or_default();
    if comment.is_empty() {
        return Err("a comment after it must say what it holds".to_owned());
    }
    let (sql_type, data_type) = data_type(&declared.data_type)?;
    let required = declared.options.iter().any(|o| o.option == ColumnOption::NotNull);
    Ok(Column {
        name: declared.name.value.clone(),
        sql_type: sql_type.to_owned(),
        data_type,
        nullable: !required,
        comment: comment.to_owned(),
    })
}

fn data_type(declared: &SqlType) -> Result<(&'static str, DataType), String> {
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    Ok(match declared {
        SqlType::Text => ("TEXT", DataType::Utf8),
        SqlType::BigInt(None) => ("BIGINT", DataType::Int64),
        SqlType::Double(_) => ("DOUBLE", DataType::Float64),
        SqlType::Boolean => ("BOOLEAN", DataType::Boolean),
        SqlType::Timestamp(None, TimezoneInfo::Tz) => {
            ("TIMESTAMPTZ", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
        }
        SqlType::Array(ArrayElemTypeDef::SquareBracket(item, None)) if **item == SqlType::Text => {
            ("TEXT[]", list(DataType::Utf8))
        }
        SqlType::Array(ArrayElemTypeDef::SquareBracket(item, None))
            if matches!(**item, SqlType::Double(_)) =>
        {
            ("DOUBLE[]", list(DataType::Float64))
        }
        other => {
            return Err(format!(
                "type {other} is not one of TEXT, TEXT[], BIGINT, DOUBLE, DOUBLE[], BOOLEAN, \
                 TIMESTAMPTZ"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::schema::Stream;

    #[test]
    fn every_table_is_documented_column_by_column() {
        let tables = archive_tables().unwrap();
        assert_eq!(tables.len(), FILES.len());
        for table in &tables {
            assert!(!table.comment.is_empty() && !table.comment.contains(": "), "{}", table.name);
            assert_eq!(table.partition_by[0], "cluster", "{}", table.name);
            for column in &table.columns {
                assert!(column.comment.len() > 5, "{}.{}", table.name, column.name);
            }
        }
    }

    #[test]
    fn slices_hold_every_column_of_their_stream() {
        let tables = archive_tables().unwrap();
        for stream in Stream::ALL {
            let table = tables.iter().find(|t| t.name == stream.name()).unwrap();
            for field in stream.schema().fields() {
                let column = table.columns.iter().find(|c| c.name == *field.name());
                // Archives that are older than the column lack it.
                let later = field.name() == "caller";
                let fits = column.is_some_and(|c| c.nullable == later);
                assert!(fits, "{}.{}", table.name, field.name());
            }
        }
    }

    #[test]
    fn a_column_without_comment_or_with_a_foreign_type_is_refused() {
        let file = |column: &str| format!("-- T.\n-- version: 1\nCREATE TABLE t (\n{column}\n)");
        let refused = |column: &str| parse("t", &file(column)).unwrap_err().to_string();
        assert!(refused("a TEXT").contains("column a: a comment"));
        assert!(refused("a DATE -- a day").contains("type DATE"));
        let table = parse("t", &file("a TEXT[] -- names\n, b BIGINT NOT NULL -- how many"));
        let table = table.unwrap();
        assert_eq!(table.columns[0].sql_type, "TEXT[]");
        assert!(table.columns[0].nullable && !table.columns[1].nullable);
        assert_eq!(table.columns[1].comment, "how many");
    }
}
