//! A recording through the model, as its events went through it when they happened.

#[cfg(feature = "tui")]
mod timeline;

use std::io::Read;

#[cfg(feature = "tui")]
pub(crate) use timeline::{MAX_TAPE, Player, Tape};

use crate::{
    event::{Event, OwnerIds},
    facts::{End, Loss, Lost, ProbeFact, Start},
    host::{Conditions, Files, Snapshot},
    model::{Model, RequireDirect},
    recording::{Condition, Continues, Item, Reader},
};

/// A recording that was read to its end.
pub struct Replay {
    /// How it began; absent where that is cut off or damaged.
    pub start: Option<Start>,
    /// What is known of its host, with all attempts.
    pub model: Model,
    /// What else bears on tracing and on VFIO; recordings from before this was read have none of it.
    pub conditions: Conditions,
    /// The probes as they stood at the end.
    pub probes: Vec<ProbeFact>,
    /// What did not arrive: in the ring buffer, from kernel memory, and in the file.
    pub lost: Lost,
    /// How it ended; absent where it was not closed.
    pub end: Option<End>,
    /// That it is not the first file of its recording.
    pub continues: Option<Continues>,
    /// What is left of the file.
    pub condition: Condition,
}

/// Reads a recording to its end and makes a model of it. Each event goes to `each` with its number
/// after the model has taken it in, in the order of the file.
///
/// It does not fail: what is damaged or cut off is missing in the model, and the condition says so.
/// Where there is no snapshot, the model is that of a host of which nothing could be read.
pub fn replay<R: Read>(
    mut reader: Reader<R>,
    mut each: impl FnMut(Option<&Start>, u64, &Event),
) -> Replay {
    let mut sorter = Sorter::default();
    let mut fold = Fold::default();
    let mut conditions = Conditions::of_files(&Files::default());
    for item in &mut reader {
        sorter.sort(item, |start, step| {
            fold.take(start, &step);
            match step {
                Step::Event(number, event) => each(start, number, &event),
                Step::Host(found) => {
                    let earlier = std::mem::replace(&mut conditions, Conditions::of_files(&found));
                    conditions.keep_from(&earlier);
                }
                Step::Probes(_) | Step::Loss(_) => {}
            }
        });
    }
    let condition = reader.condition().clone();
    let Sorter { start, end, continues, undecoded, .. } = sorter;
    let lost = lost(&fold.loss, &condition, undecoded);
    let mut model = fold.model.unwrap_or_else(|| model_of(start.as_ref(), &Files::default()));
    model.finish();
    Replay { start, model, conditions, probes: fold.probes, lost, end, continues, condition }
}

pub(super) fn lost(counted: &Loss, condition: &Condition, undecoded: u64) -> Lost {
    let mut lost = counted.as_lost();
    // What the recorder counted is also missing in the numbers, but for the last events.
    lost.queue = lost.queue.max(condition.missing_events).saturating_add(undecoded);
    lost
}

/// Something that a recording tells, which changes what is known.
#[derive(Debug)]
pub(super) enum Step {
    Event(u64, Event),
    Host(Files),
    Probes(Vec<ProbeFact>),
    Loss(Loss),
}

/// Sorts the sections of a recording: steps, and what is said of it as a whole.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    pub(super) start: Option<Start>,
    pub(super) end: Option<End>,
    pub(super) continues: Option<Continues>,
    pub(super) undecoded: u64,
    owners: OwnerIds,
    hosted: bool,
}

impl Sorter {
    /// Hands over the steps of a section.
    pub(super) fn sort(&mut self, item: Item, mut each: impl FnMut(Option<&Start>, Step)) {
        match item {
            Item::Start(found) => self.start = self.start.take().or(Some(found)),
            Item::Probes(found) => each(self.start.as_ref(), Step::Probes(found)),
            Item::Snapshot { files, complete, .. } => {
                // Of what was cut off, the one before says more.
                if complete || !self.hosted {
                    each(self.start.as_ref(), Step::Host(files));
                }
                self.hosted = true;
            }
            Item::Events(events) => {
                for (number, bytes) in events {
                    match decode(self.start.as_ref(), &bytes) {
                        Some(mut event) => {
                            self.owners.rename(&mut event);
                            each(self.start.as_ref(), Step::Event(number, event));
                        }
                        None => self.undecoded += 1,
                    }
                }
            }
            Item::Loss(found) => each(self.start.as_ref(), Step::Loss(found)),
            Item::Continues(found) => self.continues = Some(found),
            Item::End(found) => self.end = Some(found),
        }
    }
}

/// What is known after some steps.
#[derive(Default)]
pub(super) struct Fold {
    pub(super) model: Option<Model>,
    pub(super) probes: Vec<ProbeFact>,
    pub(super) loss: Loss,
}

impl Fold {
    pub(super) fn take(&mut self, start: Option<&Start>, step: &Step) {
        match step {
            Step::Event(number, event) => {
                let model = self.model.get_or_insert_with(|| model_of(start, &Files::default()));
                model.observe(*number, event);
            }
            Step::Host(files) => match &mut self.model {
                // Devices had come or gone.
                Some(model) => model.rehost(Snapshot::of_files(files)),
                None => self.model = Some(model_of(start, files)),
            },
            Step::Probes(probes) => self.probes.clone_from(probes),
            Step::Loss(loss) => self.loss.clone_from(loss),
        }
    }
}

/// The event, if it can be decoded here: numbers are in the byte order of the recorded host.
fn decode(start: Option<&Start>, bytes: &[u8]) -> Option<Event> {
    let own = if cfg!(target_endian = "big") { "big" } else { "little" };
    let same = start.is_none_or(|start| start.byte_order == own);
    same.then(|| Event::decode(bytes).ok()).flatten()
}

pub(super) fn model_of(start: Option<&Start>, files: &Files) -> Model {
    let require_direct = start.map_or(RequireDirect::Unknown, |start| start.require_direct);
    let mut model = Model::new(Snapshot::of_files(files), require_direct);
    model.opened_before(start.map(|start| start.open_files.clone()).unwrap_or_default());
    model
}
