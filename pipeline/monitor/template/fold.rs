//! Joins the lines of one event: stack traces, wrapped text, pretty-printed values.

/// What the open event is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// Until the line that names the exception.
    Traceback,
    Goroutine,
}

/// Joins continuation lines to the line before them. The order of lines is that of one writer.
pub struct Folder {
    /// Continuation lines that would make an event longer are left out of it.
    bytes_max: usize,
    open: Option<String>,
    state: State,
}

impl Folder {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, open: None, state: State::Text }
    }

    /// Takes a line without its end; gives the event before, once this line shows that it is
    /// complete.
    pub fn push(&mut self, line: &str) -> Option<String> {
        let line = line.trim_end();
        let continues = self.open.is_some() && self.continues(line);
        self.state = next(self.state, line, continues);
        if let Some(open) = self.open.as_mut().filter(|_| continues) {
            if open.len() + 1 + line.len() <= self.bytes_max {
                open.push('\n');
                open.push_str(line);
            }
            return None;
        }
        if line.is_empty() {
            return self.open.take();
        }
        self.open.replace(cut(line, self.bytes_max).to_owned())
    }

    /// The open event, when no more lines are expected for now.
    pub fn flush(&mut self) -> Option<String> {
        self.state = State::Text;
        self.open.take()
    }

    fn continues(&self, line: &str) -> bool {
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
        line.starts_with([' ', '\t'])
            || STARTS.iter().any(|s| line.starts_with(s))
            || is_exception(line)
            || (!line.is_empty() && line.bytes().all(|b| b"}])>;,".contains(&b)))
            || (line.is_empty() && self.open.as_ref().is_some_and(|o| o.starts_with("panic: ")))
    }
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

fn cut(line: &str, bytes_max: usize) -> &str {
    let mut end = line.len().min(bytes_max);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<String> {
        let mut folder = Folder::new(4096);
        let mut out: Vec<String> = text.split('\n').filter_map(|l| folder.push(l)).collect();
        out.extend(folder.flush());
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
        assert_eq!(events("one\ntwo\n\n  three\n"), ["one", "two", "  three"]);
    }

    #[test]
    fn an_event_is_bounded() {
        let mut folder = Folder::new(32);
        folder.push(&"é".repeat(40));
        for _ in 0..100 {
            assert_eq!(folder.push("  continued"), None);
        }
        assert!(folder.flush().is_some_and(|e| e.len() <= 32 && !e.is_empty()));
    }
}
