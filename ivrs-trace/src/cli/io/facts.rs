//! What reports and exports are made from: a host, this one, a copied or a recorded one, with all
//! that is known of how it was looked at.

use std::path::Path;

use super::source;
use crate::{
    codes::Code,
    escape::printable,
    event::Event,
    facts::{Clocks, End, Lost, ProbeFact, Start},
    firmware::Fact,
    host::{self, Conditions, Skipped, Snapshot},
    live::{self, Live},
    model::{Finding, Model, Verdicts, health},
    output,
    recording::{Condition, Continues},
    replay::Replay,
    report::{self, calls::Trail, letters::input::Origin, stream},
};

/// How many of the things that could not be placed are listed.
const LISTED: usize = 32;

/// A host, and how it was looked at.
pub(crate) struct Facts {
    pub(crate) model: Model,
    pub(crate) verdicts: Verdicts,
    pub(crate) origin: Origin,
    pub(crate) probes: Vec<ProbeFact>,
    pub(crate) lost: Lost,
    /// What else is missing, a sentence each.
    pub(crate) notes: Vec<String>,
    pub(crate) trail: Trail,
    pub(crate) began: Option<Clocks>,
    pub(crate) events: u64,
    pub(crate) names: Vec<String>,
    conditions: Conditions,
}

/// How much of this host's kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// What it lists for each device: that is what verdicts rest on.
    Regions,
    /// Also how every probe stands.
    Everything,
}

/// Gathers the facts; each event goes to `each`, with the clocks when tracing began where they are
/// known.
pub(crate) fn gather(
    from: Option<&Path>,
    ask: Ask,
    mut each: impl FnMut(Option<Clocks>, u64, &Event),
) -> anyhow::Result<Facts> {
    let mut trail = Trail::default();
    let mut events = 0;
    let mut take = |began, number, event: &Event| {
        trail.add(number, event);
        events += 1;
        each(began, number, event);
    };
    let mut facts = match from {
        None => this_host(ask, &mut take)?,
        Some(path) if path.is_dir() => tree(path)?,
        Some(path) => {
            let replay = source::recording(path, |start, number, event| {
                take(start.map(|start| start.clocks), number, event);
            })?;
            live::warn_of(&replay.probes);
            of_recording(replay)
        }
    };
    let remapping = health::remapping(&facts.model, &facts.conditions);
    facts.verdicts.findings.extend(remapping.as_ref().and_then(report::remapping_finding));
    facts.verdicts.findings.extend(skipped(facts.model.host()));
    facts.trail = trail;
    facts.events = events;
    Ok(facts)
}

/// What the host shows and could not be placed; so nothing is lost in silence.
fn skipped(host: &Snapshot) -> Option<Finding> {
    let first = host.skipped.first()?;
    let more = match host.skipped.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    let message = printable(&format!("{}: {}{more}; not judged", first.path, first.why));
    let line = |one: &Skipped| Fact::Skipped { path: one.path.clone(), why: one.why.clone() };
    let evidence = host.skipped.iter().take(LISTED).map(line).collect();
    Some(Finding { evidence, ..Finding::new(Code::Skipped, message) })
}

fn of_model(model: Model, origin: Origin) -> Facts {
    Facts {
        verdicts: model.verdicts(),
        model,
        origin,
        probes: Vec::new(),
        lost: Lost::default(),
        notes: Vec::new(),
        trail: Trail::default(),
        began: None,
        events: 0,
        names: Vec::new(),
        conditions: Conditions::default(),
    }
}

/// This host: its kernel is asked through probes where that is allowed, else files alone are read.
fn this_host(
    ask: Ask,
    each: &mut impl FnMut(Option<Clocks>, u64, &Event),
) -> anyhow::Result<Facts> {
    let names = own_names();
    let conditions = Conditions::read(Path::new("/"));
    let mut why_not = "the kernel was not traced: this host has no IOMMU group".to_owned();
    if live::can_show() {
        let runtime = live::runtime::runtime()?;
        let _inside = runtime.enter();
        let take = |number, event: &Event| each(None, number, event);
        let live = match ask {
            Ask::Regions => Live::of_regions(take),
            Ask::Everything => Live::start(take),
        };
        match live {
            Ok(live) => {
                live::warn_of(&live.probes());
                let (probes, lost, began) = (live.probes(), live.lost()?, Some(live.began()));
                let facts = of_model(live.model, Origin::Live { traced: true });
                return Ok(Facts { probes, lost, began, names, conditions, ..facts });
            }
            Err(error) => {
                output::complain(&format!("judging from files alone: {error:#}"));
                why_not = format!("the kernel was not traced: {error:#}");
            }
        }
    }
    let facts = of_model(source::this_host(), Origin::Live { traced: false });
    Ok(Facts { notes: vec![why_not], names, conditions, ..facts })
}

pub(crate) fn own_names() -> Vec<String> {
    let mut names: Vec<String> = ["USER", "LOGNAME", "SUDO_USER", "HOSTNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .collect();
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    names.extend(of_host(&node));
    names
}

fn tree(path: &Path) -> anyhow::Result<Facts> {
    let (model, evidence) = source::model_of_tree(path)?;
    let mut facts = of_model(model, Origin::Tree);
    // Its words are about a kernel that runs here.
    facts.verdicts.findings.retain(|finding| finding.code != Code::NoBtf);
    facts.verdicts.findings.push(evidence);
    facts.conditions = Conditions::read(path);
    facts.names.extend(host::node_names(path).iter().flat_map(|name| of_host(name)));
    Ok(facts)
}

fn of_recording(replay: Replay) -> Facts {
    let start = replay.start.as_ref();
    let origin = origin(start, replay.end.as_ref());
    let notes = notes(start, &replay.condition, replay.continues.as_ref());
    let began = start.map(|start| start.clocks);
    let facts = of_model(replay.model, origin);
    let (probes, lost, conditions) = (replay.probes, replay.lost, replay.conditions);
    Facts { probes, lost, notes, began, conditions, ..facts }
}

/// Where the facts of a recording come from.
pub(crate) fn origin(start: Option<&Start>, end: Option<&End>) -> Origin {
    let ended = match end {
        None => "without its end".to_owned(),
        Some(end) => {
            let status = end
                .exit_status
                .map_or_else(String::new, |status| format!(", exit status {status}"));
            match end.reason.as_str() {
                "command" => format!("ended with its command{status}"),
                "interrupted" => "ended by an interrupt".to_owned(),
                "duration" => "ended after its time limit".to_owned(),
                "snapshot" => "of the host at one moment".to_owned(),
                "rotated" => "continued in another file".to_owned(),
                _ => "ended".to_owned(),
            }
        }
    };
    Origin::Recording {
        tool: start.map(|start| start.tool.clone()),
        kernel: start.map(|start| start.kernel_release.clone()),
        began: start.map(|start| stream::utc(start.clocks.realtime_ns)),
        command: start.map(|start| start.command.clone()).unwrap_or_default(),
        ended,
    }
}

/// What is missing in a recording, a sentence each.
pub(crate) fn notes(
    start: Option<&Start>,
    condition: &Condition,
    continues: Option<&Continues>,
) -> Vec<String> {
    let mut notes = condition.notes();
    if let Some(continues) = continues {
        notes.push(format!(
            "the recording continues {}, whose content is not in it",
            continues.before()
        ));
    }
    if start.is_some_and(|start| !start.traced) {
        notes.push(
            "the recording holds only files of the host: its kernel was not traced".to_owned(),
        );
    }
    notes
}

/// The name of a host, and its first part.
fn of_host(name: &str) -> Vec<String> {
    let first = name.split('.').next().unwrap_or_default();
    vec![name.to_owned(), first.to_owned()]
}
