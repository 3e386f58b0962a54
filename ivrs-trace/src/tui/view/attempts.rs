//! The attempts view: a row an attempt to claim a device; the selected one explained step by step.

use std::collections::VecDeque;

use super::{outcome, plain};
use crate::{
    errno,
    event::{Body, Phase},
    model::{Attempt, Via},
    report::{self, calls},
    tui::{
        Action, Role, Scene,
        detail::Text,
        pane::{Column, Followed, Piece, Rows, Stamp, Target},
        state::seconds,
    },
};

/// Steps of an attempt that are laid out.
const STEPS: usize = 400;
/// Columns of the bar that shows when in an attempt a step was.
const BAR: usize = 12;
/// From how many columns on there is such a bar.
const BAR_FROM: usize = 76;

/// The attempts view. A row is the number of an attempt.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    followed: Followed,
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

/// The device or group that the process requested.
fn requested(attempt: &Attempt) -> String {
    match (attempt.requested, attempt.group) {
        (Some(bdf), _) => bdf.to_string(),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "?".to_owned(),
    }
}

fn text_of(attempt: &Attempt) -> String {
    format!(
        "{} {} {} {} {} {}",
        requested(attempt),
        outcome(attempt.outcome).1,
        attempt.process.comm,
        attempt.process.pid,
        attempt.process.vm.as_deref().unwrap_or_default(),
        via(attempt.via)
    )
}

impl Rows for Attempts {
    type Row = u64;

    const COLUMNS: &'static [Column] = &[
        Column { title: "time", width: 10, from: 40 },
        Column { title: "outcome", width: 8, from: 0 },
        Column { title: "device", width: 12, from: 0 },
        Column { title: "errno", width: 7, from: 56 },
        Column { title: "process", width: 0, from: 30 },
        Column { title: "VM", width: 12, from: 70 },
        Column { title: "via", width: 15, from: 90 },
    ];
    const STEADY: bool = false;

    fn follow(&mut self, followed: &Followed) -> String {
        self.followed = followed.clone();
        String::new()
    }

    fn keeps_up(&self) -> bool {
        true
    }

    fn stamp(&self, scene: &Scene<'_>) -> Stamp {
        let (model, revision) = (scene.model, scene.stage.revision);
        (revision, model.attempts().len(), model.attempts_dropped())
    }

    fn rows(&mut self, _: usize, scene: &Scene<'_>) -> Vec<u64> {
        let followed = scene.numbered().filter(|(_, attempt)| self.followed.lets(attempt));
        followed.map(|(number, _)| number).collect()
    }

    fn text(&self, row: &u64, scene: &Scene<'_>) -> String {
        of_number(*row, scene).map_or_else(String::new, text_of)
    }

    fn cells(&self, row: &u64, _: Option<&u64>, scene: &Scene<'_>) -> Vec<Piece> {
        let Some(attempt) = of_number(*row, scene) else { return Vec::new() };
        let (role, word) = outcome(attempt.outcome);
        let since = attempt.time_ns.saturating_sub(scene.stage.began.monotonic_ns);
        vec![
            plain(format!("{:>10}", seconds(since))),
            (role, word.to_owned()),
            plain(requested(attempt)),
            plain(attempt.errno.map_or_else(String::new, |errno| errno.to_string())),
            plain(format!("{} ({})", attempt.process.comm, attempt.process.pid)),
            plain(attempt.process.vm.as_deref().unwrap_or_default()),
            plain(via(attempt.via)),
        ]
    }

    fn title(&self, _: &VecDeque<u64>, scene: &Scene<'_>) -> Vec<String> {
        let mut parts = vec![format!("Attempts: {}", scene.model.attempts().len())];
        let dropped = scene.model.attempts_dropped();
        if dropped > 0 {
            parts.push(format!("{dropped} older ones dropped"));
        }
        parts.extend(self.followed.attempts.iter().map(|any| format!("only {}", any.join(" or "))));
        parts
    }

    fn none(&self, scene: &Scene<'_>) -> Option<String> {
        scene.model.attempts().is_empty().then(|| {
            let text = if scene.is_replay() {
                "No attempt to claim a device up to here."
            } else {
                "No attempt to claim a device yet. Start the virtual machine now; every attempt \
                 shows here."
            };
            text.to_owned()
        })
    }

    fn detail(&self, row: &u64, text: &mut Text, scene: &Scene<'_>) {
        let Some(attempt) = of_number(*row, scene) else { return };
        let width = text.width();
        text.document(&report::attempt(scene.model, attempt));
        let steps = scene.stage.trail.steps(scene.model, attempt);
        if steps.is_empty() {
            return;
        }
        let whole = steps.last().map_or(0, |step| step.since_ns);
        text.title(&format!("Steps: {} s", seconds(whole)));
        for step in steps.iter().take(STEPS) {
            text.line(step_line(step, whole, width));
        }
        if let Some(more) = steps.len().checked_sub(STEPS).filter(|more| *more > 0) {
            text.paragraph(Role::Dim, "", &format!("and {more} more events"));
        }
    }

    fn target(&self, row: &u64) -> Option<Target> {
        Some(Target::Attempt(*row))
    }

    fn link(&self, row: &u64, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let attempt = of_number(*row, scene)?;
        match action {
            Action::Open | Action::ToEntry => {
                let mut causes = attempt.rejections.iter().flat_map(|one| scene.model.causes(one));
                causes.find_map(|cause| cause.entry).map(Target::Entry)
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
