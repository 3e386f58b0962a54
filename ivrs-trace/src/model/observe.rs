//! A host and the attempts that were seen on it, as events come in.

use std::ops::Deref;

use super::{
    attempt::{Attempt, Tracker},
    known::Known,
};
use crate::{
    event::Event,
    facts::{KernelFlag, OpenFile},
    host::Snapshot,
};

/// What is known of a host and, beside it, the attempts.
pub struct Model {
    known: Known,
    attempts: Tracker,
}

/// All that is asked of the host is asked of what is known.
impl Deref for Model {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl Model {
    /// A model of `host`, whose kernel has the flag or not.
    #[must_use]
    pub fn new(host: Snapshot, flag: impl Into<KernelFlag>) -> Self {
        Self { known: Known::new(host, flag), attempts: Tracker::default() }
    }

    /// Takes over which processes had files of `/dev/vfio` open when the trace began: a group that
    /// is found to be held later was perhaps theirs.
    pub fn opened_before(&mut self, files: Vec<OpenFile>) {
        let known = &self.known;
        self.attempts.opened_before(files, |bdf| known.function(bdf)?.group.value().copied());
    }

    /// Takes the host as it is now, see [`Known::rehost`]; attempts stay as they were judged.
    pub fn rehost(&mut self, host: Snapshot) {
        self.known.rehost(host);
    }

    /// Takes in one event. `number` is its place in the stream, from 0; events come in the order of
    /// the ring buffer.
    pub fn observe(&mut self, number: u64, event: &Event) {
        self.known.observe(number, event);
        // Attempts are judged by everything else that is known.
        self.attempts.observe(number, event, &self.known);
    }

    /// Says that no more events come: what is still open then is closed as unknown.
    pub fn finish(&mut self) {
        self.attempts.finish();
    }

    /// The attempts so far, in the order in which they began.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        self.attempts.all()
    }

    /// How many attempts were dropped, the oldest first: no more than [`MAX_ATTEMPTS`](super::MAX_ATTEMPTS) and some are
    /// kept.
    #[must_use]
    pub fn attempts_dropped(&self) -> u64 {
        self.attempts.dropped()
    }

    /// How many threads, links and holders are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize, usize) {
        self.attempts.remembered()
    }
}
