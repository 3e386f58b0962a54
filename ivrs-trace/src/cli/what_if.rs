//! `ivrs-trace what-if`: which devices another table or another slot would free or block.

use std::{path::PathBuf, process::ExitCode};

use clap::ArgGroup;

use super::io::source;
use crate::{
    firmware::EntryId,
    model::Change,
    output,
    pci::Bdf,
    report::{self, json},
};

const MORE: &str = "\
Exit status:
  0  the simulation is complete
  2  error

Examples:
  sudo ivrs-trace what-if --without ivmd:0
      Which devices this block alone blocks
  ivrs-trace what-if --narrow ivmd:0=00:14.0-00:14.7 --from host.ivt
      What would change if the block covered only its own device
  sudo ivrs-trace what-if --move 01:00.0=12:00.0
      Whether another slot, on bus 0x12, would help";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
#[command(group(ArgGroup::new("changes").required(true).multiple(true).args(["without", "relax", "narrow", "move_to"])))]
pub(super) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Simulate the table without this IVMD block or RMRR; N counts from 0, as in decode
    #[arg(long, value_name = "ivmd:N|rmrr:N", value_parser = without)]
    without: Vec<Change>,
    /// Simulate relaxable regions for this IVMD block or RMRR: the kernel maps them, but lets VFIO claim the
    /// device
    #[arg(long, value_name = "ivmd:N|rmrr:N", value_parser = relax)]
    relax: Vec<Change>,
    /// Simulate this IVMD block for only some of its devices, such as ivmd:0=00:01.0-00:1f.7
    #[arg(long, value_name = "ivmd:N=BDF-BDF", value_parser = narrow)]
    narrow: Vec<Change>,
    /// Simulate a PCI function at another address, such as 01:00.0=12:00.0
    #[arg(long = "move", id = "move_to", value_name = "BDF=BDF", value_parser = moved)]
    moves: Vec<Change>,
    /// Judge another host: a recording, or a folder with copies of its /sys and /proc; - reads a
    /// recording from standard input
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
}

/// Judges a host with the changes, from files alone.
pub(super) fn command(args: &Args) -> anyhow::Result<ExitCode> {
    let changes = [&args.without, &args.relax, &args.narrow, &args.moves];
    let changes: Vec<Change> = changes.into_iter().flatten().copied().collect();
    let model = source::files(args.from.as_deref())?;
    let answer = model.what_if(&changes)?;
    if args.json {
        output::print_json(&json::what_if(&answer))?;
    } else {
        output::print(report::what_if(&answer, output::style()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn entry(text: &str) -> Result<EntryId, String> {
    text.parse()
}

/// RMRRs name devices one by one: there is no range to narrow.
fn block(text: &str) -> Result<usize, String> {
    entry(text)?
        .ivmd()
        .ok_or_else(|| "only an IVMD block like ivmd:0 has a range to narrow".to_owned())
}

fn bdf(text: &str) -> Result<Bdf, String> {
    text.parse().map_err(|error: crate::pci::ParseBdfError| error.to_string())
}

fn without(text: &str) -> Result<Change, String> {
    Ok(Change::Without { entry: entry(text)? })
}

fn relax(text: &str) -> Result<Change, String> {
    Ok(Change::Relax { entry: entry(text)? })
}

fn narrow(text: &str) -> Result<Change, String> {
    let parts = text.split_once('=').and_then(|(ivmd, range)| Some((ivmd, range.split_once('-')?)));
    let Some((ivmd, (first, last))) = parts else {
        return Err("it is written like ivmd:0=00:01.0-00:1f.7".to_owned());
    };
    Ok(Change::Narrow { ivmd: block(ivmd)?, first: bdf(first)?, last: bdf(last)? })
}

fn moved(text: &str) -> Result<Change, String> {
    let Some((from, to)) = text.split_once('=') else {
        return Err("it is written like 01:00.0=12:00.0".to_owned());
    };
    Ok(Change::Move { from: bdf(from)?, to: bdf(to)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_are_written() {
        let at = |text: &str| text.parse::<Bdf>().unwrap();
        let (first, last) = (at("00:01.0"), at("00:1f.7"));
        assert_eq!(without("ivmd:2"), Ok(Change::Without { entry: EntryId::Ivmd(2) }));
        assert_eq!(relax("ivmd:0"), Ok(Change::Relax { entry: EntryId::Ivmd(0) }));
        assert_eq!(
            narrow("ivmd:0=00:01.0-0000:00:1f.7"),
            Ok(Change::Narrow { ivmd: 0, first, last })
        );
        assert_eq!(moved("00:01.0=00:1f.7"), Ok(Change::Move { from: first, to: last }));
    }

    #[test]
    fn what_is_no_change_is_refused_in_one_line() {
        for error in [
            without("0"),
            without("ivmd:"),
            without("ivmd:+1"),
            without("ivmd:99999999999999999999"),
            relax("dmar:0"),
            narrow("ivmd:0"),
            narrow("ivmd:0=00:01.0"),
            narrow("ivmd:x=00:01.0-00:02.0"),
            narrow("ivmd:0=00:01.0-00:02"),
            moved("00:01.0"),
            moved("00:01.0=x"),
        ] {
            let error = error.unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }
}
