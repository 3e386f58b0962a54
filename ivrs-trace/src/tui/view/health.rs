//! The health view: how well the kernel can be seen. Findings about the host, each probe and how it
//! is attached, what was lost.

use std::collections::VecDeque;

use super::{plain, severity};
use crate::{
    escape::printable,
    facts::{ProbeFact, ProbeLoss},
    firmware::{EntryId, TableName},
    host::Reading,
    model::{Finding, RequireDirect},
    probe_state::ProbeState,
    report::{self, letters::input::Origin},
    tui::{
        Action, Role, Scene, Watch,
        detail::Text,
        pane::{Column, Piece, Rows, Stamp, Target},
    },
};

/// A row; the numbers are places in what the scene has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// The host and its kernel.
    Host,
    /// What did not arrive.
    Lost,
    /// What else is missing.
    Note(usize),
    Finding(usize),
    Probe(usize),
}

/// The health view.
#[derive(Debug, Default)]
pub(super) struct Health;

/// A row: what, its state with its look, and more.
fn words(row: &Row, scene: &Scene<'_>) -> [Piece; 3] {
    let stage = scene.stage;
    let nothing = || [plain(""), plain(""), plain("")];
    match row {
        Row::Host => {
            let (role, word) = match scene.model.refuses() {
                RequireDirect::Present => (Role::Text, "refuses"),
                RequireDirect::Missing => (Role::Text, "refuses none"),
                RequireDirect::Unknown => (Role::Doubtful, "not known"),
            };
            let release = scene.model.host().kernel_release.value();
            let release = release.map_or_else(|| "not known".to_owned(), |text| printable(text));
            [plain("kernel"), (role, word.to_owned()), plain(release)]
        }
        Row::Lost => {
            let lost = stage.lost;
            let (role, word) =
                if lost.any() { (Role::Bad, "lost") } else { (Role::Good, "none lost") };
            let text = format!(
                "ring full: {}, memory not read: {}, not decoded: {}",
                lost.ring, lost.read, lost.queue
            );
            [plain("events"), (role, word.to_owned()), plain(text)]
        }
        Row::Note(index) => {
            let text = stage.notes.get(*index).map_or("", String::as_str);
            [plain("note"), (Role::Doubtful, "missing".to_owned()), plain(printable(text))]
        }
        Row::Finding(index) => {
            let Some(found) = stage.verdicts.findings.get(*index) else { return nothing() };
            let (role, word) = severity(found.severity);
            [plain(found.code.to_string()), (role, word.to_owned()), plain(&found.message)]
        }
        Row::Probe(index) => {
            let Some(probe) = stage.probes.get(*index) else { return nothing() };
            [plain(printable(&probe.symbol)), state(probe), plain(printable(&probe.explains))]
        }
    }
}

fn state(probe: &ProbeFact) -> (Role, String) {
    match &probe.state {
        ProbeState::Attached => (Role::Good, printable(&probe.how.join(", "))),
        ProbeState::Waiting => (Role::Dim, "waiting".to_owned()),
        ProbeState::NotNeeded => (Role::Dim, "not needed".to_owned()),
        ProbeState::LeftOut => (Role::Doubtful, "disabled".to_owned()),
        ProbeState::Missing { .. } if probe.required => (Role::Bad, "MISSING".to_owned()),
        ProbeState::Missing { .. } => (Role::Doubtful, "missing".to_owned()),
        ProbeState::Unknown => (Role::Doubtful, "unknown".to_owned()),
    }
}

impl Rows for Health {
    type Row = Row;

    const COLUMNS: &'static [Column] = &[
        Column { title: "what", width: 34, from: 56 },
        Column { title: "state", width: 16, from: 0 },
        Column { title: "", width: 0, from: 0 },
    ];
    const STEADY: bool = false;

    fn stamp(&self, scene: &Scene<'_>) -> Stamp {
        let stage = scene.stage;
        let notes = u64::try_from(stage.notes.len()).unwrap_or_default();
        (stage.revision, stage.probes.len(), notes)
    }

    fn rows(&mut self, _: usize, scene: &Scene<'_>) -> Vec<Row> {
        let stage = scene.stage;
        [Row::Host, Row::Lost]
            .into_iter()
            .chain((0..stage.notes.len()).map(Row::Note))
            .chain((0..stage.verdicts.findings.len()).map(Row::Finding))
            .chain((0..stage.probes.len()).map(Row::Probe))
            .collect()
    }

    fn text(&self, row: &Row, scene: &Scene<'_>) -> String {
        words(row, scene).map(|(_, text)| text).join(" ")
    }

    fn cells(&self, row: &Row, _: Option<&Row>, scene: &Scene<'_>) -> Vec<Piece> {
        words(row, scene).into()
    }

    fn title(&self, _: &VecDeque<Row>, scene: &Scene<'_>) -> Vec<String> {
        let probes = &scene.stage.probes;
        let attached = probes.iter().filter(|probe| probe.state == ProbeState::Attached).count();
        let missing = probes.iter().filter(|probe| probe.state.name() == "missing").count();
        let mut parts = vec![if probes.is_empty() {
            "Health: kernel not traced".to_owned()
        } else {
            format!("Health: {attached} of {} probes attached", probes.len())
        }];
        if missing > 0 {
            parts.push(format!("{missing} missing"));
        }
        parts
    }

    fn none(&self, _: &Scene<'_>) -> Option<String> {
        None
    }

    fn detail(&self, row: &Row, text: &mut Text, scene: &Scene<'_>) {
        match row {
            Row::Host => host(text, scene),
            Row::Lost => lost(text, scene),
            Row::Note(index) => {
                text.title("Missing");
                text.text(&printable(scene.stage.notes.get(*index).map_or("", String::as_str)));
            }
            Row::Finding(index) => {
                if let Some(found) = scene.stage.verdicts.findings.get(*index) {
                    finding(text, found);
                }
            }
            Row::Probe(index) => {
                if let Some(fact) = scene.stage.probes.get(*index) {
                    let counts = &scene.stage.loss.probes;
                    let counts = counts.iter().find(|counts| counts.symbol == fact.symbol);
                    probe(text, fact, counts);
                }
            }
        }
    }

    fn link(&self, row: &Row, action: Action, scene: &Scene<'_>) -> Option<Target> {
        match (action, row) {
            (Action::Open | Action::ToEntry, Row::Finding(index)) => {
                let place = scene.stage.verdicts.findings.get(*index)?.place?;
                let entry = match place.table {
                    TableName::Ivrs => {
                        let mut blocks = scene.model.table().ivrs()?.ivmd.iter();
                        EntryId::Ivmd(blocks.find(|one| one.offset == place.offset)?.index)
                    }
                    TableName::Dmar => {
                        let mut rmrrs = scene.model.dmar().dmar()?.rmrr.iter();
                        EntryId::Rmrr(rmrrs.find(|one| one.offset == place.offset)?.index)
                    }
                };
                Some(Target::Entry(entry))
            }
            _ => None,
        }
    }
}

fn host(text: &mut Text, scene: &Scene<'_>) {
    let host = scene.model.host();
    text.title("Host");
    let known = |reading: &Reading<String>| {
        reading.value().map_or_else(|| "not known".to_owned(), |value| printable(value))
    };
    text.row("kernel", &known(&host.kernel_release));
    let refuses = match scene.model.refuses() {
        RequireDirect::Present => "it refuses devices with direct regions",
        RequireDirect::Missing => {
            "it refuses no device for direct regions; mainline does from 6.6 on"
        }
        RequireDirect::Unknown => "whether it refuses devices with direct regions is not known",
    };
    text.row("", refuses);
    for fact in scene.model.refuses_by() {
        text.row("", &fact);
    }
    text.row("BTF", if host.has_btf { "/sys/kernel/btf/vmlinux" } else { "none" });
    let options = scene.model.iommu_options();
    let options = if options.is_empty() {
        "none for the IOMMU or VFIO".to_owned()
    } else {
        options.join(" ")
    };
    text.row("options", &options);
    text.row("lockdown", &known(&host.lockdown));
    let both = |one: &Reading<String>, word: &str, other: &Reading<String>| {
        let parts = [one, other].into_iter().filter_map(Reading::value);
        let parts: Vec<String> = parts.map(|part| printable(part)).collect();
        if parts.is_empty() { "not known".to_owned() } else { parts.join(word) }
    };
    text.row("board", &both(&host.dmi.board_vendor, " ", &host.dmi.board_name));
    text.row("BIOS", &both(&host.dmi.bios_version, " of ", &host.dmi.bios_date));
    let from = match &scene.stage.origin {
        Origin::Live { traced: true } => "this host, traced".to_owned(),
        Origin::Live { traced: false } => "this host, files only".to_owned(),
        Origin::Recording { tool, began, ended, .. } => format!(
            "a recording by {}, started {}, {ended}",
            tool.as_deref().map_or_else(|| "an unknown program".to_owned(), printable),
            began.as_deref().unwrap_or("at an unknown time"),
        ),
        Origin::Tree => "a copied tree".to_owned(),
    };
    text.row("source", &from);
    if let Watch::Live { recording: Some((name, status)) } = scene.watch {
        text.row("recording", &format!("{name}: {} events, {} bytes", status.events, status.bytes));
        if let Some(trouble) = &status.trouble {
            text.painted_row("", Role::Bad, &printable(trouble));
        }
    }
}

fn lost(text: &mut Text, scene: &Scene<'_>) {
    let stage = scene.stage;
    text.title("Lost");
    text.row("ring", &format!("{} events found the ring buffer full", stage.lost.ring));
    text.row("memory", &format!("{} reads of kernel memory failed or were cut", stage.lost.read));
    text.row("queue", &format!("{} events were not decoded or not kept", stage.lost.queue));
    let dropped = stage.history.dropped();
    if dropped > 0 {
        text.row("history", &format!("{dropped} older events dropped"));
    }
    text.blank();
    text.text(if stage.lost.any() {
        "An explanation may lack something: a cause, a call, who holds a group. Nothing is guessed \
         in its place."
    } else {
        "No explanation lacks anything for it."
    });
}

fn finding(text: &mut Text, found: &Finding) {
    let (role, word) = severity(found.severity);
    text.line(vec![(Role::Title, format!("{} ", found.code)), (role, word.to_owned())]);
    text.text(&found.message);
    for fact in &found.evidence {
        text.paragraph(Role::Dim, "  ", &fact.to_string());
    }
    text.blank();
    let style = report::Style { width: text.width(), colour: false };
    text.report(&report::decode::explanation(found.code, style));
}

fn probe(text: &mut Text, fact: &ProbeFact, counts: Option<&ProbeLoss>) {
    let (role, word) = state(fact);
    text.line(vec![(Role::Title, format!("{} ", printable(&fact.symbol))), (role, word)]);
    text.text(&printable(&fact.explains));
    text.blank();
    if let Some(module) = &fact.module {
        text.row("module", &printable(module));
    }
    text.row(
        "need",
        if fact.required { "required: verdicts rest on it" } else { "optional: it adds context" },
    );
    if let Some(why) = &fact.fallback {
        text.painted_row("fallback", Role::Doubtful, &printable(why));
    }
    if let Some(why) = fact.state.reason() {
        text.painted_row("reason", Role::Doubtful, &printable(why));
    }
    if let Some(counts) = counts {
        text.row("hits", &counts.hits.to_string());
        text.row(
            "lost",
            &format!(
                "ring full {}, memory not read {}, lists cut {}",
                counts.ring_lost, counts.read_failed, counts.truncated
            ),
        );
    }
    let meaning = match &fact.state {
        ProbeState::Missing { .. } if fact.required => {
            "Without it a refusal may go unseen or unexplained; conclusions rest on the other probes \
             and on files."
        }
        ProbeState::Missing { .. } | ProbeState::LeftOut => {
            "Without it explanations say less; none becomes wrong."
        }
        ProbeState::Waiting => {
            "It attaches when its module is loaded, before the module's first call."
        }
        _ => return,
    };
    text.blank();
    text.text(meaning);
}
