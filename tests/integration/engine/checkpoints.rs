//! A job that is saved and restored in the middle goes on as if it had not stopped.

use faultline::model::{MINUTE, SECOND};
use faultline::stream::driver::Driver;
use faultline::stream::ingest::Feed;
use faultline::stream::schema::Stream;
use faultline::stream::series::Registries;

use super::rows::{START, Sample, ingest, logs, metrics};
use super::{Written, block_on, driver, feed};
use crate::random::Random;

type Batch = fn(&[Sample], &mut Registries) -> arrow::array::RecordBatch;

/// Two hours of four noisy series; one of them jumps after eighty minutes and, for five minutes,
/// sends much more than it used to.
fn telemetry() -> Vec<Sample> {
    let mut random = Random::new(7);
    let mut rows = Vec::new();
    for tick in 0..240 {
        for service in 0..4 {
            let jump = if service == 2 && tick >= 160 { 60 } else { 0 };
            let burst = service == 2 && (160..170).contains(&tick);
            for _ in 0..if burst { 15 } else { 1 } {
                let value = (100 + jump + random.below(20)) as f64;
                rows.push(Sample { ts: START + tick * 30 * SECOND, service, value });
            }
        }
    }
    rows
}

/// The steps of a run over one half of the rows.
fn steps(
    rows: &[Sample],
    stream: Stream,
    batch: Batch,
    registries: &mut Registries,
    last: bool,
) -> Vec<Feed> {
    let mut ingest = ingest(0, 64);
    let mut fed = Vec::new();
    for part in rows.chunks(48) {
        let part = batch(part, registries);
        fed.extend(ingest.push(stream, 0, part).unwrap());
        fed.extend(ingest.release(registries).unwrap());
    }
    fed.extend(ingest.end(registries).unwrap());
    if !last {
        fed.retain(|f| !matches!(f, Feed::End));
    }
    fed
}

/// Registries of a new process, where ids have another order.
fn other_registries(rows: &[Sample], batch: Batch) -> Registries {
    let mut registries = Registries::new(100);
    let backwards: Vec<Sample> = rows.iter().rev().copied().collect();
    batch(&backwards, &mut registries);
    registries
}

async fn restored(sql: &str, from: &mut Driver) -> Driver {
    let saved = from.save().unwrap();
    let mut to = driver(sql).await;
    to.restore(&saved).unwrap();
    to
}

fn unbroken_and_resumed(sql: &str, stream: Stream, batch: Batch, cut: usize) -> [Vec<Written>; 4] {
    let rows = telemetry();
    let (head, tail) = rows.split_at(cut);
    let mut registries = Registries::new(100);
    let mut fresh = other_registries(&rows, batch);
    block_on(async {
        let mut first = driver(sql).await;
        let mut unbroken = driver(sql).await;
        let steps = |rows: &[Sample], r: &mut Registries, last| steps(rows, stream, batch, r, last);
        let before = feed(&mut first, steps(head, &mut registries, false)).await;
        let mut through = feed(&mut unbroken, steps(head, &mut registries, false)).await;

        let mut second = restored(sql, &mut first).await;
        let mut resumed = before.clone();
        resumed.extend(feed(&mut second, steps(tail, &mut fresh, true)).await);

        // Saving must not disturb the one that is saved.
        let mut kept = before;
        kept.extend(feed(&mut first, steps(tail, &mut registries, true)).await);
        through.extend(feed(&mut unbroken, steps(tail, &mut registries, true)).await);

        let mut third = driver(sql).await;
        let mut renumbered = feed(&mut third, steps(head, &mut registries, false)).await;
        third.renumber().await.unwrap();
        let mut fresh = other_registries(&rows, batch);
        renumbered.extend(feed(&mut third, steps(tail, &mut fresh, true)).await);
        [through, resumed, kept, renumbered]
    })
}

fn check(name: &str, sql: &str, stream: Stream, batch: Batch) {
    for cut in [4, 301, 670, 955] {
        let [unbroken, resumed, kept, renumbered] = unbroken_and_resumed(sql, stream, batch, cut);
        assert!(!unbroken.is_empty(), "{name} writes nothing, so this shows nothing");
        assert_eq!(resumed, unbroken, "{name} restored after {cut} rows");
        assert_eq!(kept, unbroken, "{name} saved after {cut} rows");
        assert_eq!(renumbered, unbroken, "{name} with new ids after {cut} rows");
    }
}

fn shipped(name: &str) -> String {
    let path = format!("sql/detect/{name}.sql");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn shipped_jobs() {
    check("metric_level", &shipped("metric_level"), Stream::Metrics, metrics);
    check("error_burst", &shipped("error_burst"), Stream::Logs, logs);
}

#[test]
fn every_kind_of_window() {
    for window in [
        "tumble(interval '7 minutes')",
        "hop(interval '2 minutes', interval '10 minutes')",
        "session(interval '40 seconds')",
    ] {
        for key in ["service", "concat(service, '!')"] {
            let sql = format!(
                "INSERT INTO signals
                 SELECT cluster, key, '' AS i, '' AS m, window.start AS a, window.end AS b,
                        score, observed, expected, '' AS d, false AS o, false AS p, '' AS t
                 FROM (
                   SELECT cluster, {key} AS key, {window} AS window, avg(value) AS score,
                          median(value) AS observed, CAST(count(*) AS DOUBLE) AS expected
                   FROM metrics
                   WHERE value < 170
                   GROUP BY cluster, {key}, window
                 )"
            );
            check(window, &sql, Stream::Metrics, metrics);
        }
    }
}

/// Reading a state and putting it back rounds nothing, and text that was picked is still there.
#[test]
fn every_statistic_to_the_last_digit() {
    for window in ["tumble(interval '41 minutes')", "session(interval '40 seconds')"] {
        let sql = format!(
            "INSERT INTO signals
             SELECT cluster, who, '' AS i, '' AS m, window.start AS a, window.end AS b,
                    deviation, covariance, slope, '' AS d, false AS o, false AS p, '' AS t
             FROM (
               SELECT cluster, {window} AS window, first_value(service) AS who,
                      stddev(value / 7) + var_pop(value / 3) AS deviation,
                      covar_samp(value / 7, ln(value)) + corr(value, sin(value)) AS covariance,
                      regr_slope(value, ln(value)) + sum(value / 7) + avg(value / 3) AS slope
               FROM metrics
               GROUP BY cluster, window
             )"
        );
        check(window, &sql, Stream::Metrics, metrics);
    }
}

/// Rows that wait in a join for the other side.
#[test]
fn a_join_of_windows() {
    let width = 8 * MINUTE / SECOND;
    let side = |alias: &str, value: &str| {
        format!(
            "(SELECT cluster, service, tumble(interval '{width} seconds') AS window,
                     {value} AS value FROM metrics GROUP BY cluster, service, window) AS {alias}"
        )
    };
    let sql = format!(
        "INSERT INTO signals
         SELECT cluster, service, '' AS i, '' AS m, window.start AS a, window.end AS b,
                low, high, rank, '' AS d, false AS o, false AS p, '' AS t
         FROM (
           SELECT *, CAST(row_number() OVER (PARTITION BY window ORDER BY high DESC, service)
                          AS DOUBLE) AS rank
           FROM (
             SELECT x.cluster AS cluster, x.service AS service, x.window AS window,
                    x.value AS low, y.value AS high
             FROM {} JOIN {} ON x.window = y.window AND x.service = y.service
           )
         )
         WHERE rank <= 2",
        side("x", "min(value)"),
        side("y", "max(value)"),
    );
    check("join", &sql, Stream::Metrics, metrics);
}
