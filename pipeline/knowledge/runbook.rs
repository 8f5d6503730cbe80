//! A markdown runbook or postmortem as sections.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::front_matter;
use super::words::{is_camel_case, name_key};
use crate::diagnose::advise::hide_secrets;
use crate::model::Nanos;

/// Bytes of a section; a longer one is cut between paragraphs into several.
pub const SECTION_BYTES_MAX: usize = 2_000;

/// Sections of one document.
const SECTIONS_MAX: usize = 500;

/// Alert names of one document.
const ALERTS_MAX: usize = 64;

/// Elements that are markup of a document.
const HTML: [&str; 56] = [
    "a",
    "abbr",
    "b",
    "blockquote",
    "body",
    "br",
    "center",
    "code",
    "col",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "doctype",
    "dt",
    "em",
    "figure",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "nav",
    "ol",
    "p",
    "pre",
    "s",
    "samp",
    "script",
    "section",
    "small",
    "span",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "tr",
    "ul",
];

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub struct Runbook {
    pub title: String,
    /// `runbook` or `postmortem`.
    pub kind: &'static str,
    /// Names of alerts that it is about.
    pub alerts: Vec<String>,
    /// Services that it says it is about.
    pub services: Vec<String>,
    pub tags: Vec<String>,
    pub dated: Option<Nanos>,
    pub sections: Vec<Section>,
    /// What could not be read of it.
    pub warnings: Vec<String>,
}

/// What stands under one heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Headings above it, outermost first, joined by ` > `; empty before the first.
    pub heading: String,
    pub text: String,
}

/// Reads the document that lies at `source`, a path. Secrets that tables, settings and commands
/// tell are taken out of it first, as a section of it may not tell them any more.
pub fn parse(source: &str, text: &str) -> Runbook {
    let (matter, body) = front_matter::split(text);
    let (body, hidden) = hide_secrets(body);
    let body = body.as_ref();
    let mut warnings = Vec::new();
    let matter = matter.unwrap_or_else(|problem| {
        warnings.push(problem);
        front_matter::FrontMatter::default()
    });
    warnings.extend(matter.warnings);
    match hidden {
        0 => {}
        1 => warnings.push("a value that looks like a secret is left out".to_owned()),
        _ => warnings.push(format!("{hidden} values that look like secrets are left out")),
    }
    let mut reader = Reader::default();
    for event in Parser::new_ext(body, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        reader.take(event);
    }
    reader.close();
    if reader.sections.len() > SECTIONS_MAX {
        warnings.push(format!("only its first {SECTIONS_MAX} sections are kept"));
        reader.sections.truncate(SECTIONS_MAX);
    }
    let stem = stem(source);
    let first = reader.headings.first().map(|(_, title)| title.clone());
    let title = matter.title.clone().or(first).unwrap_or_else(|| stem.to_owned());
    let named = matter.kind.iter().chain([&title]).map(String::as_str).chain([source]);
    let kind = if named.map(name_key_of_path).any(|key| is_postmortem(&key)) {
        "postmortem"
    } else {
        "runbook"
    };
    let mut alerts = matter.alerts;
    alerts.extend(matter.title.iter().flat_map(|t| names(t, true)));
    alerts.extend(reader.headings.iter().flat_map(|(l, h)| names(h, *l == HeadingLevel::H1)));
    alerts.extend(names(stem, true));
    alerts.extend(alert_fields(body));
    let mut keys = std::collections::BTreeSet::new();
    alerts.retain(|a| !name_key(a).is_empty() && keys.insert(name_key(a)));
    alerts.truncate(ALERTS_MAX);
    Runbook {
        title,
        kind,
        alerts,
        services: matter.services,
        tags: matter.tags,
        dated: matter.dated,
        sections: reader.sections,
        warnings,
    }
}

fn stem(source: &str) -> &str {
    let file = source.rsplit(['/', '\\']).next().unwrap_or(source);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    // Folders are often described by a file of such a name.
    let parent = source.rsplit(['/', '\\']).nth(1).unwrap_or_default();
    let generic = ["readme", "index", "runbook"].contains(&name_key(stem).as_str());
    if generic && !parent.is_empty() { parent } else { stem }
}

/// Names of alerts in a title: its words in `CamelCase`, and all of it where it is one word and the
/// title of the whole.
fn names(title: &str, of_all: bool) -> Vec<String> {
    let title = title.trim().trim_matches('`');
    let mut out = Vec::new();
    if of_all && !title.contains(char::is_whitespace) {
        out.push(title.to_owned());
    }
    let words = title.split(|c: char| !c.is_alphanumeric());
    out.extend(words.filter(|w| is_camel_case(w)).map(str::to_owned));
    out
}

/// Names that a rule or a query in the text gives: `alert: Name`, `alertname="Name"`.
fn alert_fields(text: &str) -> Vec<String> {
    let value = |rest: &str| {
        let rest = rest.trim_start().trim_start_matches(['=', ':', '~', ' ', '"', '\'', '`']);
        let name: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '-').collect();
        (!name.is_empty()).then_some(name)
    };
    let fields = text.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("- ");
        let after = line.strip_prefix("alert:");
        after.or_else(|| line.split_once("alertname=").map(|(_, rest)| rest)).and_then(value)
    });
    fields.take(ALERTS_MAX).collect()
}

fn name_key_of_path(text: &str) -> String {
    text.split(['/', '\\']).map(name_key).collect::<Vec<_>>().join("/")
}

fn is_postmortem(key: &str) -> bool {
    ["postmortem", "incidentreview", "incidentreport"].iter().any(|word| key.contains(word))
}

#[derive(Default)]
struct Reader {
    sections: Vec<Section>,
    /// Headings above the place that is being read, with their levels.
    path: Vec<(HeadingLevel, String)>,
    heading: Option<(HeadingLevel, String)>,
    /// All headings so far.
    headings: Vec<(HeadingLevel, String)>,
    /// Lists around the place that is being read, with the next number of those that have some.
    lists: Vec<Option<u64>>,
    text: String,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                self.close();
                self.heading = Some((level, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((level, title)) = self.heading.take() {
                    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
                    self.path.retain(|(above, _)| *above < level);
                    self.headings.push((level, title.clone()));
                    self.path.push((level, title));
                }
            }
            Event::Text(text) => self.say(&text),
            // A heading is a name, and elsewhere the quotes tell where a value ends.
            Event::Code(text) if self.heading.is_some() => self.say(&text),
            Event::Code(text) => self.say(&format!("`{text}`")),
            Event::Html(html) | Event::InlineHtml(html) => {
                let text = without_tags(&html);
                self.say(&text);
            }
            Event::SoftBreak | Event::HardBreak => self.say("\n"),
            Event::Start(Tag::List(number)) => self.lists.push(number),
            Event::End(TagEnd::List(_)) => {
                self.lists.pop();
                self.say(if self.lists.is_empty() { "\n\n" } else { "\n" });
            }
            Event::Start(Tag::Item) => self.begin_item(),
            // The columns are told apart, as a heading says what the cells below it are.
            Event::End(TagEnd::TableCell) => self.say(" | "),
            Event::End(TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::Table) => self.say("\n\n"),
            Event::End(TagEnd::Item | TagEnd::TableRow | TagEnd::TableHead) => self.say("\n"),
            _ => {}
        }
    }

    /// On a line of its own, indented by the lists around its list.
    fn begin_item(&mut self) {
        let depth = self.lists.len().saturating_sub(1);
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            _ => "- ".to_owned(),
        };
        let start = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        self.say(&format!("{start}{}{mark}", "  ".repeat(depth)));
    }

    fn say(&mut self, text: &str) {
        match &mut self.heading {
            Some((_, title)) => title.push_str(text),
            None => self.text.push_str(text),
        }
    }

    /// Ends the section that is being read.
    fn close(&mut self) {
        let text = std::mem::take(&mut self.text);
        let headings: Vec<&str> = self.path.iter().map(|(_, title)| title.as_str()).collect();
        let heading = headings.join(" > ");
        for text in pieces(&tidy(&text)) {
            self.sections.push(Section { heading: heading.clone(), text });
        }
    }
}

/// Without repeated blank lines and spaces at the ends of lines.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = true;
    for line in text.lines().map(str::trim_end) {
        if !(line.is_empty() && blank) {
            out.push_str(line);
            out.push('\n');
        }
        blank = line.is_empty();
    }
    out.trim_end().to_owned()
}

/// Paragraphs together as long as they fit; a paragraph that is too long by itself is cut at a
/// line, or where it must be.
fn pieces(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut rest = paragraph;
        while rest.len() > SECTION_BYTES_MAX {
            let most = rest.floor_char_boundary(SECTION_BYTES_MAX);
            let at = rest[..most].rfind('\n').map_or(most, |at| at + 1);
            out.push(rest[..at].trim_end().to_owned());
            rest = &rest[at..];
        }
        match out.last_mut() {
            Some(last) if last.len() + 2 + rest.len() <= SECTION_BYTES_MAX => {
                last.push_str("\n\n");
                last.push_str(rest);
            }
            _ => out.push(rest.to_owned()),
        }
    }
    out.retain(|piece| !piece.trim().is_empty());
    out
}

/// HTML as text: what stands between its tags.
fn without_tags(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let (tag, after) = match rest[at..].strip_prefix("<!--") {
            Some(comment) => ("", comment.split_once("-->").map_or("", |(_, after)| after)),
            None => {
                rest[at..].split_at(rest[at..].find('>').map_or(rest.len() - at, |end| end + 1))
            }
        };
        out.push_str(if is_html(tag) { " " } else { tag });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A tag of HTML itself; others, as of XML or of `<placeholders>`, say something.
fn is_html(tag: &str) -> bool {
    let name = tag.trim_start_matches(['<', '/', '!']);
    let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    name.is_empty() || HTML.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::advise::without_secrets;
    use proptest::prelude::*;

    use super::*;

    const DISK: &str = "---
title: Disk is filling up
alerts: [DiskFillingUp]
services: [vault-db]
updated: 2024-02-01
---
# DiskFillingUp

The disk of a replica fills.

## Mitigation

1. Find what grows: `du -sh /data`
2. Remove old segments.

```yaml
- alert: DiskFull
```

### Afterwards

| who | what |
|---|---|
| owner | raise the quota |
";

    #[test]
    fn a_document_becomes_sections_under_their_headings() {
        let runbook = parse("storage/disk.md", DISK);
        assert_eq!((runbook.title.as_str(), runbook.kind), ("Disk is filling up", "runbook"));
        assert_eq!(runbook.alerts, ["DiskFillingUp", "disk", "DiskFull"]);
        assert_eq!(runbook.services, ["vault-db"]);
        let headings: Vec<&str> = runbook.sections.iter().map(|s| s.heading.as_str()).collect();
        let expect = [
            "DiskFillingUp",
            "DiskFillingUp > Mitigation",
            "DiskFillingUp > Mitigation > Afterwards",
        ];
        assert_eq!(headings, expect);
        let text = &runbook.sections[1].text;
        assert!(text.contains("1. Find what grows: `du -sh /data`\n2. Remove"), "{text}");
        assert!(text.contains("- alert: DiskFull"), "{text}");
        assert!(runbook.sections[2].text.contains("owner | raise the quota"));
    }

    #[test]
    fn lists_keep_their_levels_and_numbers() {
        let text = "- one\n  - two\n    - three\n- four\n\n3. first\n   - inner\n4. second\n";
        let expect = "- one\n  - two\n    - three\n\n- four\n\n3. first\n  - inner\n\n4. second";
        assert_eq!(parse("a.md", text).sections[0].text, expect);
    }

    /// A section tells less than its document, as of the heading of a table.
    #[test]
    fn no_section_has_a_secret_that_its_document_tells() {
        let mut text = "# Access\n\n| Name | Password |\n|---|---|\n".to_owned();
        let rows = (0..120).map(|n| format!("| service-{n} of the shop | Falcon-{n}-bird |\n"));
        text.extend(rows);
        text += "\nThe password `rosebudder` opens it.\n\n- password\n  - rosehip77\n";
        text += "\n```yaml\nkind: Secret\nstringData:\n";
        text.extend((0..120).map(|n| format!("  KEY_{n}: mockingbird number {n} of the wood\n")));
        text += "```\n\nSee [it](https://docs.example.org/v2/Op-guide_8f3kQ71zXw9/index.html).\n";
        let runbook = parse("a.md", &text);
        assert_eq!(runbook.warnings, ["241 values that look like secrets are left out"]);
        assert_eq!(parse("b.md", &text[..8]).warnings, Vec::<String>::new());
        assert!(runbook.sections.len() > 2);
        for section in runbook.sections {
            let sent = without_secrets(&section.text);
            for secret in ["Falcon", "mockingbird"] {
                assert!(!section.text.contains(secret), "{}", section.text);
            }
            for secret in ["rosebud", "rosehip"] {
                assert!(!sent.contains(secret), "{sent}");
            }
        }
    }

    #[test]
    fn postmortems_and_names_are_told_from_path_and_title() {
        assert_eq!(parse("post-mortems/2024-01.md", "# Lost orders\nx").kind, "postmortem");
        assert_eq!(parse("a.md", "# Postmortem: lost orders\nx").kind, "postmortem");
        let plain = parse("alerts/KubePodCrashLooping-pod.md", "No heading.");
        assert_eq!(plain.title, "KubePodCrashLooping-pod");
        assert_eq!(plain.alerts, ["KubePodCrashLooping-pod", "KubePodCrashLooping"]);
        assert_eq!(parse("QueueFull/README.md", "x").alerts, ["QueueFull"]);
        let asked = parse("a b.md", "# When it pages\n`ALERTS{alertname=\"QueueFull\"}`").alerts;
        assert_eq!(asked, ["QueueFull"]);
    }

    #[test]
    fn html_is_text_and_comments_are_not() {
        let text = "# A\n<details>\n<summary>More</summary>\n<!-- hidden -->\nbody\n</details>\n";
        let section = &parse("a.md", text).sections[0];
        assert!(section.text.contains("More") && section.text.contains("body"));
        assert!(!section.text.contains("hidden") && !section.text.contains('<'));
        let text = "Set <queue>x</queue> for <POD>.<br/>";
        assert_eq!(parse("a.md", text).sections[0].text, text.trim_end_matches("<br/>"));
    }

    #[test]
    fn broken_front_matter_is_told_and_the_text_kept() {
        let runbook = parse("a.md", "---\na: [\n---\n# Kept\nbody");
        assert_eq!((runbook.title.as_str(), runbook.sections.len()), ("Kept", 1));
        assert!(runbook.warnings[0].contains("YAML"), "{:?}", runbook.warnings);
    }

    proptest! {
        #[test]
        fn any_text_is_read_within_bounds(
            text in "(\\PC|\n|#|`|-|<|>){0,400}",
            times in 1usize..30,
        ) {
            let text = text.repeat(times);
            for section in parse("a.md", &text).sections {
                prop_assert!(section.text.len() <= SECTION_BYTES_MAX);
                prop_assert!(!section.text.trim().is_empty());
            }
        }

        #[test]
        fn every_word_is_in_some_section(words in prop::collection::vec("[a-z]{1,12}", 1..2000)) {
            let text = words.chunks(9).map(|c| c.join(" ")).collect::<Vec<_>>().join("\n\n");
            let kept = parse("a.md", &text).sections;
            let kept: Vec<&str> = kept.iter().flat_map(|s| s.text.split_whitespace()).collect();
            prop_assert_eq!(kept, words);
        }
    }
}
