//! `ivrs-trace decode`: an IVRS or DMAR table, and what Linux makes of it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use super::io::source;
use crate::{
    firmware::{
        Dmar, Ivrs, KernelView,
        dump::{self, Dump, TableDump},
    },
    output,
    report::decode::{self, Detail},
};

/// What the long help and the man page say after the options.
const MORE: &str = "\
Exit status:
  0  success, whatever the findings
  2  the input holds no table, or another error

Examples:
  sudo ivrs-trace decode /sys/firmware/acpi/tables/IVRS
      The table of this host
  acpidump -n IVRS | ivrs-trace decode -
      A text dump; also from hexdump, xxd, od and iasl -d, or AMD-Vi's lines of a kernel log
  ivrs-trace decode --json trace.ivt
      The table in a recording";

/// Arguments of `decode`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Also show the device entries of ignored IVHD blocks, and the bytes of every block
    #[arg(long)]
    all: bool,
    /// The table: /sys/firmware/acpi/tables/IVRS (DMAR on Intel), a copy of it, a text dump, or a
    /// recording; - reads standard input
    file: PathBuf,
}

/// Decodes a table. Its findings do not change the exit status.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let name = source::name_of(&args.file);
    let input = source::table(&args.file)?;
    let dump = match dump::read(&input) {
        Ok(dump) => dump,
        Err(error) => match dump::read_dmar(&input).with_context(|| name.clone())? {
            Some(found) => return dmar(args, &name, &found),
            None => return Err(error).with_context(|| name),
        },
    };
    tell(&name, dump.notes());
    match dump {
        Dump::Table(found) => {
            let table = Ivrs::parse(&found.table).with_context(|| name)?;
            let view = KernelView::new(&table);
            if args.json {
                output::print_json(&decode::decode(&table, &view))?;
            } else {
                let detail = if args.all { Detail::All } else { Detail::Used };
                output::print(&decode::text(&table, &view, detail, output::style()))?;
            }
        }
        Dump::Log(log) => {
            if args.json {
                output::print_json(&decode::decode_log(&log))?;
            } else {
                output::print(&decode::log_text(&log, output::style()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn dmar(args: &Args, name: &str, found: &TableDump) -> anyhow::Result<ExitCode> {
    tell(name, &found.notes);
    let table = Dmar::parse(&found.table).with_context(|| name.to_owned())?;
    if args.json {
        output::print_json(&decode::decode_dmar(&table))?;
    } else {
        let detail = if args.all { Detail::All } else { Detail::Used };
        output::print(&decode::dmar_text(&table, detail, output::style()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(name: &str, notes: &[String]) {
    for note in notes {
        output::complain(&format!("{name}: {note}"));
    }
}
