//! Reading kernel structs. Every offset is a global that user space resolved from the running
//! kernel's BTF; a member that the kernel does not have counts as a read that failed.

use core::ptr;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str},
};
use ivrs_trace_common::{
    DeviceId, MESSAGE_LEN, NAME_LEN, NO_GROUP, NOT_PCI, for_each_offset, offsets::ABSENT,
};
use zerocopy::FromZeros;

use super::{diagnose::diagnose, emit::Probe};

macro_rules! declare {
    ($($name:ident, $container:literal, $member:literal;)*) => {
        $(
            #[doc = concat!("Offset of `", $container, ".", $member, "`.")]
            #[unsafe(no_mangle)]
            pub(super) static $name: Global<u32> = Global::new(ABSENT);
        )*
    };
}
for_each_offset!(declare);

/// Which bit of the word at [`REQUIRE_DIRECT`] the flag is.
#[unsafe(no_mangle)]
static REQUIRE_DIRECT_BIT: Global<u32> = Global::new(ABSENT);

/// Reads members and remembers whether any read failed.
///
/// A failed read gives zero and is noted without a branch: the verifier follows both sides of every
/// branch, and a dozen of them in a row is thousands of paths.
pub(super) struct Reader {
    probe: Probe,
    failed: i64,
}

impl Reader {
    #[inline(always)]
    pub(super) fn new(probe: Probe) -> Self {
        Self { probe, failed: 0 }
    }

    /// The value at `address`; zero if it cannot be read.
    #[inline(always)]
    pub(super) fn at<T: FromZeros>(&mut self, address: u64) -> T {
        let mut value = T::new_zeroed();
        // SAFETY: the helper checks the address, writes at most the size given, and clears the
        // value where it fails.
        self.failed |= unsafe {
            bpf_probe_read_kernel(
                (&raw mut value).cast(),
                const { size_of::<T>() as u32 },
                address as *const _,
            )
        };
        value
    }

    /// The member at `offset` of the struct at `base`; zero if it cannot be read.
    #[inline(always)]
    pub(super) fn member<T: FromZeros>(&mut self, base: u64, offset: &Global<u32>) -> T {
        let address = self.address(base, offset);
        self.at(address)
    }

    #[inline(always)]
    pub(super) fn address(&mut self, base: u64, offset: &Global<u32>) -> u64 {
        base.wrapping_add(self.offset(offset))
    }

    /// The struct whose member at `offset` is at `address`.
    #[inline(always)]
    pub(super) fn container(&mut self, address: u64, offset: &Global<u32>) -> u64 {
        address.wrapping_sub(self.offset(offset))
    }

    #[inline(always)]
    fn offset(&mut self, offset: &Global<u32>) -> u64 {
        let offset = offset.load();
        // The globals are frozen before the program is loaded: the verifier sees a constant here
        // and follows one side.
        if offset == ABSENT {
            self.failed = -1;
        }
        u64::from(offset)
    }

    #[inline(always)]
    pub(super) fn intact(&self) -> bool {
        self.failed == 0
    }

    #[inline(always)]
    pub(super) fn finish(self) {
        if self.failed != 0 {
            diagnose!("probe {}: a read failed, {}", self.probe.id(), self.failed);
            self.probe.read_failed();
        }
    }

    /// Clears `out` and copies the string at `from` into it, cut to fit and terminated. An address
    /// of zero gives an empty name.
    #[inline(always)]
    fn name(&mut self, from: u64, out: *mut [u8; NAME_LEN]) {
        // SAFETY: every name in an event is aligned to eight bytes, as its layout asserts; the
        // helper checks `from` and writes at most the size given.
        unsafe {
            *out.cast::<[u64; NAME_LEN / 8]>() = [0; NAME_LEN / 8];
            if from != 0 {
                let length =
                    bpf_probe_read_kernel_str(out.cast(), NAME_LEN as u32, from as *const _);
                // Negative on failure only.
                self.failed |= length >> 63;
            }
        }
    }

    /// Clears `out` and copies the text at `from` into it, cut to fit and terminated.
    #[inline(always)]
    pub(super) fn text(&mut self, from: u64, out: *mut [u8; MESSAGE_LEN]) {
        // SAFETY: the text in an event is aligned to eight bytes, as its layout asserts; the helper
        // checks `from` and writes at most the size given.
        unsafe {
            *out.cast::<[u64; MESSAGE_LEN / 8]>() = [0; MESSAGE_LEN / 8];
            let length =
                bpf_probe_read_kernel_str(out.cast(), MESSAGE_LEN as u32, from as *const _);
            self.failed |= length >> 63;
        }
    }

    #[inline(always)]
    pub(super) fn file_name(&mut self, file: u64, out: *mut [u8; NAME_LEN]) {
        let dentry: u64 = self.member(file, &FILE_DENTRY);
        let from = self.member(dentry, &DENTRY_NAME);
        self.name(from, out);
    }

    /// Whether the driver of a PCI function manages DMA itself (`struct pci_driver`): 1 or 0. A
    /// device without a driver, or on another bus, has none that does.
    #[inline(always)]
    pub(super) fn manages_dma(&mut self, dev: u64) -> u32 {
        let driver: u64 = self.member(dev, &DEVICE_DRIVER);
        if driver == 0 || !self.is_pci(dev) {
            return 0;
        }
        let pci = self.container(driver, &PCI_DRIVER_DRIVER);
        let managed: u8 = self.member(pci, &PCI_DRIVER_MANAGES_DMA);
        u32::from(managed & 1)
    }

    #[inline(always)]
    pub(super) fn module_name(&mut self, module: u64, out: *mut [u8; NAME_LEN]) {
        let from = self.address(module, &MODULE_NAME);
        self.name(from, out);
    }

    /// Name of the driver that holds a device; empty if none does.
    #[inline(always)]
    pub(super) fn driver_name(&mut self, dev: u64, out: *mut [u8; NAME_LEN]) {
        let driver: u64 = self.member(dev, &DEVICE_DRIVER);
        let mut from = 0;
        if driver != 0 {
            from = self.member(driver, &DRIVER_NAME);
        }
        self.name(from, out);
    }

    /// What identifies a `struct device`.
    #[inline(always)]
    pub(super) fn device(&mut self, dev: u64, out: &mut DeviceId) {
        out.ptr = dev;
        let name = self.member(dev, &DEVICE_NAME);
        self.name(name, &raw mut out.name);
        let group = self.member(dev, &DEVICE_IOMMU_GROUP);
        out.group = self.group_id(group);
        out.sbdf = if self.is_pci(dev) { self.sbdf(dev) } else { NOT_PCI };
    }

    /// Id of an IOMMU group; [`NO_GROUP`] for an address of zero.
    #[inline(always)]
    pub(super) fn group_id(&mut self, group: u64) -> i32 {
        if group == 0 { NO_GROUP } else { self.member(group, &GROUP_ID) }
    }

    /// Whether the device is on the bus that is called "pci". A device without a bus is not.
    #[inline(always)]
    fn is_pci(&mut self, dev: u64) -> bool {
        let bus: u64 = self.member(dev, &DEVICE_BUS);
        if bus == 0 {
            return false;
        }
        let name: u64 = self.member(bus, &BUS_NAME);
        self.at::<u32>(name) == u32::from_ne_bytes(*b"pci\0")
    }

    /// Segment and devid of a PCI function, from its own bus and devfn: what the AMD driver
    /// compares with the unity map (`get_device_sbdf_id`, drivers/iommu/amd/iommu.c).
    #[inline(always)]
    fn sbdf(&mut self, dev: u64) -> u32 {
        let pci = self.container(dev, &PCI_DEV_DEVICE);
        let bus: u64 = self.member(pci, &PCI_DEV_BUS);
        let devfn: u32 = self.member(pci, &PCI_DEV_DEVFN);
        let number: u8 = self.member(bus, &PCI_BUS_NUMBER);
        let sysdata: u64 = self.member(bus, &PCI_BUS_SYSDATA);
        let segment: u32 = self.member(sysdata, &PCI_SYSDATA_DOMAIN);
        segment << 16 | u32::from(number) << 8 | (devfn & 0xff)
    }

    /// `dev->iommu->require_direct`: 1 or 0, or 0 where the kernel has no such flag.
    #[inline(always)]
    pub(super) fn require_direct(&mut self, dev: u64) -> u32 {
        if !knows_require_direct() {
            return 0;
        }
        let iommu: u64 = self.member(dev, &DEVICE_IOMMU);
        if iommu == 0 {
            return 0;
        }
        let word: u32 = self.member(iommu, &REQUIRE_DIRECT);
        word >> (REQUIRE_DIRECT_BIT.load() & 31) & 1
    }

    /// The `struct amd_iommu_pci_seg` of a device that is behind an AMD IOMMU; else zero.
    ///
    /// `dev->iommu->iommu_dev` is the `iommu` member of the `struct amd_iommu` (it is what
    /// `amd_iommu_probe_device` returned, all versions). Another vendor's would be another struct,
    /// so the name of the unit's device is looked at first: AMD's are called "ivhdN".
    #[inline(always)]
    pub(super) fn amd_segment(&mut self, dev: u64) -> u64 {
        let iommu: u64 = self.member(dev, &DEVICE_IOMMU);
        let unit: u64 = self.member(iommu, &DEV_IOMMU_DEVICE);
        let unit_dev: u64 = self.member(unit, &IOMMU_DEVICE_DEV);
        let name: u64 = self.member(unit_dev, &DEVICE_NAME);
        if self.at::<u32>(name) != u32::from_ne_bytes(*b"ivhd") {
            return 0;
        }
        let amd = self.container(unit, &AMD_IOMMU_DEVICE);
        self.member(amd, &AMD_IOMMU_SEGMENT)
    }
}

#[inline(always)]
pub(super) fn knows_require_direct() -> bool {
    REQUIRE_DIRECT_BIT.load() != ABSENT
}

/// Copies a device into an event, word by word: it holds a kernel pointer, which the verifier lets a
/// program move only whole, so it must not become a call of `memcpy`.
///
/// # Safety
///
/// `to` points to a whole `DeviceId` that may be written.
#[inline(always)]
pub(super) unsafe fn put_device(to: *mut DeviceId, from: &DeviceId) {
    let from = ptr::from_ref(from).cast::<u64>();
    let to = to.cast::<u64>();
    for word in 0..const { size_of::<DeviceId>() / 8 } {
        // SAFETY: both are as long as a device and aligned as it is, to eight bytes.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

/// A [`DeviceId`] to be filled in by [`Reader::device`].
pub(super) const NO_DEVICE: DeviceId =
    DeviceId { ptr: 0, sbdf: NOT_PCI, group: NO_GROUP, name: [0; NAME_LEN] };
