//! Answers kept by the fingerprint of what was asked: in memory so that nothing is asked twice, in
//! files so that a run can be repeated without a model.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use faultline_storage::durable;
use serde::{Deserialize, Serialize};

use super::client::{NoReply, Reply};
use crate::error::{Error, Result};

/// Answers kept in memory.
const CACHED_MAX: usize = 256;

/// Where answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The endpoint.
    Live,
    /// The endpoint; answers are written to files.
    Record,
    /// Those files and nothing else.
    Replay,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Reply(Reply),
    Failed(Failed),
}

/// Why a call failed, and after how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    #[serde(flatten)]
    pub why: NoReply,
    /// Tries and waits included.
    pub latency_ms: u64,
}

/// Answers in files, one per question.
pub struct Recordings {
    dir: PathBuf,
}

impl Recordings {
    pub fn open(dir: &Path) -> Result<Self> {
        durable::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// What was answered; `None` where this was never asked.
    pub fn find(&self, fingerprint: &str) -> Option<Outcome> {
        let bytes = std::fs::read(self.path(fingerprint)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub fn keep(&self, fingerprint: &str, outcome: &Outcome) -> Result<()> {
        let path = self.path(fingerprint);
        let text = serde_json::to_string_pretty(outcome)
            .map_err(|e| Error::io(&path)(std::io::Error::other(e)))?;
        Ok(durable::replace(&path, [text.as_bytes()])?)
    }

    fn path(&self, fingerprint: &str) -> PathBuf {
        self.dir.join(format!("{fingerprint}.json"))
    }
}

/// The latest answers.
#[derive(Debug, Default)]
pub struct Cache {
    replies: BTreeMap<String, Reply>,
    order: VecDeque<String>,
}

impl Cache {
    pub fn find(&self, fingerprint: &str) -> Option<&Reply> {
        self.replies.get(fingerprint)
    }

    pub fn keep(&mut self, fingerprint: &str, reply: &Reply) {
        if self.replies.insert(fingerprint.to_owned(), reply.clone()).is_none() {
            self.order.push_back(fingerprint.to_owned());
        }
        if self.order.len() > CACHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.replies.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Failure;
    use super::*;

    fn reply(content: &str) -> Reply {
        Reply { content: content.to_owned(), tokens: Some((1, 2)), latency_ms: 3 }
    }

    #[test]
    fn outcomes_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let recordings = Recordings::open(&dir.path().join("answers")).unwrap();
        let failed = Failed { why: Failure::Timeout.into(), latency_ms: 7 };
        let outcomes = [Outcome::Reply(reply("{}")), Outcome::Failed(failed)];
        for (n, outcome) in outcomes.iter().enumerate() {
            recordings.keep(&n.to_string(), outcome).unwrap();
            assert_eq!(recordings.find(&n.to_string()).as_ref(), Some(outcome));
        }
        assert_eq!(recordings.find("2"), None);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = Cache::default();
        for n in 0..=CACHED_MAX {
            cache.keep(&n.to_string(), &reply("a"));
        }
        assert!(cache.find("0").is_none() && cache.find("1").is_some());
        assert_eq!(cache.replies.len(), CACHED_MAX);
    }
}
