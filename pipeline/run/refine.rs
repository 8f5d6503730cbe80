//! Where a language model comes into a run. Live, it has a task of its own and nothing waits for
//! it: what it has said by the time an incident closes counts. A replay is not in a hurry and must
//! come out the same every time, so it waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::diagnose::advise::{Advisor, Brief, Call, Passage, Refined};
use crate::model::{Diagnosis, Incident, Nanos};

/// Diagnoses that may wait for the model; the statistical ranking of any more stands.
const WAITING_MAX: usize = 64;

/// Answers kept for incidents that are still open; the oldest go first.
const ANSWERED_MAX: usize = 1024;

pub enum Refiner {
    Off,
    Waits(Arc<Advisor>),
    Live(Background),
}

pub struct Background {
    queue: mpsc::Sender<Brief>,
    answered: Arc<Mutex<VecDeque<Refined>>>,
    task: JoinHandle<()>,
}

impl Drop for Background {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Refiner {
    /// Must be called within a tokio runtime.
    pub fn new(advisor: Option<Arc<Advisor>>, live: bool) -> Self {
        match advisor {
            None => Self::Off,
            Some(advisor) if live => Self::Live(Background::start(advisor)),
            Some(advisor) => Self::Waits(advisor),
        }
    }

    /// A model may change a diagnosis after it was made.
    pub fn asks(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// A diagnosis is there: live, the model is told of it.
    pub fn submit(&self, incident: &Incident, diagnosis: &Diagnosis, beside: Beside) {
        let Self::Live(background) = self else { return };
        if background.queue.try_send(brief(incident, diagnosis, beside)).is_err() {
            tracing::warn!(incident = incident.id, "the model is behind and is not asked");
        }
    }

    /// The incident is over: its diagnosis, as far as a model has improved on it.
    pub async fn finish(
        &self,
        incident: &Incident,
        diagnosis: Diagnosis,
        beside: Beside,
    ) -> Refined {
        match self {
            Self::Off => Refined { diagnosis, calls: Vec::new() },
            Self::Waits(advisor) => advisor.refine(&brief(incident, &diagnosis, beside)).await,
            Self::Live(background) => background.take(diagnosis),
        }
    }
}

/// What a model is told beside the diagnosis.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// `(caller, callee)`
    pub calls: Vec<(String, String)>,
    pub passages: Vec<Passage>,
}

fn brief(incident: &Incident, diagnosis: &Diagnosis, beside: Beside) -> Brief {
    let Beside { calls, passages } = beside;
    let mut began: BTreeMap<String, Nanos> = BTreeMap::new();
    for signal in &incident.signals {
        let first = began.entry(signal.service.clone()).or_insert(signal.window_start);
        *first = signal.window_start.min(*first);
    }
    Brief { diagnosis: diagnosis.clone(), calls, began, passages }
}

impl Background {
    fn start(advisor: Arc<Advisor>) -> Self {
        let (queue, mut work) = mpsc::channel::<Brief>(WAITING_MAX);
        let answered = Arc::new(Mutex::new(VecDeque::new()));
        let out = Arc::clone(&answered);
        let task = tokio::spawn(async move {
            while let Some(brief) = work.recv().await {
                let refined = advisor.refine(&brief).await;
                let mut answered = out.lock().unwrap_or_else(PoisonError::into_inner);
                answered.push_back(refined);
                if answered.len() > ANSWERED_MAX {
                    answered.pop_front();
                }
            }
        });
        Self { queue, answered, task }
    }

    /// The diagnosis as the model has ranked it, with all that the model was asked about its
    /// incident. What it said of an earlier diagnosis, which knew less, ranks this one not.
    fn take(&self, diagnosis: Diagnosis) -> Refined {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = Refined { diagnosis, calls: Vec::new() };
        answered.retain(|answer| {
            let Refined { diagnosis: said, calls } = answer;
            if said.incident_id != now.diagnosis.incident_id {
                return true;
            }
            let before = now.calls.len() as u64;
            let later = calls.iter().map(|c| Call { round: c.round + before, ..c.clone() });
            now.calls.extend(later);
            if said.diagnosed_at == now.diagnosis.diagnosed_at {
                now.diagnosis.clone_from(said);
            }
            false
        });
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::advise::Mode;
    use crate::knowledge::samples::two_cases;

    #[tokio::test]
    async fn nothing_waits_for_a_model_that_says_nothing() {
        // Connections are taken by the kernel and never answered.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "base_url = \"http://{}\"\nmodel = \"m\"\ndir = {:?}\ndeadline = \"1h\"",
            silent.local_addr().unwrap(),
            dir.path().join("llm"),
        );
        let config = toml::from_str(&config).unwrap();
        let advisor = Advisor::open(&config, Mode::Live, Arc::new(|| 0)).unwrap();
        let refiner = Refiner::new(Some(Arc::new(advisor)), true);
        let case = &two_cases()[0];
        for n in 0..4 * WAITING_MAX {
            let incident = Incident { id: n.to_string(), ..case.incident.clone() };
            refiner.submit(&incident, &case.diagnosis, Beside::default());
        }
        let refined =
            refiner.finish(&case.incident, case.diagnosis.clone(), Beside::default()).await;
        assert_eq!(refined.diagnosis, case.diagnosis);
        assert!(refined.calls.is_empty());
    }

    #[tokio::test]
    async fn what_was_said_of_an_earlier_diagnosis_is_kept_but_ranks_no_later_one() {
        let whole = two_cases()[0].diagnosis.clone();
        let call = || Call { round: 1, ..Call::default() };
        let said = |diagnosed_at, method: &str| Refined {
            diagnosis: Diagnosis { diagnosed_at, method: method.into(), ..whole.clone() },
            calls: vec![call(), Call { round: 2, ..call() }],
        };
        let taken = |answers: Vec<Refined>| {
            let background = Background {
                queue: mpsc::channel(1).0,
                answered: Arc::new(Mutex::new(answers.into())),
                task: tokio::spawn(async {}),
            };
            let refined = background.take(whole.clone());
            let rounds: Vec<u64> = refined.calls.iter().map(|call| call.round).collect();
            (refined.diagnosis.method, rounds)
        };
        let (early, now) = (whole.diagnosed_at - 1, whole.diagnosed_at);
        assert_eq!(taken(vec![said(early, "early")]), (whole.method.clone(), vec![1, 2]));
        let both = vec![said(early, "early"), said(now, "now")];
        assert_eq!(taken(both), ("now".into(), vec![1, 2, 3, 4]));
    }

    #[test]
    fn a_service_began_with_its_first_abnormal_window() {
        let case = &two_cases()[0];
        let mut incident = case.incident.clone();
        incident.signals.reverse();
        let began = brief(&incident, &case.diagnosis, Beside::default()).began;
        assert_eq!(began["cart"], case.incident.signals[0].window_start);
    }
}
