use super::*;
use arrow::array::{DictionaryArray, Int64Array};
use arrow::datatypes::Int32Type;
use serde_json::json;
use std::sync::Arc;

fn batch(texts: &[&str]) -> RecordBatch {
    let keys: DictionaryArray<Int32Type> = texts.iter().copied().collect();
    let ids = Int64Array::from_iter_values(0..texts.len() as i64);
    RecordBatch::try_from_iter([("k", Arc::new(keys) as _), ("id", Arc::new(ids) as _)]).unwrap()
}

fn parts(text: &str) -> Vec<(String, Part)> {
    let batches = vec![batch(&["a", "b", "a"]), batch(&["c"])];
    vec![
        ("frames.arrows".into(), Part::Batches(batches)),
        ("none.arrows".into(), Part::Batches(vec![])),
        ("state".into(), Part::Bytes(text.into())),
    ]
}

#[test]
fn batches_of_several_schemas_are_one_part() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    let other = RecordBatch::try_from_iter([(
        "n",
        Arc::new(Int64Array::from(vec![7])) as arrow::array::ArrayRef,
    )])
    .unwrap();
    let mixed = vec![batch(&["a", "b"]), other.clone(), other, batch(&["c"])];
    let part = Part::Batches(mixed.clone());
    store.write(1, "plan", &[("x".into(), part)], &json!(null)).unwrap();
    assert_eq!(store.latest().unwrap().unwrap().batches("x").unwrap(), mixed);
}

#[test]
fn an_unchanged_part_outlives_the_epoch_that_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    let unchanged = || vec![("state".to_owned(), Part::Unchanged)];
    let err = store.write(1, "plan", &unchanged(), &json!(null)).unwrap_err().to_string();
    assert!(err.contains("part state is unchanged, but nowhere written"), "{err}");
    store.write(1, "plan", &parts("x"), &json!(null)).unwrap();
    for epoch in 2..=5 {
        store.write(epoch, "plan", &unchanged(), &json!(null)).unwrap();
    }
    let found = store.latest().unwrap().unwrap();
    assert_eq!((found.epoch, found.bytes("state").unwrap()), (5, b"x".as_slice()));
    assert_eq!(found.names().collect::<Vec<_>>(), ["state"]);
}

#[test]
fn only_one_store_is_open_on_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(dir.path()).unwrap();
    let second = CheckpointStore::open(dir.path());
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    drop(store);
    CheckpointStore::open(dir.path()).unwrap();
}

fn part_file(root: &Path, epoch: u64, name: &str) -> PathBuf {
    Name { epoch, attempt: 0 }.dir(root).join(name)
}

#[test]
fn a_checkpoint_comes_back_and_two_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    assert!(store.latest().unwrap().is_none());
    for epoch in 1..=4 {
        let meta = json!({"offset": epoch * 10});
        store.write(epoch, "plan", &parts("x"), &meta).unwrap();
    }
    let found = store.latest().unwrap().unwrap();
    assert_eq!((found.epoch, &found.meta), (4, &json!({"offset": 40})));
    assert_eq!(found.bytes("state").unwrap(), b"x");
    let batches = found.batches("frames.arrows").unwrap();
    assert_eq!(batches, [batch(&["a", "b", "a"]), batch(&["c"])]);
    assert!(found.batches("none.arrows").unwrap().is_empty());
    let kept: Vec<u64> = store.complete().unwrap().iter().map(|n| n.epoch).collect();
    assert_eq!(kept, [3, 4]);
}

#[test]
fn an_unfinished_write_is_not_seen_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    store.write(1, "plan", &parts("x"), &json!(null)).unwrap();
    let torn = dir.path().join("epoch-00000000000000000002-0.tmp");
    fs::create_dir(&torn).unwrap();
    fs::write(torn.join("state"), "half").unwrap();
    assert_eq!(store.latest().unwrap().unwrap().epoch, 1);
    drop(store);
    CheckpointStore::open(dir.path()).unwrap();
    assert!(!torn.exists());
}

#[test]
fn damage_falls_back_to_the_epoch_before_and_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    for epoch in [1, 2] {
        store.write(epoch, "plan", &parts("xyz"), &json!(null)).unwrap();
    }
    fs::write(part_file(dir.path(), 2, "state"), "xyZ").unwrap();
    assert_eq!(store.latest().unwrap().unwrap().epoch, 1);

    store.write(2, "plan", &parts("new"), &json!(null)).unwrap();
    let found = store.latest().unwrap().unwrap();
    assert_eq!((found.epoch, found.bytes("state").unwrap()), (2, b"new".as_slice()));
}

#[test]
fn a_damaged_epoch_takes_no_place_of_a_sound_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    for epoch in [1, 2, 3] {
        if epoch == 3 {
            fs::write(part_file(dir.path(), 2, "state"), "xyZ").unwrap();
            assert_eq!(store.latest().unwrap().unwrap().epoch, 1);
        }
        store.write(epoch, "plan", &parts("xyz"), &json!(null)).unwrap();
    }
    fs::write(part_file(dir.path(), 3, "state"), "xyZ").unwrap();
    assert_eq!(store.latest().unwrap().unwrap().epoch, 1);
}

#[test]
fn with_every_checkpoint_damaged_nothing_starts_over_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    store.write(1, "plan", &parts("x"), &json!(null)).unwrap();
    fs::remove_file(part_file(dir.path(), 1, "frames.arrows")).unwrap();
    let err = store.latest().unwrap_err().to_string();
    assert!(err.contains("frames.arrows: the file is missing"), "{err}");
}

#[test]
fn another_plan_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    store.write(7, "old", &parts("x"), &json!(null)).unwrap();
    let found = store.latest().unwrap().unwrap();
    found.require_plan("old").unwrap();
    let err = found.require_plan("new").unwrap_err().to_string();
    assert!(err.contains("epoch 7 belongs to plan old"), "{err}");
}

#[test]
fn a_part_cannot_leave_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(dir.path()).unwrap();
    for name in ["../x", "a/b", "", "manifest.json"] {
        let parts = vec![(name.to_owned(), Part::Bytes(vec![]))];
        assert!(store.write(1, "plan", &parts, &json!(null)).is_err(), "{name:?}");
    }
}
