//! Runs one job over what ingest passes on.

use std::collections::VecDeque;

use arrow::record_batch::RecordBatch;

use super::plan::Job;
use super::rows::{Msg, Rows};
use super::schema::Stream;
use super::sift::Fault;
use super::stage::Stage;
use crate::error::Result;
use crate::model::Nanos;

/// State of one job at a barrier: node, part and batches.
pub type Saved = Vec<(usize, String, Vec<RecordBatch>)>;

/// A job with its place in time.
pub struct Driver {
    job: Job,
    sources: Vec<(usize, Stream)>,
}

impl Driver {
    pub fn new(job: Job) -> Self {
        let source = |(at, node): (usize, &super::stage::Node)| match node.stage {
            Stage::Source(stream) => Some((at, stream)),
            _ => None,
        };
        let sources = job.nodes.iter().enumerate().filter_map(source).collect();
        Self { job, sources }
    }

    /// Rows of one stream; returns what reaches the sink.
    pub async fn rows(&mut self, stream: Stream, rows: &Rows) -> Result<Vec<RecordBatch>> {
        let fed: Vec<usize> =
            self.sources.iter().filter(|(_, s)| *s == stream).map(|(at, _)| *at).collect();
        let mut out = Vec::new();
        for at in fed {
            self.push(at, Msg::Batch(rows.clone()), &mut out).await?;
        }
        Ok(out)
    }

    /// Event time has reached `watermark`; returns what reaches the sink before it.
    pub async fn watermark(&mut self, watermark: Nanos) -> Result<Vec<RecordBatch>> {
        self.everywhere(Msg::Watermark(watermark)).await
    }

    /// Series have other ids from here on.
    pub async fn renumber(&mut self) -> Result<()> {
        self.everywhere(Msg::Renumbered).await.map(drop)
    }

    /// Nothing follows: every open window closes.
    pub async fn end(&mut self) -> Result<Vec<RecordBatch>> {
        self.everywhere(Msg::End).await
    }

    async fn everywhere(&mut self, msg: Msg) -> Result<Vec<RecordBatch>> {
        let mut out = Vec::new();
        for (at, _) in self.sources.clone() {
            self.push(at, msg.clone(), &mut out).await?;
        }
        Ok(out)
    }

    async fn push(&mut self, source: usize, msg: Msg, out: &mut Vec<RecordBatch>) -> Result<()> {
        let mut queue = VecDeque::from([(source, 0, msg)]);
        while let Some((at, port, msg)) = queue.pop_front() {
            let node = &mut self.job.nodes[at];
            let next = node.next;
            for msg in node.step(port, msg).await? {
                match (next, msg) {
                    (Some((at, port)), msg) => queue.push_back((at, port, msg)),
                    (None, Msg::Batch(rows)) => out.push(rows.batch),
                    (None, Msg::Watermark(_) | Msg::Renumbered | Msg::End) => {}
                }
            }
        }
        Ok(())
    }

    /// How many series the job's first stateful stage watches, from which event time on.
    pub fn take_census(&mut self) -> Vec<(Nanos, usize)> {
        let all = self.job.nodes.iter_mut().filter_map(|n| match &mut n.stage {
            Stage::Over(over) => Some(over.take_census()),
            _ => None,
        });
        // The others are taken, too, so that they do not pile up.
        all.reduce(|first, _| first).unwrap_or_default()
    }

    /// Rows since the last call that the job's SQL cannot work with, which it goes on without.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        self.job.nodes.iter_mut().flat_map(|node| std::mem::take(&mut node.faults)).collect()
    }

    /// The state of every stage; the job goes on unchanged.
    pub fn save(&mut self) -> Result<Saved> {
        let mut out = Vec::new();
        for (at, node) in self.job.nodes.iter_mut().enumerate() {
            out.extend(node.save()?.into_iter().map(|(name, batches)| (at, name, batches)));
        }
        Ok(out)
    }

    pub fn restore(&mut self, saved: &Saved) -> Result<()> {
        for (at, name, batches) in saved {
            if let Some(node) = self.job.nodes.get_mut(*at) {
                node.restore(name, batches)?;
            }
        }
        Ok(())
    }
}
