//! `ivrs-trace events`: the stream, a line an event.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{leave_out::LeaveOutArgs, live::Live, output};
use crate::{event::Event, report::json::EventLine};

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object an event instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    leave_out: LeaveOutArgs,
}

/// Prints events until SIGINT or SIGTERM, or until nobody reads them.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(stream(args))
}

async fn stream(args: &Args) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut lines = Vec::new();
    let mut live = Live::start_without(&args.leave_out.resolved(), |number, event| {
        write_event(&mut lines, json, number, event);
    })?;
    live.warn();
    loop {
        flush(&mut lines)?;
        tokio::select! {
            ready = live.ready() => ready?,
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
        }
        live.pump(|number, event| write_event(&mut lines, json, number, event));
    }
    live.pump(|number, event| write_event(&mut lines, json, number, event));
    flush(&mut lines)?;
    let lost = live.lost()?;
    if lost.any() {
        output::complain(&format!(
            "events are missing: {} found the ring buffer full, {} reads of kernel memory failed, \
             {} could not be decoded",
            lost.ring, lost.read, lost.queue
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn write_event(lines: &mut Vec<u8>, json: bool, number: u64, event: &Event) {
    // Writing to memory fails for nothing but a value that cannot be serialised, which an event
    // is not.
    if json {
        let line = EventLine { number, event };
        let _: serde_json::Result<()> = serde_json::to_writer(&mut *lines, &line);
        lines.push(b'\n');
    } else {
        let _: io::Result<()> = writeln!(lines, "{number:>6} {event}");
    }
}

fn flush(lines: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(lines).context("standard output")?;
    out.flush().context("standard output")?;
    lines.clear();
    Ok(())
}
