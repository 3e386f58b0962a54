//! The devices of a group that cannot be claimed, with the drivers that hold them.
//!
//! A host driver that is bound counts as an owner of the group (`iommu_device_use_default_domain`,
//! drivers/iommu/iommu.c) unless it manages DMA itself, as VFIO's own and those of bridges do.

use ivrs_trace_common::{Kind, MAX_MEMBERS, MEMBER_MANAGES_DMA, Member, WALK_BROKEN, WALK_CUT};

use super::{
    emit::Probe,
    kernel::{self, GROUP_DEVICE_DEV, GROUP_DEVICE_LIST, GROUP_DEVICES, Reader},
    list::{self, Visit},
};

/// Sends every device of the group at `group`. The group's lock is not held: a device that comes or
/// goes at this moment may be missing or end the walk, which is marked.
#[inline(always)]
pub(super) fn report(probe: Probe, group: u64) {
    let mut reader = Reader::new(probe);
    let head = reader.address(group, &GROUP_DEVICES);
    list::walk(&mut reader, head, MAX_MEMBERS, &mut Members { probe });
    reader.finish();
}

struct Members {
    probe: Probe,
}

impl Visit for Members {
    #[inline(always)]
    fn visit(&mut self, reader: &mut Reader, at: u64, index: u32, more: bool) {
        let entry = reader.container(at, &GROUP_DEVICE_LIST);
        let dev: u64 = reader.member(entry, &GROUP_DEVICE_DEV);
        let mut device = kernel::NO_DEVICE;
        reader.device(dev, &mut device);
        let mut flags = reader.manages_dma(dev) * MEMBER_MANAGES_DMA;
        if !reader.intact() {
            flags |= WALK_BROKEN;
        } else if more && index + 1 == MAX_MEMBERS {
            flags |= WALK_CUT;
            self.probe.truncated();
        }
        self.probe.send(Kind::MEMBER, |event: *mut Member| {
            // SAFETY: `event` is a whole entry of the ring.
            unsafe {
                kernel::put_device(&raw mut (*event).device, &device);
                reader.driver_name(dev, &raw mut (*event).driver);
                (*event).index = index;
                (*event).flags = flags;
            }
        });
    }
}
