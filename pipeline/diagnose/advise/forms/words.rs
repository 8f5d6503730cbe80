//! The vocabulary that all forms share: names of secrets in several languages, and what prose and
//! settings put between a name and its value.

/// Names in other languages; Cyrillic ones as they are after look-alikes have been folded.
const ABROAD: &str = concat!(
    r"kennwort|mots? de passe|senha|contrase(?:ñ|Ñ|n)as?|\bclaves?|\bhas(?:ł|Ł|l)[oa]\b|",
    r"wachtwoord(?:en)?|l(?:ö|Ö|o)senord|adgangskode|\bheslo\b|(?:п|П)apo(?:л|Л)(?:ь|Ь|я|и)|",
    r"密码|密碼|口令|パスワード|暗証番号|비밀번호",
);

const WORD: &str = r"(?:<noun>|(?i-u:pass))";

/// The same without the one that is a verb too.
const NOUN: &str = concat!(
    r"(?i-u:pass(?:words?|wd|phrases?|codes?|wort)|\bpwd?|\bpin|<abroad>|secrets?|tokens?|",
    r"credentials?|(?:api|access|secret|private|licen[cs]e)[ _-]?keys?)",
);

/// One name, as a label has it: "tokens: 100" counts and tells no secret.
const NAME: &str = concat!(
    r"(?:<password>|(?i-u:secret|token|credential|(?:api|access|secret|private|licen[cs]e)",
    r"[ _-]?key|unseal key(?: [0-9]{1,2})?))",
);

const PASSWORD: &str = r"(?i-u:pass(?:word|wd|phrase|code|wort)|\bpwd?|\bpin(?: code)?|<abroad>)";

const NOTE: &str = r"[ \t]{0,4}\([^()\n]{1,40}\)";

/// A full stop ends a sentence, but not a part of the name of a host.
const WHOSE: &str = concat!(
    r"[ \t]{1,4}(?i-u:for|of|on|in|at|to|",
    r"de|del|du|von|vom|der|des|dem|im|am|für|van|voor|do|dla|oт|для)[ \t]",
    r"(?:[^\n.:;=|()<]|\.[^\s.]){1,40}?(?:<note>)?",
);

/// Quotes and emphasis around a name or a value.
const MARKS: &str = r#"["'`*_]{0,3}"#;

const BLANK: &str = r"(?:\s|&nbsp;){0,4}";

/// What stands between a name and its value, with the spaces around it.
const SIGN: &str = r"<blank>(?:={1,3}>?|:=?|::[ \t]|[!~]={1,2}|[-~]>|→|⇒|&#58;|&#61;)<blank>";

const BECOMES: &str = r"\s{0,4}(?:={1,3}>?|:=?|::[ \t]|[!~]={1,2}|[-~]>|→|⇒)";

/// From such a sign to the value: the end of an emphasized label, the beginning of other emphasis.
const GAP: &str = r"(?:<marks>[ \t]{1,4})?[*_]{0,3}";

/// A value with nothing after it on its line or in its cell; a longer text may be a sentence.
const ALONE: &str = r#"(?:<quoted>|(\w[^\s|]{2,}))["'`”*_.,;]{0,3}[ \t]*(?:[|(,;]|$)"#;

const BULLET: &str = r"(?:[-*+•]|[0-9]{1,2}[.)])[ \t]{1,4}";

/// An item of a nested list, by its first word or the one behind a label.
const ITEM: &str = r"\n[ \t]{1,16}<bullet>(?:\w{1,20}:[ \t])?<marks>(?:(\w\S*)|<)[^\n]*";

/// What may follow in the same identifier.
const KEY: &str = concat!(
    r"(?:(?i-u:pass(?:word|wd|phrase|code|wort)?|pwd|\bpw|pw\b|\bpin|<abroad>|secret|token|",
    r"credentials?|auth|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|[_-]key|",
    r"[_-]pat|[_-]dsn|[_-]psk|shared[_-]?access[_-]?key|signature|sig|session(?:[_-]?id)?|",
    r"sid|client[_-]?id)|[a-z]Key)",
    r"(?:[_.-][A-Za-z0-9_.-]{0,40}|[A-Z0-9][A-Za-z0-9_]{0,40})?",
);

const PASS: &str = concat!(
    r"(?i-u:pass(?:word|wd|phrase|code|wort)?|pwd|\bpw|pw\b|\bpin|<abroad>|secret)",
    r"(?:[_.-][A-Za-z0-9_.-]{0,40}|[A-Z0-9][A-Za-z0-9_]{0,40})?",
);

const QUOTED: &str = concat!(
    r#"\\{1,7}"([^"\\\n]+)|"((?:[^"\\\n]|\\.|"")+)|\\{1,7}'([^'\\\n]+)|"#,
    r"'((?:[^'\\\n]|\\.|'')+)|`([^`\n]+)|“([^”\n]+)",
);

/// The prefix of a literal, as in `N'...'` of SQL and `r"..."` of Python.
const LITERAL: &str = r"(?:(?:\b[A-Za-z]{1,2}|@|\$)?(?:<quoted>))";

/// A value is not the rest of a sign.
const VALUE: &str = r#"(?:<quoted>|([^\s"'`“\\|<=:-][^\s|]*))"#;

/// Accounts that come with a product, which nobody is called by.
const ACCOUNT: &str = concat!(
    r"(?:[aA]dmin|[aA]dministrator|root|guest|test|postgres|elastic|kibana|sa|system|ops|",
    r"user|sysadmin|superuser)",
);

/// A file that holds a secret, by its name; YAML and JSON tell theirs by their keys.
const FILE: &str = concat!(
    r#"["']?[^\s<>"'|;&]{0,80}(?i-u:secret|passw|pgpass|\bpass|_pass|token|credential|netrc|"#,
    r#"htpasswd|[._-]key)[A-Za-z0-9_-]{0,40}(?:\.(?:txt|key|pass|env|conf|cfg|ini|pw|gpg))?"#,
    r#"["']?"#,
);

/// A letter beyond ASCII, or a sign that is neither a space nor punctuation of prose.
const LETTER: &str = r"[^\x00-\x{ab}\x{bb}\x{2000}-\x{206f}\x{2190}-\x{21ff}\x{3000}-\x{303f}]";

/// The pattern without its abbreviations.
pub fn expanded(pattern: &str) -> String {
    // In this order: what one stands for may have the next in it.
    let meanings = [
        ("<alone>", ALONE),
        ("<value>", VALUE),
        ("<literal>", LITERAL),
        ("<quoted>", QUOTED),
        ("<file>", FILE),
        ("<account>", ACCOUNT),
        ("<pass>", PASS),
        ("<key>", KEY),
        ("<word>", WORD),
        ("<noun>", NOUN),
        ("<name>", NAME),
        ("<password>", PASSWORD),
        ("<abroad>", ABROAD),
        ("<whose>", WHOSE),
        ("<note>", NOTE),
        ("<gap>", GAP),
        ("<item>", ITEM),
        ("<bullet>", BULLET),
        ("<marks>", MARKS),
        ("<sign>", SIGN),
        ("<becomes>", BECOMES),
        ("<blank>", BLANK),
        ("<letter>", LETTER),
        // Of ASCII: an engine that has to know all letters is slower on a text that has others.
        (r"\b", r"(?-u:\b)"),
    ];
    meanings.iter().fold(pattern.to_owned(), |text, (short, long)| text.replace(short, long))
}
