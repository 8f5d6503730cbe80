//! What lines say apart from the values that they were given.
//!
//! Lines of one service that differ in values only say the same of different requests. Which of
//! them are written follows the mix of requests, so they are counted together. What went wrong and
//! how it ended is no such value: lines that speak of a failure stay apart, and so do outcomes.

use std::collections::BTreeMap;

use super::super::columns::Table;
use super::super::logs::says_error;
use super::lines::{SERVICE, SEVERITY, TEMPLATE};
use crate::monitor::template::is_outcome;

/// What stands for a value, as in a template.
const VALUE: &str = "<*>";
/// Keys of what a line has to say, which is no value.
const MESSAGES: [&str; 4] = ["msg", "message", "log", "event"];
/// Answers that are no names: they tell one outcome from another.
const ANSWERS: [&str; 8] = ["true", "false", "null", "none", "nil", "empty", "yes", "no"];

/// The wording of each line of a table.
pub struct Wordings {
    /// Template of each line, and wording and text of each template.
    numbers: Vec<u32>,
    wordings: Vec<u32>,
    texts: Vec<String>,
}

impl Wordings {
    /// Templates of one service and severity, which is that of the earliest line, that differ in
    /// values only get one wording; one that is alone keeps its text.
    pub fn read(lines: &Table) -> Self {
        let (numbers, first) = lines.groups([SERVICE, TEMPLATE]);
        let mut alike: BTreeMap<[String; 3], Vec<usize>> = BTreeMap::new();
        for (number, row) in first.iter().enumerate() {
            let [service, severity, template] =
                [SERVICE, SEVERITY, TEMPLATE].map(|column| lines.text(*row, column));
            let wording =
                if says_error(template) { template.to_owned() } else { wording(template) };
            let key = [service.to_owned(), severity.to_owned(), wording];
            alike.entry(key).or_default().push(number);
        }
        let (mut wordings, mut texts) = (vec![0; first.len()], vec![String::new(); first.len()]);
        for (wording, ([_, _, text], members)) in (0..).zip(alike) {
            for template in &members {
                wordings[*template] = wording;
                texts[*template] = match members.as_slice() {
                    [alone] => lines.text(first[*alone], TEMPLATE).to_owned(),
                    _ => text.clone(),
                };
            }
        }
        Self { numbers, wordings, texts }
    }

    /// Text of the line in row `index` of the table.
    pub fn text(&self, index: usize) -> &str {
        &self.texts[self.numbers[index] as usize]
    }

    /// Number of that line's wording, the same for all that are alike and for no others.
    pub fn number(&self, index: usize) -> u32 {
        self.wordings[self.numbers[index] as usize]
    }
}

/// A template with the values of its keys, and what it quotes, blotted out.
fn wording(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(next) = rest.chars().next() {
        let after = &rest[next.len_utf8()..];
        let value = after.trim_start_matches(' ');
        let is_value = !after.starts_with(['=', ':', '/', '>']) && !value.starts_with(VALUE);
        let value = match next {
            '=' | ':' if is_value && !key(&out).is_empty() => value,
            '"' => rest,
            _ => {
                out.push(next);
                rest = after;
                continue;
            }
        };
        let told = if next == '"' { names_key(rest) } else { MESSAGES.contains(&key(&out)) };
        out.push_str(&rest[..rest.len() - value.len()]);
        let (value, left) = value.split_at(value_len(value));
        out.push_str(&if told { value.to_owned() } else { blotted(value) });
        rest = left;
    }
    out
}

/// The key that a text ends with.
fn key(text: &str) -> &str {
    let text = text.strip_suffix('"').unwrap_or(text);
    text.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default()
}

/// Whether what a text begins with in quotes is a key.
fn names_key(text: &str) -> bool {
    text.split('"').nth(2).is_some_and(|after| after.trim_start().starts_with([':', '=']))
}

/// Bytes of the value that a text begins with: up to a space or a separator outside of brackets
/// and quotes.
fn value_len(text: &str) -> usize {
    let mut open: Vec<char> = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '"' if open.last() == Some(&'"') => {
                open.pop();
                if open.is_empty() {
                    return at + 1;
                }
            }
            _ if open.last() == Some(&'"') => {}
            '"' | '[' | '(' | '{' => open.push(c),
            ']' | ')' | '}' if open.pop().is_none() => return at,
            ' ' | ',' | ';' | '|' if open.is_empty() => return at,
            _ => {}
        }
    }
    text.len()
}

/// A value of which only outcomes are left.
fn blotted(value: &str) -> String {
    let mut out = if value.is_empty() { String::new() } else { VALUE.to_owned() };
    let words = value.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let told = |word: &str| is_outcome(word) || ANSWERS.contains(&word.to_lowercase().as_str());
    for word in words.filter(|word| told(word)) {
        if !out.ends_with(word) {
            out.push(' ');
            out.push_str(word);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        wording(a) == wording(b)
    }

    #[test]
    fn requests_that_differ_in_values_say_the_same() {
        assert!(same(
            "[find seat][from: oslo, stops=[oslo, bergen]]",
            "[find seat][from: rome, stops=[]]"
        ));
        assert!(same(r#"{"msg":"found","key":"a"}"#, r#"{"msg":"found","key":"b"}"#));
        assert!(same(r#"search for "red shoes" gave <*>"#, r#"search for "hat" gave <*>"#));
        assert!(same("order=Order(id=<*>, of=a b) kept", "order=Order(id=<*>, of=c) kept"));
    }

    #[test]
    fn what_is_said_and_how_it_ended_stays() {
        assert!(!same("[find][found a contact]", "[find][no contact of that id]"));
        assert!(!same(r#"{"msg":"found"}"#, r#"{"msg":"none there"}"#));
        assert!(!same("user=a active=true", "user=b active=false"));
        assert!(!same(
            "answer is: Response(state=accepted)",
            "answer is: Response(state=declined)"
        ));
        assert!(!same("stock of a: null", "stock of a: [shoe]"));
        assert_eq!(
            wording("std::io at http://a:<*>/b <*>:<*>"),
            "std::io at http://a:<*>/b <*>:<*>"
        );
        assert_eq!(wording("a=[b"), "a=<*>");
    }
}
