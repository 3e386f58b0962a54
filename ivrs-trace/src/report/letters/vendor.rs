//! The report for the firmware engineers of a board's vendor: what the table asks for, entry by
//! entry in the specification's terms, what it leads to, and what could be changed. It blames nobody,
//! and claims no more than the table and the host show: what the memory is for, only they know.

use super::{
    input::{self, Case, Held, Standing, TOOL},
    sections,
};
use crate::{
    firmware::{
        EntryId,
        amd::ivrs::{Ivmd, IvmdKind},
    },
    model::{Change, Outcome, OwnerKind, Verdict},
    report::{
        Document,
        cause::range_text,
        document::{count, list},
        size,
        write::Format,
    },
};

/// The report.
#[must_use]
pub fn vendor(case: &Case<'_>, format: Format) -> String {
    let mut letter = Document::default();
    let held = case.culprits();
    let standing = case.standing();
    letter.title(match standing {
        Standing::Blocked | Standing::Later if !held.is_empty() => {
            "IVRS: IVMD blocks that keep PCI devices from virtual machines"
        }
        _ => "Firmware and PCI passthrough",
    });
    letter.rows(case.host_rows());
    match standing {
        Standing::Blocked | Standing::Later if !held.is_empty() => {
            asked(&mut letter, &held);
            for one in &held {
                let id = EntryId::Ivmd(one.block.index);
                sections::entry(&mut letter, case, one.block.place(), id);
                letter.row("odd", case.redact.text(&oddities(case, one).join("; ")));
            }
            why(&mut letter, case, &held);
            effect(&mut letter, case, standing);
            changes(&mut letter, case, &held);
        }
        _ => nothing_to_ask(&mut letter, case, standing),
    }
    sections::not_remapped(&mut letter, case);
    sections::without_iommu(&mut letter, case);
    sections::table(&mut letter, case);
    let left_out = if case.redact.is_on() {
        " Names of the host and its users, serial numbers and the kernel command line were left out."
    } else {
        ""
    };
    letter.text(0, format!("Written by {TOOL}.{left_out}"));
    letter.write(format)
}

fn nothing_to_ask(letter: &mut Document, case: &Case<'_>, standing: Standing) {
    let blocks = case.ivrs().map_or(0, |ivrs| ivrs.ivmd.len());
    let of_dmar = !sections::culprits(case).is_empty();
    letter.text(0, match standing {
        Standing::Blocked | Standing::Later if of_dmar => {
            "Linux refuses devices of this host to virtual machines because the RMRRs below ask for \
             1:1 maps of memory for them. It does not refuse USB controllers and display devices \
             for theirs. Please say whether the devices still use that memory once an operating \
             system runs; where they do not, leave the RMRR or the device scope out of the DMAR, \
             or offer a setting for it."
        }
        Standing::Blocked | Standing::Later => {
            "Linux refuses devices of this host to virtual machines because firmware asks for 1:1 \
             maps of memory. The table and the entry that ask for them are unknown, so this report \
             cannot name what to change."
        }
        Standing::Unknown => {
            "Whether the table keeps devices of this host from virtual machines is unknown: facts \
             are missing. A report or a copy made as root says more."
        }
        Standing::NoGroups => {
            "This host has no IOMMU groups: its IOMMU is absent or switched off, so the effect of \
             the table cannot be seen."
        }
        Standing::NoIommu => {
            "Linux refuses no device of this host for a 1:1 map, but the devices below have no \
             IOMMU, so no virtual machine can have them. Where a table lacks the IOMMU that they \
             are behind, please add it: an IVHD block in the IVRS, a DRHD in the DMAR."
        }
        Standing::Clear => {
            "Nothing in this table keeps a PCI device of this host from a virtual machine; there is \
             nothing to change for that."
        }
    });
    letter.items(case.missing());
    if case.ivrs().is_none() {
        sections::rmrrs(letter, case);
        sections::regions(letter, case);
    } else if blocks > 0 && case.verdicts.entries.iter().all(|one| one.coverage.devices.is_empty())
    {
        letter.text(0, sections::holds_nothing(case, "IVRS", &count(blocks, "IVMD block")));
    }
}

fn asked(letter: &mut Document, held: &[Held<'_>]) {
    letter.title("What the firmware asks for");
    let blocks: Vec<&Ivmd> = held.iter().map(|one| one.block).collect();
    let exclusions = held.iter().filter(|one| one.block.flags.exclusion()).count();
    let kinds = match (exclusions, held.len() - exclusions) {
        (1, 0) => "an exclusion range",
        (_, 0) => "exclusion ranges",
        (0, 1) => "a unity map",
        (0, _) => "unity maps",
        _ => "exclusion ranges and unity maps",
    };
    letter.text(
        0,
        format!(
            "{} of the IVRS {} memory that DMA is to reach unchanged ({kinds}). IVMD blocks are \
             counted from 0 in the order of the table, offsets are from its start; the terms are \
             those of the AMD I/O Virtualization Technology (IOMMU) Specification (48882).",
            input::numbered(&blocks),
            if blocks.len() == 1 { "describes" } else { "describe" },
        ),
    );
}

/// What the specification does not provide for, or what Linux reads in another way.
fn oddities(case: &Case<'_>, held: &Held<'_>) -> Vec<String> {
    let (block, entry) = (held.block, held.entry);
    let mut odd = Vec::new();
    if !block.start.is_multiple_of(4096) {
        odd.push(format!("the start is not on a page; Linux begins at {:#x}", entry.start));
    }
    if block.length == 0 {
        odd.push("the length is 0; Linux refuses the devices all the same".to_owned());
    } else if !block.length.is_multiple_of(4096) {
        odd.push(format!("the length is no whole page; Linux maps {}", size(entry.length())));
    }
    if entry.start == 0 {
        odd.push("it is for the first page of memory".to_owned());
    }
    if entry.fails_iommu() {
        odd.push("it allows neither reading nor writing, which no map can do".to_owned());
    }
    if case.is_ram(entry.start, entry.end_inclusive()) {
        odd.push(
            "the memory is not reserved: the operating system uses it as ordinary memory"
                .to_owned(),
        );
    }
    if block.flags.unity() && block.flags.exclusion() {
        odd.push("it is a unity map and an exclusion range at once".to_owned());
    }
    odd
}

/// Whether a block is for more devices than one, and who of them is there.
fn is_wide(held: &Held<'_>) -> bool {
    held.block.kind != IvmdKind::Device && held.entry.devid_start != held.entry.devid_end
}

fn why(letter: &mut Document, case: &Case<'_>, held: &[Held<'_>]) {
    letter.title(if held.iter().any(is_wide) {
        "Why this is wider than it need be"
    } else {
        "Whether it is still needed"
    });
    let wide: Vec<&Held<'_>> = held.iter().filter(|one| is_wide(one)).collect();
    let mut items = Vec::new();
    if let Some(widest) = wide.iter().max_by_key(|one| one.coverage.devices.len()) {
        let blocks: Vec<&Ivmd> = wide.iter().map(|one| one.block).collect();
        let names = case.model.host().pci_names.value().cloned().unwrap_or_default();
        let mut kinds: Vec<String> = widest
            .coverage
            .devices
            .iter()
            .filter_map(|bdf| case.model.function(*bdf))
            .filter_map(|function| function.class_name(&names))
            .map(|name| case.redact.text(name).to_lowercase())
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds.truncate(8);
        let among = if kinds.is_empty() {
            String::new()
        } else {
            format!(" They are: {}.", kinds.join(", "))
        };
        items.push(format!(
            "{} {} for a range of device ids, not for devices. On this machine that is up to {}, \
             whatever is plugged in.{among} Hardly all of them can need the same memory.",
            input::numbered(&blocks),
            if blocks.len() == 1 { "is" } else { "are each" },
            count(widest.coverage.devices.len(), "PCI function"),
        ));
    }
    let single: Vec<&Ivmd> = held.iter().filter(|one| !is_wide(one)).map(|one| one.block).collect();
    if !single.is_empty() {
        items.push(format!(
            "{} {} for one device id, so the question is only whether that device still needs the \
             memory when the operating system runs.",
            input::numbered(&single),
            if single.len() == 1 { "is" } else { "are each" },
        ));
    }
    let protection = case.ivrs().is_some_and(|ivrs| ivrs.ivinfo.dma_remap());
    if protection && held.iter().any(|one| one.block.flags.exclusion()) {
        items.push(
            "IVinfo bit 1 is set: the firmware used the IOMMU for DMA protection before boot. \
             Exclusion ranges beside it match buffers of that time. If they are such buffers, the \
             operating system does not need them reported. That they are is an inference, not shown \
             by the table."
                .to_owned(),
        );
    }
    letter.items(items);
}

fn effect(letter: &mut Document, case: &Case<'_>, standing: Standing) {
    letter.title("Effect");
    letter.text(
        0,
        "Linux makes a 1:1 map of each block: an exclusion range too becomes a read/write unity \
         map (init_unity_map_range, drivers/iommu/amd/init.c). A device that a virtual machine \
         is to have must leave the host's map, and with it what the block asks for. From 6.6 on \
         Linux does not do that to a device that firmware has asked a map for, nor to any device \
         in one IOMMU group with it: the call fails with EINVAL.",
    );
    let total = case.total();
    let held = case.held_devices().count();
    let mut items = Vec::new();
    if held > 0 {
        let verb = match standing {
            Standing::Later => "would be kept by Linux 6.6 and later",
            _ if held == 1 => "is kept",
            _ => "are kept",
        };
        items.push(format!("{held} of {total} PCI functions {verb} from virtual machines."));
    }
    let refusals: Vec<_> = case.failures();
    for told in refusals.iter().filter(|one| one.attempt.outcome == Outcome::Rejected).take(4) {
        let devices: Vec<String> = told
            .attempt
            .rejections
            .iter()
            .map(|rejection| case.redact.text(&rejection.device.name))
            .collect();
        let error = told.attempt.errno.map_or_else(String::new, |errno| format!(" with {errno}"));
        let times = if told.count > 1 { format!(", {} times", told.count) } else { String::new() };
        items.push(format!(
            "Seen: {} failed{error}, refused for {}{times}.",
            told.attempt.call,
            list(&devices),
        ));
    }
    if let Some(line) = case.trail.message() {
        items.push(format!("The kernel's log: {}", case.redact.text(line)));
    }
    letter.items(items);
}

/// What could be changed, as far as the table and its likely owners carry it.
fn changes(letter: &mut Document, case: &Case<'_>, held: &[Held<'_>]) {
    letter.title("What could be changed");
    letter.text(0, "Only the firmware's makers know what the memory is for. Depending on that:");
    let mut items = vec![
        "If nothing uses the memory once the operating system runs: leave the blocks out of the \
         table that it is given."
            .to_owned(),
    ];
    let wide: Vec<&Held<'_>> = held.iter().filter(|one| is_wide(one)).collect();
    if !wide.is_empty() {
        let mut owners: Vec<String> = wide
            .iter()
            .flat_map(|one| &one.owners)
            .filter(|owner| owner.kind == OwnerKind::Acpi)
            .map(|owner| {
                format!("{} at device id {:#06x}", case.redact.text(&owner.name), owner.bdf.devid.0)
            })
            .collect();
        owners.sort();
        owners.dedup();
        let named = if owners.is_empty() {
            "; the table names no ACPI device in the range that could be meant".to_owned()
        } else {
            format!("; of the ACPI devices that the table names, the range holds {}", list(&owners))
        };
        items.push(format!(
            "If some devices do use it: one block of type 0x21 for each of them, with its device \
             id, in place of the type {:#04x} block{named}.",
            wide.first().map_or(0x22, |one| one.block.kind.code()),
        ));
    }
    if held.iter().any(|one| one.block.flags.exclusion() && !one.block.flags.unity()) {
        items.push(
            "If DMA to it must stay possible for a device: say so by Unity, IR and IW as they are \
             needed. An exclusion range gives no finer control: Linux maps it for reading and \
             writing."
                .to_owned(),
        );
    }
    letter.items(items);
    let all: Vec<Change> =
        held.iter().map(|one| Change::Without { entry: EntryId::Ivmd(one.block.index) }).collect();
    let blocks: Vec<&Ivmd> = held.iter().map(|one| one.block).collect();
    if let Ok(answer) = case.model.what_if(&all) {
        let of = |verdict| answer.devices.iter().filter(|one| one.after.verdict == verdict).count();
        let before = answer.devices.iter().filter(|one| one.before.verdict == Verdict::Blocked);
        letter.text(0, format!(
            "Thought through with the same table without {}: {} of {} PCI functions here would be \
             refused by Linux 6.6 and later, instead of {}.",
            input::numbered(&blocks),
            of(Verdict::Blocked),
            answer.devices.len(),
            before.count(),
        ));
    }
    let regions: Vec<String> =
        held.iter().map(|one| range_text(one.entry.start, one.entry.end_inclusive())).collect();
    letter.text(0, format!(
        "What would help users until then: to know what the memory ({}) is for, and whether a BIOS \
         setting governs these blocks.",
        regions.join("; ")
    ));
}
