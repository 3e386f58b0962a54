//! The events view: a row an event, the newest at the end; it follows them until it is told to
//! stand still.

use std::collections::VecDeque;

use ratatui::text::Line;

use crate::{
    event::{Body, Device, Event, Filter, Follow},
    pci::Bdf,
    report::stream::{self, Time},
    tui::{
        Action, Role, Scene,
        app::numbered,
        detail::Text,
        filter_words::Words,
        list::List,
        pane::{Column, Look, Pane, Target},
    },
};

/// The events view.
pub(in super::super) struct Events {
    list: List,
    /// The numbers of the events that are shown.
    rows: VecDeque<u64>,
    /// The number that the next event to be looked at has at least.
    next: u64,
    /// How many events have been looked at: fewer are there when a replay has gone back.
    looked: u64,
    following: bool,
    text: String,
    follow: Follow,
    words: Words,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            list: List::default(),
            rows: VecDeque::new(),
            next: 0,
            looked: 0,
            following: true,
            text: String::new(),
            follow: Follow::default(),
            words: Words::default(),
        }
    }
}

impl Events {
    fn here<'a>(&self, scene: &Scene<'a>) -> Option<(u64, &'a Event)> {
        let number = *self.rows.get(self.list.chosen()?)?;
        Some((number, scene.stage.history.get(number)?))
    }

    /// Shows only what these filters let through, beside what is typed later.
    pub(in super::super) fn follow(&mut self, filters: Vec<Filter>) {
        self.text = filters.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        self.follow.set(filters);
        self.words = Words::default();
        self.restart();
    }

    fn lets(&mut self, event: &Event) -> bool {
        if !self.follow.lets(event) {
            return false;
        }
        self.words.are_in(|| text_of(event))
    }

    fn restart(&mut self) {
        self.rows.clear();
        self.list.set_rows(0);
        (self.next, self.looked) = (0, 0);
    }

    fn set(&mut self, text: &str) -> Result<(), String> {
        let (mut filters, mut words) = (Vec::new(), Vec::new());
        for word in text.split_whitespace() {
            if word.contains('=') {
                filters.push(word.parse().map_err(|error| format!("{word}: {error}"))?);
            } else {
                words.push(word);
            }
        }
        self.follow.set(filters);
        self.words = Words::of(&words.join(" "));
        text.trim().clone_into(&mut self.text);
        self.restart();
        Ok(())
    }
}

const COLUMNS: &[Column] = &[
    Column { title: "number", width: 7, from: 50 },
    Column { title: "time", width: 11, from: 36 },
    Column { title: "process", width: 8, from: 70 },
    Column { title: "name", width: 15, from: 60 },
    Column { title: "what", width: 0, from: 0 },
];

impl Pane for Events {
    fn sync(&mut self, scene: &Scene<'_>) {
        let history = &scene.stage.history;
        let seen = history.dropped().saturating_add(u64::try_from(history.len()).unwrap_or(0));
        if seen < self.looked {
            self.restart();
        }
        if seen == self.looked {
            return;
        }
        let first = history.first().unwrap_or_default();
        let gone = self.rows.partition_point(|number| *number < first);
        self.rows.drain(..gone);
        self.list.drop_front(gone);
        let mut next = self.next;
        for (number, event) in history.from(self.next) {
            next = number + 1;
            if self.lets(event) {
                self.rows.push_back(number);
            }
        }
        (self.next, self.looked) = (next, seen);
        // Who has gone back in the list is not torn away from there.
        let follow = self.following && self.list.is_at_end();
        self.list.set_rows(self.rows.len());
        if follow {
            self.list.choose(usize::MAX);
        }
    }

    fn list(&self) -> &List {
        &self.list
    }

    fn list_mut(&mut self) -> &mut List {
        &mut self.list
    }

    fn empty(&self, scene: &Scene<'_>) -> String {
        if scene.stage.history.is_empty() {
            return "No event so far.".to_owned();
        }
        "No event is so. F shows all.".to_owned()
    }

    fn title(&self, scene: &Scene<'_>) -> String {
        let mut parts = vec![format!("Events: {}", self.rows.len())];
        if !self.text.is_empty() {
            parts.push(format!("only {:?} of {}", self.text, scene.stage.history.len()));
        }
        let dropped = scene.stage.history.dropped();
        if dropped > 0 {
            parts.push(format!("{dropped} older ones not kept"));
        }
        if !self.following {
            parts.push("paused".to_owned());
        }
        parts.join(", ")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, row: usize, scene: &Scene<'_>, _: Look) -> Vec<Line<'static>> {
        let number = self.rows.get(row).copied();
        let event = number.and_then(|number| scene.stage.history.get(number));
        let (Some(number), Some(event)) = (number, event) else { return Vec::new() };
        let since = event.time_ns.saturating_sub(scene.stage.began.monotonic_ns);
        vec![
            Line::from(format!("{number:>7}")),
            Line::from(format!("{:>4}.{:06}", since / 1_000_000_000, since % 1_000_000_000 / 1000)),
            Line::from(format!("{:>8}", event.pid)),
            Line::from(event.comm.clone()),
            Line::from(event.body.to_string()),
        ]
    }

    fn row_text(&self, row: usize, scene: &Scene<'_>) -> String {
        let event = self.rows.get(row).and_then(|number| scene.stage.history.get(*number));
        event.map(text_of).unwrap_or_default()
    }

    fn detail(&self, width: usize, scene: &Scene<'_>) -> Text {
        let mut text = Text::new(width);
        let Some((number, event)) = self.here(scene) else { return text };
        text.paragraph(Role::Title, "", &event.body.to_string());
        text.blank();
        text.row("event", &number.to_string());
        let utc = stream::line(number, event, Time::Utc, scene.stage.began);
        let time = utc.split_whitespace().nth(1).unwrap_or_default().to_owned();
        text.row("time", &time);
        text.row("process", &format!("{} ({})", event.comm, event.pid));
        text.row("thread", &event.tid.to_string());
        text.row("CPU", &event.cpu.to_string());
        // Its fields as the exported JSON has them.
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(event) {
            text.title("Fields");
            let shown = ["time_ns", "pid", "tid", "comm", "cpu"];
            for (name, value) in fields.iter().filter(|(name, _)| !shown.contains(&name.as_str())) {
                let value = match value {
                    serde_json::Value::String(value) => value.clone(),
                    serde_json::Value::Number(number) => match number.as_u64() {
                        Some(large) if large > 0xffff => format!("{large} ({large:#x})"),
                        _ => number.to_string(),
                    },
                    other => other.to_string(),
                };
                text.row(name, &value);
            }
        }
        text
    }

    fn chosen(&self, scene: &Scene<'_>) -> Option<Target> {
        self.here(scene).map(|(number, _)| Target::Event(number))
    }

    fn choose(&mut self, target: &Target, scene: &Scene<'_>) -> bool {
        match target {
            Target::Event(number) => {
                if self.rows.binary_search(number).is_err() && self.set("").is_ok() {
                    self.sync(scene);
                }
                let row = self.rows.binary_search(number).ok();
                row.inspect(|row| self.list.choose(*row)).is_some()
            }
            Target::Events(filter) => {
                let set = self.set(filter).is_ok();
                self.sync(scene);
                set
            }
            _ => false,
        }
    }

    fn link(&self, action: Action, scene: &Scene<'_>) -> Option<Target> {
        let (_, event) = self.here(scene)?;
        let device = device_of(&event.body);
        match action {
            Action::Open => {
                let device = || device.and_then(|one| one.bdf).map(Target::Device);
                attempt_of(event, scene).or_else(device)
            }
            Action::ToDevice => device.and_then(|one| one.bdf).map(Target::Device),
            Action::ToRegions => device.and_then(|one| one.group).map(Target::Group),
            Action::ToAttempt => attempt_of(event, scene),
            Action::ToEntry => {
                let bdf: Bdf = device.and_then(|one| one.bdf)?;
                let verdicts = &scene.stage.verdicts.devices;
                let verdict = verdicts.iter().find(|verdict| verdict.bdf == bdf)?;
                verdict.ivmds().next().map(Target::Entry)
            }
            Action::ToEvents => Some(Target::Events(format!("pid={}", event.pid))),
            _ => None,
        }
    }

    fn act(&mut self, action: Action, _: &Scene<'_>) -> Option<String> {
        if action != Action::Pause {
            return None;
        }
        self.following = !self.following;
        if self.following {
            self.list.choose(usize::MAX);
            return Some("follows the events".to_owned());
        }
        Some("stands still; events still come".to_owned())
    }

    fn filter(&self) -> &str {
        &self.text
    }

    fn set_filter(&mut self, text: &str, scene: &Scene<'_>) -> Result<(), String> {
        self.set(text)?;
        self.sync(scene);
        Ok(())
    }
}

/// An event as a filter and a search see it.
fn text_of(event: &Event) -> String {
    format!("{} {} {}", event.comm, event.pid, event.body)
}

/// The device that an event is about.
fn device_of(body: &Body) -> Option<&Device> {
    match body {
        Body::Region { device, .. }
        | Body::RegionsEnd { device, .. }
        | Body::UnityMatch { device, .. }
        | Body::SetDomain { device, .. }
        | Body::Member { device, .. }
        | Body::Warning { device, .. }
        | Body::GroupChange { device, .. } => Some(device),
        Body::Claim { device, .. } | Body::DeviceCall { device, .. } => device.as_ref(),
        _ => None,
    }
}

/// The attempt that an event belongs to: the last one of its process that began before.
fn attempt_of(event: &Event, scene: &Scene<'_>) -> Option<Target> {
    let mut attempts = numbered(scene).rev();
    let found =
        attempts.find(|(_, one)| one.process.pid == event.pid && one.time_ns <= event.time_ns);
    found.map(|(number, _)| Target::Attempt(number))
}
