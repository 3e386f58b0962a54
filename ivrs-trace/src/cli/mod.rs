//! The command line. One file a command; what they share of a live host is in [`live`].
//!
//! Results go to standard output, talk to standard error, where `run` explains: its standard output is
//! the command's. A failure is one line and status 2.

mod check;
mod completions;
mod decode;
mod diff;
mod doctor;
mod events;
mod explain;
mod export;
mod io;
mod probes;
mod record;
mod report;
mod run;
#[cfg(feature = "tui")]
mod tui;
mod what_if;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{
    escape::{is_hidden, printable},
    output,
};

const MORE: &str = "\
Examples:
  sudo ivrs-trace check
      Which devices the kernel would refuse, and why
  sudo ivrs-trace run -- virsh -c qemu:///system start my-vm
      Why this start fails
  sudo ivrs-trace record -o trace.ivt -- virsh -c qemu:///system start my-vm
      Record the start, for somebody else to examine

Environment:
  NO_COLOR  if set and not empty, disables colours on a terminal

Exit status:
  2       error: one line on standard error names it
  others  see the help of each command";

/// Find the firmware entry that makes Linux refuse VFIO passthrough
///
/// On many AMD boards the firmware's IVRS table requests 1:1 memory maps for whole ranges of
/// devices. Linux then refuses to assign any of these devices to a VM: "Firmware has requested this
/// device have a 1:1 IOMMU mapping". ivrs-trace observes the refusal in the kernel and identifies
/// the entry responsible.
///
/// It changes nothing on the host. Tracing requires root, or `CAP_BPF` and `CAP_PERFMON`, and a
/// kernel with BTF, as distributions build it. Reading a recording (--from) requires no privileges.
///
/// Without a command, ivrs-trace opens the dashboard.
#[derive(Debug, Parser)]
#[command(name = "ivrs-trace", version, max_term_width = 100, after_long_help = MORE)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    /// Also say of each missing probe why it cannot be attached
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Option<Command>,
    #[cfg(feature = "tui")]
    #[command(flatten)]
    tui: tui::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open the dashboard: devices, attempts, firmware, regions and events, live
    ///
    /// This is the default command. Start it before the VM: the last line announces each refusal,
    /// and Enter explains it. ? lists the keys. With a recording (--from), the dashboard adds a time
    /// line.
    #[cfg(feature = "tui")]
    Tui(tui::Args),
    /// Run a command, trace every attempt to claim a device, and explain the result
    ///
    /// While CMD runs, ivrs-trace watches all processes of the host for attempts to claim a device
    /// or an IOMMU group, so it also sees what a daemon such as libvirtd does for CMD. The
    /// explanation follows on standard error; with --json or --from it goes to standard output.
    Run(run::Args),
    /// Record the host and what its kernel does, to a file that --from reads anywhere
    ///
    /// The recording ends with CMD, after --duration, or on Ctrl-C. It holds the firmware's tables,
    /// the devices, groups and regions, every event, and a count of lost ones. It holds no serial
    /// numbers, but it does hold the command lines of the kernel and of the processes that claimed
    /// a device: review it before you send it. Under sudo the file belongs to the user who ran sudo.
    Record(record::Args),
    /// Print every event as it happens, one per line, until interrupted
    ///
    /// Each line shows the event's number, time, process ID, thread ID and thread name, and what
    /// happened. Other commands cite events as evidence by these numbers.
    Events(events::Args),
    /// Show for each device whether the kernel would refuse it, and why
    ///
    /// With the privilege to trace, check asks the kernel which regions it lists for each device.
    /// Without it, check reads files only, and reports as unknown what they cannot prove.
    Check(check::Args),
    /// Decode an IVRS or DMAR table: what it requests and what Linux makes of it
    Decode(decode::Args),
    /// Compare two tables or two hosts, for example before and after a BIOS update
    Diff(diff::Args),
    /// Show which devices another table or another slot would free or block
    ///
    /// This is a simulation: it changes nothing and writes no table. A device that does use the
    /// memory behind an entry loses that memory with the entry: its DMA then fails, corrupts data
    /// or hangs the host, perhaps much later. Only the board's vendor knows which entries its
    /// devices need: ask the vendor for firmware with a table that the simulation shows to suffice.
    WhatIf(what_if::Args),
    /// Write a report for kernel developers, the board's vendor or a forum
    ///
    /// With a recording (--from), the report includes the recorded attempts. Read the report before
    /// you send it, even a redacted one.
    Report(report::Args),
    /// Export the facts to other programs: JSON lines, Perfetto, CSV, the table, metrics
    ///
    /// export redacts nothing: review the file before you send it.
    Export(export::Args),
    /// Check whether this host can be traced, and what else would stop VFIO
    ///
    /// doctor checks privileges, the kernel, the IOMMU, the origin of the IVRS table and VFIO. For
    /// each device it checks the group and the current use, so that nobody assigns the disk that
    /// the host runs from. It changes nothing.
    Doctor(doctor::Args),
    /// List the probes: how each one attaches on this host, or why it does not
    ///
    /// The command attaches each probe, then detaches it. A probe in a module that is not loaded
    /// waits for that module.
    Probes(probes::Args),
    /// Explain a finding by its code: what it means and what to do about it
    Explain(explain::Args),
    /// Print a shell script that completes the commands and options of ivrs-trace
    Completions(completions::Args),
}

/// The definition of the command line, for what is made from it: help, man pages, completions.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Ends with what is wrong with the arguments, or with the help that they ask for. clap repeats a
/// wrong argument as it is.
fn refuse(error: &clap::Error) -> ! {
    let hidden = |text: String| text.chars().any(is_hidden);
    if std::env::args_os().all(|one| !hidden(one.to_string_lossy().into_owned())) {
        error.exit();
    }
    for line in error.to_string().lines() {
        output::complain_plainly(&printable(line));
    }
    std::process::exit(error.exit_code());
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => refuse(&error),
    };
    output::set_verbose(cli.verbose);
    let result = match cli.command {
        #[cfg(feature = "tui")]
        Some(Command::Tui(args)) => tui::command(&args),
        Some(Command::Run(args)) => run::command(&args),
        Some(Command::Record(args)) => record::command(&args),
        Some(Command::Events(args)) => events::command(&args),
        Some(Command::Check(args)) => check::command(&args),
        Some(Command::Decode(args)) => decode::command(&args),
        Some(Command::Diff(args)) => diff::command(&args),
        Some(Command::WhatIf(args)) => what_if::command(&args),
        Some(Command::Report(args)) => report::command(&args),
        Some(Command::Export(args)) => export::command(&args),
        Some(Command::Doctor(args)) => doctor::command(&args),
        Some(Command::Probes(args)) => probes::command(&args),
        Some(Command::Explain(args)) => explain::command(&args),
        Some(Command::Completions(args)) => completions::command(&args, &definition()),
        #[cfg(feature = "tui")]
        None => tui::command(&cli.tui),
        #[cfg(not(feature = "tui"))]
        None => crate::output::print(&Cli::command().render_help().to_string())
            .map(|()| ExitCode::from(2)),
    };
    result.unwrap_or_else(|error| {
        if output::is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        output::complain(&format!("{error:#}"));
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command lines in the examples of a long help: those lines that are indented by two.
    fn examples(command: &clap::Command) -> Vec<String> {
        let more = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let lines = more.lines().skip_while(|line| *line != "Examples:").skip(1);
        let lines = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
        let lines = lines.filter_map(|line| line.strip_prefix("  "));
        lines.filter(|line| !line.starts_with(' ')).map(str::to_owned).collect()
    }

    #[test]
    fn every_command_lists_its_statuses_and_gives_examples() {
        definition().debug_assert();
        for command in definition().get_subcommands() {
            let more = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            assert!(more.starts_with("Exit status:\n  "), "{name}: {more}");
            assert!(!examples(command).is_empty(), "{name}: {more}");
            let long = more.lines().find(|line| line.chars().count() > 100);
            assert_eq!(long, None, "{name}");
        }
    }

    #[test]
    fn the_help_of_run_names_one_place_for_the_explanation() {
        let mut program = definition();
        let help = program.find_subcommand_mut("run").unwrap().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let places: Vec<&str> = help
            .match_indices("explanation")
            .filter_map(|(at, _)| help[at..].split('.').next())
            .collect();
        let place = "explanation follows on standard error; with --json or --from it goes to standard output";
        assert_eq!(places, [place]);
    }

    #[test]
    fn every_example_is_a_command_line_of_this_program() {
        let program = definition();
        let all = program.get_subcommands().chain([&program]).flat_map(examples);
        for example in all {
            let ours = example.split('|').find(|part| part.contains("ivrs-trace ")).unwrap();
            let ours = ours.split('>').next().unwrap().trim_start().trim_start_matches("sudo ");
            let parsed = Cli::try_parse_from(ours.split_whitespace());
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}
