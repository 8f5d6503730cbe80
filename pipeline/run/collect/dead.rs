//! Rows that could not be used: kept for the archive, counted, and shown to whoever can mend them.

use std::collections::{BTreeMap, BTreeSet};

use crate::knowledge::DeadRow;
use crate::run::letter::EXPRESSION;
use crate::run::report::SetAside;
use crate::source::escape;

/// Dead letters kept one by one; later ones of a file are counted by the first for their reason.
const KEPT_MAX: usize = 100_000;

/// The same of one job, which fails on every row if it is wrong.
const KEPT_OF_JOB_MAX: usize = 1_000;

/// Warnings of one run.
const WARNINGS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct DeadLetters {
    /// What the archive is yet to get: of the input, and of each job.
    kept: Vec<DeadRow>,
    of_jobs: BTreeMap<String, Vec<DeadRow>>,
    by_reason: BTreeMap<String, u64>,
    /// Of every reason the row that stands first, by file and line, as far as this process saw.
    first: BTreeMap<String, DeadRow>,
    /// Files and reasons that were warned of.
    warned: BTreeSet<(String, String)>,
}

impl DeadLetters {
    /// Goes on counting where an earlier process was.
    pub fn resume(&mut self, by_reason: BTreeMap<String, u64>) {
        self.by_reason = by_reason;
    }

    pub fn by_reason(&self) -> &BTreeMap<String, u64> {
        &self.by_reason
    }

    /// What has come since the last call. Jobs go on beside the input, so that their letters come
    /// between those of the input at any place: they stand behind all of them.
    pub fn take(&mut self) -> Vec<DeadRow> {
        let of_jobs = std::mem::take(&mut self.of_jobs).into_values().flatten();
        std::mem::take(&mut self.kept).into_iter().chain(of_jobs).collect()
    }

    /// Warns of the first row of each file and reason, for a run that may not end for long.
    pub fn warn(&mut self, letters: &[DeadRow]) {
        for letter in letters {
            let kind = (letter.file.clone(), letter.reason.clone());
            if self.warned.len() >= WARNINGS_MAX || !self.warned.insert(kind) {
                continue;
            }
            let (file, detail) = (escape::line(&letter.file), escape::line(&letter.detail));
            // What is read and refused later has no line any more.
            let line = (letter.line > 0).then_some(letter.line);
            tracing::warn!(
                %file,
                line,
                reason = letter.reason,
                "a row became a dead letter: {detail}; more like it are not told"
            );
        }
    }

    pub fn bury(&mut self, letters: Vec<DeadRow>) {
        for letter in letters {
            *self.by_reason.entry(letter.reason.clone()).or_default() += letter.rows;
            self.show(&letter);
            let (kept, most) = match letter.reason == EXPRESSION {
                true => (self.of_jobs.entry(letter.file.clone()).or_default(), KEPT_OF_JOB_MAX),
                false => (&mut self.kept, KEPT_MAX),
            };
            if kept.len() < most {
                kept.push(letter);
                continue;
            }
            let same = |kept: &&mut DeadRow| {
                (kept.stream, &kept.file, &kept.reason)
                    == (letter.stream, &letter.file, &letter.reason)
            };
            match kept[most - 1..].iter_mut().find(same) {
                Some(kept) => kept.rows += letter.rows,
                None => kept.push(letter),
            }
        }
    }

    /// Independent of the order in which batches come.
    fn show(&mut self, letter: &DeadRow) {
        let before = |shown: &DeadRow| (&letter.file, letter.line) < (&shown.file, shown.line);
        if self.first.get(&letter.reason).is_none_or(before) {
            self.first.insert(letter.reason.clone(), letter.clone());
        }
    }

    pub fn report(mut self) -> Vec<SetAside> {
        let set_aside = |(reason, rows)| {
            let first = self.first.remove(&reason);
            SetAside { reason, rows, first }
        };
        self.by_reason.into_iter().map(set_aside).collect()
    }
}
