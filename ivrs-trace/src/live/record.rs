//! A file that a live trace is recorded to: how it is made, begun and told of.

use std::{ffi::OsString, io, path::Path};

use rustix::{thread::CapabilitySet, time::ClockId};
use tokio::signal::unix::{SignalKind, signal};

use super::rights;
use crate::{
    escape::printable,
    facts::{Clocks, Start},
    model::{OpenFile, RequireDirect},
    output,
    privilege::{Caller, made_by_caller},
    probe::tracer::now_ns,
    recording::{EVENT_LAYOUT, Options, Outcome, Recorder, Status},
};

/// Bytes of a command line that are recorded at most.
const MAX_COMMAND: usize = 16 * 1024;

/// A file to record to, as it was asked for on the command line.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) path: &'a Path,
    pub(crate) force: bool,
    pub(crate) max_size: Option<u64>,
    pub(crate) command: &'a [OsString],
}

impl Output<'_> {
    /// Makes the file. Under sudo it belongs to the user who called that. The thread that writes
    /// has no capabilities, and is that user where the file was made with that user's rights.
    pub(crate) fn create(&self) -> anyhow::Result<Recorder> {
        self.create_telling(output::complain)
    }

    /// The same; what goes wrong later is said to `tell`, a line each.
    pub(crate) fn create_telling(
        &self,
        tell: impl Fn(&str) + Clone + Send + 'static,
    ) -> anyhow::Result<Recorder> {
        let caller = Caller::of_sudo();
        let options = Options {
            path: self.path.to_owned(),
            force: self.force,
            max_size: self.max_size,
            owner: caller.map(|caller| (caller.uid, caller.gid)),
        };
        let begin = move || {
            let is_caller = !rustix::process::geteuid().is_root();
            rights::give_up(CapabilitySet::empty(), caller.filter(|_| is_caller));
        };
        let make = || Recorder::create_after(options.clone(), begin, tell.clone());
        Ok(made_by_caller(make)?.0)
    }

    pub(crate) fn name(&self) -> String {
        printable(&self.path.display().to_string())
    }

    /// Says on standard error what has become of it.
    pub(crate) fn tell(&self, outcome: &Outcome) {
        output::complain(&self.words(outcome));
    }

    pub(crate) fn words(&self, outcome: &Outcome) -> String {
        let Status { events, bytes, dropped, trouble } = &outcome.status;
        let name = self.name();
        let dropped = match dropped {
            0 => String::new(),
            count => format!("; {count} events could not be written"),
        };
        let cut = if outcome.closed {
            String::new()
        } else {
            let why = trouble.as_deref().unwrap_or("its writer was ended");
            format!("; it is not closed ({why}), but readable up to there")
        };
        let size = size_words(*bytes);
        format!("{name}: {events} events, {size}{dropped}{cut}")
    }
}

/// What is missing of events, for people.
pub(crate) fn lost_words(lost: crate::facts::Lost) -> String {
    format!(
        "events are missing: {} found the ring buffer full, {} reads of kernel memory failed, {} \
         could not be decoded or kept",
        lost.ring, lost.read, lost.queue
    )
}

/// Makes a file that reaches the limit of the process (`ulimit -f`) an error of writing instead of
/// its end. A handler and not "ignore": the command that is run would inherit that.
pub(crate) fn outlive_file_limit() -> io::Result<tokio::signal::unix::Signal> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
}

pub(crate) fn start(
    output: &Output<'_>,
    clocks: Clocks,
    traced: bool,
    require_direct: RequireDirect,
    open_files: Vec<OpenFile>,
) -> Start {
    let byte_order = if cfg!(target_endian = "big") { "big" } else { "little" };
    Start {
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        event_layout: EVENT_LAYOUT,
        byte_order: byte_order.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        traced,
        require_direct,
        clocks,
        command: words(output.command),
        open_files,
    }
}

/// The words of a command, cut where they are very many.
fn words(command: &[OsString]) -> Vec<String> {
    let mut left = MAX_COMMAND;
    let mut words = Vec::new();
    for word in command.iter().map(|word| word.to_string_lossy()) {
        let Some(rest) = left.checked_sub(word.len()) else {
            words.push("…".to_owned());
            break;
        };
        left = rest;
        words.push(word.into_owned());
    }
    words
}

pub(crate) fn clocks() -> Clocks {
    Clocks {
        monotonic_ns: now_ns(ClockId::Monotonic),
        realtime_ns: now_ns(ClockId::Realtime),
        boottime_ns: now_ns(ClockId::Boottime),
    }
}

/// Bytes with one decimal in a fitting unit.
pub(crate) fn size_words(bytes: u64) -> String {
    for (shift, unit) in [(30_u32, "GiB"), (20, "MiB"), (10, "KiB")] {
        let one = 1_u64 << shift;
        if bytes >= one {
            let tenths = bytes.saturating_mul(10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_any_length_leaves_room_for_the_rest() {
        let long = OsString::from("x".repeat(MAX_COMMAND));
        assert_eq!(words(&["a".into(), long.clone(), "b".into()]), ["a", "…"]);
        assert_eq!(words(&[long]).concat().len(), MAX_COMMAND);
        assert_eq!(words(&["virsh".into(), "start".into()]), ["virsh", "start"]);
    }
}
