//! An endpoint that the configuration names: its address, which must not be just any, and the key
//! that it wants.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::error::{Error, Result};

/// How the key is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyHeader {
    /// `Authorization: Bearer KEY`
    #[default]
    Bearer,
    /// `api-key: KEY`, as Azure has it.
    ApiKey,
}

/// What a section of the configuration says about its endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// Name of the section, for messages.
    pub section: &'static str,
    pub base_url: &'a str,
    /// What follows the base, such as `/chat/completions`.
    pub path: &'static str,
    pub key_env: &'a Option<String>,
    pub key_file: &'a Option<PathBuf>,
    pub key_header: KeyHeader,
    /// For what is asked at a time, retries included.
    pub deadline: Duration,
    /// Tries of one request, where the endpoint is busy or broken.
    pub attempts: u32,
    /// Wait before the second try; doubles from try to try.
    pub backoff: Duration,
}

impl Endpoint<'_> {
    /// What is wrong with the values, in words for the user.
    pub fn check(&self) -> Result<(), String> {
        let url = self.url()?;
        let has_key = self.key_env.is_some() || self.key_file.is_some();
        if self.key_env.is_some() && self.key_file.is_some() {
            return Err(format!("[{}] has both `key_env` and `key_file`", self.section));
        }
        let loopback = url.host_str().is_some_and(is_loopback);
        if has_key && url.scheme() != "https" && !loopback {
            return Err(format!(
                "[{}] would send its key unencrypted; `base_url` needs https",
                self.section
            ));
        }
        if self.deadline.is_zero() || !(1..=10).contains(&self.attempts) {
            return Err(format!("[{}] needs a `deadline` and 1 to 10 `attempts`", self.section));
        }
        Ok(())
    }

    /// Where calls go.
    pub fn url(&self) -> Result<Url, String> {
        let bad = |why: &str| format!("[{}] `base_url` {:?} {why}", self.section, self.base_url);
        let mut url = Url::parse(self.base_url).map_err(|e| bad(&format!("is no URL: {e}")))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(bad("is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("carries a password; use `key_env` or `key_file`"));
        }
        let host = url.host_str().unwrap_or_default();
        // A name that reads like another one is of no use for an endpoint that is configured once.
        if !self.base_url.is_ascii() || host.split('.').any(|label| label.starts_with("xn--")) {
            return Err(bad("has a host beyond ASCII"));
        }
        if host.trim_matches(['[', ']']).parse().is_ok_and(is_forbidden) {
            return Err(bad("is an address that no model lives at"));
        }
        if !url.path().ends_with(self.path) {
            let path = format!("{}{}", url.path().trim_end_matches('/'), self.path);
            url.set_path(&path);
        }
        Ok(url)
    }

    /// The header that carries the key, if there is one.
    ///
    /// # Errors
    /// [`Error::Usage`] where the key cannot be read.
    pub fn key(&self) -> Result<Option<(HeaderName, HeaderValue)>> {
        let (text, place) = match (self.key_env, self.key_file) {
            (Some(name), _) => (
                std::env::var(name).map_err(|_| {
                    Error::usage(format!("{name} is not set"), "put the model's key into it")
                })?,
                name.clone(),
            ),
            (None, Some(path)) => (
                std::fs::read_to_string(path).map_err(Error::io(path))?,
                path.display().to_string(),
            ),
            (None, None) => return Ok(None),
        };
        let (name, text) = match self.key_header {
            KeyHeader::Bearer => (AUTHORIZATION, format!("Bearer {}", text.trim())),
            KeyHeader::ApiKey => (HeaderName::from_static("api-key"), text.trim().to_owned()),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Error::usage(format!("{place} holds no key"), "put the model's key there")
        })?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

/// Addresses of metadata services and of nobody in particular, which must never be asked, also
/// where an IPv6 address stands for one of IPv4.
pub fn is_forbidden(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.segments() == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254]
                || embedded(v6).is_some_and(is_forbidden_v4)
        }
    }
}

fn is_forbidden_v4(v4: Ipv4Addr) -> bool {
    v4.is_link_local()
        || v4.is_unspecified()
        || v4.is_broadcast()
        || v4.is_multicast()
        || v4.octets() == [100, 100, 100, 200]
}

/// The IPv4 address within one of NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380,
/// where it is inverted), or of the old compatible form (RFC 4291).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let joined = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b) {
        (0x64, 0xff9b) => Some(joined(g, h)),
        (0x2002, _) => Some(joined(b, c)),
        (0x2001, 0) => Some(joined(!g, !h)),
        (0, 0) if [c, d, e, f] == [0; 4] && g != 0 => Some(joined(g, h)),
        _ => None,
    }
}
