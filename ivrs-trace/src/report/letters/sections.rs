//! What several letters say: the entries, why none can be named, the regions, the table itself.

use std::collections::BTreeSet;

use super::input::{Case, TOLD};
use crate::{
    codes::Code,
    firmware::{EntryId, Place, Rmrr},
    fmt::sentence,
    host::{Member, RegionKind},
    model::{DmarTable, Table, WITHOUT_IOMMU_GROUP},
    pci::Bdf,
    report::{
        Document,
        cause::{gap_text, rmrr_memory_text, rows, scopes_text},
        document::{capital, count},
    },
};

/// An entry with all that is known of it.
pub(super) fn entry(letter: &mut Document, case: &Case<'_>, place: Place, id: EntryId) {
    letter.subtitle(format!("{id} at offset {:#x}", place.offset));
    letter.blank();
    rows(letter, case.model, id, (None, None), Some(case));
}

/// That interrupts are not remapped: it stops VFIO whatever the table's entries say.
pub(super) fn not_remapped(letter: &mut Document, case: &Case<'_>) {
    let found = case.verdicts.findings.iter().find(|one| one.code == Code::NotRemapped);
    let Some(finding) = found else { return };
    letter.title("Interrupt remapping");
    letter.text(0, case.redact.text(&sentence(&finding.message)));
    letter.items(finding.evidence.iter().map(|fact| case.redact.text(&fact.to_string())));
}

/// Each RMRR that holds devices, or why none can be named.
pub(super) fn rmrrs(letter: &mut Document, case: &Case<'_>) {
    let culprits = culprits(case);
    if culprits.is_empty() {
        letter.text(0, no_table(case));
    }
    for rmrr in culprits {
        entry(letter, case, rmrr.place(), EntryId::Rmrr(rmrr.index));
    }
}

/// The RMRRs that a verdict or a refusal rests on, in table order.
pub(super) fn culprits<'a>(case: &Case<'a>) -> Vec<&'a Rmrr> {
    let model = case.model;
    case.entries().into_iter().filter_map(|id| model.rmrr(id.rmrr()?)).collect()
}

/// The RMRRs that hold devices in a sentence, or why none can be named.
fn of_dmar(case: &Case<'_>) -> String {
    let found = culprits(case);
    if !found.is_empty() {
        let told = |rmrr: &&Rmrr| {
            let (index, offset) = (rmrr.index, rmrr.offset);
            let (memory, scopes) = (rmrr_memory_text(rmrr), scopes_text(rmrr));
            format!("RMRR {index} at offset {offset:#x}, {memory} for {scopes}")
        };
        let told: Vec<String> = found.iter().map(told).collect();
        return format!("Entries of the DMAR (Intel's table): {}.", told.join("; "));
    }
    match case.model.dmar() {
        DmarTable::Read(dmar) if dmar.rmrr.is_empty() => "The DMAR has no RMRR.".to_owned(),
        DmarTable::Read(dmar) if case.verdicts.rmrrs.iter().any(|one| !one.devices.is_empty()) => {
            format!(
                "The DMAR has {}; whether the devices that they name are refused is not known.",
                count(dmar.rmrr.len(), "RMRR")
            )
        }
        DmarTable::Read(dmar) => holds_nothing(case, "DMAR", &count(dmar.rmrr.len(), "RMRR")),
        DmarTable::Absent => "This host has no DMAR that could be read.".to_owned(),
        DmarTable::Unreadable(why) => format!("The DMAR was not read: {}.", case.redact.text(why)),
        DmarTable::Malformed(error) => format!("The DMAR is malformed: {error}."),
    }
}

pub(super) fn holds_nothing(case: &Case<'_>, table: &str, entries: &str) -> String {
    match case.model.gap() {
        None => format!(
            "The {table} has {entries}, none of which holds a PCI function of this host that was \
             found."
        ),
        Some(gap) => {
            let why = case.redact.text(&gap_text(gap));
            format!("The {table} has {entries}; which PCI functions they hold is not known: {why}.")
        }
    }
}

/// Why no block can be named.
pub(super) fn no_table(case: &Case<'_>) -> String {
    match case.model.table() {
        _ if case.model.is_intel_host() => of_dmar(case),
        _ if case.model.host().has_unit("smmu") => {
            "This host's IOMMU is ARM's: direct regions come from RMR nodes of the IORT, or from \
             iommu-addresses in the device tree, which this program does not read."
                .to_owned()
        }
        _ if case.other_iommus().is_some() => format!(
            "This host's IOMMU is neither AMD's nor Intel's ({}): direct regions come from another \
             table than those that this program reads.",
            case.other_iommus().unwrap_or_default()
        ),
        Table::Absent if case.model.dmar().dmar().is_some() => of_dmar(case),
        Table::Absent => "This host has no IVRS that could be read.".to_owned(),
        Table::Unreadable(why) => format!("The IVRS was not read: {}.", case.redact.text(why)),
        Table::Malformed(error) => format!("The IVRS is malformed: {error}."),
        Table::Read(_) => String::new(),
    }
}

/// The functions that no IOMMU serves, by the reason why none does.
pub(super) fn without_iommu(letter: &mut Document, case: &Case<'_>) {
    let reasons = case.verdicts.unserved();
    if reasons.is_empty() {
        return;
    }
    letter.title("Devices that no IOMMU serves");
    letter.items(reasons.iter().map(|(why, devices)| {
        let functions: Vec<Bdf> = devices.iter().map(|device| device.bdf).collect();
        let told: Vec<String> = functions.iter().take(TOLD).map(ToString::to_string).collect();
        let more = match functions.len().saturating_sub(TOLD) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}: {}", told.join(", "), why.why(&functions))
    }));
    letter.text(0, capital(WITHOUT_IOMMU_GROUP));
    let help: BTreeSet<&str> = reasons.keys().filter_map(|why| why.may_help()).collect();
    letter.items(help.into_iter().map(|item| format!("may help: {item}")));
}

/// The direct regions that sysfs shows, by groups.
pub(super) fn regions(letter: &mut Document, case: &Case<'_>) {
    let mut lines = Vec::new();
    for group in case.model.host().groups.value().into_iter().flatten() {
        let direct = group.regions.value().into_iter().flatten().filter(|region| {
            matches!(region.kind, RegionKind::Direct | RegionKind::DirectRelaxable)
        });
        for region in direct {
            lines.push(format!(
                "  group {:<3} {:#018x} {:#018x} {}",
                group.id, region.start, region.end_inclusive, region.kind
            ));
        }
    }
    if lines.is_empty() {
        return;
    }
    letter.title("Direct regions in sysfs");
    letter.text(
        0,
        "/sys/kernel/iommu_groups/*/reserved_regions, merged by the kernel over each group:",
    );
    let more = lines.len().saturating_sub(TOLD);
    lines.truncate(TOLD);
    letter.lines(lines);
    if more > 0 {
        letter.fact(0, format!("and {more} more."));
    }
    let others: Vec<String> = case
        .model
        .host()
        .groups
        .value()
        .into_iter()
        .flatten()
        .flat_map(|group| group.members.value().into_iter().flatten().map(|one| (group.id, one)))
        .filter_map(|(id, member)| match member {
            Member::Other(name) => Some(format!("{} (group {id})", case.redact.text(name))),
            Member::Pci(_) => None,
        })
        .take(TOLD)
        .collect();
    if !others.is_empty() {
        let others = others.join(", ");
        letter.items(vec![format!("members of groups that are no PCI functions: {others}")]);
    }
}

pub(super) fn table(letter: &mut Document, case: &Case<'_>) {
    let (name, bytes) = match (case.ivrs(), case.model.dmar().dmar()) {
        (Some(ivrs), _) => ("IVRS", ivrs.bytes()),
        (None, Some(dmar)) => ("DMAR", dmar.bytes()),
        (None, None) => return,
    };
    letter.title("The table");
    letter.text(
        0,
        "As acpidump prints it: `acpixtract -a` takes it out of this report, `iasl -d` decodes it.",
    );
    letter.lines(acpidump(name, bytes));
}

/// A table as `acpidump` prints it, which `acpixtract` takes out of any text.
pub(crate) fn acpidump(name: &str, table: &[u8]) -> Vec<String> {
    let mut lines = vec![format!("{name} @ 0x0000000000000000")];
    for (row, bytes) in table.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let shown = |byte: &u8| match byte {
            0x20..0x7f => char::from(*byte),
            _ => '.',
        };
        let text: String = bytes.iter().map(shown).collect();
        let offset = format!("{:04X}", row * 16);
        lines.push(format!("{offset:>8}: {:<48} {text}", hex.join(" ")));
    }
    lines
}
