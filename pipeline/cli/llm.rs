//! The options of commands that may ask a language model.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;

use crate::config::Config;
use crate::diagnose::advise::{Advisor, LlmConfig, Mode};
use crate::error::{Error, Result};
use crate::run;

#[derive(Clone, Debug, clap::Args)]
pub struct LlmArgs {
    /// Whether a language model ranks causes again: asked and its answers recorded, or recorded
    /// answers replayed.
    #[arg(long, value_enum, default_value = "off")]
    llm: Choice,
    /// Configuration whose [llm] section says which model.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    Off,
    Record,
    Replay,
}

impl LlmArgs {
    pub fn off() -> Self {
        Self { llm: Choice::Off, config: None }
    }

    pub fn advisor(&self) -> Result<Option<Arc<Advisor>>> {
        let mode = match self.llm {
            Choice::Off if self.config.is_some() => {
                return Err(Error::usage(
                    "--config names a model that is not asked",
                    "give --llm record or --llm replay too",
                ));
            }
            Choice::Off => return Ok(None),
            Choice::Record => Mode::Record,
            Choice::Replay => Mode::Replay,
        };
        let path = self.config.as_deref().ok_or_else(|| {
            Error::usage("--llm needs a model", "name a file with an [llm] section by --config")
        })?;
        let config = Config::load(path)?.llm.ok_or_else(|| {
            Error::usage(
                format!("{} has no [llm] section", path.display()),
                "add one, as faultline.example.toml shows",
            )
        })?;
        open(&config, mode).map(Some)
    }
}

/// An advisor by the clock of this machine.
pub fn open(config: &LlmConfig, mode: Mode) -> Result<Arc<Advisor>> {
    Ok(Arc::new(Advisor::open(config, mode, Arc::new(run::now))?))
}
