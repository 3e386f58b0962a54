//! The state of the dashboard: what is shown, and what keys and mouse make of it.

use std::collections::BTreeSet;

use crossterm::event::{
    Event as Input, KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::{Position, Rect};

use super::{
    Action, Keys, Scene, ThemeName, View, Watch,
    detail::{Scroll, Text},
    overlay::{Overlay, Prompt, Wish},
    pane::{Look, Pane, Target},
    views::{Attempts, Devices, Events, Firmware, Health, Regions},
};
use crate::{
    event::Filter,
    model::{Attempt, Outcome},
    report,
};

/// Lines that the mouse wheel scrolls.
const WHEEL: isize = 3;
/// Attempts, the last ones, of which news are told.
const NEWS: usize = 64;
/// Places that one can go back to.
const BACK: usize = 100;

/// For whom a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Kernel developers.
    Kernel,
    /// The board's vendor.
    Vendor,
    /// People in a forum.
    Forum,
}

/// Where a replay is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// So many events on, or back.
    Events(isize),
    /// To the next attempt, or the one before.
    Attempt {
        /// Whether on.
        on: bool,
    },
    /// To the next refusal, or the one before.
    Refusal {
        /// Whether on.
        on: bool,
    },
    /// To the beginning.
    Start,
    /// To the end.
    End,
    /// To a part of the whole: so many of so many.
    Part(u16, u16),
}

/// What the dashboard wants to have done: it does nothing itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Write a report to a file.
    Report(Reader),
    /// Put text on the clipboard.
    Copy(String),
    /// Begin a recording, or end it.
    Record,
    /// Move the replay.
    Seek(Seek),
    /// Let the replay play, or stop it.
    Play,
    /// Change the speed of the replay: doubled, or halved.
    Speed {
        /// Whether doubled.
        faster: bool,
    },
    /// Draw all of the screen.
    Redraw,
}

/// Something said in the last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// What was done.
    Done(String),
    /// What went wrong.
    Trouble(String),
}

/// An attempt that ended badly and was not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) attempt: u64,
    pub(super) text: String,
    /// The kernel refused it for firmware's sake.
    pub(super) refused: bool,
}

/// Where things are on the screen, as last drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Areas {
    pub(super) tabs: Vec<(Rect, View)>,
    /// The rows, without their head.
    pub(super) rows: Rect,
    pub(super) detail: Rect,
    pub(super) status: Rect,
    /// The bar of a replay.
    pub(super) bar: Rect,
    /// The rows of the palette.
    pub(super) palette: Rect,
}

/// The text about the chosen row as it was last made.
#[derive(Debug, Default)]
pub(super) struct Shown {
    key: Option<(View, Option<usize>, usize, u64)>,
    pub(super) text: Text,
    pub(super) scroll: Scroll,
}

/// The dashboard.
pub struct App {
    pub(super) view: View,
    devices: Devices,
    attempts: Attempts,
    firmware: Firmware,
    regions: Regions,
    events: Events,
    health: Health,
    pub(super) keys: Keys,
    pub(super) theme: ThemeName,
    pub(super) overlay: Option<Overlay>,
    pub(super) zoomed: bool,
    back: Vec<(View, Option<Target>)>,
    pub(super) notice: Option<Notice>,
    told: BTreeSet<u64>,
    pub(super) message: Option<Message>,
    pub(super) sought: String,
    pub(super) areas: Areas,
    pub(super) shown: Shown,
}

impl App {
    /// A dashboard that shows the devices.
    #[must_use]
    pub fn new(keys: Keys, theme: ThemeName) -> Self {
        Self {
            view: View::default(),
            devices: Devices::default(),
            attempts: Attempts::default(),
            firmware: Firmware::default(),
            regions: Regions::default(),
            events: Events::default(),
            health: Health::default(),
            keys,
            theme,
            overlay: None,
            zoomed: false,
            back: Vec::new(),
            notice: None,
            told: BTreeSet::new(),
            message: None,
            sought: String::new(),
            areas: Areas::default(),
            shown: Shown::default(),
        }
    }

    /// The view that is shown.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// Shows only events that these filters let through, and only attempts that have one of each of
    /// `attempts`: the name of a machine, the id of a process, the address of a device.
    pub fn follow(&mut self, events: Vec<Filter>, attempts: Vec<Vec<String>>) {
        self.events.follow(events);
        self.attempts.follow(attempts);
    }

    /// Says something in the last line.
    pub fn say(&mut self, message: Message) {
        self.message = Some(message);
    }

    /// Follows what is known by now.
    pub fn sync(&mut self, scene: &Scene<'_>) {
        self.news(scene);
        self.pane_mut().sync(scene);
    }

    /// Takes in a key, the mouse or a new size of the screen.
    pub fn input(&mut self, input: &Input, scene: &Scene<'_>) -> Vec<Effect> {
        self.sync(scene);
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.key(*key, scene),
            Input::Mouse(mouse) => self.mouse(*mouse, scene),
            Input::Paste(text) => {
                if let Some(overlay) = &mut self.overlay {
                    overlay.paste(text);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn key(&mut self, key: KeyEvent, scene: &Scene<'_>) -> Vec<Effect> {
        if let Some(mut overlay) = self.overlay.take() {
            let wish = overlay.key(key);
            return self.grant(overlay, wish, scene);
        }
        self.message = None;
        match self.keys.action(key.into(), self.view, scene.is_replay()) {
            Some(action) => self.act(action, scene),
            None => Vec::new(),
        }
    }

    /// Does what an overlay wants.
    fn grant(&mut self, overlay: Overlay, wish: Wish, scene: &Scene<'_>) -> Vec<Effect> {
        match wish {
            Wish::Stay => self.overlay = Some(overlay),
            Wish::Close => {}
            Wish::Act(action) => return self.act(action, scene),
            Wish::Entered(Prompt::Search, text) => {
                self.sought = text;
                return self.act(Action::NextMatch, scene);
            }
            Wish::Entered(Prompt::Filter, text) => {
                if let Err(why) = self.pane_mut().set_filter(&text, scene) {
                    self.message = Some(Message::Trouble(why));
                }
            }
        }
        Vec::new()
    }

    /// Does an action.
    pub fn act(&mut self, action: Action, scene: &Scene<'_>) -> Vec<Effect> {
        self.sync(scene);
        let seek = |seek| vec![Effect::Seek(seek)];
        match action {
            Action::Quit => return vec![Effect::Quit],
            Action::Help => self.overlay = Some(Overlay::help()),
            Action::Palette => {
                self.overlay = Some(Overlay::palette(&self.keys, self.view, scene.is_replay()));
            }
            Action::Report => self.overlay = Some(Overlay::Readers),
            Action::Search => self.overlay = Some(Overlay::prompt(Prompt::Search, "")),
            Action::Filter => {
                let filter = self.pane().filter().to_owned();
                self.overlay = Some(Overlay::prompt(Prompt::Filter, &filter));
            }
            Action::Unfilter => {
                if let Err(why) = self.pane_mut().set_filter("", scene) {
                    self.message = Some(Message::Trouble(why));
                }
            }
            Action::Show(view) => self.show(view, scene),
            Action::NextView => self.show(neighbour(self.view, 1), scene),
            Action::PreviousView => self.show(neighbour(self.view, View::ALL.len() - 1), scene),
            Action::Down => self.step(1),
            Action::Up => self.step(-1),
            Action::PageDown => self.page(1),
            Action::PageUp => self.page(-1),
            Action::First => self.to(0),
            Action::Last => self.to(usize::MAX),
            Action::ScrollDown => self.shown.scroll.step(1),
            Action::ScrollUp => self.shown.scroll.step(-1),
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::NextMatch => self.search(true, scene),
            Action::PreviousMatch => self.search(false, scene),
            Action::Back => self.go_back(scene),
            Action::Refusal => self.newest_refusal(scene),
            Action::Open if self.notice.is_some() => self.look_at_notice(scene),
            Action::Open
            | Action::ToEntry
            | Action::ToDevice
            | Action::ToAttempt
            | Action::ToEvents
            | Action::ToRegions => self.follow_link(action, scene),
            Action::ReportKernel => return vec![Effect::Report(Reader::Kernel)],
            Action::ReportVendor => return vec![Effect::Report(Reader::Vendor)],
            Action::ReportForum => return vec![Effect::Report(Reader::Forum)],
            Action::Copy => {
                let text = self.pane().detail(COPIED, scene).plain();
                return vec![Effect::Copy(text)];
            }
            Action::Record => return vec![Effect::Record],
            Action::Theme => {
                self.theme = self.theme.next();
                self.message = Some(Message::Done(format!("theme: {}", self.theme.name())));
            }
            Action::Redraw => return vec![Effect::Redraw],
            Action::Play => return vec![Effect::Play],
            Action::StepOn => return seek(Seek::Events(1)),
            Action::StepBack => return seek(Seek::Events(-1)),
            Action::AttemptOn => return seek(Seek::Attempt { on: true }),
            Action::AttemptBack => return seek(Seek::Attempt { on: false }),
            Action::RefusalOn => return seek(Seek::Refusal { on: true }),
            Action::RefusalBack => return seek(Seek::Refusal { on: false }),
            Action::Rewind => return seek(Seek::Start),
            Action::Forward => return seek(Seek::End),
            Action::Faster => return vec![Effect::Speed { faster: true }],
            Action::Slower => return vec![Effect::Speed { faster: false }],
            Action::Sort | Action::Gather | Action::Verdict | Action::Pause => {
                let said = self.pane_mut().act(action, scene);
                self.message = said.map(Message::Done);
            }
        }
        Vec::new()
    }

    fn mouse(&mut self, mouse: MouseEvent, scene: &Scene<'_>) -> Vec<Effect> {
        let at = Position::new(mouse.column, mouse.row);
        match mouse.kind {
            MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
                let by = if mouse.kind == MouseEventKind::ScrollDown { WHEEL } else { -WHEEL };
                match &mut self.overlay {
                    Some(overlay) => overlay.wheel(by),
                    None if self.areas.detail.contains(at) => self.shown.scroll.step(by),
                    None => self.pane_mut().list_mut().step(by),
                }
            }
            MouseEventKind::Down(MouseButton::Left) => return self.click(at, scene),
            _ => {}
        }
        Vec::new()
    }

    fn click(&mut self, at: Position, scene: &Scene<'_>) -> Vec<Effect> {
        if let Some(mut overlay) = self.overlay.take() {
            let line = at.y.checked_sub(self.areas.palette.y).map(usize::from);
            let inside = self.areas.palette.contains(at);
            let wish = match line.filter(|_| inside) {
                Some(line) => overlay.click(line),
                None => Wish::Close,
            };
            return self.grant(overlay, wish, scene);
        }
        self.message = None;
        if let Some((_, view)) = self.areas.tabs.iter().find(|(area, _)| area.contains(at)) {
            self.show(*view, scene);
        } else if self.areas.rows.contains(at) {
            let line = usize::from(at.y.saturating_sub(self.areas.rows.y));
            if let Some(row) = self.pane().list().at(line) {
                // The second click on a row opens it.
                if self.pane().list().chosen() == Some(row) {
                    return self.act(Action::Open, scene);
                }
                self.pane_mut().list_mut().choose(row);
            }
        } else if self.areas.status.contains(at) && self.notice.is_some() {
            self.look_at_notice(scene);
        } else if self.areas.bar.contains(at) {
            let bar = self.areas.bar;
            return vec![Effect::Seek(Seek::Part(
                at.x.saturating_sub(bar.x),
                bar.width.saturating_sub(1).max(1),
            ))];
        }
        Vec::new()
    }

    fn step(&mut self, by: isize) {
        if self.zoomed {
            self.shown.scroll.step(by);
        } else {
            self.pane_mut().list_mut().step(by);
        }
    }

    fn page(&mut self, by: isize) {
        if self.zoomed {
            let lines = isize::try_from(self.areas.detail.height.max(2) - 1).unwrap_or(1);
            self.shown.scroll.step(by.saturating_mul(lines));
        } else {
            self.pane_mut().list_mut().page(by);
        }
    }

    fn to(&mut self, row: usize) {
        if self.zoomed {
            self.shown.scroll.to(row);
        } else {
            self.pane_mut().list_mut().choose(row);
        }
    }

    fn show(&mut self, view: View, scene: &Scene<'_>) {
        if self.view != view {
            self.view = view;
            self.zoomed = false;
            self.sync(scene);
        }
    }

    /// Goes to what something refers to, and remembers where that was from.
    fn go(&mut self, target: &Target, scene: &Scene<'_>) -> bool {
        let from = (self.view, self.pane().chosen(scene));
        self.view = target.view();
        self.pane_mut().sync(scene);
        if !self.pane_mut().choose(target, scene) {
            self.view = from.0;
            return false;
        }
        self.zoomed = false;
        if self.back.len() == BACK {
            self.back.remove(0);
        }
        self.back.push(from);
        true
    }

    fn follow_link(&mut self, action: Action, scene: &Scene<'_>) {
        // What has its explanation on the screen already is not shown again.
        if action == Action::Open && self.view == View::Attempts && !self.zoomed {
            self.zoomed = self.pane().list().chosen().is_some();
            return;
        }
        // What is folded opens where it is.
        if let Some(said) = self.pane_mut().act(action, scene) {
            self.message = Some(Message::Done(said));
            return;
        }
        let Some(target) = self.pane().link(action, scene) else {
            self.message = Some(Message::Trouble("this row leads to nothing of that kind".into()));
            return;
        };
        if !self.go(&target, scene) {
            self.message =
                Some(Message::Trouble("what this row leads to is not shown any more".into()));
        }
    }

    fn go_back(&mut self, scene: &Scene<'_>) {
        if self.notice.take().is_some() {
            return;
        }
        if std::mem::take(&mut self.zoomed) {
            return;
        }
        let Some((view, target)) = self.back.pop() else { return };
        self.view = view;
        self.pane_mut().sync(scene);
        if let Some(target) = target {
            self.pane_mut().choose(&target, scene);
        }
    }

    fn look_at_notice(&mut self, scene: &Scene<'_>) {
        let Some(notice) = self.notice.take() else { return };
        if self.go(&Target::Attempt(notice.attempt), scene) {
            self.zoomed = true;
            self.shown.scroll.to(0);
        }
    }

    fn newest_refusal(&mut self, scene: &Scene<'_>) {
        self.notice = None;
        let newest = numbered(scene).rev().find(|(_, one)| one.outcome == Outcome::Rejected);
        match newest.map(|(number, _)| Target::Attempt(number)) {
            Some(target) => {
                self.zoomed = self.go(&target, scene);
                self.shown.scroll.to(0);
            }
            None => self.message = Some(Message::Done("no refusal was seen so far".into())),
        }
    }

    fn search(&mut self, on: bool, scene: &Scene<'_>) {
        let sought = self.sought.to_lowercase();
        let pane = self.pane();
        let (rows, from) = (pane.list().rows(), pane.list().chosen().unwrap_or_default());
        if sought.is_empty() || rows == 0 {
            return;
        }
        let order = (1..=rows).map(|by| {
            let by = if on { by } else { rows - by };
            (from + by) % rows
        });
        let found = order
            .into_iter()
            .find(|row| pane.row_text(*row, scene).to_lowercase().contains(&sought));
        if let Some(row) = found {
            self.pane_mut().list_mut().choose(row);
        } else {
            let text = format!("no row has {:?}", self.sought);
            self.message = Some(Message::Trouble(text));
        }
    }

    /// Takes notice of attempts that have ended badly since the last time.
    fn news(&mut self, scene: &Scene<'_>) {
        let total = scene.model.attempts_dropped()
            + u64::try_from(scene.model.attempts().len()).unwrap_or_default();
        let first = total.saturating_sub(u64::try_from(NEWS).unwrap_or_default());
        // A replay may have gone back.
        self.told.retain(|number| (first..total).contains(number));
        if self.notice.as_ref().is_some_and(|notice| notice.attempt >= total) {
            self.notice = None;
        }
        let news: Vec<(u64, &Attempt)> = numbered(scene)
            .rev()
            .take(NEWS)
            .filter(|(number, one)| {
                matches!(one.outcome, Outcome::Rejected | Outcome::Failed)
                    && !self.told.contains(number)
                    && self.attempts.follows(one)
            })
            .collect();
        for (number, attempt) in news.into_iter().rev() {
            self.told.insert(number);
            let refused = attempt.outcome == Outcome::Rejected;
            // A refusal is not hidden by what fails after it.
            if refused || self.notice.as_ref().is_none_or(|notice| !notice.refused) {
                let text = words(attempt, scene);
                self.notice = Some(Notice { attempt: number, text, refused });
            }
        }
    }

    /// Makes the text about the chosen row again, if it would be another one.
    pub(super) fn remake(&mut self, width: usize, scene: &Scene<'_>) {
        let chosen = self.pane().list().chosen();
        let key = (self.view, chosen, width, scene.stage.revision);
        // What these say rests on the verdicts and the table alone; the others change with events.
        let steady = matches!(self.view, View::Devices | View::Firmware | View::Regions);
        if steady && self.shown.key == Some(key) {
            return;
        }
        let same_row = self.shown.key.is_some_and(|(view, row, ..)| (view, row) == (key.0, key.1));
        let text = self.pane().detail(width, scene);
        if !same_row {
            self.shown.scroll.to(0);
        }
        self.shown.text = text;
        self.shown.key = Some(key);
    }

    pub(super) fn look(&self) -> Look {
        Look { theme: self.theme }
    }

    pub(super) fn pane(&self) -> &dyn Pane {
        match self.view {
            View::Devices => &self.devices,
            View::Attempts => &self.attempts,
            View::Firmware => &self.firmware,
            View::Regions => &self.regions,
            View::Events => &self.events,
            View::Health => &self.health,
        }
    }

    pub(super) fn pane_mut(&mut self) -> &mut dyn Pane {
        match self.view {
            View::Devices => &mut self.devices,
            View::Attempts => &mut self.attempts,
            View::Firmware => &mut self.firmware,
            View::Regions => &mut self.regions,
            View::Events => &mut self.events,
            View::Health => &mut self.health,
        }
    }
}

/// Columns of a text that is copied.
const COPIED: usize = 80;

/// The attempts with their numbers.
pub(super) fn numbered<'a>(
    scene: &Scene<'a>,
) -> impl DoubleEndedIterator<Item = (u64, &'a Attempt)> + ExactSizeIterator + use<'a> {
    let dropped = scene.model.attempts_dropped();
    let number = move |index: usize| dropped + u64::try_from(index).unwrap_or_default();
    scene.model.attempts().iter().enumerate().map(move |(index, one)| (number(index), one))
}

/// An attempt that has failed, in a few words.
fn words(attempt: &Attempt, scene: &Scene<'_>) -> String {
    if attempt.outcome != Outcome::Rejected {
        return report::one_line(attempt);
    }
    let causes = attempt.rejections.iter().flat_map(|one| scene.model.causes(one));
    let (mut blocks, mut others) = (Vec::new(), 0_usize);
    for cause in causes {
        match cause.ivmd().map(|ivmd| ivmd.to_string()) {
            Some(ivmd) if !blocks.contains(&ivmd) => blocks.push(ivmd),
            Some(_) => {}
            None => others += 1,
        }
    }
    let device = match (attempt.requested, attempt.group) {
        // A segment of 0 goes without saying.
        (Some(bdf), _) if bdf.segment.0 == 0 => bdf.devid.to_string(),
        (Some(bdf), _) => bdf.to_string(),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "a device".to_owned(),
    };
    match (blocks.as_slice(), others) {
        ([], 0) => format!("{device} blocked by firmware"),
        ([], _) => format!("{device} blocked by a 1:1 map"),
        (blocks, _) => format!("{device} blocked by IVMD {}", blocks.join(", ")),
    }
}

fn neighbour(view: View, by: usize) -> View {
    let place = View::ALL.iter().position(|one| *one == view).unwrap_or_default();
    View::ALL.into_iter().cycle().nth(place + by).unwrap_or_default()
}

impl Watch {
    /// How the facts come, in a word or two for the top line.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Live { .. } => "live".to_owned(),
            Self::Replay { position, total, playing, speed, .. } => {
                let state = if *playing { format!(" playing x{speed}") } else { String::new() };
                format!("replay {position}/{total}{state}")
            }
        }
    }
}
