//! The events view: a row an event, the newest at the end; it follows them until it is paused.

use std::collections::VecDeque;

use super::plain;
use crate::{
    event::{Event, Filter, Follow, Phase, Value},
    report::stream::{self, Time},
    tui::{
        Action, Role, Scene,
        detail::Text,
        filter_words::Words,
        pane::{Column, Followed, Piece, Rows, Stamp, Target},
        state::seconds,
    },
};

/// The events view. A row is the number of an event.
#[derive(Default)]
pub(super) struct Events {
    /// The number that the next event to be looked at has at least.
    next: u64,
    /// How many events have been looked at: fewer are there when a replay has gone back.
    looked: u64,
    paused: bool,
    follow: Follow,
}

impl Events {
    /// The events from the next one on that the filters let through.
    fn look(&mut self, scene: &Scene<'_>) -> Vec<u64> {
        self.looked = seen(scene);
        let mut rows = Vec::new();
        for (number, event) in scene.stage.history.from(self.next) {
            self.next = number + 1;
            if self.follow.lets(event) {
                rows.push(number);
            }
        }
        rows
    }
}

/// How many events there were.
fn seen(scene: &Scene<'_>) -> u64 {
    let history = &scene.stage.history;
    history.dropped().saturating_add(u64::try_from(history.len()).unwrap_or(0))
}

impl Rows for Events {
    type Row = u64;

    const COLUMNS: &'static [Column] = &[
        Column { title: "number", width: 7, from: 50 },
        Column { title: "time", width: 11, from: 36 },
        Column { title: "process", width: 8, from: 70 },
        Column { title: "name", width: 15, from: 60 },
        Column { title: "what", width: 0, from: 0 },
    ];
    const STEADY: bool = false;

    fn follow(&mut self, followed: &Followed) -> String {
        self.follow.set(followed.events.clone());
        followed.events.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    fn keeps_up(&self) -> bool {
        !self.paused
    }

    fn stamp(&self, scene: &Scene<'_>) -> Stamp {
        (0, 0, seen(scene))
    }

    fn rows(&mut self, _: usize, scene: &Scene<'_>) -> Vec<u64> {
        self.next = 0;
        self.look(scene)
    }

    fn newer(&mut self, rows: &VecDeque<u64>, scene: &Scene<'_>) -> Option<(usize, Vec<u64>)> {
        if seen(scene) < self.looked {
            return None;
        }
        let first = scene.stage.history.first().unwrap_or_default();
        Some((rows.partition_point(|number| *number < first), self.look(scene)))
    }

    fn text(&self, row: &u64, scene: &Scene<'_>) -> String {
        let event = scene.stage.history.get(*row);
        let text = |event: &Event| format!("{} {} {}", event.comm, event.pid, event.body);
        event.map_or_else(String::new, text)
    }

    fn cells(&self, row: &u64, _: Option<&u64>, scene: &Scene<'_>) -> Vec<Piece> {
        let Some(event) = scene.stage.history.get(*row) else { return Vec::new() };
        let since = event.time_ns.saturating_sub(scene.stage.began.monotonic_ns);
        vec![
            plain(format!("{row:>7}")),
            plain(format!("{:>11}", seconds(since))),
            plain(format!("{:>8}", event.pid)),
            plain(&event.comm),
            plain(event.body.to_string()),
        ]
    }

    fn title(&self, rows: &VecDeque<u64>, scene: &Scene<'_>) -> Vec<String> {
        let history = &scene.stage.history;
        let of = if rows.len() < history.len() {
            format!(" of {}", history.len())
        } else {
            String::new()
        };
        let mut parts = vec![format!("Events: {}{of}", rows.len())];
        if history.dropped() > 0 {
            parts.push(format!("{} older ones dropped", history.dropped()));
        }
        parts.extend(self.paused.then(|| "paused".to_owned()));
        parts
    }

    fn none(&self, scene: &Scene<'_>) -> Option<String> {
        scene.stage.history.is_empty().then(|| "No event yet.".to_owned())
    }

    fn detail(&self, row: &u64, text: &mut Text, scene: &Scene<'_>) {
        let Some(event) = scene.stage.history.get(*row) else { return };
        text.paragraph(Role::Title, "", &event.body.to_string());
        text.blank();
        text.row("event", &row.to_string());
        let utc = stream::line(*row, event, Time::Utc, scene.stage.began);
        text.row("time", utc.split_whitespace().nth(1).unwrap_or_default());
        text.row("process", &format!("{} ({})", event.comm, event.pid));
        text.row("thread", &event.tid.to_string());
        text.row("CPU", &event.cpu.to_string());
        text.title("Fields");
        text.row("kind", event.body.kind());
        let body = &event.body;
        for (name, value) in body.names().filter_map(|name| Some((name, body.field(name)?))) {
            let shown = match value {
                Value::Device(device) => {
                    text.row("device", &device.name);
                    if let Some(group) = device.group {
                        text.row("group", &group.to_string());
                    }
                    continue;
                }
                Value::Phase(Phase::Enter) => "entry".to_owned(),
                Value::Phase(Phase::Exit { ret }) => format!("return {ret}"),
                Value::Return(ret) => ret.to_string(),
                Value::Flag(flag) => flag.to_string(),
                Value::Number(large) if large > 0xffff => format!("{large} ({large:#x})"),
                Value::Number(number) => number.to_string(),
                Value::Plain(plain) => plain.to_string(),
            };
            text.row(name, &shown);
        }
    }

    fn target(&self, row: &u64) -> Option<Target> {
        Some(Target::Event(*row))
    }

    fn narrow(&mut self, target: &Target) -> Option<String> {
        match target {
            Target::Events(filter) => Some(filter.clone()),
            _ => None,
        }
    }

    fn filter(&mut self, text: &str) -> Result<Words, String> {
        let (mut filters, mut words) = (Vec::<Filter>::new(), Vec::new());
        for word in text.split_whitespace() {
            if word.contains('=') {
                filters.push(word.parse().map_err(|error| format!("{word}: {error}"))?);
            } else {
                words.push(word);
            }
        }
        self.follow.set(filters);
        Ok(Words::of(&words.join(" ")))
    }

    fn link(&self, row: &u64, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let event = scene.stage.history.get(*row)?;
        let device = event.body.device();
        match action {
            Action::Open => {
                let device = || device.and_then(|one| one.bdf).map(Target::Device);
                attempt_of(event, scene).or_else(device)
            }
            Action::ToDevice => device.and_then(|one| one.bdf).map(Target::Device),
            Action::ToRegions => device.and_then(|one| one.group).map(Target::Group),
            Action::ToAttempt => attempt_of(event, scene),
            Action::ToEntry => {
                let verdict = scene.device(device.and_then(|one| one.bdf)?)?;
                verdict.causes.iter().find_map(|cause| cause.entry).map(Target::Entry)
            }
            Action::ToEvents => Some(Target::Events(format!("pid={}", event.pid))),
            _ => None,
        }
    }

    fn act(&mut self, action: Action, _: Option<&u64>, _: &Scene<'_>) -> Option<String> {
        if action != Action::Pause {
            return None;
        }
        self.paused = !self.paused;
        Some(if self.paused { "paused" } else { "following new events" }.to_owned())
    }
}

/// The attempt that an event belongs to: the last one of its process that began before.
fn attempt_of(event: &Event, scene: &Scene<'_>) -> Option<Target> {
    let mut attempts = scene.numbered().rev();
    let found =
        attempts.find(|(_, one)| one.process.pid == event.pid && one.time_ns <= event.time_ns);
    found.map(|(number, _)| Target::Attempt(number))
}
