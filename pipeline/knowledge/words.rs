//! Names in prose: found, spelt out, and compared.

use faultline_udfs::metric_name;

/// Characters of a name that is looked at.
const NAME_CHARS_MAX: usize = 128;

/// `text` with the words of each name in it behind the name, so that `KubePodCrashLooping` is found
/// by "pod crash looping" and the other way round.
pub fn spelt_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 5 / 4);
    for word in text.split_whitespace() {
        out.push_str(word);
        out.push(' ');
        let parts = metric_name::words(word);
        // What punctuation separates the index separates by itself.
        if parts.len() > 1 && word.chars().any(char::is_lowercase) && has_hump(word) {
            for part in &parts {
                out.push_str(part);
                out.push(' ');
            }
        }
    }
    out
}

/// A capital letter right behind a letter or digit.
fn has_hump(word: &str) -> bool {
    let mut before = ' ';
    word.chars().any(|c| {
        let hump = c.is_uppercase() && before.is_alphanumeric();
        before = c;
        hump
    })
}

/// One spelling for `HighErrorRate`, `high_error_rate` and `High error rate`; empty where the text
/// is too long for a name.
pub fn name_key(text: &str) -> String {
    if text.chars().count() > NAME_CHARS_MAX {
        return String::new();
    }
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Names of two words and more that are written as one: `HighErrorRate`, `etcdMembersDown`.
pub fn is_camel_case(word: &str) -> bool {
    word.len() <= NAME_CHARS_MAX
        && word.chars().all(|c| c.is_ascii_alphanumeric())
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().any(char::is_lowercase)
        && has_hump(word)
}

/// The keys of what a question may mean as a name: each of its words, and all of it.
pub fn names_asked(text: &str) -> Vec<String> {
    let mut keys: Vec<String> = text.split_whitespace().chain([text]).map(name_key).collect();
    keys.retain(|k| !k.is_empty());
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelt_out_and_prose_stays() {
        assert_eq!(
            spelt_out("KubeAPIErrorBudgetBurn fires"),
            "KubeAPIErrorBudgetBurn kube api error budget burn fires "
        );
        assert_eq!(spelt_out("Check the `up` metric."), "Check the `up` metric. ");
        assert_eq!(spelt_out("CPU of vault-db"), "CPU of vault-db ");
    }

    #[test]
    fn spellings_of_one_name_are_one() {
        for text in ["HighErrorRate", "high_error_rate", "High error rate", "high-error-rate"] {
            assert_eq!(name_key(text), "higherrorrate");
        }
        assert_eq!(name_key(&"a".repeat(200)), "");
        assert!(is_camel_case("etcdMembersDown") && is_camel_case("CPUThrottlingHigh"));
        assert!(!is_camel_case("Watchdog") && !is_camel_case("HTTP") && !is_camel_case("a.bC"));
        assert_eq!(names_asked("Disk full"), ["disk", "diskfull", "full"]);
    }
}
