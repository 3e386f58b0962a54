//! Screens over the recording in docs/, as somebody would go through it; and that nothing that is
//! pressed, however small the screen, breaks it.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use crossterm::event::{
    Event as Input, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::{
    ACTIONS, Action, App, Effect, Keys, Message, Reader, Replay, Role, Seek, Stage, ThemeName,
    View, Watch,
};
use crate::{
    facts::Clocks,
    model::{Model, RequireDirect, fixture},
    recording::{self},
    replay::Tape,
    report::letters::input::Origin,
};

const SIZES: [(u16, u16); 4] = [(40, 12), (80, 24), (120, 40), (200, 60)];

fn replay() -> Replay {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/refused.ivt");
    let tape = Tape::read(recording::open(&path).unwrap());
    let origin = Origin::Recording {
        tool: tape.start.as_ref().map(|start| start.tool.clone()),
        kernel: tape.start.as_ref().map(|start| start.kernel_release.clone()),
        began: None,
        command: Vec::new(),
        ended: "ended with its command".to_owned(),
    };
    Replay::new(tape, origin, Vec::new())
}

fn app(theme: ThemeName) -> App {
    App::new(Keys::new(&BTreeMap::new()).unwrap(), theme)
}

/// A dashboard over the recording, on a screen.
struct Desk {
    app: App,
    replay: Replay,
    terminal: Terminal<TestBackend>,
    effects: Vec<Effect>,
}

impl Desk {
    fn new(theme: ThemeName, (columns, lines): (u16, u16)) -> Self {
        let terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
        Self { app: app(theme), replay: replay(), terminal, effects: Vec::new() }
    }

    /// Presses keys, written as in the configuration, one after the other.
    fn press(&mut self, keys: &str) {
        for key in keys.split_whitespace() {
            let event = key_event(key);
            self.input(&Input::Key(event));
        }
    }

    fn input(&mut self, input: &Input) {
        for effect in self.app.input(input, &self.replay.scene()) {
            match effect {
                Effect::Seek(seek) => self.replay.seek(seek),
                Effect::Play => self.replay.toggle(),
                Effect::Speed { faster } => self.replay.change_speed(faster),
                other => self.effects.push(other),
            }
        }
        self.draw();
    }

    fn draw(&mut self) {
        let scene = self.replay.scene();
        let app = &mut self.app;
        self.terminal.draw(|frame| app.draw(frame, &scene)).unwrap();
    }

    fn screen(&self) -> String {
        screen(self.terminal.backend().buffer())
    }
}

fn screen(buffer: &Buffer) -> String {
    let columns = usize::from(buffer.area.width);
    let mut text = String::new();
    for line in buffer.content().chunks(columns) {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}

/// How the cells look: for each line the runs of cells that look the same, with their text.
fn looks(buffer: &Buffer) -> String {
    let mut text = String::new();
    for line in buffer.content().chunks(usize::from(buffer.area.width)) {
        let mut run: Option<(String, String)> = None;
        for cell in line {
            let look = format!("{:?} {:?} {:?}", cell.fg, cell.bg, cell.modifier);
            match &mut run {
                Some((before, words)) if *before == look => words.push_str(cell.symbol()),
                _ => {
                    flush(&mut text, run.take());
                    run = Some((look, cell.symbol().to_owned()));
                }
            }
        }
        flush(&mut text, run);
        text.push('\n');
    }
    text
}

fn flush(text: &mut String, run: Option<(String, String)>) {
    if let Some((look, words)) = run.filter(|(_, words)| !words.trim().is_empty()) {
        write!(text, "[{look}|{}]", words.trim()).unwrap();
    }
}

fn key_event(text: &str) -> KeyEvent {
    let (control, rest) = text.strip_prefix("ctrl-").map_or((false, text), |rest| (true, rest));
    let code = match rest {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "space" => KeyCode::Char(' '),
        "tab" => KeyCode::Tab,
        "backspace" => KeyCode::Backspace,
        "down" => KeyCode::Down,
        "up" => KeyCode::Up,
        one => KeyCode::Char(one.chars().next().unwrap()),
    };
    assert!(text.parse::<super::keys::Chord>().is_ok(), "{text}");
    KeyEvent::new(code, if control { KeyModifiers::CONTROL } else { KeyModifiers::NONE })
}

/// From the start of the recording to the refusal, to what it rests on, and through every view.
const SCRIPT: [(&str, &str); 12] = [
    ("beginning", "0"),
    ("refusal", "}"),
    ("explanation", "enter"),
    ("timeline", "G"),
    ("entry", "c"),
    ("covered", "enter"),
    ("gathered", "t j j j"),
    ("regions", "4 j"),
    ("events", "5"),
    ("health", "6 j j j"),
    ("help", "?"),
    ("palette", "esc : r e p"),
];

#[test]
fn screens_are_as_they_were_looked_at() {
    for size in SIZES {
        let mut desk = Desk::new(ThemeName::Dark, size);
        let mut screens = String::new();
        for (name, keys) in SCRIPT {
            desk.press(keys);
            writeln!(screens, "=== {name}: {keys}\n{}", desk.screen()).unwrap();
        }
        insta::assert_snapshot!(format!("screens_{}x{}", size.0, size.1), screens);
    }
}

#[test]
fn a_theme_changes_looks_and_nothing_else() {
    for size in SIZES {
        let mut dark = Desk::new(ThemeName::Dark, size);
        let mut others: Vec<(ThemeName, Desk)> = ThemeName::ALL
            .into_iter()
            .skip(1)
            .map(|theme| (theme, Desk::new(theme, size)))
            .collect();
        for (name, keys) in SCRIPT {
            dark.press(keys);
            let (text, look) = (dark.screen(), looks(dark.terminal.backend().buffer()));
            for (theme, desk) in &mut others {
                desk.press(keys);
                assert_eq!(desk.screen(), text, "{theme:?} {size:?} {name}");
                assert_ne!(looks(desk.terminal.backend().buffer()), look, "{theme:?} {name}");
            }
        }
    }
}

#[test]
fn every_view_has_its_looks_in_every_theme() {
    for theme in ThemeName::ALL {
        let mut desk = Desk::new(theme, (80, 24));
        let mut all = String::new();
        for (name, keys) in SCRIPT {
            desk.press(keys);
            let looks = looks(desk.terminal.backend().buffer());
            writeln!(all, "=== {name}\n{looks}").unwrap();
        }
        insta::assert_snapshot!(format!("looks_{}", theme.name()), all);
    }
}

#[test]
fn a_refusal_is_told_and_one_key_explains_it() {
    let mut desk = Desk::new(ThemeName::Dark, (100, 30));
    desk.press("0");
    assert!(!desk.screen().contains("blocked by"), "{}", desk.screen());
    desk.press("}");
    let last = desk.screen().lines().last().unwrap().to_owned();
    assert!(last.contains("00:03.0 blocked by IVMD 0, 1, 2: press Enter"), "{last}");
    let alarm = ThemeName::Dark.style(Role::Alarm);
    let cell = desk
        .terminal
        .backend()
        .buffer()
        .content()
        .iter()
        .rev()
        .find(|cell| Some(cell.bg) == alarm.bg && Some(cell.fg) == alarm.fg);
    assert!(cell.is_some(), "the notice is not painted as an alarm");
    desk.press("enter");
    assert_eq!(desk.app.view(), View::Attempts);
    assert!(desk.screen().contains("BLOCKED by firmware: 0000:00:03.0."), "{}", desk.screen());
    // It is told once, and again after the recording was turned back.
    assert!(!desk.screen().contains("press Enter"), "{}", desk.screen());
    desk.press("0 }");
    assert!(desk.screen().contains("press Enter"), "{}", desk.screen());
}

#[test]
fn one_key_leads_on_and_one_leads_back() {
    let mut desk = Desk::new(ThemeName::Dark, (120, 40));
    desk.press("$ esc 1 j");
    let device = desk.screen();
    desk.press("enter");
    assert_eq!(desk.app.view(), View::Firmware);
    desk.press("enter");
    assert_eq!(desk.app.view(), View::Devices);
    assert!(desk.screen().contains("Devices covered by IVMD 0: 17 blocked"), "{}", desk.screen());
    desk.press("esc");
    assert_eq!(desk.app.view(), View::Firmware);
    desk.press("esc F");
    assert_eq!(desk.screen(), device);
    desk.press("a");
    assert_eq!(desk.app.view(), View::Attempts);
    desk.press("e");
    assert_eq!(desk.app.view(), View::Events);
    desk.press("a d");
    assert_eq!(desk.app.view(), View::Devices);
}

#[test]
fn a_search_finds_and_goes_on() {
    let mut desk = Desk::new(ThemeName::Dark, (120, 40));
    desk.press("$ esc 1 / p c i e p o r t enter");
    let chosen = |desk: &Desk| desk.screen().lines().nth(2).unwrap().to_owned();
    assert!(chosen(&desk).contains("0000:00:08.0"), "{}", chosen(&desk));
    desk.press("n");
    assert!(chosen(&desk).contains("0000:00:09.0"), "{}", chosen(&desk));
    desk.press("N N");
    assert!(chosen(&desk).contains("0000:20:01.0"), "{}", chosen(&desk));
    desk.press("/ n o s u c h enter");
    assert!(desk.screen().contains("no row contains"), "{}", desk.screen());
}

/// The row of the same number is another one after a filter.
#[test]
fn the_text_belongs_to_the_selected_row_after_a_filter() {
    for (view, before, filter, after) in [
        ("1", "│ 0000:00:00.0 blocked", "v v", "│ 0000:20:00.0 clear"),
        ("1", "│ 0000:00:00.0 blocked", "f n v m e enter", "│ 0000:00:05.0 blocked"),
        ("3", "│ IVRS at 0x0", "f I V M D enter", "│ IVMD 0 at 0xb8"),
        ("4", "│ 0x7a2d8000 to 0x7a2d8fff  direct", "f m s i enter", "  msi"),
    ] {
        let mut desk = Desk::new(ThemeName::Dark, (120, 40));
        desk.press(&format!("$ esc {view} g"));
        assert!(desk.screen().contains(before), "{view}: {}", desk.screen());
        desk.press(filter);
        let screen = desk.screen();
        assert!(screen.contains(after) && !screen.contains(before), "{view} {filter}: {screen}");
    }
}

#[test]
fn events_are_filtered_by_the_same_grammar_as_on_the_command_line() {
    let mut desk = Desk::new(ThemeName::Dark, (120, 40));
    desk.press("$ esc 5 f v e r d i c t = b l o c k e d enter");
    assert!(
        desk.screen().contains("Events: 1 of 145, only \"verdict=blocked\""),
        "{}",
        desk.screen()
    );
    desk.press("f = enter");
    assert!(
        desk.screen().contains("there is nothing to filter") || desk.screen().contains("cannot be")
    );
    desk.press("F");
    assert!(desk.screen().contains("Events: 145"), "{}", desk.screen());
}

#[test]
fn following_hides_what_others_do() {
    let mut desk = Desk::new(ThemeName::Dark, (120, 40));
    let filters = vec!["pid=1".parse().unwrap()];
    desk.app.follow(filters, vec![vec!["1".to_owned()]]);
    desk.press("0 $ 2");
    assert!(desk.screen().contains("only 1"), "{}", desk.screen());
    assert!(!desk.screen().contains("press Enter"), "{}", desk.screen());
    desk.press("5");
    assert!(desk.screen().contains("Events: 0"), "{}", desk.screen());
}

#[test]
fn reports_and_copies_are_asked_for() {
    let mut desk = Desk::new(ThemeName::Dark, (120, 40));
    desk.press("! r k");
    assert_eq!(desk.effects, [Effect::Report(Reader::Kernel)]);
    desk.press("y");
    match desk.effects.last() {
        Some(Effect::Copy(text)) => assert!(text.starts_with("BLOCKED by firmware"), "{text}"),
        other => panic!("{other:?}"),
    }
    desk.app.say(Message::Done("report written to x".to_owned()));
    desk.draw();
    assert!(desk.screen().contains("report written to x"));
    desk.press("q");
    assert_eq!(desk.effects.last(), Some(&Effect::Quit));
}

#[test]
fn a_replay_goes_where_it_is_told() {
    let mut replay = replay();
    let position = |replay: &Replay| match replay.scene().watch {
        Watch::Replay { position, .. } => *position,
        Watch::Live { .. } => unreachable!(),
    };
    let total = position(&replay);
    replay.seek(Seek::Start);
    assert_eq!((position(&replay), replay.scene().model.attempts().len()), (0, 0));
    replay.seek(Seek::Attempt { on: true });
    assert_eq!(replay.scene().model.attempts().len(), 1);
    let begun = position(&replay);
    replay.seek(Seek::Refusal { on: true });
    let refused = position(&replay);
    assert!(begun < refused && refused <= total);
    assert_eq!(replay.scene().model.attempts()[0].rejections.len(), 1);
    replay.seek(Seek::Events(-1));
    assert_eq!(position(&replay), refused - 1);
    replay.seek(Seek::Events(1));
    assert_eq!(position(&replay), refused);
    replay.seek(Seek::Refusal { on: false });
    assert_eq!(position(&replay), 0);
    // It plays by the recording's own clock, but does not wait long for anything.
    replay.toggle();
    let mut frames = 0;
    while replay.is_playing() {
        replay.advance(std::time::Duration::from_millis(33));
        frames += 1;
        assert!(frames < 2000, "it plays for ever");
    }
    assert_eq!(position(&replay), total);
    assert!(frames > 10, "{frames}");
    // From its end it begins anew.
    replay.toggle();
    assert_eq!(position(&replay), 0);
}

#[test]
fn every_moment_of_a_replay_is_the_same_forwards_and_backwards() {
    let mut forwards = replay();
    forwards.seek(Seek::Start);
    let mut backwards = replay();
    for _ in 0..40 {
        forwards.seek(Seek::Events(3));
        backwards.seek(Seek::Start);
        let Watch::Replay { position, .. } = forwards.scene().watch else { unreachable!() };
        backwards.seek(Seek::Events(isize::try_from(*position).unwrap()));
        let told = |replay: &Replay| format!("{:?}", replay.scene().model.attempts());
        assert_eq!(told(&forwards), told(&backwards));
        assert_eq!(forwards.scene().stage.history.len(), backwards.scene().stage.history.len());
    }
}

/// What is hostile in a host's names and tables does not reach the screen raw.
#[test]
fn hostile_names_are_shown_escaped() {
    let told = crate::report::readers::hostile();
    let model = &told.model;
    let stage = Stage::new(model, Origin::Tree, Clocks::default());
    let watch = Watch::Live { recording: None };
    let scene = super::Scene { model, stage: &stage, watch: &watch };
    for size in SIZES {
        let mut app = app(ThemeName::Dark);
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        for view in View::ALL {
            app.act(Action::Show(view), &scene);
            for _ in 0..30 {
                terminal.draw(|frame| app.draw(frame, &scene)).unwrap();
                let text = screen(terminal.backend().buffer());
                let raw = text.chars().find(|one| {
                    *one != '\n' && crate::escape::printable(&one.to_string()) != one.to_string()
                });
                assert_eq!(raw, None, "{view:?}: {text}");
                app.act(Action::Down, &scene);
            }
        }
    }
}

#[test]
fn a_host_of_which_nothing_is_known_is_shown_as_such() {
    let model = Model::new(crate::host::Snapshot::default(), RequireDirect::Unknown);
    insta::assert_snapshot!(screens(&model, (80, 24)));
}

/// Every view of a host as its files show it.
pub(crate) fn screens(model: &Model, (columns, lines): (u16, u16)) -> String {
    let stage = Stage::new(model, Origin::Live { traced: false }, Clocks::default());
    let watch = Watch::Live { recording: None };
    let scene = super::Scene { model, stage: &stage, watch: &watch };
    let mut app = app(ThemeName::Plain);
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    let mut screens = String::new();
    for view in View::ALL {
        app.act(Action::Show(view), &scene);
        terminal.draw(|frame| app.draw(frame, &scene)).unwrap();
        writeln!(screens, "=== {view:?}\n{}", screen(terminal.backend().buffer())).unwrap();
    }
    screens
}

#[test]
fn clicks_choose_tabs_and_rows_and_the_notice() {
    let mut desk = Desk::new(ThemeName::Dark, (120, 40));
    desk.press("0 }");
    let click = |desk: &mut Desk, column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        let modifiers = KeyModifiers::NONE;
        desk.input(&Input::Mouse(MouseEvent { kind, column, row, modifiers }));
    };
    click(&mut desk, 30, 0);
    assert_eq!(desk.app.view(), View::Firmware);
    click(&mut desk, 5, 39);
    assert_eq!(desk.app.view(), View::Attempts);
    click(&mut desk, 2, 0);
    assert_eq!(desk.app.view(), View::Devices);
    click(&mut desk, 5, 5);
    assert!(desk.screen().lines().nth(2).unwrap().contains("0000:00:04.0"), "{}", desk.screen());
    click(&mut desk, 0, 38);
    let Watch::Replay { position, .. } = desk.replay.scene().watch else { unreachable!() };
    assert_eq!(*position, 0);
}

#[derive(Clone, Debug)]
enum Poke {
    Key(usize, usize),
    Char(char),
    Mouse(u8, u16, u16),
    Size(u16, u16),
    Advance,
}

fn poke() -> impl Strategy<Value = Poke> {
    prop_oneof![
        6 => (0..ACTIONS.len(), 0..3_usize).prop_map(|(action, key)| Poke::Key(action, key)),
        2 => any::<char>().prop_map(Poke::Char),
        2 => (0..3_u8, 0..130_u16, 0..50_u16).prop_map(|(kind, x, y)| Poke::Mouse(kind, x, y)),
        1 => (1..130_u16, 1..50_u16).prop_map(|(x, y)| Poke::Size(x, y)),
        1 => (1..4_u16, 1..4_u16).prop_map(|(x, y)| Poke::Size(x, y)),
        1 => Just(Poke::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn nothing_that_is_pressed_breaks_it(pokes in proptest::collection::vec(poke(), 1..60)) {
        let mut desk = Desk::new(ThemeName::Dark, (80, 24));
        for poke in pokes {
            match poke {
                Poke::Key(action, key) => {
                    let known = ACTIONS[action % ACTIONS.len()];
                    if let Some(key) = known.keys.get(key) {
                        let named = ["pageup", "pagedown", "home", "end", "left", "right", "backtab", "f1"];
                        if named.contains(key) || key.starts_with("ctrl-") && key.len() > 6 {
                            desk.app.act(known.action, &desk.replay.scene());
                        } else {
                            desk.press(key);
                        }
                    }
                }
                Poke::Char(one) => {
                    desk.input(&Input::Key(KeyEvent::new(KeyCode::Char(one), KeyModifiers::NONE)));
                }
                Poke::Mouse(kind, column, row) => {
                    let kind = match kind {
                        0 => MouseEventKind::Down(MouseButton::Left),
                        1 => MouseEventKind::ScrollDown,
                        _ => MouseEventKind::ScrollUp,
                    };
                    let modifiers = KeyModifiers::NONE;
                    desk.input(&Input::Mouse(MouseEvent { kind, column, row, modifiers }));
                }
                Poke::Size(columns, lines) => desk.terminal.backend_mut().resize(columns, lines),
                Poke::Advance => desk.replay.advance(std::time::Duration::from_millis(200)),
            }
            desk.draw();
        }
    }

    #[test]
    fn any_configuration_is_an_answer(text in ".*") {
        let _ = super::Config::parse(&text);
    }
}

#[test]
fn no_size_of_the_screen_breaks_it() {
    let mut desk = Desk::new(ThemeName::Dark, (1, 1));
    for keys in ["}", "enter", "c", "enter", "4", "5", "6", "?", "esc :", "esc r", "esc /", "esc z"]
    {
        desk.press(keys);
        for columns in [1, 2, 3, 7, 20, 39, 61, 99, 100, 101, 300] {
            for lines in [1, 2, 3, 4, 9, 10, 15, 16, 17, 100] {
                desk.terminal.backend_mut().resize(columns, lines);
                desk.draw();
            }
        }
    }
}

/// A host that is watched goes through the same code, and a fixture's host has what a recording has
/// not: several groups with several members.
#[test]
fn a_host_of_many_groups_is_gathered() {
    let table = fixture::table(&fixture::AM5);
    let host = fixture::host(fixture::GROUPS, &table);
    let model = fixture::model(&host, &[]);
    let stage = Stage::new(&model, Origin::Live { traced: true }, Clocks::default());
    let watch = Watch::Live { recording: None };
    let scene = super::Scene { model: &model, stage: &stage, watch: &watch };
    let mut app = app(ThemeName::Plain);
    app.act(Action::Gather, &scene);
    let mut terminal = Terminal::new(TestBackend::new(100, 20)).unwrap();
    terminal.draw(|frame| app.draw(frame, &scene)).unwrap();
    insta::assert_snapshot!(screen(terminal.backend().buffer()));
}

/// The table of Intel's hosts is shown as that of AMD's is: from a device to its RMRR, its scopes and
/// bytes, and back.
#[test]
fn an_intel_host_has_its_dmar_shown() {
    let told = crate::report::readers::hosts();
    let (_, intel) = told.iter().find(|(name, _)| *name == "intel").unwrap();
    let stage = Stage::new(&intel.model, Origin::Tree, Clocks::default());
    let watch = Watch::Live { recording: None };
    let scene = super::Scene { model: &intel.model, stage: &stage, watch: &watch };
    let mut app = app(ThemeName::Plain);
    let mut terminal = Terminal::new(TestBackend::new(120, 36)).unwrap();
    let mut screens = String::new();
    for (name, actions) in [
        ("header", &[Action::Show(View::Firmware)][..]),
        ("iommu", &[Action::Down]),
        ("relaxable", &[Action::Down]),
        ("blocking", &[Action::Down, Action::Down]),
        ("scope", &[Action::Down]),
        ("absent", &[Action::Down, Action::Down]),
        ("scope again", &[Action::Up, Action::Up]),
        ("device of the scope", &[Action::Open]),
        ("entry of the device", &[Action::Open]),
        ("devices of the entry", &[Action::Open]),
        ("region of the entry", &[Action::Back, Action::ToRegions]),
        ("entry of the region", &[Action::Open]),
    ] {
        for action in actions {
            app.message = None;
            app.act(*action, &scene);
        }
        terminal.draw(|frame| app.draw(frame, &scene)).unwrap();
        writeln!(screens, "=== {name}\n{}", screen(terminal.backend().buffer())).unwrap();
    }
    insta::assert_snapshot!(screens);
}

/// The health view of a host whose kernel has `flag`.
fn health_screen(host: &crate::host::Snapshot, flag: RequireDirect, watch: &Watch) -> String {
    let model = Model::new(host.clone(), flag);
    let stage = Stage::new(&model, Origin::Live { traced: false }, Clocks::default());
    let scene = super::Scene { model: &model, stage: &stage, watch };
    let mut app = app(ThemeName::Plain);
    let mut terminal = Terminal::new(TestBackend::new(160, 40)).unwrap();
    app.act(Action::Show(View::Health), &scene);
    terminal.draw(|frame| app.draw(frame, &scene)).unwrap();
    screen(terminal.backend().buffer())
}

#[test]
fn a_kernel_of_intel_refuses_with_the_flag_or_without() {
    let told = crate::report::readers::hosts();
    let (_, intel) = told.iter().find(|(name, _)| *name == "intel").unwrap();
    for flag in [RequireDirect::Present, RequireDirect::Missing, RequireDirect::Unknown] {
        let screen = health_screen(intel.model.host(), flag, &Watch::Live { recording: None });
        assert!(!screen.contains("refuses nothing"), "{flag:?}: {screen}");
        assert!(!screen.contains("is not known"), "{flag:?}: {screen}");
        assert!(screen.contains("it refuses devices"), "{flag:?}: {screen}");
    }
}

#[test]
fn a_wide_name_of_a_recording_takes_nothing_from_the_rest() {
    let status = recording::Status { events: 7, bytes: 1536, dropped: 0, trouble: None };
    let name = "\u{6f22}\u{5b57}\u{6f22}\u{5b57}.ivt".to_owned();
    let watch = Watch::Live { recording: Some((name, status)) };
    let screen = health_screen(&crate::host::Snapshot::default(), RequireDirect::Unknown, &watch);
    assert!(screen.lines().last().unwrap().trim_end().ends_with(".ivt: 7 events"), "{screen}");
}
