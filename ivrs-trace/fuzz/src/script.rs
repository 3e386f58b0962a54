//! Scripts of events: short records that stand for whole wire events.
//!
//! An event has up to 560 bytes, most of them zero. Records keep inputs short, and every byte of one
//! matters, so a fuzzer comes to long, almost sensible stories quickly.

use ivrs_trace::pci::Bdf;
use ivrs_trace_common as wire;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::host::FUNCTIONS;

/// What stands for an event. Which fields mean something depends on the kind.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    /// [`wire::Kind`]
    pub kind: u8,
    /// Thread (bits 0 to 3), process (4 to 6) and the core's probe instead of AMD's (7).
    pub thread: u8,
    /// Name of the device (bits 0 to 2: those of the host, one that is not PCI, none), and its
    /// address (the rest).
    pub device: u8,
    /// Group.
    pub group: i8,
    /// Flags, type of region or number of the ioctl.
    pub flags: u8,
    /// Return value.
    pub ret: i8,
    /// Position in a list, or in a command line by eights.
    pub index: u8,
    /// Pages, items of a list, owners, or length of a command line by eights.
    pub count: u8,
    /// Page number, little endian; text of a command line.
    pub value: [u8; 4],
}

/// What command lines hold.
const ARGS: &[u8] = b"qemu-system-x86\0-name\0guest=win11,debug-threads=on\0-device\0\
    vfio-pci,host=0000:03:01.0\0-device\0{\"driver\":\"vfio-pci\",\"host\":\"0000:00:07.0\"}\0";

/// What the kernel logs.
const LOG: &[u8] = b"vfio-pci 0000:00:07.1: Firmware has requested this device have a 1:1 IOMMU \
    mapping, rejecting configuring the device without a 1:1 mapping.\n";

/// The wire events of a script, each as bytes. What is left at the end is no record.
pub fn events(script: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let (records, _) = script.as_chunks::<{ size_of::<Record>() }>();
    (0..).zip(records).filter_map(|(time, bytes)| {
        Record::read_from_bytes(bytes).ok().map(|record| record.event(time))
    })
}

fn name<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut name = [0; N];
    name.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
    name
}

impl Record {
    fn event(&self, time_ns: u64) -> Vec<u8> {
        let Self { group, flags, index, count, .. } = *self;
        let (header, device) = (self.header(time_ns), self.device());
        let (group, ret) = (i32::from(group), i32::from(self.ret));
        let (index, count) = (u32::from(index), u32::from(count));
        let start = u64::from(u32::from_le_bytes(self.value)) << 12;
        let length = u64::from(count) << 12;
        match header.kind {
            wire::Kind::REGION => {
                let kind = wire::RegionType((flags & 7).into());
                let prot = (flags >> 3).into();
                wire::Region { header, device, start, length, prot, kind, index, pad: 0 }
                    .as_bytes()
                    .to_vec()
            }
            wire::Kind::REGIONS_END => {
                wire::RegionsEnd { header, device, count, flags: flags.into() }.as_bytes().to_vec()
            }
            wire::Kind::GROUP_CLAIM_ENTER
            | wire::Kind::GROUP_CLAIM_EXIT
            | wire::Kind::DEVICE_CLAIM_ENTER
            | wire::Kind::DEVICE_CLAIM_EXIT
            | wire::Kind::OWNER_CLAIMED => {
                let on_device = matches!(
                    header.kind,
                    wire::Kind::DEVICE_CLAIM_ENTER | wire::Kind::DEVICE_CLAIM_EXIT
                );
                let ptr = if on_device { device.ptr } else { 0 };
                wire::Claim {
                    header,
                    device: wire::DeviceId { ptr, ..device },
                    owner: 0xaaaa,
                    group_owner: index.into(),
                    owner_count: count,
                    flags: flags.into(),
                    ret,
                    pad: 0,
                }
                .as_bytes()
                .to_vec()
            }
            wire::Kind::UNITY_MATCH | wire::Kind::UNITY_ENTRY => wire::UnityMatch {
                header,
                device,
                start,
                end: start + length,
                ordinal: index,
                prot: 3,
                devid_start: if flags & 1 == 0 { 0 } else { 0x0039 },
                devid_end: if flags & 1 == 0 { 0x0fff } else { 0x0039 },
                segment: (flags >> 4).into(),
                pad: 0,
            }
            .as_bytes()
            .to_vec(),
            wire::Kind::SET_DOMAIN => wire::SetDomain {
                header,
                device,
                driver: name(b"vfio-pci"),
                domain_type: self.value[0].into(),
                flags: flags.into(),
                ret,
                entries: count,
                matches: index,
                pad: 0,
            }
            .as_bytes()
            .to_vec(),
            wire::Kind::GROUP_IOCTL_ENTER
            | wire::Kind::GROUP_IOCTL_EXIT
            | wire::Kind::GROUP_OPEN_ENTER
            | wire::Kind::GROUP_OPEN_EXIT
            | wire::Kind::CONTAINER_IOCTL_ENTER
            | wire::Kind::CONTAINER_IOCTL_EXIT
            | wire::Kind::BIND_IOMMUFD_ENTER
            | wire::Kind::BIND_IOMMUFD_EXIT
            | wire::Kind::ATTACH_IOMMUFD_ENTER
            | wire::Kind::ATTACH_IOMMUFD_EXIT => wire::VfioCall {
                header,
                file: index.into(),
                ret: ret.into(),
                // GET_STATUS and its neighbours, and those of iommufd.
                cmd: 0x3b64 + u32::from(flags & 0x1f),
                pad: 0,
                path: self.path(),
                name: device.name,
            }
            .as_bytes()
            .to_vec(),
            wire::Kind::DEVICE_BIND_ENTER
            | wire::Kind::DEVICE_BIND_EXIT
            | wire::Kind::DIRECT_MAPPINGS
            | wire::Kind::GROUP_ADD
            | wire::Kind::GROUP_REMOVE
            | wire::Kind::DRIVER_PROBE
            | wire::Kind::DRIVER_BIND
            | wire::Kind::DRIVER_UNBIND => {
                let driver = name(b"vfio-pci");
                wire::DeviceCall { header, device, driver, ret, flags: flags.into() }
                    .as_bytes()
                    .to_vec()
            }
            wire::Kind::MEMBER => {
                let driver = name(if flags & 1 == 0 { b"nvme".as_slice() } else { b"" });
                wire::Member { header, device, driver, index, flags: flags.into() }
                    .as_bytes()
                    .to_vec()
            }
            wire::Kind::MESSAGE => {
                let text = name(LOG);
                wire::Message { header, length: count, pad: 0, text }.as_bytes().to_vec()
            }
            wire::Kind::WARNING => wire::Warning {
                header,
                device,
                driver: name(b"vfio-pci"),
                entries: count,
                matches: index,
                flags: flags.into(),
                pad: 0,
            }
            .as_bytes()
            .to_vec(),
            wire::Kind::UNITY_END => wire::UnityEnd {
                header,
                count,
                flags: flags.into(),
                segment: (flags >> 4).into(),
                last_devid: 0x22ff,
                pad: 0,
            }
            .as_bytes()
            .to_vec(),
            wire::Kind::CONTAINER_ATTACH_ENTER
            | wire::Kind::CONTAINER_ATTACH_EXIT
            | wire::Kind::TYPE1_ATTACH_ENTER
            | wire::Kind::TYPE1_ATTACH_EXIT
            | wire::Kind::DEVICE_ATTACH_ENTER
            | wire::Kind::DEVICE_ATTACH_EXIT
            | wire::Kind::DEVICE_OPEN
            | wire::Kind::ISOLATED_MSI => wire::Attach { header, group, ret }.as_bytes().to_vec(),
            wire::Kind::ARGS => self.args(header).as_bytes().to_vec(),
            wire::Kind::MODULE_LOAD => {
                wire::ModuleLoad { header, name: name(b"vfio_pci") }.as_bytes().to_vec()
            }
            _ => header.as_bytes().to_vec(),
        }
    }

    fn header(&self, time_ns: u64) -> wire::Header {
        wire::Header {
            time_ns,
            pid: 100 + u32::from(self.thread >> 4 & 7),
            tid: 100 + u32::from(self.thread & 0xf),
            kind: wire::Kind(self.kind.into()),
            probe: wire::ProbeId((self.thread >> 7).into()),
            cpu: 0,
            comm: name(b"qemu-system-x86"),
        }
    }

    fn device(&self) -> wire::DeviceId {
        let named = match FUNCTIONS.get(usize::from(self.device & 7)) {
            Some((named, ..)) => named,
            None if self.device & 1 == 0 => "MSFT0201:00",
            None => "",
        };
        let sbdf = named.parse().map_or(wire::NOT_PCI, |bdf: Bdf| {
            u32::from(bdf.segment.0) << 16 | u32::from(bdf.devid.0)
        });
        wire::DeviceId {
            ptr: u64::from(self.device) + 1,
            sbdf,
            group: self.group.into(),
            name: name(named.as_bytes()),
        }
    }

    /// Last part of the path of the group's file.
    fn path(&self) -> [u8; wire::NAME_LEN] {
        let digit = b'0'.wrapping_add(self.group.unsigned_abs() % 10);
        if self.group < 0 { name(b"noiommu-0") } else { name(&[digit]) }
    }

    fn args(&self, header: wire::Header) -> wire::Args {
        let offset = usize::from(self.index) * 8;
        let mut data = name(ARGS.get(offset..).unwrap_or_default());
        if self.value != [0; 4] {
            data.iter_mut().zip(self.value).for_each(|(to, from)| *to = from);
        }
        let (offset, total) = (u32::from(self.index) * 8, u32::from(self.count) * 8);
        wire::Args { header, offset, total, data }
    }
}
