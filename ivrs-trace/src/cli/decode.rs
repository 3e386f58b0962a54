//! `ivrs-trace decode`: an IVRS or DMAR table, and what Linux makes of it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;

use super::io::source::{self, Found, What};
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
      A text dump; also from hexdump, xxd, od, base64 and iasl -d, in mail or a diff, or the
      lines of a kernel log
  ivrs-trace decode --table 2 paste.txt
      The second of several tables in one text
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
    /// Decode only table N of an input that has several
    #[arg(long, value_name = "N")]
    table: Option<usize>,
    /// The table: /sys/firmware/acpi/tables/IVRS (DMAR on Intel), a copy of it, a text dump, or a
    /// recording; - reads standard input
    file: PathBuf,
}

/// Decodes what the input holds. Findings do not change the exit status.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let detail = if args.all { Detail::All } else { Detail::Used };
    let tables = source::tables(&args.file)?;
    let number = tables.len();
    if let Some(asked) = args.table.filter(|asked| *asked > number) {
        bail!("there is no table {asked}: the input has {number}");
    }
    let dmars = tables.iter().filter(|found| matches!(found.what, What::Dmar(_))).count();
    let alike = dmars > 1 || number.saturating_sub(dmars) > 1;
    for (at, found) in (1..).zip(&tables) {
        if args.table.is_some_and(|asked| asked != at) {
            continue;
        }
        if args.json {
            match &found.what {
                What::Ivrs(table) if found.headless => {
                    output::print_json(&decode::ivrs_fragment(table))?;
                }
                What::Dmar(table) if found.headless => {
                    output::print_json(&decode::dmar_fragment(table))?;
                }
                What::Ivrs(table) => {
                    output::print_json(&decode::decode(table, &KernelView::new(table)))?;
                }
                What::Dmar(table) => output::print_json(&decode::decode_dmar(table))?,
                What::Log(log) => output::print_json(&decode::decode_log(log))?,
            }
            continue;
        }
        let style = output::style();
        let text = match &found.what {
            What::Ivrs(table) if found.headless => decode::ivrs_fragment_text(table, detail, style),
            What::Dmar(table) if found.headless => decode::dmar_fragment_text(table, style),
            What::Ivrs(table) => decode::text(table, &KernelView::new(table), detail, style),
            What::Dmar(table) => decode::dmar_text(table, detail, style),
            What::Log(log) => decode::log_text(log, style),
        };
        let gap = if at == 1 || args.table.is_some() { "" } else { "\n" };
        output::print(format!("{gap}{}{text}", heading(found, at, number, alike)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Which table in a text it is, where there are several of a kind.
fn heading(found: &Found, at: usize, number: usize, alike: bool) -> String {
    match found.place {
        Some((form, first, last)) if alike => {
            format!("Table {at} of {number} (lines {first} to {last}, {form}):\n")
        }
        _ => String::new(),
    }
}
