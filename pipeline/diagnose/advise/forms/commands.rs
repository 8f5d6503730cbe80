//! Commands of shells, databases and routers, and pairs of a name and a password.

use super::{Check, Form};

pub const COMMANDS: &[Form] = &[
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
            r#"(?:"[^\s":%=]{1,100}[:%]([^"\n]+)"|'[^\s':%=]{1,100}[:%]([^'\n]+)'|[^\s"':%=]{1,"#,
            r#"100}[:%](\S+))"#,
        ),
    ),
    (
        "user",
        Check::None,
        r#"\bnet[ \t]{1,4}use[ \t][^\n]*?\\\\\S{1,200}[ \t]{1,4}<value>["']?[ \t]{1,4}/"#,
    ),
    ("user", Check::None, r"(?i-u:/user:)\S{1,200}[ \t]{1,4}([^\s/]\S*)"),
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
    (
        "command",
        Check::Worded,
        r"\bvault\s{1,4}operator\s{1,4}unseal\s{1,4}(?:-\S+\s{1,4})*([^\s`-][^\s`]*)",
    ),
    (
        "command",
        Check::None,
        r"\bwpa_passphrase[ \t]{1,4}(?:\x22[^\x22\n]*\x22|\S+)[ \t]{1,4}<value>",
    ),
    (
        "command",
        Check::None,
        concat!(
            r"(?i-u:\bconvertto-securestring)[ \t]{1,4}(?:-(?i-u:string)[ \t]{1,4})?([^\s$",
            r"(-][^\n]*?)(?:[ \t]-|[`|\n)]|$)",
        ),
    ),
    ("command", Check::None, r"\bbundle[ \t]{1,4}config[ \t][^\n:]{1,100}[ \t]\w{1,40}:(\S+)"),
    (
        "command",
        Check::Worded,
        r"\b(?:snmp-server[ \t]{1,4}community|r[ow]community6?)[ \t]{1,4}<value>",
    ),
    // Routers and switches: the digit says how the secret is hidden.
    (
        "command",
        Check::None,
        concat!(
            r"\b(?:username[ \t]{1,4}\S{1,64}|enable|neighbor[ \t]{1,4}\S{1,64})",
            r"(?:[ \t]{1,4}(?:privilege|algorithm-type|level)[ \t]{1,4}\S{1,20}){0,2}",
            r"[ \t]{1,4}(?:password|secret)[ \t]{1,4}[0-9]{1,2}[ \t]{1,4}<value>",
        ),
    ),
    (
        "command",
        Check::Worded,
        r"(?m)^[ \t`]*(?:\S{1,40}[#>][ \t]*)?enable[ \t]{1,4}secret[ \t]{1,4}([^\s`]+)[ \t`]*$",
    ),
    (
        "command",
        Check::Worded,
        concat!(
            r"\b(?:tacacs-server|radius-server|crypto[ \t]isakmp)\b[^\n]{0,60}?\bkey[ \t]{1,4}",
            r"(?:[0-9][ \t]{1,4})?<value>",
        ),
    ),
    (
        "command",
        Check::None,
        concat!(
            r"\bsnmp-server[ \t]{1,4}user\b[^\n]*?\bauth[ \t]{1,4}(?:md5|sha)\S*[ \t]{1,4}(\S+)",
            r"(?:[ \t]{1,4}priv[ \t]{1,4}(?:des|3des|aes)\S*(?:[ \t]{1,4}[0-9]{1,3})?[ \t]{1,4}",
            r"(\S+))?",
        ),
    ),
    ("command", Check::None, r"\bnmcli\b[^\n]*?\bpassword[ \t]{1,4}<value>"),
    (
        "command",
        Check::None,
        concat!(
            r"(?m)\b(?:password|secret|key-string)[ \t]{1,4}[05789][ \t]{1,4}",
            r"([^\s`]{6,})`?[ \t]*$",
        ),
    ),
    (
        "command",
        Check::None,
        concat!(
            r"\bline[ \t]{1,4}(?:con|vty|aux)\b[^\n]*\n(?:[ \t][^\n]*\n){0,6}?[ \t]*",
            r"password[ \t]{1,4}(?:[0-9][ \t]{1,4})?<value>",
        ),
    ),
    (
        "command",
        Check::None,
        concat!(
            r#"(?:"([^"\n]+)"|'([^'\n]+)')[ \t]{0,4}\|[ \t]{0,4}"#,
            r"(?i-u:convertto-securestring)",
        ),
    ),
    // SQL.
    ("command", Check::Quoted, r"(?i-u:\bsp_(?:addlogin|password))\b([^\n;]*)"),
    (
        "command",
        Check::Worded,
        concat!(
            r"\b(?i-u:create|alter)\s{1,4}(?i-u:user)\s{1,4}\S{1,100}\s{1,4}(?i-u:identified",
            r"\s{1,4}by)\s{1,4}([^\s;'\x22]+)",
        ),
    ),
    (
        "command",
        Check::Quoted,
        concat!(
            r"\b(?i-u:insert)\s{1,4}(?:(?i-u:ignore)\s{1,4})?(?i-u:into)\s{1,4}[^\s(]{1,100}",
            r"\s{0,4}",
            r"\([^()]{0,200}?<pass>[^()]{0,200}\)\s{0,8}(?i-u:values)\s{0,8}(\([^;]*)",
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
    (
        "piped",
        Check::None,
        concat!(
            r"\b(?:echo|printf|print)[ \t]{1,4}(?:-[a-zA-Z]{1,3}[ \t]{1,4})?",
            r#"(?:["']%s(?:\\n)?["'][ \t]{1,4})?"#,
            r"(?:<quoted>|([^\s|>$`{(<-][^\n|>]{0,200}?))[ \t]{0,4}>{1,2}[ \t]{0,4}<file>",
        ),
    ),
    (
        "piped",
        Check::Items,
        concat!(
            r"(?:>{1,2}|\btee\b(?:[ \t]-a)?)[ \t]{0,4}<file>[ \t][^\n<]{0,40}",
            r#"<<[-~]?["']?\w{1,20}["']?[^\n]{0,40}\n(?s:(.*?)\n)[ \t]*[A-Z_]{2,20}[ \t]*(?:\n|$)"#,
        ),
    ),
    (
        "piped",
        Check::Items,
        concat!(
            r#"<<[-~]?["']?\w{1,20}["']?[ \t]{0,4}(?:>{1,2}|\|[ \t]{0,4}tee\b(?:[ \t]-a)?)"#,
            r"[ \t]{0,4}<file>[ \t]*\n(?s:(.*?)\n)[ \t]*[A-Z_]{2,20}[ \t]*(?:\n|$)",
        ),
    ),
    (
        "piped",
        Check::None,
        r"(?:secret|passw|PASS|TOKEN|stdin|login|kinit)[^\n]*?<<<\s{0,4}<value>",
    ),
    // Who with what.
    (
        "pair",
        Check::Second,
        concat!(
            r"(?i-u:\bcredentials?|\bcreds|\blog(?:ged|ging)?[ -]?in|\blogon|\bsign(?:ed)?[ -]?in|",
            r"\bbasic[ -]auth|\bauth|\bzugangsdaten|\banmelden|\beinloggen)\b[^\n/]{0,40}?",
            r#"[\s"'`(][A-Za-z0-9._@-]{1,64}(?:/| / |:)([^\s/:;,&"'`()][^\s;,&"'`()]{2,})"#,
        ),
    ),
    (
        "pair",
        Check::Second,
        concat!(
            r#"(?:^|[\s"'`(])<account>["'`]?(?:/| / |:)["'`]?([^\s/:;,&"'`()]{3,})["'`)]{0,2}"#,
            r#"[ \t][^\n.;:/]{0,30}?"#,
            r"(?i-u:\blog[ -]?in\b|\blogon\b|\bsign[ -]?in\b|\bcredentials?\b|\bcreds\b|\banmeld)",
        ),
    ),
    (
        "pair",
        Check::LabelledOdd,
        concat!(
            r"(?i-u:\blog[ -]?in|\blogon|\bsign[ -]?in|\bconnect)[ \t](?:as|with)",
            r"[ \t][`']?[\w.@-]{1,40}[`']?[ \t]",
            r#"(?:with|using|and|/)[ \t]["'`]?(\S{4,})"#,
        ),
    ),
    ("pair", Check::Odd, r#"\b<account>["'`]?(?:/| / |:)["'`]?([^\s/:;,&"'`()]{3,})"#),
    (
        "pair",
        Check::Second,
        concat!(
            r"(?i-u:\bcred(?:ential)?s\b|\bzugangsdaten\b):?(?:[ \t]{1,4}|\s{1,4}(?:<bullet>)?)",
            r"(?:(?i-u:user|login)[ \t:]{1,4})?<account>(?:[ \t]{1,4}|[ \t]*\n[ \t]*(?:<bullet>)?)",
            r#"(?:<word>[ \t:]{1,4})?["'`]?([^\s"'`:;,&/()|-][^\s"'`;,&()|]{3,})"#,
        ),
    ),
    (
        "pair",
        Check::LabelledOdd,
        concat!(
            r"(?i-u:\bcreds\b|\bcredentials:|\bzugang:|\blog[ -]?in:)[ \t]{1,4}[\w.@-]{1,40}",
            r"(?:,|[ \t]/)?[ \t]{1,4}([^\s,]{4,})(?:\s|$)",
        ),
    ),
    (
        "pair",
        Check::Worded,
        concat!(
            r"(?m)(?i-u:\buser(?:name)?|\blogin)[ \t]{1,4}[\w.@-]{1,40}[ \t]*\n[ \t]*(?:<bullet>)?",
            r"(?i-u:password|passwd|pass|pwd?)[ \t]{1,4}(\S+)[ \t]*$",
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
];
