//! What a chat completion says, in the shapes that endpoints and gateways give it.

use serde_json::{Deserializer, Value};

/// Text and, where they are told, tokens read and written.
pub type Completion = (String, Option<(u64, u64)>);

/// Reads a completion: one JSON object, or the events of one that a gateway streams unasked.
///
/// The text may be a string, a list of parts, or the arguments of a tool that the model took the
/// schema for. An answer without text is an empty one; `None` is what is no chat completion.
pub fn read(bytes: &[u8]) -> Option<Completion> {
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("data:") || text.starts_with("event:") || text.starts_with(':') {
        return streamed(text);
    }
    let reply: Value = serde_json::from_str(text).ok()?;
    let message = &reply["choices"].get(0)?["message"];
    Some((said(message), tokens(&reply)))
}

/// Server-sent events (WHATWG HTML, section 9.2), each with a delta of the message.
fn streamed(text: &str) -> Option<Completion> {
    let (mut content, mut used, mut events) = (String::new(), None, 0);
    for line in text.lines().filter_map(|line| line.strip_prefix("data:")) {
        let mut values = Deserializer::from_str(line).into_iter::<Value>();
        let Some(Ok(event)) = values.next() else { continue };
        used = tokens(&event).or(used);
        if let Some(choice) = event["choices"].get(0) {
            events += 1;
            content += &said(&choice["delta"]);
        }
    }
    (events > 0).then_some((content, used))
}

fn said(message: &Value) -> String {
    let part = |part: &Value| part["text"].as_str().unwrap_or_default().to_owned();
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(part).collect(),
        _ => String::new(),
    };
    if !text.is_empty() {
        return text;
    }
    let call = message["tool_calls"].get(0).map_or(&message["function_call"], |c| &c["function"]);
    match &call["arguments"] {
        Value::String(text) => text.clone(),
        arguments @ Value::Object(_) => arguments.to_string(),
        _ => String::new(),
    }
}

fn tokens(reply: &Value) -> Option<(u64, u64)> {
    let count = |name: &str| reply["usage"][name].as_u64();
    count("prompt_tokens").zip(count("completion_tokens"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_many_shapes() {
        let usage = r#""usage":{"prompt_tokens":7,"completion_tokens":2}"#;
        for message in [
            r#"{"content":"{\"a\":1}"}"#,
            r#"{"content":[{"type":"text","text":"{\"a\""},{"type":"text","text":":1}"}]}"#,
            r#"{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
            r#"{"content":"","function_call":{"name":"f","arguments":{"a":1}}}"#,
        ] {
            let reply = format!("\u{feff}{{\"choices\":[{{\"message\":{message}}}],{usage}}}");
            let expect = (r#"{"a":1}"#.to_owned(), Some((7, 2)));
            assert_eq!(read(reply.as_bytes()), Some(expect), "{message}");
        }
        let events = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n\
                      data: {\"choices\":[{\"delta\":{\"content\":\"{\\\"a\\\"\"}}]}\n\n\
                      data: {\"choices\":[{\"delta\":{\"content\":\":1}\"}}]}\n\n\
                      data: [DONE]\n\n";
        assert_eq!(read(events.as_bytes()), Some((r#"{"a":1}"#.to_owned(), None)));
    }

    #[test]
    fn what_is_no_completion_is_none() {
        for text in ["", "{}", "<html>", "[1]", "data: [DONE]", r#"{"choices":[]}"#, "\u{fffd}"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"\xff"), None);
        let silent = r#"{"choices":[{"message":{"content":null}}]}"#;
        assert_eq!(read(silent.as_bytes()), Some((String::new(), None)));
    }
}
