//! The devices of a group that cannot be claimed, with the drivers that hold them.
//!
//! A host driver that is bound counts as an owner of the group (`iommu_device_use_default_domain`,
//! drivers/iommu/iommu.c) unless it manages DMA itself, as VFIO's own and those of bridges do.

use ivrs_trace_common::{Kind, MAX_MEMBERS, MEMBER_MANAGES_DMA, Member, WALK_BROKEN, WALK_CUT};

use super::{
    emit::Probe,
    kernel::{self, GROUP_DEVICE_DEV, GROUP_DEVICE_LIST, GROUP_DEVICES, LIST_NEXT, Reader},
};

/// Sends every device of the group at `group`. The group's lock is not held: a device that comes or
/// goes at this moment may be missing or end the walk, which is marked.
#[inline(always)]
pub(super) fn report(probe: Probe, group: u64) {
    let mut reader = Reader::new(probe);
    let head = reader.address(group, &GROUP_DEVICES);
    let mut at: u64 = reader.member(head, &LIST_NEXT);
    let mut index = 0;
    while at != head && reader.intact() && index < MAX_MEMBERS {
        let entry = reader.container(at, &GROUP_DEVICE_LIST);
        let dev: u64 = reader.member(entry, &GROUP_DEVICE_DEV);
        let next: u64 = reader.member(at, &LIST_NEXT);
        let mut device = kernel::NO_DEVICE;
        reader.device(dev, &mut device);
        let mut flags = reader.manages_dma(dev) * MEMBER_MANAGES_DMA;
        if !reader.intact() {
            flags |= WALK_BROKEN;
        } else if next != head && index + 1 == MAX_MEMBERS {
            flags |= WALK_CUT;
            probe.truncated();
        }
        probe.send(Kind::MEMBER, |event: *mut Member| {
            // SAFETY: `event` is a whole entry of the ring.
            unsafe {
                kernel::put_device(&raw mut (*event).device, &device);
                reader.driver_name(dev, &raw mut (*event).driver);
                (*event).index = index;
                (*event).flags = flags;
            }
        });
        index += 1;
        at = next;
    }
    reader.finish();
}
