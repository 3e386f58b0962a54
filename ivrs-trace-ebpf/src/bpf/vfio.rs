//! The legacy VFIO path: context for a claim. The functions live in modules, whose types are not in
//! the kernel's own BTF, so only arguments and return values are used.

use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use ivrs_trace_common::{Attach, GroupIoctl, Kind, NAME_LEN};

use super::{emit::Probe, kernel::Reader};

/// `VFIO_GROUP_GET_DEVICE_FD` (include/uapi/linux/vfio.h): its argument is the device's name.
const GROUP_GET_DEVICE_FD: u32 = 0x3b6a;

/// An ioctl on a group begins.
#[inline(always)]
pub(super) fn group_ioctl_enter(probe: Probe, cmd: u32, arg: u64) {
    probe.send(Kind::GROUP_IOCTL_ENTER, |event: *mut GroupIoctl| {
        // SAFETY: `event` is a whole entry of the ring and the name in it is aligned to eight
        // bytes; the helper checks the user address.
        unsafe {
            (*event).cmd = cmd;
            (*event).pad = 0;
            (*event).ret = 0;
            *(&raw mut (*event).name).cast::<[u64; NAME_LEN / 8]>() = [0; NAME_LEN / 8];
            if cmd == GROUP_GET_DEVICE_FD {
                let name = (&raw mut (*event).name).cast();
                if bpf_probe_read_user_str(name, NAME_LEN as u32, arg as *const _) < 0 {
                    probe.read_failed();
                }
            }
        }
    });
}

/// An ioctl on a group returns.
#[inline(always)]
pub(super) fn group_ioctl_exit(probe: Probe, ret: i64) {
    probe.send(Kind::GROUP_IOCTL_EXIT, |event: *mut GroupIoctl| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            (*event).cmd = 0;
            (*event).pad = 0;
            (*event).ret = ret;
            *(&raw mut (*event).name).cast::<[u64; NAME_LEN / 8]>() = [0; NAME_LEN / 8];
        }
    });
}

/// A function that attaches a group begins or returns; `group` is 0 where no argument names it.
#[inline(always)]
pub(super) fn attach(probe: Probe, kind: Kind, group: u64, ret: i32) {
    let mut reader = Reader::new(probe);
    let group = reader.group_id(group);
    probe.send(kind, |event: *mut Attach| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            (*event).group = group;
            (*event).ret = ret;
        }
    });
    reader.finish();
}
