//! What is known, in memory, and how it is found: words and exact terms by BM25, vectors by
//! cosine, fused by rank and weighted by age and success.
//!
//! Invariants: a question sees only cases that were closed when it was asked, so a replay over an
//! archive that knows its end finds what the first one found; the archive is the truth, and this
//! is a cache of it; equal contents give equal answers in equal order.

use std::collections::{BTreeMap, BTreeSet};

use faultline_storage::search::{Document, Hit, Index};
use faultline_storage::vectors::Vectors;

use super::case::Case;
use super::fingerprint::{self, likeness};
use super::fusion::fuse;
use super::hashed;
use super::weight::{CASE_PRIOR, Record, SECTION_PRIOR, of_age};
use super::words::{name_key, names_asked, spelt_out};
use crate::error::Result;
use crate::model::Nanos;

/// Sections and cases that are held. Of the archive's cases the newest are taken; what a run learns
/// beyond that it finds when it starts again.
pub const SECTIONS_MAX: usize = 100_000;
pub const CASES_MAX: usize = 20_000;

/// Fingerprints at least this alike, with the same cause, are one thing that came back.
const DUPLICATE: f64 = 0.6;

/// Places of a list that count; whatever is farther down fits by accident.
const PLACES_MAX: usize = 200;

/// One section of a runbook or postmortem.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    /// Stable: derived from collection, source and heading.
    pub id: String,
    /// Cluster that it was written for.
    pub cluster: String,
    /// Name under which its directory was imported.
    pub collection: String,
    /// Path within that directory.
    pub source: String,
    /// From 1 within its document.
    pub place: i64,
    pub kind: String,
    pub title: String,
    pub heading: String,
    pub text: String,
    pub alerts: Vec<String>,
    pub services: Vec<String>,
    pub tags: Vec<String>,
    pub dated: Option<Nanos>,
}

impl Passage {
    /// What its vector is made of.
    pub fn vector_text(&self) -> String {
        format!("{}\n{}\n{}\n{}", self.title, self.alerts.join(" "), self.heading, self.text)
    }
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Only what was known by then counts.
    pub at: Nanos,
    pub text: String,
    /// Names of alerts, services and metrics as [`name_key`]s.
    pub names: Vec<String>,
    /// Exact terms; empty for a question in words.
    pub fingerprint: Vec<String>,
    /// The question's vector, of the library's model.
    pub vector: Vec<f32>,
}

impl Question {
    /// A question in words.
    pub fn of_text(text: &str, at: Nanos) -> Self {
        let vector = hashed::vector(text);
        let (text, names) = (spelt_out(text), names_asked(text));
        Self { at, text, names, fingerprint: Vec::new(), vector }
    }

    /// What is known that is like an incident.
    pub fn of_case(text: &str, fingerprint: &[String], names: &[&str], at: Nanos) -> Self {
        let mut names: Vec<String> = names.iter().map(|n| name_key(n)).collect();
        names.retain(|n| !n.is_empty());
        names.sort_unstable();
        names.dedup();
        let vector = hashed::vector(text);
        Self { at, text: spelt_out(text), names, fingerprint: fingerprint.to_vec(), vector }
    }
}

/// A case that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Similar {
    pub case: Case,
    pub score: f64,
    /// Of fingerprints, 0 to 1; 0 where the question has none.
    pub likeness: f64,
    /// How often it happened, and what was learned from all of them.
    pub times: usize,
    pub record: Record,
}

/// A section that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitting {
    pub passage: Passage,
    pub score: f64,
    /// Cosine of the vectors, 0 to 1.
    pub likeness: f64,
    /// It is about a name of the question.
    pub named: bool,
}

/// What people and outcomes said about one incident.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub record: Record,
    /// The cause as a person named it.
    pub cause: Option<String>,
}

/// Makes the vectors of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub name: String,
    pub dimensions: usize,
}

impl Model {
    pub fn built_in() -> Self {
        Self { name: hashed::MODEL.to_owned(), dimensions: hashed::DIMENSIONS }
    }
}

#[derive(Debug)]
struct Shelf {
    index: Index,
    vectors: Vectors,
}

/// Cases that are one thing that came back.
#[derive(Debug)]
struct Group {
    members: Vec<usize>,
    record: Record,
}

#[derive(Debug)]
pub struct Library {
    model: Model,
    prose: Shelf,
    passages: Vec<Passage>,
    /// Document of each passage.
    documents: Vec<usize>,
    by_id: BTreeMap<String, usize>,
    known: Shelf,
    cases: Vec<Case>,
    groups: Vec<Group>,
    /// Group of each case.
    group_of: Vec<usize>,
    verdicts: BTreeMap<String, Verdict>,
    /// What was found of sections, by id.
    judged: BTreeMap<String, Record>,
    /// Cases by the time at which they closed, until a question is late enough to see them.
    pending: BTreeMap<(Nanos, String), (Case, Vec<f32>)>,
    ids: BTreeSet<String>,
}

/// The document that a section is of.
fn of(passage: &Passage) -> (&str, &str, &str) {
    (&passage.cluster, &passage.collection, &passage.source)
}

impl Library {
    pub fn new(model: Model) -> Result<Self> {
        let shelf = |fields: &[(&str, f32)]| {
            let vectors = Vectors::new(model.dimensions);
            Ok::<_, crate::error::Error>(Shelf { index: Index::new(fields)?, vectors })
        };
        Ok(Self {
            prose: shelf(&[("title", 2.0), ("heading", 1.0), ("text", 1.0)])?,
            known: shelf(&[("text", 1.0)])?,
            model,
            passages: Vec::new(),
            documents: Vec::new(),
            by_id: BTreeMap::new(),
            cases: Vec::new(),
            groups: Vec::new(),
            group_of: Vec::new(),
            verdicts: BTreeMap::new(),
            judged: BTreeMap::new(),
            pending: BTreeMap::new(),
            ids: BTreeSet::new(),
        })
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn passages(&self) -> usize {
        self.passages.len()
    }

    /// A section by its id.
    pub fn passage(&self, id: &str) -> Option<&Passage> {
        self.by_id.get(id).map(|number| &self.passages[*number])
    }

    /// A case by its incident, whether a question has seen it or not.
    pub fn case(&self, incident_id: &str) -> Option<&Case> {
        let pending = self.pending.values().map(|(case, _)| case);
        self.cases.iter().chain(pending).find(|c| c.incident_id == incident_id)
    }

    /// Cases that are held, whether a question has seen them or not.
    pub fn cases(&self) -> usize {
        self.cases.len() + self.pending.len()
    }

    /// The latest time that a case or a document is dated to.
    pub fn latest(&self) -> Option<Nanos> {
        let pending = self.pending.last_key_value().map(|((at, _), _)| *at);
        let dated = self.passages.iter().filter_map(|p| p.dated);
        dated.chain(self.cases.iter().map(|c| c.closed_at)).chain(pending).max()
    }

    /// Adds sections with their vectors; one without a vector of this model is found by its words.
    pub fn add_passages(&mut self, mut added: Vec<(Passage, Vec<f32>)>) -> Result<()> {
        added.sort_by(|(a, _), (b, _)| (of(a), a.place).cmp(&(of(b), b.place)));
        added.truncate(SECTIONS_MAX.saturating_sub(self.passages.len()));
        let mut documents = Vec::new();
        for (passage, vector) in added {
            let number = self.passages.len();
            documents.push(document(number as u64, &passage));
            self.prose.vectors.add(number as u64, &vector);
            let previous = self.passages.last().zip(self.documents.last());
            let same = |before: &Passage| of(before) == of(&passage);
            self.documents.push(match previous {
                Some((before, document)) if same(before) => *document,
                Some((_, document)) => document + 1,
                None => 0,
            });
            self.by_id.insert(passage.id.clone(), number);
            self.passages.push(passage);
        }
        Ok(self.prose.index.add(documents)?)
    }

    /// What is known about an incident; must come before its case is first seen by a question.
    pub fn judge(&mut self, incident_id: &str, verdict: Verdict) {
        let known = self.verdicts.entry(incident_id.to_owned()).or_default();
        known.record.append(&verdict.record);
        known.cause = verdict.cause.or(known.cause.take());
    }

    /// What was found of a section, by its id.
    pub fn judge_section(&mut self, id: &str, record: &Record) {
        self.judged.entry(id.to_owned()).or_default().append(record);
    }

    /// Adds a case with its vector, which is made where it is empty and the model is built in.
    pub fn add_case(&mut self, case: Case, vector: Vec<f32>) {
        if self.cases() >= CASES_MAX || !self.ids.insert(case.incident_id.clone()) {
            return;
        }
        let vector = if vector.is_empty() && self.model == Model::built_in() {
            hashed::vector(&case.text)
        } else {
            vector
        };
        self.pending.insert((case.closed_at, case.incident_id.clone()), (case, vector));
    }

    /// Lets questions see the cases that were closed by `at`.
    fn admit(&mut self, at: Nanos) -> Result<()> {
        let mut documents = Vec::new();
        while let Some(entry) = self.pending.first_entry()
            && entry.key().0 <= at
        {
            let (case, vector) = entry.remove();
            let case = self.corrected(case);
            let number = self.cases.len();
            documents.push(Document {
                number: number as u64,
                texts: vec![spelt_out(&case.text)],
                terms: case.fingerprint.clone(),
            });
            self.known.vectors.add(number as u64, &vector);
            self.group(number, &case);
            self.cases.push(case);
        }
        if !documents.is_empty() {
            self.known.index.add(documents)?;
        }
        Ok(())
    }

    /// The case with the cause that a person named in place of the one that was found.
    fn corrected(&self, mut case: Case) -> Case {
        let cause = self.verdicts.get(&case.incident_id).and_then(|v| v.cause.clone());
        if let Some(cause) = cause.filter(|c| *c != case.root_service) {
            case.fingerprint.retain(|t| !t.starts_with("cause:"));
            case.fingerprint.push(format!("cause:{cause}"));
            case.fingerprint.sort_unstable();
            case.root_service = cause;
            case.root_kind = "unknown".to_owned();
            // They answered another cause.
            case.actions = Vec::new();
        }
        case
    }

    /// Finds what the case repeats.
    fn group(&mut self, number: usize, case: &Case) {
        let repeated = self.groups.iter().position(|group| {
            let first = &self.cases[group.members[0]];
            (&first.root_service, &first.root_kind) == (&case.root_service, &case.root_kind)
                && first.cluster == case.cluster
                && likeness(&first.fingerprint, &case.fingerprint) >= DUPLICATE
        });
        let at = repeated.unwrap_or_else(|| {
            self.groups.push(Group { members: Vec::new(), record: Record::default() });
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        group.members.push(number);
        if let Some(verdict) = self.verdicts.get(&case.incident_id) {
            group.record.append(&verdict.record);
        }
        self.group_of.push(at);
    }

    /// Cases that were closed before the question and are like it, best first; what came back
    /// several times is there once, as it was last.
    pub fn similar(&mut self, question: &Question, limit: usize) -> Result<Vec<Similar>> {
        self.admit(question.at)?;
        let terms: Vec<(String, f32)> =
            question.fingerprint.iter().map(|t| (t.clone(), fingerprint::weight(t))).collect();
        let lists = [
            self.known.index.terms(&terms)?,
            self.known.index.words(&question.text)?,
            self.nearest(&self.known, &question.vector),
        ];
        let lists = lists.map(|hits| places(&hits, |n| self.group_of[n]));
        // Another question, asked of a later time, may have let in more than this one may see.
        let members = |g: usize| {
            let all = self.groups[g].members.iter().map(|n| &self.cases[*n]);
            all.filter(|case| case.closed_at <= question.at)
        };
        let weight = |g: usize| {
            let newest = members(g).map(|case| case.closed_at).max();
            let trust = self.groups[g].record.trust(CASE_PRIOR, question.at);
            newest.map_or(0.0, |at| trust * of_age(Some(at), question.at))
        };
        let similar = |(g, score): (usize, f64)| {
            let newest = members(g).max_by_key(|case| case.closed_at)?;
            Some(Similar {
                case: newest.clone(),
                score,
                likeness: likeness(&newest.fingerprint, &question.fingerprint),
                times: members(g).count(),
                record: self.groups[g].record.clone(),
            })
        };
        Ok(fuse(&lists, weight).into_iter().filter_map(similar).take(limit).collect())
    }

    /// Sections that fit, best first, at most one of a document.
    pub fn fitting(&self, question: &Question, limit: usize) -> Result<Vec<Fitting>> {
        let names: Vec<(String, f32)> = question.names.iter().map(|n| (n.clone(), 1.0)).collect();
        let named = self.prose.index.terms(&names)?;
        let words = self.prose.index.words(&question.text)?;
        let near = self.nearest(&self.prose, &question.vector);
        let trust = |section: usize| {
            let record = self.judged.get(&self.passages[section].id);
            record.map_or(1.0, |record| record.trust(SECTION_PRIOR, question.at))
        };
        // Which section of a document stands for it.
        let sections = fuse(&[places(&words, |n| n), places(&near, |n| n)], trust);
        let mut best: BTreeMap<usize, usize> = BTreeMap::new();
        for (section, _) in &sections {
            best.entry(self.documents[*section]).or_insert(*section);
        }
        let about: BTreeSet<usize> =
            named.iter().map(|h| self.documents[h.number as usize]).collect();
        for hit in &named {
            best.entry(self.documents[hit.number as usize]).or_insert(hit.number as usize);
        }
        let cosines: BTreeMap<u64, f32> = near.iter().map(|h| (h.number, h.score)).collect();
        let lists = [named, words, near].map(|hits| places(&hits, |n| self.documents[n]));
        let weight = |document: usize| {
            best.get(&document).map_or(0.0, |section| {
                of_age(self.passages[*section].dated, question.at) * trust(*section)
            })
        };
        let fitting = |(document, score): (usize, f64)| {
            let section = *best.get(&document)?;
            Some(Fitting {
                passage: self.passages[section].clone(),
                score,
                likeness: cosines.get(&(section as u64)).copied().unwrap_or_default().into(),
                named: about.contains(&document),
            })
        };
        Ok(fuse(&lists, weight).into_iter().filter_map(fitting).take(limit).collect())
    }

    fn nearest(&self, shelf: &Shelf, vector: &[f32]) -> Vec<Hit> {
        let vectors = &shelf.vectors;
        if self.model != Model::built_in() {
            return vectors.nearest(vector, &vec![1.0; self.model.dimensions]);
        }
        let mut near = vectors.nearest(vector, &hashed::rarity(vectors.used(), vectors.len()));
        near.retain(|hit| hit.score >= hashed::NOISE);
        near
    }
}

fn document(number: u64, passage: &Passage) -> Document {
    let named = passage.alerts.iter().chain(&passage.services);
    // Tags are words that many documents share, and no names.
    let spoken = std::iter::once(&passage.title).chain(&passage.alerts).chain(&passage.tags);
    let title = spoken.map(String::as_str).collect::<Vec<_>>().join(" ");
    let texts = [&title, &passage.heading, &passage.text].map(|text| spelt_out(text)).to_vec();
    Document { number, texts, terms: named.map(|n| name_key(n)).collect() }
}

/// The first places of a list, each item once.
fn places(hits: &[Hit], item: impl Fn(usize) -> usize) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let items = hits.iter().map(|h| item(h.number as usize));
    items.filter(|i| seen.insert(*i)).take(PLACES_MAX).collect()
}

#[cfg(test)]
mod tests;
