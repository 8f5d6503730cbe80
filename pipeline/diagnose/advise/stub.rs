//! A chat endpoint for tests.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the endpoint does with one request.
pub enum Does {
    /// A chat completion with this text.
    Says(String),
    Status(u16),
    /// Sends these bytes as they are.
    Sends(&'static str),
    SendsText(String),
    /// Sends these bytes and then keeps the connection open.
    Stalls(&'static str),
}

pub struct Stub {
    pub url: String,
    /// Heads and bodies of the requests so far.
    pub requests: Arc<Mutex<Vec<(String, String)>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stub {
    /// Answers by the number of the request, from 0, and its body.
    pub async fn start(does: impl Fn(usize, &Value) -> Does + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let server = tokio::spawn(async move {
            let mut stalled = Vec::new();
            for n in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some((head, body)) = request(&mut stream).await else { continue };
                let document: Value = serde_json::from_str(&body).unwrap();
                seen.lock().unwrap().push((head, body));
                let reply = match does(n, &document) {
                    Does::Says(text) => http(200, &completion(&text)),
                    Does::Status(status) => http(status, "{}"),
                    Does::Sends(bytes) => bytes.to_owned(),
                    Does::SendsText(bytes) => bytes,
                    Does::Stalls(bytes) => {
                        // The client may have given up already.
                        let _gone = stream.write_all(bytes.as_bytes()).await;
                        stalled.push(stream);
                        continue;
                    }
                };
                let _gone = stream.write_all(reply.as_bytes()).await;
                let _gone = stream.shutdown().await;
            }
        });
        Self { url, requests, server }
    }

    pub fn bodies(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }
}

async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
            let length: usize = length.unwrap().trim().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                let body = bytes[end + 4..end + 4 + length].to_vec();
                return Some((head, String::from_utf8(body).unwrap()));
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

fn http(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn completion(text: &str) -> String {
    let message = json!({ "role": "assistant", "content": text });
    json!({
        "choices": [{ "message": message }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 10 },
    })
    .to_string()
}
