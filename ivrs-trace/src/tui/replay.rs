//! A recording on the dashboard, with a place in its time. It has no clock: whoever runs it says how
//! much time went by.

use std::time::Duration;

use super::{Scene, Seek, Stage, Watch};
use crate::{
    event::Event,
    facts::Clocks,
    model::Model,
    replay::{Player, Tape},
    report::letters::input::Origin,
};

/// The longest wait between two events while it plays, in time of the recording, ns.
const MAX_WAIT: u64 = 1_000_000_000;
/// The slowest and the fastest play.
const SPEEDS: (f64, f64) = (1.0 / 1024.0, 1024.0);

/// A recording that is being looked at.
pub struct Replay {
    tape: Tape,
    player: Player,
    stage: Stage,
    watch: Watch,
    origin: Origin,
    notes: Vec<String>,
    /// The time that play has reached, `CLOCK_MONOTONIC` of the recorded host, ns.
    now_ns: u64,
}

impl Replay {
    /// Shows a recording as it stands at its end.
    #[must_use]
    pub fn new(tape: Tape, origin: Origin, notes: Vec<String>) -> Self {
        let player = Player::new(&tape);
        let stage = stage(&tape, &player, &origin, &notes);
        let watch = Watch::Replay {
            position: 0,
            total: tape.events(),
            playing: false,
            speed: 1.0,
            refusals: tape.refusals().to_vec(),
        };
        let mut replay = Self { tape, player, stage, watch, origin, notes, now_ns: 0 };
        replay.to(usize::MAX);
        replay
    }

    /// What there is to see now.
    #[must_use]
    pub fn scene(&self) -> Scene<'_> {
        Scene { model: self.player.model(), stage: &self.stage, watch: &self.watch }
    }

    /// What is known of the host now.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.player.model()
    }

    /// What is kept beside it.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Whether it plays.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        matches!(self.watch, Watch::Replay { playing: true, .. })
    }

    /// Plays, or stops. At the end it begins again.
    pub fn toggle(&mut self) {
        if !self.is_playing() && self.player.position() >= self.tape.events() {
            self.to(0);
        }
        if let Watch::Replay { playing, .. } = &mut self.watch {
            *playing = !*playing;
        }
    }

    /// Plays twice as fast, or half as fast.
    pub fn change_speed(&mut self, faster: bool) {
        if let Watch::Replay { speed, .. } = &mut self.watch {
            let wanted = if faster { *speed * 2.0 } else { *speed / 2.0 };
            *speed = wanted.clamp(SPEEDS.0, SPEEDS.1);
        }
    }

    /// Goes somewhere, and stops there.
    pub fn seek(&mut self, seek: Seek) {
        let (here, total) = (self.player.position(), self.tape.events());
        let mark = |marks: &[usize], on: bool| {
            if on {
                marks.iter().copied().find(|mark| *mark > here).unwrap_or(total)
            } else {
                marks.iter().rev().copied().find(|mark| *mark < here).unwrap_or(0)
            }
        };
        let to = match seek {
            Seek::Events(by) => here.saturating_add_signed(by),
            Seek::Attempt { on } => mark(self.tape.attempts(), on),
            Seek::Refusal { on } => mark(self.tape.refusals(), on),
            Seek::Start => 0,
            Seek::End => total,
            Seek::Part(part, whole) => {
                total.saturating_mul(part.into()) / usize::from(whole.max(1))
            }
        };
        self.stop();
        self.to(to);
    }

    /// Lets so much time go by, if it plays. Long waits between events are made short.
    pub fn advance(&mut self, elapsed: Duration) {
        let Watch::Replay { playing: true, speed, .. } = &self.watch else { return };
        self.now_ns = self
            .now_ns
            .saturating_add(u64::try_from(elapsed.mul_f64(*speed).as_nanos()).unwrap_or(u64::MAX));
        while let Some(next) = self.player.next_time(&self.tape) {
            self.now_ns = self.now_ns.max(next.saturating_sub(MAX_WAIT));
            let now = self.now_ns;
            let due = self.player.due(&self.tape, now);
            if due == 0 {
                return;
            }
            self.to(self.player.position() + due);
            // The last event is older than that.
            self.now_ns = now;
        }
        self.stop();
    }

    fn stop(&mut self) {
        if let Watch::Replay { playing, .. } = &mut self.watch {
            *playing = false;
        }
    }

    fn to(&mut self, position: usize) {
        if position < self.player.position() {
            self.player = Player::new(&self.tape);
            let revision = self.stage.revision;
            self.stage = stage(&self.tape, &self.player, &self.origin, &self.notes);
            self.stage.revision = revision + 1;
            self.now_ns = 0;
        }
        let Self { tape, player, stage, now_ns, .. } = self;
        player.play(tape, position, |_, number, event: &Event| {
            *now_ns = event.time_ns;
            stage.observe(number, event);
        });
        // Snapshots are no events.
        stage.touch();
        stage.refresh(player.model());
        stage.probes = player.probes().to_vec();
        stage.loss = player.loss().clone();
        stage.lost = player.lost(tape);
        if let Watch::Replay { position, .. } = &mut self.watch {
            *position = self.player.position();
        }
    }
}

fn stage(tape: &Tape, player: &Player, origin: &Origin, notes: &[String]) -> Stage {
    let began = tape.start.as_ref().map_or_else(Clocks::default, |start| start.clocks);
    let mut stage = Stage::new(player.model(), origin.clone(), began);
    stage.notes = notes.to_vec();
    stage
}
