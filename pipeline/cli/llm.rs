//! The options of commands that may ask a language model.

use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;

use crate::config::Config;
use crate::diagnose::advise::{Advisor, LlmConfig, Mode};
use crate::error::{Error, Result};
use crate::run;

#[derive(Clone, Debug, clap::Args)]
pub struct LlmArgs {
    /// Whether a language model ranks causes again: asked and its answers recorded, or recorded
    /// answers replayed. Its name is in the [llm] section of --config.
    #[arg(long, value_enum, default_value = "off")]
    llm: Choice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    Off,
    Record,
    Replay,
}

impl LlmArgs {
    pub fn off() -> Self {
        Self { llm: Choice::Off }
    }

    pub fn is_off(&self) -> bool {
        self.llm == Choice::Off
    }

    /// The advisor that is asked for; `config` is what --config names and says.
    pub fn advisor(&self, config: Option<(&Path, &Config)>) -> Result<Option<Arc<Advisor>>> {
        let mode = match self.llm {
            Choice::Off => return Ok(None),
            Choice::Record => Mode::Record,
            Choice::Replay => Mode::Replay,
        };
        let (path, config) = config.ok_or_else(|| {
            Error::usage("--llm needs a model", "name a file with an [llm] section by --config")
        })?;
        let section = config.llm.as_ref().ok_or_else(|| {
            Error::usage(
                format!("{} has no [llm] section", path.display()),
                "add one, as faultline.example.toml shows",
            )
        })?;
        open(section, mode).map(Some)
    }
}

/// An advisor by the clock of this machine.
pub fn open(config: &LlmConfig, mode: Mode) -> Result<Arc<Advisor>> {
    Ok(Arc::new(Advisor::open(config, mode, Arc::new(run::now))?))
}
