//! Runs that are killed, stopped, refused or without room, and what goes on from their state.

use super::*;
use crate::templates;

/// Kills at random moments, with a file that is rotated away while nobody reads it: the run that
/// follows goes on from its checkpoint, and what it leaves is what an undisturbed run leaves.
#[test]
fn a_killed_run_goes_on_where_it_was() {
    let outage = templates::outage();
    let calm = Site::new();
    live_hour(&calm, &outage, |live, _| live);
    let expected = contents(&calm.archive());
    assert_eq!(count(&expected, "incidents"), 1);
    let moved = "SELECT count(*) > 1 FROM templates WHERE moved_at IS NOT NULL";
    assert!(ask(&calm.archive(), moved).ends_with("true\n"));

    let site = Site::new();
    let mut random = Random::new(77);
    let mut kills = 0;
    live_hour(&site, &outage, |mut live, n| {
        if n == 4 {
            // What no checkpoint has ever seen cannot be found under another name.
            live.has_taken(&[&site.file("metrics.csv")]);
        }
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(random.below(500)));
            live.run.0.kill().unwrap();
            let code = live.run.wait();
            assert_eq!(code, None, "{}", fs::read_to_string(&live.log).unwrap());
            kills += 1;
            if n == 6 {
                let metrics = site.file("metrics.csv");
                let rotated = site.file("metrics.csv.1");
                if !rotated.exists() {
                    fs::rename(&metrics, rotated).unwrap();
                    append(&metrics, &Rows::of(&outage, "metrics.csv").header);
                }
            }
            live = site.start();
        }
        live
    });
    assert_eq!(kills, 24);
    let found = contents(&site.archive());
    for (table, rows) in &found {
        assert_eq!(rows, &expected[table], "{table}");
    }
    assert_eq!(repeated(&site.archive()), Vec::<String>::new());
}

/// Between Ctrl-C or SIGTERM and the next start nothing is told twice, and no window cut in half.
#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let outage = Outage::new();
    let calm = Site::new();
    live_hour(&calm, &outage, |live, _| live);
    let site = Site::new();
    live_hour(&site, &outage, |live, n| {
        if n % 3 != 1 {
            return live;
        }
        live.has_taken(&TIMED.map(|name| site.file(name)).each_ref().map(PathBuf::as_path));
        live.stop(if n % 2 == 0 { "INT" } else { "TERM" });
        site.start()
    });
    let (expected, found) = (contents(&calm.archive()), contents(&site.archive()));
    for (table, rows) in &found {
        assert_eq!(rows, &expected[table], "{table}");
    }
}

#[test]
fn a_second_run_on_the_same_state_and_a_run_of_other_jobs_are_refused() {
    let (outage, site) = (Outage::new(), Site::new());
    for name in TIMED {
        fs::copy(outage.file(name), site.file(name)).unwrap();
    }
    let live = site.start();
    live.says("INCIDENT");
    let config = text(&site.file("faultline.toml"));
    let second = faultline(&["run", "--config", &config]);
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    assert!(second.stderr.contains("in use by process"), "{}", second.stderr);
    live.interrupt();

    let other = fs::read_to_string(site.file("faultline.toml")).unwrap();
    fs::write(site.file("faultline.toml"), format!("lateness = \"7s\"\n{other}")).unwrap();
    let refused = faultline(&["run", "--config", &config]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("--fresh"), "{}", refused.stderr);
    let live = site.start_with(&["--fresh"]);
    live.says("INCIDENT");
    live.interrupt();
    assert_eq!(count(&contents(&site.archive()), "incidents"), 1);
}

/// Where there is no room a run waits, the archive answers, and what it has in the end is what an
/// undisturbed run leaves.
#[test]
fn a_run_without_room_waits_and_goes_on_by_itself() {
    let outage = Outage::new();
    let calm = Site::new();
    live_hour(&calm, &outage, |live, _| live);
    let site = Site::new();
    live_hour(&site, &outage, |mut live, n| match n {
        0 => {
            live.has_taken(&TIMED.map(|name| site.file(name)).each_ref().map(PathBuf::as_path));
            live.interrupt();
            site.start_limitable()
        }
        5 => {
            live.limit_files("16384");
            live.logs("this run waits");
            signal(&live.run.0, "INT");
            assert_eq!(live.run.wait(), Some(1), "who waits can be stopped");
            site.start_limitable()
        }
        8 => {
            live.limit_files("16384");
            live.logs("this run waits");
            ask(&site.archive(), "SELECT count(*) FROM signals");
            live.limit_files("unlimited");
            live.logs("the run goes on");
            live
        }
        _ => live,
    });
    let (expected, found) = (contents(&calm.archive()), contents(&site.archive()));
    for (table, rows) in &found {
        assert_eq!(rows, &expected[table], "{table}");
    }
    assert_eq!(repeated(&site.archive()), Vec::<String>::new());
}

/// A run that cannot write its state says so and ends, also while its files are quiet.
#[test]
fn a_run_that_cannot_write_its_state_ends_with_the_error() {
    let (outage, site) = (Outage::new(), Site::new());
    let (metrics, logs) = (site.file("metrics.csv"), site.file("logs.jsonl"));
    fs::copy(outage.file("metrics.csv"), &metrics).unwrap();
    let mut live = site.start();
    live.has_taken(&[&metrics]);
    fs::rename(&live.state, site.file("moved")).unwrap();
    fs::write(&live.state, "no directory").unwrap();
    append(&logs, &outage.lines("logs.jsonl"));
    assert_eq!(live.run.wait(), Some(1));
    let log = fs::read_to_string(&live.log).unwrap();
    assert!(log.contains("_state"), "{log}");
}
