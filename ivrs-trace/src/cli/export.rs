//! `ivrs-trace export`: what is known of a host, for other programs.

use std::{
    io::{self, BufWriter, IsTerminal as _, Seek as _, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use tempfile::SpooledTempFile;

use super::io::{
    facts::{self, Ask, Facts},
    save,
};
use crate::{
    escape::printable,
    export::{csv, json, perfetto, prometheus},
    model::{DmarTable, Table},
    report::letters::acpidump,
};

/// Bytes of events that wait in memory until the host is known; more wait in a file.
const WAITING: usize = 16 * 1024 * 1024;

const MORE: &str = "\
Exit status:
  0  the export is complete
  2  error

Examples:
  ivrs-trace export --to perfetto --from trace.ivt -o trace.json
      For ui.perfetto.dev: one track per thread and per device
  sudo ivrs-trace export --to prometheus -o /var/lib/prometheus/node-exporter/ivrs-trace.prom
      For node_exporter's textfile collector
  ivrs-trace export --to json --from trace.ivt | jq -c 'select(.record == \"attempt\")'
      The recorded attempts, one per line";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: To,
    /// Export another host: a recording, or a folder with copies of its /sys and /proc; - reads a
    /// recording from standard input
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
    /// The rows of the CSV: by default events for a recording, else devices
    #[arg(long, value_enum, value_name = "ROWS")]
    of: Option<Rows>,
    /// Write to this file, atomically replacing an existing one
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// One JSON object per line: the host, each event, each attempt, the end
    Json,
    /// A trace for ui.perfetto.dev
    Perfetto,
    /// Comma-separated values
    Csv,
    /// The bytes of the IVRS or DMAR table; if a host has both, acpidump's text
    Acpi,
    /// Metrics in Prometheus's text format, for a textfile collector
    Prometheus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rows {
    /// One row per event
    Events,
    /// One row per PCI function
    Devices,
}

/// Writes what is known in the format.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    if args.of.is_some() && args.to != To::Csv {
        bail!("--of is for --to csv");
    }
    if args.to == To::Acpi && args.output.is_none() && io::stdout().is_terminal() {
        bail!("the table is binary, which a terminal cannot show: name a file with -o, or a pipe");
    }
    save::save(args.output.as_deref(), |out| match args.to {
        To::Json => json_lines(args, out),
        To::Perfetto => trace(args, out),
        To::Csv => rows(args, out),
        To::Acpi => tables(args, out),
        To::Prometheus => {
            let facts = quiet(args)?;
            Ok(out.write_all(prometheus::metrics(&facts.model, &facts.verdicts).as_bytes())?)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The facts without the events.
fn quiet(args: &Args) -> anyhow::Result<Facts> {
    facts::gather(args.from.as_deref(), Ask::Everything, |_, _, _| {})
}

fn json_lines(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    // The host comes first, and is known last.
    // A line is written token by token.
    let mut waiting = BufWriter::new(SpooledTempFile::new(WAITING));
    let mut result = Ok(());
    let facts = facts::gather(args.from.as_deref(), Ask::Everything, |_, number, event| {
        if result.is_ok() {
            result = line(&mut waiting, &json::event(number, event));
        }
    })?;
    result.context("cannot use a temporary file")?;
    line(out, &json::host(&facts.model, facts.verdicts, &facts.probes, facts.began))?;
    waiting.rewind().context("cannot use a temporary file")?;
    io::copy(waiting.get_mut(), out)?;
    for rest in json::rest(&facts.model, facts.events, facts.lost) {
        line(out, &rest)?;
    }
    Ok(())
}

fn line(out: &mut (impl Write + ?Sized), line: &json::Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn trace(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut trace = perfetto::Trace::new(out)?;
    let mut result = Ok(());
    let facts = facts::gather(args.from.as_deref(), Ask::Everything, |began, number, event| {
        if let Some(began) = began {
            trace.began(began.monotonic_ns);
        }
        if result.is_ok() {
            result = trace.add(number, event);
        }
    })?;
    result?;
    Ok(trace.finish(&facts.model)?)
}

fn rows(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let of_file = args.from.as_ref().is_some_and(|path| !path.is_dir());
    let wanted = args.of.unwrap_or(if of_file { Rows::Events } else { Rows::Devices });
    if wanted == Rows::Devices {
        let facts = quiet(args)?;
        return Ok(csv::devices(out, &facts.model, &facts.verdicts)?);
    }
    let mut events = csv::Events::new(out)?;
    let mut result = Ok(());
    facts::gather(args.from.as_deref(), Ask::Everything, |_, number, event| {
        if result.is_ok() {
            result = events.add(number, event);
        }
    })?;
    result?;
    Ok(events.finish()?)
}

fn tables(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let facts = quiet(args)?;
    let (mut tables, mut troubles) = (Vec::new(), Vec::new());
    match facts.model.table() {
        Table::Read(read) => tables.push(("IVRS", read.0.bytes())),
        Table::Absent => {}
        Table::Unreadable(why) => troubles.push(format!("cannot read the IVRS table: {why}")),
        Table::Malformed(error) => troubles.push(format!("this is not an IVRS table: {error}")),
    }
    match facts.model.dmar() {
        DmarTable::Read(dmar) => tables.push(("DMAR", dmar.bytes())),
        DmarTable::Absent => {}
        DmarTable::Unreadable(why) => troubles.push(format!("cannot read the DMAR table: {why}")),
        DmarTable::Malformed(error) => troubles.push(format!("this is not a DMAR table: {error}")),
    }
    match (tables.as_slice(), troubles.first()) {
        ([], None) => bail!("this host has neither an IVRS nor a DMAR table"),
        ([], Some(why)) => bail!("{}", printable(why)),
        ([(_, table)], _) => out.write_all(table)?,
        // As `acpixtract` takes several tables: in one text.
        (several, _) => {
            for (name, table) in several {
                // An empty line ends a table.
                writeln!(out, "{}\n", acpidump(name, table).join("\n"))?;
            }
        }
    }
    Ok(())
}
