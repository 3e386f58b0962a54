//! `ivrs-trace report`: what is known of a host, in words for whoever can do something about it.

use std::{path::PathBuf, process::ExitCode};

use super::io::{facts, save};
use crate::report::{self, letters::input::Case, redact::Redactor, write};

const MORE: &str = "\
Exit status:
  0  the report is complete
  2  error

Examples:
  sudo ivrs-trace report --for vendor -o report.txt
      For the support of the board's vendor
  ivrs-trace report --for kernel --from trace.ivt
      For a kernel mailing list, with the recorded attempts
  ivrs-trace report --for forum --from trace.ivt
      For a forum, in Markdown";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// The reader of the report
    #[arg(long = "for", value_enum, value_name = "READER")]
    reader: Reader,
    /// Report on another host: a recording, or a folder with copies of its /sys and /proc; - reads a
    /// recording from standard input
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
    /// Leave out whatever identifies a person or this host: names, serial numbers, UUIDs, command
    /// lines; the default for vendor and forum
    #[arg(long, overrides_with = "no_redact")]
    redact: bool,
    /// Leave nothing out; the default for kernel
    #[arg(long, overrides_with = "redact")]
    no_redact: bool,
    /// The format: by default Markdown for forum, else plain text
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write to this file, atomically replacing an existing one
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Reader {
    /// Kernel developers: every fact, ready for a mailing list
    Kernel,
    /// The board's vendor: what the firmware requests, and what could change
    Vendor,
    /// Users of a forum: the cause, what will not help, what may
    Forum,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Format {
    /// Plain text
    Text,
    /// Markdown
    Markdown,
}

/// Writes a report. The status is 0 whatever it says.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let facts = facts::gather(args.from.as_deref(), facts::Ask::Everything, |_, _, _| {})?;
    let redacted = args.redact || (!args.no_redact && args.reader.is_redacted());
    let redact = if redacted {
        Redactor::on(&facts.model, facts.names.iter().cloned())
    } else {
        Redactor::off()
    };
    let case = Case {
        model: &facts.model,
        verdicts: &facts.verdicts,
        origin: &facts.origin,
        probes: &facts.probes,
        lost: facts.lost,
        notes: &facts.notes,
        trail: &facts.trail,
        redact: &redact,
    };
    let text = text(&case, args.reader, args.format);
    save::save(args.output.as_deref(), |out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}

/// The report, in the format that suits its reader if none is asked for.
pub(super) fn text(case: &Case<'_>, reader: Reader, format: Option<Format>) -> String {
    let format = match (format, reader) {
        (Some(Format::Text), _) | (None, Reader::Kernel | Reader::Vendor) => write::Format::Text,
        (Some(Format::Markdown), _) | (None, Reader::Forum) => write::Format::Markdown,
    };
    match reader {
        Reader::Kernel => report::kernel(case, format),
        Reader::Vendor => report::vendor(case, format),
        Reader::Forum => report::forum(case, format),
    }
}

impl Reader {
    /// Whether a report leaves out names if nothing else is asked for: kernel developers need all.
    pub(super) fn is_redacted(self) -> bool {
        self != Self::Kernel
    }
}
