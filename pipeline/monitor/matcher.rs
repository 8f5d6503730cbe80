//! Label matchers in Alertmanager's notation: `severity="critical"`, `service=~"cart|mail"`.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};

pub type Labels = BTreeMap<String, String>;

/// A condition on one label. A label that is missing has the empty value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Matcher {
    label: String,
    value: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equal,
    NotEqual,
    /// Anchored at both ends.
    Regex(Regex),
    NotRegex(Regex),
}

impl Matcher {
    /// The label that it is about.
    pub fn label(&self) -> &str {
        &self.label
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).map_or("", String::as_str);
        match &self.test {
            Test::Equal => value == self.value,
            Test::NotEqual => value != self.value,
            Test::Regex(regex) => regex.is_match(value),
            Test::NotRegex(regex) => !regex.is_match(value),
        }
    }

    /// Reads `label OP value` with OP one of `=`, `!=`, `=~`, `!~`; the value may be quoted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let problem = |what: &str| {
            format!("matcher `{text}`: {what}; write it as in `service=~\"cart|mail\"`")
        };
        let text = text.trim();
        let at = text.find(['=', '!']).ok_or_else(|| problem("no operator"))?;
        let label = text[..at].trim_end();
        if !is_label_name(label) {
            return Err(problem("the label name is not [a-zA-Z_][a-zA-Z0-9_]*"));
        }
        let rest = &text[at..];
        let operators = ["=~", "!~", "!=", "="];
        let operator = operators.into_iter().find(|operator| rest.starts_with(operator));
        let operator = operator.ok_or_else(|| problem("no operator"))?;
        let value = unquote(rest[operator.len()..].trim_start())
            .ok_or_else(|| problem("the quotes of the value do not match"))?;
        let regex = || {
            Regex::new(&format!("^(?:{value})$"))
                .map_err(|_| problem("the value is not a regular expression"))
        };
        let test = match operator {
            "=" => Test::Equal,
            "!=" => Test::NotEqual,
            "=~" => Test::Regex(regex()?),
            _ => Test::NotRegex(regex()?),
        };
        Ok(Self { label: label.to_owned(), value, test })
    }
}

/// Whether all of them match; no matchers match everything.
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

fn unquote(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return (!text.contains('"')).then(|| text.to_owned());
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.as_str().trim().is_empty().then_some(value),
            '\\' => match chars.next()? {
                'n' => value.push('\n'),
                c @ ('"' | '\\') => value.push(c),
                // Any other escape belongs to the regular expression.
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let operator = match self.test {
            Test::Equal => "=",
            Test::NotEqual => "!=",
            Test::Regex(_) => "=~",
            Test::NotRegex(_) => "!~",
        };
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{}{operator}\"{value}\"", self.label)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl TryFrom<String> for Matcher {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> Self {
        matcher.to_string()
    }
}

#[cfg(test)]
pub mod samples {
    use super::*;

    pub fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    pub fn matchers(texts: &[&str]) -> Vec<Matcher> {
        texts.iter().map(|text| Matcher::parse(text).unwrap()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{samples::labels, *};

    #[test]
    fn each_operator() {
        for (text, value, expect) in [
            ("a=x", Some("x"), true),
            ("a=x", Some("xy"), false),
            ("a!=x", Some("y"), true),
            ("a=~\"x|y\"", Some("y"), true),
            ("a=~x", Some("xy"), false),
            ("a=~\"x|y\"", Some("xy"), false),
            ("a!~\"x.*\"", Some("xy"), false),
            ("a!~\"x.*\"", Some("y"), true),
            ("a=\"\"", None, true),
            ("a!=x", None, true),
            ("a=~\".+\"", None, false),
            ("a=~\".*\"", None, true),
            ("a = \"x\"", Some("x"), true),
        ] {
            let found = Matcher::parse(text).unwrap();
            let labels = value.map_or_else(Labels::new, |v| labels(&[("a", v)]));
            assert_eq!(found.matches(&labels), expect, "{text} {value:?}");
        }
    }

    #[test]
    fn bad_text_is_refused_with_a_remedy() {
        for bad in ["", "a", "=x", "1a=x", "a=\"x", "a=x\"", "a=~\"(\"", "a!x"] {
            assert!(Matcher::parse(bad).unwrap_err().contains("write it as"), "{bad}");
        }
    }

    #[test]
    fn text_round_trips() {
        for text in ["a=\"x\"", "a!~\"x\\\\.y\"", "a=\"q\\\"\\n\\\\\""] {
            assert_eq!(Matcher::parse(text).unwrap().to_string(), text);
        }
    }
}
