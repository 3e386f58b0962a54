//! The health view: how well the kernel can be seen. Findings about the host, each probe and how it
//! is attached, what was lost.

use ratatui::text::{Line, Span};

use crate::{
    codes::Severity,
    escape::printable,
    facts::{ProbeFact, ProbeLoss},
    firmware::TableName,
    host::Reading,
    model::{Finding, RequireDirect},
    probe_state::ProbeState,
    report::{self, letters::input::Origin},
    tui::{
        Action, Role, Scene, Watch,
        detail::Text,
        filter_words::Words,
        list::List,
        pane::{Column, Look, Pane, Target},
    },
};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Row {
    /// The host and its kernel.
    Host,
    /// What did not arrive.
    Lost,
    /// What else is missing, by its index.
    Note(usize),
    /// A finding, by its index.
    Finding(usize),
    /// A probe, by its index.
    Probe(usize),
}

/// The health view.
#[derive(Debug, Default)]
pub(in super::super) struct Health {
    list: List,
    rows: Vec<Row>,
    made: Option<(u64, usize, usize)>,
    filter: String,
}

impl Health {
    fn here(&self) -> Option<&Row> {
        self.rows.get(self.list.chosen()?)
    }

    fn remake(&mut self, scene: &Scene<'_>) {
        let stage = scene.stage;
        let words = Words::of(&self.filter);
        let findings = (0..stage.verdicts.findings.len()).map(Row::Finding);
        let all = [Row::Host, Row::Lost]
            .into_iter()
            .chain((0..stage.notes.len()).map(Row::Note))
            .chain(findings)
            .chain((0..stage.probes.len()).map(Row::Probe));
        self.rows = all.filter(|row| words.are_in(|| row_text(row, scene))).collect();
        self.list.set_rows(self.rows.len());
    }
}

/// A row in three words: what, its state with its look, and more.
fn words(row: &Row, scene: &Scene<'_>) -> (String, Role, String, String) {
    let stage = scene.stage;
    match row {
        Row::Host => {
            let (role, word) = match scene.model.refuses() {
                RequireDirect::Present => (Role::Text, "refuses"),
                RequireDirect::Missing => (Role::Text, "refuses nothing"),
                RequireDirect::Unknown => (Role::Doubtful, "not known"),
            };
            let release = scene.model.host().kernel_release.value();
            let release = release.map_or_else(|| "not known".to_owned(), |text| printable(text));
            ("kernel".to_owned(), role, word.to_owned(), release)
        }
        Row::Lost => {
            let lost = stage.lost;
            let (role, word) =
                if lost.any() { (Role::Bad, "lost") } else { (Role::Good, "all here") };
            let text = format!(
                "ring full: {}, memory not read: {}, not decoded: {}",
                lost.ring, lost.read, lost.queue
            );
            ("events".to_owned(), role, word.to_owned(), text)
        }
        Row::Note(index) => {
            let text = stage.notes.get(*index).cloned().unwrap_or_default();
            ("note".to_owned(), Role::Doubtful, "missing".to_owned(), printable(&text))
        }
        Row::Finding(index) => match stage.verdicts.findings.get(*index) {
            Some(finding) => {
                let (role, word) = severity(finding.severity);
                (finding.code.to_string(), role, word.to_owned(), finding.message.clone())
            }
            None => (String::new(), Role::Text, String::new(), String::new()),
        },
        Row::Probe(index) => match stage.probes.get(*index) {
            Some(probe) => {
                let (role, word) = state(probe);
                (printable(&probe.symbol), role, word, printable(&probe.explains))
            }
            None => (String::new(), Role::Text, String::new(), String::new()),
        },
    }
}

fn severity(severity: Severity) -> (Role, &'static str) {
    match severity {
        Severity::Error => (Role::Bad, "error"),
        Severity::Warning => (Role::Doubtful, "warning"),
        Severity::Note => (Role::Dim, "note"),
    }
}

fn state(probe: &ProbeFact) -> (Role, String) {
    match &probe.state {
        ProbeState::Attached => (Role::Good, printable(&probe.how.join(", "))),
        ProbeState::Waiting => (Role::Dim, "waits".to_owned()),
        ProbeState::NotNeeded => (Role::Dim, "not needed".to_owned()),
        ProbeState::LeftOut => (Role::Doubtful, "left out".to_owned()),
        ProbeState::Missing { .. } if probe.required => (Role::Bad, "MISSING".to_owned()),
        ProbeState::Missing { .. } => (Role::Doubtful, "missing".to_owned()),
        ProbeState::Unknown => (Role::Doubtful, "unknown".to_owned()),
    }
}

fn row_text(row: &Row, scene: &Scene<'_>) -> String {
    let (what, _, state, more) = words(row, scene);
    format!("{what} {state} {more}")
}

const COLUMNS: &[Column] = &[
    Column { title: "what", width: 34, from: 56 },
    Column { title: "state", width: 16, from: 0 },
    Column { title: "", width: 0, from: 0 },
];

impl Pane for Health {
    fn sync(&mut self, scene: &Scene<'_>) {
        let stage = scene.stage;
        let made = (stage.revision, stage.probes.len(), stage.notes.len());
        if self.made != Some(made) {
            self.remake(scene);
            self.made = Some(made);
        }
    }

    fn list(&self) -> &List {
        &self.list
    }

    fn list_mut(&mut self) -> &mut List {
        &mut self.list
    }

    fn empty(&self, _: &Scene<'_>) -> String {
        "Nothing is so. F shows all.".to_owned()
    }

    fn title(&self, scene: &Scene<'_>) -> String {
        let probes = &scene.stage.probes;
        let attached = probes.iter().filter(|probe| probe.state == ProbeState::Attached).count();
        let missing = probes.iter().filter(|probe| probe.state.name() == "missing").count();
        let mut parts = vec![if probes.is_empty() {
            "Health: the kernel was not traced".to_owned()
        } else {
            format!("Health: {attached} of {} probes attached", probes.len())
        }];
        if missing > 0 {
            parts.push(format!("{missing} missing"));
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
        let Some(row) = self.rows.get(row) else { return Vec::new() };
        let (what, role, state, more) = words(row, scene);
        vec![Line::from(what), Line::from(Span::styled(state, look.style(role))), Line::from(more)]
    }

    fn row_text(&self, row: usize, scene: &Scene<'_>) -> String {
        self.rows.get(row).map(|row| row_text(row, scene)).unwrap_or_default()
    }

    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text {
        let mut text = Text::new(width);
        match self.here() {
            Some(Row::Host) => host(&mut text, scene),
            Some(Row::Lost) => lost(&mut text, scene),
            Some(Row::Note(index)) => {
                text.title("Missing");
                text.text(&printable(scene.stage.notes.get(*index).map_or("", String::as_str)));
            }
            Some(Row::Finding(index)) => {
                if let Some(found) = scene.stage.verdicts.findings.get(*index) {
                    finding(&mut text, found);
                }
            }
            Some(Row::Probe(index)) => {
                if let Some(fact) = scene.stage.probes.get(*index) {
                    let counts = &scene.stage.loss.probes;
                    let counts = counts.iter().find(|counts| counts.symbol == fact.symbol);
                    probe(&mut text, fact, counts);
                }
            }
            None => {}
        }
        text
    }

    fn chosen(&self, _: &Scene<'_>) -> Option<Target> {
        None
    }

    fn choose(&mut self, _: &Target, _: &Scene<'_>) -> bool {
        false
    }

    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target> {
        match (action, self.here()?) {
            (Action::Open | Action::ToEntry, Row::Finding(index)) => {
                let place = scene.stage.verdicts.findings.get(*index)?.place?;
                let offset = (place.table == TableName::Ivrs).then_some(place.offset)?;
                let blocks = &scene.model.table().ivrs()?.ivmd;
                let block = blocks.iter().find(|block| block.offset == offset)?;
                Some(Target::Entry(block.index))
            }
            _ => None,
        }
    }

    fn act(&mut self, _: Action, _: &Scene<'_>) -> Option<String> {
        None
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
            "it refuses nothing for direct regions, as mainline does from 6.6 on"
        }
        RequireDirect::Unknown => "whether it refuses devices with direct regions is not known",
    };
    text.row("", refuses);
    for fact in scene.model.refuses_by() {
        text.row("", &fact);
    }
    text.row("BTF", if host.has_btf { "/sys/kernel/btf/vmlinux" } else { "none" });
    let options = scene.model.iommu_options();
    let options =
        if options.is_empty() { "none that bears on it".to_owned() } else { options.join(" ") };
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
        Origin::Live { traced: false } => "this host, its files alone".to_owned(),
        Origin::Recording { tool, began, ended, .. } => format!(
            "a recording made by {}, begun {}, {ended}",
            tool.as_deref().map_or_else(|| "an unknown program".to_owned(), printable),
            began.as_deref().unwrap_or("at an unknown time"),
        ),
        Origin::Tree => "a copied tree of files".to_owned(),
    };
    text.row("facts from", &from);
    if let Watch::Live { recording: Some((name, status)) } = scene.watch {
        text.row("recording", &format!("{name}: {} events, {} bytes", status.events, status.bytes));
        if let Some(trouble) = &status.trouble {
            text.painted_row("", Role::Bad, &printable(trouble));
        }
    }
}

fn lost(text: &mut Text, scene: &Scene<'_>) {
    let stage = scene.stage;
    text.title("What did not arrive");
    text.row("ring", &format!("{} events found the ring buffer full", stage.lost.ring));
    text.row("memory", &format!("{} reads of kernel memory failed or were cut", stage.lost.read));
    text.row("queue", &format!("{} events were not decoded or not kept", stage.lost.queue));
    let dropped = stage.history.dropped();
    if dropped > 0 {
        text.row("history", &format!("{dropped} older events are not shown any more"));
    }
    text.blank();
    text.text(if stage.lost.any() {
        "What is said of attempts may lack something: a cause, a call, who holds a group. It is \
         never made up for."
    } else {
        "Nothing is missing in what is said of attempts."
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
    text.row("need", if fact.required { "a verdict rests on it" } else { "it adds context" });
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
            "Without it a refusal may not be seen, or not be explained; what is said rests on the \
             other probes and on files."
        }
        ProbeState::Missing { .. } | ProbeState::LeftOut => {
            "Without it an explanation says less; none is wrong for it."
        }
        ProbeState::Waiting => {
            "It is attached when its module is loaded, before the module's first call."
        }
        _ => return,
    };
    text.blank();
    text.text(meaning);
}
