use super::*;

/// (service, operation, trace, id, parent, start us, duration us, error)
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, i64, i64, bool);

fn table(rows: &[Row]) -> SpanTable {
    let mut out = SpanTable::default();
    for &(service, operation, trace_id, span_id, parent_span_id, start, duration_us, error) in rows
    {
        let start = start * 1000;
        assert!(out.push(SpanRow {
            service,
            instance: "",
            operation,
            trace_id,
            span_id,
            parent_span_id,
            start,
            duration_us,
            error,
        }));
    }
    out
}

const BASELINE: Period = Period { from: 0, to: 1_000_000 };
const WINDOW: Period = Period { from: 1_000_000, to: 2_000_000 };

#[test]
fn overlapping_children_are_covered_once() {
    let t = table(&[
        ("a", "get", "t", "1", "", 0, 100, false),
        ("b", "read", "t", "2", "1", 10, 50, false),
        ("b", "read", "t", "3", "1", 30, 50, false),
    ]);
    let s = summarise(&t, &BASELINE.into(), WINDOW);
    assert_eq!(s.operations[0].baseline.self_us.p50, 30.0);
    assert_eq!(s.calls[0].with_child, Counts { baseline: 1, window: 0 });
    assert_eq!(s.traces, Counts { baseline: 1, window: 0 });
}

#[test]
fn an_error_belongs_to_the_deepest_failing_span() {
    let t = table(&[
        ("a", "get", "t", "1", "", 1500, 100, true),
        ("b", "read", "t", "2", "1", 1510, 50, true),
        ("c", "disk", "t", "3", "2", 1520, 10, false),
    ]);
    let s = summarise(&t, &BASELINE.into(), WINDOW);
    let origins: Vec<u64> = s.operations.iter().map(|o| o.window.origins).collect();
    assert_eq!(origins, [0, 1, 0]);
}

#[test]
fn a_line_is_a_child_of_its_span() {
    let mut t = table(&[("a", "get", "t", "1", "", 0, 100, false)]);
    for at in [10, 20] {
        assert!(t.push_line(SpanRow {
            service: "a",
            instance: "",
            operation: "loaded <*>",
            trace_id: "t",
            span_id: "1",
            parent_span_id: "",
            start: at,
            duration_us: 0,
            error: false,
        }));
    }
    let s = summarise(&t, &BASELINE.into(), WINDOW);
    assert_eq!(s.traces, Counts { baseline: 1, window: 0 });
    assert_eq!(s.calls[0].callee_operation, "loaded <*>");
    assert_eq!(s.calls[0].with_child, Counts { baseline: 1, window: 0 });
}

#[test]
fn a_loop_of_parents_ends() {
    let t =
        table(&[("a", "x", "t", "1", "2", 0, 10, false), ("a", "y", "t", "2", "1", 0, 10, false)]);
    assert_eq!(summarise(&t, &BASELINE.into(), WINDOW).traces, Counts::default());
}
