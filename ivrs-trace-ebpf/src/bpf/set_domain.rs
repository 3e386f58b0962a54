//! The place where the kernel refuses.
//!
//! `__iommu_device_set_domain` (drivers/iommu/iommu.c, 6.6 to 7.3) refuses a device with
//! `dev->iommu->require_direct` if the new domain is of type `IOMMU_DOMAIN_BLOCKED` or is the
//! group's `blocking_domain`. Both are read here, under the same `group->mutex`, and where they
//! hold, the unity map entries that cover the device are sent: they do not change after boot.

use ivrs_trace_common::{
    DeviceId, Kind, MAX_UNITY, SET_BLOCKING, SET_REFUSED, SET_REQUIRE_DIRECT, SET_UNITY_BROKEN,
    SET_UNITY_CUT, SET_UNITY_WALKED, SetDomain, UnityMatch,
};

use super::{
    emit::Probe,
    kernel::{
        self, DOMAIN_TYPE, GROUP_BLOCKING_DOMAIN, LIST_NEXT, Reader, SEGMENT_ID, SEGMENT_UNITY_MAP,
        UNITY_DEVID_END, UNITY_DEVID_START, UNITY_END, UNITY_LIST, UNITY_PROT, UNITY_START,
    },
};

/// `IOMMU_DOMAIN_BLOCKED` (include/linux/iommu.h).
const DOMAIN_BLOCKED: u32 = 0;

/// Sends the unity map entries behind a refusal, then the call itself.
#[inline(always)]
pub(super) fn report(probe: Probe, group: u64, dev: u64, domain: u64, ret: i32) {
    let mut reader = Reader::new(probe);
    let mut device = kernel::NO_DEVICE;
    reader.device(dev, &mut device);
    let mut flags = reader.require_direct(dev) * SET_REQUIRE_DIRECT;
    let domain_type: u32 = reader.member(domain, &DOMAIN_TYPE);
    let blocking_domain: u64 = reader.member(group, &GROUP_BLOCKING_DOMAIN);
    if domain_type == DOMAIN_BLOCKED || domain == blocking_domain {
        flags |= SET_BLOCKING;
    }
    let mut walk = Walk { entries: 0, matches: 0, flags: 0 };
    if flags == SET_REFUSED {
        walk = unity_map(&mut reader, probe, dev, &device);
    }
    probe.send(Kind::SET_DOMAIN, |event: *mut SetDomain| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            kernel::put_device(&raw mut (*event).device, &device);
            reader.driver_name(dev, &raw mut (*event).driver);
            (*event).domain_type = domain_type;
            (*event).flags = flags | walk.flags;
            (*event).ret = ret;
            (*event).entries = walk.entries;
            (*event).matches = walk.matches;
            (*event).pad = 0;
        }
    });
    reader.finish();
}

struct Walk {
    entries: u32,
    matches: u32,
    flags: u32,
}

/// Walks the unity map of the device's segment and sends the entries that cover its devid.
#[inline(always)]
fn unity_map(reader: &mut Reader, probe: Probe, dev: u64, device: &DeviceId) -> Walk {
    let mut walk = Walk { entries: 0, matches: 0, flags: 0 };
    let segment = reader.amd_segment(dev);
    if segment == 0 {
        return walk;
    }
    walk.flags = SET_UNITY_WALKED;
    let head = reader.address(segment, &SEGMENT_UNITY_MAP);
    let id: u16 = reader.member(segment, &SEGMENT_ID);
    let devid = device.sbdf as u16;
    let mut at: u64 = reader.member(head, &LIST_NEXT);
    while at != head {
        if !reader.intact() {
            walk.flags |= SET_UNITY_BROKEN;
            break;
        }
        if walk.entries == MAX_UNITY {
            walk.flags |= SET_UNITY_CUT;
            probe.truncated();
            break;
        }
        let entry = reader.container(at, &UNITY_LIST);
        let devid_start: u16 = reader.member(entry, &UNITY_DEVID_START);
        let devid_end: u16 = reader.member(entry, &UNITY_DEVID_END);
        if devid_start <= devid && devid <= devid_end {
            let start = reader.member(entry, &UNITY_START);
            let end = reader.member(entry, &UNITY_END);
            let prot = reader.member(entry, &UNITY_PROT);
            let ordinal = walk.entries;
            probe.send(Kind::UNITY_MATCH, |event: *mut UnityMatch| {
                // SAFETY: `event` is a whole entry of the ring.
                unsafe {
                    kernel::put_device(&raw mut (*event).device, device);
                    (*event).start = start;
                    (*event).end = end;
                    (*event).ordinal = ordinal;
                    (*event).prot = prot;
                    (*event).devid_start = devid_start;
                    (*event).devid_end = devid_end;
                    (*event).segment = id;
                    (*event).pad = 0;
                }
            });
            walk.matches += 1;
        }
        walk.entries += 1;
        at = reader.member(at, &LIST_NEXT);
    }
    walk
}
