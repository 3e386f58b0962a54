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
mod leave_out;
mod only_failures;
mod probes;
mod record;
mod report;
mod run;
#[cfg(feature = "tui")]
mod tui;
mod what_if;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// What the long help and the man page say after the options.
const MORE: &str = "\
Examples:
  sudo ivrs-trace check
      Which devices would the kernel refuse, and why
  sudo ivrs-trace run -- virsh -c qemu:///system start my-vm
      Why does this fail
  sudo ivrs-trace record -o trace.ivt -- virsh -c qemu:///system start my-vm
      All of it into a file, for somebody else to look at

Environment:
  NO_COLOR  if it is set to something, there are no colours on a terminal

Exit status:
  2       error: one line on standard error says what failed
  others  are told in the help of each command";

/// Names the firmware entry behind a refused VFIO passthrough.
///
/// On many AMD boards the firmware's IVRS table asks for 1:1 memory maps of whole ranges of
/// devices. Linux then refuses to hand any of them to a virtual machine: "Firmware has requested
/// this device have a 1:1 IOMMU mapping". This tool watches the refusal and names the entry.
///
/// It changes nothing. Tracing needs root, or `CAP_BPF` and `CAP_PERFMON`, and a kernel with BTF, as
/// distributions build it. Recordings (--from) are read anywhere, without root.
///
/// Without a command it shows the dashboard.
#[derive(Debug, Parser)]
#[command(name = "ivrs-trace", version, max_term_width = 100, after_long_help = MORE)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[cfg(feature = "tui")]
    #[command(flatten)]
    tui: tui::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the dashboard: devices, attempts, firmware, regions and events, live
    ///
    /// It is what runs without a command. Start it before the virtual machine: a refusal is told in
    /// the last line, and a key explains it. ? shows the keys. With a recording (--from), the same
    /// dashboard has a place in time.
    #[cfg(feature = "tui")]
    Tui(tui::Args),
    /// Run a command, watch what it takes, and explain what was refused
    ///
    /// While CMD runs, every process of this host is watched for taking a device or an IOMMU group,
    /// so a daemon that CMD asks, such as libvirtd, is seen too. What CMD prints is passed on as it
    /// is; the explanation follows on standard output.
    Run(run::Args),
    /// Record the host, and what its kernel does, into a file that `--from` reads anywhere
    ///
    /// The recording ends with CMD, after --duration, or on Ctrl-C. It holds the firmware's tables,
    /// the devices, groups and regions, and every event of the probes, whatever is lost included. It
    /// has no serial numbers, but the kernel's command line and those of the processes that took a
    /// device: look before you send it. Under sudo it belongs to the user who called that.
    Record(record::Args),
    /// Print every event as it happens, one per line, until interrupted
    ///
    /// A line has the event's number, its time, process and thread id, the thread's name, and what
    /// happened. Other commands name events as evidence by these numbers.
    Events(events::Args),
    /// Say for each device whether the kernel would refuse it, and why
    ///
    /// With the privilege to trace, the kernel is asked which regions it knows of each device; else
    /// files alone are judged, and what they cannot prove is called unknown.
    Check(check::Args),
    /// Decode an IVRS table: what it asks for and what Linux makes of it
    Decode(decode::Args),
    /// Say what differs between two tables or two hosts, as before and after a BIOS update
    Diff(diff::Args),
    /// Say which devices another table or another slot would free or block
    ///
    /// It only thinks: it changes nothing, and neither writes nor installs a table. A device that
    /// does use the memory behind an entry loses it with the entry: its DMA then fails, corrupts
    /// data or hangs the machine, perhaps long after. Only the maker of the board knows which
    /// entries are needed; ask there for firmware with the table that this shows to be enough.
    WhatIf(what_if::Args),
    /// Write a report for kernel developers, for the board's vendor or for a forum
    ///
    /// With a recording (--from), the attempts in it are part of the report. Read it before you send
    /// it, also where names are left out.
    Report(report::Args),
    /// Write what is known for other programs: JSON lines, Perfetto, CSV, the table, metrics
    ///
    /// Nothing is left out, so look at it before you send it.
    Export(export::Args),
    /// Say whether this host can be traced, and what else would stop VFIO
    ///
    /// Looks at rights, kernel, IOMMU, the origin of the IVRS table and VFIO; and for each device at
    /// its group and at what it is in use for, so that nobody takes away the disk that the host runs
    /// from. It changes nothing.
    Doctor(doctor::Args),
    /// Say for each probe whether and how it works on this host, and if not, why
    ///
    /// Each is attached and let go. A probe on a module that is not loaded waits for it.
    Probes(probes::Args),
    /// Say what the code of a finding means and what to do about it
    Explain(explain::Args),
    /// Print a script by which a shell completes this program's commands and options
    Completions(completions::Args),
}

/// The definition of the command line, for what is made from it: help, man pages, completions.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
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
        Some(Command::Completions(args)) => completions::command(&args),
        #[cfg(feature = "tui")]
        None => tui::command(&cli.tui),
        #[cfg(not(feature = "tui"))]
        None => {
            output::print(&Cli::command().render_help().to_string()).map(|()| ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|error| {
        if crate::output::is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        crate::output::complain(&format!("{error:#}"));
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
    fn every_command_tells_its_statuses_and_gives_examples() {
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
