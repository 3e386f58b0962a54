//! How long the dashboard takes to draw with 100,000 events held, without new ones and with 5,000 of
//! them a second, and how much memory the events take. `cargo xtask bench` runs it.
//!
//! The events are those of docs/refused.ivt, over and over: each time another process tries for a
//! device and is refused, and the kernel lists the regions of every device anew.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot begin has nothing to say")]

use std::{collections::BTreeMap, fs, hint::black_box, path::Path};

use criterion::{BatchSize, Criterion};
use ivrs_trace::{
    event::Event,
    facts::Clocks,
    model::Model,
    recording::{self},
    report::letters::input::Origin,
    tui::{Action, App, HISTORY, Keys, Scene, Stage, ThemeName, View, Watch},
};
use ratatui::{Terminal, backend::TestBackend};

/// Events that come between two drawings, of 5,000 a second at 30 drawings a second.
const NEW: usize = 5_000 / 30;
const SCREEN: (u16, u16) = (120, 40);

/// A host with events that go on for ever.
struct Host {
    model: Model,
    stage: Stage,
    watch: Watch,
    round: Vec<Event>,
    number: usize,
}

impl Host {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/refused.ivt");
        let mut round = Vec::new();
        let reader = recording::open(&path).unwrap();
        let replay = ivrs_trace::replay::replay(reader, |_, _, event| round.push(event.clone()));
        let model = replay.model;
        let stage = Stage::new(&model, Origin::Live { traced: true }, Clocks::default());
        let watch = Watch::Live { recording: None };
        Self { model, stage, watch, round, number: 0 }
    }

    fn come(&mut self, count: usize) {
        for _ in 0..count {
            let length = self.round.len();
            let mut event = self.round.get(self.number % length).unwrap().clone();
            let past = u64::try_from(self.number).unwrap() * 200_000;
            event.time_ns += past;
            event.pid = 1000 + u32::try_from(self.number / length).unwrap();
            event.tid = event.pid;
            let number = u64::try_from(self.number).unwrap();
            self.model.observe(number, &event);
            self.stage.observe(number, &event);
            self.number += 1;
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene { model: &self.model, stage: &self.stage, watch: &self.watch }
    }
}

/// Resident memory, bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut host = Host::new();
    let before = memory();
    host.come(HISTORY);
    host.stage.refresh(&host.model);
    let taken = memory().saturating_sub(before);
    println!("{HISTORY} events held: {} MiB, model and attempts included", taken >> 20);
    for view in View::ALL {
        let name = view.title().0;
        let keys = Keys::new(&BTreeMap::new()).unwrap();
        let mut app = App::new(keys, ThemeName::Dark);
        app.act(Action::Show(view), &host.scene());
        let mut terminal = Terminal::new(TestBackend::new(SCREEN.0, SCREEN.1)).unwrap();
        criterion.bench_function(&format!("redraw {name}"), |bench| {
            bench.iter(|| {
                let scene = host.scene();
                terminal.draw(|frame| app.draw(frame, &scene)).map(|_| ()).unwrap();
                black_box(terminal.backend());
            });
        });
        let host = std::cell::RefCell::new(&mut host);
        criterion.bench_function(&format!("judge and redraw {name} after {NEW} events"), |bench| {
            bench.iter_batched(
                || host.borrow_mut().come(NEW),
                |()| {
                    let mut host = host.borrow_mut();
                    let Host { stage, model, .. } = &mut **host;
                    stage.refresh(model);
                    let scene = host.scene();
                    terminal.draw(|frame| app.draw(frame, &scene)).map(|_| ()).unwrap();
                },
                BatchSize::PerIteration,
            );
        });
    }
    let mut host = Host::new();
    host.come(HISTORY);
    criterion.bench_function(&format!("take in {NEW} events"), |bench| {
        bench.iter(|| host.come(NEW));
    });
    criterion.final_summary();
}
