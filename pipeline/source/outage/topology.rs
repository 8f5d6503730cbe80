//! `topology.csv`: which service calls which.

use std::fs::File;

use super::super::escape;
use super::super::lines::{Lines, LongLines};
use super::*;

/// Most edges that are read.
const EDGES_MAX: usize = 1_000_000;

/// Edges as (caller, callee), sorted, without repeats.
pub fn read(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let unreadable = |e| Error::unreadable(path, e);
    let file = File::open(path).map_err(unreadable)?;
    let mut lines = Lines::new(file, LongLines::Skip);
    let mut edges = BTreeSet::new();
    let mut number = 0;
    let mut ended = false;
    while !ended {
        let line = match lines.next().map_err(unreadable)? {
            Some(line) => Some(line.text.to_vec()),
            None => {
                ended = true;
                lines.rest().map(|l| l.text.to_vec())
            }
        };
        let Some(line) = line else { break };
        number += 1;
        let text = escape::utf8(&line);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
        let problem = match text.split_once(',') {
            _ if number == 1 && text == "caller,callee" => continue,
            _ if number == 1 => "the header is not caller,callee".to_owned(),
            _ if text.is_empty() => continue,
            _ if edges.len() == EDGES_MAX => format!("more than {EDGES_MAX} edges"),
            Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(',') => {
                edges.insert((unquote(a), unquote(b)));
                continue;
            }
            _ => "a row is not two names".to_owned(),
        };
        return Err(Error::Header {
            file: path.to_owned(),
            line: number,
            problem,
            remedy: "write the header caller,callee and one call per row".to_owned(),
        });
    }
    Ok(edges.into_iter().collect())
}

fn unquote(name: &str) -> String {
    let name = name.trim();
    let inner = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(name);
    escape::line(inner).into_owned()
}
