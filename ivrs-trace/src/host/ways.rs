//! The bridges above functions and the buses below bridges.

use std::collections::BTreeMap;

use super::{tree::Reading, types::PciFunction};
use crate::pci::{Bdf, Segment};

/// Bridges above a function that are followed at most: there are no more buses in a segment.
const MOST_BRIDGES: usize = 256;

/// Where the functions of a host are in its tree of buses.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    parents: BTreeMap<Bdf, Reading<Bdf>>,
    /// The first bridge to a bus, by number: a copy without its links still has those.
    bridges: BTreeMap<(Segment, u8), Bdf>,
    /// Of each bridge, the highest bus below it on which something is.
    last_bus: BTreeMap<Bdf, u8>,
    secondary: BTreeMap<Bdf, u8>,
}

impl Ways {
    pub(crate) fn of(functions: &[PciFunction]) -> Self {
        let mut ways = Self::default();
        for function in functions {
            ways.parents.insert(function.bdf, function.parent.clone());
            if let Some(bus) = function.secondary_bus.value().copied() {
                ways.secondary.insert(function.bdf, bus);
                ways.bridges.entry((function.bdf.segment, bus)).or_insert(function.bdf);
            }
        }
        for function in functions {
            let bus = function.bdf.devid.bus();
            let bus = function.secondary_bus.value().map_or(bus, |below| bus.max(*below));
            let mut at = function.bdf;
            // A copy may have them in a ring.
            for _ in 0..MOST_BRIDGES {
                let Some(Reading::Read(parent)) = ways.parents.get(&at) else { break };
                at = *parent;
                let last = ways.last_bus.entry(at).or_default();
                *last = bus.max(*last);
            }
        }
        ways
    }

    /// The buses below the bridge `bdf` from its secondary one to the highest on which something
    /// is. The bridge itself may forward more, but its registers are not read.
    pub(crate) fn buses_below(&self, bdf: Bdf) -> Option<(u8, u8)> {
        let secondary = *self.secondary.get(&bdf)?;
        let last = self.last_bus.get(&bdf).map_or(secondary, |last| secondary.max(*last));
        Some((secondary, last))
    }

    /// The functions from a root bus down to `bdf`, itself included, and whether it is known that
    /// there is no bridge above the first.
    pub(crate) fn to(&self, bdf: Bdf) -> (Vec<Bdf>, bool) {
        let mut way = vec![bdf];
        let mut whole = false;
        while let Some(at) = way.last().copied().filter(|_| way.len() <= MOST_BRIDGES) {
            let above = match self.parents.get(&at) {
                Some(Reading::Read(parent)) => Some(*parent),
                Some(Reading::Absent) => {
                    whole = true;
                    None
                }
                Some(Reading::Unreadable(_)) => {
                    self.bridges.get(&(at.segment, at.devid.bus())).copied()
                }
                None => None,
            };
            match above {
                Some(parent) => way.push(parent),
                None => break,
            }
        }
        way.reverse();
        (way, whole)
    }
}
