//! What can go wrong in this crate.

use std::path::PathBuf;

use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// Every variant has a [`label`](Error::label), so that a metric can count by it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the UDF source marks {count} functions with #[udf], a plugin has exactly one: write one \
         library per function"
    )]
    UdfCount { count: usize },
    #[error("line {line} of the UDF source: expected {expected}, found `{found}`")]
    UdfSyntax { line: usize, expected: &'static str, found: String },
    #[error(
        "line {line} of the UDF source: `{found}` is not a type of a UDF's {place}; use one of \
         {supported}"
    )]
    UdfType { line: usize, found: String, place: &'static str, supported: &'static str },
    #[error("line {line} of the UDF source: {feature} is not supported: {remedy}")]
    UdfUnsupported { line: usize, feature: &'static str, remedy: &'static str },
    #[error("cannot find the plugin library {}: {source}", path.display())]
    PluginFile { path: PathBuf, source: std::io::Error },
    #[error(
        "cannot load the plugin library {}: {source}; it must be a cdylib built for this platform",
        path.display()
    )]
    PluginLoad { path: PathBuf, source: libloading::Error },
    #[error(
        "the plugin library {} has no `__run`: build it from a synchronous #[udf] function with \
         arroyo-udf-plugin 0.2",
        path.display()
    )]
    PluginEntry { path: PathBuf, source: libloading::Error },
    #[error(
        "the plugin `{udf}` panicked; its own message is on stderr, and a library that was not \
         built from this source panics too"
    )]
    PluginPanic { udf: String },
    #[error(
        "the plugin `{udf}` returned {rows} rows of {found} instead of {rows_expected} of \
         {expected}; was the library built from this source?"
    )]
    PluginResult {
        udf: String,
        rows: usize,
        found: DataType,
        rows_expected: usize,
        expected: DataType,
    },
    #[error("cannot exchange data with the plugin `{udf}`: {source}")]
    PluginData { udf: String, source: ArrowError },
}

impl Error {
    /// The variant in snake case; a closed set, fit for a metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Error::UdfCount { .. } => "udf_count",
            Error::UdfSyntax { .. } => "udf_syntax",
            Error::UdfType { .. } => "udf_type",
            Error::UdfUnsupported { .. } => "udf_unsupported",
            Error::PluginFile { .. } => "plugin_file",
            Error::PluginLoad { .. } => "plugin_load",
            Error::PluginEntry { .. } => "plugin_entry",
            Error::PluginPanic { .. } => "plugin_panic",
            Error::PluginResult { .. } => "plugin_result",
            Error::PluginData { .. } => "plugin_data",
        }
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}
