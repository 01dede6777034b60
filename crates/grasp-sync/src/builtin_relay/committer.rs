//! The one thread through which every event enters the relay, so that the order is one for all.
//! It writes a group of batches to the disk with one sync, then admits and announces them.
//! It never checks a signature.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use nostr::types::Timestamp;
use tokio::sync::oneshot;
use tracing::error;

use super::archive::{Stored, Verdict};
use super::hub::Hub;
use super::journal::Journal;

/// How many batches share one sync at most: it bounds the wait of the first of them.
const GROUP: usize = 64;

enum Task {
    Commit(Batch),
    Stop,
}

struct Batch {
    events: Vec<Arc<Stored>>,
    answer: Answer,
}

enum Answer {
    Later(oneshot::Sender<Vec<Verdict>>),
    /// For who waits without a runtime.
    Blocking(Sender<Vec<Verdict>>),
}

/// The way into the thread. The thread ends when every clone of it is gone, or by [`Committer::stop`].
#[derive(Debug, Clone)]
pub(super) struct Committer {
    tasks: Sender<Task>,
}

impl Committer {
    /// Starts the thread; without a journal events live in memory only.
    pub(super) fn start(hub: Arc<Hub>, journal: Option<Journal>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (tasks, queue) = channel();
        let thread =
            thread::Builder::new().name("builtin-relay-store".to_owned()).spawn(move || work(&queue, &hub, journal))?;
        Ok((Self { tasks }, thread))
    }

    /// One verdict for each event, once it is as durable as the store makes it.
    pub(super) async fn commit(&self, events: Vec<Arc<Stored>>) -> Vec<Verdict> {
        let count = events.len();
        let (answer, verdicts) = oneshot::channel();
        let batch = Batch { events, answer: Answer::Later(answer) };
        if self.tasks.send(Task::Commit(batch)).is_err() {
            return vec![Verdict::Unwritable; count];
        }
        verdicts.await.unwrap_or_else(|_| vec![Verdict::Unwritable; count])
    }

    /// As [`Committer::commit`], blocking the calling thread.
    pub(super) fn commit_blocking(&self, events: Vec<Arc<Stored>>) -> Vec<Verdict> {
        let count = events.len();
        let (answer, verdicts) = channel();
        let batch = Batch { events, answer: Answer::Blocking(answer) };
        if self.tasks.send(Task::Commit(batch)).is_err() {
            return vec![Verdict::Unwritable; count];
        }
        verdicts.recv().unwrap_or_else(|_| vec![Verdict::Unwritable; count])
    }

    /// What was handed over before is still written.
    pub(super) fn stop(&self) {
        // A thread that is gone has stopped already.
        let _ = self.tasks.send(Task::Stop);
    }
}

fn work(queue: &Receiver<Task>, hub: &Hub, mut journal: Option<Journal>) {
    while let Ok(first) = queue.recv() {
        let mut is_stopped = false;
        let mut batches = Vec::new();
        for task in std::iter::once(first).chain(queue.try_iter().take(GROUP)) {
            match task {
                Task::Commit(batch) => batches.push(batch),
                Task::Stop => is_stopped = true,
            }
        }
        commit_group(batches, hub, journal.as_mut());
        if is_stopped {
            return;
        }
    }
}

fn commit_group(batches: Vec<Batch>, hub: &Hub, journal: Option<&mut Journal>) {
    let now = Timestamp::now().as_secs();
    let is_durable = journal.is_none_or(|journal| write(&batches, hub, journal, now));
    for batch in batches {
        let verdicts = if is_durable {
            hub.admit(&batch.events, now)
        } else {
            batch.events.iter().map(|stored| unwritten(hub.judge(stored, now))).collect()
        };
        batch.answer.give(verdicts);
    }
}

/// Whether all that is worth keeping reached the disk.
fn write(batches: &[Batch], hub: &Hub, journal: &mut Journal, now: u64) -> bool {
    let events = batches.iter().flat_map(|batch| &batch.events);
    let kept: Vec<_> = events.filter(|stored| hub.judge(stored, now) == Verdict::Stored).cloned().collect();
    if kept.is_empty() {
        return true;
    }
    journal.append(&kept).inspect_err(|cause| error!(%cause, "the relay store could not be written")).is_ok()
}

fn unwritten(verdict: Verdict) -> Verdict {
    match verdict {
        // A broadcast needs no disk, but a relay that cannot write should not look healthy.
        Verdict::Stored | Verdict::Broadcast | Verdict::Unwritable => Verdict::Unwritable,
        Verdict::Duplicate | Verdict::Replaced | Verdict::Deleted | Verdict::Expired | Verdict::Protected => verdict,
    }
}

impl Answer {
    fn give(self, verdicts: Vec<Verdict>) {
        // Who asked may be gone; the events stay either way.
        match self {
            Self::Later(answer) => drop(answer.send(verdicts)),
            Self::Blocking(answer) => drop(answer.send(verdicts)),
        }
    }
}
