use super::*;

const METRICS: &str = "\
ts,service,instance,metric,value
2024-05-01T00:00:00Z,api,api-0,cpu,0.5
2024-05-01T00:00:00Z,api,api-1,cpu,0.25
2024-05-01T00:01:00Z,api,api-0,cpu,1e3
1714521720000000000,api,api-1,cpu,-2
";

const LOGS: &str = r#"{"ts":"2024-05-01T00:00:30Z","service":"api","instance":"api-0","severity":"warning","body":"slow","extra":{"a":[1]}}
{"ts":1714521690000000000,"service":"api","severity":"I","body":"two\nlines","trace_id":"t1","span_id":"s1"}
"#;

#[test]
fn streams_are_merged_by_time_and_keep_their_columns() {
    let spans = r#"{"ts":"2024-05-01T00:00:10Z","service":"api","operation":"GET /","status":"ok","trace_id":"t","span_id":"s","duration_us":12.7}"#;
    let changes = r#"{"ts":"2024-05-01T00:00:20Z","cluster":"eu","service":"api","kind":"deploy","object":"api","actor":"ci","detail":"v2"}"#;
    let dir = dir_with(&[
        ("metrics.csv", METRICS.as_bytes()),
        ("logs.jsonl.gz", &gzip(LOGS.as_bytes())),
        ("spans.jsonl", spans.as_bytes()),
        ("changes.jsonl", changes.as_bytes()),
        ("truth/faults.csv", b"\xff\xff"),
    ]);
    let expected = [
        "0 metrics: 2024-05-01T00:00:00|main|api|api-0|cpu||0.5",
        "0 metrics: 2024-05-01T00:00:00|main|api|api-1|cpu||0.25",
        "2 spans: 2024-05-01T00:00:10|main|api||GET /|ok|t|s|||12",
        "3 changes: 2024-05-01T00:00:20|eu|api|deploy|api|ci|v2",
        "1 logs: 2024-05-01T00:00:30|main|api|api-0|WARN|slow||||",
        "0 metrics: 2024-05-01T00:01:00|main|api|api-0|cpu||1000.0",
        "1 logs: 2024-05-01T00:01:30|main|api||INFO|two\nlines|||t1|s1",
        "0 metrics: 2024-05-01T00:02:00|main|api|api-1|cpu||-2.0",
    ];
    assert_eq!(read(dir.path(), 1).rows, expected);
    let mut sorted = expected.to_vec();
    sorted.sort();
    for batch_rows in [2, 97, 8192] {
        assert_eq!(read(dir.path(), batch_rows).sorted(), sorted);
    }
}

#[test]
fn columns_may_come_in_any_order_with_cluster_and_labels() {
    let csv = "\u{feff}value,labels,metric,ts,cluster,instance,service\r\n\
        1,\"{\"\"b\"\":2,\"\"a\"\":\"\"x,y\"\"}\",cpu,2024-05-01T00:00:00Z,,i,\"a \"\"b\"\"\"\r\n\
        2,\"{\"\"a\"\":\"\"x,y\"\",\"\"b\"\":2}\",cpu,2024-05-01T00:00:00Z,eu,i,s\r\n\
        \r\n\
        3,k=v,cpu,2024-05-01T00:00:00Z,eu,i,s";
    let dir = dir_with(&[("metrics.csv", csv.as_bytes())]);
    let reading = read(dir.path(), 10);
    assert!(reading.dead.is_empty(), "{:?}", reading.dead);
    assert_eq!(
        reading.rows,
        [
            "0 metrics: 2024-05-01T00:00:00|main|a \"b\"|i|cpu|a=x,y,b=2|1.0",
            "0 metrics: 2024-05-01T00:00:00|eu|s|i|cpu|a=x,y,b=2|2.0",
            "0 metrics: 2024-05-01T00:00:00|eu|s|i|cpu|k=v|3.0",
        ]
    );
}

#[test]
fn bad_metric_rows_become_dead_letters_with_their_line() {
    let csv = b"ts,service,instance,metric,value\n\
        2024-05-01T00:00:00Z,a,i,cpu,1\n\
        yesterday,a,i,cpu,1\n\
        1714521600000,a,i,cpu,1\n\
        2024-05-01T00:00:00Z,a,i,cpu,NaN\n\
        2024-05-01T00:00:00Z,a,i,cpu,-Inf\n\
        2024-05-01T00:00:00Z,a,i,cpu,many\n\
        2024-05-01T00:00:00Z,a,i,cpu,\n\
        2024-05-01T00:00:00Z,a,i,,1\n\
        2024-05-01T00:00:00Z,a,i,cpu\n\
        2024-05-01T00:00:00Z,a,i,cpu,1,2\n\
        2024-05-01T00:00:00Z,a,i,cpu,\"1\n\
        2024-05-01T00:00:00Z,\xff\x00\x1b[31m,i,cpu,7\n\
        ,a,i,cpu,1\n";
    let dir = dir_with(&[("metrics.csv", csv)]);
    for batch_rows in [1, 3, 100] {
        let reading = read(dir.path(), batch_rows);
        use DeadReason::*;
        assert_eq!(
            reading.reasons(),
            [
                (3, BadTimestamp),
                (4, BadTimestamp),
                (5, BadValue),
                (6, BadValue),
                (7, BadValue),
                (8, MissingField),
                (9, MissingField),
                (10, Malformed),
                (11, Malformed),
                (12, Malformed),
                (14, MissingField),
            ]
        );
        assert_eq!(reading.dead[0].file, "metrics.csv");
        assert_eq!(reading.dead[0].text, "yesterday,a,i,cpu,1");
        assert!(reading.dead[1].detail.contains("milliseconds"));
        assert_eq!(
            reading.rows,
            [
                "0 metrics: 2024-05-01T00:00:00|main|a|i|cpu||1.0",
                "0 metrics: 2024-05-01T00:00:00|main|\\xff\\x00\\x1b[31m|i|cpu||7.0",
            ]
        );
    }
}

#[test]
fn bad_json_lines_become_dead_letters_with_their_line() {
    let deep = format!("{{\"ts\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let lines: [&[u8]; 9] = [
        b"{\"ts\":\"2024-05-01T00:00:00Z\",\"service\":\"a\",\"body\":\"ok\"}",
        b"not json",
        b"[1,2]",
        b"{\"service\":\"a\",\"body\":\"no time\"}",
        b"{\"ts\":\"2024-05-01T00:00:00Z\",\"service\":\"a\"}",
        b"{\"ts\":1.5,\"service\":\"a\",\"body\":\"x\"}",
        b"{\"ts\":\"2024-05-01T00:00:00Z\",\"service\":{\"name\":\"a\"},\"body\":\"x\"}",
        deep.as_bytes(),
        b"{\"ts\":\"2024-05-01T00:00:00Z\",\"service\":\"a\",\"body\":\"caf\xe9 \x1b[0m\\u0000\"}",
    ];
    let dir = dir_with(&[("logs.jsonl", &lines.join(&b'\n'))]);
    let reading = read(dir.path(), 4);
    use DeadReason::*;
    let reasons = reading.reasons();
    assert_eq!(
        reasons,
        [
            (2, Malformed),
            (3, Malformed),
            (4, MissingField),
            (5, MissingField),
            (6, BadTimestamp),
            (7, BadValue),
            (8, BadTimestamp)
        ]
    );
    assert!(
        reading.dead.iter().all(|d| d.text.len() <= super::super::super::dead::DEAD_TEXT_BYTES_MAX)
    );
    assert!(reading.rows[1].contains("caf\\xe9 \\x1b[0m\\x00"), "{}", reading.rows[1]);
}

#[test]
fn a_huge_body_is_cut_and_marked_and_a_huge_row_is_given_up() {
    let body = "x".repeat(5 << 20);
    let line =
        format!("{{\"ts\":\"2024-05-01T00:00:00Z\",\"body\":\"{body}\",\"service\":\"a\"}}\n");
    let long =
        format!("{{\"ts\":\"2024-05-01T00:00:00Z\",\"body\":\"{}\"}}\n", "y".repeat(100_000));
    let csv =
        format!("{METRICS}2024-05-01T00:00:00Z,{body},i,cpu,1\n2024-05-01T00:05:00Z,b,i,cpu,1\n");
    let logs = format!("{line}{long}{{{}\n", "\"k\":1,".repeat(100_000));
    let dir = dir_with(&[("metrics.csv", csv.as_bytes()), ("logs.jsonl", logs.as_bytes())]);
    let reading = read(dir.path(), 100);
    assert_eq!(reading.reasons(), [(6, DeadReason::TooLong), (3, DeadReason::TooLong)]);
    let bound = super::super::super::escape::BODY_BYTES_MAX;
    let rows: Vec<_> = reading.rows.iter().filter(|r| r.contains("[truncated")).collect();
    assert!(rows[0].contains(&format!("x…[truncated {} bytes]", body.len() - bound)));
    assert!(rows[1].contains(&format!("y…[truncated {} bytes]", 100_000 - bound)));
    assert!(rows[0].len() < bound + 200 && rows[0].contains("|a|"));
}

#[test]
fn big_texts_close_a_batch_early() {
    let line = format!(
        "{{\"ts\":\"2024-05-01T00:00:00Z\",\"service\":\"a\",\"body\":\"{}\"}}\n",
        "z".repeat(60_000)
    );
    let dir = dir_with(&[("logs.jsonl.gz", &gzip(line.repeat(300).as_bytes()))]);
    let reading = read(dir.path(), 8192);
    assert_eq!(reading.rows.len(), 300);
    assert_eq!(reading.chunks, 3);
}

#[test]
fn what_was_read_of_a_truncated_gzip_stays() {
    let mut text = METRICS.to_owned();
    for i in 0..20_000 {
        text.push_str(&format!("2024-05-01T01:00:00Z,s{},i,cpu,{i}\n", i % 7));
    }
    let whole = gzip(text.as_bytes());
    let dir =
        dir_with(&[("metrics.csv.gz", &whole[..whole.len() / 2]), ("logs.jsonl", LOGS.as_bytes())]);
    let reading = read(dir.path(), 512);
    assert!(reading.rows.len() > 1000 && reading.rows.len() < 20_000);
    assert_eq!(reading.rows.iter().filter(|r| r.contains("logs")).count(), 2);
    assert_eq!(reading.dead.len(), 1);
    let dead = &reading.dead[0];
    assert_eq!((dead.reason, dead.file.as_str()), (DeadReason::Damaged, "metrics.csv.gz"));
    // Header, the rows before, and the two rows of logs that are not in this file.
    assert_eq!(dead.line, reading.rows.len() as u64);
}

#[test]
fn a_directory_that_cannot_be_replayed_is_refused_with_the_remedy() {
    let missing = Path::new("/nonexistent/outage");
    assert!(refusal(missing).contains("give the path of an existing directory"));
    for (files, words) in [
        (&[][..], "nothing to read in"),
        (&[("metrics.txt", &b"x"[..])], "expected metrics.csv"),
        (&[("truth/faults.csv", &b"x"[..])], "nothing to read in"),
        (&[("metrics.csv", &b""[..])], "metrics.csv:1: the file is empty"),
        (&[("metrics.csv.gz", &b"ts,service"[..])], "cannot read"),
        (&[("metrics.csv", &b"ts,service,instance,metric\n"[..])], "column `value` is missing"),
        (
            &[("metrics.csv", &b"ts,service,instance,metric,value,host\n"[..])],
            "metrics.csv:1: unknown column `host`: write the header ts,service,instance,metric,value",
        ),
        (&[("metrics.csv", &b"ts,ts,service,instance,metric,value\n"[..])], "`ts` comes twice"),
        (
            &[("logs.jsonl", &b""[..]), ("topology.csv", &b"caller,callee\na,b\nc\n"[..])],
            "topology.csv:3: a row is not two names",
        ),
        (&[("logs.jsonl", &b""[..]), ("topology.csv", &b"a,b\n"[..])], "topology.csv:1"),
        (&[("logs.jsonl", &b""[..]), ("logs.jsonl.gz", &b""[..])], "keep one of them"),
        (&[("metrics/a.parquet", &b"PAR1junk"[..])], "a.parquet is not readable as Parquet"),
    ] {
        let dir = dir_with(files);
        let message = refusal(dir.path());
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn empty_files_and_the_topology_are_fine() {
    let dir = dir_with(&[
        ("metrics.csv", b"ts,service,instance,metric,value"),
        ("logs.jsonl", b"\n\n"),
        ("topology.csv", b"caller,callee\r\nb,c\r\na,b\r\na,b"),
    ]);
    let outage = Outage::open(dir.path(), 10, "main").unwrap();
    assert_eq!(outage.topology(), [("a".into(), "b".into()), ("b".into(), "c".into())]);
    let mut outage = outage;
    assert!(matches!(outage.next(&mut Registries::new(10)), Ok(Next::End)));
}

#[test]
fn a_file_of_empty_lines_is_read_in_parts() {
    let mut logs = vec![b'\n'; (1 << 20) + 5];
    logs.extend_from_slice(LOGS.as_bytes());
    let reading = read(dir_with(&[("logs.jsonl.gz", &gzip(&logs))]).path(), 100);
    assert_eq!((reading.rows.len(), reading.dead.len(), reading.chunks), (2, 0, 2));
}

#[test]
fn a_wrong_clock_in_its_first_row_does_not_put_a_file_behind_all_others() {
    let metrics = METRICS.replacen("2024-05-01T00:00:00Z", "2036-01-01T00:00:00Z", 1);
    let later = LOGS.replace("2024-05-01T00:00:30Z", "2024-05-01T00:10:00Z");
    let later = later.replace("1714521690000000000", "1714522300000000000");
    let dir = dir_with(&[("metrics.csv", metrics.as_bytes()), ("logs.jsonl", later.as_bytes())]);
    let streams = |row: &String| row.split(' ').nth(1).unwrap().to_owned();
    let order: Vec<String> = read(dir.path(), 100).rows.iter().map(streams).collect();
    assert_eq!(order, ["metrics:", "metrics:", "metrics:", "metrics:", "logs:", "logs:"]);
}
