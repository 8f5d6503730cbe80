//! Which files of an outage directory hold which stream.

use std::fs;

use super::*;

#[derive(Debug)]
pub struct Layout {
    /// By stream, then by path.
    pub files: Vec<StreamFile>,
    pub topology: Option<PathBuf>,
}

#[derive(Debug)]
pub struct StreamFile {
    pub stream: Stream,
    pub path: PathBuf,
    pub bytes: u64,
}

/// Finds the files by name. `truth/` and all other names are not looked at.
pub fn scan(dir: &Path) -> Result<Layout, Error> {
    if !dir.is_dir() {
        return Err(Error::Missing { path: dir.to_owned() });
    }
    let mut files = Vec::new();
    for stream in Stream::ALL {
        let mut found: Vec<PathBuf> = Vec::new();
        let suffix = if stream == Stream::Metrics { "csv" } else { "jsonl" };
        for name in
            [format!("{}.{suffix}", stream.name()), format!("{}.{suffix}.gz", stream.name())]
        {
            found.extend(Some(dir.join(name)).filter(|p| p.is_file()));
        }
        let folder = dir.join(stream.name());
        let parquet = if folder.is_dir() { parquet_files(&folder)? } else { Vec::new() };
        found.extend((!parquet.is_empty()).then_some(folder));
        if let [first, second, ..] = found.as_slice() {
            return Err(Error::Ambiguous { first: first.clone(), second: second.clone() });
        }
        let paths = if parquet.is_empty() { found } else { parquet };
        for path in paths {
            let bytes = fs::metadata(&path).map_err(|e| Error::unreadable(&path, e))?.len();
            files.push(StreamFile { stream, path, bytes });
        }
    }
    if files.is_empty() {
        return Err(Error::Empty { path: dir.to_owned() });
    }
    Ok(Layout { files, topology: Some(dir.join("topology.csv")).filter(|p| p.is_file()) })
}

fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |e| Error::unreadable(folder, e);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && path.extension().is_some_and(|e| e == "parquet") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
