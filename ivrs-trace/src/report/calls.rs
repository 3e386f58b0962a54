//! The calls of attempts, event by event, for whoever must see them all.
//!
//! It keeps the events that attempts are made of, a bounded number, and lays out those of one
//! attempt. What they mean is the model's to say.

use std::collections::{BTreeMap, VecDeque};

use super::{redact::Redactor, write::COLUMNS};
use crate::{
    event::{Body, DeviceFunction, Event, Phase},
    model::{Attempt, Model},
    width::{width, wrap},
};

/// Events that are kept at most; of more, the oldest go. An attempt has some twenty.
const KEPT: usize = 50_000;
/// Events of one attempt that are laid out.
const SHOWN: usize = 120;

/// The events that attempts are made of.
#[derive(Debug, Default)]
pub struct Trail {
    events: VecDeque<(u64, Event)>,
    dropped: u64,
}

impl Trail {
    /// Takes in an event with its number.
    pub fn add(&mut self, number: u64, event: &Event) {
        if !belongs(&event.body) {
            return;
        }
        if self.events.len() == KEPT {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back((number, event.clone()));
    }

    /// The last line of the kernel's log on a refusal.
    pub(super) fn message(&self) -> Option<&str> {
        self.events.iter().rev().find_map(|(_, event)| refusal(event))
    }

    /// The first such line of a process from a moment on.
    pub(super) fn message_of(&self, pid: u32, time_ns: u64) -> Option<&str> {
        self.events
            .iter()
            .filter(|(_, event)| event.pid == pid && event.time_ns >= time_ns)
            .find_map(|(_, event)| refusal(event))
    }

    /// Of how many events nothing is known here, because there were too many.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The events of an attempt in their order, set in by the calls that they are in. A call of the
    /// same process is of the last attempt that it began before.
    #[must_use]
    pub fn steps(&self, model: &Model, attempt: &Attempt) -> Vec<Step<'_>> {
        let next = model
            .attempts()
            .iter()
            .filter(|other| other.process.pid == attempt.process.pid)
            .map(|other| other.time_ns)
            .filter(|time| *time > attempt.time_ns)
            .min();
        let of_attempt = |event: &Event| {
            event.pid == attempt.process.pid
                && event.time_ns >= attempt.time_ns
                && next.is_none_or(|next| event.time_ns < next)
        };
        let mut depths: BTreeMap<u32, usize> = BTreeMap::new();
        let mut steps = Vec::new();
        for (number, event) in &self.events {
            if !of_attempt(event) || walked(attempt, *number, &event.body) {
                continue;
            }
            let depth = depths.entry(event.tid).or_default();
            let phase = phase(&event.body);
            if matches!(phase, Some(Phase::Exit { .. })) {
                *depth = depth.saturating_sub(1);
            }
            let since_ns = event.time_ns.saturating_sub(attempt.time_ns);
            steps.push(Step { number: *number, since_ns, depth: *depth, event });
            if phase == Some(Phase::Enter) {
                *depth += 1;
            }
        }
        steps
    }

    /// The same as text, a line or more each.
    pub(super) fn lines(&self, model: &Model, attempt: &Attempt, redact: &Redactor) -> Vec<String> {
        let steps = self.steps(model, attempt);
        let mut lines = Vec::new();
        for step in steps.iter().take(SHOWN) {
            let what = redact.text(&step.event.body.to_string());
            let first = format!(
                "  #{:<6} +{}.{:06}  {}",
                step.number,
                step.since_ns / 1_000_000_000,
                step.since_ns % 1_000_000_000 / 1000,
                "  ".repeat(step.depth.min(6)),
            );
            let rest = " ".repeat(width(&first) + 4);
            lines.extend(wrap(&what, COLUMNS, &first, &rest));
        }
        if let Some(more) = steps.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            lines.push(format!("  and {more} more events"));
        }
        lines
    }
}

/// An event of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its number.
    pub number: u64,
    /// Time since the attempt began, ns.
    pub since_ns: u64,
    /// In how many calls of its thread it is.
    pub depth: usize,
    /// What happened.
    pub event: &'a Event,
}

/// Whether an entry of the unity map is one that a walk met which no refusal rests on: the kernel's
/// warning and its call both make one, and one is enough.
fn walked(attempt: &Attempt, number: u64, body: &Body) -> bool {
    let mut rests = attempt.rejections.iter().flat_map(|one| &one.matches);
    matches!(body, Body::UnityMatch { .. }) && !rests.any(|found| found.event == number)
}

/// The kernel's words on a refusal.
fn refusal(event: &Event) -> Option<&str> {
    match &event.body {
        Body::KernelMessage { text, .. } if text.contains("1:1 IOMMU mapping") => Some(text),
        _ => None,
    }
}

/// Whether an attempt is made of such events.
fn belongs(body: &Body) -> bool {
    !matches!(
        body,
        Body::Region { .. }
            | Body::RegionsEnd { .. }
            | Body::UnityEntry { .. }
            | Body::UnityEnd { .. }
            | Body::DeviceCall { function: DeviceFunction::DirectMappings, .. }
            | Body::Args { .. }
            | Body::GroupChange { .. }
            | Body::ModuleLoad { .. }
            | Body::Unknown { .. }
    )
}

/// Whether a call begins or returns with the event.
pub(crate) fn phase(body: &Body) -> Option<Phase> {
    match body {
        Body::Claim { phase, .. }
        | Body::VfioCall { phase, .. }
        | Body::DeviceCall { phase, .. }
        | Body::IommufdAttach { phase }
        | Body::ContainerAttach { phase }
        | Body::Type1Attach { phase, .. } => Some(*phase),
        _ => None,
    }
}
