//! The interactive prompt: history, completion, statements over several lines, Ctrl-C.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};

use super::format::{self, Format};
use super::session::{Answer, Session};
use super::statement;
use crate::error::{Error, Result};
use crate::knowledge::TableDoc;
use crate::source::escape;

/// Statements that the history file keeps.
const HISTORY_ENTRIES_MAX: usize = 1_000;

const PROMPT: &str = "faultline> ";
/// While a statement goes on.
const CONTINUED: &str = "        -> ";

const HELP: &str = "\
\\d           the tables
\\d TABLE     the columns of a table and what they hold
\\?, help     this help
\\q, Ctrl-D   leave, as do exit and quit
Ctrl-C       drop what is typed, or stop the running statement
A statement ends with `;` and may span lines. Tab completes.
";

const KEYWORDS: [&str; 44] = [
    "AND",
    "AS",
    "ASC",
    "AVG",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COUNT",
    "DATE_TRUNC",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXISTS",
    "EXPLAIN",
    "FILTER",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAX",
    "MEDIAN",
    "MIN",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "SELECT",
    "SHOW",
    "SUM",
    "TABLES",
    "WHERE",
    "WITH",
];

/// Reads statements from the terminal (or from a pipe) until its end and prints their answers. What
/// stands last in a pipe needs no `;`.
///
/// # Errors
/// [`Error::Query`] at the end of a pipe where a statement was not answered: nobody may have read
/// why.
pub async fn prompt(session: &Session, format: Format) -> Result<()> {
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let history = history_path().filter(|_| terminal);
    let mut editor = editor(session.tables(), history.as_deref())?;
    if terminal {
        note("\\? for help, \\d for tables, \\q to leave");
    }
    let (mut failed, mut begun) = (0, String::new());
    loop {
        let marker = if begun.is_empty() { PROMPT } else { CONTINUED };
        let read = tokio::task::spawn_blocking(move || {
            let line = editor.readline(marker);
            (editor, line)
        });
        let (returned, line) = read.await.map_err(|e| Error::io("the terminal")(e.into()))?;
        editor = returned;
        match line {
            Ok(line) => {
                begun += &line;
                if !is_complete(&begun) {
                    begun.push('\n');
                    continue;
                }
                let entered = std::mem::take(&mut begun);
                if !entered.trim().is_empty() {
                    // A history that cannot grow is no reason to refuse the statement.
                    let _ = editor.add_history_entry(entered.trim());
                }
                if !input(session, &entered, format, &mut failed).await? {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => begun.clear(),
            Err(ReadlineError::Eof) if terminal => break,
            Err(ReadlineError::Eof) => {
                input(session, &begun, format, &mut failed).await?;
                break;
            }
            Err(err) => return Err(Error::io("the terminal")(io::Error::other(err))),
        }
    }
    if let Some(path) = history {
        save(&mut editor, &path);
    }
    if failed > 0 && !terminal {
        let message = format!("{failed} of the statements were not answered");
        let remedy = "correct them as said above".to_owned();
        return Err(Error::Query { message, remedy });
    }
    Ok(())
}

/// A command of the prompt, without its backslash or the word that stands for it.
fn command(text: &str) -> Option<&str> {
    let text = text.trim().trim_end_matches(';').trim_end();
    match text.to_ascii_lowercase().as_str() {
        "exit" | "quit" => Some("q"),
        "help" => Some("?"),
        _ => text.strip_prefix('\\'),
    }
}

/// Handles what was entered; `false` means to leave.
async fn input(session: &Session, text: &str, format: Format, failed: &mut usize) -> Result<bool> {
    if let Some(command) = command(text) {
        let mut words = command.split_whitespace();
        match (words.next(), words.next()) {
            (Some("q"), _) => return Ok(false),
            (Some("d"), None) => print(&list_tables(session.tables()))?,
            (Some("d"), Some(name)) => match session.tables().iter().find(|t| t.name == name) {
                Some(table) => print(&list_columns(table))?,
                None => note(&format!("no table {}; \\d lists the tables", escape::line(name))),
            },
            (Some("?"), _) => print(HELP)?,
            _ => note("unknown command; \\? lists the commands"),
        }
        return Ok(true);
    }
    let (mut statements, rest) = statement::split(text);
    if !rest.is_empty() {
        statements.push(rest);
    }
    for sql in statements {
        tokio::select! {
            answer = session.run(sql) => match answer {
                Ok(answer) => show(&answer, format)?,
                Err(err) => {
                    *failed += 1;
                    note(&escape::body(&err.to_string()));
                }
            },
            _ = tokio::signal::ctrl_c() => {
                note("stopped");
                break;
            }
        }
    }
    Ok(true)
}

fn show(answer: &Answer, format: Format) -> Result<()> {
    let mut out = io::stdout().lock();
    format::write(answer, format, &mut out)?;
    out.flush().map_err(Error::io("the output"))?;
    answer.truncated.iter().chain(&answer.warnings).for_each(|text| note(text));
    Ok(())
}

/// A message; that nobody reads it is no failure.
fn note(text: &str) {
    let _gone = writeln!(io::stderr(), "{text}");
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::io("the output"))
}

fn list_tables(tables: &[TableDoc]) -> String {
    let width = tables.iter().map(|t| t.name.len()).max().unwrap_or(0);
    tables.iter().map(|t| format!("{:<width$}  {}\n", t.name, t.comment)).collect()
}

fn list_columns(table: &TableDoc) -> String {
    let name = table.columns.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let kind = table.columns.iter().map(|c| c.sql_type.len()).max().unwrap_or(0);
    let line = |c: &crate::knowledge::Column| {
        format!("{:<name$}  {:<kind$}  {}\n", c.name, c.sql_type, c.comment)
    };
    table.columns.iter().map(line).collect()
}

type Terminal = Editor<Words, DefaultHistory>;

fn editor(tables: &[TableDoc], history: Option<&std::path::Path>) -> Result<Terminal> {
    let failed = |err| Error::io("the terminal")(io::Error::other(err));
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .color_mode(ColorMode::Disabled)
        .max_history_size(HISTORY_ENTRIES_MAX)
        .map_err(failed)?
        .build();
    let mut editor = Terminal::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Words::new(tables)));
    if let Some(path) = history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    Ok(editor)
}

fn save(editor: &mut Terminal, path: &std::path::Path) {
    let dir = path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(ReadlineError::from);
    if let Err(err) = dir.and_then(|()| editor.save_history(path)) {
        tracing::warn!(path = %path.display(), %err, "history not kept");
    }
}

/// Where the user's programs keep state, by the XDG base directory specification.
fn history_path() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("faultline/history"))
}

/// Words that Tab completes, sorted.
struct Words {
    names: Vec<String>,
}

impl Words {
    fn new(tables: &[TableDoc]) -> Self {
        let columns = tables.iter().flat_map(|t| t.columns.iter().map(|c| c.name.clone()));
        let mut names: Vec<String> = columns.chain(tables.iter().map(|t| t.name.clone())).collect();
        names.sort();
        names.dedup();
        Self { names }
    }

    /// Where the word before `pos` begins, and what it may become.
    fn candidates(&self, line: &str, pos: usize) -> (usize, Vec<String>) {
        let typed = &line[..pos];
        let start = typed
            .rfind(|c: char| !c.is_alphanumeric() && c != '_')
            .map_or(0, |at| at + typed[at..].chars().next().map_or(0, char::len_utf8));
        let word = &typed[start..];
        if word.is_empty() {
            return (start, Vec::new());
        }
        let lower = word.to_lowercase();
        let names = self.names.iter().filter(|n| n.starts_with(&lower)).cloned();
        let shouted = word.chars().next().is_some_and(char::is_uppercase);
        let keywords = KEYWORDS.iter().map(|k| match shouted {
            true => (*k).to_owned(),
            false => k.to_lowercase(),
        });
        let keywords = keywords.filter(|k| k.to_lowercase().starts_with(&lower));
        (start, names.chain(keywords).collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, pos))
    }
}

impl Validator for Words {}

fn is_complete(text: &str) -> bool {
    text.trim().is_empty() || command(text).is_some() || statement::split(text).1.is_empty()
}

impl Highlighter for Words {}

impl Hinter for Words {
    type Hint = String;
}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::archive_tables;

    #[test]
    fn tab_completes_tables_columns_and_keywords_in_the_case_typed() {
        let words = Words::new(&archive_tables().unwrap());
        assert_eq!(words.candidates("select root_s", 13), (7, vec!["root_service".to_owned()]));
        assert_eq!(words.candidates("SEL", 3), (0, vec!["SELECT".to_owned()]));
        let (start, found) = words.candidates("from (inc", 9);
        assert_eq!((start, found), (6, vec!["incident_id".to_owned(), "incidents".to_owned()]));
        assert_eq!(words.candidates("é.", 3), (3, vec![]));
    }

    #[test]
    fn input_goes_on_until_the_semicolon() {
        assert!(is_complete("select 1;") && is_complete("\\d incidents") && is_complete(" "));
        assert!(!is_complete("select 1") && !is_complete("select ';'"));
        assert!(is_complete("Exit") && is_complete(" quit; ") && is_complete("help"));
        assert!(!is_complete("exit now") && !is_complete("select\nhelp"));
    }
}
