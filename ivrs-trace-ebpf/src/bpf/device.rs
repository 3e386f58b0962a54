//! Functions and tracepoints that are about one device: what iommufd and vfio-pci do with it,
//! and the group that it enters or leaves.

use ivrs_trace_common::{DEVICE_FLAG_KNOWN, DEVICE_REQUIRE_DIRECT, DeviceCall, Kind};

use super::{
    emit::Probe,
    kernel::{self, PCI_DEV_DEVICE, Reader},
};

/// The highest error number that a kernel pointer can stand for (`MAX_ERRNO`,
/// include/linux/err.h).
const MAX_ERRNO: u64 = 4095;

/// A function that works on the `struct device` at `dev` begins or returns.
#[inline(always)]
pub(super) fn call(probe: Probe, kind: Kind, dev: u64, ret: i32) {
    let mut reader = Reader::new(probe);
    let mut device = kernel::NO_DEVICE;
    reader.device(dev, &mut device);
    send(reader, probe, kind, dev, device, ret);
}

/// The same, of the `struct pci_dev` at `pci`.
#[inline(always)]
pub(super) fn pci_call(probe: Probe, kind: Kind, pci: u64, ret: i32) {
    let dev = Reader::new(probe).address(pci, &PCI_DEV_DEVICE);
    call(probe, kind, dev, ret);
}

/// The device at `dev` enters `group` or leaves it, which the device itself need not say.
#[inline(always)]
pub(super) fn group_change(probe: Probe, kind: Kind, dev: u64, group: i32) {
    let mut reader = Reader::new(probe);
    let mut device = kernel::NO_DEVICE;
    reader.device(dev, &mut device);
    device.group = group;
    send(reader, probe, kind, dev, device, 0);
}

/// The error that a returned pointer stands for, negative; 0 for a real one (`IS_ERR`).
#[inline(always)]
pub(super) fn pointer_error(pointer: u64) -> i32 {
    if pointer >= 0_u64.wrapping_sub(MAX_ERRNO) { pointer as i32 } else { 0 }
}

#[inline(always)]
fn send(
    mut reader: Reader,
    probe: Probe,
    kind: Kind,
    dev: u64,
    device: ivrs_trace_common::DeviceId,
    ret: i32,
) {
    let mut flags = 0;
    if kernel::knows_require_direct() {
        flags = DEVICE_FLAG_KNOWN | reader.require_direct(dev) * DEVICE_REQUIRE_DIRECT;
    }
    probe.send(kind, |event: *mut DeviceCall| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            kernel::put_device(&raw mut (*event).device, &device);
            reader.driver_name(dev, &raw mut (*event).driver);
            (*event).ret = ret;
            (*event).flags = flags;
        }
    });
    reader.finish();
}
