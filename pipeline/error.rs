//! The one error type of this crate; variant names double as metric labels.

use std::path::PathBuf;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A job that the engine refuses: what is wrong, where in its text, and what to write instead.
    #[error("{job}:{line}:{column}: {message}; {remedy}")]
    Job { job: String, line: u64, column: u64, message: String, remedy: String },

    #[error("{path}: {message}; {remedy}")]
    Config { path: PathBuf, message: String, remedy: String },

    /// A wrong argument or name given by the user.
    #[error("{message}; {remedy}")]
    Usage { message: String, remedy: String },

    #[error("query refused: {message}; {remedy}")]
    Query { message: String, remedy: String },

    #[error("checkpoint cannot be used: {message}; {remedy}")]
    Checkpoint { message: String, remedy: String },

    /// An endpoint of the configuration that did not answer, or not as it should.
    #[error("the endpoint of [{section}] failed: {message}; try again, or see its own log")]
    Endpoint { section: &'static str, message: String },

    /// Files that do not hold what was written, each of which has been named.
    #[error(
        "{path}: damaged files: {files}; move them away or restore them, and a replay into \
             another archive gives their rows again"
    )]
    DamagedArchive { path: PathBuf, files: usize },

    #[error("{path}: {source}{}", hint(.source))]
    Io { path: PathBuf, source: std::io::Error },

    #[error(transparent)]
    Source(#[from] crate::source::Error),

    #[error(transparent)]
    Storage(#[from] faultline_storage::Error),

    #[error(transparent)]
    Generate(#[from] crate::generate::Error),

    #[error("{0}")]
    Arrow(#[from] ArrowError),

    #[error("{}", .0.strip_backtrace())]
    DataFusion(#[from] DataFusionError),

    /// A stage stopped early; the stage's own error is reported beside this one.
    #[error("stage {stage} stopped before the end of its input")]
    StageStopped { stage: String },
}

/// What to do about a file, where its error says it.
fn hint(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied, StorageFull};
    match error.kind() {
        NotFound => "; check the path",
        IsADirectory => "; name a file in it",
        PermissionDenied => "; give this user the right to it",
        StorageFull => "; make room and start again",
        _ => "",
    }
}

impl Error {
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source }
    }

    /// True where the user's input is at fault rather than the program or its surroundings.
    pub fn is_bad_input(&self) -> bool {
        use faultline_storage::Error as Storage;
        match self {
            Self::Job { .. } | Self::Config { .. } => true,
            Self::Usage { .. } | Self::Query { .. } | Self::Source(_) => true,
            Self::Io { source, .. } => {
                use std::io::ErrorKind::{InvalidData, IsADirectory, NotFound, PermissionDenied};
                matches!(source.kind(), NotFound | InvalidData | IsADirectory | PermissionDenied)
            }
            Self::Storage(e) => matches!(
                e,
                Storage::Missing { .. }
                    | Storage::NotDirectory { .. }
                    | Storage::NoArchive { .. }
                    | Storage::Locked { .. }
            ),
            Self::Checkpoint { .. }
            | Self::Endpoint { .. }
            | Self::Generate(_)
            | Self::Arrow(_)
            | Self::DataFusion(_)
            | Self::DamagedArchive { .. }
            | Self::StageStopped { .. } => false,
        }
    }

    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), remedy: remedy.into() }
    }
}
