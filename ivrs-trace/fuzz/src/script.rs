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

const ARGS: &[u8] = b"qemu-system-x86\0-name\0guest=win11,debug-threads=on\0-device\0\
    vfio-pci,host=0000:03:01.0\0-device\0{\"driver\":\"vfio-pci\",\"host\":\"0000:00:07.0\"}\0";

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

trait Made {
    fn made(record: &Record, header: wire::Header) -> Self;
}

macro_rules! dispatch {
    ($($(#[$meta:meta])* $kind:ident = $number:literal: $event:ident $($moment:ident $probe:ident)?;)*) => {
        impl Record {
            fn event(&self, time_ns: u64) -> Vec<u8> {
                let header = self.header(time_ns);
                match header.kind {
                    $(wire::Kind::$kind => wire::$event::made(self, header).as_bytes().to_vec(),)*
                    _ => header.as_bytes().to_vec(),
                }
            }
        }
    };
}
wire::for_each_kind!(dispatch);

macro_rules! made {
    ($($event:ident |$record:ident, $header:ident| { $($field:ident: $value:expr,)* })*) => {
        $(impl Made for wire::$event {
            fn made($record: &Record, $header: wire::Header) -> Self {
                Self { $($field: $value,)* header: $header }
            }
        })*
    };
}

made! {
    Region |record, header| {
        device: record.device(),
        start: record.start(),
        length: record.length(),
        prot: (record.flags >> 3).into(),
        kind: wire::RegionType((record.flags & 7).into()),
        index: record.index.into(),
        pad: 0,
    }
    RegionsEnd |record, header| {
        device: record.device(),
        count: record.count.into(),
        flags: record.flags.into(),
    }
    Claim |record, header| {
        device: {
            let device = record.device();
            let on_device = matches!(header.kind.place(), Some((wire::ProbeId::DEVICE_CLAIM, _)));
            wire::DeviceId { ptr: if on_device { device.ptr } else { 0 }, ..device }
        },
        owner: 0xaaaa,
        group_owner: record.index.into(),
        owner_count: record.count.into(),
        flags: record.flags.into(),
        ret: record.ret.into(),
        pad: 0,
    }
    UnityMatch |record, header| {
        device: record.device(),
        start: record.start(),
        end: record.start() + record.length(),
        ordinal: record.index.into(),
        prot: 3,
        devid_start: if record.flags & 1 == 0 { 0 } else { 0x0039 },
        devid_end: if record.flags & 1 == 0 { 0x0fff } else { 0x0039 },
        segment: (record.flags >> 4).into(),
        pad: 0,
    }
    SetDomain |record, header| {
        device: record.device(),
        driver: name(b"vfio-pci"),
        domain_type: record.value[0].into(),
        flags: record.flags.into(),
        ret: record.ret.into(),
        entries: record.count.into(),
        matches: record.index.into(),
        pad: 0,
    }
    VfioCall |record, header| {
        file: record.index.into(),
        ret: record.ret.into(),
        // GET_STATUS and its neighbours, and those of iommufd.
        cmd: 0x3b64 + u32::from(record.flags & 0x1f),
        pad: 0,
        path: record.path(),
        name: record.device().name,
    }
    DeviceCall |record, header| {
        device: record.device(),
        driver: name(b"vfio-pci"),
        ret: record.ret.into(),
        flags: record.flags.into(),
    }
    Member |record, header| {
        device: record.device(),
        driver: name(if record.flags & 1 == 0 { b"nvme".as_slice() } else { b"" }),
        index: record.index.into(),
        flags: record.flags.into(),
    }
    Message |record, header| { length: record.count.into(), pad: 0, text: name(LOG), }
    Warning |record, header| {
        device: record.device(),
        driver: name(b"vfio-pci"),
        entries: record.count.into(),
        matches: record.index.into(),
        flags: record.flags.into(),
        pad: 0,
    }
    UnityEnd |record, header| {
        count: record.count.into(),
        flags: record.flags.into(),
        segment: (record.flags >> 4).into(),
        last_devid: 0x22ff,
        pad: 0,
    }
    Attach |record, header| { group: record.group.into(), ret: record.ret.into(), }
    Args |record, header| {
        offset: u32::from(record.index) * 8,
        total: u32::from(record.count) * 8,
        data: record.args(),
    }
    ModuleLoad |_record, header| { name: name(b"vfio_pci"), }
}

impl Record {
    fn start(&self) -> u64 {
        u64::from(u32::from_le_bytes(self.value)) << 12
    }

    fn length(&self) -> u64 {
        u64::from(self.count) << 12
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

    fn args(&self) -> [u8; wire::ARGS_CHUNK] {
        let offset = usize::from(self.index) * 8;
        let mut data = name(ARGS.get(offset..).unwrap_or_default());
        if self.value != [0; 4] {
            data.iter_mut().zip(self.value).for_each(|(to, from)| *to = from);
        }
        data
    }
}
