//! Names of metrics, taken apart.

/// Lower-case words of a name: cut at punctuation and where `camelCase` changes.
pub fn words(name: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut before = ' ';
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let next_lower = chars.peek().is_some_and(|n| n.is_lowercase());
        let hump = c.is_uppercase() && (!before.is_uppercase() || next_lower);
        if (!c.is_alphanumeric() || hump) && out.last().is_some_and(|w| !w.is_empty()) {
            out.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = out.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    out.retain(|word| !word.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_case_are_cut_into_words() {
        for (name, expected) in [
            ("FrontSuccessRate(%)", "front success rate"),
            ("http_5xx_percentage", "http 5xx percentage"),
            ("HTTPRequestErrors", "http request errors"),
            ("job:request-errors:ratio_5m", "job request errors ratio 5m"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), expected, "{name}");
        }
    }
}
