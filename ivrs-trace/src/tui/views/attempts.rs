//! The attempts view: a row a try to take a device; the chosen one explained step by step.

use ratatui::text::{Line, Span};

use super::outcome;
use crate::{
    errno,
    event::{Body, Phase},
    model::{Attempt, Via},
    report::{self, calls},
    tui::{
        Action, Role, Scene,
        app::numbered,
        detail::Text,
        filter_words::Words,
        list::List,
        pane::{Column, Look, Pane, Target},
    },
};

/// Steps of an attempt that are laid out.
const STEPS: usize = 400;
/// Columns of the bar that shows when in an attempt a step was.
const BAR: usize = 12;
/// From how many columns on there is such a bar.
const BAR_FROM: usize = 76;

/// The attempts view.
#[derive(Debug, Default)]
pub(in super::super) struct Attempts {
    list: List,
    /// The numbers of the attempts that are shown.
    rows: Vec<u64>,
    /// Of how many attempts, and how many of them dropped, the rows were made.
    made: Option<(u64, usize, u64)>,
    filter: String,
    /// What is followed: a list of alternatives each, of which every attempt that is shown has one.
    followed: Vec<Vec<String>>,
}

impl Attempts {
    /// Shows only attempts that have one of each of these: the name of a machine, the id of a
    /// process, the address of a device.
    pub(in super::super) fn follow(&mut self, followed: Vec<Vec<String>>) {
        self.followed = followed;
        self.made = None;
    }

    /// Whether an attempt is followed.
    pub(in super::super) fn follows(&self, attempt: &Attempt) -> bool {
        if self.followed.is_empty() {
            return true;
        }
        let mut has = vec![attempt.process.pid.to_string()];
        has.extend(attempt.process.vm.clone());
        has.extend(attempt.requested.map(|bdf| bdf.to_string()));
        has.extend(attempt.rejections.iter().map(|one| one.device.name.clone()));
        self.followed.iter().all(|any| any.iter().any(|one| has.contains(one)))
    }

    fn here<'a>(&self, scene: &Scene<'a>) -> Option<(u64, &'a Attempt)> {
        let number = *self.rows.get(self.list.chosen()?)?;
        Some((number, of_number(number, scene)?))
    }

    fn remake(&mut self, scene: &Scene<'_>) {
        let chosen = self.list.chosen().and_then(|row| self.rows.get(row)).copied();
        let follow = self.list.is_at_end();
        let words = Words::of(&self.filter);
        self.rows = numbered(scene)
            .filter(|(_, attempt)| self.follows(attempt))
            .filter(|(_, attempt)| words.are_in(|| text_of(attempt)))
            .map(|(number, _)| number)
            .collect();
        self.list.set_rows(self.rows.len());
        match chosen.and_then(|number| self.rows.binary_search(&number).ok()) {
            Some(row) if !follow => self.list.choose(row),
            _ => self.list.choose(usize::MAX),
        }
    }
}

fn of_number<'a>(number: u64, scene: &Scene<'a>) -> Option<&'a Attempt> {
    let index = number.checked_sub(scene.model.attempts_dropped())?;
    scene.model.attempts().get(usize::try_from(index).ok()?)
}

fn via(via: Via) -> &'static str {
    match via {
        Via::VfioGroup => "vfio group",
        Via::IommufdCompat => "iommufd, compat",
        Via::Iommufd => "iommufd",
        Via::VfioPci => "vfio-pci",
    }
}

/// The device or group that was asked for.
fn wanted(attempt: &Attempt) -> String {
    match (attempt.requested, attempt.group) {
        (Some(bdf), _) => bdf.to_string(),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "?".to_owned(),
    }
}

fn text_of(attempt: &Attempt) -> String {
    format!(
        "{} {} {} {} {} {}",
        wanted(attempt),
        outcome(attempt.outcome).1,
        attempt.process.comm,
        attempt.process.pid,
        attempt.process.vm.as_deref().unwrap_or_default(),
        via(attempt.via)
    )
}

const COLUMNS: &[Column] = &[
    Column { title: "time", width: 10, from: 40 },
    Column { title: "outcome", width: 8, from: 0 },
    Column { title: "wanted", width: 12, from: 0 },
    Column { title: "errno", width: 7, from: 56 },
    Column { title: "process", width: 0, from: 30 },
    Column { title: "machine", width: 12, from: 70 },
    Column { title: "by way of", width: 15, from: 90 },
];

impl Pane for Attempts {
    fn sync(&mut self, scene: &Scene<'_>) {
        let attempts = scene.model.attempts();
        let made = (scene.stage.revision, attempts.len(), scene.model.attempts_dropped());
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

    fn empty(&self, scene: &Scene<'_>) -> String {
        if !scene.model.attempts().is_empty() {
            return "No attempt is so. F shows all that are followed.".to_owned();
        }
        if scene.is_replay() {
            return "No try to take a device was seen up to here.".to_owned();
        }
        "No try to take a device was seen yet. Start the virtual machine now; every try shows here."
            .to_owned()
    }

    fn title(&self, scene: &Scene<'_>) -> String {
        let mut parts = vec![format!("Attempts: {}", scene.model.attempts().len())];
        let dropped = scene.model.attempts_dropped();
        if dropped > 0 {
            parts.push(format!("{dropped} older ones not kept"));
        }
        for any in &self.followed {
            parts.push(format!("only of {}", any.join(" or ")));
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
        let attempt = self.rows.get(row).and_then(|number| of_number(*number, scene));
        let Some(attempt) = attempt else { return Vec::new() };
        let (role, word) = outcome(attempt.outcome);
        let since = attempt.time_ns.saturating_sub(scene.stage.began.monotonic_ns);
        vec![
            Line::from(format!("{:>10}", seconds(since))),
            Line::from(Span::styled(word, look.style(role))),
            Line::from(wanted(attempt)),
            Line::from(attempt.errno.map_or_else(String::new, |errno| errno.to_string())),
            Line::from(format!("{} ({})", attempt.process.comm, attempt.process.pid)),
            Line::from(attempt.process.vm.clone().unwrap_or_default()),
            Line::from(via(attempt.via)),
        ]
    }

    fn row_text(&self, row: usize, scene: &Scene<'_>) -> String {
        let attempt = self.rows.get(row).and_then(|number| of_number(*number, scene));
        attempt.map(text_of).unwrap_or_default()
    }

    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text {
        let mut text = Text::new(width);
        let Some((_, attempt)) = self.here(scene) else { return text };
        text.document(&report::attempt(scene.model, attempt));
        let steps = scene.stage.trail.steps(scene.model, attempt);
        if steps.is_empty() {
            return text;
        }
        let whole = steps.last().map_or(0, |step| step.since_ns);
        text.title(&format!("Step by step, {} s in all", seconds(whole)));
        for step in steps.iter().take(STEPS) {
            text.line(step_line(step, whole, width));
        }
        if let Some(more) = steps.len().checked_sub(STEPS).filter(|more| *more > 0) {
            text.paragraph(Role::Dim, "", &format!("and {more} more events"));
        }
        text
    }

    fn chosen(&self, scene: &Scene<'_>) -> Option<Target> {
        self.here(scene).map(|(number, _)| Target::Attempt(number))
    }

    fn choose(&mut self, target: &Target, scene: &Scene<'_>) -> bool {
        let Target::Attempt(number) = target else { return false };
        if self.rows.binary_search(number).is_err() {
            self.filter.clear();
            self.remake(scene);
        }
        let row = self.rows.binary_search(number).ok();
        row.inspect(|row| self.list.choose(*row)).is_some()
    }

    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let (_, attempt) = self.here(scene)?;
        match action {
            Action::Open | Action::ToEntry => {
                let causes = attempt.rejections.iter().flat_map(|one| scene.model.causes(one));
                causes.filter_map(|cause| cause.ivmd()).map(Target::Entry).next()
            }
            Action::ToDevice => {
                let blocking = attempt.rejections.iter().find_map(|one| one.device.bdf);
                attempt.requested.or(blocking).map(Target::Device)
            }
            Action::ToRegions => attempt.group.map(Target::Group),
            Action::ToEvents => {
                let steps = scene.stage.trail.steps(scene.model, attempt);
                let first = steps.first().map(|step| Target::Event(step.number));
                first.or_else(|| Some(Target::Events(format!("pid={}", attempt.process.pid))))
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

/// A step: when, a bar of when in the whole, and what, set in by the calls that it is in.
fn step_line(step: &calls::Step<'_>, whole: u64, width: usize) -> Vec<(Role, String)> {
    let mut pieces = vec![(Role::Dim, format!("+{} ", seconds(step.since_ns)))];
    if width >= BAR_FROM {
        let cells = u64::try_from(BAR - 1).unwrap_or_default();
        let at = step.since_ns.saturating_mul(cells).checked_div(whole).unwrap_or_default();
        let bar: String = (0..=cells).map(|cell| if cell == at { '*' } else { '.' }).collect();
        pieces.push((Role::Dim, format!("{bar} ")));
    }
    let role = match &step.event.body {
        Body::SetDomain { ret, .. } if *ret < 0 => Role::Bad,
        Body::Warning { .. } => Role::Bad,
        Body::KernelMessage { .. } | Body::UnityMatch { .. } => Role::Doubtful,
        body => match calls::phase(body) {
            Some(Phase::Exit { ret }) if errno::of_return(ret).is_some() => Role::Bad,
            _ => Role::Text,
        },
    };
    pieces.push((role, format!("{}{}", "  ".repeat(step.depth.min(8)), step.event.body)));
    pieces
}

/// Seconds with six digits after the point.
fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000)
}
