//! Notifications over HTTP, in the form of Alertmanager's webhook (version 4), so that whatever
//! takes those takes these.
//!
//! One task sends them in order, each until the receiver answers 2xx; detection waits for none.
//! What has not been taken is part of a checkpoint, so each arrives at least once. A receiver that
//! refuses one for good loses it, and the log says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::diagnose::advise::without_secrets;
use crate::diagnose::advise::{Guarded, is_forbidden};
use crate::error::{Error, Result};
use crate::model::Nanos;
use crate::monitor::notify::{Alert, Notification};
use crate::source::timestamp;

/// Notifications that may wait for the receiver; of more, the oldest is given up.
const WAITING_MAX: usize = 1024;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);

/// Waits between tries: the first, which doubles, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// The end of an alert that fires, as Alertmanager writes it.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// The `[webhook]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where notifications are posted.
    pub url: Option<String>,
    /// Environment variable that holds the URL, where it is a secret.
    pub url_env: Option<String>,
}

impl WebhookConfig {
    /// What is wrong with the values, in words for the user.
    pub fn check(&self) -> Result<(), String> {
        match (&self.url, &self.url_env) {
            (Some(url), None) => parse(url).map(|_| ()),
            (None, Some(_)) => Ok(()),
            _ => Err("[webhook] needs one of `url` and `url_env`".to_owned()),
        }
    }

    /// Where notifications are posted.
    ///
    /// # Errors
    /// [`Error::Usage`] without a usable URL.
    pub fn address(&self) -> Result<Url> {
        let wrong = |message: String| Error::usage(message, "correct [webhook]");
        let url = match (&self.url, &self.url_env) {
            (Some(url), _) => url.clone(),
            (None, name) => {
                let name = name.clone().unwrap_or_default();
                std::env::var(&name).map_err(|_| {
                    Error::usage(format!("{name} is not set"), "put the URL of [webhook] into it")
                })?
            }
        };
        parse(&url).map_err(wrong)
    }
}

fn parse(url: &str) -> Result<Url, String> {
    // The URL may be a secret, so it is not repeated.
    if !url.is_ascii() {
        return Err(
            "the URL of [webhook] has letters that only look like those of a host; write it \
                    in ASCII"
                .to_owned(),
        );
    }
    let url = Url::parse(url).map_err(|e| format!("the URL of [webhook] is none: {e}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        let scheme = url.scheme();
        return Err(format!("the URL of [webhook] begins with {scheme}:, not http: or https:"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if host.parse().is_ok_and(is_forbidden) {
        return Err("the URL of [webhook] is an address that no receiver lives at".to_owned());
    }
    Ok(url)
}

/// Sends notifications in the background.
pub struct Webhook {
    waiting: Arc<Waiting>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Waiting {
    /// Oldest first, numbered.
    queue: Mutex<VecDeque<(u64, Notification)>>,
    more: Notify,
}

impl Waiting {
    fn queue(&self) -> MutexGuard<'_, VecDeque<(u64, Notification)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhook {
    /// Must be called within a tokio runtime; connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Usage`] without a usable URL.
    pub fn start(config: &WebhookConfig) -> Result<Self> {
        let url = config.address()?;
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .dns_resolver(Guarded)
            .timeout(TRY)
            .build()
            .map_err(|e| Error::usage(format!("no HTTP client: {e}"), "check the TLS set-up"))?;
        let waiting = Arc::new(Waiting::default());
        let task = tokio::spawn(deliver(http, url, Arc::clone(&waiting)));
        Ok(Self { waiting, task })
    }

    pub fn send(&self, notification: Notification) {
        let mut queue = self.waiting.queue();
        let number = queue.back().map_or(0, |(last, _)| last + 1);
        queue.push_back((number, notification));
        if queue.len() > WAITING_MAX {
            queue.pop_front();
            tracing::warn!("the receiver of notifications is behind; the oldest one is given up");
        }
        drop(queue);
        self.waiting.more.notify_one();
    }

    /// What the receiver has not taken, oldest first.
    pub fn unsent(&self) -> Vec<Notification> {
        self.waiting.queue().iter().map(|(_, n)| n.clone()).collect()
    }
}

async fn deliver(http: Client, url: Url, waiting: Arc<Waiting>) {
    loop {
        let next = waiting.queue().front().cloned();
        let Some((number, notification)) = next else {
            waiting.more.notified().await;
            continue;
        };
        let mut wait = BACKOFF.0;
        while let Some(problem) = post(&http, &url, &notification).await {
            tracing::warn!(problem, ?wait, "a notification was not taken; it is sent again");
            tokio::time::sleep(wait).await;
            wait = (2 * wait).min(BACKOFF.1);
        }
        let mut queue = waiting.queue();
        if queue.front().is_some_and(|(first, _)| *first == number) {
            queue.pop_front();
        }
    }
}

/// One try; what went wrong if another one may help.
async fn post(http: &Client, url: &Url, notification: &Notification) -> Option<String> {
    let body = message(notification).to_string();
    let request = http.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body);
    let status = match request.send().await {
        Ok(response) => response.status(),
        Err(error) => return Some(error.without_url().to_string()),
    };
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || passing.contains(&status) {
        return Some(status.to_string());
    }
    if !status.is_success() {
        tracing::error!(%status, "the receiver refuses a notification; it is given up");
    }
    None
}

/// The body of a request.
fn message(notification: &Notification) -> Value {
    let group = &notification.group_labels;
    let pairs: Vec<String> =
        group.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let at = notification.at;
    let common = |labels: &Alert| {
        let shared = |(name, value): &(&String, &String)| {
            notification.alerts.iter().all(|a| a.labels.get(*name) == Some(value))
        };
        json!(labels.labels.iter().filter(shared).collect::<std::collections::BTreeMap<_, _>>())
    };
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{{}}}", pairs.join(", ")),
        "truncatedAlerts": 0,
        "status": status(notification.is_resolved()),
        "receiver": "webhook",
        "groupLabels": group,
        "commonLabels": notification.alerts.first().map_or(json!({}), common),
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": notification.alerts.iter().map(|alert| one(alert, at)).collect::<Vec<_>>(),
    })
}

/// Annotations may quote a line of a log, a label or a change, so secrets are taken out.
fn one(alert: &Alert, at: Nanos) -> Value {
    let over = alert.ends_at.filter(|end| *end <= at);
    let mut annotations = alert.annotations.clone();
    annotations.insert("summary".to_owned(), alert.title.clone());
    for text in annotations.values_mut() {
        *text = without_secrets(text);
    }
    json!({
        "status": status(over.is_some()),
        "labels": alert.labels,
        "annotations": annotations,
        "startsAt": timestamp::format(alert.starts_at),
        "endsAt": over.map_or(NO_END.to_owned(), timestamp::format),
        "generatorURL": "",
        "fingerprint": alert.incident_id,
    })
}

fn status(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "firing" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SECOND;
    use crate::monitor::notify::Reason;

    fn alert(incident: &str, severity: &str, ends_at: Option<Nanos>) -> Alert {
        let labels = [("cluster", "prod"), ("incident", incident), ("severity", severity)];
        Alert {
            incident_id: incident.to_owned(),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            title: format!("{incident} is slow"),
            annotations: [("cause".to_owned(), "db: cpu".to_owned())].into(),
            starts_at: SECOND,
            ends_at,
        }
    }

    #[test]
    fn a_message_has_the_form_of_alertmanagers() {
        let notification = Notification {
            at: 10 * SECOND,
            reason: Reason::SomeResolved,
            group_labels: [("cluster".to_owned(), "prod".to_owned())].into(),
            alerts: vec![alert("a", "warning", None), alert("b", "warning", Some(9 * SECOND))],
        };
        let message = message(&notification);
        assert_eq!(message["status"], "firing");
        assert_eq!(message["groupKey"], "{}:{cluster=\"prod\"}");
        assert_eq!(message["commonLabels"], json!({ "cluster": "prod", "severity": "warning" }));
        assert_eq!(message["alerts"][0]["endsAt"], NO_END);
        let over = &message["alerts"][1];
        assert_eq!((&over["status"], &over["fingerprint"]), (&json!("resolved"), &json!("b")));
        assert_eq!(over["annotations"]["summary"], "b is slow");
        assert!(over["endsAt"].as_str().unwrap().starts_with("1970-01-01T00:00:09"));
    }

    #[test]
    fn a_receiver_is_told_no_secret_that_telemetry_gave_away() {
        let evidence = "db: new log template, 9 lines: login as ada failed, password=hunter2";
        let proposed = "roll back the settings of db to AKIAIOSFODNN7EXAMPLE";
        let texts = [("evidence", evidence), ("proposed", proposed)];
        let mut alert = alert("a", "warning", None);
        alert.title = "db: logins_total{user=\"ada\",password=\"hunter2\"} up".to_owned();
        alert.annotations = texts.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let told = one(&alert, 0).to_string();
        assert!(told.contains("login as ada failed") && told.contains("logins_total"), "{told}");
        assert!(!told.contains("hunter2") && !told.contains("AKIA"), "{told}");
    }

    #[test]
    fn a_url_is_needed_once() {
        let config = |url: Option<&str>, env: Option<&str>| WebhookConfig {
            url: url.map(str::to_owned),
            url_env: env.map(str::to_owned),
        };
        config(Some("http://127.0.0.1:9/x"), None).check().unwrap();
        config(None, Some("HOOK")).check().unwrap();
        for (url, env) in [(None, None), (Some("http://a"), Some("B")), (Some("ftp://a"), None)] {
            assert!(config(url, env).check().unwrap_err().contains("[webhook]"));
        }
        for url in ["http://169.254.169.254/x", "https://[64:ff9b::a9fe:a9fe]/", "http://0/"] {
            assert!(config(Some(url), None).check().unwrap_err().contains("address"), "{url}");
        }
        let unset = config(None, Some("FAULTLINE_NO_SUCH_VARIABLE")).address().unwrap_err();
        assert!(unset.to_string().contains("FAULTLINE_NO_SUCH_VARIABLE is not set"), "{unset}");
    }
}
