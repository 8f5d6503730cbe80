//! Files as they are stored, plain or gzip, with a count of what has been read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

pub enum Input {
    Plain(Counted),
    Gzip(Box<MultiGzDecoder<BufReader<Counted>>>),
}

pub struct Counted {
    file: File,
    bytes: u64,
}

impl Input {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = Counted { file: File::open(path)?, bytes: 0 };
        Ok(if path.extension().is_some_and(|e| e == "gz") {
            Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, file))))
        } else {
            Self::Plain(file)
        })
    }

    /// Stored bytes read so far.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Plain(file) => file.bytes,
            Self::Gzip(decoder) => decoder.get_ref().get_ref().bytes,
        }
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buf),
            Self::Gzip(decoder) => decoder.read(buf),
        }
    }
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }
}
