//! `ivrs-trace decode`: an IVRS or DMAR table, and what Linux makes of it.

use std::{path::PathBuf, process::ExitCode};

use super::io::source::{self, Found};
use crate::{
    firmware::KernelView,
    output,
    report::decode::{self, Detail},
};

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
      The tables in a recording";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// Print one JSON document per table instead of text
    #[arg(long)]
    json: bool,
    /// Also show the device entries of ignored IVHD blocks, and the bytes of every block
    #[arg(long)]
    all: bool,
    /// The table: /sys/firmware/acpi/tables/IVRS (DMAR on Intel), a copy of it, a text dump, or a
    /// recording; - reads standard input
    file: PathBuf,
}

/// Decodes what the input holds. Findings do not change the exit status.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let detail = if args.all { Detail::All } else { Detail::Used };
    for (number, found) in source::tables(&args.file)?.iter().enumerate() {
        if args.json {
            match found {
                Found::Ivrs(table) => {
                    output::print_json(&decode::decode(table, &KernelView::new(table)))?;
                }
                Found::Dmar(table) => output::print_json(&decode::decode_dmar(table))?,
                Found::Log(log) => output::print_json(&decode::decode_log(log))?,
            }
            continue;
        }
        let style = output::style();
        let text = match found {
            Found::Ivrs(table) => decode::text(table, &KernelView::new(table), detail, style),
            Found::Dmar(table) => decode::dmar_text(table, detail, style),
            Found::Log(log) => decode::log_text(log, style),
        };
        output::print(format!("{}{text}", if number == 0 { "" } else { "\n" }))?;
    }
    Ok(ExitCode::SUCCESS)
}
