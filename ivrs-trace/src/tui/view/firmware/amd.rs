//! The parts of an IVRS.

use std::collections::BTreeSet;

use super::{Devices, Kind, Part, Vendor, at, blocks, branch, style};
use crate::{
    firmware::{
        EntryId, Finding, Ivrs, KernelView, TableName,
        acpi::BlockHeader,
        amd::{
            device_entry::{Content, Entry},
            findings,
            ivrs::{HEADER_LENGTH, Ivhd, Ivmd},
            kernel::is_effective,
        },
    },
    model::EntryCoverage,
    pci::Bdf,
    report::{self, decode},
    tui::{Role, Scene, detail::Text, pane::Piece},
};

/// An IVRS and what the kernel makes of it.
pub(super) struct Read<'a> {
    pub(super) ivrs: &'a Ivrs,
    pub(super) view: &'a KernelView,
}

impl<'a> Read<'a> {
    fn ivhd(&self, header: &BlockHeader) -> Option<&'a Ivhd> {
        at(&self.ivrs.ivhd, header.offset, |one| one.offset)
    }

    /// The IVMD block that a part is.
    fn memory(&self, part: &Part) -> Option<&'a Ivmd> {
        match part.entry? {
            EntryId::Ivmd(index) => self.ivrs.ivmd.get(index),
            EntryId::Rmrr(_) => None,
        }
    }

    /// A block without what it has beneath it.
    fn block(&self, number: usize, header: &BlockHeader, open: bool, scene: &Scene<'_>) -> Part {
        let end = header.offset.saturating_add(usize::from(header.length));
        let bytes = header.offset..end.min(self.ivrs.bytes().len());
        let label = format!(" type {:#04x}", header.kind);
        let mut part = Part::new(Kind::Block(number), label, String::new(), bytes);
        part.effect = (Role::Dim, "ignored".to_owned());
        if let Some(block) = self.ivhd(header) {
            let of = decode::devices(block.segment, block.devid, block.devid);
            part.label = format!("{}IVHD {:#04x}", if open { '-' } else { '+' }, block.kind.code());
            part.text = format!("IOMMU {of}, registers at {:#x}", block.mmio);
            part.folds = true;
            if self.view.uses(block) {
                part.effect = (Role::Good, "used".to_owned());
            }
        } else if let Some(block) = at(&self.ivrs.ivmd, header.offset, |one| one.offset) {
            let (first, last) = self.view.devids_of(block);
            // Its fields are read whatever its length says.
            let read = block.offset.saturating_add(block.bytes.len());
            part.bytes.end = end.max(read).min(self.ivrs.bytes().len());
            part.entry = Some(EntryId::Ivmd(block.index));
            part.label = format!(" IVMD {}", block.index);
            part.text = format!(
                "{}: {:#x}, {}, flags {}",
                decode::devices(block.segment, first, last),
                block.start,
                report::size(block.length),
                decode::named_flags(block.flags)
            );
            part.effect = self.effect(block, scene);
        } else if at(&self.ivrs.unknown, header.offset, |one| one.offset).is_some() {
            part.text = format!("{} bytes of unknown type", header.length);
        } else {
            part.text = format!("length {}, cannot be read whole", header.length);
            part.effect = (Role::Doubtful, "not decoded".to_owned());
        }
        part
    }

    /// How many devices an IVMD block covers, if the kernel uses it.
    fn effect(&self, block: &Ivmd, scene: &Scene<'_>) -> Piece {
        if !is_effective(block) {
            (Role::Dim, "ignored".to_owned())
        } else if !self.view.initialises() {
            (Role::Dim, "unused".to_owned())
        } else {
            let covered = coverage(block.index, scene);
            blocks(covered.map_or(0, |entry| entry.coverage.devices.len()), scene)
        }
    }

    /// The device entry that a part is, with its block.
    fn device_entry(&self, part: &Part) -> Option<(&'a Ivhd, Entry)> {
        let Kind::Nested(block, number) = part.kind else { return None };
        let ivhd = self.ivhd(self.ivrs.blocks.get(block)?)?;
        Some((ivhd, ivhd.entries(self.ivrs).into_iter().nth(number)?))
    }

    /// Whether the running kernel's own list has the block's entry.
    fn of_kernel(&self, text: &mut Text, block: &Ivmd, scene: &Scene<'_>) {
        let Some(entry) = self.view.entry_of(block.index) else { return };
        let Some(map) = scene.model.unity_map(entry.segment) else {
            text.row("running", "the kernel's own unity map was not read");
            return;
        };
        let (segment, event) = (entry.segment, map.event);
        if let Some(place) = map.place_of(entry) {
            let said = format!(
                "entry {place} of the kernel's own unity map of segment {segment} (event {event})"
            );
            text.row("running", &said);
        } else {
            let said = format!(
                "the kernel's own unity map of segment {segment} has no such entry (event {event})"
            );
            text.painted_row("running", Role::Doubtful, &said);
        }
    }
}

/// The device entries of a block with their numbers; filler in one piece.
fn entries(block: &Ivhd, number: usize, ivrs: &Ivrs) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut filler = None;
    for (index, entry) in block.entries(ivrs).into_iter().enumerate() {
        let bytes = entry.offset..entry.offset.saturating_add(entry.bytes.len());
        let padding = entry.content == Content::Padding;
        if let (true, Some(last)) = (padding && filler == Some(bytes.start), parts.last_mut()) {
            last.bytes.end = bytes.end;
            last.text = format!("{} bytes", last.bytes.len());
            filler = Some(bytes.end);
            continue;
        }
        filler = padding.then_some(bytes.end);
        let (label, text) = decode::entry(&entry, block.segment);
        let text = if padding { format!("{} bytes", bytes.len()) } else { text };
        let mut part = Part::new(Kind::Nested(number, index), label.to_owned(), text, bytes);
        if let Content::Range { end, .. } = &entry.content {
            part.range_end = Some(end.offset..end.offset.saturating_add(end.bytes.len()));
        }
        parts.push(part);
    }
    let last = parts.len().saturating_sub(1);
    for (index, part) in parts.iter_mut().enumerate() {
        part.label = branch(&part.label, index == last);
    }
    parts
}

fn coverage<'a>(ivmd: usize, scene: &Scene<'a>) -> Option<&'a EntryCoverage> {
    at(&scene.stage.verdicts.entries, ivmd, |entry| entry.ivmd)
}

impl Vendor for Read<'_> {
    fn parts(&self, unfolded: &BTreeSet<usize>, scene: &Scene<'_>) -> Vec<Part> {
        let used = self.view.initialises();
        let mut parts = vec![Part::header(TableName::Ivrs, &self.ivrs.header, HEADER_LENGTH, used)];
        for (number, header) in self.ivrs.blocks.iter().enumerate() {
            let open = unfolded.contains(&number);
            parts.push(self.block(number, header, open, scene));
            if let Some(block) = self.ivhd(header).filter(|_| open) {
                parts.extend(entries(block, number, self.ivrs));
            }
        }
        parts
    }

    fn findings(&self) -> Vec<Finding> {
        findings::of_table(self.ivrs, self.view)
    }

    fn title(&self) -> String {
        let used = if self.view.initialises() { self.view.entries.len() } else { 0 };
        let count = self.ivrs.ivmd.len();
        let blocks = if count == 1 { "block" } else { "blocks" };
        format!("IVRS, {count} IVMD {blocks}, {used} used by Linux")
    }

    fn about(&self, part: &Part, text: &mut Text, scene: &Scene<'_>) {
        let style = style(text);
        if let Some((ivhd, entry)) = self.device_entry(part) {
            text.row("entry of", &format!("IVHD {:#04x} at {:#x}", ivhd.kind.code(), ivhd.offset));
            text.row("type", &format!("{:#04x}", entry.kind));
            let (name, words) = decode::entry(&entry, ivhd.segment);
            text.row(name, &words);
            return;
        }
        let Kind::Block(number) = part.kind else {
            text.report(&decode::summary(self.ivrs, self.view, style));
            return;
        };
        let block = self.memory(part);
        let cause = block.and_then(|block| scene.model.cause_of(block.index));
        if let (Some(block), Some(cause)) = (block, cause.filter(|_| self.view.initialises())) {
            text.document(&report::cause(scene.model, &cause, None));
            if block.flags.exclusion() {
                text.text(
                    "It asks for an exclusion range, memory where the IOMMU is to let DMA pass. \
                     Linux does not use those; it turns it into a read/write direct map.",
                );
            }
            self.of_kernel(text, block, scene);
        } else if let Some(header) = self.ivrs.blocks.get(number) {
            let detail = decode::Detail::Blocks;
            text.report(&decode::block(header, self.ivrs, self.view, detail, style));
        }
    }

    fn devices(&self, part: &Part, scene: &Scene<'_>) -> Vec<Devices> {
        if let Some((ivhd, entry)) = self.device_entry(part) {
            let Some(devids) = entry.devids() else { return Vec::new() };
            let devices = scene.stage.verdicts.devices.iter().map(|one| one.bdf);
            let named = |bdf: &Bdf| bdf.segment == ivhd.segment && devids.contains(&bdf.devid);
            return vec![Devices::new("Devices of this host", devices.filter(named).collect())];
        }
        let covered = self.memory(part).and_then(|block| coverage(block.index, scene));
        covered.map_or_else(Vec::new, |entry| {
            vec![Devices {
                title: "Covered devices",
                all: entry.coverage.devices.clone(),
                by_accident: entry.caught().collect(),
            }]
        })
    }
}
