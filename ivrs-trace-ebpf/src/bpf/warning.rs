//! What the kernel itself says of a refusal: the warning that it prints about a device, and the line
//! that reaches its log. Both need no struct of the IOMMU core, so they hold where the probe on the
//! refusing function does not.

use ivrs_trace_common::{Kind, MESSAGE_LEN, Message, SET_REQUIRE_DIRECT, Warning};

use super::{
    emit::Probe,
    kernel::{self, Reader},
    unity,
};

/// How the lines begin that are passed on, by words of eight bytes: the refusal of a device, and
/// the two ways in which VFIO says that interrupts are not isolated (`__iommu_device_set_domain` in
/// drivers/iommu/iommu.c, `vfio_iommu_type1_attach_group` in drivers/vfio/vfio_iommu_type1.c,
/// `iommufd_device_bind` in drivers/iommu/iommufd/device.c).
const REFUSAL: [[u8; 8]; 2] = [*b"Firmware", *b" has req"];
const NO_REMAPPING: [[u8; 8]; 2] = [*b"No inter", *b"rupt rem"];
const NOT_SECURE: [[u8; 8]; 2] = [*b"MSI inte", *b"rrupts a"];

/// How far into a line its text may begin: before it stand the driver and the device.
const PREFIX: usize = 96;

/// The kernel warns about the device at `dev` with the format at `format`.
#[inline(always)]
pub(super) fn about_device(probe: Probe, dev: u64, format: u64) {
    let mut reader = Reader::new(probe);
    let begins: [u64; 2] = [reader.at(format), reader.at(format.wrapping_add(8))];
    if begins != words(REFUSAL) {
        return;
    }
    let mut device = kernel::NO_DEVICE;
    reader.device(dev, &mut device);
    let flags = reader.require_direct(dev) * SET_REQUIRE_DIRECT;
    let walk = unity::matches(&mut reader, probe, dev, &device);
    probe.send(Kind::WARNING, |event: *mut Warning| {
        // SAFETY: `event` is a whole entry of the ring.
        unsafe {
            kernel::put_device(&raw mut (*event).device, &device);
            reader.driver_name(dev, &raw mut (*event).driver);
            (*event).entries = walk.entries;
            (*event).matches = walk.matches;
            (*event).flags = flags | walk.flags;
            (*event).pad = 0;
        }
    });
    reader.finish();
}

/// A line of `length` bytes at `text` is logged.
#[inline(always)]
pub(super) fn line(probe: Probe, text: u64, length: u64) {
    probe.send_if(Kind::MESSAGE, |event: *mut Message| {
        let mut reader = Reader::new(probe);
        // SAFETY: `event` is a whole entry of the ring; the text in it is aligned to eight bytes.
        let ours = unsafe {
            (*event).length = length.min(u64::from(u32::MAX)) as u32;
            (*event).pad = 0;
            let out = &raw mut (*event).text;
            reader.text(text, out);
            tells(out.cast())
        };
        if ours {
            reader.finish();
        }
        ours
    });
}

/// Whether one of the texts is in the line.
///
/// # Safety
///
/// `text` points to [`MESSAGE_LEN`] bytes.
#[inline(always)]
unsafe fn tells(text: *const u8) -> bool {
    const { assert!(PREFIX + 16 <= MESSAGE_LEN) };
    let mut at = 0;
    while at < PREFIX {
        // SAFETY: sixteen bytes from here are within the text, as asserted.
        let found = unsafe {
            [
                text.add(at).cast::<u64>().read_unaligned(),
                text.add(at + 8).cast::<u64>().read_unaligned(),
            ]
        };
        if found == words(REFUSAL) || found == words(NO_REMAPPING) || found == words(NOT_SECURE) {
            return true;
        }
        at += 1;
    }
    false
}

#[inline(always)]
const fn words(text: [[u8; 8]; 2]) -> [u64; 2] {
    [u64::from_ne_bytes(text[0]), u64::from_ne_bytes(text[1])]
}
