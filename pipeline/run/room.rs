//! A live run that has nowhere to write waits for room instead of ending: its input waits too, and
//! those who ask the archive are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two times that the waiting is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);

pub struct Room {
    stop: Arc<AtomicBool>,
    /// When it was last told that there is none.
    told: Option<Instant>,
}

impl Room {
    /// `stop` ends the waiting.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self { stop, told: None }
    }

    /// Waits a while after `error`, or returns it where waiting does not help or is to end.
    pub async fn wait(&mut self, error: Error) -> Result<()> {
        let passes = matches!(&error, Error::Storage(e) if e.wants_room());
        if !passes || self.stop.load(Ordering::Relaxed) {
            return Err(error);
        }
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.told = Some(Instant::now());
            tracing::error!("this run waits for room, and goes on by itself: {error}");
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    /// What had no room has been written.
    pub fn found(&mut self) {
        if self.told.take().is_some() {
            tracing::warn!("there is room again: the run goes on");
        }
    }
}

/// What only keeps the archive tidy may be left for when there is room.
pub fn spare(done: Result<usize>) -> Result<()> {
    match done {
        Err(Error::Storage(error)) if error.wants_room() => {
            tracing::warn!("the archive is left untidy, which harms nothing: {error}");
            Ok(())
        }
        done => done.map(|_| ()),
    }
}
