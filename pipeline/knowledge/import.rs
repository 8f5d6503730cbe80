//! A directory of markdown, compared with what was imported from it before.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use super::learned::Section;
use super::library::Passage;
use super::rows::DEFAULT_CLUSTER;
use super::runbook;
use crate::error::{Error, Result};
use crate::model::stable_id;

/// Largest document that is read.
const BYTES_MAX: u64 = 1 << 20;

/// Documents of one directory, and folders within folders.
const FILES_MAX: usize = 20_000;
const DEPTH_MAX: usize = 16;

const EXTENSIONS: [&str; 2] = ["md", "markdown"];

/// A document as it lies in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Path within the directory, with `/`.
    pub source: String,
    pub text: String,
    /// BLAKE3 of its bytes.
    pub hash: String,
}

/// What a directory holds, and what of it could not be read and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// By source.
    pub documents: Vec<Document>,
    pub refused: Vec<(String, String)>,
}

/// What the documents of an import belong to.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub cluster: &'a str,
    pub collection: &'a str,
    /// The directory, as the machine names it.
    pub root: &'a str,
}

/// What an import changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Rows to write: new sections, changed ones, and those that are gone.
    pub rows: Vec<Section>,
    pub new: usize,
    pub changed: usize,
    pub removed: usize,
    pub unchanged: usize,
    /// Documents of the same directory that belonged to another cluster until now.
    pub moved: usize,
    /// Document and what could not be read of it.
    pub warnings: Vec<(String, String)>,
}

/// Reads the markdown below `dir`; hidden folders are left out and links not followed.
///
/// # Errors
/// A folder cannot be read, or holds too much. A document that cannot be read is refused alone.
pub fn read_dir(dir: &Path) -> Result<Found> {
    let mut found = Found::default();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let entry = entry.map_err(Error::io(&folder))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(Error::io(&folder))?);
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if kind.is_dir() && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            } else if kind.is_file() && is_markdown(&path) {
                let source = source_of(dir, &path);
                match read(&path) {
                    Ok((text, hash)) => found.documents.push(Document { source, text, hash }),
                    Err(problem) => found.refused.push((source, problem)),
                }
            }
            if found.documents.len() > FILES_MAX {
                let message = format!("{} holds more than {FILES_MAX} documents", dir.display());
                return Err(Error::usage(message, "import its folders one by one"));
            }
        }
    }
    found.documents.sort_by(|a, b| a.source.cmp(&b.source));
    found.refused.sort();
    Ok(found)
}

fn is_markdown(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}

fn source_of(dir: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(dir).unwrap_or(path);
    let parts = inside.components().map(|c| c.as_os_str().to_string_lossy().into_owned());
    parts.collect::<Vec<_>>().join("/")
}

fn read(path: &Path) -> Result<(String, String), String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("it is larger than {} KiB", BYTES_MAX >> 10));
    }
    let hash = blake3::hash(&bytes).to_hex().to_string();
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    Ok((text, hash))
}

/// What has changed since the sections that are `known`, those of the same name. Those of the same
/// cluster are compared; those that another cluster has from the same directory are gone there. A
/// document that was there and is `refused` now stays as it was.
pub fn changes(
    origin: Origin<'_>,
    found: &Found,
    known: &[Section],
    revision: i64,
    all: bool,
) -> Changes {
    let mut before: BTreeMap<&str, Vec<&Section>> = BTreeMap::new();
    let mut out = Changes::default();
    let mut moved = BTreeSet::new();
    for section in known {
        if section.passage.cluster == origin.cluster {
            before.entry(&section.passage.source).or_default().push(section);
        } else if section.root.as_deref() == Some(origin.root) {
            moved.insert((&section.passage.cluster, &section.passage.source));
            out.rows.push(removed(section, revision));
        }
    }
    out.moved = moved.len();
    for document in &found.documents {
        let old = before.remove(document.source.as_str()).unwrap_or_default();
        if !all && old.first().is_some_and(|s| s.hash == document.hash) {
            out.unchanged += 1;
            continue;
        }
        let (sections, warnings) = sections(origin, document, revision);
        out.warnings.extend(warnings.into_iter().map(|w| (document.source.clone(), w)));
        match (old.is_empty(), sections.is_empty()) {
            (false, _) => out.changed += 1,
            (true, false) => out.new += 1,
            // Without text it leaves nothing by which it would be known the next time.
            (true, true) => {}
        }
        let kept: BTreeSet<&str> = sections.iter().map(|s| s.passage.id.as_str()).collect();
        let gone = old.into_iter().filter(|s| !kept.contains(s.passage.id.as_str()));
        let gone: Vec<Section> = gone.map(|s| removed(s, revision)).collect();
        out.rows.extend(sections);
        out.rows.extend(gone);
    }
    let refused: BTreeSet<&str> = found.refused.iter().map(|(s, _)| s.as_str()).collect();
    for (_, old) in before.into_iter().filter(|(source, _)| !refused.contains(source)) {
        out.removed += 1;
        out.rows.extend(old.into_iter().map(|s| removed(s, revision)));
    }
    out
}

fn removed(section: &Section, revision: i64) -> Section {
    Section { revision, removed: true, ..section.clone() }
}

fn sections(origin: Origin<'_>, document: &Document, revision: i64) -> (Vec<Section>, Vec<String>) {
    let Origin { cluster, collection, root } = origin;
    let runbook = runbook::parse(&document.source, &document.text);
    let mut same: BTreeMap<&str, usize> = BTreeMap::new();
    let mut out = Vec::with_capacity(runbook.sections.len());
    for (section, place) in runbook.sections.iter().zip(1..) {
        // Sections under one heading are told apart by their order, so that a change elsewhere in
        // the document leaves their ids alone.
        let nth = same.entry(&section.heading).or_default();
        *nth += 1;
        let nth = nth.to_string();
        let parts = [collection, &document.source, &section.heading, &nth];
        let id = match cluster == DEFAULT_CLUSTER {
            true => stable_id(&parts),
            false => stable_id(&[&parts[..], &[cluster]].concat()),
        };
        out.push(Section {
            passage: Passage {
                id,
                cluster: cluster.to_owned(),
                collection: collection.to_owned(),
                source: document.source.clone(),
                place,
                kind: runbook.kind.to_owned(),
                title: runbook.title.clone(),
                heading: section.heading.clone(),
                text: section.text.clone(),
                alerts: runbook.alerts.clone(),
                services: runbook.services.clone(),
                tags: runbook.tags.clone(),
                dated: runbook.dated,
            },
            hash: document.hash.clone(),
            root: Some(root.to_owned()),
            revision,
            removed: false,
        });
    }
    let mut warnings = runbook.warnings;
    if out.is_empty() {
        warnings.push("it has no text".to_owned());
    }
    (out, warnings)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(collection: &str) -> Origin<'_> {
        Origin { cluster: DEFAULT_CLUSTER, collection, root: "/books" }
    }

    fn document(source: &str, text: &str) -> Document {
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        Document { source: source.to_owned(), text: text.to_owned(), hash }
    }

    fn found(documents: &[(String, String)]) -> Found {
        let documents = documents.iter().map(|(s, t)| document(s, t)).collect();
        Found { documents, refused: Vec::new() }
    }

    /// The sections that count after rows were written, as the archive would show them.
    fn applied(known: &[Section], rows: &[Section]) -> Vec<Section> {
        let mut latest: BTreeMap<String, Section> = BTreeMap::new();
        for section in known.iter().chain(rows) {
            latest.insert(section.passage.id.clone(), section.clone());
        }
        latest.into_values().filter(|s| !s.removed).collect()
    }

    #[test]
    fn only_markdown_that_can_be_read_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        put("b/two.md", b"# Two\nx");
        put("a.markdown", b"x");
        put("a.txt", b"x");
        put(".git/x.md", b"x");
        put("latin.md", b"caf\xe9");
        put("large.md", &vec![b'a'; (BYTES_MAX + 1) as usize]);
        let found = read_dir(dir.path()).unwrap();
        let sources: Vec<&str> = found.documents.iter().map(|d| d.source.as_str()).collect();
        assert_eq!(sources, ["a.markdown", "b/two.md"]);
        let refused: Vec<&str> = found.refused.iter().map(|(s, _)| s.as_str()).collect();
        assert_eq!(refused, ["large.md", "latin.md"]);
        assert!(read_dir(&dir.path().join("none")).unwrap_err().is_bad_input());
    }

    #[test]
    fn what_is_as_it_was_is_left_alone() {
        let first =
            |text: &str| found(&[("a.md".into(), text.into()), ("b.md".into(), "x".into())]);
        let one = changes(origin("team"), &first("# A\none\n# B\ntwo"), &[], 1, false);
        assert_eq!((one.new, one.rows.len()), (2, 3));
        let two = changes(origin("team"), &first("# A\nONE\n# C\nthree"), &one.rows, 2, false);
        assert_eq!((two.changed, two.unchanged, two.removed), (1, 1, 0));
        let gone: Vec<&str> =
            two.rows.iter().filter(|s| s.removed).map(|s| s.passage.heading.as_str()).collect();
        assert_eq!(gone, ["B"]);
        assert_eq!(one.rows[0].passage.id, two.rows[0].passage.id, "a section keeps its id");
        let all = changes(origin("team"), &first("# A\none\n# B\ntwo"), &one.rows, 2, true);
        assert_eq!((all.changed, all.unchanged), (2, 0));
    }

    #[test]
    fn what_goes_to_another_cluster_is_gone_from_its_first_and_other_directories_stay() {
        let books = found(&[("a.md".into(), "x".into())]);
        let one = changes(origin("t"), &books, &[], 1, false);
        let prod = Origin { cluster: "prod", ..origin("t") };
        let two = changes(prod, &books, &one.rows, 2, false);
        assert_eq!((two.new, two.moved, two.rows.len()), (1, 1, 2));
        let now = applied(&one.rows, &two.rows);
        let clusters: Vec<&str> = now.iter().map(|s| s.passage.cluster.as_str()).collect();
        assert_eq!(clusters, ["prod"]);
        let other = Origin { root: "/others", ..prod };
        let beside = changes(other, &books, &one.rows, 2, false);
        assert_eq!((beside.new, beside.moved, applied(&one.rows, &beside.rows).len()), (1, 0, 2));
    }

    #[test]
    fn a_document_without_text_is_never_new() {
        let books = found(&[("a.md".into(), "x".into()), ("empty.md".into(), " \n".into())]);
        let one = changes(origin("t"), &books, &[], 1, false);
        let two = changes(origin("t"), &books, &one.rows, 2, false);
        assert_eq!((one.new, two.new, two.unchanged, two.rows.len()), (1, 0, 1, 0));
        assert_eq!(two.warnings, [("empty.md".to_owned(), "it has no text".to_owned())]);
    }

    #[test]
    fn a_document_that_cannot_be_read_any_more_stays() {
        let one = changes(origin("t"), &found(&[("a.md".into(), "x".into())]), &[], 1, false);
        let refused = vec![("a.md".to_owned(), "it is not UTF-8".to_owned())];
        let now = Found { documents: Vec::new(), refused };
        assert!(changes(origin("t"), &now, &one.rows, 2, false).rows.is_empty());
    }

    proptest! {
        #[test]
        fn importing_step_by_step_is_importing_at_once(
            before in prop::collection::btree_map("[a-d]", "(# [ab]\n[xy]\n){0,3}", 0..4),
            after in prop::collection::btree_map("[a-d]", "(# [ab]\n[xy]\n){0,3}", 0..4),
        ) {
            let list = |all: std::collections::BTreeMap<String, String>| {
                all.into_iter().collect::<Vec<_>>()
            };
            let (before, after) = (list(before), list(after));
            let one = changes(origin("t"), &found(&before), &[], 1, false).rows;
            let two = changes(origin("t"), &found(&after), &one, 2, false).rows;
            let passages = |of: Vec<Section>| {
                of.into_iter().map(|s| (s.passage, s.hash)).collect::<Vec<_>>()
            };
            let stepwise = passages(applied(&one, &two));
            let whole = changes(origin("t"), &found(&after), &[], 1, false).rows;
            let at_once = passages(applied(&[], &whole));
            prop_assert_eq!(stepwise, at_once);
        }
    }
}
