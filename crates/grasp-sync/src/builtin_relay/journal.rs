//! The durable store: one file of JSON lines, one event a line, only ever appended to.
//! It owns the file, its lock and the cut of a line that a crash left torn. It never judges an event.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nostr::event::Event;
use thiserror::Error;
use tracing::warn;

use super::archive::Stored;

/// Why the file of a durable store could not be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file could not be opened for reading and writing.
    #[error("cannot open the relay store {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process, or another relay of this one, uses the file.
    #[error("the relay store {path} is in use by another process")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read, cut or locked.
    #[error("cannot read the relay store {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A line before the last is not an event: not the trace of a crash, so nothing is cut.
    #[error("line {line} of the relay store {path} is not an event")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
}

#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// Bytes known to be whole lines.
    length: u64,
}

impl Journal {
    /// Opens or creates the file, locks it, and returns its events in the order of writing.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Event>), StoreError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let unreadable = |source| StoreError::Read { path: path.to_owned(), source };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(unreadable(source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        let (events, length) = parse(&bytes, path)?;
        let mut journal = Self { file, length };
        if length < as_u64(bytes.len()) {
            warn!(store = %path.display(), "the last line of the relay store was torn and is cut off");
        }
        journal.cut_back().map_err(unreadable)?;
        Ok((journal, events))
    }

    /// Appends the events and returns once they are on the disk. After a failure nothing of them is kept.
    pub(super) fn append(&mut self, events: &[Arc<Stored>]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(events.iter().map(|stored| stored.json.len() + 1).sum());
        for stored in events {
            lines.extend_from_slice(stored.json.as_bytes());
            lines.push(b'\n');
        }
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += as_u64(lines.len());
                Ok(())
            }
            Err(cause) => {
                self.cut_back()?;
                Err(cause)
            }
        }
    }

    fn cut_back(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length)).map(|_| ())
    }
}

/// The events of all whole lines, and how many bytes these lines fill.
fn parse(bytes: &[u8], path: &Path) -> Result<(Vec<Event>, u64), StoreError> {
    let mut events = Vec::new();
    let mut length = 0;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for (number, line) in (1..).zip(&lines) {
        match Event::from_json(line) {
            Ok(event) if line.ends_with(b"\n") => {
                events.push(event);
                length += as_u64(line.len());
            }
            // An OK was never sent for it: the sync comes first.
            Ok(_) | Err(_) if number == lines.len() => break,
            Ok(_) | Err(_) => {
                return Err(StoreError::Damaged { path: path.to_owned(), line: number });
            }
        }
    }
    Ok((events, length))
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).expect("a length in memory fits 64 bits")
}
