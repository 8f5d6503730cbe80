//! Files that grow: followed across rotation, truncation and replacement, resumed from a position.

mod follower;
mod identity;
mod rotated;

use std::path::PathBuf;
use std::time::Instant;

use follower::Follower;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Error;
use super::{Chunk, Next, Registries};
use crate::stream::schema::Stream;

/// A file to follow: CSV for metrics, JSON lines for the other streams. It may not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailFile {
    pub path: PathBuf,
    pub stream: Stream,
}

/// Reader of growing files. It polls: when there is nothing new it says so and the caller waits.
pub struct Tail {
    followers: Vec<Follower>,
    batch_rows: usize,
    /// Whose turn is next, so that a busy file does not keep the others waiting.
    turn: usize,
    /// When each file was last asked for rows.
    polled: Vec<Instant>,
}

/// How far every file has been handed out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    version: u32,
    files: Vec<follower::Saved>,
}

const POSITION_VERSION: u32 = 1;

impl Tail {
    /// Opens the files that exist and checks their headers. With a position from [`Tail::position`]
    /// it goes on behind the rows handed out then: in a renamed file first if need be, and through
    /// those that were rotated away after it.
    pub fn open(
        files: Vec<TailFile>,
        batch_rows: usize,
        cluster: &str,
        position: Option<&Value>,
    ) -> Result<Self, Error> {
        let mut saved = position.map(parse).transpose()?.unwrap_or_default();
        let mut followers = Vec::new();
        for (partition, file) in files.into_iter().enumerate() {
            let place = saved.iter().position(|s| s.path == file.path);
            let resume = place.map(|i| saved.swap_remove(i));
            followers.push(Follower::open(file, partition as u32, cluster, resume)?);
        }
        let polled = vec![Instant::now(); followers.len()];
        Ok(Self { followers, batch_rows: batch_rows.max(1), turn: 0, polled })
    }

    /// New rows of one file that is wanted, or [`Next::Idle`]. Without files it ends.
    pub fn next(
        &mut self,
        registries: &mut Registries,
        wanted: impl Fn(Stream, u32) -> bool,
    ) -> Result<Next, Error> {
        let count = self.followers.len();
        if count == 0 {
            return Ok(Next::End);
        }
        for _ in 0..count {
            let turn = self.turn;
            let follower = &mut self.followers[turn];
            self.turn = (turn + 1) % count;
            if !wanted(follower.stream(), turn as u32) {
                continue;
            }
            let registry = registries.get_mut(follower.stream());
            let found = follower.poll(self.batch_rows, registry)?;
            self.polled[turn] = Instant::now();
            if let Some(chunk) = found {
                return Ok(Next::Chunk(chunk));
            }
        }
        Ok(Next::Idle)
    }

    /// When a partition was last asked for rows.
    pub fn polled(&self, partition: u32) -> Option<Instant> {
        self.polled.get(partition as usize).copied()
    }

    /// Path of a partition.
    pub fn file(&self, partition: u32) -> String {
        let follower = self.followers.get(partition as usize);
        follower.map(|f| f.path().display().to_string()).unwrap_or_default()
    }

    /// The place behind the last chunk handed out; durable together with what the rows led to.
    pub fn position(&self) -> Value {
        let files: Vec<_> = self.followers.iter().filter_map(Follower::saved).collect();
        serde_json::json!({ "version": POSITION_VERSION, "files": files })
    }
}

fn parse(value: &Value) -> Result<Vec<follower::Saved>, Error> {
    let problem = match Position::deserialize(value) {
        Ok(position) if position.version == POSITION_VERSION => return Ok(position.files),
        Ok(position) => format!("version {} is not {POSITION_VERSION}", position.version),
        Err(error) => error.to_string(),
    };
    Err(Error::Position { problem })
}

#[cfg(test)]
mod tests;
