//! Secrets of Kubernetes in YAML.

use super::checks;

/// Lines between the data of a manifest and its kind.
const LINES_MAX: usize = 500;

/// One line, by its indentation and what it says behind it.
struct Line<'a> {
    at: usize,
    text: &'a str,
    indent: usize,
    said: &'a str,
}

/// Values of `data` and `stringData` of manifests of a secret, as byte ranges.
pub fn manifests(text: &str) -> Vec<(usize, usize)> {
    if !text.contains("Data:") && !text.contains("data:") {
        return Vec::new();
    }
    let mut at = 0;
    let lines = text.split_inclusive('\n').map(|text| {
        let item = text.trim_start();
        // The dash of a list is a part of the indentation.
        let said = item.strip_prefix("- ").map_or(item, str::trim_start);
        let line = Line { at, text, indent: text.len() - said.len(), said: said.trim_end() };
        at += text.len();
        line
    });
    let lines: Vec<Line<'_>> = lines.collect();
    let mut out = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let told = match line.said {
            "stringData:" => true,
            "data:" => is_secret(&lines, i),
            _ => false,
        };
        if told {
            let below = lines[i + 1..].iter();
            let block = below.take_while(|l| l.said.is_empty() || l.indent > line.indent);
            out.extend(block.filter(|l| !l.said.starts_with('#')).flat_map(values));
        }
    }
    out
}

fn values<'a>(line: &'a Line<'_>) -> impl Iterator<Item = (usize, usize)> + 'a {
    let places =
        checks::items(line.text).into_iter().map(|(from, to)| (line.at + from, line.at + to));
    places.filter(|(from, to)| checks::is_value(&line.text[from - line.at..to - line.at]))
}

/// Whether `kind: Secret` stands beside a line, before or after it.
fn is_secret(lines: &[Line<'_>], at: usize) -> bool {
    let indent = lines[at].indent;
    let inside = |l: &&Line<'_>| {
        l.said.is_empty() || (l.indent >= indent && l.said != "---" && !l.said.starts_with("```"))
    };
    let kind = |l: &Line<'_>| {
        let kind = l.said.strip_prefix("kind:").map(|k| k.trim().trim_matches(['"', '\'']));
        l.indent == indent && kind == Some("Secret")
    };
    let before = lines[..at].iter().rev().take(LINES_MAX).take_while(inside).any(kind);
    before || lines[at + 1..].iter().take(LINES_MAX).take_while(inside).any(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<&str> {
        manifests(text).iter().map(|(from, to)| &text[*from..*to]).collect()
    }

    #[test]
    fn data_is_secret_beside_its_kind() {
        assert_eq!(told("kind: Secret\ndata:\n  a: eA==\n  b: eQ==\ntype: x\n"), ["eA==", "eQ=="]);
        assert_eq!(told("- data:\n    a: eA==\n  kind: \"Secret\"\n"), ["eA=="]);
        assert_eq!(told("stringData:\n\n  # note\n  a: x y\n\ntext\n"), ["x y"]);
    }

    #[test]
    fn data_of_another_kind_stays() {
        assert!(told("kind: ConfigMap\ndata:\n  a: b\n---\nkind: Secret\n").is_empty());
        assert!(told("data:\n  kind: Secret\n").is_empty());
        assert!(told("kind: Secret\nspec:\n  data:\n    a: b\n").is_empty());
    }
}
