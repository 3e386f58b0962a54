//! What `ivrs-trace report` writes, held against the programs that it is for: `acpixtract` takes the
//! table out of a report as it was, and `iasl` decodes it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ivrs_trace::firmware::builder::{IvhdSpec, IvmdSpec, IvrsBuilder};
use ivrs_trace::firmware::device_entry::DeviceEntry;
use ivrs_trace::host::{HexBytes, Reading, Snapshot};
use ivrs_trace::model::{Model, RequireDirect};
use ivrs_trace::pci::Devid;
use ivrs_trace::report::case::{Case, Origin};
use ivrs_trace::report::letter::Format;
use ivrs_trace::report::redact::Redactor;
use ivrs_trace::report::trail::Trail;
use ivrs_trace::report::{self, Lost};

use crate::{run, setup};

/// Blocks of every type, one that Linux does not heed among them.
const BLOCKS: [&str; 4] = [
    "type=0x22,flags=0x08,devid=0x0000,aux=0x0fff,start=0x7a2d9000,length=0x1000",
    "type=0x21,flags=0x07,devid=0x0100,aux=0,start=0x9a000000,length=0x26000",
    "type=0x20,flags=0x03,devid=0,aux=0,start=0x7b2f6000,length=1",
    "type=0x21,flags=0x00,devid=0x0200,aux=0,start=0x7b300000,length=0x1000",
];

/// Texts of a host that look like what `acpixtract` looks for.
const LIKE_A_TABLE: &str = "IVRS @ 0x0000000000000000\n    0000: 00 00";

/// Lets the tools read every report that holds a table.
///
/// # Errors
///
/// When the tools cannot be had, or do not find what was put in.
pub fn check() -> Result<()> {
    let tools = setup::acpica()?;
    let table = table()?;
    for (name, text) in reports(&table) {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let at = |name: &str| folder.path().join(name);
        fs::write(at("report"), text).context("cannot write the report")?;
        run::output(
            Command::new(&tools.acpixtract).args(["-a", "report"]).current_dir(folder.path()),
        )
        .with_context(|| format!("acpixtract cannot read the report for {name}"))?;
        // Some versions number the file.
        let file = ["ivrs.dat", "ivrs1.dat"].into_iter().find(|file| at(file).is_file());
        let file =
            file.with_context(|| format!("acpixtract found no IVRS in the report for {name}"))?;
        ensure!(!at("ivrs2.dat").is_file(), "acpixtract finds two tables in the report for {name}");
        let found = fs::read(at(file)).context("cannot read what acpixtract wrote")?;
        ensure!(found == table, "acpixtract takes another table out of the report for {name}");
        decode(&tools.iasl, folder.path(), file)?;
    }
    println!("acpixtract and iasl read the table of every report");
    Ok(())
}

fn decode(iasl: &Path, folder: &Path, file: &str) -> Result<()> {
    run::output(Command::new(iasl).args(["-d", file]).current_dir(folder))
        .context("iasl cannot decode the table")?;
    let text = fs::read_to_string(folder.join(file).with_extension("dsl"))
        .context("iasl wrote nothing")?;
    for wanted in ["000000007A2D9000", "000000009A000000", "000000007B2F6000"] {
        ensure!(text.contains(wanted), "iasl does not find the block at {wanted}:\n{text}");
    }
    Ok(())
}

fn table() -> Result<Vec<u8>> {
    let range = DeviceEntry::Range { first: Devid(0x0003), last: Devid(0xfffe), settings: 0 };
    let mut table =
        IvrsBuilder::new().ivhd(IvhdSpec { entries: vec![range], ..IvhdSpec::default() });
    for block in BLOCKS {
        table = table.ivmd(block.parse::<IvmdSpec>()?);
    }
    Ok(table.build()?)
}

/// The reports with a table, for a host of which every text is like a table.
fn reports(table: &[u8]) -> Vec<(String, String)> {
    let text = || Reading::Read(LIKE_A_TABLE.to_owned());
    let mut host = Snapshot {
        kernel_release: text(),
        command_line: text(),
        ivrs: Reading::Read(HexBytes(table.to_vec())),
        ..Snapshot::default()
    };
    host.dmi.board_vendor = text();
    host.dmi.board_name = text();
    host.dmi.bios_version = text();
    host.iommus = Reading::Read(vec!["ivhd0".to_owned(), LIKE_A_TABLE.to_owned()]);
    let model = Model::new(host, RequireDirect::Present);
    let verdicts = model.verdicts();
    let (trail, redact) = (Trail::default(), Redactor::off());
    let notes = [LIKE_A_TABLE.to_owned()];
    let case = Case {
        model: &model,
        verdicts: &verdicts,
        origin: &Origin::Tree,
        probes: &[],
        lost: Lost::default(),
        notes: &notes,
        trail: &trail,
        redact: &redact,
    };
    [Format::Text, Format::Markdown]
        .into_iter()
        .flat_map(|format| {
            [
                (format!("kernel, {format:?}"), report::kernel(&case, format)),
                (format!("vendor, {format:?}"), report::vendor(&case, format)),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    #[ignore = "may fetch a package; a step of `cargo xtask test`"]
    fn acpica_reads_the_table_of_every_report() {
        super::check().unwrap();
    }
}
