//! A recording through the model, as its events went through it when they happened.

use std::io::Read;

use super::{Condition, Continues, End, Item, Loss, ProbeFact, Reader, Start};
use crate::{
    event::Event,
    host::{Files, Snapshot},
    model::{Model, RequireDirect},
    report::Lost,
};

/// A recording that was read to its end.
pub struct Replay {
    /// How it began; absent where that is cut off or damaged.
    pub start: Option<Start>,
    /// What is known of its host, with all attempts.
    pub model: Model,
    /// What was read of the host: more than the model needs, see [`Files::text`].
    pub files: Files,
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
    let mut start: Option<Start> = None;
    let mut model: Option<Model> = None;
    let mut hosted = false;
    let mut host_files = Files::default();
    let mut probes = Vec::new();
    let mut told = Loss::default();
    let mut end = None;
    let mut continues = None;
    let mut undecoded = 0_u64;
    for item in &mut reader {
        match item {
            Item::Start(found) => start = start.or(Some(found)),
            Item::Probes(found) => probes = found,
            Item::Snapshot { files, complete, .. } => {
                // Of what was cut off, the one before says more.
                if complete || !hosted {
                    match &mut model {
                        // Devices had come or gone.
                        Some(model) => model.rehost(Snapshot::of_files(&files)),
                        None => model = Some(model_of(start.as_ref(), &files)),
                    }
                    host_files = files;
                }
                hosted = true;
            }
            Item::Events(events) => {
                let model =
                    model.get_or_insert_with(|| model_of(start.as_ref(), &Files::default()));
                for (number, bytes) in events {
                    match decode(start.as_ref(), &bytes) {
                        Some(event) => {
                            model.observe(number, &event);
                            each(start.as_ref(), number, &event);
                        }
                        None => undecoded += 1,
                    }
                }
            }
            Item::Loss(found) => told = found,
            Item::Continues(found) => continues = Some(found),
            Item::End(found) => end = Some(found),
        }
    }
    let mut model = model.unwrap_or_else(|| model_of(start.as_ref(), &Files::default()));
    model.finish();
    let condition = reader.condition().clone();
    let mut lost = told.as_lost();
    // What the recorder counted is also missing in the numbers, but for the last events.
    lost.queue = lost.queue.max(condition.missing_events).saturating_add(undecoded);
    Replay { start, model, files: host_files, probes, lost, end, continues, condition }
}

/// The event, if it can be decoded here: numbers are in the byte order of the recorded host.
fn decode(start: Option<&Start>, bytes: &[u8]) -> Option<Event> {
    let own = if cfg!(target_endian = "big") { "big" } else { "little" };
    let same = start.is_none_or(|start| start.byte_order == own);
    same.then(|| Event::decode(bytes).ok()).flatten()
}

fn model_of(start: Option<&Start>, files: &Files) -> Model {
    let require_direct = start.map_or(RequireDirect::Unknown, |start| start.require_direct);
    let mut model = Model::new(Snapshot::of_files(files), require_direct);
    model.opened_before(start.map(|start| start.open_files.clone()).unwrap_or_default());
    model
}
