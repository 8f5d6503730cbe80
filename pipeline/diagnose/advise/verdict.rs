//! Whether an answer stands, and what it may change.

use super::answer::{Answer, Claim};
use super::conversation::Conversation;
use crate::model::{Cause, MINUTE, Nanos};

/// A model may place a cause above another only if statistics give it at least this share of the
/// other's score: it decides between rivals and overturns nothing that is plain.
const RIVAL: f64 = 0.5;

/// Onsets are not dated better than by a window of a minute.
const TOLERANCE: Nanos = MINUTE;

/// The causes in the order that the answer asks for, as far as it may.
///
/// # Errors
/// What is wrong with the answer, by place.
pub fn judge(talk: &Conversation<'_>, answer: &Answer) -> Result<Vec<Cause>, Vec<String>> {
    let causes = &talk.brief.diagnosis.causes;
    let mut problems = Vec::new();
    let mut preferred: Vec<(f64, usize)> = Vec::new();
    for (n, claim) in answer.causes.iter().enumerate() {
        match check(talk, claim) {
            Ok(cause) if preferred.iter().any(|(_, known)| *known == cause) => {}
            Ok(cause) => preferred.push((claim.confidence, cause)),
            Err(problem) => problems.push(format!("cause {}: {problem}", n + 1)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    preferred.sort_by(|a, b| b.0.total_cmp(&a.0)); // stable: equal ones as they were said
    let order: Vec<usize> = preferred.into_iter().map(|(_, cause)| cause).collect();
    Ok(reorder(causes, &order))
}

/// The index of the cause that a claim names.
fn check(talk: &Conversation<'_>, claim: &Claim) -> Result<usize, &'static str> {
    let causes = &talk.brief.diagnosis.causes;
    let service = talk.service(&claim.service).ok_or("its service is not one of the document")?;
    let index = causes.iter().position(|c| c.service == service);
    let index = index.ok_or("its service is no candidate")?;
    if !(0.0..=1.0).contains(&claim.confidence) {
        return Err("its confidence is not from 0 to 1");
    }
    let mut own = false;
    for id in &claim.evidence {
        let fact = talk.evidence(id).ok_or("it cites an id that was not shown")?;
        // What caused another incident shows nothing about this one by itself.
        let about = causes[index].evidence_ids.contains(&fact.id) || fact.service == service;
        own |= about && !fact.is_learned();
    }
    if !own {
        return Err("it cites no evidence about its service");
    }
    check_path(talk, claim, service)?;
    Ok(index)
}

/// A path runs along known calls to the cause, and no symptom began before what it called.
fn check_path(talk: &Conversation<'_>, claim: &Claim, cause: &str) -> Result<(), &'static str> {
    let names: Option<Vec<&str>> = claim.path.iter().map(|id| talk.service(id)).collect();
    let names = names.ok_or("its path names a service that is not in the document")?;
    if names.last().is_some_and(|last| *last != cause) {
        return Err("its path does not end at its service");
    }
    let began = |service: &str| talk.brief.began.get(service).copied();
    for hop in names.windows(2) {
        let known = |(a, b): &(String, String)| a == hop[0] && b == hop[1];
        if !talk.brief.calls.iter().any(known) {
            return Err("its path has a step that is no known call");
        }
        let times = began(hop[0]).zip(began(hop[1]));
        if times.is_some_and(|(caller, callee)| callee > caller.saturating_add(TOLERANCE)) {
            return Err("its path has a symptom that began before its cause");
        }
    }
    Ok(())
}

/// `preferred` first and the rest as they were, but none above another that scores more than
/// [`RIVAL`] allows. None is surer than the one before it.
fn reorder(causes: &[Cause], preferred: &[usize]) -> Vec<Cause> {
    let mut left: Vec<usize> = (0..causes.len()).collect();
    let mut out: Vec<Cause> = Vec::with_capacity(causes.len());
    while !left.is_empty() {
        let best = left.iter().map(|i| causes[*i].score).fold(f64::MIN, f64::max);
        let may_lead = |i: &usize| left.contains(i) && causes[*i].score >= RIVAL * best;
        let next = preferred.iter().copied().find(may_lead).unwrap_or(left[0]);
        left.retain(|i| *i != next);
        let most = out.last().map_or(f64::MAX, |before| before.confidence);
        let confidence = causes[next].confidence.min(most);
        out.push(Cause { confidence, ..causes[next].clone() });
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn causes(scores: &[f64]) -> Vec<Cause> {
        let cause = |(n, score): (usize, &f64)| Cause {
            service: n.to_string(),
            instance: String::new(),
            kind: "cpu".to_owned(),
            score: *score,
            confidence: *score,
            evidence_ids: vec!["a".to_owned()],
            lanes: Vec::new(),
        };
        scores.iter().enumerate().map(cause).collect()
    }

    fn names(causes: &[Cause]) -> String {
        causes.iter().map(|c| c.service.as_str()).collect()
    }

    #[test]
    fn rivals_may_change_places_and_what_is_plain_stays() {
        let all = causes(&[0.5, 0.4, 0.1, 0.09]);
        for (preferred, expect) in
            [(&[1, 0][..], "1023"), (&[3, 2, 1, 0], "1032"), (&[2], "0123"), (&[], "0123")]
        {
            assert_eq!(names(&reorder(&all, preferred)), expect, "{preferred:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_weak_cause_overtakes_a_strong_one(
            mut scores in prop::collection::vec(0.0..1.0_f64, 1..12),
            preferred in prop::collection::vec(0..12_usize, 0..12),
        ) {
            scores.sort_by(|a, b| b.total_cmp(a));
            let all = causes(&scores);
            let out = reorder(&all, &preferred);
            prop_assert_eq!(out.len(), all.len());
            for (place, cause) in out.iter().enumerate() {
                for later in &out[place + 1..] {
                    prop_assert!(cause.service != later.service);
                    prop_assert!(cause.score >= RIVAL * later.score);
                    prop_assert!(cause.confidence >= later.confidence);
                }
            }
        }
    }
}
