//! What processes ask VFIO for: context for a claim. Most of the functions live in modules, whose
//! types are not in the kernel's own BTF, so only their arguments and return values are used, and
//! structs of the kernel image.

use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use ivrs_trace_common::{Attach, Kind, NAME_LEN, VfioCall};

use super::{emit::Probe, kernel::Reader};

/// `VFIO_GROUP_GET_DEVICE_FD` (include/uapi/linux/vfio.h): its argument is the device's name.
const GROUP_GET_DEVICE_FD: u32 = 0x3b6a;
/// `VFIO_SET_IOMMU`: the one ioctl on a container that can refuse a device.
pub(super) const SET_IOMMU: u32 = 0x3b66;
/// `VFIO_DEVICE_BIND_IOMMUFD`
pub(super) const DEVICE_BIND_IOMMUFD: u32 = 0x3b76;
/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`
pub(super) const DEVICE_ATTACH_IOMMUFD: u32 = 0x3b77;

/// A call on the `struct file` at `file` begins.
#[inline(always)]
pub(super) fn enter(probe: Probe, kind: Kind, file: u64, cmd: u32, arg: u64) {
    probe.send(kind, |event: *mut VfioCall| {
        let mut reader = Reader::new(probe);
        // SAFETY: `event` is a whole entry of the ring and the name in it is aligned to eight
        // bytes; the helper checks the user address.
        unsafe {
            begin(event, file, cmd);
            reader.file_name(file, &raw mut (*event).path);
            if cmd == GROUP_GET_DEVICE_FD {
                let name = (&raw mut (*event).name).cast();
                if bpf_probe_read_user_str(name, NAME_LEN as u32, arg as *const _) < 0 {
                    probe.read_failed();
                }
            }
        }
        reader.finish();
    });
}

/// A call on the `struct vfio_device_file` at `file` begins.
#[inline(always)]
pub(super) fn device_file_enter(probe: Probe, kind: Kind, file: u64, cmd: u32) {
    probe.send(kind, |event: *mut VfioCall| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            begin(event, file, cmd);
            *(&raw mut (*event).path).cast::<[u64; NAME_LEN / 8]>() = [0; NAME_LEN / 8];
        }
    });
}

/// Writes what every beginning call has, and clears the name.
///
/// # Safety
///
/// `event` points to a whole entry of the ring.
#[inline(always)]
unsafe fn begin(event: *mut VfioCall, file: u64, cmd: u32) {
    // SAFETY: as the caller promises; the name is aligned to eight bytes.
    unsafe {
        (*event).file = file;
        (*event).ret = 0;
        (*event).cmd = cmd;
        (*event).pad = 0;
        *(&raw mut (*event).name).cast::<[u64; NAME_LEN / 8]>() = [0; NAME_LEN / 8];
    }
}

#[inline(always)]
pub(super) fn exit(probe: Probe, kind: Kind, ret: i64) {
    probe.send(kind, |event: *mut VfioCall| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            begin(event, 0, 0);
            (*event).ret = ret;
            *(&raw mut (*event).path).cast::<[u64; NAME_LEN / 8]>() = [0; NAME_LEN / 8];
        }
    });
}

/// A function begins or returns of which at most the group is known; `group` is 0 where no argument
/// names it.
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
