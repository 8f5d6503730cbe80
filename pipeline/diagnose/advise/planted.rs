//! Made-up secrets for tests, of the shapes that real ones have.

/// One secret.
pub struct Secret {
    pub kind: &'static str,
    /// As it stands in text.
    pub text: String,
    /// What must not be seen anywhere.
    pub core: String,
}

/// Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let symbols: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| symbols[self.next() as usize % symbols.len()]).collect()
    }
}

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const WORD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0123456789abcdef";
const DIGIT: &str = "0123456789";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn secrets(count: usize) -> Vec<Secret> {
    let mut random = Random(11);
    (0..count).map(|n| secret(n, &mut random)).collect()
}

fn secret(n: usize, r: &mut Random) -> Secret {
    let prefixed = |kind, prefix: &str, rest: String| {
        let text = format!("{prefix}{rest}");
        Secret { kind, core: text.clone(), text }
    };
    let inside = |kind, before: &str, core: String, after: &str| Secret {
        kind,
        text: format!("{before}{core}{after}"),
        core,
    };
    match n % 31 {
        0 => prefixed("aws", "AKIA", r.of(UPPER, 16)),
        1 => prefixed("gcp", "AIza", r.of(WORD, 35)),
        2 => prefixed("github", "ghp_", r.of(WORD, 36)),
        3 => prefixed("gitlab", "glpat-", r.of(WORD, 20)),
        4 => prefixed("slack", "xoxb-", r.of(DIGIT, 12) + "-" + &r.of(WORD, 24)),
        5 => prefixed("stripe", "sk_live_", r.of(WORD, 24)),
        6 => prefixed("model", "sk-proj-", r.of(WORD, 40)),
        7 => prefixed("sendgrid", "SG.", r.of(WORD, 22) + "." + &r.of(WORD, 43)),
        8 => prefixed("npm", "npm_", r.of(WORD, 36)),
        9 => prefixed("vault", "hvs.", r.of(WORD, 24)),
        10 => prefixed(
            "jwt",
            "eyJ",
            r.of(WORD, 20) + ".eyJ" + &r.of(WORD, 30) + "." + &r.of(WORD, 43),
        ),
        11 => inside(
            "private key",
            "-----BEGIN RSA PRIVATE KEY-----\n",
            r.of(BASE64, 64),
            "\n-----END RSA PRIVATE KEY-----",
        ),
        12 => inside("url", "postgres://app:", r.of(WORD, 12), "@db.internal:5432/main"),
        13 => inside("basic auth", "https://user:", r.of(WORD, 10), "@example.org/path"),
        14 => inside("bearer", "Authorization: Bearer ", r.of(WORD, 30), ""),
        15 => inside("basic", "Authorization: Basic ", r.of(BASE64, 24), ""),
        16 => inside("cookie", "Cookie: sid=", r.of(WORD, 22), "; theme=dark"),
        17 => inside("password", "password=", r.of(WORD, 9), ""),
        18 => inside("json", "{\"api_key\": \"", r.of(WORD, 14), "\"}"),
        19 => inside("azure", "AccountName=x;AccountKey=", r.of(BASE64, 86) + "==", ""),
        20 => prefixed("card", "", card(r)),
        21 => prefixed("iban", "", iban(r)),
        22 => prefixed("email", "", r.of("abcdefghijklmnop", 9) + "@example.org"),
        23 => prefixed(
            "ipv4",
            "",
            format!("10.{}.{}.{}", r.next() % 256, r.next() % 256, r.next() % 256),
        ),
        24 => prefixed("ipv6", "", (0..8).map(|_| r.of(HEX, 4)).collect::<Vec<_>>().join(":")),
        25 => prefixed("mac", "", (0..6).map(|_| r.of(HEX, 2)).collect::<Vec<_>>().join(":")),
        27 => inside("asana", "1/1234567890:", r.of(HEX, 32), ""),
        28 => prefixed(
            "mac of four digits",
            "",
            format!("3c{}.a{}.{}", r.of(HEX, 2), r.of(HEX, 3), r.of(HEX, 4)),
        ),
        29 => prefixed("national phone", "", format!("415-555-{}", r.of(DIGIT, 4))),
        26 => prefixed("phone", "+49 30 ", r.of(DIGIT, 8)),
        _ => prefixed("random", "", r.of(HEX, 18) + "7" + &r.of(WORD, 21) + "q"),
    }
}

fn card(r: &mut Random) -> String {
    let body = "4".to_owned() + &r.of(DIGIT, 14);
    let doubled = |(i, c): (usize, char)| {
        let d = c.to_digit(10).unwrap() * if i % 2 == 0 { 2 } else { 1 };
        if d > 9 { d - 9 } else { d }
    };
    let sum: u32 = body.chars().rev().enumerate().map(doubled).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn iban(r: &mut Random) -> String {
    let account = r.of(DIGIT, 18);
    // D is 13 and E is 14.
    let rest =
        format!("{account}131400").bytes().fold(0, |x, b| (x * 10 + u64::from(b - b'0')) % 97);
    format!("DE{:02}{account}", 98 - rest)
}

/// Ways in which telemetry and runbooks carry a secret.
pub fn sentences(secret: &Secret) -> [String; 4] {
    let text = &secret.text;
    [
        format!("login failed with {text}"),
        format!("[{text}]"),
        format!("see \"{text}\" in the vault, then retry"),
        text.clone(),
    ]
}
