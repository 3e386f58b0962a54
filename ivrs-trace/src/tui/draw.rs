//! The frame around every view: tabs, rows, the text about the chosen one, the last line, and what
//! lies over it. Only what is on the screen is made.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{
        Block, Borders, Clear, Paragraph, Row, Scrollbar, ScrollbarOrientation, ScrollbarState,
        Table,
    },
};

use super::{
    Action, Message, Role, Scene, Scope, View, Watch,
    app::{App, Areas},
    overlay::{Overlay, Palette, Prompt},
};
use crate::width::{split, width};

/// From how many columns on the text stands beside the rows.
const BESIDE: u16 = 100;
/// From how many lines on the text stands below the rows.
const BELOW: u16 = 16;

impl App {
    /// Draws the screen.
    pub fn draw(&mut self, frame: &mut Frame<'_>, scene: &Scene<'_>) {
        self.sync(scene);
        let area = frame.area();
        let bar = u16::from(scene.is_replay() && area.height >= 10);
        let [head, body, replay, status] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(bar),
            Constraint::Length(1),
        ])
        .areas(area);
        self.areas = Areas { status, ..Areas::default() };
        frame.buffer_mut().set_style(area, self.look().style(Role::Text));
        self.draw_head(frame, head, scene);
        self.draw_body(frame, body, scene);
        if bar > 0 {
            self.draw_bar(frame, replay, scene.watch);
        }
        self.draw_status(frame, status, scene);
        match self.overlay.take() {
            Some(Overlay::Palette(mut palette)) => {
                self.draw_palette(frame, body, &mut palette);
                self.overlay = Some(Overlay::Palette(palette));
            }
            Some(Overlay::Help { mut first }) => {
                self.draw_help(frame, body, &mut first, scene.is_replay());
                self.overlay = Some(Overlay::Help { first });
            }
            other => self.overlay = other,
        }
    }

    /// The tabs, and where the facts come from.
    fn draw_head(&mut self, frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
        let look = self.look();
        let long: usize = View::ALL.iter().map(|view| view.title().0.len() + 4).sum();
        let short = long > usize::from(area.width);
        let mut x = area.x;
        for (index, view) in View::ALL.into_iter().enumerate() {
            let (full, brief) = view.title();
            let text = if short { format!(" {brief} ") } else { format!(" {} {full} ", index + 1) };
            let room = area.right().saturating_sub(x);
            let columns = u16::try_from(text.len()).unwrap_or(u16::MAX).min(room);
            let place = Rect::new(x, area.y, columns, area.height);
            let role = if view == self.view() { Role::Tab } else { Role::Dim };
            frame.render_widget(Span::styled(text, look.style(role)), place);
            self.areas.tabs.push((place, view));
            x = x.saturating_add(columns);
        }
        let release = scene.model.host().kernel_release.value().map_or("", String::as_str);
        let brief = scene.watch.words();
        let full = format!("{} {brief}", crate::escape::printable(release));
        let room = area.right().saturating_sub(x);
        let columns = |words: &str| u16::try_from(width(words)).unwrap_or(u16::MAX);
        let fitting = [full, brief].into_iter().find(|words| columns(words) < room);
        if let Some(words) = fitting {
            let columns = columns(&words);
            let place = Rect::new(area.right() - columns, area.y, columns, area.height);
            frame.render_widget(Span::styled(words, look.style(Role::Dim)), place);
        }
    }

    fn draw_body(&mut self, frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
        if area.is_empty() {
            return;
        }
        let (rows, detail) = if self.zoomed {
            (Rect::default(), area)
        } else if area.width >= BESIDE {
            // The text is no wider than one reads well.
            let text = (area.width / 2).min(100);
            let [rows, detail] =
                Layout::horizontal([Constraint::Min(0), Constraint::Length(text)]).areas(area);
            (rows, detail)
        } else if area.height >= BELOW {
            let [rows, detail] =
                Layout::vertical([Constraint::Percentage(50), Constraint::Min(0)]).areas(area);
            (rows, detail)
        } else {
            (area, Rect::default())
        };
        if !rows.is_empty() {
            self.draw_rows(frame, rows, scene);
        }
        if !detail.is_empty() {
            self.draw_detail(frame, detail, scene);
        }
    }

    fn draw_rows(&mut self, frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
        let look = self.look();
        let title = fitted(&self.pane().title(scene), usize::from(area.width).saturating_sub(2));
        let block = Block::new()
            .borders(Borders::TOP)
            .border_style(look.style(Role::Border))
            .title(Span::styled(format!(" {title} "), look.style(Role::Title)));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        if inner.is_empty() {
            return;
        }
        let height = usize::from(inner.height.saturating_sub(1));
        self.pane_mut().state_mut().list.set_height(height);
        let noun = self.view().spec().noun;
        let pane = self.pane();
        let list = &pane.state().list;
        if list.rows() == 0 {
            let key = self.keys.hint(Action::Unfilter);
            let none = || format!("No {noun} matches the filter ({key} clears it).");
            let text = Paragraph::new(pane.none(scene).unwrap_or_else(none))
                .wrap(ratatui::widgets::Wrap { trim: true })
                .style(look.style(Role::Dim));
            frame.render_widget(text, inner);
            return;
        }
        // The bar at the right edge has a column of its own.
        let body = Rect { width: inner.width.saturating_sub(1), ..inner };
        let shown: Vec<(usize, u16, &str)> = pane
            .columns()
            .iter()
            .enumerate()
            .filter(|(_, column)| column.from <= body.width)
            .map(|(index, column)| (index, column.width, column.title))
            .collect();
        let widths = shown.iter().map(|(_, width, _)| match width {
            0 => Constraint::Fill(1),
            width => Constraint::Length(*width),
        });
        let rows = list.visible().map(|row| {
            let cells = pane.cells(row, scene);
            let cells = shown.iter().map(|(index, _, _)| {
                let cell = cells.get(*index);
                cell.map_or_else(Line::default, |(role, text)| {
                    Line::from(Span::styled(text.clone(), look.style(*role)))
                })
            });
            let style = if list.chosen() == Some(row) {
                look.style(Role::Chosen)
            } else {
                look.style(Role::Text)
            };
            Row::new(cells.collect::<Vec<_>>()).style(style)
        });
        let head = Row::new(shown.iter().map(|(_, _, title)| *title)).style(look.style(Role::Dim));
        let table = Table::new(rows.collect::<Vec<_>>(), widths.collect::<Vec<_>>())
            .header(head)
            .column_spacing(1);
        frame.render_widget(table, body);
        let rows_area =
            Rect { y: body.y.saturating_add(1), height: body.height.saturating_sub(1), ..body };
        // A chosen row is seen as such whatever its cells look like.
        let (visible, total) = (list.visible(), list.rows());
        if let Some(line) = list.chosen().and_then(|row| row.checked_sub(visible.start)) {
            let y = rows_area.y.saturating_add(u16::try_from(line).unwrap_or(u16::MAX));
            if y < rows_area.bottom() {
                let place = Rect { y, height: 1, ..rows_area };
                frame.buffer_mut().set_style(place, look.style(Role::Chosen));
            }
        }
        self.areas.rows = rows_area;
        self.draw_scrollbar(frame, inner, total, visible.start, visible.len());
    }

    fn draw_detail(&mut self, frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
        let look = self.look();
        let beside = !self.zoomed && area.x > 0;
        let borders = if beside { Borders::TOP | Borders::LEFT } else { Borders::TOP };
        let block = Block::new().borders(borders).border_style(look.style(Role::Border));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let inner = Rect {
            x: inner.x.saturating_add(u16::from(beside)),
            width: inner.width.saturating_sub(u16::from(beside) + 1),
            ..inner
        };
        self.areas.detail = area;
        if inner.is_empty() {
            return;
        }
        let pane = self.pane_mut();
        pane.show(usize::from(inner.width), scene);
        let state = pane.state_mut();
        let (lines, height) = (state.text.len(), usize::from(inner.height));
        state.scroll.limit(lines, height);
        let first = state.scroll.first();
        let drawn = state.text.drawn(first, height, look);
        frame.render_widget(Paragraph::new(drawn), inner);
        let place = Rect { width: inner.width.saturating_add(1), ..inner };
        self.draw_scrollbar(frame, place, lines, first, height);
    }

    /// Where a replay is, with a mark for each refusal.
    fn draw_bar(&mut self, frame: &mut Frame<'_>, area: Rect, watch: &Watch) {
        let Watch::Replay { position, total, playing, refusals, .. } = watch else { return };
        let look = self.look();
        let width = usize::from(area.width);
        let place = |at: usize| (at * width.saturating_sub(1)).checked_div(*total).unwrap_or(0);
        let mut cells = vec![(Role::Border, if *playing { '=' } else { '-' }); width];
        let mut set = |at: usize, what| {
            if let Some(cell) = cells.get_mut(place(at)) {
                *cell = what;
            }
        };
        for at in refusals {
            set(*at, (Role::Bad, '!'));
        }
        set(*position, (Role::Chosen, '@'));
        let spans =
            cells.into_iter().map(|(role, one)| Span::styled(one.to_string(), look.style(role)));
        frame.render_widget(Line::from(spans.collect::<Vec<_>>()), area);
        self.areas.bar = area;
    }

    fn draw_status(&mut self, frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
        let look = self.look();
        if let Some(Overlay::Prompt { prompt, field }) = &self.overlay {
            let head = match prompt {
                Prompt::Search => "/",
                Prompt::Filter => "filter: ",
            };
            draw_field(frame, area, head, field, look.style(Role::Text));
            return;
        }
        if let Some(Overlay::Readers) = &self.overlay {
            let text = "Report for: k kernel developers, v board vendor, f forum";
            frame.render_widget(Span::styled(text, look.style(Role::Key)), area);
            return;
        }
        let right = right_words(scene);
        let columns = u16::try_from(width(&right)).unwrap_or(u16::MAX);
        let left = if columns.saturating_mul(2) < area.width {
            let place = Rect { x: area.right() - columns, width: columns, ..area };
            frame.render_widget(Span::styled(right, look.style(Role::Doubtful)), place);
            Rect { width: area.width - columns - 1, ..area }
        } else {
            area
        };
        match (&self.notice, &self.message) {
            (Some(notice), _) => {
                let role = if notice.refused { Role::Alarm } else { Role::Doubtful };
                let press = format!("press {}", named(&self.keys.hint(Action::Open)));
                let room = usize::from(left.width).saturating_sub(press.len() + 3);
                let (text, _) = split(&notice.text, room);
                let text = format!(" {text}: {press} ");
                frame.render_widget(Span::styled(text, look.style(role)), left);
            }
            (None, Some(Message::Done(text))) => {
                frame.render_widget(Span::styled(text.clone(), look.style(Role::Good)), left);
            }
            (None, Some(Message::Trouble(text))) => {
                frame.render_widget(Span::styled(text.clone(), look.style(Role::Doubtful)), left);
            }
            (None, None) => frame.render_widget(self.hints(scene), left),
        }
    }

    /// The keys that matter most here.
    fn hints(&self, scene: &Scene<'_>) -> Line<'static> {
        let look = self.look();
        let live: &[(Action, &str)] = &[(Action::Record, "record")];
        let replay: &[(Action, &str)] = &[
            (Action::Play, "play"),
            (Action::StepOn, "step"),
            (Action::RefusalOn, "next refusal"),
        ];
        let own = self.view().spec().hints;
        let common: &[(Action, &str)] = &[
            (Action::Help, "keys"),
            (Action::Search, "search"),
            (Action::Filter, "filter"),
            (Action::Report, "report"),
            (Action::Quit, "quit"),
        ];
        let mut spans = Vec::new();
        let rest = if scene.is_replay() { replay } else { live };
        let (help, others) = common.split_at(1);
        for (action, word) in help.iter().chain(own).chain(rest).chain(others) {
            spans.push(Span::styled(self.keys.hint(*action), look.style(Role::Key)));
            spans.push(Span::styled(format!(" {word}  "), look.style(Role::Dim)));
        }
        Line::from(spans)
    }

    fn draw_palette(&mut self, frame: &mut Frame<'_>, body: Rect, palette: &mut Palette) {
        let look = self.look();
        let area = centred(body, 72, 20);
        frame.render_widget(Clear, area);
        let block = framed("Commands", look.style(Role::Title));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let [field, rows] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inner);
        if !field.is_empty() {
            draw_field(frame, field, ": ", &palette.field, look.style(Role::Text));
        }
        palette.list.set_height(usize::from(rows.height));
        let offers = palette.offers();
        let lines = palette.list.visible().filter_map(|row| {
            let offer = offers.get(row)?;
            let role = if palette.list.chosen() == Some(row) { Role::Chosen } else { Role::Text };
            let text = format!("{:<17} {:<40} {}", offer.name, offer.does, offer.keys);
            Some(Line::styled(text, look.style(role)))
        });
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), rows);
        self.areas.palette = rows;
    }

    fn draw_scrollbar(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        total: usize,
        first: usize,
        shown: usize,
    ) {
        if total <= shown || area.is_empty() {
            return;
        }
        let mut state =
            ScrollbarState::new(total - shown).position(first).viewport_content_length(shown);
        let bar = Scrollbar::new(ScrollbarOrientation::VerticalRight)
            .begin_symbol(None)
            .end_symbol(None)
            .style(self.look().style(Role::Border));
        frame.render_stateful_widget(bar, area, &mut state);
    }

    /// The keys of this view, from the key table.
    fn draw_help(&self, frame: &mut Frame<'_>, body: Rect, first: &mut usize, replay: bool) {
        let look = self.look();
        let mut known: Vec<_> = self
            .keys
            .in_place(self.view(), replay)
            .filter(|(_, chords)| !chords.is_empty())
            .collect();
        // What is special here comes first.
        known.sort_by_key(|(known, _)| known.scope == Scope::Everywhere);
        let column: usize = if body.width < 60 { 12 } else { 22 };
        let lines: Vec<Line<'static>> = known
            .into_iter()
            .map(|(known, chords)| {
                let keys: Vec<String> = chords.iter().map(ToString::to_string).collect();
                let keys = keys.join(" ");
                let before = " ".repeat(column.saturating_sub(width(&keys)));
                Line::from(vec![
                    Span::styled(format!("{before}{keys}  "), look.style(Role::Key)),
                    Span::styled(known.does, look.style(Role::Text)),
                ])
            })
            .collect();
        let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
        let area = centred(body, 72, height);
        frame.render_widget(Clear, area);
        let title = format!("Keys: {}", self.view().title().0);
        let block = framed(&title, look.style(Role::Title));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        *first = (*first).min(lines.len().saturating_sub(usize::from(inner.height)));
        let total = lines.len();
        let shown: Vec<Line<'static>> =
            lines.into_iter().skip(*first).take(usize::from(inner.height)).collect();
        frame.render_widget(Paragraph::new(shown), inner);
        self.draw_scrollbar(frame, inner, total, *first, usize::from(inner.height));
    }
}

/// A key as it is written on it: `Enter`.
fn named(key: &str) -> String {
    let mut chars = key.chars();
    match chars.next() {
        Some(first) if key.len() > 1 => first.to_uppercase().chain(chars).collect(),
        _ => key.to_owned(),
    }
}

/// What fits into so many columns, with a mark where something is missing.
fn fitted(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    format!("{}\u{2026}", split(text, columns.saturating_sub(1)).0)
}

/// What is lost, and how a recording goes.
fn right_words(scene: &Scene<'_>) -> String {
    let mut words = Vec::new();
    if let Watch::Live { recording: Some((name, status)) } = scene.watch {
        let trouble = if status.trouble.is_some() { ", NOT WRITTEN" } else { "" };
        words.push(format!("REC {name}: {} events{trouble}", status.events));
    }
    let lost = scene.stage.lost;
    let count = lost.ring.saturating_add(lost.read).saturating_add(lost.queue);
    if count > 0 {
        words.push(format!("{count} lost"));
    }
    words.join("  ")
}

fn draw_field(
    frame: &mut Frame<'_>,
    area: Rect,
    head: &str,
    field: &tui_input::Input,
    style: ratatui::style::Style,
) {
    let columns = usize::from(area.width).saturating_sub(head.len() + 1);
    let scroll = field.visual_scroll(columns);
    // Of a character of two columns that is half out of sight, nothing is shown.
    let (hidden, text) = match split(field.value(), scroll) {
        (hidden, text) if width(hidden) < scroll => {
            split(field.value(), hidden.len() + text.chars().next().map_or(0, char::len_utf8))
        }
        parts => parts,
    };
    frame.render_widget(Span::styled(format!("{head}{text}"), style), area);
    let cursor = head.len() + field.visual_cursor().saturating_sub(width(hidden));
    let x = area.x.saturating_add(u16::try_from(cursor).unwrap_or(u16::MAX));
    frame.set_cursor_position((x.min(area.right().saturating_sub(1)), area.y));
}

fn framed(title: &str, style: ratatui::style::Style) -> Block<'static> {
    Block::bordered().title(Span::styled(format!(" {title} "), style))
}

/// A place in the middle, as large as is asked for where there is room.
fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}
