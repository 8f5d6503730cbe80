//! Event times as text: RFC 3339 or integer nanoseconds since the epoch.

use super::dead::{DeadReason, Defect};
use crate::model::{DAY, MINUTE, Nanos, SECOND};

/// 2000-01-01T00:00:00Z. Earlier times are mistakes: negative, zero, or in a coarser unit.
pub const EARLIEST: Nanos = 946_684_800 * SECOND;

const FORM: &str = "not a time: write RFC 3339 such as 2024-05-01T12:00:00Z, or integer \
                    nanoseconds since the epoch";

/// The time that a person wrote, or what is wrong with it.
pub fn read(text: &str) -> Result<Nanos, String> {
    parse(text.trim().as_bytes()).map_err(|defect| defect.detail.into_owned())
}

/// Time of an RFC 3339 text (`T` or a blank between date and time; no offset means UTC) or of
/// integer nanoseconds since the epoch.
pub(super) fn parse(text: &[u8]) -> Result<Nanos, Defect> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(Defect::missing("ts"));
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let nanos = if digits.iter().all(u8::is_ascii_digit) {
        let number = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
        number.ok_or_else(|| bad(FORM))?
    } else {
        rfc3339(text).ok_or_else(|| bad(FORM))?
    };
    checked(nanos)
}

/// Refuses times before [`EARLIEST`], naming the unit that the number looks like.
pub(super) fn checked(nanos: Nanos) -> Result<Nanos, Defect> {
    if nanos >= EARLIEST {
        return Ok(nanos);
    }
    Err(bad(match nanos {
        ..0 => "negative: times are integer nanoseconds since 1970, from 2000-01-01 on",
        946_684_800..10_000_000_000 => "looks like seconds: multiply by 1000000000",
        946_684_800_000..10_000_000_000_000 => "looks like milliseconds: multiply by 1000000",
        946_684_800_000_000..10_000_000_000_000_000 => "looks like microseconds: multiply by 1000",
        _ => "before 2000-01-01: check the unit (nanoseconds) and the clock of the sender",
    }))
}

fn bad(detail: &'static str) -> Defect {
    Defect::new(DeadReason::BadTimestamp, detail)
}

fn rfc3339(text: &[u8]) -> Option<Nanos> {
    let (head, tail) = text.split_at_checked(19)?;
    let separators = [head[4], head[7], head[13], head[16]];
    if separators != *b"--::" || !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = number(&head[..4])?;
    let (month, day) = (number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) =
        (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..19])?);
    // 60 is a leap second and counts as the second after.
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, zone) = fraction(tail)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    seconds.checked_mul(SECOND)?.checked_add(fraction)?.checked_sub(offset(zone)?)
}

/// Nanoseconds of `.123…` and what follows; digits after the ninth are cut.
fn fraction(tail: &[u8]) -> Option<(Nanos, &[u8])> {
    let Some(digits) = tail.strip_prefix(b".") else {
        return Some((0, tail));
    };
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let kept = number(&digits[..len.min(9)])?;
    Some((kept * 10_i64.pow(9 - len.min(9) as u32), &digits[len..]))
}

/// Offset from UTC of `Z`, nothing, `±HH:MM`, `±HHMM` or `±HH`.
fn offset(zone: &[u8]) -> Option<Nanos> {
    let (sign, digits) = match zone {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [h1, h2] => (number(&[*h1, *h2])?, 0),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => (number(&[*h1, *h2])?, number(&[*m1, *m2])?),
        _ => return None,
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * MINUTE)
}

fn number(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for digit in digits {
        value = value * 10 + i64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    Some(value)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Hinnant, "chrono-compatible low-level
/// date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// RFC 3339 in UTC with milliseconds; finer digits are cut.
pub fn format(nanos: Nanos) -> String {
    let (days, rest) = (nanos.div_euclid(DAY), nanos.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let (seconds, millis) = (rest / SECOND, rest % SECOND / 1_000_000);
    let (h, m, s) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{millis:03}Z")
}

/// Inverse of [`days_from_civil`], same source.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, FixedOffset, SecondsFormat};
    use proptest::prelude::*;

    use super::*;

    fn ok(text: &str) -> Nanos {
        parse(text.as_bytes()).unwrap_or_else(|d| panic!("{text}: {d:?}"))
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(
            nanos in EARLIEST..i64::MAX / 2,
            quarters in -92_i32..92,
            digits in 0_usize..3,
        ) {
            let zone = FixedOffset::east_opt(quarters * 900).unwrap();
            let time = DateTime::from_timestamp_nanos(nanos).with_timezone(&zone);
            let forms = [SecondsFormat::Nanos, SecondsFormat::Millis, SecondsFormat::Secs];
            let text = time.to_rfc3339_opts(forms[digits], quarters == 0);
            let expected = DateTime::parse_from_rfc3339(&text).unwrap().timestamp_nanos_opt();
            prop_assert_eq!(Some(ok(&text)), expected);
            prop_assert_eq!(ok(&nanos.to_string()), nanos);
            let cut = nanos - nanos % 1_000_000;
            prop_assert_eq!(ok(&format(nanos)), cut);
        }

        #[test]
        fn accepts_and_refuses_what_chrono_does(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]Z",
        ) {
            let ours = rfc3339(text.as_bytes());
            let theirs = DateTime::parse_from_rfc3339(&text).ok();
            let theirs = theirs.and_then(|t| t.timestamp_nanos_opt());
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn accepts_the_forms_that_exporters_write() {
        let at = 1_714_564_800 * SECOND;
        for text in [
            "2024-05-01T12:00:00Z",
            "2024-05-01 12:00:00",
            "2024-05-01t12:00:00z",
            "2024-05-01T14:00:00+02:00",
            "2024-05-01T14:00:00+0200",
            "2024-05-01T14:00:00+02",
            "2024-05-01T12:00:00.000000000000Z",
            " 1714564800000000000 ",
        ] {
            assert_eq!(ok(text), at, "{text}");
        }
        assert_eq!(ok("2024-05-01T12:00:00.5"), at + SECOND / 2);
    }

    #[test]
    fn refuses_other_units_with_the_remedy() {
        for (text, remedy) in [
            ("-5", "negative"),
            ("0", "before 2000-01-01"),
            ("1714564800", "multiply by 1000000000"),
            ("1714564800000", "multiply by 1000000"),
            ("1714564800000000", "multiply by 1000"),
            ("1999-12-31T23:59:59Z", "before 2000-01-01"),
            ("2024-13-01T00:00:00Z", "not a time"),
            ("2023-02-29T00:00:00Z", "not a time"),
            ("2024-05-01T24:00:00Z", "not a time"),
            ("2024-05-01T12:00:00.Z", "not a time"),
            ("2024-05-01T12:00:00+9", "not a time"),
            ("99999999999999999999999", "not a time"),
            ("9999-01-01T00:00:00Z", "not a time"),
            ("yesterday", "not a time"),
        ] {
            let defect = parse(text.as_bytes()).unwrap_err();
            assert_eq!(defect.reason, DeadReason::BadTimestamp, "{text}");
            assert!(defect.detail.contains(remedy), "{text}: {}", defect.detail);
        }
        assert_eq!(parse(b"").unwrap_err().reason, DeadReason::MissingField);
    }
}
