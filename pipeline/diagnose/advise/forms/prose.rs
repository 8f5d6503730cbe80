//! Labels of prose, and sentences.

use super::{Check, Form};

pub const PROSE: &[Form] = &[
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
        "assignment",
        Check::Labelled,
        r"(?m)[*_`]{1,3}(?i-u:pass)(?:[*_`]{1,3}<becomes>|:[*_`]{1,3})<gap><alone>",
    ),
    ("cell", Check::None, r"(?m)^[ \t]*(?:<key>|<name>)[ \t]?\|[ \t]?([^\s|]+)[ \t]*$"),
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
        Check::None,
        concat!(
            r"(?m)(?:<password>|^#{1,6}[ \t][^\n]{0,40}<name>)[*_:]{0,4}[ \t]*\n{1,3}",
            r"[ \t]*(?:```|~~~)\w{0,12}[ \t]*\n[ \t]*(\S+)[ \t]*\n[ \t]*(?:```|~~~)",
        ),
    ),
    (
        "prose",
        Check::Apart,
        concat!(
            r"(?m)(?i-u:\bwith|\busing|\buses?|\bdefault|\binitial|\btemporary|\bmit)[ \t]{1,4}",
            r"(?:(?i-u:the|a|this|default|admin|root|dem)[ \t]{1,4}){0,2}",
            r#"<password>[ \t]{1,4}["'`]?([^\s"'`.,;:!?()|<>/-][^\s"'`;|()<>]{3,}?)["'`]?"#,
            r"(?:[.,;:)!?]|[ \t]{1,4}(?i-u:and|to|or|by|on|in|at|from|then|when|until|und|ein)\b|",
            r"[ \t]*$)",
        ),
    ),
    (
        "prose",
        Check::LabelledOdd,
        concat!(
            r#"([^\s*:]{4,}?)["'`]{0,2}(?:[ \t]{1,4}(?:is|was)[ \t]{1,4}(?:the|our|my|a)|"#,
            r#"[ \t]{1,4}(?:<-|←)|"#,
            r#":)[ \t]{1,4}(?:(?:the|our|[a-z]{2,12})[ \t]{1,4}){0,2}?<password>(?:[.,;)\s]|$)"#,
        ),
    ),
    (
        "prose",
        Check::Labelled,
        concat!(
            r"`([^`\s]{4,})`(?:[ \t]{1,4}(?:is|was)[ \t]{1,4}(?:the|our|my|a)|:|[ \t]{1,4}",
            r"(?:<-|←))",
            r"[ \t]{1,4}(?:[a-z]{2,12}[ \t]{1,4}){0,2}?<password>(?:[.,;)\s]|$)",
        ),
    ),
    ("prose", Check::Apart, r"<password>(?:<whose>)?,[ \t]{1,4}`([^`\s]{3,})`"),
    (
        "prose",
        Check::Apart,
        concat!(
            r#"(?i-u:\benter|\btype|\buse|\bgive)[ \t]["'`]?([^\s"'`]{3,}?)["'`]?[ \t]"#,
            r#"(?:when|if|where)"#,
            r"[ \t](?:[a-z]{2,4}[ \t]){0,2}(?:asked|prompted)[ \t]for[ \t](?:[a-z]{1,12}",
            r"[ \t]){0,2}?<word>",
        ),
    ),
    (
        "prose",
        Check::Apart,
        concat!(
            r"(?:asked|prompted)[ \t]for[ \t](?:[a-z]{1,12}[ \t]){0,2}?<password>,?[ \t]",
            r#"(?:enter|type|use|give)[ \t]["'`]?([^\s"'`]{3,}?)["'`]?(?:[.,;)]|[ \t]|$)"#,
        ),
    ),
    ("prose", Check::LabelledOdd, r#"(\S{4,}?)["'`]{0,2}[ \t]{1,4}\(<password>\)"#),
    ("prose", Check::LabelledOdd, r"<password>\?[ \t]{1,4}(\S{4,})"),
    ("prose", Check::Labelled, r"<password>\?[ \t]*\n[ \t]*A(?:nswer)?:[ \t]*(\S+)"),
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
        Check::Said,
        concat!(
            r"(?m)<noun>\b(?:\s[^\n.:;=]{0,60}?)?(?:\s(?i-u:is|was|are|be|ist|lautet|es|est)|['’",
            r"]s)",
            r"\s{1,4}",
            r"(?:(?i-u:now|still|currently|just|set|to|simply|always|called|as)\s{1,4}){0,3}",
            r"<value>",
        ),
    ),
    (
        "prose",
        Check::Said,
        concat!(
            r"(?:(?i-u:\bset|\bsets|\bsetting|\bchang(?:e|es|ed|ing)|\breset|\brotated?|\bupdate",
            r"[ds]?)",
            r"\b[^\n.:;=]{0,40}?<noun>\b(?:[ \t][^\n.:;=]{0,40}?)?|<noun>\b[ \t]",
            r"(?:[^\n.:;=]{0,40}?[ \t])?",
            r"(?i-u:set|reset|back|equal|changed|rotated|updated|switched|defaults?))",
            r"[ \t](?i-u:to)[ \t]{1,4}<value>",
        ),
    ),
    (
        "prose",
        Check::LabelledOdd,
        r"<noun>\b(?:[ \t][^\n.:;=]{0,40}?)?[ \t](?i-u:to|as)[ \t]{1,4}<value>",
    ),
    ("prose", Check::Said, r"<password>[ \t]{1,4}as[ \t]{1,4}(?:<quoted>)"),
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
            r"(?m)<word>\b(?:\s{1,4}(?:<quoted>)|\s{0,4}\(([^\s)]+)\)|[^\n.]{0,40}\n{1,3}[ \t]*",
            r"(?:<bullet>)?([^\s:|{}`]|`?[^\s|{}<`][^\s|]*[^\s:|{}])[ \t]*$)",
        ),
    ),
];
