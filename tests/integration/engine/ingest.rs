//! Event time at the door: late rows, wrong clocks, and an order that arrival does not decide.

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use faultline::model::{DAY, HOUR, Nanos, SECOND};
use faultline::stream::ingest::{Feed, Ingest, IngestConfig, JUMP, Refusal};
use faultline::stream::schema::Stream;
use faultline::stream::series::Registries;
use proptest::prelude::*;

use super::rows::{START, Sample, ingest, metrics, name, samples};

const LATENESS: Nanos = 5 * SECOND;

/// What came of rows: those passed on, in order, and those refused.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    passed: Vec<(Nanos, String, f64)>,
    refused: Vec<(Nanos, &'static str)>,
}

impl Outcome {
    fn add(&mut self, fed: Vec<Feed>) {
        let mut watermark = Nanos::MIN;
        for item in fed {
            match item {
                Feed::Rows(_, rows) => {
                    let services = arrow::compute::cast(
                        rows.batch.column(2),
                        &arrow::datatypes::DataType::Utf8,
                    );
                    let services = services.unwrap();
                    let values = rows.batch.column(6).as_primitive::<Float64Type>();
                    for (row, ts) in rows.ts.iter().enumerate() {
                        assert!(*ts >= watermark, "a row behind the watermark was passed on");
                        let service = services.as_string::<i32>().value(row).to_owned();
                        self.passed.push((*ts, service, values.value(row)));
                    }
                }
                Feed::Watermark(w) => {
                    assert!(w > watermark, "a watermark that does not move is no news");
                    watermark = w;
                }
                Feed::Refused(r) => {
                    let ts = r.row.column(0).as_primitive::<TimestampNanosecondType>().value(0);
                    self.refused.push((ts, r.reason.as_str()));
                }
                Feed::End => {}
            }
        }
    }
}

/// Two partitions, rows dealt out by service, in batches of `size`.
fn run(rows: &[Sample], size: usize, batch_rows: usize) -> Outcome {
    let mut registries = Registries::new(100);
    let mut ingest = ingest(LATENESS, batch_rows);
    for partition in 0..2 {
        ingest.declare(Stream::Metrics, partition);
    }
    let mut out = Vec::new();
    for part in rows.chunks(size) {
        for partition in 0..2 {
            let own = part.iter().filter(|s| u32::from(s.service) % 2 == partition);
            let own = own.copied().collect::<Vec<_>>();
            let batch = metrics(&own, &mut registries);
            out.extend(ingest.push(Stream::Metrics, partition, batch).unwrap());
            if ingest.full() {
                out.extend(ingest.release(&mut registries).unwrap());
            }
        }
    }
    out.extend(ingest.end(&mut registries).unwrap());
    assert_eq!(ingest.in_flight(), 0);
    let mut outcome = Outcome::default();
    outcome.add(out);
    outcome.refused.sort_unstable();
    outcome
}

/// Rows that arrive up to `delay` seconds after they should.
fn delayed(rows: &[Sample], delays: &[Nanos]) -> Vec<Sample> {
    let mut order: Vec<(Nanos, Sample)> =
        rows.iter().zip(delays.iter().cycle()).map(|(s, d)| (s.ts + d, *s)).collect();
    order.sort_by_key(|(due, _)| *due);
    order.into_iter().map(|(_, s)| s).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn disorder_within_the_lateness_does_not_show(
        rows in samples(150, 4),
        delays in proptest::collection::vec(0..LATENESS, 1..40),
        size in 1_usize..60,
        batch_rows in 1_usize..60,
    ) {
        let sorted = run(&rows, 1000, 1000);
        prop_assert!(sorted.refused.is_empty());
        prop_assert_eq!(sorted.passed.len(), rows.len());
        prop_assert!(sorted.passed.is_sorted_by_key(|(ts, ..)| *ts));
        prop_assert_eq!(run(&delayed(&rows, &delays), size, batch_rows), sorted);
    }

    /// Late is who lies more than the lateness behind the newest row of its own partition.
    #[test]
    fn late_rows_are_known_by_their_partition_alone(
        rows in samples(150, 4),
        delays in proptest::collection::vec(0..6 * LATENESS, 1..40),
        size in 1_usize..60,
        batch_rows in 1_usize..60,
    ) {
        let arrived = delayed(&rows, &delays);
        let mut newest = [Nanos::MIN; 2];
        let mut late = Vec::new();
        let mut kept = Vec::new();
        for s in &arrived {
            let newest = &mut newest[usize::from(s.service) % 2];
            if s.ts < newest.saturating_sub(LATENESS) {
                late.push((s.ts, "late"));
            } else {
                *newest = (*newest).max(s.ts);
                kept.push((s.ts, name(s.service), s.value));
            }
        }
        late.sort_unstable();
        let Outcome { mut passed, refused } = run(&arrived, size, batch_rows);
        prop_assert_eq!(refused, late);
        let order = |a: &(Nanos, String, f64), b: &(Nanos, String, f64)| {
            (a.0, &a.1).cmp(&(b.0, &b.1)).then(a.2.total_cmp(&b.2))
        };
        passed.sort_by(order);
        kept.sort_by(order);
        prop_assert_eq!(passed, kept);
    }
}

fn sample(after: Nanos) -> Sample {
    Sample { ts: START + after, service: 0, value: 1.0 }
}

/// Pushes rows one by one and tells which of them were refused, and why.
fn refusals(ingest: &mut Ingest, rows: &[Sample]) -> Vec<(Nanos, Refusal)> {
    let mut registries = Registries::new(100);
    let mut refused = Vec::new();
    for row in rows {
        let fed = ingest.push(Stream::Metrics, 0, metrics(&[*row], &mut registries)).unwrap();
        let fed = fed.into_iter().chain(ingest.release(&mut registries).unwrap());
        for item in fed {
            if let Feed::Refused(r) = item {
                let ts = r.row.column(0).as_primitive::<TimestampNanosecondType>().value(0);
                refused.push((ts - START, r.reason));
            }
        }
    }
    refused
}

/// For whoever waits until each second is over: the same rows in the same order, and no second of
/// them without its watermark.
#[test]
fn watermarks_by_the_second_change_nothing_else() {
    let rows: Vec<Sample> =
        (0..200).map(|n| sample((n * 700 - n % 7 * 900).max(0) * 1_000_000)).collect();
    let fed = |by_second| {
        let (lateness, not_after, jump) = (LATENESS, Nanos::MAX, Some(JUMP));
        let config = IngestConfig { lateness, not_after, jump, batch_rows: 64, by_second };
        let (mut registries, mut ingest) = (Registries::new(100), Ingest::new(config));
        let mut out = Vec::new();
        for part in rows.chunks(64) {
            let batch = metrics(part, &mut registries);
            out.extend(ingest.push(Stream::Metrics, 0, batch).unwrap());
            out.extend(ingest.release(&mut registries).unwrap());
        }
        out.extend(ingest.end(&mut registries).unwrap());
        let marks = out.iter().filter(|item| matches!(item, Feed::Watermark(_))).count();
        let mut outcome = Outcome::default();
        outcome.add(out);
        (outcome, marks)
    };
    let ((whole, few), (paced, many)) = (fed(false), fed(true));
    assert_eq!(paced, whole);
    let mut seconds: Vec<Nanos> =
        whole.passed.iter().map(|(ts, ..)| ts.div_euclid(SECOND)).collect();
    seconds.dedup();
    assert!(few <= 5 && many >= seconds.len() && many <= seconds.len() + few, "{few} {many}");
}

fn until(not_after: Nanos, jump: Option<Nanos>) -> Ingest {
    let lateness = LATENESS;
    Ingest::new(IngestConfig { lateness, not_after, jump, batch_rows: 1, by_second: false })
}

#[test]
fn a_wrong_clock_moves_no_watermark() {
    let mut wrong = until(START + 100 * DAY, Some(JUMP));
    let mut rows = [0; 8].map(sample).to_vec();
    rows.extend([SECOND, 200 * DAY, 2 * SECOND, 30 * DAY, 3 * SECOND, 4 * SECOND].map(sample));
    let refused = refusals(&mut wrong, &rows);
    assert_eq!(refused, [(200 * DAY, Refusal::Future), (30 * DAY, Refusal::Future)]);
    assert!(wrong.watermark() < START);
}

/// A partition has no time before its first rows, which may be the wrong ones.
#[test]
fn a_wrong_clock_in_the_first_rows_is_no_beginning() {
    let mut rows = [30 * DAY, 40 * DAY, 0, SECOND, 35 * DAY].map(sample).to_vec();
    rows.extend((2..9).map(|n| sample(n * SECOND)));
    let mut first = until(START + 100 * DAY, Some(JUMP));
    let refused = refusals(&mut first, &rows);
    assert_eq!(refused, [30, 40, 35].map(|days| (days * DAY, Refusal::Future)));
    let mut short = until(START + 100 * DAY, Some(JUMP));
    let (mut registries, mut outcome) = (Registries::new(100), Outcome::default());
    let few = [30 * DAY, 0, SECOND, 35 * DAY].map(sample);
    let batch = metrics(&few, &mut registries);
    outcome.add(short.push(Stream::Metrics, 0, batch).unwrap());
    outcome.add(short.end(&mut registries).unwrap());
    assert_eq!(outcome.refused.len(), 2);
    assert_eq!(outcome.passed.iter().map(|p| p.0 - START).collect::<Vec<_>>(), [0, SECOND]);
    // Rows that are days apart are no wrong clocks.
    let mut weekly = until(START + 100 * DAY, Some(JUMP));
    let rows: Vec<Sample> = (0..12).map(|week| sample(7 * DAY * week)).collect();
    assert_eq!(refusals(&mut weekly, &rows), []);
}

#[test]
fn a_jump_in_time_is_believed_when_others_follow() {
    let mut after = until(START + 100 * DAY, Some(JUMP));
    let mut rows = vec![sample(0)];
    rows.extend((0..12).map(|n| sample(30 * DAY + n * SECOND)));
    rows.push(sample(HOUR));
    assert_eq!(refusals(&mut after, &rows), [(HOUR, Refusal::Late)]);
    assert_eq!(after.watermark(), START + 30 * DAY + 6 * SECOND);
}

/// Rows that event time has passed while they were held back are late, not passed on behind it.
#[test]
fn a_jump_that_is_believed_is_judged_again() {
    let mut after = until(START + 100 * DAY, Some(JUMP));
    let first = [0, 30 * DAY, 20 * DAY].map(sample);
    assert_eq!(refusals(&mut after, &first), []);
    after.merged_to(START + 25 * DAY);
    let rest = [30 * DAY; 6].map(sample);
    assert_eq!(refusals(&mut after, &rest), [(20 * DAY, Refusal::Late)]);
    assert_eq!(after.in_flight(), 7);
}

/// Few rows after a quiet time are believed when event time comes to them, or ends close by.
#[test]
fn a_jump_is_believed_when_event_time_comes_to_it() {
    let mut registries = Registries::new(100);
    let mut outcome = Outcome::default();
    let mut quiet = until(START + 100 * DAY, Some(JUMP));
    let mut fed = Vec::new();
    for after in [0, 2 * DAY, 5 * DAY, 9 * DAY] {
        let batch = metrics(&[sample(after)], &mut registries);
        fed.extend(quiet.push(Stream::Metrics, 0, batch).unwrap());
    }
    quiet.merged_to(START + 3 * DAY);
    fed.extend(quiet.release(&mut registries).unwrap());
    assert_eq!(quiet.in_flight(), 2);
    let batch = metrics(&[sample(4 * DAY)], &mut registries);
    fed.extend(quiet.push(Stream::Metrics, 1, batch).unwrap());
    fed.extend(quiet.end(&mut registries).unwrap());
    outcome.add(fed);
    assert_eq!(
        outcome.passed.iter().map(|p| (p.0 - START) / DAY).collect::<Vec<_>>(),
        [0, 2, 4, 5]
    );
    assert_eq!(outcome.refused, [(START + 9 * DAY, "future")]);
}

/// At the end several rows in order are no wrong clock, however far they are; one alone may be, and
/// so may rows that come back.
#[test]
fn what_is_held_back_at_the_end_is_believed_if_it_is_in_order() {
    let second = |n: i64| n * SECOND;
    let ended = |rows: &[Nanos]| {
        let (mut registries, mut outcome) = (Registries::new(100), Outcome::default());
        let mut ingest = until(START + 100 * DAY, Some(JUMP));
        for row in rows {
            let batch = metrics(&[sample(*row)], &mut registries);
            outcome.add(ingest.push(Stream::Metrics, 0, batch).unwrap());
        }
        outcome.add(ingest.end(&mut registries).unwrap());
        assert_eq!(ingest.in_flight(), 0);
        let refused = outcome.refused.iter().map(|r| r.0 - START);
        (outcome.passed.len(), refused.collect::<Vec<_>>(), ingest.watermark() - START)
    };
    let daily: Vec<Nanos> = (0..9).map(|n| n * 25 * HOUR).collect();
    assert_eq!(ended(&daily), (9, vec![], 200 * HOUR + SECOND));
    let weekly: Vec<Nanos> = (0..3).map(|n| n * 7 * DAY).collect();
    assert_eq!(ended(&weekly), (3, vec![], 14 * DAY + SECOND));
    let minute: Vec<Nanos> = (0..60).map(second).collect();
    let after_minute = |rest: &[Nanos]| ended(&[&minute, rest].concat());
    let resumed = [3 * DAY, 3 * DAY + second(9), 3 * DAY + second(5)];
    assert_eq!(after_minute(&resumed), (63, vec![], 3 * DAY + second(10)));
    assert_eq!(after_minute(&[3 * DAY]), (60, vec![3 * DAY], second(60)));
    assert_eq!(after_minute(&[200 * DAY, 201 * DAY]).2, second(60));
    let back = [30 * DAY, 3 * DAY];
    assert_eq!(after_minute(&back), (60, vec![30 * DAY, 3 * DAY], second(60)));
}

/// A clock that bounds the future leaves nothing to hold back.
#[test]
fn nothing_is_held_back_where_a_clock_bounds_it() {
    let mut live = until(START + 100 * DAY, None);
    assert_eq!(refusals(&mut live, &[0, 30 * DAY].map(sample)), []);
    assert_eq!(live.watermark(), START + 30 * DAY - LATENESS);
}

/// Registries in which series have other ids.
fn other_registries() -> Registries {
    let mut registries = Registries::new(100);
    for service in (0..4).rev() {
        metrics(&[Sample { service, ..sample(0) }], &mut registries);
    }
    registries
}

/// What waits at a checkpoint is judged afterwards as it would have been.
#[test]
fn a_restored_ingest_goes_on() {
    let rows: Vec<Sample> =
        [0, 2 * SECOND, 30 * DAY, 30 * DAY + SECOND, 3 * SECOND, 20 * SECOND].map(sample).to_vec();
    for cut in 0..rows.len() {
        let mut registries = Registries::new(100);
        let mut outcomes = [Outcome::default(), Outcome::default(), Outcome::default()];
        for (stopped, outcome) in outcomes.iter_mut().enumerate() {
            let mut ingest = ingest(LATENESS, 1);
            let mut fed = Vec::new();
            for (at, row) in rows.iter().enumerate() {
                if at == cut && stopped == 1 {
                    let (clocks, waiting) = ingest.save().unwrap();
                    ingest = super::rows::ingest(LATENESS, 1);
                    registries = other_registries();
                    ingest.restore(clocks, waiting, &mut registries).unwrap();
                } else if at == cut && stopped == 2 {
                    ingest.renumber(&mut registries).unwrap();
                }
                let batch = metrics(&[*row], &mut registries);
                fed.extend(ingest.push(Stream::Metrics, 0, batch).unwrap());
            }
            fed.extend(ingest.end(&mut registries).unwrap());
            outcome.add(fed);
        }
        let [unbroken, resumed, renumbered] = outcomes;
        assert_eq!(resumed, unbroken, "stopped before row {cut}");
        assert_eq!(renumbered, unbroken, "renumbered before row {cut}");
        assert_eq!(unbroken.refused.len(), 2);
    }
}

/// A quiet partition holds the watermark back until it is said to be idle, and joins in again.
#[test]
fn the_slowest_partition_decides() {
    let mut registries = Registries::new(100);
    let (not_after, jump, by_second) = (Nanos::MAX, None, false);
    let config = IngestConfig { lateness: 0, not_after, jump, batch_rows: 1, by_second };
    let mut both = Ingest::new(config);
    let mut at = |ingest: &mut Ingest, partition: u32, second: i64| {
        let batch = metrics(&[sample(second * SECOND)], &mut registries);
        ingest.push(Stream::Metrics, partition, batch).unwrap();
        ingest.release(&mut registries).unwrap();
        (ingest.watermark().max(START) - START) / SECOND
    };
    both.declare(Stream::Metrics, 1);
    assert_eq!(at(&mut both, 0, 60), 0);
    assert_eq!(at(&mut both, 1, 20), 20);
    assert_eq!(at(&mut both, 0, 90), 20);
    both.idle(Stream::Metrics, 1);
    assert_eq!(at(&mut both, 0, 100), 100);
    assert_eq!(at(&mut both, 1, 110), 100);
}

/// A partition whose rows are all refused stays idle and holds nothing back.
#[test]
fn a_refused_row_is_no_sign_of_life() {
    let mut registries = Registries::new(100);
    let mut both = until(START + HOUR, None);
    let mut at = |ingest: &mut Ingest, partition: u32, after: Nanos| {
        let batch = metrics(&[sample(after)], &mut registries);
        ingest.push(Stream::Metrics, partition, batch).unwrap();
        ingest.release(&mut registries).unwrap();
        (ingest.accepted(Stream::Metrics, 1), (ingest.watermark() - START + LATENESS) / SECOND)
    };
    assert_eq!(at(&mut both, 1, 10 * SECOND), (1, 10));
    both.idle(Stream::Metrics, 1);
    assert_eq!(at(&mut both, 0, 60 * SECOND), (1, 60));
    // Too far in the future, then too late.
    for (refused, next) in [(2 * HOUR, 70), (20 * SECOND, 80)] {
        assert_eq!(at(&mut both, 1, refused), (1, next - 10));
        assert_eq!(at(&mut both, 0, next * SECOND), (1, next));
    }
}

/// However far one partition is behind the others, what they bring does not pile up.
#[test]
fn where_many_rows_wait_only_the_slowest_partition_is_read() {
    let mut registries = Registries::new(10);
    let mut ingest = until(Nanos::MAX, None);
    ingest.declare(Stream::Metrics, 1);
    let mut rows = 0;
    while ingest.wants(Stream::Metrics, 0) {
        assert!(rows < 1 << 20, "never enough");
        let more: Vec<Sample> = (rows..rows + 8_192).map(|n| sample(n * SECOND)).collect();
        ingest.push(Stream::Metrics, 0, metrics(&more, &mut registries)).unwrap();
        ingest.release(&mut registries).unwrap();
        rows += 8_192;
    }
    assert_eq!(ingest.in_flight() as i64, rows);
    assert!(ingest.wants(Stream::Metrics, 1), "the watermark waits for it");
    let newest = [sample((rows - 1) * SECOND)];
    ingest.push(Stream::Metrics, 1, metrics(&newest, &mut registries)).unwrap();
    ingest.release(&mut registries).unwrap();
    assert!(ingest.wants(Stream::Metrics, 0), "they are side by side");
}
