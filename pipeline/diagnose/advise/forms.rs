//! Secrets that only the words around them tell: commands, settings and prose, as runbooks have
//! them. `<key>` stands for a name whose value is a secret, `<word>` for such a name in prose,
//! `<name>` for one of them, `<password>` for one whose value may be an ordinary word, and
//! `<value>` for a value in any quotes or none. `<note>` and `<whose>` are what prose puts between
//! a name and its value: "(prod)", "for the bastion".

use super::secrets::Check;

/// Kind, check and pattern; every group of a match is secret.
pub type Form = (&'static str, Check, &'static str);

const WORD: &str = concat!(
    r"(?i-u:pass(?:words?|wd|phrase|code|wort)?|\bpwd?|\bpin|kennwort|mot de passe|senha|secrets?|",
    r"tokens?|credentials?|(?:api|access|secret|private|licen[cs]e)[ _-]?keys?)",
);

/// One name, as a label has it: "tokens: 100" counts and tells no secret.
const NAME: &str = concat!(
    r"(?:<password>|(?i-u:secret|token|credential|(?:api|access|secret|private|licen[cs]e)",
    r"[ _-]?key))",
);

const PASSWORD: &str =
    r"(?i-u:pass(?:word|wd|phrase|code|wort)|\bpwd?|\bpin(?: code)?|kennwort|mot de passe|senha)";

const NOTE: &str = r"[ \t]{0,4}\([^()\n]{1,40}\)";

/// A full stop ends a sentence, but not a part of the name of a host.
const WHOSE: &str = concat!(
    r"[ \t]{1,4}(?i-u:for|of|on|in|at|to)[ \t]",
    r"(?:[^\n.:;=|()<]|\.[^\s.]){1,40}?(?:<note>)?",
);

/// Quotes and emphasis around a name or a value.
const MARKS: &str = r#"["'`*_]{0,3}"#;

const BECOMES: &str = r"\s{0,4}(?:=>|:=|->|→|[:=])";

/// From such a sign to the value: the end of an emphasized label, the beginning of other emphasis.
const GAP: &str = r"(?:<marks>[ \t]{1,4})?[*_]{0,3}";

/// A value with nothing after it on its line or in its cell; a longer text may be a sentence.
const ALONE: &str = r#"(?:<quoted>|(\w[^\s|]{2,}))["'`”*_.,;]{0,3}[ \t]*(?:[|(,;]|$)"#;

const BULLET: &str = r"(?:[-*+•]|[0-9]{1,2}[.)])[ \t]{1,4}";

/// An item of a nested list, by its first word or the one behind a label.
const ITEM: &str = r"\n[ \t]{1,16}<bullet>(?:\w{1,20}:[ \t])?<marks>(?:(\w\S*)|<)[^\n]*";

/// What may follow in the same identifier.
const KEY: &str = concat!(
    concat!(
        r"(?:(?i-u:pass(?:word|wd|phrase|code|wort)?|pwd|\bpw|\bpin|kennwort|secret|token|creden",
        r"tials?|",
    ),
    concat!(
        r"auth|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|[_-]key|[_-]pat|[_-]ds",
        r"n|[_-]psk|",
    ),
    r"shared[_-]?access[_-]?key|signature|sig|session(?:[_-]?id)?|sid|client[_-]?id)|[a-z]Key)",
    r"(?:[_.-][A-Za-z0-9_.-]{0,40}|[A-Z0-9][A-Za-z0-9_]{0,40})?",
);

const PASS: &str = concat!(
    r"(?i-u:pass(?:word|wd|phrase|code|wort)?|pwd|\bpw|\bpin|kennwort|secret)",
    r"(?:[_.-][A-Za-z0-9_.-]{0,40}|[A-Z0-9][A-Za-z0-9_]{0,40})?",
);

const QUOTED: &str = concat!(
    r#"\\"([^"\\\n]+)|"((?:[^"\\\n]|\\.|"")+)|\\'([^'\\\n]+)|'((?:[^'\\\n]|\\.|'')+)|"#,
    r"`([^`\n]+)|“([^”\n]+)",
);

/// The pattern without its abbreviations.
pub fn expanded(pattern: &str) -> String {
    pattern
        .replace("<alone>", ALONE)
        .replace("<value>", &format!(r#"(?:{QUOTED}|([^\s"'`“\\|<-][^\s|]*))"#))
        .replace("<quoted>", QUOTED)
        .replace("<pass>", PASS)
        .replace("<key>", KEY)
        .replace("<word>", WORD)
        .replace("<name>", NAME)
        .replace("<password>", PASSWORD)
        .replace("<whose>", WHOSE)
        .replace("<note>", NOTE)
        .replace("<gap>", GAP)
        .replace("<item>", ITEM)
        .replace("<bullet>", BULLET)
        .replace("<marks>", MARKS)
        .replace("<becomes>", BECOMES)
}

pub const FORMS: [Form; 62] = [
    // Commands.
    (
        "option",
        Check::None,
        concat!(
            r#"(?:^|[\s"'`(\[,])--?[A-Za-z0-9_.-]{0,40}?<key>s?"#,
            r#"(?:\s{0,2}=\s{0,2}|["']?,?[ \t]{1,20}|["']?,?\s{1,20}-\s{1,4}|["'],\s{1,20}|\s"#,
            r#"{1,4}\\\r?\n\s{0,20})<value>"#,
        ),
    ),
    (
        "option",
        Check::None,
        r"\b(?:mysql[a-z_]*|mariadb[a-z-]*|mycli|xtrabackup|sshpass)\b[^\n]*?\s-p ?<value>",
    ),
    (
        "option",
        Check::None,
        r"(?:\s(?:-[uU]|--user(?:name)?)[ =]?[^\s-]\S*|\blogin\b)(?:\s[^\n]*?)?\s-[pP] ?<value>",
    ),
    ("option", Check::None, r"\s-p\s{1,4}<value>\s[^\n]*?-[uU]\s"),
    ("option", Check::Odd, r"\s-p([^\s-]\S{5,})"),
    (
        "option",
        Check::None,
        concat!(
            r"\b(?:sqlcmd|bcp|osql|ipmitool|mosquitto_[a-z]+|zip|unzip|7z|tsql|isql)\b[^\n]*?\s-",
            r"[pP] ?<value>",
        ),
    ),
    ("option", Check::None, r"\b(?:ssh-keygen|openssl)\b[^\n]*?\s-[NkKP]\s{1,4}<value>"),
    ("option", Check::None, r"\bldap[a-z]*\b[^\n]*?\s-w ?<value>"),
    ("option", Check::None, r"\bsnmp[a-z]*\b[^\n]*?\s-[cAX] ?<value>"),
    ("option", Check::None, r"\b[a-z]+-cli\b[^\n]*?\s-a ?<value>"),
    ("option", Check::None, r#"--from-literal[= ]+["']?[^\s=]+=<value>"#),
    (
        "option",
        Check::None,
        r#"(?:^|\s)(?:-b|--cookie)(?:\s{1,4}|=)(?:"([^"\n]+)"|'([^'\n]+)'|([^\s=;"']+=\S+))"#,
    ),
    (
        "user",
        Check::None,
        concat!(
            r#"(?:^|\s)(?:-[uUa]|--user(?:name)?|--proxy-user|--userpwd)(?:\s{1,4}|=)?"#,
            r#"(?:"[^\s":%]{1,100}[:%]([^"\n]+)"|'[^\s':%]{1,100}[:%]([^'\n]+)'|[^\s"':%]{1,1"#,
            r#"00}[:%](\S+))"#,
        ),
    ),
    ("user", Check::None, r"(?i-u:/user:)\S+\s{1,4}<value>"),
    ("user", Check::None, r"(?:^|\s)/(?i-u:p|pass|password|pwd):(\S+)"),
    ("user", Check::None, r"\b[A-Za-z0-9._%-]{1,64}:([^\s@/:]{3,})@[A-Za-z0-9\[]"),
    (
        "user",
        Check::None,
        r"\b(?:sqlplus|sqlldr|expdp|impdp|rman|thin)\b[^\n]*?[\w$-]{1,64}/([^\s/@]+)@",
    ),
    (
        "command",
        Check::None,
        r#"(?m)\bAUTH\s{1,4}(?:[^\s"'|]+\s{1,4})?([^\s"'|]+)\s{0,4}(?:$|["'|])"#,
    ),
    ("command", Check::Worded, r#"\bAUTH\s{1,4}([^\s"'|]+)"#),
    ("command", Check::None, r"\bmysqladmin\s[^\n]*?\bpassword\s{1,4}<value>"),
    (
        "command",
        Check::None,
        r"\bhtpasswd\s[^\n]*?-[a-zA-Z]*b[a-zA-Z]*\s{1,4}\S+\s{1,4}\S+\s{1,4}<value>",
    ),
    (
        "command",
        Check::None,
        r"\b(?:add_user|change_password|authenticate_user)\s{1,4}\S+\s{1,4}<value>",
    ),
    (
        "command",
        Check::None,
        concat!(
            r"\bvault\s{1,4}(?:kv\s{1,4}(?:put|patch)|write)\s{1,4}(?:-\S+\s{1,4})*[^\s-]\S*\s{1",
            r",4}([^\n]+)",
        ),
    ),
    ("command", Check::Worded, r"\bvault\s{1,4}login\s{1,4}(?:-\S+\s{1,4})*([^\s-]\S*)"),
    (
        "command",
        Check::None,
        concat!(
            r"(?i-u:\bidentified)\s{1,4}(?i-u:with\s{1,4}[a-z0-9_]+\s{1,4})?(?i-u:by|as)\s{1,4}(",
            r"?i-u:password\s{1,4})?(?:<quoted>)",
        ),
    ),
    (
        "piped",
        Check::None,
        concat!(
            r#"\b(?:echo|printf|print)\s{1,4}(?:-[a-zA-Z]{1,3}\s{1,4})?"#,
            r#"(?:'([^'\n]+)'|"([^"\n]+)"|([^\s|"']+))[^\n|]{0,60}\|[^\n]*?"#,
            r"(?:secret|passw|\bpass\b|sudo\s[^\n]*?-S|base64|stdin|login|kinit|openssl|gpg|",
            r"cryptsetup)",
        ),
    ),
    ("piped", Check::None, r"(?:secret|passw|stdin|login|kinit)[^\n]*?<<<\s{0,4}<value>"),
    // Who with what.
    (
        "pair",
        Check::None,
        concat!(
            r"(?i-u:\bcredentials?|\bcreds|\blog[ -]?in|\blogon|\bsign[ -]?in|\bbasic[ -]aut",
            r"h)\b[^\n/]{0,40}?",
            r#"[\s"'`(][A-Za-z0-9._@-]{1,64}(?:/| / |:)([^\s/:"'`()][^\s"'`()]{2,})"#,
        ),
    ),
    (
        "pair",
        Check::Odd,
        concat!(
            r#"\b(?:admin|administrator|root|guest|test|postgres|elastic|kibana|sa|system|ops|use"#,
            r#"r)(?:/| / |:)([^\s/:"'`()]{3,})"#,
        ),
    ),
    (
        "pair",
        Check::Worded,
        concat!(
            r"(?i-u:\buser(?:name)?|\blogin|\baccount)\s{1,4}\S+\s{1,4}(?i-u:and\s{1,4}|with\s{1",
            r",4})?(?i-u:the\s{1,4})?<word>\s{1,4}<value>",
        ),
    ),
    // Headers and settings.
    (
        "authorization",
        Check::None,
        concat!(
            r#"(?i-u:authorization)["']?\s{0,4}[:=]\s{0,4}["']?(?:[A-Za-z][A-Za-z0-9-]{1,20}\s{1,"#,
            r#"4})?([^\s"'\\]+)"#,
        ),
    ),
    (
        "manifest",
        Check::None,
        concat!(
            r"(?s:\bkind:\s{0,4}Secret\b.{0,600}?\n(?:stringD|d)ata:[ \t]*\n((?:[ \t]+[^\n]*(?:\",
            r"n|$))+))",
        ),
    ),
    (
        "manifest",
        Check::None,
        concat!(
            r"(?:\n|^)(?:stringD|d)ata:[ \t]*\n((?:[ \t]+[^\n]*\n)+)(?:[^\n]*\n){0,4}?kind:\s{0,",
            r"4}Secret\b",
        ),
    ),
    ("block", Check::None, r#"<key>["']?[ \t]{0,4}:[ \t]{0,4}[|>][+-]?[ \t]*\n[ \t]+([^\n]+)"#),
    (
        "named-value",
        Check::None,
        concat!(
            r#"(?i-u:name|key)["']?\s{0,4}[:=]\s{0,4}["']?[A-Za-z0-9_.-]{0,60}?<key>["']?[\s,;]{1"#,
            r#",12}["']?(?i-u:value)["']?\s{0,4}[:=]\s{0,4}<value>"#,
        ),
    ),
    ("element", Check::None, r"<[^<>\n]{0,120}<key>[^<>\n]{0,120}>\s{0,4}([^<>]+?)\s{0,4}</"),
    // Before what would take the note for the value.
    (
        "assignment",
        Check::LabelledOdd,
        r"<word><marks><becomes><marks><note><marks>[ \t]{1,4}<value>",
    ),
    ("assignment", Check::Labelled, r"(?m)<password><marks><becomes><marks><note><gap><alone>"),
    (
        "quoted-assignment",
        Check::None,
        r#"<key>[\\"']{0,2}\s{0,4}(?:=>|:=|[:=])\s{0,4}(?:<quoted>)"#,
    ),
    (
        "assignment",
        Check::Phrase,
        concat!(
            r#"<pass>(?:\s?\([^()\n]{0,40}\)|['’]s|\sis)?[\\"']{0,2}\s{0,4}"#,
            r#"(?:=>|:=|->|→|[:=]|\s[-–—]\s)\s{0,4}([^\s"'`\\][^\n]*)"#,
        ),
    ),
    (
        "assignment",
        Check::None,
        r#"<key>[\\"']{0,2}\s{0,4}(?:=>|:=|[:=])\s{0,4}([^\s"',;&\\]{3,})"#,
    ),
    // Labels of prose.
    (
        "assignment",
        Check::LabelledOdd,
        concat!(
            r"(?:<word><marks>(?:<note>)?|<name>s?<whose>)<marks>",
            r"(?:<becomes>|[ \t]{1,4}[-–—][ \t])<gap><value>",
        ),
    ),
    (
        "assignment",
        Check::Labelled,
        concat!(
            r"(?m)(?:<name><marks>(?:<note>)?|<password><whose>)<marks>",
            r"<becomes><gap><alone>",
        ),
    ),
    (
        "cell",
        Check::None,
        r"(?m)(?:<key>|<name>)[^\n|]{0,30}\|[ \t]{0,4}([^\n|]+?)[ \t]{0,4}(?:\||$)",
    ),
    ("directive", Check::Worded, r"\b(?:requirepass|masterauth)[ \t]{1,8}<value>"),
    ("directive", Check::Worded, r"\b[A-Za-z0-9.]{0,40}[_-](?:<key>)[ \t]{1,8}<value>"),
    (
        "setting",
        Check::None,
        r"\b(?:ENV|ARG|setx|export|set)[ \t]{1,8}[A-Za-z0-9_]{0,60}?<key>[ \t]{1,8}<value>",
    ),
    ("login", Check::None, r"\b(?:login|account|machine)\s{1,8}\S+\s{1,8}password\s{1,8}(\S+)"),
    (
        "login",
        Check::None,
        r"(?m)^[^\s:#]{1,253}:(?:[0-9]{1,5}|\*):[^\s:]{1,64}:[^\s:]{1,64}:(\S+)$",
    ),
    ("hash", Check::None, r#"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2[a-z]{1,2})\$[^\s:"']{4,}"#),
    (
        "private-key",
        Check::None,
        concat!(
            r"(?s:Private-Lines:\s{0,4}[0-9]{1,4}\s(.*?)(?:Private-(?:MAC|Hash):\s{0,4}([0-9A-Fa",
            r"-f]+)|$))",
        ),
    ),
    ("webhook", Check::None, r"/api/webhooks/[0-9]{1,24}/([A-Za-z0-9_-]+)"),
    // Prose.
    (
        "prose",
        Check::Labelled,
        r#"(?:<password>["'`*_]{1,3}|<word><marks><note><marks>)[ \t]{1,4}(?:<quoted>)"#,
    ),
    ("prose", Check::LabelledOdd, r"<word><marks><note><marks>[ \t]{1,4}(\w\S{3,})"),
    (
        "prose",
        Check::LabelledOdd,
        r#"(?m)<name>,[ \t]{1,4}["'`]?(\w[^\s,"'`=(]{3,})["'`]?[ \t]*(?:,|$)"#,
    ),
    (
        "prose",
        Check::LabelledOdd,
        concat!(
            r"(?m)^<bullet><marks>(?:[\w-]{1,20}[ \t])?<word><marks>(?:<note>|<whose>)?<marks>:?",
            r"<marks>[ \t]*<item>(?:<item>)?(?:<item>)?",
        ),
    ),
    ("prose", Check::None, r"<password>[ \t]{1,4}([0-9]{4,})(?:[\s.,;)]|$)"),
    ("prose", Check::Phrase, r"(?i-u:passphrase)(?:\sis|['’]s)\s{1,4}([a-z0-9][^\n]*)"),
    (
        "prose",
        Check::Worded,
        concat!(
            r"(?m)<word>\b(?:\s[^\n.:;=]{0,60}?)?(?:\s(?i-u:is|was|are|be|ist|lautet)|['’]s)",
            r"\s{1,4}",
            r"(?:(?i-u:now|still|currently|just|set|to|simply|always|called|as)\s{1,4}){0,3}",
            r"<value>",
        ),
    ),
    ("prose", Check::Worded, r"<word>\b(?:\s[^\n.:;=]{0,40}?)?\s(?i-u:to|as)\s{1,4}<value>"),
    (
        "prose",
        Check::Worded,
        concat!(
            r#"(?i-u:\buse|\busing|\bwith|\benter|\btype|\bgive|\btry)\s{1,4}["'`]?(\S+?)["'`]?\s"#,
            r#"{1,4}as\s{1,4}(?:[a-z]{1,12}\s{1,4}){0,3}?<word>"#,
        ),
    ),
    (
        "prose",
        Check::None,
        concat!(
            r#"(?m)<word>\b(?:\s{1,4}(?:<quoted>)|\s{0,4}\(([^\s)]+)\)|[^\n.]{0,40}\n{1,3}[ \t]*("#,
            r#"?:<bullet>)?(\S+)[ \t]*$)"#,
        ),
    ),
];

/// After all others: a word beside such a name that looks like no word.
pub const BESIDE: Form = ("prose", Check::Odd, r#"<word>\s{1,4}["'`(]?(\S{4,})"#);

/// Words of a sentence rather than of a secret.
const FUNCTION_WORDS: &str = "\
    a about after all also always an and any are as at be because been before both but by called \
    can cannot currently do does each either every for from has have he her his how if in into is \
    it its just may must my never no not now of on once one only or our out over per set she \
    should simply so some still than that the their then there these they this those to too under \
    until up was we were when which will with you your";

/// Units of amounts in lower case.
const UNITS: &str = "b kb mb gb kib mib gib k ns us ms s sec m min h hours d days rps qps";

/// Words after the first that a phrase may have.
const PHRASE_WORDS: usize = 7;

fn is_function_word(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    FUNCTION_WORDS.split(' ').any(|known| known == word)
}

/// Not a word that only joins others.
pub fn is_worded(text: &str) -> bool {
    !is_function_word(text)
}

/// Letters with digits, or with signs that no word has.
pub fn is_odd(text: &str) -> bool {
    let text = text.trim_matches(|c: char| ".,;:!?()[]{}\"'`".contains(c));
    let has = |test: fn(char) -> bool| text.chars().any(test);
    let sign = |c: char| c.is_ascii_punctuation() && !"-_./:'(),".contains(c);
    text.len() >= 4 && has(char::is_alphabetic) && (has(|c| c.is_ascii_digit()) || has(sign))
}

/// What a label may stand before: no word that only joins others, amount or address of the web.
pub fn is_labelled(text: &str) -> bool {
    is_worded(text) && !is_amount(text) && !text.contains("//")
}

fn is_amount(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| ".,;:!?)".contains(c));
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let unit = unit.trim_start_matches(['/', '-']).to_ascii_lowercase();
    text.starts_with(|c: char| c.is_ascii_digit()) && UNITS.split(' ').any(|known| known == unit)
}

/// Bytes of a phrase at the beginning of a line: its first word whatever it is, and those after it
/// up to one that a sentence or another setting goes on with.
pub fn phrase(text: &str) -> usize {
    let mut end = text.find(char::is_whitespace).unwrap_or(text.len());
    for _ in 0..PHRASE_WORDS {
        let rest = &text[end..];
        let Some(start) = rest.find(|c: char| !c.is_whitespace()) else { break };
        let word = rest[start..].split_whitespace().next().unwrap_or_default();
        let plain = |c: char| c.is_alphanumeric() || "'!?_-".contains(c);
        let whole = text[..end].ends_with(['.', ',', ';', '!', '?', ')', '}', '"', '\'']);
        let joined = word.starts_with('-') || !word.trim_end_matches(['.', ',']).chars().all(plain);
        if whole || joined || is_function_word(word) {
            break;
        }
        end += start + word.len();
    }
    end
}

/// Cells of tables whose heading names a secret, as byte ranges.
pub fn cells(text: &str) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut secret: Vec<usize> = Vec::new();
    let mut width = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let row: Vec<&str> = line.split('|').collect();
        if row.len() != width {
            width = row.len();
            let named = |cell: &str| {
                let cell = cell.trim().to_ascii_lowercase();
                ["password", "passwd", "secret", "token", "passphrase", "credential", "api key"]
                    .iter()
                    .any(|word| cell.contains(word))
            };
            let named = row.iter().enumerate().filter(|(_, cell)| width > 1 && named(cell));
            secret = named.map(|(column, _)| column).collect();
        } else {
            let mut from = at;
            for (column, cell) in row.iter().enumerate() {
                let inside = cell.trim();
                let rule = inside.bytes().all(|b| b == b'-' || b == b':');
                if secret.contains(&column) && !inside.is_empty() && !rule {
                    let start = from + (cell.len() - cell.trim_start().len());
                    out.push((start, start + inside.len()));
                }
                from += cell.len() + 1;
            }
        }
        at += line.len();
    }
    out
}
