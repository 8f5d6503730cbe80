//! Full-text search in memory: BM25 over words, and over exact terms, by tantivy.
//!
//! An index is a cache of documents that live elsewhere: it is filled when it is opened, grows, and
//! is dropped. A score depends on the documents alone, neither on the order in which they came nor
//! on how they were grouped into calls, and documents of equal score come in the order of their
//! numbers.

use std::collections::BTreeMap;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::Column;
use tantivy::indexer::IndexWriter;
use tantivy::query::TermQuery;
use tantivy::schema::{
    FAST, Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer,
    TokenStream,
};
use tantivy::{
    DocId, Index as Tantivy, IndexReader, ReloadPolicy, Score, SegmentOrdinal, SegmentReader,
    TantivyDocument, Term,
};

use crate::error::Result;
use crate::pairs::Pairs;

/// Memory of the writer; the least that tantivy takes.
const WRITER_BYTES: usize = 15_000_000;

/// Longer words, such as keys and hashes, are nobody's.
const WORD_BYTES_MAX: usize = 40;

/// Different words of one question that are looked for.
const WORDS_MAX: usize = 256;

/// Name of [`analyzer`].
const WORDS: &str = "words";
const EXACT: &str = "raw";

/// The field of a document's number.
const NUMBER: &str = "number";

/// What is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The caller's number of the document; unique within an index.
    pub number: u64,
    /// One text for each field that the index was made with.
    pub texts: Vec<String>,
    /// Terms that are found as they stand.
    pub terms: Vec<String>,
}

/// A document that was found, and how well it fits; more is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub number: u64,
    pub score: f32,
}

/// An index over documents of some text fields.
pub struct Index {
    analyzer: TextAnalyzer,
    writer: IndexWriter,
    reader: IndexReader,
    number: Field,
    /// Text fields with what a match in them counts.
    texts: Vec<(Field, f32)>,
    terms: Field,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("documents", &self.len()).finish_non_exhaustive()
    }
}

impl Index {
    /// An empty index. `fields` names the texts of a document, with what a match in each counts.
    ///
    /// # Errors
    /// [`crate::Error::Search`] where the writer's thread cannot be started.
    pub fn new(fields: &[(&str, f32)]) -> Result<Self> {
        let text = |tokenizer: &str| {
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(tokenizer)
                .set_index_option(IndexRecordOption::WithFreqs);
            TextOptions::default().set_indexing_options(indexing)
        };
        let mut schema = Schema::builder();
        let number = schema.add_u64_field(NUMBER, NumericOptions::from(FAST));
        let texts =
            fields.iter().map(|(name, boost)| (schema.add_text_field(name, text(WORDS)), *boost));
        let texts = texts.collect();
        let terms = schema.add_text_field("terms", text(EXACT));
        let tantivy = Tantivy::create_in_ram(schema.build());
        let analyzer = analyzer()?;
        tantivy.tokenizers().register(WORDS, analyzer.clone());
        let writer = tantivy.writer_with_num_threads(1, WRITER_BYTES)?;
        let reader = tantivy.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { analyzer, writer, reader, number, texts, terms })
    }

    pub fn len(&self) -> usize {
        usize::try_from(self.reader.searcher().num_docs()).unwrap_or(usize::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds documents; the next question sees them.
    pub fn add(&mut self, documents: impl IntoIterator<Item = Document>) -> Result<()> {
        for document in documents {
            let mut fields = TantivyDocument::new();
            fields.add_u64(self.number, document.number);
            for ((field, _), text) in self.texts.iter().zip(&document.texts) {
                fields.add_text(*field, text);
            }
            for term in &document.terms {
                fields.add_text(self.terms, term);
            }
            self.writer.add_document(fields)?;
        }
        self.writer.commit()?;
        self.reader.reload()?;
        Ok(())
    }

    /// Documents that share words with `text`, best first.
    pub fn words(&self, text: &str) -> Result<Vec<Hit>> {
        let mut analyzer = self.analyzer.clone();
        let mut stream = analyzer.token_stream(text);
        let mut words: Vec<String> = Vec::new();
        while let Some(token) = stream.next() {
            if words.len() < WORDS_MAX && !words.contains(&token.text) {
                words.push(token.text.clone());
            }
        }
        let in_fields = |word: &String| {
            let term =
                |(field, boost): &(Field, f32)| (Term::from_field_text(*field, word), *boost);
            self.texts.iter().map(term).collect::<Vec<_>>()
        };
        self.any_of(words.iter().flat_map(in_fields))
    }

    /// Documents that hold some of `terms`, each with what it counts; best first.
    pub fn terms(&self, terms: &[(String, f32)]) -> Result<Vec<Hit>> {
        let exact =
            |(term, boost): &(String, f32)| (Term::from_field_text(self.terms, term), *boost);
        self.any_of(terms.iter().map(exact))
    }

    /// The scores of single terms are summed here, in the order of the question: tantivy's own sum
    /// takes them as the layout of the index has them, and its last digit with it.
    fn any_of(&self, terms: impl Iterator<Item = (Term, f32)>) -> Result<Vec<Hit>> {
        let searcher = self.reader.searcher();
        let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
        for (term, boost) in terms {
            let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
            for (number, score) in searcher.search(&query, &Scores)? {
                *sums.entry(number).or_default() += f64::from(score) * f64::from(boost);
            }
        }
        let hit = |(number, score): (u64, f64)| Hit { number, score: score as f32 };
        let mut hits: Vec<Hit> = sums.into_iter().map(hit).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.number.cmp(&b.number)));
        Ok(hits)
    }
}

/// Lower case, split at what is neither letter nor digit and into pairs where a script has no
/// spaces, without the words that every English text has, stemmed.
fn analyzer() -> Result<TextAnalyzer> {
    let stop_words = StopWordFilter::new(Language::English)
        .ok_or_else(|| tantivy::TantivyError::SchemaError("no English stop words".to_owned()))?;
    let words = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(Pairs)
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(stop_words)
        .filter(Stemmer::new(Language::English));
    Ok(words.build())
}

/// Collects number and score of every document that matches.
struct Scores;

struct ScoresOfSegment {
    numbers: Column<u64>,
    found: Vec<(u64, Score)>,
}

impl Collector for Scores {
    type Fruit = Vec<(u64, Score)>;
    type Child = ScoresOfSegment;

    fn for_segment(
        &self,
        _: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<Self::Child> {
        Ok(ScoresOfSegment { numbers: segment.fast_fields().u64(NUMBER)?, found: Vec::new() })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, segments: Vec<Self::Fruit>) -> tantivy::Result<Self::Fruit> {
        Ok(segments.into_iter().flatten().collect())
    }
}

impl SegmentCollector for ScoresOfSegment {
    type Fruit = Vec<(u64, Score)>;

    fn collect(&mut self, doc: DocId, score: Score) {
        self.found.extend(self.numbers.first(doc).map(|number| (number, score)));
    }

    fn harvest(self) -> Self::Fruit {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(number: u64, title: &str, body: &str, terms: &[&str]) -> Document {
        let terms = terms.iter().map(|t| (*t).to_owned()).collect();
        Document { number, texts: vec![title.to_owned(), body.to_owned()], terms }
    }

    fn index(documents: Vec<Document>) -> Index {
        let mut index = Index::new(&[("title", 2.0), ("body", 1.0)]).unwrap();
        index.add(documents).unwrap();
        index
    }

    fn numbers(hits: Vec<Hit>) -> Vec<u64> {
        hits.into_iter().map(|h| h.number).collect()
    }

    #[test]
    fn rare_words_and_titles_count_more() {
        let index = index(vec![
            document(1, "node", "disk fills", &[]),
            document(2, "disk", "the node is full", &[]),
            document(3, "queue", "the node lags", &[]),
        ]);
        assert_eq!(numbers(index.words("disks").unwrap()), [2, 1]);
        assert_eq!(numbers(index.words("disk filling").unwrap()), [1, 2]);
        assert_eq!(numbers(index.words("queue of the node").unwrap())[0], 3);
        assert!(index.words("nothing alike").unwrap().is_empty());
        assert!(index.words("").unwrap().is_empty());
        assert!(index.words("is it the").unwrap().is_empty(), "what every text has");
        assert!(Index::new(&[]).unwrap().words("disk").unwrap().is_empty());
    }

    #[test]
    fn texts_without_spaces_are_found_by_what_they_share() {
        let index = index(vec![
            document(1, "", "数据库的磁盘空间已满，请立即清理旧的日志文件并扩展卷的大小", &[]),
            document(2, "", "消息队列的消费者落后", &[]),
            document(3, "", "ディスクの空き容量が不足しています", &[]),
        ]);
        assert_eq!(numbers(index.words("磁盘满了怎么清理").unwrap()), [1]);
        assert_eq!(numbers(index.words("消费者").unwrap()), [2]);
        assert_eq!(numbers(index.words("ディスク容量").unwrap()), [3]);
    }

    #[test]
    fn terms_are_found_as_they_stand() {
        let mut index = index(vec![
            document(7, "", "", &["service:a", "up:cpu time"]),
            document(3, "", "", &["service:a"]),
        ]);
        index.add([document(5, "", "", &["service:ab"])]).unwrap();
        let found = |terms: &[&str]| {
            let terms: Vec<_> = terms.iter().map(|t| ((*t).to_owned(), 1.0)).collect();
            numbers(index.terms(&terms).unwrap())
        };
        assert_eq!(found(&["service:a", "up:cpu time"]), [7, 3]);
        assert_eq!(found(&["service:ab"]), [5]);
        assert!(found(&["service"]).is_empty());
        assert_eq!(index.len(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn neither_order_nor_grouping_matters(
            texts in prop::collection::vec("[ab]{1,2}( [a-d]{1,2}){0,6}", 1..24),
            cut in 0usize..24,
            turn in 0usize..24,
        ) {
            let documents: Vec<Document> = (0..).zip(&texts)
                .map(|(n, text)| document(n, text, text, &[text])).collect();
            let whole = index(documents.clone());
            let mut turned = documents;
            let by = turn % turned.len();
            turned.rotate_left(by);
            let rest = turned.split_off(cut % turned.len());
            let mut parts = index(turned);
            parts.add(rest).unwrap();
            for text in &texts {
                prop_assert_eq!(whole.words(text).unwrap(), parts.words(text).unwrap());
                let term = [(text.clone(), 1.5)];
                prop_assert_eq!(whole.terms(&term).unwrap(), parts.terms(&term).unwrap());
            }
        }
    }
}
