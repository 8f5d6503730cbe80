//! The configuration of a live run: one TOML file, every key checked before anything starts.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::diagnose::advise::{EmbeddingsConfig, LlmConfig};
use crate::error::{Error, Result};
use crate::model::{Nanos, SECOND};
use crate::monitor::correlate::CorrelateConfig;
use crate::run::WebhookConfig;
use crate::stream::schema::Stream;
use crate::stream::{LATENESS_MAX, interval};

/// Largest configuration file that is read.
const BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where a source does not name the cluster.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// Where incidents are kept.
    pub archive: PathBuf,
    /// Where a run keeps what it needs to go on after a stop; in the archive where not named.
    pub state: Option<PathBuf>,
    /// How often that is written.
    #[serde(default = "default_checkpoint", deserialize_with = "length")]
    pub checkpoint: Nanos,
    /// Job files or folders of them; all shipped jobs where none is named.
    #[serde(default)]
    pub jobs: Vec<PathBuf>,
    /// How far a row may lie behind the newest of its file.
    #[serde(default = "default_lateness", deserialize_with = "length")]
    pub lateness: Nanos,
    /// How long the others wait for a file that has nothing new.
    #[serde(default = "default_idle", deserialize_with = "length")]
    pub idle: Nanos,
    /// Raw telemetry kept for diagnosis, in MiB.
    #[serde(default = "default_capture")]
    pub capture_mib: usize,
    /// Files to follow.
    pub tail: Vec<Tail>,
    #[serde(default)]
    pub correlate: CorrelateConfig,
    /// Who is told of incidents; nobody where the section is missing.
    pub webhook: Option<WebhookConfig>,
    /// The language model that ranks causes again; none where the section is missing.
    pub llm: Option<LlmConfig>,
    /// The model that makes vectors of runbooks and cases; built-in ones where it is missing.
    pub embeddings: Option<EmbeddingsConfig>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    pub path: PathBuf,
    /// `metrics` (CSV), `logs`, `spans` or `changes` (JSON lines).
    #[serde(deserialize_with = "stream")]
    pub stream: Stream,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::Config`] with the place and the remedy.
    pub fn load(path: &Path) -> Result<Self> {
        let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
        if size > BYTES_MAX {
            return Err(bad(path, format!("{size} bytes"), "a configuration has at most 1 MiB"));
        }
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let config: Self = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |s| {
                text.as_bytes()[..s.start.min(text.len())].iter().filter(|b| **b == b'\n').count()
                    + 1
            });
            bad(path, format!("line {line}: {}", e.message()), "see faultline.example.toml")
        })?;
        config.check(path)?;
        Ok(config)
    }

    /// Reads the keys and addresses that the sections only name, as a run would.
    ///
    /// # Errors
    /// [`Error::Usage`] with the name of what is missing.
    pub fn resolve(&self) -> Result<()> {
        if let Some(llm) = &self.llm {
            llm.endpoint().key()?;
        }
        if let Some(embeddings) = &self.embeddings {
            embeddings.endpoint().key()?;
        }
        match &self.webhook {
            Some(webhook) => webhook.address().map(|_| ()),
            None => Ok(()),
        }
    }

    /// Every path, by its key.
    fn paths(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let keys = [("archive", Some(&self.archive)), ("state", self.state.as_ref())];
        let keys = keys.into_iter().filter_map(|(key, path)| Some((key, path?)));
        let keys = keys.chain(self.jobs.iter().map(|path| ("jobs", path)));
        keys.chain(self.tail.iter().map(|tail| ("path", &tail.path))).map(|(k, p)| (k, p.as_path()))
    }

    fn check(&self, path: &Path) -> Result<()> {
        if self.tail.is_empty() {
            return Err(bad(path, "no [[tail]] entry", "name at least one file to follow"));
        }
        for (key, named) in self.paths() {
            if named.as_os_str().is_empty() {
                let message = format!("`{key}` is empty");
                return Err(bad(path, message, "write the path of a file or directory"));
            }
        }
        for (i, tail) in self.tail.iter().enumerate() {
            let file = place(&tail.path);
            if self.tail[..i].iter().any(|t| place(&t.path) == file) {
                let message = format!("{} is followed twice", tail.path.display());
                return Err(bad(path, message, "remove one of the entries"));
            }
        }
        if self.cluster.is_empty() {
            return Err(bad(path, "`cluster` is empty", "write a name, such as \"prod\""));
        }
        if !(1..=1 << 20).contains(&self.capture_mib) {
            let message = format!("`capture_mib` is {}", self.capture_mib);
            return Err(bad(path, message, "write a number from 1 to 1048576"));
        }
        for (key, length) in [("checkpoint", self.checkpoint), ("idle", self.idle)] {
            if length < SECOND / 100 {
                let message = format!("`{key}` is {}", interval::format(length));
                return Err(bad(path, message, "write a length of time such as \"10s\""));
            }
        }
        if self.lateness > LATENESS_MAX {
            let message = format!("`lateness` is {}", interval::format(self.lateness));
            return Err(bad(
                path,
                message,
                "write at most one hour: all that is read waits as long",
            ));
        }
        self.correlate.check().map_err(|m| bad(path, m, "correct [correlate]"))?;
        if let Some(webhook) = &self.webhook {
            webhook.check().map_err(|m| bad(path, m, "correct [webhook]"))?;
        }
        if let Some(llm) = &self.llm {
            llm.check().map_err(|m| bad(path, m, "correct [llm]"))?;
        }
        match &self.embeddings {
            Some(section) => section.check().map_err(|m| bad(path, m, "correct [embeddings]")),
            None => Ok(()),
        }
    }
}

/// One path for all ways to write it, whether the file is there yet or not.
fn place(path: &Path) -> PathBuf {
    let beside = || {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(parent.canonicalize()?.join(path.file_name().unwrap_or_default()))
    };
    let found = path.canonicalize().or_else(|_: std::io::Error| beside());
    found.or_else(|_: std::io::Error| std::path::absolute(path)).unwrap_or(path.to_owned())
}

fn bad(path: &Path, message: impl Into<String>, remedy: &str) -> Error {
    Error::Config { path: path.to_owned(), message: message.into(), remedy: remedy.to_owned() }
}

fn default_cluster() -> String {
    "default".to_owned()
}

fn default_lateness() -> Nanos {
    5 * SECOND
}

fn default_checkpoint() -> Nanos {
    10 * SECOND
}

fn default_idle() -> Nanos {
    30 * SECOND
}

fn default_capture() -> usize {
    256
}

fn length<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Nanos, D::Error> {
    let text = String::deserialize(deserializer)?;
    interval::parse(&text).ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is no length of time; write \"5s\""))
    })
}

fn stream<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Stream, D::Error> {
    let text = String::deserialize(deserializer)?;
    Stream::parse(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is no stream; write metrics, logs, spans or changes"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../faultline.example.toml");

    fn load(text: &str) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faultline.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    /// The example with its last sections, which are commented out, in force.
    fn with_models() -> String {
        let (before, sections) = EXAMPLE.split_once("# [llm]").unwrap();
        let (llm, embeddings) = sections.split_once("# [embeddings]").unwrap();
        format!("{before}[llm]\n{}\n[embeddings]\n{}", in_force(llm), in_force(embeddings))
    }

    fn in_force(section: &str) -> String {
        let is_key = |line: &&str| {
            let name = line.split_once(" = ").map_or("", |(name, _)| name);
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let keys = section.lines().filter_map(|l| l.strip_prefix("# ")).filter(is_key);
        keys.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_asks_no_model_and_shows_how_one_is() {
        let plain = load(EXAMPLE).unwrap();
        assert!(plain.llm.is_none() && plain.embeddings.is_none());
        let shown = load(&with_models()).unwrap();
        assert_eq!(shown.llm.unwrap().key_env.as_deref(), Some("FAULTLINE_LLM_KEY"));
        assert_eq!(shown.embeddings.unwrap().batch, 64);
    }

    #[test]
    fn the_section_is_checked_with_the_rest() {
        for (from, to, word) in [
            ("https://", "http://", "https"),
            ("calls_per_day", "calls_per_dya", "calls_per_dya"),
            ("api.example.com", "169.254.169.254", "address"),
            ("batch = 64", "batch = 0", "batch"),
            ("lateness = \"5s\"", "lateness = \"2h\"", "at most one hour"),
        ] {
            let error = load(&with_models().replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("faultline.toml"), "{error}");
        }
    }
}
