//! Services that log far more or far less than the others let expect.

use super::*;

/// Each of five services writes lines of one kind, `counts` before and in the window.
fn volumes(counts: [(u64, u64); 5]) -> Telemetry {
    let names = ["web", "api", "cart", "db", "mail"];
    let templates = names.iter().zip(counts).map(|(s, c)| template(s, "served", "INFO", c));
    Telemetry { templates: templates.collect(), ..telemetry(Vec::new(), &[]) }
}

#[test]
fn who_logs_a_fraction_or_a_multiple_of_what_others_let_expect_is_found() {
    let usual = [(600, 100), (300, 52), (900, 148), (400, 70), (500, 80)];
    assert_eq!(rank(&volumes(usual)).evidence.len(), 0);
    let busier = usual.map(|(before, now)| (before, 4 * now));
    assert_eq!(rank(&volumes(busier)).evidence.len(), 0, "all of them");
    for now in [2, 500] {
        let mut counts = usual;
        counts[1].1 = now;
        let found = best(&volumes(counts));
        assert_eq!(found.service, "api", "{now}");
        let mut t = volumes(counts);
        let ranking = rank(&t);
        let cited = ranking
            .evidence
            .iter()
            .any(|e| matches!(e, Evidence::LogVolume { observed, .. } if *observed == now));
        assert!(cited, "{:?}", ranking.evidence);
        // Its spans tell how much it is asked to do.
        t.spans = traced(&[]);
        let volume = |e: &Evidence| matches!(e, Evidence::LogVolume { .. });
        assert!(!rank(&t).evidence.iter().any(volume));
    }
}

#[test]
fn a_few_services_do_not_tell_what_is_usual() {
    let mut t = volumes([(600, 100), (300, 2), (900, 148), (400, 70), (500, 80)]);
    let volume = |e: &Evidence| matches!(e, Evidence::LogVolume { .. });
    t.templates.truncate(4);
    assert!(rank(&t).evidence.iter().any(volume));
    t.templates.truncate(3);
    assert!(!rank(&t).evidence.iter().any(volume));
}
