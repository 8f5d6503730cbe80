use proptest::prelude::*;

use super::super::weight::Vote;
use super::*;
use crate::model::DAY;

fn case(id: &str, closed_at: Nanos, root: &str, terms: &[&str]) -> Case {
    let mut fingerprint: Vec<String> = terms.iter().map(|t| (*t).to_owned()).collect();
    fingerprint.push(format!("cause:{root}"));
    fingerprint.sort_unstable();
    Case {
        incident_id: id.to_owned(),
        cluster: "c".to_owned(),
        opened_at: closed_at - 1,
        closed_at,
        title: format!("{root} is slow"),
        services: vec![root.to_owned()],
        root_service: root.to_owned(),
        root_kind: "cpu".to_owned(),
        text: format!("{root} is slow: {}", terms.join(" ")),
        fingerprint,
        actions: Vec::new(),
    }
}

fn library(cases: &[Case]) -> Library {
    let mut library = Library::new(Model::built_in()).unwrap();
    cases.iter().for_each(|c| library.add_case(c.clone(), Vec::new()));
    library
}

fn asked(terms: &[&str], at: Nanos) -> Question {
    let mut terms: Vec<String> = terms.iter().map(|t| (*t).to_owned()).collect();
    terms.sort_unstable();
    Question::of_case(&terms.join(" "), &terms, &[], at)
}

fn ids(library: &mut Library, question: &Question) -> Vec<String> {
    let similar = library.similar(question, 9).unwrap();
    similar.into_iter().map(|s| s.case.incident_id).collect()
}

#[test]
fn a_question_sees_only_what_was_over_by_then() {
    let all = [case("a", 10, "db", &["x", "y"]), case("b", 30, "web", &["x", "z"])];
    let mut library = library(&all);
    assert!(ids(&mut library, &asked(&["x", "y"], 9)).is_empty());
    assert_eq!(ids(&mut library, &asked(&["x", "z"], 29)), ["a"]);
    assert_eq!(ids(&mut library, &asked(&["x", "z"], 30)), ["b", "a"]);
    assert_eq!((library.cases(), library.latest()), (2, Some(30)));
}

#[test]
fn what_came_back_is_one_thing_as_it_was_last() {
    let again = |id, at| case(id, at, "db", &["x", "y", "z"]);
    let mut all = vec![again("a", 10), again("b", 20), case("c", 15, "web", &["x", "y", "z"])];
    all.push(case("d", 25, "db", &["p", "q", "r"]));
    let found = library(&all).similar(&asked(&["x", "y", "cause:db"], 99), 9).unwrap();
    let told: Vec<(&str, usize)> =
        found.iter().map(|s| (s.case.incident_id.as_str(), s.times)).collect();
    assert_eq!(told[0], ("b", 2));
    assert!(told.contains(&("c", 1)) && told.contains(&("d", 1)) && told.len() == 3);
    assert!(found[0].likeness > 0.8, "{}", found[0].likeness);
}

fn record(right: usize, wrong: usize) -> Record {
    let mut record = Record::default();
    let votes = [vec![true; right], vec![false; wrong]].concat();
    votes.into_iter().for_each(|right| record.add(Vote { right, at: None }));
    record
}

#[test]
fn a_case_that_proved_wrong_comes_after_its_equals_and_one_that_worked_before() {
    let twins = [case("a", 10, "db", &["x"]), case("b", 10, "web", &["x"])];
    let question = asked(&["x"], 10);
    for (right, wrong, first) in [(0, 0, "a"), (0, 1, "b"), (3, 1, "a"), (1, 3, "b")] {
        let mut library = library(&twins);
        library.judge("a", Verdict { record: record(right, wrong), cause: None });
        assert_eq!(ids(&mut library, &question)[0], first, "{right} right, {wrong} wrong");
    }
}

#[test]
fn a_young_case_comes_before_an_old_one() {
    let old = case("a", 0, "db", &["x"]);
    let young = case("b", 400 * DAY, "web", &["x"]);
    let mut library = library(&[old, young]);
    assert_eq!(ids(&mut library, &asked(&["x"], 400 * DAY)), ["b", "a"]);
}

#[test]
fn a_case_is_found_under_the_cause_that_a_person_named() {
    let mut library = library(&[case("a", 10, "db", &["x"]), case("b", 10, "web", &["y"])]);
    let verdict = Verdict { record: Record::default(), cause: Some("cache".to_owned()) };
    library.judge("b", verdict);
    let found = library.similar(&asked(&["cause:cache"], 10), 9).unwrap();
    assert_eq!(found[0].case.incident_id, "b");
    assert_eq!(found[0].case.root_service, "cache");
    assert!(!found[0].case.fingerprint.contains(&"cause:web".to_owned()));
}

fn passage(source: &str, place: i64, heading: &str, text: &str) -> (Passage, Vec<f32>) {
    let passage = Passage {
        id: format!("{source}/{place}"),
        cluster: "default".to_owned(),
        collection: "team".to_owned(),
        source: source.to_owned(),
        place,
        kind: "runbook".to_owned(),
        title: source.to_owned(),
        heading: heading.to_owned(),
        text: text.to_owned(),
        alerts: vec![format!("{source}Alert")],
        services: Vec::new(),
        tags: Vec::new(),
        dated: None,
    };
    let vector = hashed::vector(&passage.vector_text());
    (passage, vector)
}

#[test]
fn of_a_document_its_best_section_is_found() {
    let mut library = Library::new(Model::built_in()).unwrap();
    let all = vec![
        passage("Queue", 2, "Queue > Fix", "scale the consumers"),
        passage("Disk", 1, "Disk", "the volume fills"),
        passage("Queue", 1, "Queue", "parcels wait"),
        passage("Disk", 2, "Disk > Fix", "drop partitions of the volume"),
    ];
    library.add_passages(all).unwrap();
    let found = |text: &str| {
        let found = library.fitting(&Question::of_text(text, 0), 9).unwrap();
        found.into_iter().map(|f| (f.passage.id, f.named)).collect::<Vec<_>>()
    };
    assert_eq!(found("drop partitions")[0], ("Disk/2".to_owned(), false));
    assert!(found("DiskAlert")[0].0.starts_with("Disk/") && found("DiskAlert")[0].1);
    assert_eq!(found("consumers").len(), 1, "{:?}", found("consumers"));
    assert!(found("zyzzyva").is_empty(), "{:?}", found("zyzzyva"));
    assert_eq!(library.passage("Queue/1").unwrap().text, "parcels wait");
    assert!(library.passage("Queue/9").is_none());
}

#[test]
fn a_section_whose_advice_did_not_help_comes_after_its_equal() {
    let order = |right: usize, wrong: usize| {
        let mut library = Library::new(Model::built_in()).unwrap();
        let text = "drop partitions of the volume";
        let twins = ["One", "Two"].map(|source| passage(source, 1, "Disk", text));
        library.add_passages(twins.into()).unwrap();
        library.judge_section("One/1", &record(right, wrong));
        let found = library.fitting(&Question::of_text("drop partitions", 0), 9).unwrap();
        let found = found.into_iter().map(|f| (f.passage.source, f.score));
        found.collect::<std::collections::BTreeMap<_, _>>()["One"]
    };
    let unknown = order(0, 0);
    let (once, often) = (order(0, 1) / unknown, order(0, 40) / unknown);
    assert!((0.95..1.0).contains(&once), "{once}");
    assert!(often < 0.35 && often > 0.0, "{often}");
    assert!(order(9, 0) > order(1, 0) && order(1, 0) > unknown);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn the_order_in_which_cases_come_does_not_matter(
        cases in prop::collection::vec(
            (0i64..50, 0usize..3, prop::collection::btree_set("[a-f]", 1..4)), 1..12),
        turn in 0usize..12,
        at in 0i64..60,
    ) {
        let cases: Vec<Case> = cases.iter().enumerate().map(|(n, (closed, root, terms))| {
            let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
            case(&format!("i{n:02}"), *closed, ["db", "web", "mq"][*root], &terms)
        }).collect();
        let mut turned = cases.clone();
        turned.rotate_left(turn % cases.len());
        let question = asked(&["a", "b", "cause:db"], at);
        let one = library(&cases).similar(&question, 99).unwrap();
        // A question in between, as an earlier incident asks it.
        let mut two = library(&turned);
        two.similar(&asked(&["c"], at / 2), 9).unwrap();
        prop_assert_eq!(&one, &two.similar(&question, 99).unwrap());
        let early = two.similar(&asked(&["c"], at / 2), 99).unwrap();
        prop_assert!(early.iter().all(|found| found.case.closed_at <= at / 2));
        prop_assert!(one.iter().all(|s| s.case.closed_at <= at));
    }
}
