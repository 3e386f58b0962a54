//! The table of all cells: docs/matrix.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path as File;

use serde_json::Value;

use super::cells::{Boot, Case, Cell, Machine, Run};
use super::guest::Seen;
use super::told::Compared;
use super::truth::Facts;
use crate::transcript::items;

/// One cell and what came of it.
pub(super) struct Row {
    kernel: &'static str,
    release: String,
    firmware: String,
    path: String,
    device: &'static str,
    result: String,
    facts: Facts,
    compared: Compared,
}

impl Row {
    pub(super) fn new(
        boot: &Boot,
        run: &Run,
        cell: Cell,
        release: &str,
        seen: &Seen<'_>,
        facts: Facts,
        compared: Compared,
    ) -> Self {
        let machine = match boot.machine {
            Machine::Usual => "",
            Machine::NoRemapping => ", interrupts not remapped",
            Machine::NoRemappingAllowed => ", interrupts not remapped, allowed",
            Machine::NoIommu => ", no IOMMU",
            Machine::Relaxed => ", `amd_iommu=relax_unity`",
        };
        let held = |by: super::cells::Path| format!(", held by another process ({})", by.name());
        let case = match (cell.case, run.held) {
            (_, Some((_, by))) => format!("{} before tracing", held(by)),
            (Case::Held(_, by), _) => held(by),
            (Case::Plain | Case::NoIommu, _) => String::new(),
            (Case::HostDriver, _) => ", others with host drivers".to_owned(),
            (Case::Conflict | Case::ConflictWith(..), _) => ", conflict".to_owned(),
            (Case::Vanish, _) => ", device removed".to_owned(),
            (Case::Noiommu, _) => ", no-IOMMU mode".to_owned(),
        };
        let left_out: Vec<String> =
            run.leave_out.iter().map(|what| format!(", without `{what}`")).collect();
        let left_out = left_out.concat();
        Self {
            kernel: boot.kernel,
            release: release.to_owned(),
            firmware: format!("{}{machine}", boot.firmware),
            path: format!("{}{case}{left_out}", cell.path.name()),
            device: cell.device,
            result: result(seen),
            facts,
            compared,
        }
    }

    pub(super) fn add_wrong(&mut self, wrong: Vec<String>) {
        self.compared.wrong.extend(wrong);
    }

    /// Why it failed, `attached` if it did not.
    pub(super) fn reason(&self) -> &str {
        self.fact("reason").as_str().unwrap_or("attached")
    }

    /// What is wrong with it, in a line.
    pub(super) fn wrong(&self) -> Option<String> {
        let Self { kernel, firmware, path, device, .. } = self;
        let wrong = self.compared.wrong.join("; ");
        (!wrong.is_empty()).then(|| format!("{kernel}, {firmware}, {path}, {device}: {wrong}"))
    }

    fn fact(&self, what: &str) -> &Value {
        self.facts.get(what).unwrap_or(&Value::Null)
    }

    /// The device that the kernel refused, or what else stood in the way; and the IVMD blocks.
    fn blocked_by(&self) -> (String, String) {
        let mut by = Vec::new();
        let mut blocks = Vec::new();
        for one in self.facts.get("rejections").map(items).unwrap_or_default() {
            let bdf = text(&one[0]);
            by.push(if bdf == self.device { "itself".to_owned() } else { short(bdf).to_owned() });
            blocks.extend(items(&one[1]).iter().map(Value::to_string));
        }
        for one in self.facts.get("host_drivers").map(items).unwrap_or_default() {
            by.push(format!("{} ({})", short(text(&one[0])), text(&one[1])));
        }
        for one in self.facts.get("also").map(items).unwrap_or_default() {
            let devices: Vec<&str> = items(&one[1]).iter().map(|bdf| short(text(bdf))).collect();
            by.push(format!("behind it the 1:1 map of {}", devices.join(", ")));
        }
        if self.fact("owned_by").is_u64() {
            by.push("that process".to_owned());
        }
        (by.join("; "), blocks.join(", "))
    }

    /// The cells of a line but for its device.
    fn line(&self) -> [String; 9] {
        let (by, blocks) = self.blocked_by();
        let evidence = text(self.fact("evidence"));
        let reason = self.reason().replace('_', " ");
        let reason = match evidence {
            "" | "call" => reason,
            weaker => format!("{reason} (by {weaker})"),
        };
        let outcome = text(self.fact("outcome"));
        let open = &self.compared.open;
        let verdict = if !self.compared.wrong.is_empty() {
            "WRONG".to_owned()
        } else if open.contains(&"reason") {
            "unknown".to_owned()
        } else if open.is_empty() {
            "the same".to_owned()
        } else {
            format!("the same; open: {}", open.join(", ").replace('_', " "))
        };
        [
            self.kernel.to_owned(),
            self.firmware.clone(),
            self.path.clone(),
            self.result.clone(),
            reason,
            by,
            blocks,
            outcome.to_owned(),
            verdict,
        ]
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn short(bdf: &str) -> &str {
    bdf.strip_prefix("0000:").unwrap_or(bdf)
}

/// The last call's result.
fn result(seen: &Seen<'_>) -> String {
    let last = seen.last_call();
    if let Some((call, errno)) = last.rsplit_once(" = -1 ") {
        let call = if call.starts_with("open ") { "open" } else { call };
        return format!("`{call}` {errno}");
    }
    match seen.status {
        0 => "taken".to_owned(),
        // The status of a group.
        1 => last.replacen(" = 0", "`", 1).replacen("VFIO", "`VFIO", 1),
        _ => "vfio-pci does not take it".to_owned(),
    }
}

/// Writes the page.
pub(super) fn write(rows: &[Row]) {
    let path = File::new(env!("CARGO_MANIFEST_DIR")).join("../docs/matrix.md");
    fs::write(&path, page(rows)).unwrap();
}

fn page(rows: &[Row]) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kernels: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for row in rows {
        *reasons.entry(row.reason()).or_default() += 1;
        kernels.entry(row.kernel).or_insert((&row.release, 0)).1 += 1;
    }
    let wrong = rows.iter().filter(|row| !row.compared.wrong.is_empty()).count();
    let unknown = rows.iter().filter(|row| row.compared.open.contains(&"reason")).count();
    let mut page = format!(
        "# The lab matrix\n\n\
         Written by `cargo xtask test --full`. **{} cells, {} results, wrong: {wrong}, told as \
         unknown: {unknown}.**\n\n\
         A cell is one attempt of one process in a guest of the [lab](vm-lab.md), which tells the \
         kernels, firmwares, paths and devices. What is true of it comes from what the ioctls \
         returned, from the kernel's log and files and from the firmware that was put in; the \
         tool's `check` before it and its `run` beside it must say the same: outcome, reason, errno, \
         way, group, device asked for, device refused, IVMD blocks, drivers and process in the way, \
         and on what evidence. A row has all devices for which everything is the same. `open` is what \
         the tool leaves open because the kernel calls nothing that shows it: a process that is turned \
         away before it claims the group has not had its command line read, which names the device; \
         and `VFIO_DEVICE_BIND_IOMMUFD` of a device that is taken ends before any function that \
         names the device.\n\n\
         | result | cells |\n| --- | --- |\n",
        rows.len(),
        reasons.len(),
    );
    for (reason, count) in &reasons {
        writeln!(page, "| {} | {count} |", reason.replace('_', " ")).unwrap();
    }
    page.push_str("\n| kernel | release | cells |\n| --- | --- | --- |\n");
    for (kernel, (release, count)) in &kernels {
        writeln!(page, "| {kernel} | {release} | {count} |").unwrap();
    }
    page.push_str(
        "\nThe firmware `first of a group` is one block of type 0x21 for 00:07.0, `behind the \
         bridge` one for 03:02.0, `exclusion` an ignored block and then one of type 0x22 with flags \
         0x08, `ignored` one of type 0x22 with flags 0x06. `without` names probes that the tool was \
         made to do without. Where there is no IOMMU, vfio-pci is loaded before the tool starts: that \
         it does not take a device is told by its own function only, which is watched a moment after \
         the module has come.\n",
    );
    let mut kernel = "";
    for (line, devices) in grouped(rows) {
        let [of, cells @ ..] = line;
        if *kernel != of {
            writeln!(
                page,
                "\n## {of}\n\n\
                 | firmware | path | devices | last call | reason | blocked by | IVMD | outcome | \
                 the tool says |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
            )
            .unwrap();
            kernel = rows.iter().map(|row| row.kernel).find(|name| *name == of).unwrap();
        }
        let [firmware, path, rest @ ..] = cells;
        let devices: Vec<&str> = devices.into_iter().map(short).collect();
        writeln!(page, "| {firmware} | {path} | {} | {} |", devices.join(", "), rest.join(" | "))
            .unwrap();
    }
    page
}

/// The lines, by kernel, and the devices of each.
fn grouped(rows: &[Row]) -> Vec<([String; 9], Vec<&'static str>)> {
    let mut grouped: Vec<([String; 9], Vec<&'static str>)> = Vec::new();
    let kernels: BTreeSet<&str> = rows.iter().map(|row| row.kernel).collect();
    for row in kernels.iter().flat_map(|name| rows.iter().filter(|row| row.kernel == *name)) {
        let line = row.line();
        match grouped.iter_mut().find(|(other, _)| *other == line) {
            Some((_, devices)) => devices.push(row.device),
            None => grouped.push((line, vec![row.device])),
        }
    }
    grouped
}
