//! Files that a path stood for once, by their names beside it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most rotated files that are read one after the other.
const ROTATED_MAX: usize = 256;

/// Endings of files that cannot be read as they are.
const COMPRESSED: [&str; 7] = ["gz", "bz2", "xz", "zst", "lz4", "Z", "zip"];

/// Files named `<name>.<suffix>` beside `path`, with a number in the suffix as rotation writes it,
/// that were last written after `old`, oldest first: the path stood for them after it stood for
/// `old`. Of compressed ones there is a warning only.
pub fn since(old: &File, path: &Path) -> io::Result<VecDeque<File>> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return Ok(VecDeque::new()) };
    let old = old.metadata()?;
    let place = |meta: &fs::Metadata| (meta.dev(), meta.ino());
    let mut known = vec![place(&old)];
    known.extend(fs::metadata(path).ok().as_ref().map(place));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let sibling = entry.file_name().to_str().map(str::to_owned);
        let suffix = sibling.as_deref().and_then(|s| s.strip_prefix(name)?.strip_prefix('.'));
        let Some(suffix) = suffix.filter(|s| s.bytes().any(|b| b.is_ascii_digit())) else {
            continue;
        };
        // One that is removed while this looks at it is no longer there to be read.
        let Ok(meta) = entry.metadata() else { continue };
        let written = meta.modified()?;
        if !meta.is_file() || known.contains(&place(&meta)) || written <= old.modified()? {
            continue;
        }
        if suffix.rsplit('.').next().is_some_and(|end| COMPRESSED.contains(&end)) {
            let file = entry.path();
            let file = file.display();
            tracing::warn!(%file, "compressed before it was read, its rows are missing");
            continue;
        }
        known.push(place(&meta));
        found.push((written, entry.path()));
    }
    found.sort();
    if found.len() > ROTATED_MAX {
        let (path, skipped) = (path.display(), found.len() - ROTATED_MAX);
        tracing::warn!(%path, skipped, "too many rotated files, the oldest are not read");
        found.drain(..skipped);
    }
    found.into_iter().filter_map(|(_, file)| open(&file).transpose()).collect()
}

/// `None` where the file is gone: rotation removes the oldest.
fn open(file: &Path) -> io::Result<Option<File>> {
    match File::open(file) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
