//! The reserved regions that the kernel has just listed for a device.

use ivrs_trace_common::{
    DeviceId, Kind, MAX_REGIONS, REGIONS_FLAG_KNOWN, REGIONS_REQUIRE_DIRECT, Region, RegionType,
    RegionsEnd, WALK_BROKEN, WALK_CUT,
};

use super::{
    emit::Probe,
    kernel::{self, REGION_LENGTH, REGION_LIST, REGION_PROT, REGION_START, REGION_TYPE, Reader},
    list::{self, Visit},
};

/// Sends each `struct iommu_resv_region` on the list at `head`, then the end mark.
#[inline(always)]
pub(super) fn report(probe: Probe, dev: u64, head: u64) {
    let mut reader = Reader::new(probe);
    let mut device = kernel::NO_DEVICE;
    reader.device(dev, &mut device);
    let mut flags = 0;
    if kernel::knows_require_direct() {
        flags = REGIONS_FLAG_KNOWN | reader.require_direct(dev) * REGIONS_REQUIRE_DIRECT;
    }
    let end = list::walk(&mut reader, head, MAX_REGIONS, &mut Regions { probe, device: &device });
    if end.broken {
        flags |= WALK_BROKEN;
    }
    if end.cut {
        flags |= WALK_CUT;
        probe.truncated();
    }
    probe.send(Kind::REGIONS_END, |event: *mut RegionsEnd| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            kernel::put_device(&raw mut (*event).device, &device);
            (*event).count = end.count;
            (*event).flags = flags;
        }
    });
    reader.finish();
}

struct Regions<'a> {
    probe: Probe,
    device: &'a DeviceId,
}

impl Visit for Regions<'_> {
    #[inline(always)]
    fn visit(&mut self, reader: &mut Reader, at: u64, index: u32, _more: bool) {
        let region = reader.container(at, &REGION_LIST);
        let start = reader.member(region, &REGION_START);
        let length = reader.member(region, &REGION_LENGTH);
        let prot = reader.member(region, &REGION_PROT);
        let kind = reader.member(region, &REGION_TYPE);
        self.probe.send(Kind::REGION, |event: *mut Region| {
            // SAFETY: `event` is a whole entry of the ring.
            unsafe {
                kernel::put_device(&raw mut (*event).device, self.device);
                (*event).start = start;
                (*event).length = length;
                (*event).prot = prot;
                (*event).kind = RegionType(kind);
                (*event).index = index;
                (*event).pad = 0;
            }
        });
    }
}
