//! Joins of two streams on their window, and ranks inside a window.

use std::collections::BTreeMap;

use faultline::model::{MINUTE, Nanos, SECOND};
use faultline::stream::ingest::Feed;
use faultline::stream::schema::Stream;
use faultline::stream::series::Registries;
use proptest::prelude::*;

use super::rows::{START, Sample, ingest, logs, metrics, name, samples};
use super::{Written, block_on, driver, feed, sorted};

const JOIN: &str = "\
INSERT INTO signals
SELECT cluster, service, '' AS i, '' AS m, window.start AS a, window.end AS b,
       lines, total, 0.0 AS e, '' AS d, false AS o, false AS p, '' AS t
FROM (
  SELECT x.cluster AS cluster, x.service AS service, x.window AS window,
         x.total AS total, y.lines AS lines
  FROM (
    SELECT cluster, service, tumble(interval '1 minute') AS window, sum(value) AS total
    FROM metrics GROUP BY cluster, service, window
  ) AS x
  JOIN (
    SELECT cluster, service, tumble(interval '1 minute') AS window,
           CAST(count(*) AS DOUBLE) AS lines
    FROM logs GROUP BY cluster, service, window
  ) AS y
  ON x.window = y.window AND x.service = y.service
)";

const TOP: &str = "\
INSERT INTO signals
SELECT cluster, service, '' AS i, '' AS m, window.start AS a, window.end AS b,
       rank, total, 0.0 AS e, '' AS d, false AS o, false AS p, '' AS t
FROM (
  SELECT *, CAST(row_number() OVER (PARTITION BY window ORDER BY total DESC, service) AS DOUBLE)
            AS rank
  FROM (
    SELECT cluster, service, tumble(interval '1 minute') AS window, sum(value) AS total
    FROM metrics GROUP BY cluster, service, window
  )
)
WHERE rank <= 2";

/// Sums and counts by minute and service.
fn minutes(rows: &[Sample]) -> BTreeMap<(Nanos, u8), (f64, f64)> {
    let mut out: BTreeMap<(Nanos, u8), (f64, f64)> = BTreeMap::new();
    for s in rows {
        let minute = out.entry((s.ts.div_euclid(MINUTE) * MINUTE, s.service)).or_default();
        minute.0 += s.value;
        minute.1 += 1.0;
    }
    out
}

fn written((start, service): (Nanos, u8), values: [f64; 3]) -> Written {
    Written { service: name(service), start, end: start + MINUTE, values }
}

/// Runs a job over two streams; each side arrives in batches of its own size.
fn run(sql: &str, m: &[Sample], l: &[Sample], sizes: (usize, usize)) -> Vec<Written> {
    let mut registries = Registries::new(100);
    let mut ingest = ingest(5 * SECOND, 16);
    let mut fed = Vec::new();
    let mut parts: Vec<(Nanos, Stream, &[Sample])> = Vec::new();
    parts.extend(m.chunks(sizes.0).map(|p| (p[0].ts, Stream::Metrics, p)));
    parts.extend(l.chunks(sizes.1).map(|p| (p[0].ts, Stream::Logs, p)));
    parts.sort_by_key(|(ts, ..)| *ts);
    for (_, stream, _) in &parts {
        ingest.declare(*stream, 0);
    }
    for (_, stream, part) in parts {
        let batch = match stream {
            Stream::Logs => logs(part, &mut registries),
            _ => metrics(part, &mut registries),
        };
        fed.extend(ingest.push(stream, 0, batch).unwrap());
        fed.extend(ingest.release(&mut registries).unwrap());
    }
    fed.extend(ingest.end(&mut registries).unwrap());
    block_on(async { feed(&mut driver(sql).await, fed).await })
}

const SHARE: &str = "\
INSERT INTO signals
SELECT cluster, service, '' AS i, '' AS m, window.start AS a, window.end AS b,
       together, total, 0.0 AS e, '' AS d, false AS o, false AS p, '' AS t
FROM (
  SELECT *, sum(total) OVER (PARTITION BY window, right(service, 1)) AS together
  FROM (
    SELECT cluster, service, tumble(interval '1 minute') AS window, avg(value) AS total
    FROM metrics GROUP BY cluster, service, window
  )
)";

/// Sums of floats depend on the order of their terms in the last digits.
#[test]
fn windows_that_close_together_are_answered_as_if_they_closed_alone() {
    let mut samples = Vec::new();
    for minute in 0..6 {
        for service in 0..90 {
            let ts = START + minute * MINUTE + i64::from(service) * SECOND / 4;
            let value = f64::from(service).powi(7).sin() * 10_f64.powi(i32::from(service % 7));
            samples.push(Sample { ts, service, value });
        }
    }
    let few = run(SHARE, &samples, &[], (70, 1));
    let all = run(SHARE, &samples, &[], (samples.len(), 1));
    assert_eq!(few.len(), samples.len());
    assert_eq!(few, all);
}

/// Each row of a window with each: no memory holds what that makes of many.
#[test]
fn a_window_of_which_a_job_makes_too_much_is_set_aside() {
    let job = JOIN.replace(" AND x.service = y.service", "");
    let by = |stream: &str, column: &str| {
        let from = format!("FROM {stream} GROUP BY cluster, service, ");
        (format!("{from}window"), format!("{from}{column}, window"))
    };
    let job = [by("metrics", "value"), by("logs", "template")]
        .iter()
        .fold(job, |job, (from, to)| job.replace(from, to));
    assert!(job.contains("value, window") && job.contains("template, window"));
    let sample = |n: i64| Sample { ts: START + n, service: 0, value: n as f64 };
    let rows: Vec<Sample> = (0..6000).map(sample).collect();
    let (written, faults) = block_on(async {
        let mut registries = Registries::new(100);
        let mut ingest = ingest(5 * SECOND, 1 << 14);
        let mut driver = driver(&job).await;
        let mut fed = ingest.push(Stream::Metrics, 0, metrics(&rows, &mut registries)).unwrap();
        fed.extend(ingest.push(Stream::Logs, 0, logs(&rows, &mut registries)).unwrap());
        fed.extend(ingest.end(&mut registries).unwrap());
        let mut written = Vec::new();
        for item in fed {
            let done = match item {
                Feed::Rows(stream, rows) => driver.rows(stream, &rows).await,
                Feed::Watermark(watermark) => driver.watermark(watermark).await,
                Feed::End => driver.end().await,
                Feed::Refused(refused) => panic!("refused: {refused:?}"),
            };
            written.extend(done.unwrap());
        }
        (written, driver.take_faults())
    });
    assert!(written.is_empty() && faults.len() == 1, "{faults:?}");
    assert_eq!(faults[0].rows, 2 * rows.len());
    assert!(faults[0].problem.message.contains("takes too much memory"), "{faults:?}");
}

/// The longest chain of operators that is not refused runs in a small stack.
#[test]
fn a_long_condition_runs() {
    let terms: Vec<String> = (0..OPERATORS_MAX / 2).map(|i| format!("value <> {i}.5")).collect();
    let job = TOP.replace("FROM metrics", &format!("FROM metrics WHERE {}", terms.join(" AND ")));
    let sums = vec!["value"; OPERATORS_MAX / 2].join(" + ");
    let job = job.replace("sum(value)", &format!("max({sums})"));
    let sample = Sample { ts: START, service: 1, value: 2.0 };
    let written = run(&job, &[sample], &[], (1, 1));
    assert_eq!(written[0].values[1], 2.0 * (OPERATORS_MAX / 2) as f64);
}

/// Operators that one expression may hold.
const OPERATORS_MAX: usize = 500;

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_join_meets_the_rows_of_its_own_window(
        m in samples(80, 30),
        l in samples(80, 30),
        sizes in (1_usize..40, 1_usize..40),
    ) {
        let lines = minutes(&l);
        let both = minutes(&m).into_iter().filter_map(|(key, (total, _))| {
            Some(written(key, [lines.get(&key)?.1, total, 0.0]))
        });
        prop_assert_eq!(sorted(run(JOIN, &m, &l, sizes)), sorted(both.collect()));
    }

    #[test]
    fn ranks_begin_anew_in_every_window(m in samples(120, 20), size in 1_usize..40) {
        let mut windows: BTreeMap<Nanos, Vec<(f64, u8)>> = BTreeMap::new();
        for ((start, service), (total, _)) in minutes(&m) {
            windows.entry(start).or_default().push((total, service));
        }
        let mut expected = Vec::new();
        for (start, mut services) in windows {
            services.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let top = services.into_iter().take(2).enumerate();
            let row = |(rank, (total, service)): (usize, (f64, u8))| {
                written((start, service), [rank as f64 + 1.0, total, 0.0])
            };
            expected.extend(top.map(row));
        }
        prop_assert_eq!(sorted(run(TOP, &m, &[], (size, 1))), sorted(expected));
    }
}
