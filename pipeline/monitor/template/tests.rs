use proptest::prelude::*;

use super::*;

pub(super) fn mine(lines: &[&str]) -> Vec<String> {
    let mut miner = Miner::new(Limits::default());
    let ids: Vec<_> = lines.iter().map(|l| miner.add(l.as_bytes())).collect();
    ids.into_iter().map(|id| miner.template(id).unwrap()).collect()
}

#[track_caller]
pub(super) fn check(line: &str, template: &str) {
    assert_eq!(mine(&[line]), [template]);
}

/// Lines that must share one template.
#[track_caller]
pub(super) fn check_one(lines: &[&str], template: &str) {
    assert!(mine(lines).iter().all(|t| t == template), "{:?}", mine(lines));
}

#[test]
fn data_is_masked_and_text_is_kept() {
    check(
        "Connection from 10.0.0.7:443 closed after 12.5 ms",
        "Connection from <*>:<*> closed after <*> ms",
    );
    check("took -3 of +4 at 98% (#5)", "took <*> of <*> at <*>% (#<*>)");
    check("user=7, size=[12] id={0x1f}", "user=<*>, size=[<*>] id={<*>}");
    check("read /var/log/a.log.", "read <*>.");
    check("open C:\\Temp\\x.txt or ./run or a/b/c", "open <*> or <*> or <*>");
    check("and/or I/O can't read", "and/or I/O can't read");
    check("(see https://a.b/c?d=e&f=1)", "(see https://<*>)");
    check("GET /search?q=1,2&x=[y] ok", "GET <*> ok");
    check("id 0a1b2c3d-0000-1111-2222-abcdefabcdef ok", "id <*> ok");
    check("mac 00:11:aa:bb:cc:dd has fe80::1ff:a up", "mac <*> has <*> up");
    check("at 2024-01-02T03:04:05.678Z started", "at <*>-<*>-<*>:<*>:<*> started");
    check("node-17 runs v1.29 of ipv4", "node-<*> runs <*> of ipv4");
    check("state......0x12", "state......<*>");
    check("\x1b[31mred\x1b[0m alert 7", "red alert <*>");
    check("peer db.example.com is up", "peer <*> is up");
    check("to ada.l@example.de from 00-11-aa-bb-cc-dd ok", "to <*> from <*> ok");
    check("file system hdfs://node:9000 ok", "file system hdfs://<*>:<*> ok");
    check("net::http listens on :::80 and ::", "net::http listens on <*>:<*> and <*>");
    check("id <5fKq> took <5 ms", "id <<*>> took <*> ms");
    check(
        "pulled acme.io/shop for group node[1-3,7] today",
        "pulled <*> for group node[<*>-<*>,<*>] today",
    );
    check("<13>x took <5 ms", "<<*>>x took <*> ms");
    check("done=true next=null", "done=true next=null");
}

#[test]
fn requests_that_the_server_failed_are_kept_apart() {
    let status = |i: usize| ["200", "404", "503", "301"][i % 4];
    let line = |i| format!("10.0.0.1 - \"GET /cart/{i} HTTP/1.1\" {} {}", status(i), i + 500);
    let lines: Vec<String> = (0..60).map(line).collect();
    let templates = mine(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(templates[0], templates[1]);
    assert_eq!(templates[2], templates[58]);
    assert!(templates[2].contains(" 503 <*>"), "{}", templates[2]);
    check(r#"{"status": 502, "ms": 502}"#, r#"{"status": 502, "ms": <*>}"#);
    check("done in 503 ms, 500 rows, code 512", "done in <*> ms, <*> rows, code <*>");
}

#[test]
fn one_message_type_for_lists_quantities_and_values_left_out() {
    check_one(&["ids [1, 2, 3]", "ids [4]", "ids []"], "ids [<*>]");
    check_one(&["read 5 KB in 3 ms", "read 7 MB in 9 s"], "read <*> <*> in <*> <*>");
    check_one(&["user= host=10.1.1.1", "user=u123 host=10.1.1.2"], "user=<*> host=<*>");
    check_one(
        &["sent 999 bytes ok", "sent 18846 bytes (18.4 KB) ok", "sent <1 KB ok"],
        "sent <*> ok",
    );
    check_one(&["from 10.0.0.1 (a.example.com) ok", "from 10.0.0.2 () ok"], "from <*> (<*>) ok");
    check_one(&["done=true", "done=false"], "done=<*>");
    check_one(&["up web-7f9c5 ok", "up web-6d8b4 ok"], "up web-<*> ok");
    check_one(&["up ab-1 ok", "up cd-2 ok", "up x9y8z7 ok"], "up <*> ok");
    check_one(&["up ab-1/x-1 ok", "up cd-2/x-2 ok"], "up <*>/x-<*> ok");
    check_one(&["to 'a1' ok", "to '' ok"], "to '<*>' ok");
    check_one(&["at Mon Jan 02 2006", "at Tue Mar 3 2009"], "at <*> <*> <*> <*>");
}

#[test]
fn alternatives_stay_apart_and_names_become_a_slot() {
    let few = mine(&["the link to the hub went up", "the link to the hub went down"]);
    assert_eq!(few, ["the link to the hub went up", "the link to the hub went down"]);
    let names = ["ada", "ben", "cid", "dot", "eve", "fay", "gus", "hal", "ian", "joy"];
    let lines: Vec<String> =
        names.iter().map(|n| format!("login of user {n} was accepted by host")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check_one(&lines, "login of user <*> was accepted by host");
}

/// Lines that must each have a template of their own.
#[track_caller]
pub(super) fn check_apart(lines: &[&str]) {
    let mut found = mine(lines);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), lines.len(), "{found:?}");
}

#[test]
fn punctuation_and_looks_mark_values() {
    check_one(
        &["lock=1, tag=radio, ok", "lock=2, tag=audio, ok", "lock=3, tag=sync, ok"],
        "lock=<*>, tag=<*>, ok",
    );
    check_one(&["bean 'cart' is up", "bean 'mail' is up"], "bean '<*>' is up");
    check_one(
        &["app a.phone has died now", "app b.chat has died now", "app c.mail has died now"],
        "app <*> has died now",
    );
    check_one(
        &["the path of chdir(pwd) has failed", "the path of chdir(/a/b) has failed"],
        "the path of chdir(<*>) has failed",
    );
    check_one(&["GET 5 us - 17", "GET 9 us - -"], "GET <*> us - <*>");
    check_one(&["route a-b/c-d 5/7/9 ok on it", "route e/f1 5/7/9 ok on it"], "route <*> ok on it");
    check_apart(&["id=1 status=ok took 5 s", "id=2 status=failed took 7 s"]);
    check_apart(&["Node a-1 is now: NodeReady", "Node a-2 is now: NodeNotReady"]);
    check_apart(&["cache.size set to 5", "cache.age set to 7", "tick-time set to 9"]);
}

#[test]
fn what_other_messages_vary_in_too_is_a_name() {
    let names = ["cyrus", "news", "test"];
    let lines: Vec<String> = names
        .iter()
        .flat_map(|n| {
            [format!("session opened for user {n} by (uid=0)"), format!("closed for user {n}")]
        })
        .collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.push("session opened for user root by (uid=0)");
    let found = mine(&lines);
    assert_eq!(found[0], "session opened for user <*> by (uid=<*>)");
    assert!(found.iter().step_by(2).all(|t| *t == found[0]), "{found:?}");
    // States vary in messages of one kind.
    check_apart(&[
        "the VM was started by it",
        "the VM was paused by it",
        "the VM was stopped by it",
    ]);
}

#[test]
fn text_of_any_length_is_one_value() {
    check_one(
        &[
            "server is down, reason: timeout, check took 5 ms",
            "server is down, reason: wrong status, code: 503, check took 7 ms",
            "server is down, reason: no route to it, check took 9 ms",
        ],
        "server is down, reason: <*>, check took <*> ms",
    );
    check_one(
        &["acquired tag=\"x\", ws=null, uid=5", "acquired tag=\"x\", ws=Source{17 a.b}, uid=7"],
        "acquired tag=\"x\", ws=<*>, uid=<*>",
    );
    let reasons = ["no space", "it is a link to nothing", "quota", "busy", "reset by peer", "gone"];
    let lines: Vec<String> =
        reasons.iter().map(|r| format!("could not restore state from /a/b: {r}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check_one(&lines, "could not restore state from <*>: <*>");
    // What one writer says are messages, and so is what a line calls its message.
    let lines: Vec<String> =
        reasons.iter().map(|r| format!("9 INFO [main] a.b.Store: {r}")).collect();
    check_apart(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let lines: Vec<String> =
        reasons.iter().map(|r| format!("level=info ts=5 msg=\"{r}\"")).collect();
    check_apart(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_merged_template_takes_over_what_it_covers() {
    let mut lines = vec!["peer old is up and peer x-a is its twin".to_owned()];
    for name in ["ada", "ben", "cid", "dot", "eve", "fay", "gus", "hal"] {
        lines.push(format!("peer {name} is up and peer y-b is its twin"));
        lines.push(format!("peer {name} is up and peer z-c is its twin"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check_one(&lines, "peer <*> is up and peer <*> is its twin");
}

#[test]
fn two_places_may_vary_at_once() {
    let names =
        ["ada", "ben", "cid", "dot", "eve", "fay", "gus", "hal", "ian", "joy", "kim", "lee", "mia"];
    let lines: Vec<String> = (0..names.len() * 3)
        .map(|i| format!("user {} joined the room {} just now", names[i % 13], names[i * 5 % 13]))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    check_one(&lines, "user <*> joined the room <*> just now");
}

#[test]
fn ids_stay_valid_through_merges() {
    let mut miner = Miner::new(Limits::default());
    let first = miner.add(b"login of user ada was accepted by host");
    for name in ["ben", "cid", "dot", "eve", "fay", "gus", "hal"] {
        miner.add(format!("login of user {name} was accepted by host").as_bytes());
    }
    assert_ne!(miner.resolve(first), first);
    assert_eq!(miner.template(first).unwrap(), "login of user <*> was accepted by host");
    let all: Vec<_> = miner.templates().collect();
    assert_eq!(
        all,
        [(miner.resolve(first), "login of user <*> was accepted by host".to_owned(), 8)]
    );
    let mut bytes = Vec::new();
    miner.write(&mut bytes);
    for mut miner in [Miner::read(&bytes).unwrap(), miner] {
        let union = miner.resolve(first);
        for (name, id) in [("ada", first), ("joy", union), ("ada", first), ("kim", union)] {
            let line = format!("login of user {name} was accepted by host");
            assert_eq!(miner.add(line.as_bytes()), id, "{name}");
        }
    }
}

#[test]
fn the_headline_stands_for_an_event() {
    check("ERROR a failed\n\tat x.Y.z(Y.java:1)", "ERROR a failed");
    check("Traceback (most recent call last):\n  File \"a\"\nKeyError: 'x'\n", "KeyError: 'x'");
}

#[test]
fn memory_is_bounded_when_every_line_is_new() {
    let limits = Limits { templates_max: 64, tokens_max: 16, bytes_max: 256, cache_max: 128 };
    let mut miner = Miner::new(limits);
    let mut letters = 0u64;
    for _ in 0..3_000 {
        letters = hash::fold(letters ^ 7, hash::K1);
        let word: String =
            (0..12).map(|i| (b'a' + (letters >> (i * 5)) as u8 % 26) as char).collect();
        let reversed: String = word.chars().rev().collect();
        miner.add(format!("{word} {reversed} x {word}").as_bytes());
        assert!(
            miner.keys.len() <= 128 + 1
                && miner.aliases_order.len() <= 128
                && miner.slots.len() <= 64
        );
    }
    assert_eq!(miner.slots.len(), miner.free.len() + miner.templates().count());
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let mut miner = Miner::new(Limits::default());
    miner.add(b"a line with 5 words");
    let mut bytes = Vec::new();
    miner.write(&mut bytes);
    assert!(Miner::read(&bytes).is_some());
    for n in 0..bytes.len() {
        assert!(Miner::read(&bytes[..n]).is_none());
    }
}

/// A small generator of the logs of a fleet: formats with data of the kind that each place takes.
struct Fleet(u64);

impl Fleet {
    const FORMATS: [&str; 36] = [
        "Accepted publickey for {user} from {ip} port {n} ssh2",
        "Invalid user {user} from {ip} port {n}",
        "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
        "pam_unix(cron:session): session closed for user root",
        "Started Session {n} of user {user}.",
        "oom-kill: killed process {n} ({user}) total-vm:{n}kB, anon-rss:{n}kB, oom_score_adj:{n}",
        "eth{d}: link becomes ready at {n} Mbps",
        "eth{d}: link is not ready",
        "Readiness probe failed: Get \"http://{ip}:{n}/healthz\": \
         dial tcp {ip}:{n}: connect: connection refused",
        "Successfully pulled image \"{image}\" in {dur}",
        "Back-off restarting failed container {user} in pod {pod}_{user}({uuid})",
        "deployment {user} scaled from {n} to {n} replicas",
        "Node {host} status is now: NodeNotReady",
        "Node {host} status is now: NodeReady",
        "{ip} - - \"GET {path}?id={n}&lang={user} HTTP/1.1\" 200 {n}",
        "{ip} - - \"POST {path} HTTP/1.1\" 500 {n}",
        "upstream timed out (110: Connection timed out) \
         while reading response from {ip}:{n}, client: {ip}",
        "checkpoint complete: wrote {n} buffers ({n}.{d}%); \
         write={n}.{d} s, sync={n}.{d} s, total={n}.{d} s",
        "duplicate key value violates unique constraint \"{user}_pkey\"",
        "slow query took {dur}: {n} rows examined",
        "Rebalancing group {user}-group generation {n} with {n} members",
        "[Partition {user}-{d} broker={n}] ISR updated to {list} and version updated to {n}",
        "Shrinking ISR from {list} to {list}. Leader: (highWatermark: {n}, endOffset: {n})",
        "GC(1{n}) Pause Young (Normal) {n}M->{n}M({n}M) {n}.{d}ms",
        "request_id={uuid} user={user} status=ok duration={dur} cached={bool}",
        "request_id={uuid} user={user} status=failed duration={dur} cached={bool}",
        "cache miss for key session:{hex}",
        "cache hit for key session:{hex}",
        "retrying request to {host}:{n} in {dur} (attempt {d} of 5)",
        "circuit breaker opened after {n} failures",
        "circuit breaker closed",
        "order {uuid} moved to state shipped",
        "order {uuid} moved to state cancelled",
        "wrote snapshot {path} ({size}) to bucket {host}",
        "leader election lost by {pod}",
        "certificate for {host} expires in {n} days",
    ];

    fn next(&mut self, n: u64) -> u64 {
        self.0 = hash::fold(self.0 ^ 0x5eed, hash::K1).wrapping_add(1);
        (self.0 >> 20) % n
    }

    /// Pronounceable and unbounded.
    fn name(&mut self) -> String {
        (0..3)
            .map(|_| ["ka", "lo", "mi", "ren", "sta", "vu", "do", "phi"][self.next(8) as usize])
            .collect()
    }

    fn value(&mut self, kind: &str) -> String {
        match kind {
            "user" => self.name(),
            "n" => (self.next(1 << 16) >> self.next(14)).to_string(),
            "d" => self.next(10).to_string(),
            "ip" => format!("10.{}.{}.{}", self.next(256), self.next(256), self.next(256)),
            "host" => format!("{}-{}.{}.internal", self.name(), self.next(40), self.name()),
            "pod" => format!(
                "{}-{:x}-{:05x}",
                self.name(),
                0x5000_0000 + self.next(1 << 28),
                self.next(1 << 20)
            ),
            "uuid" => format!(
                "{:08x}-{:04x}-4a1b-9c0d-{:012x}",
                self.next(1 << 32),
                self.next(1 << 16),
                self.next(1 << 40)
            ),
            "hex" => format!("{:016x}", self.next(1 << 40) << 20),
            "path" => format!("/{}/{}", self.name(), self.name()),
            "image" => format!(
                "registry.{}.io/{}:v{}.{}",
                self.name(),
                self.name(),
                self.next(9),
                self.next(30)
            ),
            "dur" => format!(
                "{}.{}{}",
                self.next(900),
                self.next(10),
                ["ms", "s", "us"][self.next(3) as usize]
            ),
            "size" => format!("{} {}", self.next(900), ["KB", "MB", "GB"][self.next(3) as usize]),
            "bool" => ["true", "false"][self.next(2) as usize].to_owned(),
            _ => {
                let items: Vec<String> = (0..=self.next(4)).map(|i| i.to_string()).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    fn line(&mut self) -> (usize, String) {
        let kinds = Self::FORMATS.len() as u64;
        let kind = (self.next(kinds).min(self.next(kinds))) as usize;
        let mut line = String::new();
        for part in Self::FORMATS[kind].split('}') {
            match part.split_once('{') {
                Some((text, value)) => line = line + text + &self.value(value),
                None => line += part,
            }
        }
        (kind, line)
    }
}

#[test]
fn generated_logs_are_grouped_as_they_were_made() {
    let (mut fleet, mut miner) = (Fleet(1), Miner::new(Limits::default()));
    let lines: Vec<_> =
        (0..4_000).map(|_| fleet.line()).map(|(kind, l)| (kind, miner.add(l.as_bytes()))).collect();
    let mut made = std::collections::BTreeMap::<usize, Vec<TemplateId>>::new();
    let mut found = std::collections::BTreeMap::<TemplateId, usize>::new();
    for (kind, id) in &lines {
        made.entry(*kind).or_default().push(miner.resolve(*id));
        *found.entry(miner.resolve(*id)).or_default() += 1;
    }
    let right = made
        .values()
        .filter(|ids| ids.iter().all(|id| *id == ids[0]) && found[&ids[0]] == ids.len());
    let grouped: usize = right.map(Vec::len).sum();
    let texts: Vec<String> = miner.templates().map(|(_, text, n)| format!("{n} {text}")).collect();
    assert!(grouped as f64 >= 0.98 * lines.len() as f64, "{grouped}\n{}", texts.join("\n"));
}

/// Lines of a small grammar: few message types, and data of every kind.
pub(super) fn line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[0-9]{1,6}",
        "[a-z]{1,3}",
        "[a-z]{2,4}[0-9]{1,4}",
        "[0-9]{1,2}\\.[0-9]{1,3} (KB|ms|s)",
        "10\\.[0-9]\\.[0-9]\\.[0-9]:[0-9]{2}",
        "/[a-z]{1,3}/[a-z0-9]{1,4}",
        "(true|false|null|)",
        "\\[[0-9](, [0-9]){0,3}\\]",
        "[a-z<*>.:=(){}' -]{0,8}",
    ];
    (0..6usize, value.clone(), value).prop_map(|(kind, a, b)| match kind {
        0 => format!("accepted a login of user {a} from host {b} today"),
        1 => format!("job={a} state={b} done"),
        2 => format!("{a} was moved to {b} by the scheduler of the cluster"),
        3 => format!("cannot open {a}: {b}"),
        4 => format!("({a}) [{b}] \"{a}\""),
        _ => format!("{a} {b}"),
    })
}

fn small() -> Limits {
    Limits { templates_max: 24, tokens_max: 24, bytes_max: 512, cache_max: 32 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_a_line(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
    ) {
        let mut miner = Miner::new(small());
        for line in &lines {
            let id = miner.add(line);
            prop_assert!(miner.template(id).is_some());
            let text = std::str::from_utf8(line).unwrap_or_default();
            header::parse(line);
            trace::trace_owner(line);
            fold::Folder::default().continues(text);
        }
    }

    #[test]
    fn with_memory_every_id_has_its_text(
        lines in prop::collection::vec("[a-d]{1,2} [a-j]{1,2} [a-j] (is|was) [0-9]", 1..400),
    ) {
        let mut miner = Miner::with_memory(small());
        let ids: Vec<TemplateId> = lines.iter().map(|line| miner.add(line.as_bytes())).collect();
        for (id, line) in ids.into_iter().zip(&lines) {
            let text = miner.template(id);
            let said = text.is_some_and(|t| t.contains(" is ") || t.contains(" was "));
            prop_assert!(said, "{}", line);
        }
    }

    #[test]
    fn log_like_bytes_are_a_line(text in "[a-fx0-9:./\\\\<*>(){}=?'\", \\[\\]\x1b\n_-]{0,120}") {
        let mut miner = Miner::new(small());
        let id = miner.add(text.as_bytes());
        prop_assert!(miner.template(id).is_some());
        header::parse(text.as_bytes());
        trace::trace_owner(text.as_bytes());
    }

    #[test]
    fn a_template_is_one_of_its_lines(lines in prop::collection::vec(line(), 1..60)) {
        let mut miner = Miner::new(Limits::default());
        lines.iter().for_each(|l| _ = miner.add(l.as_bytes()));
        let all: Vec<_> = miner.templates().collect();
        for (id, text, _) in all {
            let again = miner.add(text.as_bytes());
            prop_assert_eq!(miner.resolve(again), miner.resolve(id), "{}", text);
        }
    }

    #[test]
    fn a_restored_miner_goes_on_as_if_never_stopped(
        lines in prop::collection::vec(line(), 1..150), cut in 0..150usize,
        templates_max in 16..40usize, tokens_max in 4..24usize,
    ) {
        let limits = Limits { templates_max, tokens_max, ..small() };
        let mut miner = Miner::new(limits);
        let mut other = Miner::new(limits);
        for (i, line) in lines.iter().enumerate() {
            if i == cut {
                let mut bytes = Vec::new();
                other.write(&mut bytes);
                other = Miner::read(&bytes).unwrap();
            }
            prop_assert_eq!(miner.add(line.as_bytes()), other.add(line.as_bytes()));
        }
        let (mut a, mut b) = (Vec::new(), Vec::new());
        miner.write(&mut a);
        other.write(&mut b);
        prop_assert_eq!(a, b);
        prop_assert!(miner.templates().map(|t| t.2).sum::<u64>() <= lines.len() as u64);
    }
}
