//! Tables: cells whose heading, or whose neighbour before them, names a secret.

use std::sync::LazyLock;

use regex::Regex;

use super::checks;
use super::words::expanded;

/// Words of a value behind the name of a secret; a longer text tells about it.
const VALUE_WORDS_MAX: usize = 3;

type Place = (usize, usize);

/// Rows of one table, each of its cells as byte ranges without the spaces around them.
#[derive(Default)]
struct Table {
    rows: Vec<Vec<Place>>,
    /// With a line between the heading and the rest, or other signs of a table.
    sure: bool,
    /// With such a line.
    ruled: bool,
}

struct Patterns {
    /// Names a secret, among other words.
    named: Regex,
    /// Nothing but the name of a secret.
    name: Regex,
    /// Tells something about a secret.
    about: Regex,
    /// A heading over values of settings.
    value: Regex,
    /// A heading beside `key` that says whose it is.
    whose: Regex,
    /// A heading over names with passwords.
    login: Regex,
    /// A name with a password.
    pair: Regex,
    html: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| Patterns::new().ok());

impl Patterns {
    fn new() -> Result<Self, regex::Error> {
        let label = concat!(
            r"(?:<noun>|(?i-u:pws|creds?|psk|zugangsdaten|passw(?:ö|o)rter|(?:signing|encryption|",
            r"account|shared|master|auth|unseal|recovery|deploy)[ _-]?keys?))",
        );
        let word = |pattern: &str| Regex::new(&expanded(&pattern.replace("<label>", label)));
        Ok(Self {
            named: word(concat!(
                r"(?:^|[^A-Za-z])<label>(?:[^A-Za-z]|$)|",
                r"(?i-u:password|passwd|passphrase|secret|token|credential)|",
                // A verb in a sentence.
                r"^[\W_]*(?:[A-Za-z0-9]{1,16}[ _.-])?(?i-u:pass)[\W_]*$",
            ))?,
            name: word(concat!(
                r"^[\W_]*(?:[A-Za-z0-9]{1,16}[ _.-]|[A-Z_]{1,30}_)?[A-Za-z]{0,8}?(?:",
                r"<label>|(?i-u:pass))(?: \([^)]*\))?[\W_]*$",
            ))?,
            about: word(concat!(
                r"(?:^bypass|pass(?:ed|ing)|fail|(?:^|[^a-z])(?:names?|ids?|ttl|expir[a-z]*|age|",
                r"rotat[a-z]*|polic[a-z]*|stores?|managers?|locations?|paths?|types?|counts?|",
                r"limits?|length|owners?|required|buckets?|rates?|files?|urls?|links?|versions?|",
                r"usage|used|sources?|holders?|changed|status|permissions?|scopes?|descriptions?|",
                r"strength|engines?|providers?|ref(?:erence)?s?|where|when|who|purpose|",
                r"(?:per|max|min|input|output|total)[^a-z].*)[^a-z]*$)",
            ))?,
            value: word(
                r"^[\W_]*(?i-u:values?|defaults?|wert|valeur|valor|content|data|setting)[\W_]*$",
            )?,
            whose: word(concat!(
                r"(?i-u:\b(?:user|username|login|host|hostname|server|service|account|client",
                r"|tenant)\b)",
            ))?,
            login: word(r"^[\W_]*(?i-u:log[ -]?in|logon|access|account|zugang|anmeldung)[\W_]*$")?,
            pair: word(r"^[^\s/:|]{1,64}(?:/| / |: ?)([^\s/:|]{3,})$")?,
            html: word(r"<(/?)((?i-u:table|tr|th|td))\b[^<>]{0,200}>")?,
        })
    }

    fn is_named(&self, cell: &str) -> bool {
        self.named.is_match(cell)
            && !self.about.is_match(&cell.to_ascii_lowercase())
            && !cell.contains("<redacted ")
    }

    fn is_name(&self, cell: &str) -> bool {
        cell.len() <= 60 && self.is_named(cell) && self.name.is_match(cell)
    }
}

/// Such cells, as byte ranges in order.
pub fn cells(text: &str) -> Vec<Place> {
    let Some(patterns) = PATTERNS.as_ref() else { return Vec::new() };
    let mut out = Vec::new();
    for table in piped(text).into_iter().chain(split(text)).chain(marked_up(text, patterns)) {
        table.secrets(text, patterns, &mut out);
    }
    out.sort_unstable();
    out
}

impl Table {
    fn secrets(&self, text: &str, patterns: &Patterns, out: &mut Vec<Place>) {
        let cell = |place: &Place| &text[place.0..place.1];
        let Some(first) = self.rows.first() else { return };
        let heading: Vec<&str> = first.iter().map(cell).collect();
        let tested = heading.iter().any(|name| name.to_ascii_lowercase().contains("fail"));
        if !self.sure {
            let plain = self.rows.iter().all(|row| row.len() == first.len());
            if !plain || (self.rows.len() > 1 && !heading.iter().any(|h| patterns.is_name(h))) {
                return;
            }
        }
        if self.rows.len() > 1 {
            // Results of tests have columns "pass" and "fail".
            let told =
                |name: &str| patterns.is_named(name) && !(tested && is_plain(name, &["pass"]));
            for (column, name) in heading.iter().enumerate() {
                let below = self.rows[1..].iter().filter_map(|row| row.get(column));
                if told(name) || is_key(&heading, column, patterns) {
                    let counted = name.to_ascii_lowercase().contains("tokens");
                    // A name of two words explains itself, as in a list of terms.
                    let term = |cell: &str| cell.contains(' ') && patterns.is_name(cell);
                    let told = |place: &&Place| is_told(cell(place), counted) && !term(cell(place));
                    out.extend(below.filter(told));
                } else if patterns.login.is_match(name) {
                    out.extend(below.filter_map(|place| second(text, *place, patterns)));
                }
            }
        }
        // A heading has no values, unless it is all that there is.
        let skipped = usize::from((self.ruled || !self.sure) && self.rows.len() > 1);
        for row in &self.rows[skipped..] {
            for (column, place) in row.iter().enumerate() {
                if patterns.is_name(cell(place)) {
                    let of = values(&heading, column, skipped > 0, patterns);
                    let told = row.iter().enumerate().filter(|(at, _)| of.contains(at));
                    out.extend(told.map(|(_, p)| *p).filter(|p| is_short(cell(p))));
                }
            }
        }
    }
}

/// A column `key` is one of secrets where another says whose they are and none what they mean.
fn is_key(heading: &[&str], column: usize, patterns: &Patterns) -> bool {
    let others = || heading.iter().enumerate().filter(|(at, _)| *at != column);
    let meaning = ["description", "meaning", "type", "action", "example", "notes", "purpose"];
    is_plain(heading[column], &["key", "keys"])
        && others().any(|(_, other)| patterns.whose.is_match(other))
        && !others().any(|(_, o)| patterns.value.is_match(o) || is_plain(o, &meaning))
}

/// True for one of these words in any emphasis.
fn is_plain(cell: &str, words: &[&str]) -> bool {
    let cell = cell.trim_matches(['*', '_', '`', ' ']);
    words.iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// Columns with the value of what a cell names: those that say so, or the next one.
fn values(heading: &[&str], name: usize, headed: bool, patterns: &Patterns) -> Vec<usize> {
    if headed {
        let after = name + 1..heading.len();
        let said: Vec<usize> = after.filter(|at| patterns.value.is_match(heading[*at])).collect();
        if !said.is_empty() {
            return said;
        }
        if heading.len() > 2
            || heading
                .get(name + 1)
                .is_some_and(|h| patterns.about.is_match(&h.to_ascii_lowercase()))
        {
            return Vec::new();
        }
    }
    vec![name + 1]
}

fn is_told(cell: &str, counted: bool) -> bool {
    let number = || cell.chars().all(|c| c.is_ascii_digit() || ".,-%kKmM ".contains(c));
    checks::is_value(cell) && !(counted && (number() || checks::is_amount(cell)))
}

/// Short enough for a value: a longer text, and one with words that join others, tells about it.
fn is_short(cell: &str) -> bool {
    let words = cell.split_whitespace();
    is_told(cell, true)
        && words.clone().count() <= VALUE_WORDS_MAX
        && words.into_iter().all(checks::is_labelled)
}

fn second(text: &str, place: Place, patterns: &Patterns) -> Option<Place> {
    let cell = text[place.0..place.1].trim_matches('`');
    let start = place.0 + text[place.0..place.1].find(cell)?;
    let found = patterns.pair.captures(cell)?.get(1)?;
    checks::is_second(found.as_str()).then_some((start + found.start(), start + found.end()))
}

/// The part of a range without spaces around it.
fn trimmed(text: &str, (from, to): Place) -> Place {
    let inside = &text[from..to];
    let from = from + (inside.len() - inside.trim_start().len());
    (from, from + inside.trim().len())
}

/// Parts of a line between bars, those with a backslash left out.
fn bars(line: &str) -> Vec<Place> {
    let mut out = Vec::new();
    let (mut from, mut escaped) = (0, false);
    for (at, byte) in line.bytes().enumerate() {
        if byte == b'|' && !escaped {
            out.push((from, at));
            from = at + 1;
        }
        escaped = byte == b'\\' && !escaped;
    }
    out.push((from, line.len()));
    out
}

/// Tables of Markdown, and of other tools that draw bars.
fn piped(text: &str) -> Vec<Table> {
    let mut out = Vec::new();
    let mut table = Table::default();
    let (mut at, mut gap) = (0, false);
    for line in text.split_inclusive('\n') {
        // Quotation marks of Markdown belong to no cell.
        let inside = line.trim_start_matches([' ', '\t', '>']);
        let start = at + (line.len() - inside.len());
        let inside = inside.trim_end();
        at += line.len();
        let rule = inside.contains(['-', '=']) && inside.bytes().all(|b| b"-=+|: \t".contains(&b));
        if rule && !table.rows.is_empty() {
            // What stands over a second line is a second heading.
            if gap && table.rows.len() > 1 {
                let rows = table.rows.pop().into_iter().collect();
                out.push(std::mem::replace(&mut table, Table { rows, ..Table::default() }));
            }
            table.sure = true;
            table.ruled = true;
            gap = false;
        } else if inside.contains('|') {
            let framed = inside.starts_with('|');
            let mut row = bars(inside);
            if framed {
                row.remove(0);
            }
            if row.len() > 1 && inside.ends_with('|') {
                row.pop();
            }
            table.sure |= framed && table.rows.is_empty();
            if gap && table.rows.last().is_some_and(|last| last.len() != row.len()) {
                out.push(std::mem::take(&mut table));
                gap = false;
            }
            let place = |(from, to)| trimmed(text, (start + from, start + to));
            table.rows.push(row.into_iter().map(place).collect());
        } else if inside.is_empty() && table.sure {
            gap = true;
        } else if !rule {
            out.push(std::mem::take(&mut table));
            gap = false;
        }
    }
    out.push(table);
    out
}

/// Lines with tabs, commas or semicolons between what would be cells.
fn split(text: &str) -> Vec<Table> {
    let mut out = Vec::new();
    let mut table = Table::default();
    let (mut at, mut sign) = (0, '\t');
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        if table.rows.is_empty() {
            sign = ['\t', ',', ';'].into_iter().find(|sign| line.contains(*sign)).unwrap_or('\t');
        }
        let row: Vec<&str> = line.split(sign).collect();
        let width = table.rows.first().map_or(0, Vec::len);
        // A sentence has spaces behind its commas, and code other signs.
        let word = |cell: &&str| {
            let cell = cell.trim();
            !cell.is_empty() && cell.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
        };
        let plain =
            sign == '\t' || if width == 0 { row.iter().all(word) } else { row.len() == width };
        if plain && row.len() > 1 && (width == 0 || row.len() == width) && !row[0].trim().is_empty()
        {
            let mut from = start;
            let places = row.iter().map(|cell| {
                from += cell.len() + 1;
                trimmed(text, (from - cell.len() - 1, from - 1))
            });
            table.rows.push(places.collect());
        } else if !table.rows.is_empty() {
            out.push(std::mem::take(&mut table));
        }
    }
    out.push(table);
    out
}

/// Tables of HTML.
fn marked_up(text: &str, patterns: &Patterns) -> Vec<Table> {
    let mut out = Vec::new();
    let mut table = Table { sure: true, ..Table::default() };
    let mut open: Option<usize> = None;
    for tag in patterns.html.captures_iter(text) {
        let Some(all) = tag.get(0) else { continue };
        if let Some(from) = open.take() {
            let place = trimmed(text, (from, all.start()));
            if let Some(row) = table.rows.last_mut() {
                row.push(place);
            }
        }
        match (tag[2].to_ascii_lowercase().as_str(), &tag[1]) {
            ("table", _) => {
                out.push(std::mem::replace(&mut table, Table { sure: true, ..Table::default() }));
            }
            ("tr", "") => table.rows.push(Vec::new()),
            (kind @ ("th" | "td"), "") => {
                table.ruled |= kind == "th" && table.rows.len() == 1;
                open = Some(all.end());
            }
            _ => {}
        }
    }
    out.push(table);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert!(Patterns::new().is_ok(), "{:?}", Patterns::new().err());
    }

    fn told(text: &str) -> Vec<&str> {
        cells(text).iter().map(|(from, to)| &text[*from..*to]).collect()
    }

    #[test]
    fn a_heading_marks_its_column() {
        assert_eq!(told("| host | PW |\n|---|---|\n| a | b |\n\n| c | d |\n"), ["b", "d"]);
        assert_eq!(told("host\tapi_key\na\tb\n"), ["b"]);
        assert_eq!(told("host,password\na,b\n"), ["b"]);
        let rows = "<tr><th>host</th><th>Kennwort</th></tr><tr><td>a</td><td>b</td></tr>";
        assert_eq!(told(&format!("<table>{rows}</table>")), ["b"]);
        assert_eq!(told("| host | user | key |\n|---|---|---|\n| a | b | c |\n"), ["c"]);
    }

    #[test]
    fn a_name_marks_the_value_beside_it() {
        assert_eq!(told("| key | value |\n|---|---|\n| pw | rose |\n| user | b |\n"), ["rose"]);
        assert_eq!(
            told("| name | type | default |\n|---|---|---|\n| pwd | string | rose |\n"),
            ["rose"]
        );
        assert_eq!(told("| API key | rose |\n"), ["rose"]);
    }

    #[test]
    fn other_tables_stay() {
        for text in [
            "| Key | Action |\n|---|---|\n| Enter | confirms |\n",
            "| test | pass | fail |\n|---|---|---|\n| a | 1 | 2 |\n",
            "| secret name | owner |\n|---|---|\n| db-creds | ops |\n",
            "| service | tokens |\n|---|---|\n| cart | 128k |\n",
            "| token | what it is |\n|---|---|\n| access token | a signed text of the server |\n",
            "kubectl get secret x | jq .\necho a | sort\n",
        ] {
            assert!(told(text).is_empty(), "{:?}", told(text));
        }
    }
}
