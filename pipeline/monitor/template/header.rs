//! The format of a line, its severity and the part that is its message.

/// Severities of OpenTelemetry, without their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Json,
    Logfmt,
    Klog,
    Syslog,
    Access,
    Plain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    pub format: Format,
    pub severity: Option<Severity>,
    /// The line without time, level and writer; of JSON and logfmt the message field, still
    /// escaped.
    pub message: &'a [u8],
}

/// A level is looked for in the words of this many bytes only.
const LEVEL_BYTES_MAX: usize = 128;
const LEVEL_KEYS: [&[u8]; 7] =
    [b"level", b"severity", b"lvl", b"loglevel", b"log.level", b"severity_text", b"severityText"];
/// What log libraries, OpenTelemetry (`body`), GELF and cloud services call the message.
pub(super) const MESSAGE_KEYS: [&[u8]; 7] =
    [b"msg", b"message", b"log", b"event", b"body", b"short_message", b"textPayload"];

/// May come before the first line of a file.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Recognizes a line by its first bytes.
pub fn parse(line: &[u8]) -> Header<'_> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
    json(line)
        .or_else(|| klog(line))
        .or_else(|| access(line))
        .or_else(|| syslog(line))
        .or_else(|| logfmt(line))
        .unwrap_or_else(|| plain(line))
}

/// Severity of a line or of a message without header.
pub fn severity(body: &[u8]) -> Option<Severity> {
    parse(body).severity
}

/// A level by its usual names, in any case.
pub(super) fn level(name: &[u8]) -> Option<Severity> {
    const NAMES: [(&[u8], Severity); 23] = [
        (b"trace", Severity::Trace),
        (b"finest", Severity::Trace),
        (b"verbose", Severity::Debug),
        (b"debug", Severity::Debug),
        (b"dbg", Severity::Debug),
        (b"fine", Severity::Debug),
        (b"info", Severity::Info),
        (b"inf", Severity::Info),
        (b"information", Severity::Info),
        (b"notice", Severity::Info),
        (b"note", Severity::Info),
        (b"warn", Severity::Warn),
        (b"warning", Severity::Warn),
        (b"wrn", Severity::Warn),
        (b"error", Severity::Error),
        (b"err", Severity::Error),
        (b"severe", Severity::Error),
        (b"failure", Severity::Error),
        (b"critical", Severity::Fatal),
        (b"crit", Severity::Fatal),
        (b"fatal", Severity::Fatal),
        (b"panic", Severity::Fatal),
        (b"emerg", Severity::Fatal),
    ];
    NAMES.iter().find(|(n, _)| name.eq_ignore_ascii_case(n)).map(|(_, s)| *s)
}

/// A level by its initial, as Android's logs have it after time, process and thread.
fn initial(word: &[u8]) -> Option<Severity> {
    match word {
        b"V" => Some(Severity::Trace),
        b"D" => Some(Severity::Debug),
        b"I" => Some(Severity::Info),
        b"W" => Some(Severity::Warn),
        b"E" => Some(Severity::Error),
        b"F" | b"A" => Some(Severity::Fatal),
        _ => None,
    }
}

/// Levels of bunyan and pino: tens from trace to fatal.
fn numeric_level(digits: &[u8]) -> Option<Severity> {
    match digits {
        b"10" => Some(Severity::Trace),
        b"20" => Some(Severity::Debug),
        b"30" => Some(Severity::Info),
        b"40" => Some(Severity::Warn),
        b"50" => Some(Severity::Error),
        b"60" => Some(Severity::Fatal),
        _ => None,
    }
}

fn json(line: &[u8]) -> Option<Header<'_>> {
    if !line.starts_with(b"{") || !line.ends_with(b"}") {
        return None;
    }
    let (mut severity, mut message, mut depth, mut at) = (None, None, 0, 0);
    while at < line.len() {
        match line[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let key = &line[at + 1..][..quoted_bytes(&line[at + 1..])];
                at += key.len() + 1;
                let rest = line.get(at + 1..).unwrap_or_default().trim_ascii_start();
                if let Some(value) = rest.strip_prefix(b":").filter(|_| depth == 1) {
                    if is_one_of(key, &LEVEL_KEYS) {
                        let found = scalar(value);
                        severity = severity.or(found.and_then(|v| level(v).or(numeric_level(v))));
                    } else if is_one_of(key, &MESSAGE_KEYS) {
                        message = message.or(scalar(value));
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    Some(Header { format: Format::Json, severity, message: message.unwrap_or(line) })
}

fn is_one_of(key: &[u8], keys: &[&[u8]]) -> bool {
    keys.iter().any(|k| key.eq_ignore_ascii_case(k))
}

/// The text of a string or the digits of a number.
fn scalar(value: &[u8]) -> Option<&[u8]> {
    match value.trim_ascii_start() {
        [b'"', text @ ..] => Some(&text[..quoted_bytes(text)]),
        number => {
            let end = number.iter().take_while(|b| b.is_ascii_digit()).count();
            (end > 0).then_some(&number[..end])
        }
    }
}

/// Bytes up to the closing quote.
fn quoted_bytes(text: &[u8]) -> usize {
    let mut escaped = false;
    let closes = |b: &u8| {
        let closing = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        closing
    };
    text.iter().position(closes).unwrap_or(text.len())
}

/// `I0102 15:04:05.000000       1 file.go:12] message`.
fn klog(line: &[u8]) -> Option<Header<'_>> {
    let severity = match line.first()? {
        b'I' => Severity::Info,
        b'W' => Severity::Warn,
        b'E' => Severity::Error,
        b'F' => Severity::Fatal,
        _ => return None,
    };
    let dated = line.len() > 21 && line[1..5].iter().all(u8::is_ascii_digit) && line[5] == b' ';
    let close = line.iter().position(|b| *b == b']').filter(|_| dated && is_clock(&line[6..]))?;
    let message = line[close + 1..].trim_ascii_start();
    Some(Header { format: Format::Klog, severity: Some(severity), message })
}

/// `15:04:05` at the start.
fn is_clock(text: &[u8]) -> bool {
    text.len() >= 8
        && text[..8]
            .iter()
            .enumerate()
            .all(|(i, b)| if i % 3 == 2 { *b == b':' } else { b.is_ascii_digit() })
}

/// Common log format: `host ident user [time] "GET / HTTP/1.1" 200 12`.
fn access(line: &[u8]) -> Option<Header<'_>> {
    let bracket = line[..line.len().min(LEVEL_BYTES_MAX)].windows(2).position(|w| w == b" [")?;
    if line[..bracket].iter().filter(|b| **b == b' ').count() != 2 {
        return None;
    }
    let close = bracket + line[bracket..].windows(3).position(|w| w == b"] \"")?;
    let message = &line[close + 2..];
    let request = quoted_bytes(&message[1..]) + 2;
    let status = message.get(request..)?.trim_ascii_start();
    let severity = match status {
        [b'5', b'0'..=b'9', b'0'..=b'9', ..] => Severity::Error,
        [b'4', b'0'..=b'9', b'0'..=b'9', ..] => Severity::Warn,
        [b'1'..=b'3', b'0'..=b'9', b'0'..=b'9', ..] => Severity::Info,
        _ => return None,
    };
    Some(Header { format: Format::Access, severity: Some(severity), message })
}

/// RFC 3164 with or without priority, and RFC 5424.
fn syslog(line: &[u8]) -> Option<Header<'_>> {
    let (priority, rest) = match line.strip_prefix(b"<") {
        Some(rest) => {
            let close = rest.iter().take(4).position(|b| *b == b'>')?;
            let digits = std::str::from_utf8(&rest[..close]).ok()?;
            (Some(digits.parse::<u8>().ok()?), &rest[close + 1..])
        }
        None => (None, line),
    };
    let message = match rest.strip_prefix(b"1 ").filter(|_| priority.is_some()) {
        Some(rest) => structured(skip_words(rest, 5)?),
        None => {
            let day =
                rest.get(4..6).is_some_and(|d| d.iter().all(|b| b.is_ascii_digit() || *b == b' '));
            let dated =
                rest.len() > 16 && rest[..3].iter().all(u8::is_ascii_alphabetic) && rest[3] == b' ';
            if !(dated && day && rest[6] == b' ' && is_clock(&rest[7..])) {
                return None;
            }
            let writer = skip_words(rest[15..].trim_ascii_start(), 1)?;
            let tag = writer
                .windows(2)
                .position(|w| w == b": ")
                .filter(|i| !writer[..*i].contains(&b' '));
            tag.map_or(writer, |i| &writer[i + 2..])
        }
    };
    let severity = match priority.map(|p| p & 7) {
        Some(0..=2) => Some(Severity::Fatal),
        Some(3) => Some(Severity::Error),
        Some(4) => Some(Severity::Warn),
        Some(5 | 6) => Some(Severity::Info),
        Some(_) => Some(Severity::Debug),
        None => plain(message).severity,
    };
    Some(Header { format: Format::Syslog, severity, message })
}

fn skip_words(mut text: &[u8], words: usize) -> Option<&[u8]> {
    for _ in 0..words {
        text = text[text.iter().position(|b| *b == b' ')?..].trim_ascii_start();
    }
    Some(text)
}

/// After the structured data of RFC 5424.
fn structured(text: &[u8]) -> &[u8] {
    if let Some(rest) = text.strip_prefix(b"- ") {
        return rest;
    }
    match text.windows(2).position(|w| w == b"] ").filter(|_| text.starts_with(b"[")) {
        Some(close) => text[close + 2..].trim_ascii_start(),
        None => text,
    }
}

/// `level=info msg="..."`: pairs from the start, one of them a level or a message.
fn logfmt(line: &[u8]) -> Option<Header<'_>> {
    let (mut severity, mut message, mut at, mut pairs) = (None, None, 0, 0);
    while at < line.len() {
        let rest = line[at..].trim_ascii_start();
        let start = line.len() - rest.len();
        let name =
            rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"._-".contains(b)).count();
        if name == 0 || rest.get(name) != Some(&b'=') {
            break;
        }
        let (key, text) = (&rest[..name], &rest[name + 1..]);
        let (value, used) = match text.strip_prefix(b"\"") {
            Some(text) => {
                let n = quoted_bytes(text);
                (&text[..n], n + 2)
            }
            None => {
                let n = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
                (&text[..n], n)
            }
        };
        if is_one_of(key, &LEVEL_KEYS) {
            severity = severity.or(level(value));
        } else if is_one_of(key, &MESSAGE_KEYS) {
            message = message.or(Some(value));
        }
        at = start + name + 1 + used;
        pairs += 1;
    }
    let enough = pairs >= 2 && (severity.is_some() || message.is_some());
    enough.then(|| Header { format: Format::Logfmt, severity, message: message.unwrap_or(line) })
}

/// Time, process number and level in front are cut off; a level counts when it is written as one:
/// in capitals, in brackets, or before a colon.
fn plain(line: &[u8]) -> Header<'_> {
    let mut severity = None;
    let (mut message, mut next) = (line, line);
    // Numbers since the time: none is known before it.
    let mut numbers = None;
    while let Some((word, rest)) = leading(next) {
        let bare = trim_brackets(word);
        let found = level(bare.strip_suffix(b":").unwrap_or(bare));
        let marked = found.filter(|_| word != bare || is_marked(bare));
        let found = marked.or_else(|| initial(word).filter(|_| numbers > Some(0)));
        next = rest;
        if severity.is_none() && found.is_some() {
            (severity, message) = (found, rest);
        } else if is_time(bare) {
            (message, numbers) = (rest, Some(0));
        } else if severity.is_some() || !(word == b"-" || bare.iter().all(u8::is_ascii_digit)) {
            break; // numbers and dashes are part of a header only if a level or a time follows
        } else {
            numbers = numbers.map(|n| n + 1);
        }
    }
    let severity = severity.or_else(|| written_level(&line[..line.len().min(LEVEL_BYTES_MAX)]));
    let message = if message.is_empty() { line } else { message };
    Header { format: Format::Plain, severity, message }
}

/// The first word and what follows it; nothing at the last word, which is the message.
fn leading(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(u8::is_ascii_whitespace)?;
    Some((&text[..end], text[end..].trim_ascii_start()))
}

fn trim_brackets(word: &[u8]) -> &[u8] {
    let bracket = |b: &u8| b"[](){}<>|".contains(b);
    let start = word.iter().take_while(|b| bracket(b)).count();
    let end = word.len() - word[start..].iter().rev().take_while(|b| bracket(b)).count();
    &word[start..end.max(start)]
}

fn is_marked(word: &[u8]) -> bool {
    word.ends_with(b":") || (word.len() >= 3 && word.iter().all(u8::is_ascii_uppercase))
}

/// Dates, times of day and process numbers: digits and what joins them.
fn is_time(word: &[u8]) -> bool {
    word.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-')
        && word.iter().any(|b| b"-:/.".contains(b))
        && word.iter().all(|b| b.is_ascii_digit() || b"-:/.,+TZ".contains(b))
}

/// A level among the first words, where it is marked as one.
fn written_level(text: &[u8]) -> Option<Severity> {
    let words = text.split(|b| b.is_ascii_whitespace() || b"|,;\"=".contains(b));
    words.filter(|w| w.len() >= 3).find_map(|word| {
        let bare = trim_brackets(word);
        let name = bare.strip_suffix(b":").unwrap_or(bare);
        let marked = (word != bare && word.starts_with(b"[")) || is_marked(bare);
        if marked { level(name) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, format: Format, severity: Option<Severity>, message: &str) {
        assert_eq!(
            parse(line.as_bytes()),
            Header { format, severity, message: message.as_bytes() }
        );
    }

    #[test]
    fn structured_formats() {
        use Severity::{Error, Info, Warn};
        check(
            r#"{"ts":1,"level":"warn","msg":"slow \"q\""}"#,
            Format::Json,
            Some(Warn),
            r#"slow \"q\""#,
        );
        check(r#"{"level":50,"msg":"x","time":1}"#, Format::Json, Some(Error), "x");
        check("\u{feff}{\"level\":50,\"msg\":\"x\"}", Format::Json, Some(Error), "x");
        check(r#"{"severityText":"WARN","body":"x"}"#, Format::Json, Some(Warn), "x");
        check(
            r#"{"err":{"msg":"inner"},"level" : "fatal", "message": "outer"}"#,
            Format::Json,
            Some(Severity::Fatal),
            "outer",
        );
        check(r#"{"a":1}"#, Format::Json, None, r#"{"a":1}"#);
        check(r#"ts=1 level=error msg="no route" peer=a"#, Format::Logfmt, Some(Error), "no route");
        check("I0102 15:04:05.000000       1 a.go:12] synced", Format::Klog, Some(Info), "synced");
        let request = r#"1.2.3.4 - bob [02/Jan/2024:15:04:05 +0000] "GET / HTTP/1.1" 503 12"#;
        check(request, Format::Access, Some(Error), r#""GET / HTTP/1.1" 503 12"#);
    }

    #[test]
    fn syslog_formats() {
        use Severity::{Error, Fatal};
        check("Jan  2 15:04:05 host app[7]: it works", Format::Syslog, None, "it works");
        check("<11>Jan  2 15:04:05 host app: it broke", Format::Syslog, Some(Error), "it broke");
        check(
            "<0>1 2024-01-02T15:04:05Z h app 7 id - it died",
            Format::Syslog,
            Some(Fatal),
            "it died",
        );
    }

    #[test]
    fn plain_levels_are_marked_words() {
        use Severity::{Error, Info, Warn};
        check(
            "2024-01-02 15:04:05,123 INFO started in 5 ms",
            Format::Plain,
            Some(Info),
            "started in 5 ms",
        );
        check("[2024-01-02T15:04:05Z] [error] no route", Format::Plain, Some(Error), "no route");
        check(
            "2024/01/02 15:04:05 main - WARN - late",
            Format::Plain,
            Some(Warn),
            "main - WARN - late",
        );
        check("warning: disk is slow", Format::Plain, Some(Warn), "disk is slow");
        check("there was no error here", Format::Plain, None, "there was no error here");
        check("", Format::Plain, None, "");
        let numbers = "240102 150405 31 WARN disk is slow";
        check(numbers, Format::Plain, Some(Warn), "disk is slow");
        check("5 of 6 copies done", Format::Plain, None, "5 of 6 copies done");
        check("ERROR", Format::Plain, Some(Error), "ERROR");
        let android = "01-02 15:04:05.678  1077  7882 W Radio: signal lost";
        check(android, Format::Plain, Some(Warn), "Radio: signal lost");
        check("2024-01-02 15:04:05 I am up", Format::Plain, None, "I am up");
        check("2024-01-02T15:04:05.1Z 0 [Note] ready", Format::Plain, Some(Info), "ready");
    }
}
