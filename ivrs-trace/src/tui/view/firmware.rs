//! The firmware view: the host's table part by part, and of the selected part its bytes, what it
//! says, what the kernel makes of it and which devices it covers.
//!
//! It decodes and judges nothing: the tables come decoded from the model, the words from the
//! reports. What differs between the vendors is in [`amd`] and [`intel`]; both fill [`Part`].

mod amd;
mod bytes;
mod intel;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
};

use super::{devices::list_devices, plain, severity};
use crate::{
    codes::{Code, Severity},
    escape::{printable, printable_bytes},
    firmware::{EntryId, Fact, Finding, TableName, acpi::Header},
    fmt::sentence,
    model::{DmarTable, Table},
    pci::Bdf,
    report::Style,
    tui::{
        Action, Role, Scene,
        detail::Text,
        pane::{Column, Piece, Rows, Target},
    },
};

/// Rows that are made at most. Real tables have less than a hundred parts; the title says how many
/// parts of a table made to annoy are left out.
const ROWS: usize = 1 << 16;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What is there is no table.
    Raw,
    Header,
    /// A block or structure, by its number in the table.
    Block(usize),
    /// A device entry or a device scope: number of its block, its own number in that.
    Nested(usize, usize),
}

/// A part of a table, whichever vendor's it is.
#[derive(Clone, Debug)]
struct Part {
    kind: Kind,
    offset: usize,
    label: String,
    text: String,
    /// What the kernel makes of it.
    effect: Piece,
    /// Its bytes in the table.
    bytes: Range<usize>,
    /// Those of the entry that ends its range, if it is one.
    range_end: Option<Range<usize>>,
    /// The memory that it asks for, if it does.
    entry: Option<EntryId>,
    /// It has parts that are shown or not.
    folds: bool,
}

impl Part {
    /// A part that nothing comes of.
    fn new(kind: Kind, label: String, text: String, bytes: Range<usize>) -> Self {
        Self {
            kind,
            offset: bytes.start,
            label,
            text,
            effect: (Role::Dim, String::new()),
            bytes,
            range_end: None,
            entry: None,
            folds: false,
        }
    }

    fn row(&self) -> Row {
        (self.offset, matches!(self.kind, Kind::Nested(..)))
    }

    /// The bytes to be lit.
    fn lit(&self) -> Vec<Range<usize>> {
        [Some(self.bytes.clone()), self.range_end.clone()].into_iter().flatten().collect()
    }

    fn header(name: TableName, header: &Header, bytes: usize, used: bool) -> Self {
        let id = printable_bytes(&header.oem_id);
        let checksum = if header.checksum_ok { "right" } else { "wrong" };
        let text = format!(
            "{} bytes, revision {}, checksum {checksum}, by {}",
            header.length,
            header.revision,
            id.trim_end()
        );
        let effect = if used { (Role::Good, "used") } else { (Role::Bad, "refused") };
        Self {
            effect: (effect.0, effect.1.to_owned()),
            ..Self::new(Kind::Header, name.to_string(), text, 0..bytes)
        }
    }

    fn raw(name: TableName, length: usize) -> Self {
        let text = format!("{length} bytes that are not such a table");
        Self {
            effect: (Role::Bad, "not decoded".to_owned()),
            ..Self::new(Kind::Raw, name.to_string(), text, 0..0)
        }
    }
}

/// Devices of this host, under a title.
struct Devices {
    title: &'static str,
    all: Vec<Bdf>,
    /// Those of them that are likely covered by accident.
    by_accident: Vec<Bdf>,
}

impl Devices {
    fn new(title: &'static str, all: Vec<Bdf>) -> Self {
        Self { title, all, by_accident: Vec::new() }
    }
}

/// A nested part's label, drawn as a branch.
fn branch(label: &str, last: bool) -> String {
    format!(" {}\u{2500} {label}", if last { '\u{2514}' } else { '\u{251c}' })
}

/// How many devices an entry blocks, as its effect.
fn blocks(count: usize, scene: &Scene<'_>) -> Piece {
    use crate::model::RequireDirect;
    let role = match scene.model.refuses() {
        RequireDirect::Present => Role::Bad,
        RequireDirect::Missing | RequireDirect::Unknown => Role::Doubtful,
    };
    match count {
        0 => (Role::Dim, "no device".to_owned()),
        1 => (role, "1 device".to_owned()),
        count => (role, format!("{count} devices")),
    }
}

/// A table as its vendor reads it.
trait Vendor {
    /// Its parts in order, with those beneath the blocks that are unfolded.
    fn parts(&self, unfolded: &BTreeSet<usize>, scene: &Scene<'_>) -> Vec<Part>;
    fn findings(&self) -> Vec<Finding>;
    /// How many entries ask for memory, and how many of them Linux uses.
    fn title(&self) -> String;
    /// What the part says, and what the kernel makes of it.
    fn about(&self, part: &Part, text: &mut Text, scene: &Scene<'_>);
    /// The devices of this host that the part covers or names.
    fn devices(&self, part: &Part, scene: &Scene<'_>) -> Vec<Devices>;
}

/// The table of the host's vendor, if it could be read.
fn vendor<'a>(scene: &Scene<'a>) -> Option<Box<dyn Vendor + 'a>> {
    match name(scene) {
        TableName::Ivrs => {
            let table = scene.model.table();
            Some(Box::new(amd::Read { ivrs: table.ivrs()?, view: table.view()? }))
        }
        TableName::Dmar => Some(Box::new(intel::Read { dmar: scene.model.dmar().dmar()? })),
    }
}

/// Which table is shown.
fn name(scene: &Scene<'_>) -> TableName {
    let dmar = !matches!(scene.model.dmar(), DmarTable::Absent);
    let ivrs = !matches!(scene.model.table(), Table::Absent);
    if scene.model.is_intel_host() || dmar && !ivrs { TableName::Dmar } else { TableName::Ivrs }
}

/// The bytes that are said to be the table.
fn raw<'a>(scene: &Scene<'a>) -> &'a [u8] {
    let host = scene.model.host();
    let bytes = match name(scene) {
        TableName::Ivrs => &host.ivrs,
        TableName::Dmar => &host.dmar,
    };
    bytes.value().map_or(&[], |bytes| bytes.0.as_slice())
}

/// Offset, and whether it is beneath a block.
type Row = (usize, bool);

/// The firmware view.
#[derive(Debug, Default)]
pub(super) struct Firmware {
    /// The parts in order of [`Part::row`].
    parts: Vec<Part>,
    /// Parts for which there is no row.
    left_out: usize,
    /// The bytes that everything here was made of.
    table: Vec<u8>,
    findings: Vec<Finding>,
    /// The blocks whose parts are shown, by number.
    unfolded: BTreeSet<usize>,
}

impl Firmware {
    fn part(&self, row: &Row) -> Option<&Part> {
        self.parts.get(self.parts.binary_search_by_key(row, Part::row).ok()?)
    }

    /// The findings about a part, those that name its entry in their evidence among them.
    fn told(&self, part: &Part, text: &mut Text, scene: &Scene<'_>) {
        let place = part.bytes.clone();
        let named = |fact: &Fact| matches!(fact, Fact::Entry { id, .. } if Some(*id) == part.entry);
        let of_host = scene.stage.verdicts.findings.iter().filter(|one| match one.place {
            Some(one) => one.table == name(scene) && place.contains(&one.offset),
            None => one.evidence.iter().any(named),
        });
        let mut found: Vec<&Finding> = of_host.collect();
        let codes: Vec<Code> = found.iter().map(|one| one.code).collect();
        // What is about no place belongs to the header. Of what covers many devices, and of what the
        // host says as well, the host names the devices.
        found.extend(self.findings.iter().filter(|one| {
            let here = one.place.map_or(place.start == 0, |one| place.contains(&one.offset));
            here && one.code != Code::IvmdWide && !codes.contains(&one.code)
        }));
        if found.is_empty() {
            return;
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.severity));
        text.title("Findings");
        for one in found {
            let (role, word) = severity(one.severity);
            text.paragraph(role, "", &format!("{} ({word})", one.code));
            // Those of the table alone are sentences already.
            let whole = one.message.ends_with('.');
            let message = if whole { one.message.clone() } else { sentence(&one.message) };
            text.paragraph(Role::Text, "  ", &printable(&message));
        }
        text.paragraph(Role::Dim, "", "`ivrs-trace explain CODE` says more.");
    }
}

impl Rows for Firmware {
    type Row = Row;

    const COLUMNS: &'static [Column] = &[
        Column { title: "offset", width: 6, from: 0 },
        Column { title: "part", width: 12, from: 0 },
        Column { title: "kernel", width: 11, from: 36 },
        Column { title: "content", width: 0, from: 0 },
    ];

    fn rows(&mut self, _: usize, scene: &Scene<'_>) -> Vec<Row> {
        let bytes = raw(scene);
        let vendor = vendor(scene);
        if self.table != bytes {
            self.table = bytes.to_vec();
            self.unfolded.clear();
            self.findings = vendor.as_ref().map_or_else(Vec::new, |table| table.findings());
        }
        self.parts = match vendor {
            Some(table) => table.parts(&self.unfolded, scene),
            None if bytes.is_empty() => Vec::new(),
            None => vec![Part::raw(name(scene), bytes.len())],
        };
        self.left_out = self.parts.len().saturating_sub(ROWS);
        self.parts.truncate(ROWS);
        self.parts.iter().map(Part::row).collect()
    }

    fn text(&self, row: &Row, _: &Scene<'_>) -> String {
        self.part(row).map_or_else(String::new, |part| {
            let Part { offset, label, text, effect, .. } = part;
            format!("{offset:#05x} {} {text} {}", label.trim_start(), effect.1)
        })
    }

    fn cells(&self, row: &Row, _: Option<&Row>, _: &Scene<'_>) -> Vec<Piece> {
        self.part(row).map_or_else(Vec::new, |part| {
            let offset = (Role::Dim, format!("{:#05x}", part.offset));
            vec![offset, plain(&part.label), part.effect.clone(), plain(&part.text)]
        })
    }

    fn title(&self, _: &VecDeque<Row>, scene: &Scene<'_>) -> Vec<String> {
        let name = name(scene);
        let table = match vendor(scene) {
            Some(table) => table.title(),
            None if !self.table.is_empty() => format!("malformed {name}"),
            None => match (name, scene.model.table(), scene.model.dmar()) {
                (TableName::Ivrs, Table::Unreadable(_), _)
                | (TableName::Dmar, _, DmarTable::Unreadable(_)) => format!("{name} not readable"),
                _ => format!("no {name}"),
            },
        };
        let mut parts = vec![format!("Firmware: {table}")];
        if self.left_out > 0 {
            parts.push(format!("{} parts not shown", self.left_out));
        }
        parts
    }

    fn none(&self, scene: &Scene<'_>) -> Option<String> {
        if !self.parts.is_empty() {
            return None;
        }
        let about = [
            Code::NoIommuGroups,
            Code::NoIommuShown,
            Code::NotAmd,
            Code::ArmRegions,
            Code::IvrsAbsent,
            Code::IvrsUnreadable,
            Code::IvrsMalformed,
            Code::DmarAbsent,
            Code::DmarUnreadable,
            Code::DmarMalformed,
        ];
        let findings = scene.stage.verdicts.findings.iter();
        let mut why: Vec<String> = findings
            .filter(|one| about.contains(&one.code))
            .map(|one| sentence(&one.message))
            .collect();
        if why.is_empty() {
            why.push(match scene.model.table() {
                Table::Unreadable(why) => format!("The IVRS table: {}.", printable(why)),
                _ => format!(
                    "This host has no {} table: it has no such IOMMU, or the firmware setup \
                     disables it.",
                    name(scene)
                ),
            });
        }
        Some(format!(
            "{} `ivrs-trace decode FILE` shows a table saved elsewhere.",
            printable(&why.join(" "))
        ))
    }

    fn detail(&self, row: &Row, text: &mut Text, scene: &Scene<'_>) {
        let Some(part) = self.part(row) else { return };
        let label =
            part.label.trim_start_matches([' ', '+', '-', '\u{2514}', '\u{251c}', '\u{2500}']);
        text.line(vec![
            (Role::Title, format!("{label} at {:#x}  ", part.offset)),
            part.effect.clone(),
        ]);
        let Some(table) = vendor(scene) else {
            let why = match (name(scene), scene.model.table(), scene.model.dmar()) {
                (TableName::Ivrs, Table::Malformed(error), _)
                | (TableName::Dmar, _, DmarTable::Malformed(error)) => error.to_string(),
                _ => String::new(),
            };
            text.text(&sentence(&why));
            bytes::window(text, &self.table, &[], 0..self.table.len());
            return;
        };
        let whole = part.kind == Kind::Header;
        if !whole {
            bytes::excerpt(text, &self.table, &part.lit());
            text.blank();
        }
        table.about(part, text, scene);
        if whole {
            let all = [Severity::Error, Severity::Warning, Severity::Note];
            let [errors, warnings, notes] =
                all.map(|one| self.findings.iter().filter(|found| found.severity == one).count());
            let counts = format!(
                "{errors} errors, {warnings} warnings, {notes} notes; each is shown at its part"
            );
            text.row("Findings", &counts);
        }
        self.told(part, text, scene);
        for Devices { title, all, by_accident } in table.devices(part, scene) {
            list_devices(text, title, all, &by_accident, scene);
        }
        if whole {
            text.title("Bytes");
            bytes::window(text, &self.table, &part.lit(), 0..self.table.len());
        }
    }

    fn target(&self, row: &Row) -> Option<Target> {
        self.part(row)?.entry.map(Target::Entry)
    }

    fn link(&self, row: &Row, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let part = self.part(row)?;
        let device = || {
            let covered = vendor(scene)?.devices(part, scene);
            let mut devices = covered.into_iter().flat_map(|devices| devices.all);
            devices.find(|bdf| scene.device(*bdf).is_some()).map(Target::Device)
        };
        match (action, part.entry) {
            (Action::Open, Some(entry)) => device().map(|_| Target::Covered(entry)),
            (Action::Open | Action::ToDevice, _) if part.kind != Kind::Header => device(),
            (Action::ToRegions, Some(entry)) => device().map(|_| Target::RegionOf(entry)),
            _ => None,
        }
    }

    fn act(&mut self, action: Action, row: Option<&Row>, scene: &Scene<'_>) -> Option<String> {
        let part = self.part(row?)?;
        let Kind::Block(number) = part.kind else { return None };
        if action != Action::Open || !part.folds {
            return None;
        }
        if self.unfolded.remove(&number) {
            return Some("folded".to_owned());
        }
        self.unfolded.insert(number);
        let parts = vendor(scene)?.parts(&self.unfolded, scene);
        let beneath = |one: &&Part| matches!(one.kind, Kind::Nested(of, _) if of == number);
        Some(match parts.iter().filter(beneath).count() {
            0 => "nothing in it".to_owned(),
            1 => "1 part shown".to_owned(),
            count => format!("{count} parts shown"),
        })
    }
}

/// What starts at an offset; all is in table order.
fn at<T>(all: &[T], offset: usize, of: impl Fn(&T) -> usize) -> Option<&T> {
    all.get(all.binary_search_by_key(&offset, of).ok()?)
}

/// How a report is asked for here.
fn style(text: &Text) -> Style {
    Style { width: text.width(), colour: false }
}
