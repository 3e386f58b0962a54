//! `ivrs-trace events`: the stream, a line an event.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{io::source, probes::LeaveOutArgs};
use crate::{
    event::{Event, Filter, Follow, ParseFilterError},
    facts::Clocks,
    live::{
        Live,
        record::{self, Output},
        rights,
    },
    output,
    pci::Bdf,
    privilege::{Caller, for_modules},
    report::{json::EventLine, stream},
};

/// Bytes of lines that are kept before they are written.
const BUFFER: usize = 64 * 1024;

const MORE: &str = "\
Exit status:
  0  interrupted, or at the end of the recording
  2  error

Examples:
  sudo ivrs-trace events
      Every event, until Ctrl-C
  sudo ivrs-trace events --filter verdict=blocked --time utc
      Only refusals, with date and time
  ivrs-trace events --from trace.ivt --filter device=01:00.0 --filter kind!=region
      The recorded events of one device, without its regions";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// Print one JSON object per event instead of text
    #[arg(long)]
    json: bool,
    /// Print the events of a recording; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    from: Option<PathBuf>,
    /// Also record every event to this file, regardless of filters
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, requires = "output")]
    force: bool,
    /// Print only events that match: NAME=VALUE[,VALUE...] or NAME!=VALUE[,VALUE...]
    ///
    /// NAME is device, group, vm, pid, tid, comm, kind (as in --json) or verdict: blocked (refused
    /// for a 1:1 map), failed (another call that returned an error) or passed (a call that returned
    /// none). * matches any text. If you repeat --filter, an event must match every filter.
    #[arg(long, value_name = "FILTER")]
    filter: Vec<Filter>,
    #[command(flatten)]
    follow: FollowArgs,
    /// How to print times; --json always prints nanoseconds of `CLOCK_MONOTONIC`
    #[arg(long, value_enum, default_value = "relative")]
    time: Time,
    #[command(flatten)]
    leave_out: LeaveOutArgs,
}

/// What is followed. Each option may be given more than once; then any of its values will do.
#[derive(Debug, clap::Args)]
pub(super) struct FollowArgs {
    /// Show only this VM: its libvirt name, QEMU -name or Proxmox number; * matches any text. May
    /// be repeated
    #[arg(long, value_name = "NAME")]
    vm: Vec<String>,
    /// Show only this process. May be repeated
    #[arg(long, value_name = "PID")]
    pid: Vec<String>,
    /// Show only this device, by PCI address. May be repeated
    #[arg(long, value_name = "BDF")]
    device: Vec<String>,
}

impl FollowArgs {
    /// The filters that they stand for, after others.
    pub(super) fn after(&self, mut filters: Vec<Filter>) -> Result<Follow, ParseFilterError> {
        filters.extend(self.filters()?);
        let mut follow = Follow::default();
        follow.set(filters);
        Ok(follow)
    }

    /// The filters that they stand for.
    pub(super) fn filters(&self) -> Result<Vec<Filter>, ParseFilterError> {
        let named = [("vm", &self.vm), ("pid", &self.pid), ("device", &self.device)];
        named
            .into_iter()
            .filter_map(|(name, values)| Filter::any_of(name, values).transpose())
            .collect()
    }

    /// What an attempt must have one of each of.
    #[cfg(feature = "tui")]
    pub(super) fn alternatives(&self) -> Vec<Vec<String>> {
        let device = |text: &String| {
            text.parse::<Bdf>().map_or_else(|_| text.clone(), |bdf| bdf.to_string())
        };
        let devices: Vec<String> = self.device.iter().map(device).collect();
        let all = [self.vm.clone(), self.pid.clone(), devices];
        all.into_iter().filter(|any| !any.is_empty()).collect()
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Time {
    /// Seconds since the trace began
    Relative,
    /// Date and time, UTC
    Utc,
    /// Seconds since the host started (`CLOCK_MONOTONIC`)
    Monotonic,
}

/// Prints events until SIGINT or SIGTERM, or until nobody reads them.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.from {
        Some(path) => replay(args, path),
        None => crate::live::runtime::runtime()?.block_on(live(args)),
    }
}

async fn live(args: &Args) -> anyhow::Result<ExitCode> {
    let follow = args.follow.after(args.filter.clone())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let _full = record::outlive_file_limit()?;
    let output = args.output.as_deref().map(|path| Output {
        path,
        force: args.force,
        max_size: None,
        command: &[],
    });
    let mut first = Vec::new();
    let mut live =
        Live::start_with(output.as_ref(), &args.leave_out.resolved(), |number, event| {
            first.push((number, event.clone()));
        })?;
    let mut lines = Lines::new(args, follow, live.began());
    live.warn();
    rights::give_up(for_modules(), Caller::of_sudo());
    for (number, event) in first {
        lines.add(number, &event);
    }
    let result = loop {
        if let Err(error) = lines.flush() {
            break Err(error);
        }
        tokio::select! {
            ready = live.ready() => ready?,
            _ = interrupted.recv() => break Ok(()),
            _ = terminated.recv() => break Ok(()),
        }
        live.pump(|number, event| lines.add(number, event));
    };
    live.pump(|number, event| lines.add(number, event));
    // Whoever reads the lines may be gone; the recording is closed all the same.
    let result = result.and_then(|()| lines.flush());
    if let (Some(output), Some(outcome)) = (output, live.end_recording("interrupted", None)) {
        output.tell(&outcome);
    }
    result?;
    let lost = live.lost()?;
    if lost.any() {
        output::complain(&record::lost_words(lost));
    }
    Ok(ExitCode::SUCCESS)
}

fn replay(args: &Args, path: &Path) -> anyhow::Result<ExitCode> {
    let follow = args.follow.after(args.filter.clone())?;
    let mut lines = Lines::new(args, follow, Clocks::default());
    let mut result = Ok(());
    let replay = source::recording(path, |start, number, event| {
        if let Some(start) = start {
            lines.began = start.clocks;
        }
        if result.is_ok() {
            lines.add(number, event);
            if lines.bytes.len() >= BUFFER {
                result = lines.flush();
            }
        }
    })?;
    result.and_then(|()| lines.flush())?;
    if replay.lost.any() {
        output::complain(&record::lost_words(replay.lost));
    }
    if lines.shown == 0 && replay.condition.events > 0 {
        output::complain(&format!(
            "none of its {} events matches the filters",
            replay.condition.events
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lines on their way to standard output.
struct Lines<'a> {
    args: &'a Args,
    follow: Follow,
    began: Clocks,
    bytes: Vec<u8>,
    shown: u64,
}

impl<'a> Lines<'a> {
    fn new(args: &'a Args, follow: Follow, began: Clocks) -> Self {
        Self { args, follow, began, bytes: Vec::new(), shown: 0 }
    }

    fn add(&mut self, number: u64, event: &Event) {
        if !self.follow.lets(event) {
            return;
        }
        self.shown += 1;
        if self.args.json {
            let line = EventLine { number, event };
            // Writing to memory fails for nothing but a value that cannot be serialised, which an
            // event is not.
            let _: serde_json::Result<()> = serde_json::to_writer(&mut self.bytes, &line);
        } else {
            let time = match self.args.time {
                Time::Relative => stream::Time::Relative,
                Time::Utc => stream::Time::Utc,
                Time::Monotonic => stream::Time::Monotonic,
            };
            self.bytes.extend(stream::line(number, event, time, self.began).as_bytes());
        }
        self.bytes.push(b'\n');
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        output::print(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}
