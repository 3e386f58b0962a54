//! The firmware view: the IVRS table part by part, and of the chosen part its bytes, what it says,
//! what the kernel makes of it and whom it holds.
//!
//! It decodes and judges nothing: the table comes decoded from the model, the words from the
//! reports.

mod bytes;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range, slice};

use ratatui::text::{Line, Span};

use super::{devices::name_of, verdict};
use crate::{
    codes::{Code, Severity},
    escape::{printable, printable_bytes},
    firmware::{
        EntryId, Fact, Finding, Ivrs, KernelView, TableName,
        amd::{
            device_entry::{Content, Entry},
            ivrs::{HEADER_LENGTH, Ivhd, Ivmd},
            kernel::is_effective,
        },
        findings,
    },
    model::{EntryCoverage, RequireDirect, Table},
    pci::{Bdf, Segment},
    report::{self, Style, decode},
    tui::{
        Action, Role, Scene,
        detail::Text,
        filter_words::Words,
        list::List,
        pane::{Column, Look, Pane, Target},
    },
};

/// Rows that are made at most. Real tables have less than a hundred parts; how many parts of a table
/// made to annoy are left out is said in the title.
const ROWS: usize = 1 << 16;
/// Devices of this host that are listed one by one in the text.
const DEVICES: usize = 64;
/// Lines of bytes around those of the chosen part.
const AROUND: usize = 1;
/// Bytes of the chosen part that are shown at most, and of the table as a whole.
const BYTES: usize = 4096;

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// What is there is no table.
    Raw,
    /// The header.
    Header,
    /// A block, by its number in the table, and what it is.
    Block(usize, Kind),
    /// A device entry: number of the IVHD block, number of the entry in it.
    Entry(usize, usize),
}

/// What a block is: its number among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ivhd(usize),
    Ivmd(usize),
    Unknown(usize),
    /// It cannot be read whole.
    Cut,
}

/// A device entry, or filler as one whatever there is of it.
#[derive(Clone, Debug)]
struct Part {
    entry: Entry,
    /// The bytes of it in the table.
    bytes: Range<usize>,
}

/// What a row says.
struct Said {
    offset: usize,
    name: String,
    text: String,
    /// What the kernel makes of it.
    effect: (Role, String),
}

/// The firmware view.
#[derive(Debug, Default)]
pub(in super::super) struct Firmware {
    list: List,
    rows: Vec<Row>,
    /// Parts for which there is no row.
    left_out: usize,
    /// Of which revision the rows are.
    made: Option<u64>,
    /// The bytes that everything here was made of.
    table: Vec<u8>,
    findings: Vec<Finding>,
    /// The unfolded IVHD blocks by number, with their entries.
    unfolded: BTreeMap<usize, Vec<Part>>,
    filter: String,
}

impl Firmware {
    /// Follows the table, which hardly ever changes.
    fn look(&mut self, scene: &Scene<'_>) {
        let bytes = raw(scene);
        if self.made.is_none() || self.table != bytes {
            self.table = bytes.to_vec();
            self.unfolded.clear();
            self.findings = match (scene.model.table().ivrs(), scene.model.table().view()) {
                (Some(ivrs), Some(view)) => findings::of_table(ivrs, view),
                _ => Vec::new(),
            };
            self.remake(scene);
        }
        self.made = Some(scene.stage.revision);
    }

    /// Makes the rows again; the chosen part stays chosen.
    fn remake(&mut self, scene: &Scene<'_>) {
        let chosen = self.here();
        let words = Words::of(&self.filter);
        let mut rows = match scene.model.table() {
            Table::Read(read) => self.parts(&read.0),
            Table::Malformed(_) => vec![Row::Raw],
            Table::Absent | Table::Unreadable(_) => Vec::new(),
        };
        rows.retain(|row| words.are_in(|| self.text_of(*row, scene)));
        self.left_out = rows.len().saturating_sub(ROWS);
        rows.truncate(ROWS);
        self.rows = rows;
        self.list.set_rows(self.rows.len());
        if let Some(row) = chosen.and_then(|chosen| self.row_of(chosen)) {
            self.list.choose(row);
        }
    }

    /// All parts in the order of the table.
    fn parts(&self, ivrs: &Ivrs) -> Vec<Row> {
        let mut rows = vec![Row::Header];
        let (mut iommus, mut memory, mut unknown) = (
            ivrs.ivhd.iter().enumerate().peekable(),
            ivrs.ivmd.iter().enumerate().peekable(),
            ivrs.unknown.iter().enumerate().peekable(),
        );
        for (number, header) in ivrs.blocks.iter().enumerate() {
            if let Some((index, _)) = iommus.next_if(|(_, one)| one.offset == header.offset) {
                rows.push(Row::Block(number, Kind::Ivhd(index)));
                let entries = self.unfolded.get(&index).map_or(0, Vec::len);
                rows.extend((0..entries).map(|entry| Row::Entry(index, entry)));
            } else if let Some((index, _)) = memory.next_if(|(_, one)| one.offset == header.offset)
            {
                rows.push(Row::Block(number, Kind::Ivmd(index)));
            } else if let Some((index, _)) = unknown.next_if(|(_, one)| one.offset == header.offset)
            {
                rows.push(Row::Block(number, Kind::Unknown(index)));
            } else {
                rows.push(Row::Block(number, Kind::Cut));
            }
        }
        rows
    }

    fn here(&self) -> Option<Row> {
        self.rows.get(self.list.chosen()?).copied()
    }

    fn row_of(&self, row: Row) -> Option<usize> {
        self.rows.iter().position(|one| *one == row)
    }

    fn row_of_ivmd(&self, ivmd: usize) -> Option<usize> {
        let same = |row: &Row| matches!(row, Row::Block(_, Kind::Ivmd(index)) if *index == ivmd);
        self.rows.iter().position(same)
    }

    /// The IVMD block of the chosen row.
    fn ivmd_here(&self) -> Option<usize> {
        match self.here()? {
            Row::Block(_, Kind::Ivmd(index)) => Some(index),
            _ => None,
        }
    }

    fn part(&self, ivhd: usize, entry: usize) -> Option<&Part> {
        self.unfolded.get(&ivhd)?.get(entry)
    }

    fn said(&self, row: Row, scene: &Scene<'_>) -> Option<Said> {
        if row == Row::Raw {
            let text = format!("{} bytes that are no table", self.table.len());
            let effect = (Role::Bad, "not decoded".to_owned());
            return Some(Said { offset: 0, name: "IVRS".to_owned(), text, effect });
        }
        let (ivrs, view) = (scene.model.table().ivrs()?, scene.model.table().view()?);
        let nothing = || (Role::Dim, String::new());
        Some(match row {
            Row::Raw => return None,
            Row::Header => {
                let header = &ivrs.header;
                let id = printable_bytes(&header.oem_id);
                let checksum = if header.checksum_ok { "right" } else { "wrong" };
                let effect = if view.initialises() {
                    (Role::Good, "used".to_owned())
                } else {
                    (Role::Bad, "refused".to_owned())
                };
                let text = format!(
                    "{} bytes, revision {}, checksum {checksum}, by {}",
                    header.length,
                    header.revision,
                    id.trim_end()
                );
                Said { offset: 0, name: "IVRS".to_owned(), text, effect }
            }
            Row::Block(number, kind) => {
                let header = ivrs.blocks.get(number)?;
                let (name, text, effect) = match kind {
                    Kind::Ivhd(index) => {
                        let block = ivrs.ivhd.get(index)?;
                        let mark = if self.unfolded.contains_key(&index) { '-' } else { '+' };
                        let effect = if view.uses(block) {
                            (Role::Good, "used".to_owned())
                        } else {
                            (Role::Dim, "ignored".to_owned())
                        };
                        let of = decode::devices(block.segment, block.devid, block.devid);
                        let text = format!("IOMMU {of}, registers at {:#x}", block.mmio);
                        (format!("{mark}IVHD {:#04x}", block.kind.code()), text, effect)
                    }
                    Kind::Ivmd(index) => {
                        let block = ivrs.ivmd.get(index)?;
                        let effect = effect(block, view, scene);
                        (format!(" IVMD {}", block.index), ivmd_text(block, view), effect)
                    }
                    Kind::Unknown(_) => {
                        let text = format!("{} bytes of unknown type", header.length);
                        let effect = (Role::Dim, "passed over".to_owned());
                        (format!(" type {:#04x}", header.kind), text, effect)
                    }
                    Kind::Cut => {
                        let text = format!("length {}, cannot be read whole", header.length);
                        let effect = (Role::Doubtful, "not decoded".to_owned());
                        (format!(" type {:#04x}", header.kind), text, effect)
                    }
                };
                Said { offset: header.offset, name, text, effect }
            }
            Row::Entry(ivhd, entry) => {
                let part = self.part(ivhd, entry)?;
                let (name, mut text) = decode::entry(&part.entry, ivrs.ivhd.get(ivhd)?.segment);
                if part.entry.content == Content::Padding {
                    text = format!("{} bytes", part.bytes.len());
                }
                let last = self.part(ivhd, entry + 1).is_none();
                let branch = if last { '\u{2514}' } else { '\u{251c}' };
                let name = format!(" {branch}\u{2500} {name}");
                Said { offset: part.bytes.start, name, text, effect: nothing() }
            }
        })
    }

    fn text_of(&self, row: Row, scene: &Scene<'_>) -> String {
        let said = self.said(row, scene);
        said.map_or_else(String::new, |said| {
            let Said { offset, name, text, effect } = said;
            format!("{offset:#05x} {} {text} {}", name.trim_start(), effect.1)
        })
    }

    /// Shows the device entries of an IVHD block, or no more.
    fn fold(&mut self, index: usize, scene: &Scene<'_>) -> Option<String> {
        let ivrs = scene.model.table().ivrs()?;
        let said = if self.unfolded.remove(&index).is_some() {
            "device entries folded".to_owned()
        } else {
            let parts = parts_of(ivrs.ivhd.get(index)?, ivrs);
            let said = match parts.len() {
                0 => "the block has no device entry".to_owned(),
                1 => "1 device entry".to_owned(),
                count => format!("{count} device entries"),
            };
            self.unfolded.insert(index, parts);
            said
        };
        self.remake(scene);
        Some(said)
    }

    fn block_detail(
        &self,
        text: &mut Text,
        (number, kind): (usize, Kind),
        (ivrs, view): (&Ivrs, &KernelView),
        scene: &Scene<'_>,
    ) -> Option<()> {
        let header = ivrs.blocks.get(number)?;
        let end = header.offset.saturating_add(usize::from(header.length)).min(self.table.len());
        let place = header.offset..end;
        let ivmd = if let Kind::Ivmd(index) = kind { ivrs.ivmd.get(index) } else { None };
        // The fields of an IVMD block are read whatever its length says.
        let read = ivmd.map_or(0, |block| block.offset.saturating_add(block.bytes.len()));
        let lit = place.start..place.end.max(read);
        bytes::excerpt(text, &self.table, slice::from_ref(&lit));
        text.blank();
        let style = Style { width: text.width(), colour: false };
        let cause = ivmd.and_then(|block| scene.model.cause_of(block.index));
        if let (Some(block), Some(cause)) = (ivmd, cause.filter(|_| view.initialises())) {
            text.document(&report::cause(scene.model, &cause, None));
            if block.flags.exclusion() {
                text.text(
                    "It asks for an exclusion range, memory where the IOMMU is to let DMA pass. \
                     Linux does not use those; it turns it into a read/write direct map.",
                );
            }
            of_kernel(text, block, view, scene);
        } else {
            text.report(&decode::block(header, ivrs, view, decode::Detail::Blocks, style));
        }
        self.told(text, place, ivmd, scene);
        if let Some(entry) = ivmd.and_then(|block| coverage(block, scene)) {
            let caught: Vec<Bdf> = entry.caught().collect();
            let devices = entry.coverage.devices.iter().copied();
            list_devices(text, "Whom it holds", devices, &caught, scene);
        }
        Some(())
    }

    fn entry_detail(
        &self,
        text: &mut Text,
        (ivhd, entry): (usize, usize),
        ivrs: &Ivrs,
        scene: &Scene<'_>,
    ) -> Option<()> {
        let part = self.part(ivhd, entry)?;
        let block = ivrs.ivhd.get(ivhd)?;
        let mut lit = vec![part.bytes.clone()];
        if let Content::Range { end, .. } = &part.entry.content {
            lit.push(end.offset..end.offset.saturating_add(end.bytes.len()));
        }
        bytes::excerpt(text, &self.table, &lit);
        text.blank();
        let of = format!("IVHD {:#04x} at {:#x}", block.kind.code(), block.offset);
        text.row("entry of", &of);
        text.row("type", &format!("{:#04x}", part.entry.kind));
        let (name, words) = decode::entry(&part.entry, block.segment);
        text.row(name, &words);
        self.told(text, part.bytes.clone(), None, scene);
        if let Some(devids) = part.entry.devids() {
            let (first, last) =
                (Bdf::new(block.segment, *devids.start()), Bdf::new(block.segment, *devids.end()));
            let devices = scene.stage.verdicts.devices.iter().map(|one| one.bdf);
            let devices = devices.filter(|bdf| (first..=last).contains(bdf));
            list_devices(text, "Devices of this host", devices, &[], scene);
        }
        Some(())
    }

    /// The findings about a part of the table.
    fn told(&self, text: &mut Text, place: Range<usize>, ivmd: Option<&Ivmd>, scene: &Scene<'_>) {
        let on_host: Vec<_> = scene
            .stage
            .verdicts
            .findings
            .iter()
            .filter(|one| {
                // Of several blocks, it names each in its evidence.
                let is_it = |fact: &Fact| {
                    let id = ivmd.map(|block| EntryId::Ivmd(block.index));
                    matches!(fact, Fact::Entry { id: named, .. } if Some(*named) == id)
                };
                let named = || one.evidence.iter().any(is_it);
                one.place.map_or_else(named, |one| {
                    one.table == TableName::Ivrs && place.contains(&one.offset)
                })
            })
            .map(|one| (one.severity, one.code, one.message.as_str()))
            .collect();
        let of_table = self.findings.iter().filter(|one| {
            let here = match one.place.map(|place| place.offset) {
                Some(offset) => place.contains(&offset),
                // What is about no place is told of the header.
                None => place.start == 0,
            };
            // The host says it with its devices.
            here && one.code != Code::IvmdWide
                && !on_host.iter().any(|(_, code, _)| *code == one.code)
        });
        let of_table = of_table.map(|one| (one.severity, one.code, one.message.as_str()));
        let mut told = on_host.clone();
        told.extend(of_table);
        if told.is_empty() {
            return;
        }
        told.sort_by_key(|(severity, _, _)| std::cmp::Reverse(*severity));
        text.title("What is to be told of it");
        for (severity, code, message) in told {
            let role = match severity {
                Severity::Error => Role::Bad,
                Severity::Warning => Role::Doubtful,
                Severity::Note => Role::Text,
            };
            let word = severity.as_str();
            text.paragraph(role, "", &format!("{code} ({word})"));
            // Those of the table alone are sentences already.
            let whole = message.ends_with('.');
            let message = if whole { message.to_owned() } else { findings::sentence(message) };
            text.paragraph(Role::Text, "  ", &printable(&message));
        }
        text.paragraph(Role::Dim, "", "`ivrs-trace explain CODE` tells more.");
    }
}

/// The bytes that are said to be the table.
fn raw<'a>(scene: &Scene<'a>) -> &'a [u8] {
    scene.model.host().ivrs.value().map_or(&[], |bytes| bytes.0.as_slice())
}

/// The device entries of a block; filler in one piece.
fn parts_of(block: &Ivhd, ivrs: &Ivrs) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for entry in block.entries(ivrs) {
        let bytes = entry.offset..entry.offset.saturating_add(entry.bytes.len());
        match parts.last_mut() {
            Some(last)
                if last.entry.content == Content::Padding
                    && entry.content == Content::Padding
                    && last.bytes.end == bytes.start =>
            {
                last.bytes.end = bytes.end;
            }
            _ => parts.push(Part { entry, bytes }),
        }
    }
    parts
}

fn ivmd_text(block: &Ivmd, view: &KernelView) -> String {
    let (first, last) = view.devids_of(block);
    format!(
        "{}: {:#x}, {}, flags {}",
        decode::devices(block.segment, first, last),
        block.start,
        report::size(block.length),
        decode::named_flags(block.flags)
    )
}

fn coverage<'a>(block: &Ivmd, scene: &Scene<'a>) -> Option<&'a EntryCoverage> {
    let entries = &scene.stage.verdicts.entries;
    let at = entries.binary_search_by_key(&block.index, |entry| entry.ivmd);
    entries.get(at.ok()?)
}

/// What the kernel makes of an IVMD block: how many devices it holds.
fn effect(block: &Ivmd, view: &KernelView, scene: &Scene<'_>) -> (Role, String) {
    if !is_effective(block) {
        return (Role::Dim, "ignored".to_owned());
    }
    if !view.initialises() {
        return (Role::Dim, "unused".to_owned());
    }
    let holds = match scene.model.refuses() {
        RequireDirect::Present => Role::Bad,
        RequireDirect::Missing | RequireDirect::Unknown => Role::Doubtful,
    };
    match coverage(block, scene).map_or(0, |entry| entry.coverage.devices.len()) {
        0 => (Role::Dim, "no device".to_owned()),
        1 => (holds, "1 device".to_owned()),
        count => (holds, format!("{count} devices")),
    }
}

/// Whether the running kernel's own list has the entry.
fn of_kernel(text: &mut Text, block: &Ivmd, view: &KernelView, scene: &Scene<'_>) {
    let Some(entry) = view.entry_of(block.index) else { return };
    let Some(map) = scene.model.unity_map(entry.segment) else {
        text.row("running", "the kernel's own unity map was not read");
        return;
    };
    let (segment, event) = (entry.segment, map.event);
    if let Some(place) = map.place_of(entry) {
        let said = format!(
            "the kernel's own unity map has it, as entry {place} of segment {segment} (event \
             {event})"
        );
        text.row("running", &said);
    } else {
        let said = format!(
            "the kernel's own unity map of segment {segment} has no such entry (event {event})"
        );
        text.painted_row("running", Role::Doubtful, &said);
    }
}

/// Devices of this host, a line each.
pub(super) fn list_devices(
    text: &mut Text,
    title: &str,
    devices: impl Iterator<Item = Bdf>,
    caught: &[Bdf],
    scene: &Scene<'_>,
) {
    let mut devices = devices.peekable();
    if devices.peek().is_none() {
        return;
    }
    text.title(title);
    for bdf in devices.by_ref().take(DEVICES) {
        let all = &scene.stage.verdicts.devices;
        let found = all.binary_search_by_key(&bdf, |one| one.bdf).ok().and_then(|at| all.get(at));
        let mut line = vec![(Role::Text, format!("{bdf}  "))];
        if let Some(device) = found {
            let (role, word) = verdict(device.verdict);
            line.push((role, format!("{word:<8}")));
            line.push((Role::Text, format!("group {:<4}", device.group)));
        } else {
            line.push((Role::Dim, format!("{:<18}", "in no group")));
        }
        if caught.contains(&bdf) {
            line.push((Role::Doubtful, "merely caught  ".to_owned()));
        }
        line.push((Role::Dim, name_of(bdf, scene)));
        text.line(line);
    }
    match devices.count() {
        0 => {}
        more => text.paragraph(Role::Dim, "", &format!("and {more} more")),
    }
}

const COLUMNS: &[Column] = &[
    Column { title: "offset", width: 6, from: 0 },
    Column { title: "part", width: 12, from: 0 },
    Column { title: "kernel", width: 11, from: 36 },
    Column { title: "what it says", width: 0, from: 0 },
];

impl Pane for Firmware {
    fn sync(&mut self, scene: &Scene<'_>) {
        if self.made != Some(scene.stage.revision) {
            self.look(scene);
        }
    }

    fn list(&self) -> &List {
        &self.list
    }

    fn list_mut(&mut self) -> &mut List {
        &mut self.list
    }

    fn empty(&self, scene: &Scene<'_>) -> String {
        if scene.model.table().ivrs().is_some() || !self.filter.is_empty() {
            return "No part of the table is so. F shows all.".to_owned();
        }
        if scene.model.is_intel_host() {
            return "This host's IOMMU is Intel's, whose table is the DMAR: `ivrs-trace decode` shows \
                    it, and `ivrs-trace check` names its RMRRs."
                .to_owned();
        }
        let about = [
            Code::NoIommuGroups,
            Code::NoIommuShown,
            Code::NotAmd,
            Code::ArmRegions,
            Code::IvrsAbsent,
            Code::IvrsUnreadable,
            Code::IvrsMalformed,
        ];
        let findings = scene.stage.verdicts.findings.iter();
        let why: Vec<String> = findings
            .filter(|one| about.contains(&one.code))
            .map(|one| findings::sentence(&one.message))
            .collect();
        let why = if why.is_empty() {
            match scene.model.table() {
                Table::Unreadable(why) => format!("The IVRS table: {}.", printable(why)),
                _ => "This host has no IVRS table: no AMD IOMMU, or it is switched off in the \
                      firmware set-up."
                    .to_owned(),
            }
        } else {
            why.join(" ")
        };
        format!(
            "{} A table that was saved elsewhere is shown by `ivrs-trace decode FILE`.",
            printable(&why)
        )
    }

    fn title(&self, scene: &Scene<'_>) -> String {
        let table = match scene.model.table() {
            Table::Read(read) => {
                let (ivrs, view) = (&read.0, &read.1);
                let heeded = if view.initialises() { view.entries.len() } else { 0 };
                let count = ivrs.ivmd.len();
                let blocks = if count == 1 { "block" } else { "blocks" };
                format!("Firmware: IVRS, {count} IVMD {blocks}, {heeded} heeded")
            }
            Table::Malformed(_) => "Firmware: an IVRS that is none".to_owned(),
            Table::Absent => "Firmware: no IVRS".to_owned(),
            Table::Unreadable(_) => "Firmware: IVRS not readable".to_owned(),
        };
        let mut parts = vec![table];
        if self.left_out > 0 {
            parts.push(format!("{} parts not shown", self.left_out));
        }
        if !self.filter.is_empty() {
            parts.push(format!("only {:?}", self.filter));
        }
        parts.join(", ")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, row: usize, scene: &Scene<'_>, look: Look) -> Vec<Line<'static>> {
        let said = self.rows.get(row).and_then(|row| self.said(*row, scene));
        let Some(Said { offset, name, text, effect: (role, effect) }) = said else {
            return Vec::new();
        };
        vec![
            Line::from(Span::styled(format!("{offset:#05x}"), look.style(Role::Dim))),
            Line::from(name),
            Line::from(Span::styled(effect, look.style(role))),
            Line::from(text),
        ]
    }

    fn row_text(&self, row: usize, scene: &Scene<'_>) -> String {
        self.rows.get(row).map_or_else(String::new, |row| self.text_of(*row, scene))
    }

    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text {
        let mut text = Text::new(width);
        let Some((row, said)) = self.here().and_then(|row| Some((row, self.said(row, scene)?)))
        else {
            return text;
        };
        let Said { offset, name, effect: (role, effect), .. } = said;
        let name = name.trim_start_matches([' ', '+', '-', '\u{2514}', '\u{251c}', '\u{2500}']);
        text.line(vec![(Role::Title, format!("{name} at {offset:#x}  ")), (role, effect)]);
        let table = scene.model.table();
        match (row, table.ivrs().zip(table.view())) {
            (Row::Header, Some((ivrs, view))) => {
                let style = Style { width, colour: false };
                text.report(&decode::summary(ivrs, view, &self.findings, style));
                self.told(&mut text, 0..HEADER_LENGTH, None, scene);
                text.title("Its bytes");
                let header = 0..HEADER_LENGTH;
                bytes::window(&mut text, &self.table, &[header], 0..self.table.len());
            }
            (Row::Block(number, kind), Some(parsed)) => {
                let _: Option<()> = self.block_detail(&mut text, (number, kind), parsed, scene);
            }
            (Row::Entry(ivhd, entry), Some((ivrs, _))) => {
                let _: Option<()> = self.entry_detail(&mut text, (ivhd, entry), ivrs, scene);
            }
            _ => {
                if let Table::Malformed(error) = table {
                    text.text(&findings::sentence(&error.to_string()));
                }
                bytes::window(&mut text, &self.table, &[], 0..self.table.len());
            }
        }
        text
    }

    fn chosen(&self, _: &Scene<'_>) -> Option<Target> {
        self.ivmd_here().map(Target::Entry)
    }

    fn choose(&mut self, target: &Target, scene: &Scene<'_>) -> bool {
        let Target::Entry(ivmd) = target else { return false };
        if self.row_of_ivmd(*ivmd).is_none() {
            // It is there, but not among what is shown.
            self.filter.clear();
            self.remake(scene);
        }
        let row = self.row_of_ivmd(*ivmd);
        row.inspect(|row| self.list.choose(*row)).is_some()
    }

    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let devices = &scene.stage.verdicts.devices;
        if let Some(Row::Entry(ivhd, entry)) = self.here() {
            let devids = self.part(ivhd, entry)?.entry.devids()?;
            let segment: Segment = scene.model.table().ivrs()?.ivhd.get(ivhd)?.segment;
            let mut within = devices
                .iter()
                .map(|one| one.bdf)
                .filter(|bdf| bdf.segment == segment && devids.contains(&bdf.devid));
            return match action {
                Action::Open | Action::ToDevice => within.next().map(Target::Device),
                _ => None,
            };
        }
        let ivmd = self.ivmd_here()?;
        let block = scene.model.ivmd(ivmd)?;
        let entry = coverage(block, scene)?;
        match action {
            Action::Open => Some(Target::Covered(ivmd)),
            Action::ToDevice => {
                let covered = entry.coverage.devices.iter().copied();
                let shown = |bdf: &Bdf| devices.binary_search_by_key(bdf, |one| one.bdf).is_ok();
                covered.into_iter().find(shown).map(Target::Device)
            }
            Action::ToRegions => Some(Target::RegionOf(ivmd)),
            _ => None,
        }
    }

    fn act(&mut self, action: Action, scene: &Scene<'_>) -> Option<String> {
        match (action, self.here()?) {
            (Action::Open, Row::Block(_, Kind::Ivhd(index))) => self.fold(index, scene),
            _ => None,
        }
    }

    fn filter(&self) -> &str {
        &self.filter
    }

    fn set_filter(&mut self, text: &str, scene: &Scene<'_>) -> Result<(), String> {
        text.trim().clone_into(&mut self.filter);
        self.remake(scene);
        Ok(())
    }
}
