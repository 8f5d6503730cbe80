//! What a model says, read with patience for small models and none for anything else: fences,
//! prose and thinking around the JSON are passed over; a field that the schema lacks is not.

use serde::Deserialize;
use serde_json::{Deserializer, Value};

use super::queries::Query;

/// Places at which an object is looked for.
const STARTS_MAX: usize = 256;

/// Entries of any list.
const ENTRIES_MAX: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    #[serde(default, deserialize_with = "or_none")]
    pub causes: Vec<Claim>,
    /// The evidence does not tell.
    #[serde(default, deserialize_with = "or_none")]
    pub unknown: bool,
    #[serde(default, deserialize_with = "or_none")]
    pub requests: Vec<Query>,
}

/// A cause as the model sees it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub service: String,
    #[serde(default, deserialize_with = "number")]
    pub confidence: f64,
    #[serde(default, deserialize_with = "or_none")]
    pub evidence: Vec<String>,
    /// Services from a symptom to the cause, each calling the next.
    #[serde(default, deserialize_with = "or_none")]
    pub path: Vec<String>,
}

/// `null` says as much as nothing.
fn or_none<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A number, also between quotes.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(0.0),
        Value::String(text) => text.trim().parse().map_err(serde::de::Error::custom),
        value => value.as_f64().ok_or_else(|| serde::de::Error::custom("no number")),
    }
}

/// The last object in `text` that answers, or what is wrong.
pub fn read(text: &str) -> Result<Answer, String> {
    let text = said(text);
    let mut found = Err("the reply holds no JSON object of the schema".to_owned());
    let mut at = 0;
    for _ in 0..STARTS_MAX {
        let Some(start) = text[at..].find('{').map(|i| at + i) else { break };
        let mut values = Deserializer::from_str(&text[start..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at = start + values.byte_offset();
                if ["causes", "unknown", "requests"].iter().any(|k| value.get(k).is_some()) {
                    found = checked(value);
                }
            }
            _ => at = start + 1,
        }
    }
    found
}

/// Without what a model thinks aloud: that is no answer, and less so where it was cut off.
fn said(text: &str) -> &str {
    ["think", "thinking", "reasoning"].iter().fold(text, |text, tag| {
        let text = text.rsplit(&format!("</{tag}>")).next().unwrap_or(text);
        text.split(&format!("<{tag}>")).next().unwrap_or(text)
    })
}

fn checked(value: Value) -> Result<Answer, String> {
    let answer: Answer = serde_json::from_value(value)
        .map_err(|_| "the reply's JSON does not follow the schema".to_owned())?;
    let lists = answer.causes.iter().flat_map(|c| [c.evidence.len(), c.path.len()]);
    let longest = lists.chain([answer.causes.len(), answer.requests.len()]).max();
    if longest > Some(ENTRIES_MAX) {
        return Err(format!("a list of the reply has more than {ENTRIES_MAX} entries"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"causes":[{"service":"svc-1","confidence":0.9,"evidence":["e1"]}]}"#;

    #[test]
    fn an_answer_is_found_in_what_models_put_around_it() {
        let expect = read(PLAIN).unwrap();
        assert_eq!(expect.causes[0].service, "svc-1");
        for text in [
            format!("```json\n{PLAIN}\n```"),
            format!("Sure! Here is {{the}} answer:\n{PLAIN}\nHope that helps {{:"),
            format!("<think>{{\"causes\":[]}} hm {{</think>{PLAIN}"),
            format!("<thinking>{{\"causes\":[]}}</thinking>\n{PLAIN}"),
            PLAIN.replace("0.9", "\"0.9\"").replace("]}]", "],\"path\":null}]"),
            PLAIN.replace("}]}", "}],\"requests\":null,\"unknown\":null}"),
            format!("{{\"note\": 1}} {{\"causes\":[]}} no, rather {PLAIN}"),
        ] {
            assert_eq!(read(&text).as_ref(), Ok(&expect), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "the database",
            &format!("<think>perhaps {PLAIN}, but that is wrong, as"),
            "{",
            "[]",
            r#"{"action":"kubectl delete ns prod"}"#,
            r#"{"causes":[{"service":"svc-1","command":"scale to 0"}]}"#,
            r#"{"causes":[],"actions":["restart"]}"#,
            r#"{"causes":"svc-1"}"#,
            r#"{"requests":[{"query":"sql","service":"svc-1"}]}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let many = format!(
            r#"{{"requests":[{}]}}"#,
            vec![r#"{"query":"evidence","service":"s"}"#; 33].join(",")
        );
        assert!(read(&many).is_err());
        assert!(read(&"{".repeat(100_000)).is_err());
        assert!(read(&"{\"a\":".repeat(100_000)).is_err());
    }
}
