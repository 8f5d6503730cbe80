use super::*;
use crate::diagnose::telemetry::{
    Change, Counts, OperationStats, Period, Quantiles, Series, SpanAggregate, SpanStats,
    TemplateCounts,
};

mod volumes;

const STEP: i64 = 60_000_000_000;
const BASELINE: i64 = 60;
const WINDOW: i64 = 5;

/// `usual` with a little noise, and `now` in the window.
fn series(service: &str, metric: &str, usual: f64, now: f64) -> Series {
    let noise = |i: i64| 1.0 + ((i * 7919 + metric.len() as i64) % 11) as f64 / 200.0;
    let at = |i: i64| if i < BASELINE { usual } else { now };
    Series {
        service: service.to_owned(),
        instance: format!("{service}-0"),
        metric: metric.to_owned(),
        labels: String::new(),
        is_rate: false,
        told: 0.0,
        points: (0..BASELINE + WINDOW).map(|i| (i * STEP, at(i) * noise(i))).collect(),
    }
}

fn telemetry(series: Vec<Series>, edges: &[(&str, &str)]) -> Telemetry {
    let split = BASELINE * STEP;
    Telemetry {
        baseline: Period { from: 0, to: split },
        window: Period { from: split, to: split + WINDOW * STEP },
        series,
        templates: Vec::new(),
        spans: SpanStats::default(),
        edges: edges.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
        changes: Vec::new(),
    }
}

/// web -> api -> db and web -> cache; the database is slow and all above it with it.
fn slow_database() -> Telemetry {
    let rows =
        [("web", 80.0, 580.0), ("api", 50.0, 550.0), ("db", 5.0, 505.0), ("cache", 1.0, 1.0)];
    let series = rows.iter().map(|(s, usual, now)| series(s, "latency_p50", *usual, *now));
    telemetry(series.collect(), &[("web", "api"), ("api", "db"), ("web", "cache")])
}

fn template(service: &str, text: &str, severity: &str, counts: (u64, u64)) -> TemplateCounts {
    TemplateCounts {
        service: service.to_owned(),
        instance: String::new(),
        template_id: text.bytes().map(u64::from).sum(),
        template: text.to_owned(),
        severity: severity.to_owned(),
        owner: None,
        baseline: counts.0,
        window: counts.1,
        first_seen: 0,
    }
}

fn best(t: &Telemetry) -> Candidate {
    rank(t).candidates.into_iter().next().unwrap()
}

#[test]
fn a_slow_database_is_ranked_above_its_callers() {
    let ranking = rank(&slow_database());
    let order: Vec<&str> = ranking.candidates.iter().map(|c| c.service.as_str()).collect();
    assert_eq!(order[0], "db", "{:?}", ranking.candidates);
    assert_eq!(ranking.candidates[0].kind, Kind::NetworkDelay);
    let cited = &ranking.candidates[0].evidence;
    assert!(cited.iter().any(|i| matches!(
        &ranking.evidence[*i],
        Evidence::Edge { caller, .. } if caller == "api"
    )));
}

/// Nothing but labels tells who calls whom.
#[test]
fn calls_that_labels_of_a_mesh_name_are_calls() {
    let mut t = slow_database();
    t.edges.clear();
    for (service, caller) in [("api", "web"), ("db", "api"), ("cache", "web")] {
        let series = t.series.iter_mut().find(|s| s.service == service).unwrap();
        series.labels = format!("source_workload={caller},response_code=200");
    }
    let (told, known) = (rank(&t), rank(&slow_database()));
    let order = |ranking: &Ranking| -> Vec<String> {
        ranking.candidates.iter().map(|c| format!("{} {:.6}", c.service, c.score)).collect()
    };
    assert_eq!(order(&told), order(&known));
}

/// What is ranked lower is not said to be surer, whatever its own evidence is.
#[test]
fn no_candidate_is_surer_than_the_one_before_it() {
    let mut random = 7_u64;
    let mut unit = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 40) as f64 / (1 << 24) as f64
    };
    for _ in 0..60 {
        let mut t = slow_database();
        for s in &mut t.series {
            let factor = 1.0 + unit().powi(4);
            s.points.iter_mut().rev().take(WINDOW as usize).for_each(|p| p.1 *= factor);
        }
        let more = ["web", "api", "db", "cache"]
            .map(|service| series(service, "cpu_usage", 10.0, 10.0 * (1.0 + 3.0 * unit().powi(6))));
        t.series.extend(more);
        let ranking = rank(&t);
        assert!(ranking.candidates.is_sorted_by(|a, b| a.confidence >= b.confidence));
    }
}

/// Requests per second of a service by status code.
fn requests(service: &str, code: u16, usual: f64, now: f64) -> Series {
    Series {
        labels: format!("code=\"{code}\",method=\"GET\""),
        is_rate: true,
        ..series(service, "http_requests_total", usual, now)
    }
}

#[test]
fn requests_that_fail_are_errors_and_not_load_also_where_none_failed_before() {
    let calls = [("web", "api"), ("web", "cache")];
    for usual in [0.1, 0.0] {
        let mut failing = requests("api", 500, usual, 20.0);
        if usual == 0.0 {
            failing.points.retain(|(ts, _)| *ts >= BASELINE * STEP);
        }
        let mut all = vec![requests("api", 200, 50.0, 30.0), failing];
        all.extend(["web", "cache"].map(|service| requests(service, 200, 50.0, 50.0)));
        let first = best(&telemetry(all, &calls));
        assert_eq!((first.service.as_str(), first.kind), ("api", Kind::ErrorReturn), "{usual}");
    }
}

#[test]
fn saturation_outranks_the_slowness_that_it_causes() {
    let mut t = slow_database();
    t.series.push(series("api", "cpu_usage", 10.0, 90.0));
    t.series.retain(|s| s.service != "db");
    let c = best(&t);
    assert_eq!((c.service.as_str(), c.kind), ("api", Kind::Cpu));
}

#[test]
fn a_probe_outside_the_graph_is_no_candidate() {
    let mut t = slow_database();
    t.series.push(series("synthetic-check", "latency_p50", 80.0, 5800.0));
    let ranking = rank(&t);
    assert!(ranking.candidates.iter().all(|c| c.service != "synthetic-check"));
    assert_eq!(ranking.candidates[0].service, "db");
}

#[test]
fn what_a_whole_node_shows_blames_no_single_service() {
    let mut t = slow_database();
    for service in ["web", "api", "db", "cache"] {
        t.series.push(series(service, "node_cpu_usage", 10.0, 90.0));
    }
    assert_eq!(best(&t).service, "db");
}

#[test]
fn order_of_input_and_unit_of_metrics_do_not_matter() {
    let forward = rank(&slow_database());
    let mut t = slow_database();
    t.series.reverse();
    t.edges.reverse();
    t.series.iter_mut().flat_map(|s| &mut s.points).for_each(|p| p.1 *= 1e-3);
    let back = rank(&t);
    for (a, b) in forward.candidates.iter().zip(&back.candidates) {
        assert_eq!(a.service, b.service);
        assert!((a.score - b.score).abs() < 1e-9);
    }
}

#[test]
fn new_errors_without_metrics_name_the_service() {
    let mut t = telemetry(Vec::new(), &[("web", "api")]);
    t.templates = vec![
        template("web", "served <*>", "INFO", (500, 480)),
        template("api", "read <*>", "INFO", (400, 410)),
        template("api", "unhandled exception in <*>", "ERROR", (0, 60)),
    ];
    let c = best(&t);
    assert_eq!((c.service.as_str(), c.kind), ("api", Kind::Exception));
    assert_eq!(c.lanes.iter().map(|l| l.weight).sum::<f64>(), 1.0);
}

#[test]
fn a_line_that_parts_from_its_companions_is_found() {
    let mut t = telemetry(Vec::new(), &[]);
    t.templates = ["start <*>", "load user <*>", "answer with <*>", "finished it <*>"]
        .iter()
        .map(|text| template("api", text, "INFO", (200, 210)))
        .collect();
    t.templates[1].window = 4;
    // The whole other service falls silent alike: a change of load, no broken flow.
    t.templates.extend(
        ["in <*>", "work on <*>", "out again <*>"]
            .iter()
            .map(|text| template("job", text, "INFO", (200, 40))),
    );
    let ranking = rank(&t);
    assert_eq!(ranking.candidates.len(), 1);
    assert_eq!(ranking.candidates[0].service, "api");
    assert!(ranking.evidence[0].text().contains("load user"));
}

#[test]
fn a_recent_deploy_decides_between_equals() {
    let rows = [("a", 10.0, 90.0), ("b", 10.0, 90.0)];
    let both = rows.iter().map(|(s, usual, now)| series(s, "cpu_usage", *usual, *now));
    let mut t = telemetry(both.collect(), &[]);
    t.changes.push(Change {
        ts: (BASELINE - 2) * STEP,
        service: "b".to_owned(),
        kind: "deploy".to_owned(),
        object: "b:v2".to_owned(),
        detail: String::new(),
    });
    assert_eq!(best(&t).service, "b");
}

#[test]
fn a_change_of_configuration_names_the_kind_only_if_it_is_recent() {
    let kind = |config: i64, deploy: i64| {
        let mut t = telemetry(vec![series("a", "latency", 10.0, 13.0)], &[]);
        for (kind, minutes) in [("config", config), ("deploy", deploy)] {
            t.changes.push(Change {
                ts: BASELINE * STEP - minutes * STEP,
                service: "a".to_owned(),
                kind: kind.to_owned(),
                object: "a".to_owned(),
                detail: String::new(),
            });
        }
        best(&t).kind
    };
    assert_eq!(kind(1, 57), Kind::Configuration);
    assert_ne!(kind(57, 1), Kind::Configuration, "the deploy lends it no weight");
}

#[test]
fn lines_of_several_writers_are_told_of_the_one_that_wrote_most() {
    let mut t = telemetry(Vec::new(), &[("front", "db"), ("shop", "db")]);
    for (writer, counts) in [("front", (4, 40)), ("shop", (4, 160))] {
        t.templates.push(template(writer, "call to db failed: timeout", "ERROR", counts));
        t.templates.push(template(writer, "served <*>", "INFO", (200, 200)));
    }
    let ranking = rank(&t);
    let told = ranking.evidence.iter().find_map(|e| match e {
        Evidence::LogTemplate { service, observed, expected, .. } => {
            Some((service.as_str(), *observed, *expected < 10.0))
        }
        _ => None,
    });
    assert_eq!(told, Some(("shop", 160, true)));
}

#[test]
fn what_has_not_moved_is_not_cited() {
    let points = (0..BASELINE + WINDOW).map(|i| (i * STEP, 12.0)).collect();
    let even = Series { points, ..series("a", "cpu_usage", 1.0, 1.0) };
    let mut t = telemetry(vec![even], &[]);
    t.templates.push(template("a", "cannot go on", "ERROR", (0, 50)));
    let ranking = rank(&t);
    assert!(!ranking.evidence.is_empty());
    let still = |e: &Evidence| match e {
        Evidence::MetricWindow { observed, expected, .. } => observed == expected,
        _ => false,
    };
    assert!(!ranking.evidence.iter().any(still), "{:?}", ranking.evidence);
}

#[test]
fn a_missing_call_blames_the_service_that_no_longer_makes_it() {
    let mut t = telemetry(Vec::new(), &[]);
    t.spans.traces = Counts { baseline: 300, window: 300 };
    let call =
        |caller: &str, callee: &str, with_child: u64| crate::diagnose::telemetry::CallStats {
            caller: caller.to_owned(),
            caller_entry: "get".to_owned(),
            caller_operation: "get".to_owned(),
            callee: callee.to_owned(),
            callee_operation: "get".to_owned(),
            parents: Counts { baseline: 300, window: 300 },
            with_child: Counts { baseline: 300, window: with_child },
        };
    t.spans.calls = vec![call("web", "api", 300), call("api", "db", 20)];
    t.edges = vec![("web".to_owned(), "api".to_owned()), ("api".to_owned(), "db".to_owned())];
    assert_eq!(best(&t).service, "api");
}

/// `api` is called by `web`; both have spans, of which only those given are slower by ten times.
fn traced(slow: &[&str]) -> SpanStats {
    let counts = Counts { baseline: 100, window: 100 };
    let aggregate = |us: f64| SpanAggregate {
        count: 100,
        origins: 0,
        self_us: Quantiles { p25: us * 0.9, p50: us, p75: us * 1.1, mean: us },
    };
    let operations = ["web", "api"].map(|service| OperationStats {
        service: service.to_owned(),
        instance: String::new(),
        operation: "get".to_owned(),
        baseline: aggregate(5_000.0),
        window: aggregate(if slow.contains(&service) { 50_000.0 } else { 5_000.0 }),
    });
    SpanStats { traces: counts, operations: operations.into(), calls: Vec::new() }
}

#[test]
fn slowness_that_no_span_shows_is_not_the_services_own() {
    let mut t = telemetry(vec![series("web", "latency_p99", 10.0, 90.0)], &[("web", "api")]);
    let by_metrics = best(&t).score;
    t.spans = traced(&["web"]);
    let both = best(&t);
    assert!(both.service == "web" && both.lanes[0].value > 0.9 * by_metrics, "{both:?}");
    t.spans = traced(&[]);
    let unseen = rank(&t).candidates.first().map_or(0.0, |c| c.score);
    assert!(unseen < 0.1 * both.score, "{unseen}");
    t.spans = traced(&["api"]);
    assert_eq!(best(&t).service, "api");
}

#[test]
fn failures_that_lines_find_in_a_callee_are_not_the_callers() {
    let mut t = telemetry(vec![series("web", "error_ratio", 0.001, 0.5)], &[("web", "api")]);
    let alone = best(&t);
    assert_eq!(alone.service, "web");
    t.templates = vec![
        template("web", "served <*>", "INFO", (500, 480)),
        template("api", "read <*>", "INFO", (400, 410)),
        template("api", "cannot read <*>", "ERROR", (0, 200)),
    ];
    let ranking = rank(&t);
    assert_eq!(ranking.candidates[0].service, "api");
    let left = ranking.candidates.iter().find(|c| c.service == "web").map_or(0.0, |c| c.score);
    assert!(left < 0.2 * alone.score, "{left} of {}", alone.score);
}

#[test]
fn a_line_that_names_a_failing_callee_blames_the_callee() {
    let mut t = telemetry(Vec::new(), &[("web", "stock-api"), ("web", "cart-api")]);
    t.templates = vec![
        template("web", "served <*>", "INFO", (500, 480)),
        template("stock-api", "read <*>", "INFO", (400, 410)),
        template("cart-api", "read <*>", "INFO", (400, 410)),
        template("web", "call to cart-api failed: status <*>", "ERROR", (0, 60)),
    ];
    assert_eq!(best(&t).service, "cart-api");
    // Who fails to reach all its callees is itself cut off.
    t.templates.push(template("web", "call to stock-api failed: <*>", "ERROR", (0, 60)));
    assert_eq!(best(&t).service, "web");
}

#[test]
fn what_suffering_callers_have_in_common_is_blamed() {
    let edges = [("web", "a"), ("web", "b"), ("web", "c"), ("a", "db"), ("b", "db")];
    let rows = [("a", 0.5), ("b", 0.5), ("c", 0.0)];
    let mut all: Vec<Series> =
        rows.iter().map(|(s, now)| series(s, "error_ratio", 0.001, 0.001 + now)).collect();
    all.push(series("db", "cpu_usage", 10.0, 10.0));
    let t = telemetry(all, &edges);
    let ranking = rank(&t);
    assert_eq!(ranking.candidates[0].service, "db", "{:?}", ranking.candidates);
    let cited = &ranking.candidates[0].evidence;
    assert!(cited.iter().any(|i| matches!(&ranking.evidence[*i], Evidence::Edge { .. })));
}

#[test]
fn who_falls_silent_while_its_callers_fail_has_crashed() {
    let mut t = slow_database();
    t.series = vec![
        series("web", "error_ratio", 0.001, 0.5),
        series("api", "error_ratio", 0.001, 0.5),
        series("db", "cpu_usage", 10.0, 10.0),
        series("cache", "cpu_usage", 10.0, 10.0),
    ];
    t.series[2].points.truncate(BASELINE as usize);
    let c = best(&t);
    assert_eq!((c.service.as_str(), c.kind), ("db", Kind::Crash));
    // Its lines go on: then only its metrics are missing.
    t.templates = vec![
        template("db", "checkpoint <*>", "INFO", (300, 300)),
        template("api", "read <*>", "INFO", (300, 300)),
    ];
    t.templates[0].instance = "db-0".to_owned();
    assert_ne!(best(&t).kind, Kind::Crash);
}

/// One of three replicas, or two, is gone, and the others have its load: who is silent has crashed,
/// not who is busy.
#[test]
fn an_instance_that_is_silent_has_crashed_and_not_one_that_took_over_its_work() {
    for (gone, named) in [(vec![2], "api-2"), (vec![1, 2], "")] {
        let mut all = Vec::new();
        for replica in 0..3 {
            for (metric, before, now) in
                [("request_rate", 10.0, 15.0), ("latency_p50", 20.0, 26.0), ("cpu_usage", 0.3, 0.5)]
            {
                let mut own = series("api", metric, before, now);
                own.instance = format!("api-{replica}");
                if gone.contains(&replica) {
                    own.points.truncate(BASELINE as usize);
                }
                all.push(own);
            }
        }
        for quiet in ["web", "db", "mail"] {
            all.push(series(quiet, "latency_p50", 10.0, 10.0));
            all.push(series(quiet, "cpu_usage", 0.2, 0.2));
        }
        let mut t = telemetry(all, &[("web", "api"), ("api", "db"), ("web", "mail")]);
        let c = best(&t);
        assert_eq!((&*c.service, &*c.instance, c.kind), ("api", named, Kind::Crash), "{gone:?}");
        // Where somebody has taken them away, that is the reason.
        t.changes.push(Change {
            ts: (BASELINE - 1) * STEP,
            service: "api".to_owned(),
            kind: "scale".to_owned(),
            object: "api".to_owned(),
            detail: "fewer replicas".to_owned(),
        });
        assert_eq!(best(&t).kind, Kind::Configuration, "{gone:?}");
    }
}

/// Nobody asks any more, and of what is left a smaller part is passed on.
#[test]
fn fewer_requests_for_all_are_no_error() {
    let rates = [("web", 3.0), ("api", 2.0), ("db", 1.5)];
    let mut all: Vec<Series> =
        rates.iter().map(|(s, now)| series(s, "request_rate", 30.0, *now)).collect();
    all.extend(rates.iter().map(|(s, _)| series(s, "cpu_utilisation", 0.3, 0.1)));
    let t = telemetry(all, &[("web", "api"), ("api", "db")]);
    let c = best(&t);
    assert_eq!((&*c.service, c.kind), ("web", Kind::Unknown));
}

#[test]
fn a_callee_that_is_gone_explains_the_errors_and_lines_of_its_caller() {
    let rows = [("web", 0.001), ("api", 0.05), ("mail", 0.001)];
    let mut all: Vec<Series> =
        rows.iter().map(|(s, now)| series(s, "error_ratio", 0.001, *now)).collect();
    all.extend(["cache", "db"].map(|s| series(s, "cpu_usage", 10.0, 10.0)));
    all[3].points.truncate(BASELINE as usize);
    let mut t = telemetry(all, &[("web", "api"), ("api", "cache"), ("api", "db"), ("web", "mail")]);
    t.templates = vec![template("api", "dial redis <*>: refused", "ERROR", (0, 20))];
    let c = best(&t);
    assert_eq!((c.service.as_str(), c.kind), ("cache", Kind::Crash));
}

#[test]
fn load_is_blamed_where_it_comes_in() {
    let services = ["web", "api", "db"];
    let mut all: Vec<Series> =
        services.iter().map(|s| series(s, "request_rate", 10.0, 40.0)).collect();
    all.extend(services.iter().map(|s| series(s, "latency_p50", 10.0, 60.0)));
    let t = telemetry(all, &[("web", "api"), ("api", "db")]);
    let c = best(&t);
    assert_eq!((c.service.as_str(), c.kind), ("web", Kind::Load));
}

#[test]
fn nothing_in_nothing_out() {
    let ranking = rank(&telemetry(Vec::new(), &[]));
    assert!(ranking.candidates.is_empty() && ranking.evidence.is_empty());
    let mut t = slow_database();
    t.baseline = Period { from: -2, to: -1 };
    assert!(rank(&t).candidates.is_empty());
}
