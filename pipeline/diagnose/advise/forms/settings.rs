//! Settings: headers, manifests, assignments, and what programs do with the same names.

use super::{Check, Form};

/// Before commands, which would take a part of them.
pub const CODE: &[Form] = &[
    // Lists of several.
    (
        "list",
        Check::Quoted,
        concat!(
            r#"(?:<password>s?|(?i-u:tokens?|secrets?|(?:api|access|secret)[_-]?keys?))["'\\]{0,2"#,
            r#"}"#,
            r"\s{0,4}(?:=>|[:=])\s{0,4}[\[(]",
            r#"((?:\s{0,20}\\?["'][^"'\n\\]*\\?["']\s{0,4},?){1,40})"#,
        ),
    ),
    ("list", Check::None, r#"<password>s["']?[ \t]{0,4}[:=][ \t]{0,4}\[([^\]\["'\n]+)\]"#),
    (
        "list",
        Check::Items,
        concat!(
            r#"(?m)^[ \t]*(?:[-*+•] )?["']?[A-Za-z0-9_.-]{0,40}?(?:<password>s|(?i-u:tokens|"#,
            r#"api[_-]?keys|basic_auth_users))["']?:[ \t]*\n"#,
            r"((?:[ \t]*[-*+][ \t]{1,4}\S+[ \t]*(?:\n|$)){1,40}|",
            r#"(?:[ \t]{1,16}["']?[A-Za-z0-9_.@-]{1,60}["']?:[ \t]{1,4}\S+[ \t]*(?:\n|$)){1,40})"#,
        ),
    ),
    // Calls.
    (
        "call",
        Check::None,
        concat!(
            r"(?:[eE]nv|ENV|environ|fetch|[pP]roperty|define|[cC]onfig|[sS]et|[pP]ut|[aA]dd|[hH]",
            r"eader)",
            r#"[A-Za-z.]{0,16}\(\s{0,8}["'][A-Za-z0-9_.-]{0,60}?<key>["']\s{0,4},\s{0,8}"#,
            r#"(?:<quoted>)"#,
        ),
    ),
    (
        "call",
        Check::None,
        concat!(
            r"(?:\b(?i-u:auth)\s{0,2}=\s{0,2}[A-Za-z.]{0,30}|",
            r"(?i-u:basic_?auth|\.login|authenticate|",
            r#"credentials?))\(\s{0,4}["'][^"'\n]{0,64}["']\s{0,2},\s{0,4}(?:<quoted>)"#,
        ),
    ),
    ("call", Check::None, r#"<key>["']?[\])]?\s{0,4}(?:\|\||\?\?)\s{0,4}(?:<quoted>)"#),
    (
        "call",
        Check::None,
        concat!(
            r#"(?i-u:assword|passphrase)[^"'\n]{0,16}["'][ \t;)}{,\n-]{1,20}"#,
            r"(?:\w{1,20}\.)?(?:exp_)?send[a-z_]{0,10}[ \t(]{1,4}(?:--[ \t])?(?:<quoted>)",
        ),
    ),
    // Terraform.
    (
        "variable",
        Check::None,
        concat!(
            r#"\b(?:variable|output)\s{1,4}"[A-Za-z0-9_-]{0,60}?<key>"\s{0,4}\{[^{}]{0,400}?"#,
            r"\b(?:default|value)\s{0,20}=\s{0,4}(?:<quoted>)",
        ),
    ),
    (
        "block",
        Check::Items,
        concat!(
            r#"<key>["']?[ \t]{0,4}[:=][ \t]{0,4}<<[-~]?["']?\w{1,20}["']?[ \t]*\n"#,
            r"(?s:(.*?)\n)[ \t]*[A-Z_]{2,20}[ \t]*(?:\n|$)",
        ),
    ),
];

pub const SETTINGS: &[Form] = &[
    (
        "authorization",
        Check::None,
        concat!(
            r#"(?i-u:authorization)["']?\s{0,4}[:=]\s{0,4}["']?(?:[A-Za-z][A-Za-z0-9-]{1,20}\s{1,"#,
            r#"4})?([^\s"'\\]+)"#,
        ),
    ),
    ("manifest", Check::Values, r#"\\?"stringData\\?"\s{0,4}:\s{0,4}\{([^{}]*)\}"#),
    (
        "manifest",
        Check::Values,
        concat!(
            r#""(?:stringD|d)ata"\s{0,4}:\s{0,4}\{([^{}]*)\}(?s:.{0,600}?)"kind"\s{0,4}:"#,
            r#"\s{0,4}"Secret""#,
        ),
    ),
    (
        "manifest",
        Check::Values,
        concat!(
            r#""kind"\s{0,4}:\s{0,4}"Secret"(?s:.{0,600}?)"(?:stringD|d)ata"\s{0,4}:\s{0,4}\{"#,
            r#"([^{}]*)\}"#,
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
    (
        "named-value",
        Check::None,
        concat!(
            r#"(?i-u:\bvalue)["']?\s{0,4}[:=]\s{0,4}<value>["']?[\s,;]{1,12}["']?"#,
            r#"(?i-u:name|key)["']?"#,
            r#"\s{0,4}[:=]\s{0,4}["']?[A-Za-z0-9_.-]{0,60}?<key>(?:[\s"',;}]|$)"#,
        ),
    ),
    (
        "element",
        Check::None,
        r"<dt\b[^<>]*>[^<>]{0,60}<noun>[^<>]{0,60}</dt>\s{0,8}<dd\b[^<>]*>([^<>]+)",
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
        Check::Assigned,
        r#"<key>[\\"']{0,5}\]?<blank>(?:=>|:?=|::?|[-~]>|→|⇒|&#58;|&#61;)<blank><literal>"#,
    ),
    (
        "comparison",
        Check::None,
        concat!(
            r#"(?:"([^"\n]+)"|'([^'\n]+)')[ \t]{0,2}[=!]={1,2}[ \t]{0,2}"#,
            r"[A-Za-z0-9_.$]{0,40}?<password>\b",
        ),
    ),
    (
        "comparison",
        Check::None,
        concat!(
            r#"(?:<password>|(?i-u:secret|token|api_?key))["'\])]{0,2}\s{0,2}[=!~]={1,2}"#,
            r#"\s{0,2}<literal>"#,
        ),
    ),
    (
        "assignment",
        Check::Phrase,
        concat!(
            r#"<pass>(?:\s?\([^()\n]{0,40}\)|['’]s|\sis)?[\\"']{0,2}"#,
            r#"(?:<sign>|\s{1,4}[-–—]\s{1,4})([^\s"'`\\=:][^\n]*)"#,
        ),
    ),
    (
        "assignment",
        Check::None,
        r#"<key>[\\"']{0,2}[ \t]{0,4}(?:=>|:=|[:=])[ \t]{0,4}([^\s"',;&\\=:][^\s"',;&\\]{2,})"#,
    ),
    ("assignment", Check::None, r#"\bpsk["']?\s{0,2}[:=]\s{0,2}["']?([^\s"'`<]{4,})"#),
    (
        "assignment",
        Check::Assigned,
        r#"<key>[\\"']{0,2}\s{0,4}(?:=>|:=|[:=])\s{0,4}([^\s"',;&\\=:][^\s"',;&\\]{2,})"#,
    ),
    ("assignment", Check::None, r#"<key>%3[Dd]((?:[^\s%&"'`<>]|%(?:[013-9A-Fa-f]|2[^6]))+)"#),
    ("assignment", Check::None, r#"[?&]key=([^\s&"'`<>)|]{6,})"#),
    (
        "assignment",
        Check::Labelled,
        concat!(
            r"(?i-u:\b(?:recovery|backup) codes?|\b(?:totp|otp|mfa) (?:seed|secret|key)):",
            r"[ \t]{1,4}(\S{5,})",
        ),
    ),
    (
        "assignment",
        Check::None,
        r#"(?:密码|密碼|口令|パスワード|暗証番号)[ ]?(?:是|为|為|は)[ ]?["'`「]?([!#-&(-_a-~]{4,})"#,
    ),
    (
        "assignment",
        Check::None,
        r"(?i-u:\b(?:unseal key|recovery key|initial root token)(?: [0-9]{1,2})?):[ \t]{1,4}(\S+)",
    ),
];
