//! A live run that has nowhere to write waits for room instead of ending: its input waits too, and
//! those who ask the archive are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

pub struct Room {
    stop: Arc<AtomicBool>,
    /// The error that was told; empty while there is room.
    told: String,
}

impl Room {
    /// `stop` ends the waiting.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop, told: String::new() }
    }

    /// Waits a while after `error`, or returns it where waiting does not help or is to end.
    pub async fn wait(&mut self, error: Error) -> Result<()> {
        let passes = matches!(&error, Error::Storage(e) if e.wants_room());
        if !passes || self.stop.load(Ordering::Relaxed) {
            return Err(error);
        }
        if self.told.is_empty() {
            self.told = error.to_string();
            tracing::error!("{error}; this run waits, and goes on by itself once there is room");
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    /// What had no room has been written.
    pub fn found(&mut self) {
        if !std::mem::take(&mut self.told).is_empty() {
            tracing::warn!("there is room again; the run goes on");
        }
    }
}

/// What only keeps the archive tidy may be left for when there is room.
pub fn spare(done: Result<usize>) -> Result<()> {
    match done {
        Err(Error::Storage(error)) if error.wants_room() => {
            tracing::warn!("files of the archive are not merged: {error}");
            Ok(())
        }
        done => done.map(|_| ()),
    }
}
