//! The place where the kernel refuses.
//!
//! `__iommu_device_set_domain` (drivers/iommu/iommu.c, 6.6 to 7.3) refuses a device with
//! `dev->iommu->require_direct` if the new domain is of type `IOMMU_DOMAIN_BLOCKED` or is the
//! group's `blocking_domain`. Both are read here, under the same `group->mutex`, and where they
//! hold, the unity map entries that cover the device are sent: they do not change after boot.

use ivrs_trace_common::{Kind, SET_BLOCKING, SET_REFUSED, SET_REQUIRE_DIRECT, SetDomain};

use super::{
    emit::Probe,
    kernel::{self, DOMAIN_TYPE, GROUP_BLOCKING_DOMAIN, Reader},
    unity::{self, Walk},
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
    let mut walk = Walk::NONE;
    if flags == SET_REFUSED {
        walk = unity::matches(&mut reader, probe, dev, &device);
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
