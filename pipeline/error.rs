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

    /// A job that was sound until its SQL met rows of one window that it cannot work with together.
    #[error("{job}: the job failed on a row: {message}; {remedy}")]
    JobRow { job: String, message: String, remedy: &'static str },

    /// A job that makes too much of one window; [`Self::in_job`] gives it its name.
    #[error(
        "{job}: the job was stopped: what it makes of one closed window takes more than \
             {memory_mib} MiB; join on more than the window, or aggregate or filter first"
    )]
    JobMemory { job: String, memory_mib: usize },

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
            Self::Job { .. } | Self::JobRow { .. } | Self::JobMemory { .. } => true,
            Self::Config { .. } => true,
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

    /// Names the job where the error is one that its SQL raised on a row; others stay as they are.
    pub fn in_job(self, job: &str) -> Self {
        if let Self::JobMemory { memory_mib, .. } = self {
            return Self::JobMemory { job: job.to_owned(), memory_mib };
        }
        match self.row_problem() {
            Some((message, remedy)) => Self::JobRow { job: job.to_owned(), message, remedy },
            None => self,
        }
    }

    /// What SQL cannot do with a row, and what to write instead, where that is the error.
    pub fn row_problem(&self) -> Option<(String, &'static str)> {
        match self {
            Self::Arrow(error) => row_problem(error),
            Self::DataFusion(error) => match error.find_root() {
                DataFusionError::ArrowError(error, _) => row_problem(error),
                DataFusionError::Execution(message) => Some((message.clone(), LEAVE_OUT)),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), remedy: remedy.into() }
    }
}

const LEAVE_OUT: &str = "change that expression, or leave out such rows with WHERE";

/// What SQL cannot do with a value, and what to write instead; `None` where it is not the value.
fn row_problem(error: &ArrowError) -> Option<(String, &'static str)> {
    Some(match error {
        ArrowError::DivideByZero => {
            ("division by zero".to_owned(), "divide by NULLIF(x, 0) instead of x")
        }
        ArrowError::CastError(what) | ArrowError::ParseError(what) => {
            (what.clone(), "write TRY_CAST instead of CAST, it gives NULL where that fails")
        }
        ArrowError::ArithmeticOverflow(what) => {
            (what.clone(), "calculate in DOUBLE: CAST(x AS DOUBLE)")
        }
        ArrowError::ComputeError(what) | ArrowError::InvalidArgumentError(what) => {
            (what.clone(), LEAVE_OUT)
        }
        _ => return None,
    })
}
