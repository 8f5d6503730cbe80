//! Which file a path stands for, whatever its name is later.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Bytes at the beginning of a file that tell it from others.
const FINGERPRINT_BYTES: u64 = 1024;
/// Most names that are looked at to find a renamed file.
const SIBLINGS_MAX: usize = 10_000;

/// Device and inode, which a rename keeps, and the first bytes, because inodes are used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    dev: u64,
    ino: u64,
    /// Length and hash of the beginning, as far as it was read.
    head_bytes: u64,
    head: String,
}

impl Identity {
    /// Of an open file of which this many bytes have been read.
    pub fn of(file: &File, read: u64) -> io::Result<Self> {
        let meta = file.metadata()?;
        let head_bytes = read.min(FINGERPRINT_BYTES);
        let head = hash(file, head_bytes)?.unwrap_or_default();
        Ok(Self { dev: meta.dev(), ino: meta.ino(), head_bytes, head })
    }

    pub fn is_place_of(&self, meta: &Metadata) -> bool {
        (self.dev, self.ino) == (meta.dev(), meta.ino())
    }

    /// True if the file still begins as it did; false if it was truncated or replaced.
    pub fn is_head_of(&self, file: &File) -> io::Result<bool> {
        Ok(hash(file, self.head_bytes)?.is_some_and(|h| h == self.head))
    }

    /// The fingerprint covers all that it ever will.
    pub fn is_full(&self) -> bool {
        self.head_bytes == FINGERPRINT_BYTES
    }

    /// The file under another name in the folder where it was.
    pub fn find_renamed(&self, path: &Path) -> io::Result<Option<File>> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for entry in fs::read_dir(folder)?.take(SIBLINGS_MAX) {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_file() && self.is_place_of(&meta) {
                let file = File::open(entry.path())?;
                return Ok(self.is_head_of(&file)?.then_some(file));
            }
        }
        Ok(None)
    }
}

/// Hash of the first `len` bytes; `None` if the file is shorter.
fn hash(file: &File, len: u64) -> io::Result<Option<String>> {
    let mut bytes = vec![0; len as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Some(blake3::hash(&bytes).to_hex().as_str()[..16].to_owned())),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}
