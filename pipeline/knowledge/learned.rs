//! Cases, sections, vectors and feedback as rows, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Builder, ListBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use super::case::Case;
use super::hashed;
use super::library::{Passage, Verdict};
use super::rows::{day_of, integer, micros, named, text, texts, time};
use super::weight::{Record, Vote};
use crate::error::Result;
use crate::model::Nanos;

/// Digits of a vector's id.
const VECTOR_ID_DIGITS: usize = 32;

/// A section with what the archive keeps beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub passage: Passage,
    /// Of the document, BLAKE3.
    pub hash: String,
    /// Directory that it was read from; unknown where an older version has written it.
    pub root: Option<String>,
    pub revision: i64,
    pub removed: bool,
}

/// What a person said about an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    pub cluster: String,
    pub opened_at: Nanos,
    pub incident_id: String,
    pub number: i64,
    pub said: Said,
}

/// What was said, by whom and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub cause: Option<String>,
    pub helpful: Option<bool>,
    pub note: String,
    /// Empty for nobody in particular.
    pub by: String,
    /// Unknown where an older version has recorded it.
    pub at: Option<Nanos>,
}

/// Vectors by their ids.
pub type VectorsById = BTreeMap<String, Vec<f32>>;

/// The id of the vector of a text that `owner` has; an incident, or nobody in particular.
pub fn vector_id(owner: &str, text: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(owner.as_bytes()).update(&[0]).update(text.as_bytes());
    hasher.finalize().to_hex().as_str()[..VECTOR_ID_DIGITS].to_owned()
}

impl Case {
    pub fn vector_id(&self) -> String {
        vector_id(&self.incident_id, &self.text)
    }
}

impl Passage {
    pub fn vector_id(&self) -> String {
        vector_id("", &self.vector_text())
    }
}

/// Rows of `cases`.
pub fn case_rows(of: &[Case]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter([
        ("cluster", text(of, |c| named(&c.cluster))),
        ("day", text(of, |c| day_of(c.opened_at))),
        ("incident_id", text(of, |c| &c.incident_id)),
        ("opened_at", time(of, |c| c.opened_at)),
        ("closed_at", time(of, |c| c.closed_at)),
        ("title", text(of, |c| &c.title)),
        ("services", texts(of, |c| &c.services)),
        ("root_service", text(of, |c| &c.root_service)),
        ("root_kind", text(of, |c| &c.root_kind)),
        ("fingerprint", texts(of, |c| &c.fingerprint)),
        ("actions", texts(of, |c| &c.actions)),
        ("text", text(of, |c| &c.text)),
        ("vector_id", text(of, Case::vector_id)),
    ])?)
}

pub fn cases(rows: &[RecordBatch]) -> Vec<Case> {
    each(rows, |columns, row| Case {
        incident_id: columns.text("incident_id", row),
        cluster: columns.text("cluster", row),
        opened_at: columns.time("opened_at", row).unwrap_or_default(),
        closed_at: columns.time("closed_at", row).unwrap_or_default(),
        title: columns.text("title", row),
        services: columns.texts("services", row),
        root_service: columns.text("root_service", row),
        root_kind: columns.text("root_kind", row),
        fingerprint: columns.texts("fingerprint", row),
        actions: columns.texts("actions", row),
        text: columns.text("text", row),
    })
}

/// What `read` makes of each row.
pub fn each<T>(rows: &[RecordBatch], read: impl Fn(&Columns<'_>, usize) -> T) -> Vec<T> {
    let of = |batch| (0..RecordBatch::num_rows(batch)).map(|row| read(&Columns(batch), row));
    rows.iter().flat_map(of).collect()
}

/// Rows of `runbooks`.
pub fn section_rows(of: &[Section]) -> Result<RecordBatch> {
    let dated: Vec<Option<i64>> = of.iter().map(|s| s.passage.dated.map(micros)).collect();
    let removed: BooleanArray = of.iter().map(|s| Some(s.removed)).collect();
    let root: StringArray = of.iter().map(|s| s.root.as_deref()).collect();
    Ok(RecordBatch::try_from_iter([
        ("cluster", text(of, |s| named(&s.passage.cluster))),
        ("section_id", text(of, |s| &s.passage.id)),
        ("collection", text(of, |s| &s.passage.collection)),
        ("source", text(of, |s| &s.passage.source)),
        ("section", integer(of, |s| s.passage.place)),
        ("kind", text(of, |s| &s.passage.kind)),
        ("title", text(of, |s| &s.passage.title)),
        ("heading", text(of, |s| &s.passage.heading)),
        ("text", text(of, |s| &s.passage.text)),
        ("alerts", texts(of, |s| &s.passage.alerts)),
        ("services", texts(of, |s| &s.passage.services)),
        ("tags", texts(of, |s| &s.passage.tags)),
        ("dated", Arc::new(TimestampMicrosecondArray::from(dated).with_timezone("UTC"))),
        ("hash", text(of, |s| &s.hash)),
        ("vector_id", text(of, |s| s.passage.vector_id())),
        ("revision", integer(of, |s| s.revision)),
        ("removed", Arc::new(removed) as ArrayRef),
        ("root", Arc::new(root) as ArrayRef),
    ])?)
}

pub fn sections(rows: &[RecordBatch]) -> Vec<Section> {
    each(rows, |columns, row| Section {
        passage: Passage {
            id: columns.text("section_id", row),
            cluster: columns.text("cluster", row),
            collection: columns.text("collection", row),
            source: columns.text("source", row),
            place: columns.integer("section", row),
            kind: columns.text("kind", row),
            title: columns.text("title", row),
            heading: columns.text("heading", row),
            text: columns.text("text", row),
            alerts: columns.texts("alerts", row),
            services: columns.texts("services", row),
            tags: columns.texts("tags", row),
            dated: columns.time("dated", row),
        },
        hash: columns.text("hash", row),
        root: Some(columns.text("root", row)).filter(|root| !root.is_empty()),
        revision: columns.integer("revision", row),
        removed: columns.flag("removed", row).unwrap_or_default(),
    })
}

/// Rows of `vectors`.
pub fn vector_rows(cluster: &str, model: &str, of: &[(String, Vec<f32>)]) -> Result<RecordBatch> {
    let mut vectors = ListBuilder::new(Float64Builder::new());
    for (_, vector) in of {
        vectors.append_value(vector.iter().map(|v| Some(f64::from(*v))));
    }
    Ok(RecordBatch::try_from_iter([
        ("cluster", text(of, |_| named(cluster))),
        ("model", text(of, |_| model)),
        ("vector_id", text(of, |(id, _)| id)),
        ("vector", Arc::new(vectors.finish()) as ArrayRef),
    ])?)
}

/// The built-in vector of a case, as a row of `vectors`.
pub fn case_vector_row(case: &Case) -> Result<RecordBatch> {
    let vector = [(case.vector_id(), hashed::vector(&case.text))];
    vector_rows(&case.cluster, hashed::MODEL, &vector)
}

pub fn vectors(rows: &[RecordBatch]) -> VectorsById {
    let mut out = VectorsById::new();
    for batch in rows {
        let columns = Columns(batch);
        let Some(vectors) = columns.column("vector") else { continue };
        for row in 0..batch.num_rows() {
            let items = vectors.as_list::<i32>().value(row);
            let values = items.as_primitive::<Float64Type>().values();
            let vector = values.iter().map(|v| *v as f32).collect();
            out.insert(columns.text("vector_id", row), vector);
        }
    }
    out
}

/// Rows of `feedback`.
pub fn feedback_rows(of: &[Feedback]) -> Result<RecordBatch> {
    let cause: StringArray = of.iter().map(|f| f.said.cause.as_deref()).collect();
    let helpful: BooleanArray = of.iter().map(|f| f.said.helpful).collect();
    let at: Vec<Option<i64>> = of.iter().map(|f| f.said.at.map(micros)).collect();
    Ok(RecordBatch::try_from_iter([
        ("cluster", text(of, |f| named(&f.cluster))),
        ("day", text(of, |f| day_of(f.opened_at))),
        ("incident_id", text(of, |f| &f.incident_id)),
        ("number", integer(of, |f| f.number)),
        ("cause", Arc::new(cause) as ArrayRef),
        ("helpful", Arc::new(helpful) as ArrayRef),
        ("note", text(of, |f| &f.said.note)),
        ("given_by", text(of, |f| &f.said.by)),
        ("given_at", Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC"))),
    ])?)
}

/// What each person has said about each incident, from rows of `feedback` in the order in which
/// they were given: of two words of one person the later counts, and what it leaves open stays.
pub fn opinions(rows: &[RecordBatch]) -> BTreeMap<String, Vec<Said>> {
    let mut out: BTreeMap<String, Vec<Said>> = BTreeMap::new();
    let read = |columns: &Columns<'_>, row| {
        let cause = Some(columns.text("cause", row)).filter(|c| !c.is_empty());
        let said = Said {
            cause,
            helpful: columns.flag("helpful", row),
            note: columns.text("note", row),
            by: columns.text("given_by", row),
            at: columns.time("given_at", row),
        };
        (columns.text("incident_id", row), said)
    };
    for (incident, mut said) in each(rows, read) {
        let people = out.entry(incident).or_default();
        if let Some(at) = people.iter().position(|earlier| earlier.by == said.by) {
            let earlier = people.remove(at);
            said.cause = said.cause.or(earlier.cause);
            said.helpful = said.helpful.or(earlier.helpful);
        }
        people.push(said);
    }
    out
}

/// What opinions say about the causes that were `found`, by incident. Each is one vote: against the
/// case where it did not help or the cause was another. The cause that was named last is the true
/// one.
pub fn votes(
    opinions: &BTreeMap<String, Vec<Said>>,
    found: &BTreeMap<String, String>,
) -> BTreeMap<String, Verdict> {
    let verdict = |(incident, people): (&String, &Vec<Said>)| {
        let mut verdict = Verdict::default();
        for said in people {
            let other = said.cause.as_ref().zip(found.get(incident)).is_some_and(|(s, f)| s != f);
            let right = said.helpful != Some(false) && !other;
            verdict.record.add(Vote { right, at: said.at });
            verdict.cause = said.cause.clone().or(verdict.cause);
        }
        (incident.clone(), verdict)
    };
    opinions.iter().map(verdict).collect()
}

/// What opinions say about sections of runbooks, by section, given which incidents were told with
/// which, in order: a vote by each person who said whether the diagnosis helped.
pub fn section_votes(
    opinions: &BTreeMap<String, Vec<Said>>,
    cited: &[(String, String)],
) -> BTreeMap<String, Record> {
    let mut out: BTreeMap<String, Record> = BTreeMap::new();
    for (incident, section) in cited {
        for said in opinions.get(incident).into_iter().flatten() {
            if let Some(right) = said.helpful {
                out.entry(section.clone()).or_default().add(Vote { right, at: said.at });
            }
        }
    }
    out
}

/// How often actions worked, by incident, from rows of `outcomes`.
pub fn outcomes(rows: &[RecordBatch]) -> BTreeMap<String, Verdict> {
    let mut out: BTreeMap<String, Verdict> = BTreeMap::new();
    for batch in rows {
        let columns = Columns(batch);
        for row in 0..batch.num_rows() {
            let right = columns.text("result", row) == "verified";
            let verdict = out.entry(columns.text("incident_id", row)).or_default();
            verdict.record.add(Vote { right, at: columns.time("decided_at", row) });
        }
    }
    out
}

/// Values of a batch by column name; what is missing or null is empty.
pub struct Columns<'a>(pub &'a RecordBatch);

impl Columns<'_> {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.0.column_by_name(name)
    }

    fn valid(&self, name: &str, row: usize) -> Option<&ArrayRef> {
        self.column(name).filter(|c| c.is_valid(row))
    }

    pub fn text(&self, name: &str, row: usize) -> String {
        let column = self.valid(name, row).and_then(|c| c.as_string_opt::<i32>());
        column.map_or_else(String::new, |c| c.value(row).to_owned())
    }

    pub fn integer(&self, name: &str, row: usize) -> i64 {
        let column = self.valid(name, row).and_then(|c| c.as_primitive_opt::<Int64Type>());
        column.map_or(0, |c| c.value(row))
    }

    pub fn real(&self, name: &str, row: usize) -> f64 {
        let column = self.valid(name, row).and_then(|c| c.as_primitive_opt::<Float64Type>());
        column.map_or(f64::NAN, |c| c.value(row))
    }

    pub fn flag(&self, name: &str, row: usize) -> Option<bool> {
        self.valid(name, row).and_then(|c| c.as_boolean_opt()).map(|c| c.value(row))
    }

    pub fn time(&self, name: &str, row: usize) -> Option<Nanos> {
        let column =
            self.valid(name, row).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        column.map(|c| c.value(row).saturating_mul(1_000))
    }

    fn texts(&self, name: &str, row: usize) -> Vec<String> {
        let Some(list) = self.valid(name, row).and_then(|c| c.as_list_opt::<i32>()) else {
            return Vec::new();
        };
        let items = list.value(row);
        let items = items.as_string_opt::<i32>();
        items.map_or_else(Vec::new, |items| items.iter().flatten().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::samples::two_cases;

    fn feedback(number: i64, by: &str, cause: Option<&str>, helpful: Option<bool>) -> Feedback {
        Feedback {
            cluster: "prod".to_owned(),
            opened_at: 0,
            incident_id: "inc-1".to_owned(),
            number,
            said: Said {
                cause: cause.map(str::to_owned),
                helpful,
                note: String::new(),
                by: by.to_owned(),
                at: Some(number * 1_000),
            },
        }
    }

    #[test]
    fn nouns_come_back_as_they_were() {
        let closed = &two_cases()[0];
        let case = closed.known().unwrap();
        assert_eq!(
            cases(&[case_rows(std::slice::from_ref(&case)).unwrap()]),
            std::slice::from_ref(&case)
        );
        let passage = Passage {
            id: "s".to_owned(),
            cluster: "prod".to_owned(),
            collection: "team".to_owned(),
            source: "a/b.md".to_owned(),
            place: 3,
            kind: "runbook".to_owned(),
            title: "Disk".to_owned(),
            heading: "Disk > Fix".to_owned(),
            text: "Free it.".to_owned(),
            alerts: vec!["DiskFull".to_owned()],
            services: Vec::new(),
            tags: vec!["disk".to_owned(), "x".to_owned()],
            dated: Some(1_000_000_000),
        };
        let undated = Passage { id: "t".to_owned(), dated: None, ..passage.clone() };
        let section = |passage, removed: bool| {
            let root = (!removed).then(|| "/books".to_owned());
            Section { passage, hash: "h".into(), root, revision: 2, removed }
        };
        let all = [section(passage, false), section(undated, true)];
        assert_eq!(sections(&[section_rows(&all).unwrap()]), all);
        let vector = hashed::vector(&case.text);
        let back = vectors(&[case_vector_row(&case).unwrap()]);
        assert_eq!(back, [(case.vector_id(), vector)].into());
    }

    #[test]
    fn of_each_person_the_last_word_is_a_vote_and_the_last_cause_counts() {
        let given = [
            feedback(1, "", None, Some(true)),
            feedback(2, "ada", Some("cart"), None),
            feedback(3, "ben", Some("db"), Some(true)),
            feedback(4, "", None, Some(false)),
            feedback(5, "ada", None, Some(true)),
            feedback(6, "cid", None, None),
        ];
        let opinions = opinions(&[feedback_rows(&given).unwrap()]);
        let vote = |right, number: i64| Vote { right, at: Some(number * 1_000) };
        let record = |votes: &[Vote]| {
            let mut record = Record::default();
            votes.iter().for_each(|vote| record.add(*vote));
            record
        };
        let found = [("inc-1".to_owned(), "cart".to_owned())].into();
        let votes = votes(&opinions, &found);
        let all = [vote(false, 3), vote(false, 4), vote(true, 5), vote(true, 6)];
        let expect = Verdict { record: record(&all), cause: Some("cart".into()) };
        assert_eq!(votes["inc-1"], expect);
        let cited = [("inc-1", "a"), ("inc-2", "a"), ("inc-2", "b")];
        let cited = cited.map(|(incident, section)| (incident.to_owned(), section.to_owned()));
        let sections = section_votes(&opinions, &cited);
        let helped = [vote(true, 3), vote(false, 4), vote(true, 5)];
        assert_eq!(sections, [("a".to_owned(), record(&helped))].into());
    }

    #[test]
    fn feedback_of_an_older_version_has_no_time_and_is_of_nobody_in_particular() {
        let rows = feedback_rows(&[feedback(1, "ada", None, Some(true))]).unwrap();
        let older: Vec<usize> = (0..rows.num_columns() - 2).collect();
        let opinions = opinions(&[rows.project(&older).unwrap()]);
        let said = &opinions["inc-1"][0];
        assert_eq!((said.by.as_str(), said.at, said.helpful), ("", None, Some(true)));
    }
}
