//! The command lines of processes, put together from the events that bring them.
//!
//! The programs send a command line in pieces, with the first calls of a process, because the process
//! may have ended before anybody could look.

use std::collections::BTreeMap;

use super::{Body, Event};
use crate::escape::printable_bytes;

/// Bytes of a command line that are kept at most; the programs send half of it
/// (`ivrs_trace_common::ARGS_CHUNKS`).
const MAX_BYTES: usize = 16 * 1024;
/// Processes whose command lines are kept; of more, the one that came longest ago goes.
const MAX_PROCESSES: usize = 4096;

/// A command line, put together from pieces that come in order; some may be lost.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    total: usize,
    gap: bool,
}

impl Pieces {
    fn add(&mut self, offset: u32, total: u32, bytes: &[u8]) {
        self.total = usize::try_from(total).unwrap_or(usize::MAX);
        // What comes after a gap could be half an argument and read as another one.
        self.gap |= usize::try_from(offset) != Ok(self.bytes.len());
        self.gap |= self.bytes.len() >= MAX_BYTES;
        if !self.gap {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The arguments that came whole, printable.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<&[u8]> = self.bytes.split(|&byte| byte == 0).collect();
        let last = arguments.pop();
        if self.bytes.len() >= self.total {
            // It need not end with NUL: a process may write over its own command line.
            arguments.extend(last.filter(|last| !last.is_empty()));
        }
        arguments.into_iter().map(printable_bytes).collect()
    }
}

/// The command lines of processes, as events bring them.
#[derive(Default)]
pub(crate) struct CommandLines {
    processes: BTreeMap<u32, Known>,
    /// The processes in the order in which their command lines began, by [`Known::number`].
    order: BTreeMap<u64, u32>,
    count: u64,
}

struct Known {
    /// The thread whose pieces these are. Another one of the same process may send them too.
    tid: u32,
    pieces: Pieces,
    arguments: Vec<String>,
    number: u64,
}

impl CommandLines {
    /// Adds the piece of a command line that an event brings. True if it was one.
    pub(crate) fn observe(&mut self, event: &Event) -> bool {
        let Body::Args { offset, total, bytes, .. } = &event.body else { return false };
        if *offset == 0 {
            // The process may be another one by now, with the number of one that ended.
            self.count += 1;
            let known = Known {
                tid: event.tid,
                pieces: Pieces::default(),
                arguments: Vec::new(),
                number: self.count,
            };
            self.order.insert(self.count, event.pid);
            if let Some(before) = self.processes.insert(event.pid, known) {
                self.order.remove(&before.number);
            }
        }
        if let Some(known) = self.processes.get_mut(&event.pid).filter(|one| one.tid == event.tid) {
            known.pieces.add(*offset, *total, bytes);
            known.arguments = known.pieces.arguments();
        }
        if self.processes.len() > MAX_PROCESSES
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.processes.remove(&oldest);
        }
        true
    }

    /// The arguments of a process that came whole, printable; empty where nothing came.
    pub(crate) fn of(&self, pid: u32) -> &[String] {
        self.processes.get(&pid).map_or(&[], |known| &known.arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_with_lost_pieces_yields_no_half_arguments() {
        let line = |parts: &[(u32, &str)]| {
            let mut line = Pieces::default();
            for (offset, text) in parts {
                line.add(*offset, 18, text.replace('|', "\0").as_bytes());
            }
            line.arguments()
        };
        assert_eq!(line(&[(0, "qemu|-h"), (7, "ost|00:07.0|")]), ["qemu", "-host", "00:07.0"]);
        assert_eq!(line(&[(0, "qemu|-host|00:07.0")]), ["qemu", "-host", "00:07.0"]);
        assert_eq!(line(&[(0, "qemu|-host|00:0")]), ["qemu", "-host"], "the end is missing");
        assert_eq!(line(&[(0, "qemu|-h"), (12, "0:07.0|")]), ["qemu"], "the middle is missing");
        assert_eq!(line(&[(7, "ost|00:07.0|")]), [""; 0], "the start is missing");
    }

    #[test]
    fn a_command_line_without_end_is_not_kept() {
        let mut line = Pieces::default();
        for offset in (0..1024 * 1024).step_by(512) {
            line.add(offset, u32::MAX, &[b'a'; 512]);
        }
        assert_eq!(line.bytes.len(), MAX_BYTES);
        assert_eq!(line.arguments(), [""; 0]);
    }

    fn piece(pid: u32, tid: u32, offset: u32, text: &str) -> Event {
        let bytes = text.replace('|', "\0").into_bytes();
        let body = Body::Args { offset, total: 8, bytes, text: text.to_owned() };
        Event { time_ns: 0, pid, tid, comm: "qemu".to_owned(), cpu: 0, body }
    }

    #[test]
    fn threads_and_processes_are_kept_apart() {
        let mut lines = CommandLines::default();
        for event in [
            piece(1, 1, 0, "ab|c"),
            piece(2, 2, 0, "uv|w"),
            // Another thread of the first, which begins while that is not through.
            piece(1, 9, 0, "ab|c"),
            piece(1, 1, 4, "d|e|"),
            piece(2, 2, 4, "x|y|"),
            piece(1, 9, 4, "d|e|"),
        ] {
            assert!(lines.observe(&event));
        }
        assert_eq!(lines.of(1), ["ab", "cd", "e"]);
        assert_eq!(lines.of(2), ["uv", "wx", "y"]);
        assert_eq!(lines.of(3), [""; 0]);
        // The number comes again, for another process.
        lines.observe(&piece(1, 1, 0, "new|one|"));
        assert_eq!(lines.of(1), ["new", "one"]);
    }

    #[test]
    fn only_so_many_processes_are_remembered() {
        let mut lines = CommandLines::default();
        for pid in 0..u32::try_from(MAX_PROCESSES + 10).unwrap() {
            lines.observe(&piece(pid, pid, 0, "a|"));
        }
        assert_eq!((lines.processes.len(), lines.order.len()), (MAX_PROCESSES, MAX_PROCESSES));
        assert_eq!((lines.of(9).len(), lines.of(10).len()), (0, 1));
    }
}
