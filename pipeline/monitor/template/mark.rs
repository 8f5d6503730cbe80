//! What punctuation and looks say about a word: that it is a value, a name, or an outcome.

use super::hash;
use super::header;
use super::mask::is_slot;
use super::merge::View;
use super::scan::ESCAPED_QUOTE;
use super::tree::is_word;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    None,
    /// `key: word`
    Colon,
    /// `10.0.0.1/word` or `(word)`
    Joined,
    /// `word[12]`
    Holder,
    /// `key=word`, and what follows may belong to the value too.
    Last,
    /// `key=word,` or `key="word"`: a name, or one of two outcomes.
    Key,
    Quotes,
}

/// How the word in a place is marked.
pub(super) fn mark(new: View, place: usize) -> Mark {
    let punct = |i: usize| {
        let id = new.ids.get(i).filter(|id| !is_word(**id) && !is_slot(**id))?;
        u8::try_from(*id).ok()
    };
    let slot = |i: usize| new.ids.get(i).is_some_and(|id| is_slot(*id));
    let joined = |i: usize| new.fields.get(i).is_some_and(|field| !field.spaced);
    let (before, after) = (place.checked_sub(1).and_then(punct), punct(place + 1));
    match before {
        Some(b'=' | b':' | b'"') if is_message(new.ids, place) => Mark::None,
        Some(b'=') => {
            let key_follows = punct(place + 2) == Some(b'=');
            let closed = after.is_some_and(|b| b",;)]}|\"'>".contains(&b));
            if closed || key_follows { Mark::Key } else { Mark::Last }
        }
        Some(quote @ (b'"' | b'\'' | b'`' | ESCAPED_QUOTE))
            if [Some(quote), Some(b'\'')].contains(&after) =>
        {
            let keyed = place > 1 && matches!(punct(place - 2), Some(b'=' | b':'));
            if keyed { Mark::Key } else { Mark::Quotes }
        }
        Some(b':') if !joined(place) => match after {
            Some(b',' | b';' | b')' | b']' | b'}') => Mark::Key,
            _ => Mark::Colon,
        },
        Some(_) if joined(place) && place > 1 && slot(place - 2) => Mark::Joined,
        Some(b'(') if after == Some(b')') => Mark::Joined,
        Some(b'[') if after == Some(b']') => Mark::Joined,
        Some(b'{') if after == Some(b'}') => Mark::Joined,
        _ => {
            let holds = matches!(after, Some(b'[' | b'(')) && slot(place + 2);
            let unspaced = joined(place + 1) && joined(place + 2);
            if holds && unspaced { Mark::Holder } else { Mark::None }
        }
    }
}

/// Whether what begins at a place is what the line calls its message: that is text, not a value.
pub(super) fn is_message(ids: &[u32], at: usize) -> bool {
    let mut before = ids[..at].iter().rev().skip_while(|id| **id == u32::from(b'"'));
    let joins = before.next().is_some_and(|id| [u32::from(b'='), u32::from(b':')].contains(id));
    let key = before.find(|id| **id != u32::from(b'"'));
    joins && key.is_some_and(|id| header::MESSAGE_KEYS.iter().any(|key| *id == hash::word(key)))
}

/// A word of a program, not of a language: dotted, hyphenated, or with capitals inside. Constants
/// (`NOT_READY`) are alternatives that a program tells apart.
pub(super) fn is_name(word: &str) -> bool {
    let bytes = word.as_bytes();
    let joined = matches!(bytes, [b'#' | b'@' | b'$', _, ..])
        || bytes.iter().skip(1).any(|b| b"._-@/$~#:".contains(b));
    let camel = bytes.windows(2).any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase());
    (joined || camel) && !is_constant(word) && !is_exception(word)
}

/// The class of an exception, which is what went wrong.
fn is_exception(word: &str) -> bool {
    const ENDS: [&str; 4] = ["Exception", "Error", "Throwable", "Fault"];
    ENDS.iter().any(|end| word.strip_suffix(end).is_some_and(|name| !name.is_empty()))
}

/// Levels, states, results, HTTP methods and exceptions: few of them in one place are what an
/// operator looks for, however they are marked. A level is one in capitals only: `info` may be a
/// user, `debug` a partition.
pub fn is_outcome(word: &str) -> bool {
    const OUTCOMES: &str = "\
        aborted accepted active alive allowed canceled cancelled closed commit committed \
        complete completed connected dead declined degraded denied disabled disconnected down \
        enabled expired fail failed failure healthy hit inactive invalid killed locked miss \
        offline ok online open opened paid passed paused pending primary ready refunded \
        rejected rollback running shipped skipped standby started stopped succeeded success \
        suspect unavailable unhealthy unknown up valid waiting";
    let level = || is_constant(word) && header::level(word.as_bytes()).is_some();
    let outcome = || OUTCOMES.split(' ').any(|known| word.eq_ignore_ascii_case(known));
    is_method(word.as_bytes()) || is_exception(word) || level() || outcome()
}

/// Whether the first part or the last of a word with capitals inside is an outcome, as in
/// `NodeReady`.
pub(super) fn has_outcome(word: &str) -> bool {
    let starts = |at: &usize| {
        word.as_bytes()[at - 1].is_ascii_lowercase() && word.as_bytes()[*at].is_ascii_uppercase()
    };
    let mut starts = (1..word.len()).filter(starts);
    let Some(first) = starts.next() else { return false };
    let last = starts.next_back().unwrap_or(first);
    is_outcome(&word[..first]) || is_outcome(&word[last..])
}

/// A method of HTTP.
pub(super) fn is_method(word: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] =
        [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE"];
    METHODS.contains(&word)
}

/// The status of a request that its server failed: the only number that is a word.
pub(super) fn is_server_error(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit()) && !word.is_empty()
}

/// Whether what stands in a place has a key whose values are outcomes.
pub(super) fn is_outcome_of(new: View, place: usize) -> bool {
    const KEYS: [&str; 10] = [
        "health", "level", "lvl", "method", "outcome", "phase", "result", "severity", "state",
        "status",
    ];
    let before = new.ids[..place].iter().zip(new.fields).rev();
    let quote = |id: u32| b"\"'`".iter().any(|b| id == u32::from(*b));
    let mut joint = before.skip_while(|(id, _)| quote(**id));
    let joins = joint.next().is_some_and(|(id, _)| [b'=', b':'].map(u32::from).contains(id));
    let key = joint.find(|(id, _)| !quote(**id)).map_or("", |(_, field)| field.text.constant());
    let last = key.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    joins && KEYS.iter().any(|known| last.eq_ignore_ascii_case(known))
}

/// In capitals, or no word at all.
pub(super) fn is_constant(word: &str) -> bool {
    !word.bytes().any(|b| b.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_apart, check_one, mine};
    use super::super::{Limits, Miner};

    #[test]
    fn the_message_of_a_json_line_is_kept_whatever_its_key() {
        let said = ["user logged in", "cache miss", "payment failed: card declined", "job done"];
        for key in ["msg", "body", "textPayload"] {
            let mut miner = Miner::new(Limits::default());
            let mut add = |i: usize| {
                let (service, text) = (i % 3, said[i % 4]);
                let head = format!(r#"{{"ts": {i}, "service": "s{service}", "#);
                let line = format!(r#"{head}"{key}": "{text}", "id": "a{i}"}}"#);
                miner.add(line.as_bytes())
            };
            let ids: Vec<_> = (0..400).map(&mut add).collect();
            for (text, id) in said.iter().zip(&ids[396..]) {
                let template = miner.template(*id).unwrap();
                assert!(template.contains(text), "{key}: {template}");
            }
        }
    }

    #[test]
    fn values_of_a_key_that_come_again_stay_apart_as_long_as_they_are_few() {
        for key in ["mode=", "code=", "reason: "] {
            let line =
                |i: usize, value: &str| format!("volume {i} of it is done, {key}{value}, ok");
            let often: Vec<String> = (0..100).map(|i| line(i, "first")).collect();
            let with = |values: &[&str]| -> Vec<String> {
                let lines = values.iter().enumerate().map(|(i, value)| line(i, value));
                often.iter().cloned().chain(lines).collect()
            };
            let found = |lines: &[String]| {
                let mut miner = Miner::new(Limits::default());
                lines.iter().for_each(|line| _ = miner.add(line.as_bytes()));
                miner.templates().count()
            };
            assert_eq!(found(&with(&["ro", "ENOENT", "Timeout"])), 4, "{key}");
            let names = ["ada", "ben", "cid", "dot", "eve", "fay", "gus", "hal", "ian", "joy"];
            assert_eq!(found(&with(&names)), 1, "{key}");
            assert_eq!(found(&with(&names)[100..]), 1, "{key}");
        }
    }

    #[test]
    fn states_stay_apart_though_they_look_like_names() {
        check_apart(&[
            "event for pod a/b1 of node n1 event=&{ID:7 Type:ContainerStarted Data:5}",
            "event for pod a/b2 of node n2 event=&{ID:8 Type:ContainerDied Data:6}",
        ]);
        check_apart(&[
            "the replica of orders-1 goes from OnlinePartition to its leader now",
            "the replica of orders-2 goes from OfflinePartition to its leader now",
        ]);
        let lock = |(i, kind)| format!("process {i} waits for {kind} on the table of it now");
        let kinds = ["ShareLock"; 9].into_iter().chain(["RowLock", "RowLock"]);
        let lines: Vec<String> = kinds.enumerate().map(lock).collect();
        let found = |lines: &[String]| mine(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_ne!(found(&lines)[0], found(&lines)[10], "both come again");
        let more = [lines, vec![lock((11, "TupleLock"))]].concat();
        assert_eq!(found(&more)[0], found(&more)[10]);
    }

    #[test]
    fn a_marked_place_that_holds_data_or_a_dash_holds_values() {
        check_one(
            &["the Account Name: - Id: 7", "the Account Name: SYSTEM Id: 8"],
            "the Account Name: <*> Id: <*>",
        );
        check_one(&["dragged: admin", "dragged: user1", "dragged: ada"], "dragged: <*>");
        check_apart(&["request failed: 12", "request failed: timeout"]);
        check_one(&["Started web.service.", "Started user@1000.service."], "Started <*>.");
        check_apart(&["the state: - Id: 7", "the state: ready Id: 8"]);
    }

    #[test]
    fn what_the_server_failed_stays_apart_from_other_statuses() {
        let line = |(i, status): (usize, &&str)| {
            format!("request {i} to it is done status={status} in 5 ms")
        };
        let found = |statuses: &[&str]| {
            let lines: Vec<String> = statuses.iter().enumerate().map(line).collect();
            let mut found = mine(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            found.sort_unstable();
            found.dedup();
            found.len()
        };
        assert_eq!(found(&["200", "404", "503", "200", "502"]), 3);
        assert_eq!(found(&["200", "timeout", "404"]), 2);
        assert_eq!(found(&["200", "-", "404"]), 1);
        assert_eq!(found(&["511", "599", "612"]), 2, "HTTP has no 599");
        let lines = ["code=exited, status=501", "code=exited, status=7"];
        check_one(&lines, "code=exited, status=<*>");
    }

    #[test]
    fn outcomes_stay_apart_however_they_are_marked() {
        check_apart(&[
            "id=1 level=info component=api state=up took=5",
            "id=2 level=error component=db state=down took=7",
        ]);
        check_apart(&[
            "job=1, status=ok, took 5",
            "job=2, status=failed, took 7",
            "job=3, status=new, x",
        ]);
        check_apart(&["a role=primary lag=1", "a role=standby lag=2", "a role=witness lag=3"]);
        check_apart(&[
            "method=GET, path=/a, x",
            "method=PUT, path=/b, x",
            "method=POST, path=/c, x",
        ]);
        check_apart(&["the check of it is \"ok\"", "the check of it is \"failed\""]);
        check_apart(&["probe result=ok, took 5", "probe result=refused by its peer, took 7"]);
        let levels =
            ["INFO", "WARN", "ERROR", "DEBUG"].map(|l| format!("[{l}] the server did it on 5"));
        check_apart(&levels.each_ref().map(String::as_str));
        check_apart(&[
            "request to shop failed: java.io.IOException: reset by peer",
            "request to shop failed: java.lang.NullPointerException: reset by peer",
            "request to shop failed: java.sql.SQLTimeoutException: reset by peer",
        ]);
        let codes =
            ["ok", "denied", "aborted", "gone", "lost", "new", "left", "full", "held", "late"];
        let lines = codes.map(|c| format!("the server of the shop has state={c} now"));
        check_one(
            &lines.each_ref().map(String::as_str),
            "the server of the shop has state=<*> now",
        );
    }
}
