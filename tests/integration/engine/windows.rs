//! Tumbling, hopping and session windows against a plain computation.

use std::collections::BTreeMap;

use faultline::model::{Nanos, SECOND};
use faultline::stream::series::Registries;
use proptest::prelude::*;

use super::rows::{START, Sample, fed, name, samples};
use super::{Written, block_on, driver, feed, sorted};

/// Keys as a plain column, which is interned, as an expression, which is hashed, and as a column
/// that a subquery computes, which is interned anew in each batch.
const KEYS: [&str; 3] = ["service", "concat(service, '')", "who"];

fn job(window: &str, key: &str, values: [&str; 3]) -> String {
    let [score, observed, expected] = values;
    format!(
        "INSERT INTO signals
         SELECT 'c' AS cluster, key, '' AS instance, '' AS metric, window.start AS a,
                window.end AS b, score, observed, expected, '' AS d, false AS o, false AS p,
                '' AS t
         FROM (
           SELECT {key} AS key, {window} AS window, {score} AS score, {observed} AS observed,
                  {expected} AS expected
           FROM (
             SELECT *, CASE WHEN value > 1000 THEN instance ELSE service END AS who FROM metrics
           )
           GROUP BY {key}, window
         )"
    )
}

const VALUES: [&str; 3] = ["CAST(count(*) AS DOUBLE)", "sum(value)", "median(value)"];

fn computed(members: &[f64]) -> [f64; 3] {
    let mut sorted = members.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0;
    [n as f64, members.iter().sum(), median]
}

/// Every window `[start, start + width)` with a row in it, at multiples of `slide`.
fn fixed(samples: &[Sample], slide: Nanos, width: Nanos) -> Vec<Written> {
    let mut windows: BTreeMap<(Nanos, u8), Vec<f64>> = BTreeMap::new();
    for s in samples {
        let last = s.ts.div_euclid(slide) * slide;
        let starts = (0..width / slide).map(|n| last - n * slide);
        for start in starts.filter(|start| s.ts < start + width) {
            windows.entry((start, s.service)).or_default().push(s.value);
        }
    }
    let written = windows.into_iter().map(|((start, service), members)| Written {
        service: name(service),
        start,
        end: start + width,
        values: computed(&members),
    });
    sorted(written.collect())
}

/// Per service, rows less than `gap` after the one before.
fn sessions(samples: &[Sample], gap: Nanos) -> Vec<Written> {
    let mut out = Vec::new();
    for service in 0..4 {
        let own: Vec<&Sample> = samples.iter().filter(|s| s.service == service).collect();
        for session in own.chunk_by(|a, b| b.ts - a.ts < gap) {
            let members: Vec<f64> = session.iter().map(|s| s.value).collect();
            out.push(Written {
                service: name(service),
                start: session[0].ts,
                end: session[session.len() - 1].ts + gap,
                values: computed(&members),
            });
        }
    }
    sorted(out)
}

fn run(sql: &str, samples: &[Sample], rows: usize) -> Vec<Written> {
    block_on(async {
        let mut driver = driver(sql).await;
        let mut registries = Registries::new(100);
        let fed = fed(samples, rows, &mut registries);
        feed(&mut driver, fed).await
    })
}

fn seconds(n: i64) -> String {
    format!("interval '{n} seconds'")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn tumbling(
        rows in samples(120, 40),
        width in 1_i64..100,
        batch in 1_usize..50,
        key in 0_usize..3,
    ) {
        let sql = job(&format!("tumble({})", seconds(width)), KEYS[key], VALUES);
        let expected = fixed(&rows, width * SECOND, width * SECOND);
        prop_assert_eq!(sorted(run(&sql, &rows, batch)), expected);
    }

    #[test]
    fn hopping(
        rows in samples(120, 60),
        slide in 1_i64..40,
        times in 1_i64..6,
        batch in 1_usize..50,
        key in 0_usize..3,
    ) {
        let window = format!("hop({}, {})", seconds(slide), seconds(slide * times));
        let sql = job(&window, KEYS[key], VALUES);
        let expected = fixed(&rows, slide * SECOND, slide * times * SECOND);
        prop_assert_eq!(sorted(run(&sql, &rows, batch)), expected);
    }

    #[test]
    fn session(
        rows in samples(120, 60),
        gap in 1_i64..200,
        batch in 1_usize..50,
        key in 0_usize..3,
    ) {
        let sql = job(&format!("session({})", seconds(gap)), KEYS[key], VALUES);
        let expected = sessions(&rows, gap * SECOND);
        prop_assert_eq!(sorted(run(&sql, &rows, batch)), expected);
    }

    /// Also the order of the answers, which incidents depend on.
    #[test]
    fn batches_do_not_show(rows in samples(300, 5), a in 1_usize..60, b in 60_usize..300) {
        let values = [
            "approx_percentile_cont(ln(value + 51), 0.95)",
            "avg(ln(value + 51))",
            "approx_median(value) + stddev(value / 3) + corr(value / 7, ln(value + 52))",
        ];
        for window in ["tumble(60 s)", "hop(20 s, 60 s)", "tumble(3600 s)", "session(30 s)"] {
            let window = window.replace(" s", " seconds'");
            let window = window.replace('(', "(interval '").replace(", ", ", interval '");
            let sql = job(&window, "service", values);
            prop_assert_eq!(run(&sql, &rows, a), run(&sql, &rows, b), "{}", window);
        }
    }
}

#[test]
fn filters_and_windows_without_keys() {
    let values = ["CAST(count(*) FILTER (WHERE value > 0) AS DOUBLE)", "max(value)", "min(value)"];
    let sql = job("tumble(interval '1 minute')", "'all'", values);
    let start = super::rows::START;
    let sample =
        |second: i64, service, value| Sample { ts: start + second * SECOND, service, value };
    let rows = [sample(0, 0, -1.0), sample(59, 1, 4.0), sample(60, 0, 2.0), sample(200, 2, -3.0)];
    let all = |minute: i64, values| {
        let start = start + minute * 60 * SECOND;
        Written { service: "all".to_owned(), start, end: start + 60 * SECOND, values }
    };
    let expected =
        vec![all(0, [1.0, 4.0, -1.0]), all(1, [1.0, 2.0, 2.0]), all(3, [0.0, -3.0, -3.0])];
    assert_eq!(run(&sql, &rows, 2), expected);

    let sql = job("session(interval '30 seconds')", "'all'", values);
    let session = |from: i64, to: i64, values| {
        let (start, end) = (start + from * SECOND, start + (to + 30) * SECOND);
        Written { service: "all".to_owned(), start, end, values }
    };
    let expected = vec![
        session(0, 0, [0.0, -1.0, -1.0]),
        session(59, 60, [2.0, 4.0, 2.0]),
        session(200, 200, [0.0, -3.0, -3.0]),
    ];
    assert_eq!(run(&sql, &rows, 2), expected);
}

/// A series is watched from the end of its own first window on, however many windows close at once.
#[test]
fn who_is_watched_does_not_depend_on_how_windows_come() {
    let sample = |second: i64, service| Sample {
        ts: START + second * SECOND,
        service,
        value: f64::from(service),
    };
    let rows = [sample(0, 0), sample(70, 1), sample(75, 2), sample(300, 0)];
    let counted = |batch_rows: usize| {
        block_on(async {
            let mut registries = Registries::new(100);
            let fed = fed(&rows, batch_rows, &mut registries);
            let mut driver = driver(
                "INSERT INTO signals
                 SELECT 'c' AS cluster, service, '' AS i, '' AS m, window.start AS a,
                        window.end AS b, rate AS score, 0.0 AS o, 0.0 AS e, '' AS d,
                        false AS g, false AS p, '' AS t
                 FROM (SELECT *, counter_rate(n) OVER (PARTITION BY service ORDER BY window) AS rate
                       FROM (SELECT service, tumble(interval '1 minute') AS window, sum(value) AS n
                             FROM metrics GROUP BY service, window))",
            )
            .await;
            feed(&mut driver, fed).await;
            driver.take_census()
        })
    };
    let minute = 60 * SECOND;
    for batch_rows in [1, 2, 8192] {
        assert_eq!(counted(batch_rows), [(START + minute, 1), (START + 2 * minute, 3)]);
    }
}

/// A counter that counts one a second, whatever its scrapes have to do with minutes.
#[test]
fn the_rate_of_a_counter_is_by_the_time_of_its_samples() {
    let counter = |every: i64| -> Vec<Sample> {
        let at = |i: i64| Sample {
            ts: START + i * every * SECOND,
            service: 0,
            value: (i * every) as f64,
        };
        (0..60).map(at).collect()
    };
    let reading = "reading(v, v, 'a_total', newest) OVER (PARTITION BY service ORDER BY window)";
    let rates = "counter_rate(v, newest) OVER (PARTITION BY service ORDER BY window)";
    let hop = "hop(interval '15 seconds', interval '1 minute')";
    for (window, every) in [
        ("tumble(interval '1 minute')", 25),
        ("tumble(interval '1 minute')", 40),
        (hop, 25),
        (hop, 60),
    ] {
        let due = if window == hop {
            "due(newest) OVER (PARTITION BY service ORDER BY window)"
        } else {
            "true"
        };
        let sql = format!(
            "INSERT INTO signals
             SELECT 'c' AS cluster, service, '' AS i, '' AS m, window.start AS a, window.end AS b,
                    rate AS score, r.value AS o, n AS e, '' AS d, false AS g, false AS p, '' AS t
             FROM (SELECT *, {rates} AS rate, {reading} AS r
                   FROM (SELECT *, {due} AS is_due
                         FROM (SELECT service, {window} AS window, max(value) AS v,
                                      max(ts) AS newest, CAST(count(*) AS DOUBLE) AS n
                               FROM metrics GROUP BY service, window))
                   WHERE is_due)
             WHERE rate IS NOT NULL"
        );
        let written = run(&sql, &counter(every), 8192);
        assert!(written.len() > 20, "{written:?}");
        for window in &written {
            assert!((window.values[0] - 1.0).abs() < 1e-9, "{every}: {window:?}");
            assert_eq!(window.values[0], window.values[1], "{every}: {window:?}");
        }
        let counted: f64 = written.iter().map(|window| window.values[2]).sum();
        assert!((57.0..60.0).contains(&counted), "each but those of the first window: {counted}");
    }
}

/// What the monitor takes for the time between two windows of a series.
#[test]
fn the_pace_of_a_job_is_that_of_its_windows() {
    let minute = 60 * SECOND;
    let due = include_str!("../../../sql/detect/metric_level.sql").to_owned();
    for (sql, pace) in [
        (job("tumble(interval '10 minutes')", "service", VALUES), Some(10 * minute)),
        (job("hop(interval '1 minute', interval '5 minutes')", "service", VALUES), Some(minute)),
        (job("session(interval '1 minute')", "service", VALUES), None),
        (due, Some(minute)),
    ] {
        let job = block_on(faultline::stream::compile("job.sql", &sql));
        assert_eq!(job.unwrap_or_else(|e| panic!("{e}\n{sql}")).pace(), pace, "{sql}");
    }
}

/// A replay that was done with less lateness is not done with more.
#[test]
fn the_lateness_of_a_job_is_part_of_what_it_is() {
    let hash = |seconds: u32| {
        let table = format!(
            "CREATE TABLE metrics (ts TIMESTAMP, service TEXT, value DOUBLE,
             WATERMARK FOR ts AS ts - INTERVAL '{seconds} seconds');"
        );
        let sql = table + &job("tumble(interval '60 seconds')", "service", VALUES);
        let job = block_on(faultline::stream::compile("job.sql", &sql));
        job.unwrap_or_else(|e| panic!("{e}\n{sql}")).hash
    };
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(60));
}

/// Text that an aggregate picks is a key like any other.
#[test]
fn series_may_be_named_by_an_aggregate() {
    let sample = |n: i64| {
        let service = (n / 2 % 4) as u8;
        Sample { ts: START + n * 30 * SECOND, service, value: n as f64 }
    };
    let rows: Vec<Sample> = (0..40).map(sample).collect();
    let firsts: Vec<f64> = (0..20).map(|n| -f64::from(n % 4 * 2 + 1)).collect();
    for pick in ["first_value(service)", "last_value(service)", "nth_value(service, 1)"] {
        let sql = format!(
            "INSERT INTO signals
             SELECT cluster, who, '' AS i, '' AS m, window.start AS a, window.end AS b,
                    highest(n) OVER (PARTITION BY who ORDER BY window) AS score, 0.0 AS o,
                    0.0 AS e, '' AS d, false AS g, false AS p, '' AS t
             FROM (SELECT cluster, tumble(interval '1 minute') AS window, {pick} AS who,
                          -max(value) AS n
                   FROM metrics GROUP BY cluster, window)"
        );
        let highest: Vec<f64> = run(&sql, &rows, 7).iter().map(|w| w.values[0]).collect();
        assert_eq!(highest, firsts, "{pick}");
    }
}

/// A series that was silent for longer than a week is forgotten, wherever its days are cut.
#[test]
fn a_series_is_forgotten_after_a_week_without_rows() {
    let day = 24 * 60 * 60;
    let sample =
        |second: i64, service, value| Sample { ts: START + second * SECOND, service, value };
    // Every day two values of one series; of the others one, and another when they come back. What
    // is not the first has a rate.
    let daily = (0..24).flat_map(|n| [sample(n * day, 0, 9.0), sample(n * day + 70, 0, 1.0)]);
    let mut rows: Vec<Sample> = daily.collect();
    for (service, away) in [(1, 5), (2, 7), (3, 10)] {
        rows.extend([sample(day, service, 8.0), sample((1 + away) * day, service, 2.0)]);
    }
    // Days on which nothing came at all do not count.
    rows.extend((0..9).map(|n| sample(60 * day + 70 * n, 0, 3.0 + n as f64)));
    rows.sort_by_key(|row| row.ts);
    let run = |batch_rows: usize, by: &str, function: &str, cut: usize| {
        let sql = format!(
            "INSERT INTO signals
             SELECT cluster, service, '' AS i, '' AS m, window.start AS a, window.end AS b,
                    coalesce({function}(n) OVER (PARTITION BY {by} ORDER BY window), 0.0) AS score,
                    0.0 AS o, 0.0 AS e, '' AS d, false AS g, false AS p, '' AS t
             FROM (SELECT cluster, service, upper(service) AS loud, max(value) AS n,
                          tumble(interval '1 minute') AS window
                   FROM metrics GROUP BY cluster, service, window)"
        );
        block_on(async {
            let mut registries = Registries::new(100);
            let mut fed = fed(&rows, batch_rows, &mut registries);
            let rest = fed.split_off(fed.len() * cut / 10);
            let mut first = driver(&sql).await;
            let mut written = feed(&mut first, fed).await;
            let mut census = first.take_census();
            let saved = first.save().unwrap();
            let mut second = driver(&sql).await;
            second.restore(&saved).unwrap();
            written.extend(feed(&mut second, rest).await);
            census.extend(second.take_census());
            (sorted(written), census)
        })
    };
    let last = |written: &[Written], service: u8| {
        written.iter().rfind(|w| w.service == name(service)).unwrap().values[0]
    };
    for by in ["service", "loud"] {
        let (written, census) = run(8192, by, "counter_rate", 0);
        assert_eq!([0, 1, 2, 3].map(|s| last(&written, s) > 0.0), [true, true, true, false]);
        let back = written.iter().find(|w| w.start >= START + 60 * day * SECOND);
        assert!(back.unwrap().values[0] > 0.0);
        let counts: Vec<usize> = census.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 4, 3, 4, 3, 2, 1], "{census:?}");
        // It is told as of a row that came, not of the midnight before.
        assert!(census.iter().all(|(at, _)| written.iter().any(|w| w.end == *at)), "{census:?}");
        for batch_rows in [1, 2, 7] {
            for cut in [0, 3, 6, 8] {
                assert_eq!(
                    run(batch_rows, by, "counter_rate", cut),
                    (written.clone(), census.clone())
                );
            }
        }
    }
    // What was seen once was seen, however long ago.
    for (function, said) in [("first_seen", 0.0), ("highest", 8.0)] {
        let (written, _) = run(8192, "service", function, 0);
        assert_eq!([1, 2, 3].map(|service| last(&written, service)), [said; 3]);
    }
}

/// Ids that stand for other series from some row on are not taken for those that had them.
#[test]
fn series_may_be_numbered_anew() {
    let sample =
        |second: i64, service, value| Sample { ts: START + second * SECOND, service, value };
    let before = [sample(0, 0, 9.0), sample(1, 1, 5.0), sample(2, 2, 1.0), sample(70, 1, 4.0)];
    let after = [sample(130, 2, 2.0), sample(131, 1, 3.0), sample(132, 0, 8.0)];
    let windowed = "SELECT cluster, service, tumble(interval '1 minute') AS window,
                           max(value) AS n FROM metrics GROUP BY cluster, service, window";
    for (from, order, window) in [
        (windowed, "window", "window.start AS a, window.end AS b"),
        ("SELECT cluster, service, ts, value AS n FROM metrics", "ts", "ts AS a, ts AS b"),
    ] {
        let sql = format!(
            "INSERT INTO signals
             SELECT cluster, service, '' AS i, '' AS m, {window},
                    highest(n) OVER (PARTITION BY service ORDER BY {order}) AS score,
                    0.0 AS o, 0.0 AS e, '' AS d, false AS g, false AS p, '' AS t
             FROM ({from})"
        );
        let last = block_on(async {
            let mut driver = driver(&sql).await;
            let mut steps = fed(&before, 2, &mut Registries::new(100));
            steps.retain(|step| !matches!(step, faultline::stream::ingest::Feed::End));
            let mut written = feed(&mut driver, steps).await;
            driver.renumber().await.unwrap();
            written.extend(feed(&mut driver, fed(&after, 2, &mut Registries::new(100))).await);
            [0, 1, 2].map(|service| {
                let own = written.iter().filter(|w| w.service == name(service));
                own.max_by_key(|w| w.start).unwrap().values[0]
            })
        });
        assert_eq!(last, [9.0, 5.0, 2.0], "{order}");
    }
}
