//! The kernel's rules for IVMD blocks, written once more and as plainly as they can be, so that
//! the tool's own reading of them is tested against something else.
//!
//! Source: `init_unity_map_range` and `amd_iommu_get_resv_regions` (drivers/iommu/amd, 6.12).

use ivrs_trace::{
    firmware::amd::{
        builder::IvmdSpec,
        ivrs::{IvmdFlags, IvmdKind},
    },
    pci::{Devid, Segment},
};

/// An IVMD block as the firmware has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// 0x20 all devices, 0x21 one, 0x22 a range.
    pub(crate) kind: u8,
    /// 0x01 unity, 0x02 read, 0x04 write, 0x08 exclusion.
    pub(crate) flags: u8,
    /// The device or the first device.
    pub(crate) devid: u16,
    /// The last device of a range, inclusive.
    pub(crate) aux: u16,
    /// First byte of the memory.
    pub(crate) start: u64,
    /// Length of the memory in bytes.
    pub(crate) length: u64,
}

impl Block {
    /// Whether the kernel makes anything of the block: flags without unity and exclusion are
    /// skipped.
    pub(crate) fn is_heeded(&self) -> bool {
        self.flags & (0x01 | 0x08) != 0
    }

    /// Whether the kernel demands a 1:1 mapping for this device because of this block. All
    /// functions of the guest are below the highest devid that its IVHD names, so type 0x20 has
    /// all of them.
    pub(crate) fn covers(&self, devid: u16) -> bool {
        self.is_heeded()
            && match self.kind {
                0x20 => true,
                0x21 => devid == self.devid,
                0x22 => self.devid <= devid && devid <= self.aux,
                _ => false,
            }
    }

    /// The memory that the kernel takes for it: first and last byte. Both ends move up to a page's
    /// start; nothing is left of a length of 0, so the last byte is before the first.
    pub(crate) fn region(&self) -> (u64, u64) {
        let start = self.start.next_multiple_of(4096);
        (start, start + self.length.next_multiple_of(4096) - 1)
    }

    /// The first 8 bytes of the block and its 16 bytes of memory range, as the table has them.
    pub(crate) fn bytes(&self) -> ([u8; 8], [u8; 16]) {
        let (devid, aux) = (self.devid.to_le_bytes(), self.aux.to_le_bytes());
        let head = [self.kind, self.flags, 32, 0, devid[0], devid[1], aux[0], aux[1]];
        let range = [self.start.to_le_bytes(), self.length.to_le_bytes()].concat();
        (head, range.try_into().unwrap())
    }
}

impl From<&Block> for IvmdSpec {
    fn from(block: &Block) -> Self {
        Self {
            kind: IvmdKind::from_code(block.kind).unwrap(),
            flags: IvmdFlags(block.flags),
            devid: Devid(block.devid),
            aux: block.aux,
            segment: Segment(0),
            start: block.start,
            length: block.length,
        }
    }
}

/// The 16-bit device id of a function in `0000:BB:DD.F` form.
pub(crate) fn devid(bdf: &str) -> u16 {
    let part = |range: std::ops::Range<usize>| u16::from_str_radix(&bdf[range], 16).unwrap();
    part(5..7) << 8 | part(8..10) << 3 | part(11..12)
}

/// Which member of a group stops its claim, and the numbers of the blocks that say so. The kernel
/// tries the members in the order in which it found them, which in this guest is the order of
/// their addresses, and stops at the first one with a 1:1 mapping.
pub(crate) fn blocker<'a>(blocks: &[Block], members: &[&'a str]) -> Option<(&'a str, Vec<usize>)> {
    let mut members = members.to_vec();
    members.sort_unstable();
    members.into_iter().find_map(|member| {
        let causes: Vec<usize> =
            (0..blocks.len()).filter(|index| blocks[*index].covers(devid(member))).collect();
        (!causes.is_empty()).then_some((member, causes))
    })
}
