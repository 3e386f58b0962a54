//! The command line. One file a command; what they share of a live host is in [`live`].
//!
//! Results go to standard output, talk to standard error. A failure is one line and status 2.

mod check;
mod decode;
mod diff;
mod events;
mod explain;
mod export;
mod facts;
mod leave_out;
mod live;
mod open_files;
mod output;
mod probes;
mod record;
mod report;
mod run;
mod save;
mod source;
mod what_if;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Names the firmware entry behind a refused VFIO passthrough.
///
/// On many AMD boards the firmware's IVRS table asks for 1:1 memory maps of whole ranges of
/// devices. Linux then refuses to hand any of them to a virtual machine: "Firmware has requested
/// this device have a 1:1 IOMMU mapping". This tool watches the refusal and names the entry.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command, watch what it takes, and explain what was refused
    Run(run::Args),
    /// Record what the host shows and its kernel does to a file that `--from` reads anywhere
    Record(record::Args),
    /// Print every event as it happens, one a line, until interrupted
    Events(events::Args),
    /// Say for each device whether the kernel would refuse it, and why
    ///
    /// Exit status: 0 all clear, 1 something is blocked, 2 error, 3 something is unknown and
    /// nothing is blocked.
    Check(check::Args),
    /// Decode an IVRS table: what it asks for and what Linux makes of it
    Decode(decode::Args),
    /// Say what differs between two tables, or between two copied hosts
    ///
    /// Exit status: 0 no difference, 1 differences, 2 error.
    Diff(diff::Args),
    /// Say which devices would become clear or blocked if the table or a slot were another
    ///
    /// It only thinks: it changes nothing, and neither writes nor installs a table. A device that
    /// does use the memory behind an entry loses it with the entry: its DMA then fails, corrupts
    /// data or hangs the machine, perhaps long after. Only the maker of the board knows which
    /// entries are needed; ask there for firmware with the table that this shows to be enough.
    WhatIf(what_if::Args),
    /// Write a report for kernel developers, for the board's vendor or for a forum
    Report(report::Args),
    /// Write what is known for other programs: JSON lines, Perfetto, CSV, the table, metrics
    Export(export::Args),
    /// Say how each probe stands on this host: attached by what, waiting, or missing and why
    Probes(probes::Args),
    /// Say what the code of a finding means and what to do about it
    Explain(explain::Args),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Some(Command::Run(args)) => run::command(&args),
        Some(Command::Record(args)) => record::command(&args),
        Some(Command::Events(args)) => events::command(&args),
        Some(Command::Check(args)) => check::command(&args),
        Some(Command::Decode(args)) => decode::command(&args),
        Some(Command::Diff(args)) => diff::command(&args),
        Some(Command::WhatIf(args)) => what_if::command(&args),
        Some(Command::Report(args)) => report::command(&args),
        Some(Command::Export(args)) => export::command(&args),
        Some(Command::Probes(args)) => probes::command(&args),
        Some(Command::Explain(args)) => explain::command(&args),
        None => {
            output::print(&Cli::command().render_help().to_string()).map(|()| ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|error| {
        if output::is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        output::complain(&format!("{error:#}"));
        ExitCode::from(2)
    })
}

/// The runtime of the commands that trace: one thread, which also reads the ring.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}
