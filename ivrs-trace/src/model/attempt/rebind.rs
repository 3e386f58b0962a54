//! Who took devices from their drivers, and gave them to others, before they were asked for: with
//! libvirt's `managed='yes'` its daemon does, in a process of its own.

use std::collections::VecDeque;

use super::parts::{DriverChange, Process};
use crate::{
    event::{Body, CommandLines, DeviceFunction, Event, Phase},
    pci::Bdf,
};

/// Changes that are remembered at most; of more, the oldest go.
const MAX_CHANGES: usize = 1024;
/// Changes that are told of one attempt.
const MAX_TOLD: usize = 16;

/// The changes that were seen, each with the group that the device was in.
#[derive(Default)]
pub(super) struct Changes(VecDeque<(Option<u32>, DriverChange)>);

impl Changes {
    pub(super) fn observe(&mut self, number: u64, event: &Event, lines: &CommandLines) {
        let Body::DeviceCall {
            function,
            device: Some(device),
            driver,
            phase: Phase::Exit { ret: 0 },
            ..
        } = &event.body
        else {
            return;
        };
        let bound = match function {
            DeviceFunction::PciProbe => true,
            DeviceFunction::PciRemove => false,
            _ => return,
        };
        let Some(bdf) = device.bdf.filter(|_| !driver.is_empty()) else { return };
        let first = lines.of(event.pid).first();
        let change = DriverChange {
            event: number,
            time_ns: event.time_ns,
            process: Process::of(event),
            program: first
                .and_then(|first| first.rsplit('/').next())
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            bdf,
            driver: driver.clone(),
            bound,
        };
        if self.0.len() == MAX_CHANGES {
            self.0.pop_front();
        }
        self.0.push_back((device.group, change));
    }

    /// How the devices of a group, or this one, came to the drivers that they have now: of each device
    /// the changes since a driver of the host last let go of it.
    pub(super) fn of(&self, group: Option<u32>, device: Option<Bdf>) -> Vec<DriverChange> {
        let ours = |(of, change): &&(Option<u32>, DriverChange)| {
            of.is_some() && *of == group || Some(change.bdf) == device
        };
        let changes: Vec<&DriverChange> =
            self.0.iter().filter(ours).map(|(_, change)| change).collect();
        let begin = |bdf: Bdf| {
            let mut of_device = changes.iter().rev().filter(|one| one.bdf == bdf);
            let let_go = of_device.find(|one| !one.bound && !one.driver.contains("vfio"));
            let_go.map_or(0, |one| one.event)
        };
        let mut told: Vec<DriverChange> = changes
            .iter()
            .filter(|one| one.event >= begin(one.bdf))
            .map(|one| (*one).clone())
            .collect();
        told.drain(..told.len().saturating_sub(MAX_TOLD));
        told
    }
}

impl DriverChange {
    /// The process for people: what it was started as, else its command name.
    #[must_use]
    pub fn who(&self) -> String {
        let name = self.program.as_ref().unwrap_or(&self.process.comm);
        format!("{name} (pid {})", self.process.pid)
    }
}
