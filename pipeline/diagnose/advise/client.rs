//! One call to an OpenAI-compatible endpoint: bounded in time, in tries and in bytes.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::completion;
use super::endpoint::{Endpoint, is_forbidden};
use super::redact::{Redacted, without_secrets};
use super::settings::LlmConfig;
use crate::error::{Error, Result};

/// A larger reply is not read to its end.
const REPLY_BYTES_MAX: usize = 256 << 10;

/// Of what an endpoint says about a request that it does not take.
const REASON_BYTES_MAX: usize = 4 << 10;
const REASON_CHARS_MAX: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
}

/// What the model is sent: nothing but redacted text.
pub type Message = (Role, Redacted);

/// What the model said, and what it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub content: String,
    /// As the endpoint counts them; `None` where it does not say.
    pub tokens: Option<(u64, u64)>,
    pub latency_ms: u64,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    Timeout,
    /// There was no connection.
    Unreachable,
    /// The connection was lost after the request was sent.
    CutOff,
    RateLimited,
    ServerError,
    /// The endpoint did not take the request: key, model or field.
    Refused,
    TooLarge,
    /// The reply is no chat completion.
    Malformed,
}

impl Failure {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::CutOff => "cut off",
            Self::RateLimited => "rate limited",
            Self::ServerError => "server error",
            Self::Refused => "refused",
            Self::TooLarge => "too large",
            Self::Malformed => "malformed",
        }
    }

    /// Nothing was read or written for it.
    pub fn is_free(self) -> bool {
        matches!(self, Self::Unreachable | Self::RateLimited | Self::Refused)
    }

    /// What may pass, and was not charged for.
    fn may_pass(self) -> bool {
        matches!(self, Self::Unreachable | Self::RateLimited | Self::ServerError)
    }
}

/// A failure, and what is known of its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoReply {
    pub failure: Failure,
    /// The status and what the endpoint says of it, without secrets.
    #[serde(default)]
    pub reason: String,
}

impl From<Failure> for NoReply {
    fn from(failure: Failure) -> Self {
        Self { failure, reason: String::new() }
    }
}

impl NoReply {
    /// In one line.
    pub fn text(&self) -> String {
        match self.reason.is_empty() {
            true => self.failure.as_str().to_owned(),
            false => format!("{}: {}", self.failure.as_str(), self.reason),
        }
    }
}

pub struct Client {
    http: reqwest::Client,
    url: Url,
    key: Option<(HeaderName, HeaderValue)>,
    attempts: u32,
    backoff: Duration,
}

impl Client {
    /// Reads the key; connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Usage`] where the key cannot be read.
    pub fn new(endpoint: Endpoint<'_>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Guarded)
            .build()
            .map_err(|e| Error::usage(format!("no HTTP client: {e}"), "check the TLS set-up"))?;
        let remedy = format!("correct [{}]", endpoint.section);
        let url = endpoint.url().map_err(|m| Error::usage(m, remedy))?;
        let key = endpoint.key()?;
        let Endpoint { attempts, backoff, .. } = endpoint;
        Ok(Self { http, url, key, attempts, backoff })
    }

    /// Sends the body of a chat call until there is a reply, the tries are used up, or the
    /// deadline has passed.
    pub async fn send(&self, body: &str, deadline: Duration) -> Result<Reply, NoReply> {
        let started = Instant::now();
        let read = completion::read;
        let (content, tokens) = self.call(body, deadline, REPLY_BYTES_MAX, read).await?;
        let latency_ms = started.elapsed().as_millis() as u64;
        Ok(Reply { content, tokens, latency_ms })
    }

    /// Sends a body until there is a reply that `read` understands, of at most `most` bytes.
    pub async fn call<T>(
        &self,
        body: &str,
        deadline: Duration,
        most: usize,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, NoReply> {
        let tries = async {
            let mut wait = self.backoff;
            for attempt in 1.. {
                let (failed, asked) = match self.once(body, most).await {
                    Ok(bytes) => return read(&bytes).ok_or(Failure::Malformed.into()),
                    Err(failed) => failed,
                };
                if attempt >= self.attempts || !failed.failure.may_pass() {
                    return Err(failed);
                }
                let asked = asked.unwrap_or_default();
                if asked > deadline {
                    return Err(failed);
                }
                tokio::time::sleep(wait.max(asked)).await;
                wait = wait.saturating_mul(2);
            }
            Err(Failure::Unreachable.into())
        };
        tokio::time::timeout(deadline, tries).await.unwrap_or(Err(Failure::Timeout.into()))
    }

    /// One try; a failure comes with how long the endpoint wants to be left alone.
    async fn once(&self, body: &str, most: usize) -> Result<Vec<u8>, (NoReply, Option<Duration>)> {
        let mut request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some((name, value)) = &self.key {
            request = request.header(name, value);
        }
        let sent = request.body(body.to_owned()).send().await;
        let mut response = sent.map_err(|e| (not_sent(&e), None))?;
        if let Some(failure) = failure_of(response.status()) {
            let wait = wait_of(response.headers());
            let reason = reason(&mut response).await;
            return Err((NoReply { failure, reason }, wait));
        }
        let mut bytes = Vec::new();
        let lost = |_| (Failure::CutOff.into(), None);
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if bytes.len() + chunk.len() > most {
                return Err((Failure::TooLarge.into(), None));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// What came before a request was on its way may be tried again; what came later may have cost.
fn not_sent(error: &reqwest::Error) -> NoReply {
    let failure = if error.is_connect() { Failure::Unreachable } else { Failure::CutOff };
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    NoReply { failure, reason: clean(&cause.to_string()) }
}

/// The status, and what the endpoint says of it.
async fn reason(response: &mut Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < REASON_BYTES_MAX {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(REASON_BYTES_MAX);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let places = [&body["error"]["message"], &body["message"], &body["detail"], &body["error"]];
    let said = places.into_iter().find_map(|place| place.as_str()).unwrap_or(&text);
    clean(&format!("{} {said}", response.status().as_u16()))
}

fn clean(text: &str) -> String {
    let text = without_secrets(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), or `retry-after-ms`.
fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1e3).or_else(|| number("retry-after"));
    if let Some(seconds) = seconds {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let until: SystemTime = DateTime::parse_from_rfc2822(date).ok()?.with_timezone(&Utc).into();
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

fn failure_of(status: StatusCode) -> Option<Failure> {
    match status {
        s if s.is_success() => None,
        StatusCode::TOO_MANY_REQUESTS => Some(Failure::RateLimited),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Some(Failure::ServerError),
        s if s.is_server_error() => Some(Failure::ServerError),
        _ => Some(Failure::Refused),
    }
}

/// The body of a call.
pub fn body(config: &LlmConfig, messages: &[Message]) -> String {
    let message = |(role, text): &Message| {
        let role = match role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({ "role": role, "content": text.as_str() })
    };
    let mut body = json!({ "temperature": 0 });
    body[config.answer_tokens_field.as_str()] = json!(config.answer_tokens);
    if config.json_mode {
        body["response_format"] = json!({ "type": "json_object" });
    }
    for (name, value) in &config.body {
        body[name] = value.clone();
    }
    body["model"] = json!(config.model);
    body["messages"] = messages.iter().map(message).collect();
    body.to_string()
}

/// Looks names up and leaves out addresses that must not be asked, whatever a name server says.
pub struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| !is_forbidden(a.ip())).collect();
            if allowed.is_empty() {
                let message = format!("{} has no address that may be asked", name.as_str());
                return Err(io::Error::other(message).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
