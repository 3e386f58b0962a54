//! `ivrs-trace diff`: what differs between two tables or two copied hosts.

use std::{ffi::OsStr, path::PathBuf, process::ExitCode};

use anyhow::bail;

use super::io::source;
use crate::{
    model::diff::{self, Scope},
    output,
    report::{self, json},
};

const MORE: &str = "\
Exit status:
  0  no difference
  1  differences
  2  error

Examples:
  ivrs-trace diff before.ivt after.ivt
      What a BIOS update changed: two recordings made with ivrs-trace record --snapshot-only
  sudo ivrs-trace diff old-table.bin /sys/firmware/acpi/tables/IVRS
      Two tables";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// A recording, a folder with copies of a host's /sys and /proc, or an IVRS or DMAR table in any form
    /// that decode reads; - reads standard input
    #[arg(value_name = "A")]
    before: PathBuf,
    /// What to compare A with, in any of these forms; if either is only a table, diff compares only
    /// tables
    #[arg(value_name = "B")]
    after: PathBuf,
}

/// Compares; the exit status is that of diff(1).
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    if args.before == OsStr::new("-") && args.after == OsStr::new("-") {
        bail!("only one of the two can be standard input");
    }
    let (before, of_before) = source::tree_or_table(&args.before)?;
    let (after, of_after) = source::tree_or_table(&args.after)?;
    let both = of_before == Scope::Host && of_after == Scope::Host;
    let scope = if both { Scope::Host } else { Scope::Table };
    let diff = diff::compare(&before, &after, scope);
    if args.json {
        output::print_json(&json::diff(&diff))?;
    } else {
        output::print(report::diff(&diff, output::style()))?;
    }
    Ok(ExitCode::from(u8::from(!diff.is_empty())))
}
