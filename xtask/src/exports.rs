//! What `ivrs-trace report` and `export` write, held against programs that it is for: `acpixtract` extracts
//! the table from a report unchanged, and `iasl` decodes it; `promtool` finds nothing wrong with the
//! metrics, and `jq` reads every line of JSON.

use std::{
    fs,
    io::{Seek as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use ivrs_trace::{
    facts::Lost,
    firmware::amd::{
        builder::{IvhdSpec, IvmdSpec, IvrsBuilder},
        device_entry::DeviceEntry,
    },
    host::{HexBytes, Reading, Snapshot},
    model::{Model, RequireDirect},
    pci::Devid,
    report::{
        self,
        calls::Trail,
        letters::input::{Case, Origin},
        redact::Redactor,
        write::Format,
    },
};

use crate::{
    program::Program,
    run,
    setup::{ACPICA, JQ, PROMTOOL, Unpacked},
    workspace,
};

/// Blocks of every type, one that Linux ignores among them.
const BLOCKS: [&str; 4] = [
    "type=0x22,flags=0x08,devid=0x0000,aux=0x0fff,start=0x7a2d9000,length=0x1000",
    "type=0x21,flags=0x07,devid=0x0100,aux=0,start=0x9a000000,length=0x26000",
    "type=0x20,flags=0x03,devid=0,aux=0,start=0x7b2f6000,length=1",
    "type=0x21,flags=0x00,devid=0x0200,aux=0,start=0x7b300000,length=0x1000",
];

/// Texts of a host that look like what `acpixtract` looks for.
const LIKE_A_TABLE: &str = "IVRS @ 0x0000000000000000\n    0000: 00 00";

pub(crate) fn check() -> Result<()> {
    tables()?;
    let root = workspace::root()?;
    let program = Program::new(&root)?;
    metrics(&program)?;
    lines(&program)
}

fn tables() -> Result<()> {
    let tools = ACPICA.get()?;
    let table = table()?;
    for (name, text) in reports(&table) {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let at = |name: &str| folder.path().join(name);
        fs::write(at("report"), text).context("cannot write the report")?;
        run::output(tools.command("acpixtract").args(["-a", "report"]).current_dir(folder.path()))
            .with_context(|| format!("acpixtract cannot read the report for {name}"))?;
        // Some versions number the file.
        let file = ["ivrs.dat", "ivrs1.dat"].into_iter().find(|file| at(file).is_file());
        let file =
            file.with_context(|| format!("acpixtract found no IVRS in the report for {name}"))?;
        ensure!(!at("ivrs2.dat").is_file(), "acpixtract finds two tables in the report for {name}");
        let found = fs::read(at(file)).context("cannot read what acpixtract wrote")?;
        ensure!(found == table, "acpixtract extracts another table from the report for {name}");
        decode(&tools, folder.path(), file)?;
    }
    println!("acpixtract and iasl read the table of every report");
    Ok(())
}

fn decode(tools: &Unpacked, folder: &Path, file: &str) -> Result<()> {
    run::output(tools.command("iasl").args(["-d", file]).current_dir(folder))
        .context("iasl cannot decode the table")?;
    let text = fs::read_to_string(folder.join(file).with_extension("dsl"))
        .context("iasl wrote nothing")?;
    for wanted in ["000000007A2D9000", "000000009A000000", "000000007B2F6000"] {
        ensure!(text.contains(wanted), "iasl does not find the block at {wanted}:\n{text}");
    }
    Ok(())
}

/// The metrics of the recording in docs. `promtool` reads its standard input alone.
fn metrics(program: &Program<'_>) -> Result<()> {
    let mut metrics = tempfile::tempfile().context("cannot make a file")?;
    let text = program.says("ivrs-trace export --to prometheus --from docs/refused.ivt")?;
    metrics.write_all(text.as_bytes()).and_then(|()| metrics.rewind())?;
    let mut promtool = PROMTOOL.get()?.command("promtool");
    let output = promtool
        .args(["check", "metrics"])
        .stdin(metrics)
        .output()
        .context("cannot run promtool")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && words.trim().is_empty(),
        "promtool says of metrics: {words}"
    );
    println!("promtool reads the metrics");
    Ok(())
}

/// All that is written as lines of JSON of the recording in docs.
fn lines(program: &Program<'_>) -> Result<()> {
    let jq = JQ.get()?;
    for command in [
        "ivrs-trace export --to json --from docs/refused.ivt",
        "ivrs-trace events --json --from docs/refused.ivt",
    ] {
        let text = program.says(command)?;
        let file = tempfile::NamedTempFile::new().context("cannot make a file")?;
        fs::write(file.path(), &text).context("cannot write a file")?;
        let read = run::output(jq.command("jq").args(["--compact-output", "."]).arg(file.path()))
            .with_context(|| format!("jq cannot read {command}"))?;
        ensure!(
            text.lines().count() > 1 && read.lines().count() == text.lines().count(),
            "jq does not read {command} line by line"
        );
    }
    println!("jq reads every line of JSON");
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
    fn programs_read_what_is_for_them() {
        super::check().unwrap();
    }
}
