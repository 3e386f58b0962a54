//! What is known, as the dashboard looks at it.

use super::History;
use crate::{
    event::{Body, DeviceFunction, Event},
    facts::{Clocks, Loss, Lost, ProbeFact},
    model::{Model, Verdicts},
    recording::Status,
    report::{calls::Trail, letters::input::Origin},
};

/// What the dashboard keeps beside the model: verdicts as they were last made, events to look at
/// again, and how well the kernel can be seen.
#[derive(Debug)]
pub struct Stage {
    /// The verdicts.
    pub verdicts: Verdicts,
    /// The last events.
    pub history: History,
    /// The events of attempts.
    pub trail: Trail,
    /// The probes as they stand; none where nothing was traced.
    pub probes: Vec<ProbeFact>,
    /// What each probe counted.
    pub loss: Loss,
    /// What did not arrive.
    pub lost: Lost,
    /// What else is missing, a sentence each.
    pub notes: Vec<String>,
    /// Where the facts come from.
    pub origin: Origin,
    /// The clocks when tracing began.
    pub began: Clocks,
    /// Counts up when something else than events has changed, so that what was made of it is made
    /// again.
    pub revision: u64,
    stale: bool,
}

impl Stage {
    /// A stage without events.
    #[must_use]
    pub fn new(model: &Model, origin: Origin, began: Clocks) -> Self {
        Self {
            verdicts: model.verdicts(),
            history: History::default(),
            trail: Trail::default(),
            probes: Vec::new(),
            loss: Loss::default(),
            lost: Lost::default(),
            notes: Vec::new(),
            origin,
            began,
            revision: 0,
            stale: false,
        }
    }

    /// Takes in an event, after the model has.
    pub fn observe(&mut self, number: u64, event: &Event) {
        self.history.push(number, event);
        self.trail.add(number, event);
        self.stale |= bears_on_verdicts(&event.body);
    }

    /// Says that the model has learnt something else than events.
    pub fn touch(&mut self) {
        self.stale = true;
    }

    /// Judges again, if anything has come that bears on it.
    pub fn refresh(&mut self, model: &Model) {
        if std::mem::take(&mut self.stale) {
            self.verdicts = model.verdicts();
            self.revision += 1;
        }
    }
}

/// Whether verdicts may be others after such an event.
fn bears_on_verdicts(body: &Body) -> bool {
    match body {
        Body::RegionsEnd { .. }
        | Body::UnityEnd { .. }
        | Body::GroupChange { .. }
        | Body::SetDomain { .. } => true,
        Body::DeviceCall { function, .. } => *function == DeviceFunction::VfioPciProbe,
        _ => false,
    }
}

/// How the facts come.
#[derive(Clone, Debug, PartialEq)]
pub enum Watch {
    /// From this host, as it runs.
    Live {
        /// How the recording goes, if there is one: its file and its size.
        recording: Option<(String, Status)>,
    },
    /// From a recording.
    Replay {
        /// How many events have been seen.
        position: usize,
        /// How many there are.
        total: usize,
        /// Whether time goes on.
        playing: bool,
        /// How fast: seconds of the recording a second.
        speed: f64,
        /// Where refusals are, in events seen.
        refusals: Vec<usize>,
    },
}

/// What there is to see now.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The host.
    pub model: &'a Model,
    /// What is kept beside it.
    pub stage: &'a Stage,
    /// How the facts come.
    pub watch: &'a Watch,
}

impl Scene<'_> {
    /// Whether a recording is replayed.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        matches!(self.watch, Watch::Replay { .. })
    }
}
