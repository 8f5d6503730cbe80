//! The lines of one event: stack traces, wrapped text, pretty-printed values.

/// What the open event is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// Until the line that names the exception.
    Traceback,
    Goroutine,
}

/// Tells lines that go on with an event from those that begin one. The order of lines is that of
/// one writer.
#[derive(Debug)]
pub struct Folder {
    /// Spaces before the head of the open event; nothing where no event is open.
    open: Option<usize>,
    /// The open event is the panic of a Go program.
    panic: bool,
    state: State,
}

impl Default for Folder {
    fn default() -> Self {
        Self { open: None, panic: false, state: State::Text }
    }
}

impl Folder {
    /// Takes a line without its end: true where it belongs to the event before.
    pub fn continues(&mut self, line: &str) -> bool {
        let line = line.trim_end();
        let continues = self.open.is_some_and(|indent| self.goes_on(line, indent));
        self.state = next(self.state, line, continues);
        if !continues {
            // A blank line ends an event and is none.
            self.open = (!line.is_empty()).then(|| indent(line));
            self.panic = line.starts_with("panic: ");
        }
        continues
    }

    fn goes_on(&self, line: &str, indent_of_head: usize) -> bool {
        const STARTS: [&str; 8] = [
            "at ",
            "Caused by:",
            "Suppressed:",
            "... ",
            "Traceback (most recent call last)",
            "During handling of the above exception",
            "The above exception was the direct cause",
            "goroutine ",
        ];
        match self.state {
            State::Traceback => return true,
            State::Goroutine if line.is_empty() || is_go_frame(line) => return true,
            _ => {}
        }
        indent(line) > indent_of_head
            || STARTS.iter().any(|s| line.starts_with(s))
            || is_exception(line)
            || (!line.is_empty() && line.bytes().all(|b| b"}])>;,".contains(&b)))
            || (line.is_empty() && self.panic)
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

fn next(state: State, line: &str, continues: bool) -> State {
    if line.starts_with("Traceback (most recent call last)") {
        return State::Traceback;
    }
    if line.starts_with("goroutine ") {
        return State::Goroutine;
    }
    match state {
        State::Traceback if !line.starts_with([' ', '\t']) && !line.is_empty() => State::Text,
        _ if !continues => State::Text,
        state => state,
    }
}

/// `main.run(0x1)`, `created by main.main`, `exit status 2`.
fn is_go_frame(line: &str) -> bool {
    let call = line.ends_with(')')
        && line.split('(').next().is_some_and(|f| f.contains('.') && !f.contains(' '));
    call || line.starts_with("created by ") || line.starts_with("exit status ")
}

/// A qualified class name that a runtime prints above a trace: `java.io.IOException: reset`.
fn is_exception(line: &str) -> bool {
    let name = line.split([':', ' ']).next().unwrap_or_default();
    let class = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._$".contains(&b));
    class
        && name.contains('.')
        && ["Exception", "Error", "Throwable"].iter().any(|s| name.ends_with(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<String> {
        let mut folder = Folder::default();
        let mut out: Vec<String> = Vec::new();
        for line in text.split('\n') {
            let continues = folder.continues(line);
            match out.last_mut().filter(|_| continues) {
                Some(event) => *event = format!("{event}\n{line}"),
                None => out.push(line.to_owned()),
            }
        }
        out
    }

    #[test]
    fn traces_stay_with_their_line() {
        let java = "ERROR a failed\njava.io.IOException: reset\n\tat a.B.c(B.java:1)\n\
                    Caused by: x.YError: z\n\t... 3 more";
        let python = "ERROR b failed\nTraceback (most recent call last):\n  \
                      File \"a.py\", line 1, in f\n    g()\nKeyError: 'x'";
        let go = "panic: boom\n\ngoroutine 1 [running]:\n\
                  main.f(0x1)\n\t/src/a.go:3 +0x1\nmain.main()\n\t/src/a.go:9";
        let text = [java, "INFO fine", python, "INFO fine", go, "INFO again"].join("\n");
        assert_eq!(events(&text), [java, "INFO fine", python, "INFO fine", go, "INFO again"]);
    }

    #[test]
    fn plain_lines_are_events_and_blank_lines_end_them() {
        assert_eq!(events("one\ntwo\n\n  three"), ["one", "two", "", "  three"]);
        assert_eq!(events("  one\n  two\n    three"), ["  one", "  two\n    three"]);
    }
}
