//! What the kernel listed for each device: reserved regions put together from single events.

use std::collections::{BTreeMap, BTreeSet};

use ivrs_trace_common::MAX_REGIONS;

use super::bounds::LISTED;
use crate::event::{Body, Change, Device, DeviceFunction, Event, RegionSource, RegionType};

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
    /// Regions in those lists; a list counts as one more.
    regions: usize,
    /// Lists that were not kept.
    dropped: usize,
    /// Lists that are not closed, by thread and by the function that makes them: one of the two
    /// calls the other.
    open: BTreeMap<(u32, bool), Open>,
    /// Devices that came into a group and were not listed since, by address of the `struct device`.
    /// The first list is made before the kernel sets `require_direct` by it
    /// (`iommu_create_device_direct_mappings`, drivers/iommu/iommu.c).
    fresh: BTreeSet<u64>,
}

/// Lists that are not closed and devices that are not listed are no more than that.
const MAX_OPEN: usize = 4096;

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
                // Without the flag the regions decide; a later list has it.
                let early = self.fresh.remove(&device.ptr) && *require_direct == Some(false);
                let listing = Listing {
                    regions,
                    require_direct: require_direct.filter(|_| !early),
                    event: number,
                    first: before.map_or(number, |before| before.first),
                    device: device.ptr,
                };
                self.forget(device);
                let more = 1 + listing.regions.len();
                if self.regions + more > LISTED {
                    self.dropped += 1;
                    return;
                }
                self.regions += more;
                self.whole.insert(device.name.clone(), listing);
            }
            Body::DeviceCall {
                function: DeviceFunction::DirectMappings,
                device: Some(device),
                require_direct: Some(flag),
                ..
            } => {
                let listing = self.whole.get_mut(&device.name);
                if let Some(listing) = listing.filter(|listing| listing.device == device.ptr) {
                    listing.require_direct = Some(*flag);
                }
            }
            Body::GroupChange { change: Change::Added, device } => {
                // A list that is there is of the device that had this name before.
                self.forget(device);
                self.fresh.insert(device.ptr);
            }
            Body::GroupChange { change: Change::Removed, device } => {
                self.forget(device);
                self.fresh.remove(&device.ptr);
            }
            _ => {}
        }
        while self.open.len() > MAX_OPEN {
            self.open.pop_first();
        }
        while self.fresh.len() > MAX_OPEN {
            self.fresh.pop_first();
        }
    }

    /// Drops the lists of devices that are not there any more.
    pub(super) fn keep(&mut self, there: impl Fn(&str) -> bool) {
        self.whole.retain(|name, _| there(name));
        self.regions = self.whole.values().map(|listing| 1 + listing.regions.len()).sum();
    }

    fn forget(&mut self, device: &Device) {
        if let Some(listing) = self.whole.remove(&device.name) {
            self.regions -= 1 + listing.regions.len();
        }
    }

    /// How many lists were not kept, because there were too many.
    pub(super) fn dropped(&self) -> usize {
        self.dropped
    }

    pub(super) fn get(&self, name: &str) -> Option<&Listing> {
        self.whole.get(name)
    }
}

fn key(event: &Event, source: RegionSource) -> (u32, bool) {
    (event.tid, source == RegionSource::Amd)
}
