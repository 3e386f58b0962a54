//! What the kernel listed for each device: reserved regions put together from single events.

use std::collections::BTreeMap;

use ivrs_trace_common::MAX_REGIONS;

use crate::event::{Body, Event, RegionSource, RegionType};

/// A region as the kernel listed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// First address.
    pub start: u64,
    /// Bytes; may be 0.
    pub length: u64,
    /// `IOMMU_READ` 1, `IOMMU_WRITE` 2.
    pub prot: u32,
    /// What it is.
    pub kind: RegionType,
}

impl Listed {
    /// Last address; one below `start` where the length is 0.
    #[must_use]
    pub fn end_inclusive(&self) -> u64 {
        self.start.wrapping_add(self.length).wrapping_sub(1)
    }
}

/// The regions of one device, whole and in the kernel's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The regions.
    pub regions: Vec<Listed>,
    /// `dev_iommu.require_direct`; `None` where the kernel has no such flag.
    pub require_direct: Option<bool>,
    /// Number of the event that closed the list.
    pub event: u64,
    /// Number of the event that closed the first list of this device. The kernel keeps a group's
    /// devices in the order in which they came (`iommu_group_alloc_device` and its callers, list
    /// tail), and this follows it even if one of them alone is listed again.
    pub first: u64,
    /// Address of the `struct device`: another device may come under the same name.
    device: u64,
}

impl Listing {
    /// The regions that must be mapped 1:1.
    pub fn direct(&self) -> impl Iterator<Item = &Listed> {
        self.regions.iter().filter(|region| region.kind == RegionType::DIRECT)
    }

    /// The regions that are mapped 1:1, those that a driver may give up (which never block) among
    /// them.
    pub fn mapped(&self) -> impl Iterator<Item = &Listed> {
        let kinds = [RegionType::DIRECT, RegionType::DIRECT_RELAXABLE];
        self.regions.iter().filter(move |region| kinds.contains(&region.kind))
    }
}

#[derive(Default)]
pub(super) struct Listings {
    whole: BTreeMap<String, Listing>,
    /// Lists that are not closed, by thread and by the function that makes them: one of the two
    /// calls the other.
    open: BTreeMap<(u32, bool), Open>,
}

/// The regions so far of the device whose `struct device` is at this address.
struct Open {
    device: u64,
    regions: Vec<Listed>,
}

impl Listings {
    pub(super) fn observe(&mut self, number: u64, event: &Event) {
        match &event.body {
            Body::Region { device, source, index, start, length, prot, region_type } => {
                let key = key(event, *source);
                if *index == 0 {
                    self.open.insert(key, Open { device: device.ptr, regions: Vec::new() });
                }
                let Some(open) = self.open.get_mut(&key) else { return };
                let next = usize::try_from(*index) == Ok(open.regions.len());
                if open.device != device.ptr || !next || *index >= MAX_REGIONS {
                    // Events were lost, or are not those of the programs: this would be a list that
                    // the kernel never made.
                    self.open.remove(&key);
                    return;
                }
                open.regions.push(Listed {
                    start: *start,
                    length: *length,
                    prot: *prot,
                    kind: *region_type,
                });
            }
            Body::RegionsEnd { device, source, count, require_direct, incomplete } => {
                let open = self.open.remove(&key(event, *source));
                let regions = match open.filter(|open| open.device == device.ptr) {
                    Some(open) => open.regions,
                    None => Vec::new(),
                };
                let whole = usize::try_from(*count) == Ok(regions.len());
                if *incomplete || !whole {
                    return;
                }
                let before = self.whole.get(&device.name).filter(|old| old.device == device.ptr);
                let listing = Listing {
                    regions,
                    require_direct: *require_direct,
                    event: number,
                    first: before.map_or(number, |before| before.first),
                    device: device.ptr,
                };
                self.whole.insert(device.name.clone(), listing);
            }
            _ => {}
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Listing> {
        self.whole.get(name)
    }
}

fn key(event: &Event, source: RegionSource) -> (u32, bool) {
    (event.tid, source == RegionSource::Amd)
}
