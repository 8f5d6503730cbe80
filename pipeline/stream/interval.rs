//! Fixed lengths of time written as in SQL: `5 seconds`, `1 hour 30 minutes`, `90s`.

use crate::model::{DAY, HOUR, MINUTE, Nanos, SECOND};

/// Nanoseconds, or `None` for anything that has no fixed length (months) or cannot be read.
pub fn parse(text: &str) -> Option<Nanos> {
    let mut total: Nanos = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let nanos = number * unit(&rest[..letters])? as f64;
        if !nanos.is_finite() || nanos > i64::MAX as f64 / 4.0 {
            return None;
        }
        total = total.checked_add(nanos.round() as Nanos)?;
        rest = rest[letters..].trim_start();
    }
    Some(total)
}

/// In the largest units that divide it, so that [`parse`] reads the same length: `90s` becomes
/// `1m30s`. Lengths below zero, which are none, become `0s`.
pub fn format(nanos: Nanos) -> String {
    const UNITS: [(Nanos, &str); 7] = [
        (DAY, "d"),
        (HOUR, "h"),
        (MINUTE, "m"),
        (SECOND, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let mut out = String::new();
    let mut rest = nanos.max(0);
    for (size, name) in UNITS {
        if rest >= size {
            out += &format!("{}{name}", rest / size);
            rest %= size;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

fn unit(word: &str) -> Option<Nanos> {
    Some(match word.to_ascii_lowercase().as_str() {
        "ns" | "nanosecond" | "nanoseconds" => 1,
        "us" | "microsecond" | "microseconds" => 1_000,
        "ms" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hr" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7 * DAY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse("5 seconds"), Some(5 * SECOND));
        assert_eq!(parse("1 hour 30 minutes"), Some(90 * MINUTE));
        assert_eq!(parse("1.5m"), Some(90 * SECOND));
        for bad in ["", "5", "seconds", "1 month", "five seconds", "-1 s", "1e300 d"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn format_says_it_in_few_words() {
        for (nanos, text) in [(0, "0s"), (90 * SECOND, "1m30s"), (1_500, "1us500ns")] {
            assert_eq!(format(nanos), text);
        }
    }

    proptest! {
        #[test]
        fn format_round_trips(nanos in 0..=Nanos::MAX / 4, shift in 0..62) {
            let nanos = nanos >> shift;
            prop_assert_eq!(parse(&format(nanos)), Some(nanos));
        }
    }
}
