//! `ivrs-trace explain`: what the code of a finding means and what to do about it.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{codes::Code, escape::printable, output, report::decode};

const MORE: &str = "\
Exit status:
  0  the code exists
  2  unknown code, or another error

Examples:
  ivrs-trace explain
      All codes
  ivrs-trace explain ivmd-wide
      One code";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub(super) struct Args {
    /// The code of a finding, such as ivmd-wide; without one, explain lists all codes
    code: Option<String>,
}

/// Prints the long text of a code, or the codes.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match &args.code {
        None => decode::codes(output::style()),
        Some(code) => {
            let known = Code::named(code).with_context(|| {
                format!(
                    "no finding has the code {:?}; `ivrs-trace explain` lists all codes",
                    printable(code)
                )
            })?;
            decode::explanation(known, output::style())
        }
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
