//! Asks the model within its limits and falls back to statistics.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::answer::{self, Answer};
use super::breaker::Breaker;
use super::budget::{Budget, Spent};
use super::client::{self, Client, Reply};
use super::conversation::Conversation;
use super::pseudonym::Pseudonyms;
use super::record::{Cache, Failed, Mode, Outcome, Recordings};
use super::settings::LlmConfig;
use super::skip::{Kind, Notice, Skip};
use super::{Brief, Call, METHOD, Refined, suspicion, verdict};
use crate::error::Error;
use crate::model::{Cause, Evidence, Nanos};

/// Tells the time of day, which is what budgets and the breaker go by; results do not depend on it.
pub type Clock = Arc<dyn Fn() -> Nanos + Send + Sync>;

pub struct Advisor {
    config: LlmConfig,
    mode: Mode,
    /// Absent where recorded answers are replayed.
    client: Option<Client>,
    key: [u8; 32],
    recordings: Recordings,
    state: Mutex<State>,
    clock: Clock,
}

impl std::fmt::Debug for Advisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Advisor").field("model", &self.config.model).finish_non_exhaustive()
    }
}

struct State {
    budget: Budget,
    breaker: Breaker,
    cache: Cache,
    /// What a person was told of.
    told: BTreeSet<Kind>,
}

/// A call and how it ended.
struct Asked {
    outcome: Outcome,
    spent: Spent,
}

impl Advisor {
    /// Creates the folder of `config` with the key of the pseudonyms where it is missing; connects
    /// to nothing.
    ///
    /// # Errors
    /// The folder cannot be used, or the key for the endpoint cannot be read.
    pub fn open(config: &LlmConfig, mode: Mode, clock: Clock) -> crate::error::Result<Self> {
        config.check().map_err(|m| Error::usage(m, "correct [llm]"))?;
        let recordings = Recordings::open(&config.dir.join("answers"))?;
        let key = Pseudonyms::key_in(&config.dir)?;
        let client = match mode {
            Mode::Live | Mode::Record => Some(Client::new(config.endpoint())?),
            Mode::Replay => None,
        };
        let budget = Budget::new(config, config.dir.join("spent.json"));
        let state = Mutex::new(State {
            budget,
            breaker: Breaker::default(),
            cache: Cache::default(),
            told: BTreeSet::new(),
        });
        Ok(Self { config: config.clone(), mode, client, key, recordings, state, clock })
    }

    pub fn model(&self) -> &str {
        &self.config.model
    }

    /// Asks the model about a diagnosis. Never fails: without a usable answer the diagnosis comes
    /// back as it was.
    pub async fn refine(&self, brief: &Brief) -> Refined {
        let mut calls = Vec::new();
        let causes = match brief.diagnosis.causes.len() {
            // Nothing to choose between.
            0 | 1 => None,
            _ => self.consult(brief, &mut calls).await,
        };
        let mut diagnosis = brief.diagnosis.clone();
        if let Some(causes) = causes {
            diagnosis.causes = causes;
            diagnosis.method = METHOD.to_owned();
        }
        Refined { diagnosis, calls }
    }

    async fn consult(&self, brief: &Brief, calls: &mut Vec<Call>) -> Option<Vec<Cause>> {
        let started = Instant::now();
        let mut talk = Conversation::new(brief, Pseudonyms::new(self.key));
        let flagged = suspicious(brief);
        let (mut of_incident, mut supplied, mut repaired) = (Spent::default(), 0, false);
        loop {
            let prompt = client::body(&self.config, talk.messages());
            let hash = blake3::hash(prompt.as_bytes()).to_hex().to_string();
            let left = self.config.deadline.saturating_sub(started.elapsed());
            let asked = self.ask(&hash, &prompt, &mut of_incident, left).await;
            let mut call = Call {
                round: calls.len() as u64 + 1,
                model: self.config.model.clone(),
                prompt_hash: hash,
                prompt,
                answer: String::new(),
                verdict: "failed",
                detail: String::new(),
                tokens: 0,
                cost_usd: 0.0,
                latency_ms: 0,
                flagged,
            };
            let reply = match self.heard(asked, &mut call) {
                Some(reply) => reply,
                None => {
                    calls.push(call);
                    return None;
                }
            };
            call.answer = talk.names().restore(&reply.content);
            let may_ask = supplied < self.config.evidence_requests;
            let step = next_step(&talk, &reply.content, may_ask);
            (call.verdict, call.detail) = step.verdict();
            calls.push(call);
            match step {
                Step::Accept(causes) => return Some(causes),
                Step::Unknown => return None,
                Step::Supply(answer) => {
                    supplied += 1;
                    talk.supply(&reply.content, &answer.requests);
                }
                Step::Reject(_) if repaired => {
                    self.tell(Notice::Rejected);
                    return None;
                }
                Step::Reject(problems) => {
                    repaired = true;
                    talk.repair(&reply.content, &problems);
                }
            }
        }
    }

    /// The reply, if there is one; what there was is noted in `call`.
    fn heard(&self, asked: Result<Asked, Skip>, call: &mut Call) -> Option<Reply> {
        let Asked { outcome, spent } = match asked {
            Ok(asked) => asked,
            Err(why) => {
                (call.verdict, call.detail) = ("skipped", why.as_str().to_owned());
                self.tell(Notice::Skipped(why));
                return None;
            }
        };
        (call.tokens, call.cost_usd) = (spent.tokens, spent.usd);
        match outcome {
            Outcome::Reply(reply) => {
                call.latency_ms = reply.latency_ms;
                Some(reply)
            }
            Outcome::Failed(Failed { why, latency_ms }) => {
                call.latency_ms = latency_ms;
                call.detail = why.text();
                self.tell(Notice::Failed(why));
                None
            }
        }
    }

    /// Tells a person once of what went wrong, and not with every incident.
    fn tell(&self, notice: Notice) {
        let (what, remedy) = (notice.what(), notice.remedy());
        if self.with_state(|s| s.told.insert(notice.kind())) {
            tracing::warn!("{what}: the statistical diagnosis stands; {remedy}");
        }
    }

    /// The answer to a request, or why it may not be asked.
    async fn ask(
        &self,
        hash: &str,
        prompt: &str,
        of_incident: &mut Spent,
        deadline: Duration,
    ) -> Result<Asked, Skip> {
        // A token is a byte at least.
        let tokens = prompt.len() as u64;
        let usd = self.config.cost(tokens, self.config.answer_tokens);
        let worst = Spent { calls: 1, tokens: tokens + self.config.answer_tokens, usd };
        let Some(client) = &self.client else {
            let outcome = self.recordings.find(hash).ok_or(Skip::NotRecorded)?;
            let spent = self.used(&outcome, worst);
            return Ok(Asked { outcome, spent });
        };
        if let Some(reply) = self.with_state(|s| s.cache.find(hash).cloned()) {
            return Ok(self.asked_before(reply, worst));
        }
        let now = (self.clock)();
        self.reserve(of_incident, worst, now)?;
        let started = Instant::now();
        let outcome = match client.send(prompt, deadline).await {
            Ok(reply) => Outcome::Reply(reply),
            Err(why) => {
                let latency_ms = started.elapsed().as_millis() as u64;
                Outcome::Failed(Failed { why, latency_ms })
            }
        };
        let used = self.used(&outcome, worst);
        self.with_state(|s| settle(s, of_incident, [worst, used], now));
        self.learn(hash, &outcome);
        Ok(Asked { outcome, spent: used })
    }

    /// A recording of the same question tells the same, as its replay will.
    fn asked_before(&self, reply: Reply, worst: Spent) -> Asked {
        if self.mode == Mode::Record {
            let outcome = Outcome::Reply(reply);
            return Asked { spent: self.used(&outcome, worst), outcome };
        }
        let reply = Reply { latency_ms: 0, ..reply };
        Asked { outcome: Outcome::Reply(reply), spent: Spent::default() }
    }

    fn reserve(&self, of_incident: &mut Spent, worst: Spent, now: Nanos) -> Result<(), Skip> {
        self.with_state(|s| {
            match s.budget.reserve(of_incident, worst, now) {
                Ok(None) => {}
                Ok(Some(limit)) => return Err(Skip::Budget(limit)),
                Err(error) => {
                    tracing::error!("no model is asked: its budget cannot be kept: {error}");
                    return Err(Skip::NoBook);
                }
            }
            // The breaker is asked last: it lets a single call through after its rest.
            if s.breaker.allows(now) {
                return Ok(());
            }
            settle(s, of_incident, [worst, Spent::default()], now);
            Err(Skip::BreakerOpen)
        })
    }

    fn learn(&self, hash: &str, outcome: &Outcome) {
        let now = (self.clock)();
        self.with_state(|s| match outcome {
            Outcome::Reply(reply) => {
                s.breaker.succeeded();
                s.cache.keep(hash, reply);
            }
            Outcome::Failed(_) => s.breaker.failed(now),
        });
        if self.mode == Mode::Record
            && let Err(error) = self.recordings.keep(hash, outcome)
        {
            tracing::error!("an answer could not be recorded: {error}");
        }
    }

    /// What a call has cost, or `unknown` where the endpoint does not say.
    fn used(&self, outcome: &Outcome, unknown: Spent) -> Spent {
        match outcome {
            Outcome::Reply(Reply { tokens: Some((read, written)), .. }) => {
                let usd = self.config.cost(*read, *written);
                Spent { calls: 1, tokens: read.saturating_add(*written), usd }
            }
            Outcome::Failed(Failed { why, .. }) if why.failure.is_free() => {
                Spent { calls: 1, ..Spent::default() }
            }
            // A call that failed late may have been charged for.
            Outcome::Reply(_) | Outcome::Failed(_) => unknown,
        }
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // The state is whole between any two statements that can fail.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn settle(state: &State, of_incident: &mut Spent, [worst, used]: [Spent; 2], now: Nanos) {
    if let Err(error) = state.budget.settle(of_incident, worst, used, now) {
        tracing::error!("the model's budget cannot be kept: {error}");
    }
}

/// What follows from a reply.
enum Step {
    Accept(Vec<Cause>),
    Unknown,
    Supply(Answer),
    Reject(Vec<String>),
}

impl Step {
    fn verdict(&self) -> (&'static str, String) {
        match self {
            Self::Accept(_) => ("accepted", String::new()),
            Self::Unknown => ("unknown", String::new()),
            Self::Supply(answer) => ("asked", format!("{} queries", answer.requests.len())),
            Self::Reject(problems) => ("rejected", problems.join("; ")),
        }
    }
}

fn next_step(talk: &Conversation<'_>, reply: &str, may_ask: bool) -> Step {
    match answer::read(reply) {
        Err(problem) => Step::Reject(vec![problem]),
        Ok(answer) if answer.unknown => Step::Unknown,
        Ok(answer) if answer.causes.is_empty() && answer.requests.is_empty() => Step::Unknown,
        Ok(answer) if answer.causes.is_empty() && may_ask => Step::Supply(answer),
        Ok(answer) if answer.causes.is_empty() => {
            Step::Reject(vec!["no more can be asked for".to_owned()])
        }
        Ok(answer) => match verdict::judge(talk, &answer) {
            Ok(causes) => Step::Accept(causes),
            Err(problems) => Step::Reject(problems),
        },
    }
}

fn suspicious(brief: &Brief) -> u64 {
    let texts = |e: &&Evidence| {
        [&e.subject, &e.service, &e.instance, &e.statement]
            .into_iter()
            .any(|text| suspicion::is_suspicious(text))
    };
    brief.diagnosis.evidence.iter().filter(texts).count() as u64
}
