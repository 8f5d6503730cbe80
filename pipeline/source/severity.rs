//! Severity names of logs.

/// `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`, `FATAL`, or nothing if the text names none of them.
/// Numbers are those of OpenTelemetry (1 to 24).
pub fn normalise(text: &str) -> &'static str {
    const LONGEST: usize = "informational".len();
    let text = text.trim();
    if text.len() > LONGEST {
        return "";
    }
    match text.to_ascii_lowercase().as_str() {
        "trace" | "verbose" | "finest" | "finer" | "fine" => "TRACE",
        "debug" | "dbg" | "d" => "DEBUG",
        "info" | "information" | "informational" | "notice" | "i" => "INFO",
        "warn" | "warning" | "w" => "WARN",
        "error" | "err" | "severe" | "e" => "ERROR",
        "fatal" | "critical" | "crit" | "panic" | "alert" | "emergency" | "emerg" | "f" => "FATAL",
        number => match number.parse::<u8>() {
            Ok(1..=4) => "TRACE",
            Ok(5..=8) => "DEBUG",
            Ok(9..=12) => "INFO",
            Ok(13..=16) => "WARN",
            Ok(17..=20) => "ERROR",
            Ok(21..=24) => "FATAL",
            _ => "",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_become_the_six_names() {
        for (text, name) in [
            ("Warning", "WARN"),
            (" error ", "ERROR"),
            ("ERR", "ERROR"),
            ("critical", "FATAL"),
            ("notice", "INFO"),
            ("I", "INFO"),
            ("17", "ERROR"),
            ("0", ""),
            ("", ""),
            ("unspecified level", ""),
        ] {
            assert_eq!(normalise(text), name, "{text}");
        }
    }
}
