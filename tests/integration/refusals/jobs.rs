//! Jobs that cannot run.

mod rows;

use super::*;

fn job(window: &str) -> String {
    JOB.replace("{window}", window)
}

#[test]
fn jobs_are_refused_with_line_column_and_remedy() {
    let dir = TempDir::new().unwrap();
    let minute = "tumble(interval '1 minute')";
    let sound = job(minute);
    let with = |from: &str, to: &str| {
        assert!(sound.contains(from));
        sound.replacen(from, to, 1)
    };
    let two = "hop(interval '1 minute', interval '1 hour') AS w, tumble(interval '1 minute')";
    let cases: Vec<(&str, String, &str, &[&str])> = vec![
        ("typo", with("SELECT cluster", "SELEC cluster"), "2:1", &["SELEC"]),
        ("quote", with("'up'", "'up"), "", &["nterminated", "quotes"]),
        ("parenthesis", with("FROM metrics", "FROM (metrics"), "", &["job"]),
        ("limit", format!("{sound}LIMIT 5\n"), "10:1", &["LIMIT on a stream", "rank inside"]),
        ("order", format!("{sound}ORDER BY service\n"), "10:", &["ORDER BY on a stream", "rank"]),
        ("distinct", with("  SELECT cluster", "  SELECT DISTINCT cluster"), "5:10", &["group by"]),
        (
            "union",
            format!("{sound}UNION ALL SELECT * FROM signals\n"),
            "",
            &["UNION", "one job per branch"],
        ),
        (
            "windowless",
            with(", window\n)", "\n)").replace(&format!(",\n         {minute} AS window"), ""),
            "",
            &["window"],
        ),
        ("endless", with("service, window\n", "service\n"), "", &["window"]),
        ("hop", job("hop(interval '2 minutes', interval '5 minutes')"), "6:10", &["multiple"]),
        ("month", job("tumble(interval '1 month')"), "6:10", &["no fixed length", "1 minute"]),
        ("zero", job("tumble(interval '0 minutes')"), "6:10", &["above zero"]),
        ("column window", job("tumble(value)"), "6:10", &["literal interval"]),
        ("column", with("sum(value)", "sum(worth)"), "5:", &["worth", "see"]),
        ("table", with("FROM metrics", "FROM metricks"), "7:8", &["metricks"]),
        (
            "two windows",
            job(two).replace("service, window\n)", "service, window, w\n)"),
            "8:3",
            &["more than one window"],
        ),
        ("now", with("9.0", "now()"), "3:8", &["event time", "window.end"]),
        ("no insert", "SELECT 1\n".to_owned(), "1:1", &["INSERT INTO"]),
        ("nothing", String::new(), "1:1", &["no INSERT", "write INSERT INTO signals"]),
        ("two inserts", format!("{sound};\n{sound}"), "11:1", &["second INSERT", "job file"]),
        ("drop", format!("DROP TABLE metrics;\n{sound}"), "1:1", &["not part of a job"]),
        ("severity", format!("-- severity: awful\n{sound}"), "1:1", &["awful", "critical"]),
        (
            "declared column",
            format!("CREATE TABLE metrics (ts TIMESTAMP, worth DOUBLE);\n{sound}"),
            "1:37",
            &["no column worth", "its columns are"],
        ),
        (
            "declared table",
            format!("CREATE TABLE readings (ts TIMESTAMP);\n{sound}"),
            "1:14",
            &["readings", "declare metrics"],
        ),
        (
            "watermark",
            format!("CREATE TABLE metrics (ts TIMESTAMP, WATERMARK FOR value);\n{sound}"),
            "1:51",
            &["watermark", "WATERMARK FOR ts"],
        ),
        (
            "lateness",
            format!(
                "CREATE TABLE metrics (ts TIMESTAMP,
                 WATERMARK FOR ts AS ts - INTERVAL '2 hours');\n{sound}"
            ),
            "2:32",
            &["above one hour", "WATERMARK FOR ts"],
        ),
    ];
    for (name, sql, place, words) in cases {
        let path = file(dir.path(), &format!("{name}.sql"), sql);
        let place = format!("{}:{place}", path.display());
        let mut all = vec![place.as_str()];
        all.extend(words);
        refused(&["explain", &text(&path)], &all);
    }
    let sound = file(dir.path(), "sound.sql", sound);
    assert_eq!(faultline(&["explain", &text(&sound)]).code, Some(0), "the base of all cases");
}

/// An outage of two rows an hour apart, and this job for it.
fn hour_with_job(sql: &str) -> (TempDir, String, String) {
    let dir = TempDir::new().unwrap();
    let metrics = "ts,service,instance,metric,value\n\
                   2024-05-01T00:00:00Z,api,api-0,cpu,0\n\
                   2024-05-01T01:00:00Z,api,api-0,cpu,1\n";
    file(dir.path(), "outage/metrics.csv", metrics);
    let job = text(&file(dir.path(), "broken.sql", sql));
    let outage = text(&dir.path().join("outage"));
    (dir, outage, job)
}

/// The base of jobs that fail on a row, with this expression in place of its score.
fn scored(score: &str) -> String {
    let sound = job("tumble(interval '1 minute')");
    assert!(sound.contains("9.0 AS score"));
    sound.replace("9.0 AS score", &format!("{score} AS score"))
}

/// Whatever the rows are: no run begins with it.
#[test]
fn what_fails_on_every_row_is_refused() {
    let sound = job("tumble(interval '1 minute')");
    let bin = "date_trunc(service, ts)";
    refused_jobs(&[
        ("time", scored("CAST(to_timestamp(service) AS DOUBLE)"), "", &["to_timestamp", "README"]),
        (
            "part",
            sound.replacen("service, window\n", &format!("service, {bin}, window\n"), 1),
            "",
            &["README"],
        ),
    ]);
}

/// Before any row: text does not become a number or a time, whatever it says.
#[test]
fn columns_of_the_wrong_kind_are_refused() {
    let sound = job("tumble(interval '1 minute')");
    let with = |from: &str, to: &str| {
        assert!(sound.contains(from));
        sound.replacen(from, to, 1)
    };
    let (is_text, order) = ("is text (Utf8) where", "in order: cluster, service, instance");
    refused_jobs(&[
        ("text", scored("'high'"), "3:18", &["column score", is_text, "a number (Float64)", order]),
        ("key", scored("service"), "3:19", &["column score is text", "a number", order]),
        (
            "swapped",
            with("'m' AS metric, window.start AS a", "window.start AS a, 'm' AS metric"),
            "2:68",
            &["column window_start", is_text, "a timestamp", order],
        ),
        ("time", scored("window.start"), "3:24", &["column score is a timestamp", "a number"]),
        ("flag", with("false AS c", "'no' AS c"), "", &["column ongoing is text", "a boolean"]),
    ]);
    let dir = TempDir::new().unwrap();
    for (name, score) in [("integer", "7"), ("null", "NULL"), ("boolean", "total > 1")] {
        let path = text(&file(dir.path(), &format!("{name}.sql"), scored(score)));
        let explained = faultline(&["explain", &path]);
        assert_eq!(explained.code, Some(0), "{name}: {explained:?}");
    }
}

/// A job over `{inner}`, rows of windows with a sum in `total`.
fn over(inner: &str) -> String {
    format!(
        "INSERT INTO signals
SELECT cluster, service, '' AS i, 'm' AS m, window.start AS a, window.end AS b,
       1.0 AS score, total, 0.0 AS e, '' AS d, false AS o, false AS p, '' AS t
FROM ({inner})"
    )
}

fn sums(stream: &str, window: &str) -> String {
    format!(
        "SELECT cluster, service, {window} AS window, CAST(count(*) AS DOUBLE) AS total
FROM {stream} GROUP BY cluster, service, window"
    )
}

/// Each must be refused, at its place.
fn refused_jobs(cases: &[(&str, String, &str, &[&str])]) {
    let dir = TempDir::new().unwrap();
    for (name, sql, place, words) in cases {
        let path = file(dir.path(), &format!("{name}.sql"), sql);
        let place = format!("{}:{place}", path.display());
        refused(&["explain", &text(&path)], &[&[place.as_str()], *words].concat());
    }
}

#[test]
fn jobs_write_to_signals_and_only_add() {
    let sound = job("tumble(interval '1 minute')");
    let written = |into: &str| sound.replace("INSERT INTO signals", into);
    let add = "write INSERT INTO signals SELECT";
    let few = sound.replace(", '' AS e", "");
    refused_jobs(&[
        ("few", few, "2:1", &["not those of signals", "in order: cluster, service, instance"]),
        ("metrics", "INSERT INTO metrics SELECT * FROM metrics".into(), "1:13", &["metrics;", add]),
        ("columns", "INSERT INTO logs (ts) SELECT ts FROM logs".into(), "1:13", &["logs;", add]),
        ("quoted", written("INSERT INTO \"Signals\""), "1:13", &["do not write", add]),
        ("over", written("INSERT OVERWRITE signals"), "1:8", &["never overwritten", add]),
        ("replace", written("REPLACE INTO signals"), "1:1", &["never replaced", add]),
        ("or", written("INSERT OR REPLACE INTO signals"), "1:1", &["never replaced", add]),
    ]);
}

/// Nothing is a signal at no time.
#[test]
fn signals_have_a_window() {
    let minute = sums("metrics", "tumble(interval '1 minute')");
    let (whole, of_sides) = (over(&minute), "x.cluster AS cluster, x.service AS service");
    let with = |a: &str| whole.replace("window.start AS a", &format!("{a} AS a"));
    let columns = "INSERT INTO signals (cluster, service, window_start, score)
        SELECT cluster, service, ts, value FROM metrics";
    let outer = over(&format!(
        "SELECT {of_sides}, y.window AS window, y.total AS total
FROM ({minute}) AS x LEFT JOIN ({minute}) AS y USING (window, service)"
    ));
    let no_time = "belongs to no time";
    refused_jobs(&[
        ("columns", columns.to_owned(), "1:1", &["window_end is not written", no_time]),
        ("null", with("NULL"), "2:45", &["window_start may be null", no_time]),
        ("nullif", with("nullif(window.start, window.end)"), "", &["window_start may be null"]),
        ("outer", outer, "2:45", &["window_start may be null", "of the left side of a join"]),
    ]);
    let dir = TempDir::new().unwrap();
    let coalesced = with("coalesce(nullif(window.start, window.end), window.start)");
    let path = file(dir.path(), "coalesced.sql", coalesced);
    assert_eq!(faultline(&["explain", &text(&path)]).code, Some(0));
}

/// A row at an impossible time is left out, told of, and harms nothing.
#[test]
fn signals_of_impossible_windows_are_left_out() {
    let sound = job("tumble(interval '1 minute')");
    for end in ["TIMESTAMP '2262-01-01'", "window.start - interval '1 day'"] {
        let sql = sound.replace("window.end", end);
        assert_ne!(sql, sound);
        let (_dir, outage, job) = hour_with_job(&sql);
        let outcome = faultline(&["replay", &outage, "--jobs", &job]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(outcome.stdout.contains("0 signals"), "{outcome:?}");
        assert!(outcome.stderr.contains("are left out"), "{outcome:?}");
    }
}

#[test]
fn windows_are_made_in_group_by() {
    let minute = "tumble(interval '1 minute')";
    let sound = job(minute);
    let raw = over(&format!("SELECT *, value AS total, {minute} AS window\nFROM metrics"));
    let filtered = sound.replace("FROM metrics\n", &format!("FROM metrics WHERE {minute} = ts\n"));
    let inside = sound.replace("sum(value)", &format!("count({minute})"));
    let words: &[&str] = &["tumble outside of GROUP BY", "write it in GROUP BY"];
    refused_jobs(&[
        ("raw", raw, "4:33", words),
        ("filtered", filtered, "6:10", words),
        ("inside", inside, "", words),
    ]);
}

/// What another database would do is not passed over.
#[test]
fn clauses_of_other_databases() {
    let sound = job("tumble(interval '1 minute')");
    let from = |rest: &str| sound.replace("FROM metrics\n", &format!("FROM metrics {rest}\n"));
    let by = |rest: &str| {
        let group = "GROUP BY cluster, service, window";
        assert!(sound.contains(group));
        sound.replace(group, &format!("{group} {rest}"))
    };
    let end = |rest: &str| format!("{sound}{rest}\n");
    let cases = [
        ("TABLESAMPLE", from("TABLESAMPLE BERNOULLI (0)"), "7:8"),
        ("PREWHERE", from("PREWHERE value < 0"), "7:25"),
        ("CONNECT BY", from("CONNECT BY value < 0"), "7:16"),
        ("START WITH", from("START WITH value < 0 CONNECT BY value < 0"), "7:16"),
        ("WITH (…)", from("WITH (NOLOCK)"), "7:22"),
        ("PARTITION", from("PARTITION (p0)"), "7:27"),
        ("WITH ORDINALITY", from("WITH ORDINALITY"), "7:8"),
        ("WITH ROLLUP", by("WITH ROLLUP"), "8:"),
        ("WITH TOTALS", by("WITH TOTALS"), "8:"),
        ("WITH CUBE", by("WITH CUBE"), "8:"),
        ("FOR UPDATE", end("FOR UPDATE"), "10:5"),
        ("SETTINGS", end("SETTINGS max_threads = 1"), "10:10"),
        ("FORMAT", end("FORMAT JSON"), "10:1"),
    ];
    for (name, sql, place) in cases {
        refused_jobs(&[("clause", sql, place, &[name, "no part of the dialect", "leave it out"])]);
    }
}

#[test]
fn sums_of_distinct_doubles_have_no_order() {
    let sound = job("tumble(interval '1 minute')");
    let with = |sum: &str| sound.replace("sum(value)", sum);
    let decimal = "CAST(sum(DISTINCT CAST(value AS DECIMAL(38, 9))) AS DOUBLE)";
    let words: &[&str] = &["of doubles rounds", "AS DECIMAL(38, 9)"];
    refused_jobs(&[
        ("sum", with("sum(DISTINCT value)"), "5:", words),
        ("avg", with("avg(DISTINCT value + 1)"), "5:", words),
        ("stddev", with("stddev(DISTINCT value)"), "5:", &["stddev takes no DISTINCT"]),
    ]);
    let dir = TempDir::new().unwrap();
    for sum in [decimal, "CAST(sum(DISTINCT CAST(value AS BIGINT)) AS DOUBLE)"] {
        let path = file(dir.path(), "sound.sql", with(sum));
        assert_eq!(faultline(&["explain", &text(&path)]).code, Some(0), "{sum}");
    }
}

#[test]
fn joins_are_on_one_window() {
    let (minute, hour) = ("tumble(interval '1 minute')", "tumble(interval '1 hour')");
    let join = |join: &str, window: &str, on: &str| {
        let columns = "x.cluster AS cluster, x.service AS service, x.window AS window, y.total";
        let (x, y) = (sums("metrics", minute), sums("logs", window));
        over(&format!("SELECT {columns} FROM ({x}) AS x\n{join} ({y}) AS y\n{on}"))
    };
    let on = "ON x.service = y.service AND x.window = y.window";
    let without = "ON x.service = y.service AND x.window = x.window";
    let session = "session(interval '1 minute')";
    let late = |column: &str| {
        let from = join("LEFT JOIN", minute, on);
        from.replace("x.window AS window, y.total", &format!("{column}, y.total"))
    };
    let ranked = "sum(1.0) OVER (PARTITION BY y.window) AS z, x.window AS window";
    let stateful = "counter_rate(1.0) OVER (ORDER BY y.window) AS z, x.window AS window";
    let on_window: &[&str] = &["without the window in ON", "ON left.window = right.window"];
    refused_jobs(&[
        ("none", join("JOIN", minute, without), "8:4", on_window),
        ("cross", join("CROSS JOIN", minute, ""), "6:7", on_window),
        ("widths", join("JOIN", hour, on), "8:4", &["never equal", "kind and width"]),
        ("kinds", join("JOIN", session, on), "8:4", &["never equal", "kind and width"]),
        ("right", join("RIGHT JOIN", minute, on), "6:1", &["left side", "write LEFT JOIN"]),
        ("full", join("FULL JOIN", minute, on), "6:1", &["left side", "write LEFT JOIN"]),
        ("ranked", late(ranked), "", &["may be null", "use the window of the left side"]),
        ("stateful", late(stateful), "", &["may be null", "use the window of the left side"]),
    ]);
    let dir = TempDir::new().unwrap();
    for (name, kind) in [("inner", "JOIN"), ("left", "LEFT JOIN"), ("semi", "LEFT SEMI JOIN")] {
        let sql = join(kind, minute, on).replace("y.total", "x.total");
        let path = file(dir.path(), &format!("{name}.sql"), sql);
        let outcome = faultline(&["explain", &text(&path)]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(outcome.stdout.contains("HashJoinExec"), "rows are looked up: {outcome:?}");
    }
}

#[test]
fn stateful_functions_take_every_row_of_their_series() {
    let inner = sums("metrics", "tumble(interval '1 minute')");
    let call = |argument: &str, rest: &str, frame: &str| {
        let by = "PARTITION BY cluster, service ORDER BY window";
        let call = format!("metric_anomaly({argument}){rest}\n  OVER ({by} {frame})");
        over(&format!("SELECT *, {call} AS v\nFROM ({inner})"))
    };
    let leave_out = "leave it out";
    let last = "ROWS BETWEEN 3 PRECEDING AND CURRENT ROW";
    let all = "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING";
    refused_jobs(&[
        ("rows", call("total", "", last), "5:", &["ROWS frame", "metric_anomaly", leave_out]),
        ("all", call("total", "", all), "5:", &["ROWS frame", leave_out]),
        ("nulls", call("total", " IGNORE NULLS", ""), "4:", &["IGNORE NULLS", leave_out]),
        ("distinct", call("DISTINCT total", "", ""), "4:", &["DISTINCT", leave_out]),
        ("filter", call("total", " FILTER (WHERE total > 5)", ""), "4:", &["FILTER", "README"]),
    ]);
    let raw = |call: &str| {
        format!(
            "INSERT INTO signals
SELECT cluster, service, instance, metric, ts AS a, ts AS b, v.score AS score,
       value, v.expected AS e, v.direction AS d, false AS o, false AS p, '' AS t
FROM (SELECT *, {call}
      OVER (PARTITION BY cluster, service ORDER BY ts) AS v FROM metrics)"
        )
    };
    let by_window = ["judges the rows of a window together", "aggregate by a window first"];
    refused_jobs(&[
        ("kinds", raw("metric_anomaly(value, metric)"), "5:", &by_window),
        ("mixes", raw("mix_shift(metric, value)"), "5:", &by_window),
    ]);
    let dir = TempDir::new().unwrap();
    let path = file(dir.path(), "raw.sql", raw("metric_anomaly(value)"));
    assert_eq!(faultline(&["explain", &text(&path)]).code, Some(0), "alone it may");
    let same = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW";
    let path = file(dir.path(), "same.sql", call("total", "", same));
    assert_eq!(faultline(&["explain", &text(&path)]).code, Some(0), "what it does anyway");
}

#[test]
fn what_a_function_answers_follows_from_its_arguments() {
    let sound = job("tumble(interval '1 minute')");
    let calls = ["now()", "current_timestamp", "current_date", "today()", "current_time()"];
    for call in calls.iter().chain(&["random()", "uuid()"]) {
        let name = call.trim_end_matches("()");
        let sql = sound.replace("'' AS instance", &format!("CAST({call} AS VARCHAR)"));
        let words: &[&str] = &[name, "no place in event time", "use window.start"];
        refused_jobs(&[(name, sql, "2:31", words)]);
    }
}

#[test]
fn expressions_that_cannot_run() {
    let minute = "tumble(interval '1 minute')";
    let sound = job(minute);
    let with = |condition: &str| {
        sound.replace("FROM metrics\n", &format!("FROM metrics\n  WHERE {condition}\n"))
    };
    let value = |value: &str| sound.replace("sum(value)", value);
    let many = |n: i32| {
        let terms: Vec<String> = (0..n).map(|i| format!("metric = 'm{i}'")).collect();
        with(&terms.join(" OR "))
    };
    let deep = "(".repeat(200) + "value" + &")".repeat(200) + " > 1";
    let join: &[&str] = &["subquery inside an expression", "JOIN them on it"];
    let percentile = "approx_percentile_cont(value, 2.0)";
    let late = sound.replace(
        "total, 0.0",
        "approx_percentile_cont(total, 2.0)
        OVER (PARTITION BY window), 0.0",
    );
    let argument = "-- name: a\n-- description: d\n-- severity: warning\nINSERT INTO signals
        SELECT highest('x') OVER (PARTITION BY cluster ORDER BY window) AS a
        FROM (SELECT cluster, tumble(interval '1 minute') AS window FROM metrics
              GROUP BY cluster, window)";
    let needs: &[&str] = &["'highest' requires Float64, but received String", "README"];
    refused_jobs(&[
        ("argument", argument.to_owned(), "5:", needs),
        ("in", with("service IN (SELECT service FROM logs)"), "8:9", join),
        ("exists", with("EXISTS (SELECT 1 FROM logs)"), "8:", join),
        ("scalar", value("(SELECT max(value) FROM metrics)"), "5:", join),
        ("percentile", value(percentile), "5:", &["percentile", "from 0 to 1", "README"]),
        ("percentile later", late, "", &["percentile", "from 0 to 1"]),
        ("time", with("ts > 'yesterday'"), "8:14", &["'yesterday'", "README"]),
        ("constant", value("max(value) / (1 / 0)"), "", &["1 / 0 has no value", "ivide by zero"]),
        ("number", value("CAST('x' AS DOUBLE)"), "", &["'x'", "README"]),
        ("unknown", value("nosuch(value)"), "5:", &["nosuch", "README"]),
        ("many", many(8000), "8:", &["more than 500 operators", "IN (…)"]),
        ("parentheses", with(&deep), "", &["nested too deeply", "fewer levels"]),
        ("overflow", job("tumble(interval '220000 days')"), "6:10", &["at most 3660 days"]),
        (
            "slides",
            job("hop(interval '1 millisecond', interval '1 hour')"),
            "6:10",
            &["3600000 slides", "at most 10080"],
        ),
    ]);
    let dir = TempDir::new().unwrap();
    let cluster = sound.replace("SELECT cluster, service,", "SELECT service, cluster,");
    for (name, sql) in [("cluster", cluster), ("some", many(200))] {
        let path = file(dir.path(), &format!("{name}.sql"), sql);
        let outcome = faultline(&["explain", &text(&path)]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
}

#[test]
fn job_files_that_are_none() {
    let dir = TempDir::new().unwrap();
    let missing = text(&dir.path().join("nowhere.sql"));
    refused(&["explain", &missing], &["nowhere.sql"]);
    refused(&["check", "--jobs", &missing], &["nowhere.sql"]);
    let binary = file(dir.path(), "binary.sql", b"INSERT \xff\xfe INTO signals");
    refused(&["explain", &text(&binary)], &["binary.sql"]);
    refused(&["explain", &text(dir.path())], &[&text(dir.path())]);
    let folder = dir.path().join("none");
    fs::create_dir(&folder).unwrap();
    refused(&["check", "--jobs", &text(&folder)], &["no .sql file in", "name a job file"]);
    let one = file(dir.path(), "one.sql", job("tumble(interval '1 minute')"));
    let same = format!("-- name: one\n{}", job("tumble(interval '1 hour')"));
    let same = file(dir.path(), "same.sql", same);
    let words = ["one.sql", "same.sql", "both named one", "`-- name:`"];
    refused(&["check", "--jobs", &text(&one), &text(&same)], &words);
}
