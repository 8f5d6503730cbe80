//! Results on standard output.

use std::io::{self, Write};

use crate::error::{Error, Result};

/// `1 signal`, `2 signals`.
pub fn number(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Writes a whole answer.
pub fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    unless_gone(said.map_err(Error::io("the output")))
}

/// A reader that has gone away wants no more of the answer, which is no failure.
pub fn unless_gone(written: Result<()>) -> Result<()> {
    match written {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
