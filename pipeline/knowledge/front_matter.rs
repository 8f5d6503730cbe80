//! What a document says about itself between two lines `---` at its top, in YAML.

use chrono::{DateTime, NaiveDate};
use serde_yaml_ng::{Mapping, Value};

use crate::model::Nanos;

/// Entries of a list that are read.
const ENTRIES_MAX: usize = 64;

/// Characters of a date that are repeated to a person.
const DATE_CHARS_MAX: usize = 40;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrontMatter {
    pub title: Option<String>,
    pub kind: Option<String>,
    pub alerts: Vec<String>,
    pub services: Vec<String>,
    pub tags: Vec<String>,
    /// UTC.
    pub dated: Option<Nanos>,
    /// What was not understood, for a person.
    pub warnings: Vec<String>,
}

/// The front matter of a text, if it has one, and what follows it.
///
/// # Errors
/// What is wrong with the YAML, for a person; the text that follows it comes with it.
pub fn split(text: &str) -> (Result<FrontMatter, String>, &str) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some((yaml, body)) = cut(text) else { return (Ok(FrontMatter::default()), text) };
    let read = match serde_yaml_ng::from_str::<Value>(yaml) {
        Ok(Value::Mapping(fields)) => Ok(read(&fields)),
        Ok(Value::Null) => Ok(FrontMatter::default()),
        Ok(_) => Err("its front matter is no list of `key: value`".to_owned()),
        Err(error) => Err(format!("its front matter is no YAML: {error}")),
    };
    (read, body)
}

fn cut(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("---")?;
    let rest = rest.trim_start_matches([' ', '\t', '\r']).strip_prefix('\n')?;
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" || line.trim_end() == "..." {
            return Some((&rest[..at], &rest[at + line.len()..]));
        }
        at += line.len();
    }
    // A rule and no front matter.
    None
}

fn read(fields: &Mapping) -> FrontMatter {
    let mut out = FrontMatter::default();
    for (key, value) in fields {
        let Some(key) = key.as_str() else { continue };
        match key.to_lowercase().as_str() {
            "title" | "name" => out.title = texts(value).into_iter().next().or(out.title),
            "kind" | "type" => out.kind = texts(value).into_iter().next(),
            "alert" | "alerts" | "alertname" | "alertnames" | "alert_name" | "alert_names" => {
                out.alerts.extend(texts(value));
            }
            "service" | "services" | "component" | "components" => {
                out.services.extend(texts(value));
            }
            "tags" | "labels" | "keywords" | "categories" => out.tags.extend(texts(value)),
            "date" | "updated" | "lastmod" | "last_updated" | "last_reviewed" => {
                let text = texts(value).join(", ");
                let dated = date(&text);
                // The latest of them: a text is as young as its last revision.
                out.dated = out.dated.max(dated);
                if dated.is_none() && !text.is_empty() && out.warnings.is_empty() {
                    let cut: String = text.chars().take(DATE_CHARS_MAX).collect();
                    out.warnings.push(format!(
                        "its date `{cut}` is not understood, so it counts as of no age; write it \
                         like 2024-02-01"
                    ));
                }
            }
            _ => {}
        }
    }
    out
}

/// One text or a list of texts; of a list of mappings, their values.
fn texts(value: &Value) -> Vec<String> {
    let mut out = match value {
        Value::String(text) => {
            let parts = text.split(',').map(|t| t.trim().to_owned());
            parts.filter(|t| !t.is_empty()).collect()
        }
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(flag) => vec![flag.to_string()],
        Value::Sequence(items) => items.iter().take(ENTRIES_MAX).flat_map(texts).collect(),
        Value::Mapping(fields) => {
            fields.iter().take(ENTRIES_MAX).flat_map(|(_, v)| texts(v)).collect()
        }
        Value::Null | Value::Tagged(_) => Vec::new(),
    };
    out.truncate(ENTRIES_MAX);
    out
}

/// A day or a moment of it. Where day and month are both numbers, the year comes first: else nobody
/// knows which is which.
fn date(text: &str) -> Option<Nanos> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return moment.timestamp_nanos_opt();
    }
    let numbers = text.get(..10).unwrap_or(text);
    let day = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"]
        .iter()
        .find_map(|form| NaiveDate::parse_from_str(numbers, form).ok())
        .or_else(|| {
            let named = ["%d %B %Y", "%B %d, %Y", "%B %d %Y", "%d-%B-%Y"];
            named.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok())
        })?;
    day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_nanos_opt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DAY;

    fn matter(text: &str) -> FrontMatter {
        split(text).0.unwrap()
    }

    #[test]
    fn lists_come_in_any_form() {
        for alerts in ["[DiskFull, DiskSlow]", "DiskFull, DiskSlow", "\n  - DiskFull\n  - DiskSlow"]
        {
            let text = format!("---\ntitle: Disks\nalerts: {alerts}\nweight: 20\n---\n# Body\n");
            let (read, body) = split(&text);
            let read = read.unwrap();
            assert_eq!(read.alerts, ["DiskFull", "DiskSlow"], "{alerts}");
            assert_eq!((read.title.as_deref(), body), (Some("Disks"), "# Body\n"));
        }
        assert_eq!(matter("---\r\nservice: cart\r\n---\r\nx").services, ["cart"]);
    }

    #[test]
    fn a_text_is_as_young_as_its_last_revision() {
        let read = matter("---\ndate: 1970-01-02\nupdated: 1970-01-05T00:00:00Z\n---\n");
        assert_eq!(read.dated, Some(4 * DAY));
        for form in ["2024/02/01", "2024-02-01 10:30", "1 Feb 2024", "February 1, 2024"] {
            let read = matter(&format!("---\ndate: {form}\n---\n"));
            assert_eq!((read.dated, read.warnings), (Some(19_754 * DAY), vec![]), "{form}");
        }
        for form in ["soon", "02/01/2024", "2024"] {
            let read = matter(&format!("---\ndate: {form}\nupdated:\n---\n"));
            assert_eq!(read.dated, None);
            assert!(read.warnings[0].contains(form), "{:?}", read.warnings);
        }
    }

    #[test]
    fn a_rule_is_no_front_matter_and_broken_yaml_is_named() {
        assert_eq!(split("# A\n---\nb\n---\n"), (Ok(FrontMatter::default()), "# A\n---\nb\n---\n"));
        assert_eq!(split("---\nno end"), (Ok(FrontMatter::default()), "---\nno end"));
        assert_eq!(split("---\n---\nbody"), (Ok(FrontMatter::default()), "body"));
        let (read, body) = split("---\na: [1\n---\nbody");
        assert!(read.unwrap_err().contains("YAML") && body == "body");
    }
}
