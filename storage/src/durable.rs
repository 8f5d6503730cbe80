//! Files that exist completely or not at all, also after a loss of power.
//!
//! Every write goes to a temporary name in the same directory, is synced, gets its final name in
//! one step, and the directory is synced. Dropping any of the three leaves a window in which a
//! crash yields an empty, partial or absent file that somebody was told is there.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::error::{Error, Result};

/// Writes `path` with `chunks` as its content, replacing a file that is there.
pub fn replace<'a>(path: &Path, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
    let staged = stage(path, chunks)?;
    if let Err(source) = fs::rename(&staged, path) {
        discard(&staged);
        return Err(Error::io("rename into", path, source));
    }
    sync_dir(parent(path))
}

/// Writes `path` with `chunks` as its content unless a file is there; `false` if one was. Of
/// several processes that race, exactly one gets `true`.
pub fn create<'a>(path: &Path, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<bool> {
    let staged = stage(path, chunks)?;
    let linked = fs::hard_link(&staged, path);
    discard(&staged);
    match linked {
        Ok(()) => sync_dir(parent(path)).map(|()| true),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(Error::io("create", path, source)),
    }
}

/// Creates `path` and its missing parents; each new name is synced into its parent.
pub fn create_dir_all(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    create_dir_all(parent)?;
    match fs::create_dir(path) {
        Ok(()) => sync_dir(parent),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(source) => Err(Error::io("create directory", path, source)),
    }
}

/// Makes the names in `dir` durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let file = File::open(dir).map_err(|e| Error::io("open directory", dir, e))?;
    sync(&file, dir)
}

/// Makes the content of `file` durable.
pub fn sync(file: &File, path: &Path) -> Result<()> {
    file.sync_all().map_err(|source| Error::Sync { path: path.to_path_buf(), source })
}

/// Writes and syncs a temporary file beside `path`.
fn stage<'a>(path: &Path, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<PathBuf> {
    let (mut file, staged) = create_staged(path)?;
    let write = || {
        for chunk in chunks {
            file.write_all(chunk).map_err(|e| Error::io("write", path, e))?;
        }
        sync(&file, path)
    };
    match write() {
        Ok(()) => Ok(staged),
        Err(err) => {
            discard(&staged);
            Err(err)
        }
    }
}

/// A new file beside `path`. In containers every process may have the same number, so the name may
/// be that of a leftover, or of a file that another is about to rename: then it takes the next.
fn create_staged(path: &Path) -> Result<(File, PathBuf)> {
    loop {
        let staged = staging_name(path);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io("create", &staged, e)),
        }
    }
}

/// `name#digits`: the form that object_store's local store hides from listings, so that a leftover
/// of a crash is never taken for data. Processes differ by pid and, within one, names by a counter.
fn staging_name(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{}{unique:06}", std::process::id()));
    PathBuf::from(name)
}

/// A temporary file that stays costs space and nothing else, so a failure to remove it is no error.
fn discard(staged: &Path) {
    if let Err(err) = fs::remove_file(staged) {
        tracing::debug!(path = %staged.display(), %err, "temporary file stays");
    }
}

/// Removes temporary files below `dir` that a crash left before `cutoff`.
pub fn remove_leftovers(dir: &Path, cutoff: SystemTime) -> Result<()> {
    let io = |e| Error::io("list", dir, e);
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let kind = entry.file_type().map_err(io)?;
        if kind.is_dir() {
            remove_leftovers(&entry.path(), cutoff)?;
        } else if is_staged(&entry.file_name()) {
            let modified = entry.metadata().and_then(|m| m.modified());
            if modified.is_ok_and(|at| at < cutoff) {
                discard(&entry.path());
            }
        }
    }
    Ok(())
}

fn is_staged(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|n| n.rsplit_once('#'));
    digits.is_some_and(|(_, d)| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_of_another_process_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let next = staging_name(&path);
        let (name, digits) = next.to_str().unwrap().rsplit_once('#').unwrap();
        let number: u64 = digits.parse().unwrap();
        let leftovers: Vec<PathBuf> =
            (0..500).map(|n| PathBuf::from(format!("{name}#{}", number + n))).collect();
        leftovers.iter().for_each(|leftover| fs::write(leftover, "theirs").unwrap());
        replace(&path, [b"ours".as_slice()]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        for leftover in leftovers {
            assert_eq!(fs::read(leftover).unwrap(), b"theirs");
        }
    }

    #[test]
    fn create_has_one_winner_and_replace_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        create_dir_all(parent(&path)).unwrap();
        assert!(create(&path, [b"one".as_slice()]).unwrap());
        assert!(!create(&path, [b"two".as_slice()]).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, [b"th".as_slice(), b"ree".as_slice()]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(parent(&path)).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_named_and_leaves_nothing() {
        let err = Error::io("write", Path::new("/x"), io::Error::from(io::ErrorKind::StorageFull));
        assert!(err.to_string().contains("no space left while writing /x"));
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("absent/file");
        assert!(matches!(replace(&missing, [b"x".as_slice()]), Err(Error::Io { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_old_temporary_files_are_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a");
        let staged = staging_name(&data);
        fs::write(&data, "").unwrap();
        fs::write(&staged, "").unwrap();
        remove_leftovers(dir.path(), SystemTime::UNIX_EPOCH).unwrap();
        assert!(staged.exists());
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        remove_leftovers(dir.path(), later).unwrap();
        assert!(data.exists() && !staged.exists());
    }
}
