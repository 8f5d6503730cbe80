//! Texts as vectors of an endpoint. They leave redacted, as everything does.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::pseudonym::Pseudonyms;
use super::redact::Redacted;
use super::settings::EmbeddingsConfig;
use crate::error::{Error, Result};

/// Bytes of a text that are sent; models read a few thousand words.
const TEXT_BYTES_MAX: usize = 8_000;

/// A larger reply is not read to its end: 2,048 vectors of 3,072 numbers fit.
const REPLY_BYTES_MAX: usize = 256 << 20;

/// Numbers of a vector.
const DIMENSIONS_MAX: usize = 16_384;

pub struct Embedder {
    client: Client,
    model: String,
    key: [u8; 32],
    deadline: Duration,
    batch: usize,
}

impl Embedder {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The folder of the configuration cannot be used, or the key for the endpoint not be read.
    pub fn open(config: &EmbeddingsConfig) -> Result<Self> {
        config.check().map_err(|m| Error::usage(m, "correct [embeddings]"))?;
        Ok(Self {
            client: Client::new(config.endpoint())?,
            model: config.model.clone(),
            key: Pseudonyms::key_in(&config.dir)?,
            deadline: config.deadline,
            batch: config.batch,
        })
    }

    pub fn model(&self) -> &str {
        &self.model
    }

    /// Texts that are sent together.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The vectors of texts, at most [`Self::batch`], in their order and of one length.
    ///
    /// # Errors
    /// [`Error::Endpoint`] where there is no such answer.
    pub async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let mut names = Pseudonyms::new(self.key);
        let mut redacted = |text: &String| {
            let text = Redacted::text(text, &mut names);
            let text = text.as_str();
            text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
        };
        let input: Vec<String> = texts.iter().map(&mut redacted).collect();
        let body = json!({ "model": self.model, "input": input }).to_string();
        let read = |bytes: &[u8]| vectors(bytes, texts.len());
        let answer = self.client.call(&body, self.deadline, REPLY_BYTES_MAX, read).await;
        answer.map_err(|why| Error::Endpoint { section: "embeddings", message: why.text() })
    }
}

/// `count` vectors by their `index`.
fn vectors(bytes: &[u8], count: usize) -> Option<Vec<Vec<f32>>> {
    let reply: Value = serde_json::from_slice(bytes).ok()?;
    let data = reply["data"].as_array().filter(|data| data.len() == count)?;
    let mut out: Vec<Vec<f32>> = vec![Vec::new(); count];
    for (place, item) in data.iter().enumerate() {
        let index = item["index"].as_u64().map_or(Some(place), |i| usize::try_from(i).ok())?;
        let numbers = item["embedding"].as_array().filter(|n| n.len() <= DIMENSIONS_MAX)?;
        let vector: Option<Vec<f32>> =
            numbers.iter().map(|n| n.as_f64().map(|n| n as f32)).collect();
        *out.get_mut(index)? = vector.filter(|v| v.iter().all(|n| n.is_finite()))?;
    }
    let length = out.first().map_or(0, Vec::len);
    (count == 0 || length > 0).then_some(())?;
    out.iter().all(|v| v.len() == length).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::super::planted;
    use super::super::stub::{Does, Stub};
    use super::*;

    fn embedder(url: &str, dir: &std::path::Path) -> Embedder {
        let text = format!("base_url = {url:?}\nmodel = \"e\"\nbackoff = \"1ms\"\ndir = {dir:?}");
        Embedder::open(&toml::from_str(&text).unwrap()).unwrap()
    }

    fn reply(vectors: &Value) -> Does {
        let body = json!({ "data": vectors }).to_string();
        let length = body.len();
        Does::SendsText(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    #[tokio::test]
    async fn vectors_come_back_in_the_order_of_their_texts() {
        let stub = Stub::start(|n, request| match n {
            0 => Does::Status(429),
            _ => {
                assert_eq!((&request["model"], &request["input"][1]), (&json!("e"), &json!("b")));
                reply(&json!([
                    { "index": 1, "embedding": [0.0, 2.0] },
                    { "index": 0, "embedding": [1.0, 0.5] },
                ]))
            }
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let texts = ["a", "b"].map(str::to_owned);
        let vectors = embedder(&stub.url, dir.path()).embed(&texts).await.unwrap();
        assert_eq!(vectors, [vec![1.0, 0.5], vec![0.0, 2.0]]);
        assert!(stub.requests.lock().unwrap()[0].0.starts_with("post /v1/embeddings"));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_fit_is_an_error() {
        for vectors in [
            json!([]),
            json!([{ "index": 0, "embedding": [1.0] }, { "index": 0, "embedding": [1.0] }]),
            json!([{ "index": 0, "embedding": [1.0] }, { "index": 1, "embedding": [1.0, 2.0] }]),
            json!([{ "index": 0, "embedding": [1.0] }, { "index": 7, "embedding": [1.0] }]),
            json!([{ "index": 0, "embedding": ["x"] }, { "index": 1, "embedding": [1.0] }]),
        ] {
            let stub = Stub::start(move |_, _| reply(&vectors)).await;
            let dir = tempfile::tempdir().unwrap();
            let texts = ["a", "b"].map(str::to_owned);
            let error = embedder(&stub.url, dir.path()).embed(&texts).await.unwrap_err();
            assert!(error.to_string().contains("[embeddings]"), "{error}");
            assert!(!error.is_bad_input());
        }
    }

    #[tokio::test]
    async fn no_secret_leaves_in_a_text() {
        let stub = Stub::start(|_, request| {
            let count = request["input"].as_array().unwrap().len();
            let vector = |n| json!({ "index": n, "embedding": [1.0] });
            reply(&(0..count).map(vector).collect())
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let embedder = embedder(&stub.url, dir.path());
        let secrets = planted::secrets(500);
        for several in secrets.chunks(50) {
            let texts: Vec<String> = several
                .iter()
                .zip(0..)
                .map(|(s, n)| format!("## Log in\n{}", planted::sentences(s)[n % 4]))
                .collect();
            embedder.embed(&texts).await.unwrap();
        }
        let bodies = stub.bodies();
        assert!(bodies.len() == 10 && bodies[0].contains("Log in"));
        for secret in &secrets {
            let core = serde_json::to_string(&secret.core).unwrap();
            let core = core.trim_matches('"');
            assert!(!bodies.iter().any(|b| b.contains(core)), "{}: {core}", secret.kind);
        }
    }
}
