//! The `[llm]` and `[embeddings]` sections of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::endpoint::{Endpoint, KeyHeader};
use crate::stream::interval;

/// Field of a request that limits its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerTokensField {
    #[default]
    MaxTokens,
    /// As models that think ask for it.
    MaxCompletionTokens,
}

impl AnswerTokensField {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// Fields that this program sets, and those by which one call would cost more than is set aside.
const NOT_IN_BODY: [&str; 7] =
    ["model", "messages", "stream", "max_tokens", "max_completion_tokens", "n", "best_of"];

/// A language model that ranks causes again, behind any OpenAI-compatible chat endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmConfig {
    /// What comes before `/chat/completions`; a query, as Azure wants one, is kept.
    pub base_url: String,
    pub model: String,
    /// Keeps the key of the pseudonyms, what was spent today, and recorded answers.
    #[serde(default = "default_dir")]
    pub dir: PathBuf,
    /// Environment variable that holds the key. Without this and `key_file` none is sent.
    pub key_env: Option<String>,
    pub key_file: Option<PathBuf>,
    #[serde(default)]
    pub key_header: KeyHeader,
    /// Asks for JSON by `response_format`; off for endpoints that refuse the field.
    #[serde(default = "default_true")]
    pub json_mode: bool,
    /// Further fields of the request's body, such as `seed`.
    #[serde(default)]
    pub body: BTreeMap<String, serde_json::Value>,
    /// For everything that one incident asks, retries included.
    #[serde(default = "default_deadline", deserialize_with = "length")]
    pub deadline: Duration,
    /// Tries of one call, where the endpoint is busy or broken.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// Wait before the second try; doubles from try to try.
    #[serde(default = "default_backoff", deserialize_with = "length")]
    pub backoff: Duration,
    #[serde(default = "default_answer_tokens")]
    pub answer_tokens: u64,
    #[serde(default)]
    pub answer_tokens_field: AnswerTokensField,
    /// How often the model may ask for more evidence.
    #[serde(default = "default_evidence_requests")]
    pub evidence_requests: usize,
    #[serde(default)]
    pub usd_per_million_input_tokens: f64,
    #[serde(default)]
    pub usd_per_million_output_tokens: f64,
    /// A call with its tries counts once.
    #[serde(default = "default_calls_per_incident")]
    pub calls_per_incident: u64,
    #[serde(default = "default_tokens_per_incident")]
    pub tokens_per_incident: u64,
    #[serde(default = "default_usd_per_incident")]
    pub usd_per_incident: f64,
    #[serde(default = "default_calls_per_day")]
    pub calls_per_day: u64,
    #[serde(default = "default_tokens_per_day")]
    pub tokens_per_day: u64,
    #[serde(default = "default_usd_per_day")]
    pub usd_per_day: f64,
}

impl LlmConfig {
    /// What is wrong with the values, in words for the user.
    pub fn check(&self) -> Result<(), String> {
        self.endpoint().check()?;
        if self.model.is_empty() {
            return Err("[llm] `model` is empty".to_owned());
        }
        let money = [
            self.usd_per_incident,
            self.usd_per_day,
            self.usd_per_million_input_tokens,
            self.usd_per_million_output_tokens,
        ];
        if !money.iter().all(|usd| usd.is_finite() && *usd >= 0.0) {
            return Err("[llm] amounts of money are numbers from 0 on".to_owned());
        }
        if !(1..=100_000).contains(&self.answer_tokens) || self.evidence_requests > 10 {
            return Err(
                "[llm] `answer_tokens` is 1 to 100000, `evidence_requests` at most 10".to_owned()
            );
        }
        match self.body.keys().find(|k| NOT_IN_BODY.contains(&k.as_str())) {
            Some(key) if key.starts_with("max_") => Err(format!(
                "[llm.body] must not set `{key}`; use `answer_tokens` and `answer_tokens_field`"
            )),
            Some(key) => Err(format!("[llm.body] must not set `{key}`")),
            None => Ok(()),
        }
    }

    pub fn endpoint(&self) -> Endpoint<'_> {
        Endpoint {
            section: "llm",
            base_url: &self.base_url,
            path: "/chat/completions",
            key_env: &self.key_env,
            key_file: &self.key_file,
            key_header: self.key_header,
            deadline: self.deadline,
            attempts: self.attempts,
            backoff: self.backoff,
        }
    }

    /// US dollars for tokens read and written.
    pub fn cost(&self, tokens_in: u64, tokens_out: u64) -> f64 {
        (tokens_in as f64 * self.usd_per_million_input_tokens
            + tokens_out as f64 * self.usd_per_million_output_tokens)
            / 1e6
    }
}

/// A model that turns texts into vectors, behind any OpenAI-compatible embeddings endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsConfig {
    /// What comes before `/embeddings`.
    pub base_url: String,
    pub model: String,
    /// Keeps the key of the pseudonyms; best the same as that of `[llm]`.
    #[serde(default = "default_dir")]
    pub dir: PathBuf,
    /// Environment variable that holds the key. Without this and `key_file` none is sent.
    pub key_env: Option<String>,
    pub key_file: Option<PathBuf>,
    #[serde(default)]
    pub key_header: KeyHeader,
    /// For one request, retries included.
    #[serde(default = "default_deadline", deserialize_with = "length")]
    pub deadline: Duration,
    /// Tries of one request, where the endpoint is busy or broken.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// Wait before the second try; doubles from try to try.
    #[serde(default = "default_backoff", deserialize_with = "length")]
    pub backoff: Duration,
    /// Texts of one request.
    #[serde(default = "default_batch")]
    pub batch: usize,
}

impl EmbeddingsConfig {
    /// What is wrong with the values, in words for the user.
    pub fn check(&self) -> Result<(), String> {
        self.endpoint().check()?;
        if self.model.is_empty() {
            return Err("[embeddings] `model` is empty".to_owned());
        }
        if !(1..=2_048).contains(&self.batch) {
            return Err("[embeddings] `batch` is 1 to 2048".to_owned());
        }
        Ok(())
    }

    pub fn endpoint(&self) -> Endpoint<'_> {
        Endpoint {
            section: "embeddings",
            base_url: &self.base_url,
            path: "/embeddings",
            key_env: &self.key_env,
            key_file: &self.key_file,
            key_header: self.key_header,
            deadline: self.deadline,
            attempts: self.attempts,
            backoff: self.backoff,
        }
    }
}

fn default_batch() -> usize {
    64
}

fn default_dir() -> PathBuf {
    "faultline-llm".into()
}

fn default_true() -> bool {
    true
}

fn default_deadline() -> Duration {
    Duration::from_secs(60)
}

fn default_attempts() -> u32 {
    3
}

fn default_backoff() -> Duration {
    Duration::from_millis(500)
}

fn default_answer_tokens() -> u64 {
    1_024
}

fn default_evidence_requests() -> usize {
    2
}

fn default_calls_per_incident() -> u64 {
    4
}

fn default_tokens_per_incident() -> u64 {
    100_000
}

fn default_usd_per_incident() -> f64 {
    0.5
}

fn default_calls_per_day() -> u64 {
    500
}

fn default_tokens_per_day() -> u64 {
    5_000_000
}

fn default_usd_per_day() -> f64 {
    10.0
}

fn length<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let nanos = interval::parse(&text).and_then(|n| u64::try_from(n).ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| {
        serde::de::Error::custom(format!("{text:?} is no length of time; write \"30s\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, more: &str) -> Result<LlmConfig, String> {
        let text = format!("base_url = {url:?}\nmodel = \"m\"\n{more}");
        let config: LlmConfig = toml::from_str(&text).map_err(|e| e.message().to_owned())?;
        config.check().map(|()| config)
    }

    #[test]
    fn endpoints_of_all_makes() {
        for (base, url) in [
            ("https://api.example.com/v1", "https://api.example.com/v1/chat/completions"),
            ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1/chat/completions"),
            (
                "https://x.example.com/openai/deployments/d?api-version=1",
                "https://x.example.com/openai/deployments/d/chat/completions?api-version=1",
            ),
            (
                "http://vllm.models:8000/chat/completions",
                "http://vllm.models:8000/chat/completions",
            ),
        ] {
            assert_eq!(config(base, "").unwrap().endpoint().url().unwrap().as_str(), url);
        }
    }

    #[test]
    fn addresses_that_must_not_be_asked_are_refused() {
        for url in [
            "http://169.254.169.254/latest",
            "http://2852039166/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fe80::1]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[64:ff9b:1::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://[2001:0:4136:e378:8000:63bf:5601:5601]/",
            "http://[::169.254.169.254]/",
            "http://0.0.0.0/",
            "https://аpi.example.com/v1",
            "https://xn--pi-7kc.example.com/v1",
            "ftp://example.com",
            "https://user:pass@example.com",
            "no url",
        ] {
            assert!(config(url, "").is_err(), "{url}");
        }
    }

    #[test]
    fn addresses_of_others_may_be_asked() {
        for host in ["[::1]", "[64:ff9b::808:808]", "[2001:db8::1]", "[2002:808:808::1]"] {
            config(&format!("https://{host}/v1"), "").unwrap();
        }
    }

    #[test]
    fn values_are_checked_and_unknown_keys_refused() {
        let url = "https://api.example.com/v1";
        for more in [
            "key_env = \"A\"\nkey_file = \"b\"",
            "attempts = 0",
            "deadline = \"soon\"",
            "usd_per_day = -1.0",
            "evidence_requests = 11",
            "modell = \"x\"",
            "body = { messages = [] }",
            "body = { n = 5 }",
            "body = { max_tokens = 100000 }",
            "answer_tokens_field = \"max\"",
        ] {
            assert!(config(url, more).is_err(), "{more}");
        }
        assert!(config("http://example.com", "key_env = \"A\"").unwrap_err().contains("https"));
        assert!(config("http://localhost:1", "key_env = \"A\"").is_ok());
        let azure = config(url, "key_header = \"api-key\"\nbody = { seed = 1 }").unwrap();
        assert_eq!((azure.key_header, azure.body["seed"].as_i64()), (KeyHeader::ApiKey, Some(1)));
    }
}
