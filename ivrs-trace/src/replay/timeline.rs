//! A recording held in memory, to be looked at as it stood after any of its events.

use std::io::Read;

use super::{Fold, Sorter, Step};
use crate::{
    event::Event,
    facts::{End, Loss, Lost, ProbeFact, Start},
    host::Files,
    model::{Model, Outcome},
    recording::{Condition, Continues, Reader},
    replay,
};

/// Events that a tape holds at most; those that follow are counted and not shown. An event takes
/// about half a kilobyte.
pub(crate) const MAX_TAPE: usize = 1_000_000;
/// Attempts, the last ones, that are looked at for a new refusal after an event.
const LOOKED_AT: usize = 16;

#[derive(Debug)]
pub struct Tape {
    /// How it began; absent where that is cut off or damaged.
    pub(crate) start: Option<Start>,
    /// How it ended; absent where it was not closed.
    pub(crate) end: Option<End>,
    /// That it is not the first file of its recording.
    pub(crate) continues: Option<Continues>,
    pub(crate) condition: Condition,
    /// Events that were beyond [`MAX_TAPE`].
    pub(crate) left_out: u64,
    undecoded: u64,
    steps: Vec<Step>,
    events: usize,
    /// After how many events an attempt begins.
    attempts: Vec<usize>,
    /// After how many events one is seen to be refused.
    refusals: Vec<usize>,
}

impl Tape {
    pub(crate) fn read<R: Read>(mut reader: Reader<R>) -> Self {
        let mut sorter = Sorter::default();
        let (mut steps, mut events, mut left_out) = (Vec::new(), 0, 0);
        for item in &mut reader {
            sorter.sort(item, |_, step| {
                if matches!(step, Step::Event(..)) {
                    if events == MAX_TAPE {
                        left_out += 1;
                        return;
                    }
                    events += 1;
                }
                steps.push(step);
            });
        }
        let Sorter { start, end, continues, undecoded, .. } = sorter;
        let mut tape = Self {
            start,
            end,
            continues,
            condition: reader.condition().clone(),
            left_out,
            undecoded,
            steps,
            events,
            attempts: Vec::new(),
            refusals: Vec::new(),
        };
        (tape.attempts, tape.refusals) = tape.marks();
        tape
    }

    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// After how many events an attempt begins, in order.
    pub(crate) fn attempts(&self) -> &[usize] {
        &self.attempts
    }

    /// After how many events an attempt is seen to be refused, in order.
    pub(crate) fn refusals(&self) -> &[usize] {
        &self.refusals
    }

    fn marks(&self) -> (Vec<usize>, Vec<usize>) {
        let (mut attempts, mut refusals) = (Vec::new(), Vec::new());
        let mut player = Player::new(self);
        let (mut known, mut refused) = (0, std::collections::BTreeSet::new());
        let mut position = 0;
        player.play(self, usize::MAX, |model, _, _| {
            position += 1;
            let all = model.attempts();
            let dropped = model.attempts_dropped();
            let total = dropped.saturating_add(u64::try_from(all.len()).unwrap_or_default());
            if total > known {
                attempts.push(position);
                known = total;
            }
            let last = (0..total).rev().zip(all.iter().rev()).take(LOOKED_AT);
            for (number, attempt) in last {
                if attempt.outcome == Outcome::Rejected && refused.insert(number) {
                    refusals.push(position);
                }
            }
        });
        refusals.dedup();
        (attempts, refusals)
    }
}

/// What is known after some of a tape's events.
pub(crate) struct Player {
    model: Model,
    fold: Fold,
    steps: usize,
    position: usize,
}

impl Player {
    /// The beginning of a tape: the host as it was before any event.
    pub(crate) fn new(tape: &Tape) -> Self {
        let mut player = Self {
            model: replay::model_of(tape.start.as_ref(), &Files::default()),
            fold: Fold::default(),
            steps: 0,
            position: 0,
        };
        player.play(tape, 0, |_, _, _| {});
        player
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn model(&self) -> &Model {
        self.fold.model.as_ref().unwrap_or(&self.model)
    }

    pub(crate) fn probes(&self) -> &[ProbeFact] {
        &self.fold.probes
    }

    pub(crate) fn loss(&self) -> &Loss {
        &self.fold.loss
    }

    /// What did not arrive. What is missing in the file is counted from the beginning on.
    pub(crate) fn lost(&self, tape: &Tape) -> Lost {
        replay::lost(&self.fold.loss, &tape.condition, tape.undecoded)
    }

    /// When the next event is, `CLOCK_MONOTONIC`, ns.
    pub(crate) fn next_time(&self, tape: &Tape) -> Option<u64> {
        self.coming(tape).next()
    }

    /// How many of the events that follow are not later than `time_ns`, up to the first that is.
    pub(crate) fn due(&self, tape: &Tape, time_ns: u64) -> usize {
        self.coming(tape).take_while(|time| *time <= time_ns).count()
    }

    fn coming<'a>(&self, tape: &'a Tape) -> impl Iterator<Item = u64> + use<'a> {
        tape.steps.iter().skip(self.steps).filter_map(|step| match step {
            Step::Event(_, event) => Some(event.time_ns),
            _ => None,
        })
    }

    /// Goes on until so many events of the tape have been seen, and takes in what else follows
    /// them. Each event goes to `each` after the model has taken it in. It never goes back: that is
    /// done by a new player.
    pub(crate) fn play(
        &mut self,
        tape: &Tape,
        position: usize,
        mut each: impl FnMut(&Model, u64, &Event),
    ) {
        for step in tape.steps.iter().skip(self.steps) {
            if matches!(step, Step::Event(..)) && self.position >= position {
                break;
            }
            self.fold.take(tape.start.as_ref(), step);
            self.steps += 1;
            if let (Step::Event(number, event), Some(model)) = (step, &self.fold.model) {
                self.position += 1;
                each(model, *number, event);
            }
        }
        if self.steps == tape.steps.len()
            && let Some(model) = &mut self.fold.model
        {
            model.finish();
        }
    }
}
