//! One call to an OpenAI-compatible endpoint: bounded in time, in tries and in bytes.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{Endpoint, is_forbidden};
use super::redact::Redacted;
use super::settings::LlmConfig;
use crate::error::{Error, Result};

/// A larger reply is not read to its end.
const REPLY_BYTES_MAX: usize = 256 << 10;

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
    Unreachable,
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
            Self::RateLimited => "rate limited",
            Self::ServerError => "server error",
            Self::Refused => "refused",
            Self::TooLarge => "too large",
            Self::Malformed => "malformed",
        }
    }

    fn may_pass(self) -> bool {
        matches!(self, Self::Unreachable | Self::RateLimited | Self::ServerError)
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
    pub async fn send(&self, body: &str, deadline: Duration) -> Result<Reply, Failure> {
        let started = Instant::now();
        let (content, tokens) = self.call(body, deadline, REPLY_BYTES_MAX, completion).await?;
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
    ) -> Result<T, Failure> {
        let tries = async {
            let mut wait = self.backoff;
            for attempt in 1.. {
                let (failure, asked) = match self.once(body, most).await {
                    Ok(bytes) => return read(&bytes).ok_or(Failure::Malformed),
                    Err(failed) => failed,
                };
                if attempt >= self.attempts || !failure.may_pass() {
                    return Err(failure);
                }
                let asked = asked.unwrap_or_default();
                if asked > deadline {
                    return Err(failure);
                }
                tokio::time::sleep(wait.max(asked)).await;
                wait = wait.saturating_mul(2);
            }
            Err(Failure::Unreachable)
        };
        tokio::time::timeout(deadline, tries).await.unwrap_or(Err(Failure::Timeout))
    }

    /// One try; a failure comes with how long the endpoint wants to be left alone.
    async fn once(&self, body: &str, most: usize) -> Result<Vec<u8>, (Failure, Option<Duration>)> {
        let mut request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some((name, value)) = &self.key {
            request = request.header(name, value);
        }
        let sent = request.body(body.to_owned()).send().await;
        let mut response = sent.map_err(|_| (Failure::Unreachable, None))?;
        if let Some(failure) = failure_of(response.status()) {
            let seconds = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
            let wait = seconds.and_then(|s| s.parse().ok()).map(Duration::from_secs);
            return Err((failure, wait));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| (Failure::Unreachable, None))? {
            if bytes.len() + chunk.len() > most {
                return Err((Failure::TooLarge, None));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// Text and, where they are told, tokens read and written.
type Completion = (String, Option<(u64, u64)>);

fn completion(bytes: &[u8]) -> Option<Completion> {
    let reply: Value = serde_json::from_slice(bytes).ok()?;
    let content = reply["choices"][0]["message"]["content"].as_str()?.to_owned();
    let count = |name: &str| reply["usage"][name].as_u64();
    Some((content, count("prompt_tokens").zip(count("completion_tokens"))))
}

fn failure_of(status: StatusCode) -> Option<Failure> {
    match status {
        s if s.is_success() => None,
        StatusCode::TOO_MANY_REQUESTS => Some(Failure::RateLimited),
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
    let mut body = json!({ "temperature": 0, "max_tokens": config.answer_tokens });
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
