//! The events that can be looked at again: the last [`HISTORY`] of them.

use std::collections::VecDeque;

use crate::event::Event;

/// Events that are kept; of more, the oldest go. Those of a common trace take some 25 MB. An event has
/// at most 512 bytes of text (`ivrs_trace_common::ARGS_CHUNK`), which six times as many may stand for
/// when they are made printable: no 100,000 events take more than some 300 MB.
pub const HISTORY: usize = 100_000;

/// The last events, in their order.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: VecDeque<(u64, Event)>,
    dropped: u64,
}

impl History {
    /// Takes in an event with its number, which is above those before.
    pub(super) fn push(&mut self, number: u64, event: &Event) {
        if self.events.len() == HISTORY {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back((number, event.clone()));
    }

    /// The event with this number, if it is still kept.
    pub(super) fn get(&self, number: u64) -> Option<&Event> {
        let place = self.events.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.events.get(place).map(|(_, event)| event)
    }

    /// The events with this number or a later one.
    pub(super) fn from(&self, number: u64) -> impl DoubleEndedIterator<Item = (u64, &Event)> {
        let place = self.events.partition_point(|(one, _)| *one < number);
        self.events.range(place..).map(|(number, event)| (*number, event))
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.events.front().map(|(number, _)| *number)
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many are not kept any more.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Body;

    #[test]
    fn the_oldest_go() {
        let mut history = History::default();
        let event = |number| Event {
            time_ns: number,
            pid: 1,
            tid: 1,
            comm: String::new(),
            cpu: 0,
            body: Body::ModuleLoad { name: "vfio".to_owned() },
        };
        let count = u64::try_from(HISTORY).unwrap() + 10;
        for number in 0..count {
            // Numbers of events that could not be decoded are missing.
            history.push(2 * number, &event(number));
        }
        assert_eq!((history.len(), history.dropped()), (HISTORY, 10));
        assert_eq!(history.first(), Some(20));
        assert_eq!(history.get(22).map(|event| event.time_ns), Some(11));
        assert_eq!(history.get(18), None);
        assert_eq!(history.get(23), None);
        let last: Vec<u64> = history.from(2 * count - 5).map(|(number, _)| number).collect();
        assert_eq!(last, [2 * count - 4, 2 * count - 2]);
    }
}
