//! The parts of a DMAR.

use std::collections::BTreeSet;

use super::{Devices, Kind, Part, Vendor, at, blocks, branch, style};
use crate::{
    firmware::{
        Dmar, EntryId, Finding, Rmrr, TableName,
        acpi::BlockHeader,
        intel::{
            dmar::{HEADER_LENGTH, Scope, structure_name},
            findings,
        },
    },
    model::RmrrCoverage,
    pci::{Bdf, Devid, Segment},
    report::{self, decode},
    tui::{Role, Scene, detail::Text, pane::Piece},
};

/// A DMAR.
pub(super) struct Read<'a> {
    pub(super) dmar: &'a Dmar,
}

/// What a structure is.
enum Structure<'a> {
    Iommu(&'a crate::firmware::Drhd),
    Memory(&'a Rmrr),
    Other,
    /// It cannot be read whole.
    Cut,
}

impl<'a> Read<'a> {
    fn structure(&self, header: &BlockHeader) -> Structure<'a> {
        let (dmar, offset) = (self.dmar, header.offset);
        if let Some(drhd) = at(&dmar.drhd, offset, |one| one.offset) {
            Structure::Iommu(drhd)
        } else if let Some(rmrr) = at(&dmar.rmrr, offset, |one| one.offset) {
            Structure::Memory(rmrr)
        } else if at(&dmar.others, offset, |one| one.offset).is_some() {
            Structure::Other
        } else {
            Structure::Cut
        }
    }

    /// The RMRR that a part is.
    fn memory(&self, part: &Part) -> Option<&'a Rmrr> {
        match part.entry? {
            EntryId::Rmrr(index) => self.dmar.rmrr.get(index),
            EntryId::Ivmd(_) => None,
        }
    }

    /// A structure without its device scopes.
    fn block(&self, number: usize, header: &BlockHeader, open: bool, scene: &Scene<'_>) -> Part {
        let end = header.offset.saturating_add(usize::from(header.length));
        let bytes = header.offset..end.min(self.dmar.bytes().len());
        let (label, text) = (format!(" type {}", header.kind), format!("{} bytes", header.length));
        let mut part = Part::new(Kind::Block(number), label, text, bytes);
        part.effect = (Role::Dim, "not decoded".to_owned());
        match self.structure(header) {
            Structure::Iommu(drhd) => {
                part.folds = !drhd.scopes.is_empty();
                let mark = match (part.folds, open) {
                    (false, _) => ' ',
                    (true, false) => '+',
                    (true, true) => '-',
                };
                part.label = format!("{mark}DRHD");
                let whom = if drhd.include_all() { "every other device" } else { "named devices" };
                part.text = format!(
                    "IOMMU, registers at {:#x}, {whom} of segment {}",
                    drhd.address, drhd.segment
                );
                part.effect = if self.dmar.fatal().is_none() {
                    (Role::Good, "used".to_owned())
                } else {
                    (Role::Dim, "unused".to_owned())
                };
            }
            Structure::Memory(rmrr) => {
                part.entry = Some(EntryId::Rmrr(rmrr.index));
                part.label = format!(" RMRR {}", rmrr.index);
                let scopes: Vec<String> = rmrr.scopes.iter().map(ToString::to_string).collect();
                part.text = format!(
                    "{}: {:#x}, {}",
                    if scopes.is_empty() { "no device".to_owned() } else { scopes.join(", ") },
                    rmrr.base,
                    report::size(rmrr.memory_length())
                );
                part.effect = self.effect(rmrr, scene);
            }
            Structure::Other => {
                if let Some(name) = structure_name(header.kind) {
                    part.label = format!(" {name}");
                }
            }
            Structure::Cut => {
                part.text = format!("length {}, cannot be read whole", header.length);
                part.effect = (Role::Doubtful, "not decoded".to_owned());
            }
        }
        part
    }

    /// How many devices an RMRR blocks, if the kernel uses it.
    fn effect(&self, rmrr: &Rmrr, scene: &Scene<'_>) -> Piece {
        if self.dmar.fatal().is_some() {
            return (Role::Dim, "unused".to_owned());
        }
        match coverage(rmrr.index, scene) {
            Some(one) if one.devices.is_empty() && !one.relaxable.is_empty() => {
                (Role::Text, "relaxable".to_owned())
            }
            one => blocks(one.map_or(0, |one| one.devices.len()), scene),
        }
    }

    /// The device scope that a part is, with its segment and the RMRR that has it, if one has.
    fn scope(&self, part: &Part) -> Option<(Segment, Option<&'a Rmrr>, &'a Scope)> {
        let Kind::Nested(block, number) = part.kind else { return None };
        match self.structure(self.dmar.structures.get(block)?) {
            Structure::Iommu(drhd) => Some((drhd.segment, None, drhd.scopes.get(number)?)),
            Structure::Memory(rmrr) => Some((rmrr.segment, Some(rmrr), rmrr.scopes.get(number)?)),
            Structure::Other | Structure::Cut => None,
        }
    }
}

fn scopes(of: &[Scope], number: usize) -> impl Iterator<Item = Part> + '_ {
    of.iter().enumerate().map(move |(index, scope)| {
        let bytes = scope.offset..scope.offset.saturating_add(scope.bytes.len());
        let label = branch("scope", index + 1 == of.len());
        Part::new(Kind::Nested(number, index), label, scope.to_string(), bytes)
    })
}

fn coverage<'a>(rmrr: usize, scene: &Scene<'a>) -> Option<&'a RmrrCoverage> {
    scene.stage.verdicts.rmrrs.iter().find(|one| one.rmrr == rmrr)
}

impl Vendor for Read<'_> {
    fn parts(&self, unfolded: &BTreeSet<usize>, scene: &Scene<'_>) -> Vec<Part> {
        let used = self.dmar.fatal().is_none();
        let mut parts = vec![Part::header(TableName::Dmar, &self.dmar.header, HEADER_LENGTH, used)];
        for (number, header) in self.dmar.structures.iter().enumerate() {
            let open = unfolded.contains(&number);
            parts.push(self.block(number, header, open, scene));
            match self.structure(header) {
                Structure::Iommu(drhd) if open => parts.extend(scopes(&drhd.scopes, number)),
                // Whom the memory is for is what matters here.
                Structure::Memory(rmrr) => parts.extend(scopes(&rmrr.scopes, number)),
                _ => {}
            }
        }
        parts
    }

    fn findings(&self) -> Vec<Finding> {
        findings::of_table(self.dmar)
    }

    fn title(&self) -> String {
        let count = self.dmar.rmrr.len();
        let structures = if count == 1 { "RMRR" } else { "RMRRs" };
        let used = if self.dmar.fatal().is_none() { count } else { 0 };
        format!("DMAR, {count} {structures}, {used} used by Linux")
    }

    fn about(&self, part: &Part, text: &mut Text, _: &Scene<'_>) {
        let style = style(text);
        match (part.kind, self.scope(part)) {
            (_, Some((segment, rmrr, scope))) => {
                let of =
                    rmrr.map_or_else(|| "DRHD".to_owned(), |one| format!("RMRR {}", one.index));
                text.row("scope of", &format!("{of}, segment {segment}"));
                text.row("type", &format!("{}, {}", scope.kind.code(), scope.kind));
                text.row("path", &scope.to_string());
            }
            (Kind::Block(number), None) => {
                if let Some(header) = self.dmar.structures.get(number) {
                    text.report(&decode::dmar_structure(header, self.dmar, style));
                }
            }
            _ => text.report(&decode::dmar_summary(self.dmar, style)),
        }
    }

    fn devices(&self, part: &Part, scene: &Scene<'_>) -> Vec<Devices> {
        if let Some((segment, rmrr, scope)) = self.scope(part) {
            let devices = match (rmrr, scope.path.as_slice()) {
                (Some(rmrr), _) => {
                    let covered = coverage(rmrr.index, scene).into_iter();
                    let all = covered.flat_map(|one| one.devices.iter().chain(&one.relaxable));
                    let by_it = |bdf: &&Bdf| {
                        let matches = scene.model.rmrrs_of(**bdf).0;
                        matches.iter().any(|found| found.scope.offset == scope.offset)
                    };
                    all.filter(by_it).copied().collect()
                }
                (None, [step]) if scope.kind.names_a_function() => {
                    let devid = u16::from(scope.bus) << 8
                        | u16::from(step.device & 0x1f) << 3
                        | u16::from(step.function & 7);
                    vec![Bdf::new(segment, Devid(devid))]
                }
                _ => Vec::new(),
            };
            return vec![Devices::new("Devices of this host", devices)];
        }
        let covered = self.memory(part).and_then(|rmrr| coverage(rmrr.index, scene));
        covered.map_or_else(Vec::new, |one| {
            vec![
                Devices::new("Blocked devices", one.devices.clone()),
                Devices::new("Not blocked: USB controllers and displays", one.relaxable.clone()),
            ]
        })
    }
}
