//! Events from the bytes that the programs sent.

use ivrs_trace_common::{self as wire, Moment, ProbeId};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{
    Body, Change, Device, Event, Phase, RegionSource, RegionType, VfioFunction, VfioRequest,
};
use crate::{escape::printable_bytes, pci::Bdf};

/// Why bytes are not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the header of every event.
    #[error("an event of {length} bytes has no header (at least {} bytes)", size_of::<wire::Header>())]
    NoHeader {
        /// Bytes there were.
        length: usize,
    },
    /// The length does not fit the kind.
    #[error("an event of kind {kind} has {length} bytes instead of {expected}")]
    Length {
        /// The kind, a number.
        kind: u16,
        /// Bytes there were.
        length: usize,
        /// Bytes that the kind has.
        expected: usize,
    },
}

impl Event {
    /// Decodes one event. An event of an unknown kind is kept as [`Body::Unknown`].
    ///
    /// # Errors
    ///
    /// If there is no whole header, or the length does not fit the kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, _) = wire::Header::read_from_prefix(bytes)
            .map_err(|_| DecodeError::NoHeader { length: bytes.len() })?;
        Ok(Self {
            time_ns: header.time_ns,
            pid: header.pid,
            tid: header.tid,
            comm: printable_bytes(&header.comm),
            cpu: header.cpu,
            body: body(header, bytes)?,
        })
    }
}

trait Decode {
    /// The body; `None` for a kind that is not of this struct.
    fn body(&self) -> Option<Body>;
}

macro_rules! dispatch {
    ($($(#[$meta:meta])* $kind:ident = $number:literal: $event:ident $($moment:ident $probe:ident)?;)*) => {
        fn body(header: wire::Header, bytes: &[u8]) -> Result<Body, DecodeError> {
            let body = match header.kind {
                $(wire::Kind::$kind => whole::<wire::$event>(header, bytes)?.body(),)*
                _ => None,
            };
            Ok(body.unwrap_or(Body::Unknown { code: header.kind.0, length: bytes.len() }))
        }
    };
}
wire::for_each_kind!(dispatch);

/// The bytes as the struct of their kind; the ring may pad the end to a multiple of eight.
fn whole<T: FromBytes + KnownLayout + Immutable>(
    header: wire::Header,
    bytes: &[u8],
) -> Result<T, DecodeError> {
    T::read_from_bytes(bytes).map_err(|_| DecodeError::Length {
        kind: header.kind.0,
        length: bytes.len(),
        expected: size_of::<T>(),
    })
}

fn has(flags: u32, bits: u32) -> bool {
    flags & bits != 0
}

/// A list that was walked is cut or broken off.
const WALK_INCOMPLETE: u32 = wire::WALK_CUT | wire::WALK_BROKEN;
/// The same of a unity map.
const UNITY_INCOMPLETE: u32 = wire::SET_UNITY_CUT | wire::SET_UNITY_BROKEN;

/// Entry or return, of a kind that is about a function.
fn phase(kind: wire::Kind, ret: impl Into<i64>) -> Phase {
    match kind.place() {
        Some((_, Moment::Enter)) => Phase::Enter,
        _ => Phase::Exit { ret: ret.into() },
    }
}

impl Decode for wire::Region {
    fn body(&self) -> Option<Body> {
        Some(Body::Region {
            device: Device::from_wire(&self.device),
            source: source(self.header.probe),
            index: self.index,
            start: self.start,
            length: self.length,
            prot: self.prot,
            region_type: RegionType(self.kind.0),
        })
    }
}

impl Decode for wire::RegionsEnd {
    fn body(&self) -> Option<Body> {
        Some(Body::RegionsEnd {
            device: Device::from_wire(&self.device),
            source: source(self.header.probe),
            count: self.count,
            require_direct: has(self.flags, wire::REGIONS_FLAG_KNOWN)
                .then_some(has(self.flags, wire::REGIONS_REQUIRE_DIRECT)),
            incomplete: has(self.flags, WALK_INCOMPLETE),
        })
    }
}

fn source(probe: ProbeId) -> RegionSource {
    if probe == ProbeId::AMD_RESV_REGIONS { RegionSource::Amd } else { RegionSource::Core }
}

impl Decode for wire::Claim {
    fn body(&self) -> Option<Body> {
        let Self { owner, group_owner, owner_count, .. } = *self;
        let device = Device::from_wire(&self.device);
        let group = device.group;
        let foreign_domain = has(self.flags, wire::CLAIM_FOREIGN_DOMAIN);
        Some(if self.header.kind == wire::Kind::OWNER_CLAIMED {
            let claimed = self.ret != 0;
            Body::OwnerClaimed { claimed, group, group_owner, owner_count, foreign_domain }
        } else {
            let phase = phase(self.header.kind, self.ret);
            let device = (device.ptr != 0).then_some(device);
            Body::Claim { phase, device, group, owner, group_owner, owner_count, foreign_domain }
        })
    }
}

impl Decode for wire::UnityMatch {
    fn body(&self) -> Option<Body> {
        let Self { ordinal, segment, devid_start, devid_end, start, end, prot, .. } = *self;
        Some(if self.header.kind == wire::Kind::UNITY_ENTRY {
            Body::UnityEntry { ordinal, segment, devid_start, devid_end, start, end, prot }
        } else {
            let device = Device::from_wire(&self.device);
            Body::UnityMatch { device, ordinal, segment, devid_start, devid_end, start, end, prot }
        })
    }
}

impl Decode for wire::UnityEnd {
    fn body(&self) -> Option<Body> {
        let Self { segment, last_devid, count, .. } = *self;
        let incomplete = has(self.flags, WALK_INCOMPLETE);
        Some(Body::UnityEnd { segment, last_devid, count, incomplete })
    }
}

impl Decode for wire::SetDomain {
    fn body(&self) -> Option<Body> {
        Some(Body::SetDomain {
            device: Device::from_wire(&self.device),
            driver: printable_bytes(&self.driver),
            domain_type: self.domain_type,
            require_direct: has(self.flags, wire::SET_REQUIRE_DIRECT),
            blocking: has(self.flags, wire::SET_BLOCKING),
            ret: self.ret,
            unity_entries: has(self.flags, wire::SET_UNITY_WALKED).then_some(self.entries),
            unity_matches: self.matches,
            incomplete: has(self.flags, UNITY_INCOMPLETE),
        })
    }
}

impl Decode for wire::Warning {
    fn body(&self) -> Option<Body> {
        Some(Body::Warning {
            device: Device::from_wire(&self.device),
            driver: printable_bytes(&self.driver),
            unity_entries: has(self.flags, wire::SET_UNITY_WALKED).then_some(self.entries),
            unity_matches: self.matches,
            incomplete: has(self.flags, UNITY_INCOMPLETE),
        })
    }
}

impl Decode for wire::Member {
    fn body(&self) -> Option<Body> {
        Some(Body::Member {
            device: Device::from_wire(&self.device),
            driver: printable_bytes(&self.driver),
            manages_dma: has(self.flags, wire::MEMBER_MANAGES_DMA),
            index: self.index,
            incomplete: has(self.flags, WALK_INCOMPLETE),
        })
    }
}

impl Decode for wire::VfioCall {
    fn body(&self) -> Option<Body> {
        let (probe, _) = self.header.kind.place()?;
        let function = probe.symbol().parse().ok()?;
        let phase = phase(self.header.kind, self.ret);
        // Only an entry has them.
        let enters = phase == Phase::Enter;
        let text =
            |bytes: &[u8]| Some(printable_bytes(bytes)).filter(|text| enters && !text.is_empty());
        Some(Body::VfioCall {
            phase,
            function,
            request: (enters && function != VfioFunction::GroupOpen)
                .then_some(VfioRequest(self.cmd)),
            path: text(&self.path),
            file: if enters { self.file } else { 0 },
            device_name: text(&self.name),
        })
    }
}

impl Decode for wire::Attach {
    fn body(&self) -> Option<Body> {
        let phase = phase(self.header.kind, self.ret);
        let group = u32::try_from(self.group).ok();
        let (probe, _) = self.header.kind.place()?;
        Some(match probe {
            ProbeId::CONTAINER_ATTACH => Body::ContainerAttach { phase },
            ProbeId::TYPE1_ATTACH => {
                Body::Type1Attach { phase, group: group.filter(|_| phase == Phase::Enter) }
            }
            ProbeId::DEVICE_ATTACH => Body::IommufdAttach { phase },
            ProbeId::DEVICE_OPEN => Body::DeviceOpen { ret: self.ret.into() },
            ProbeId::ISOLATED_MSI => Body::IsolatedMsi { isolated: self.ret != 0, group },
            _ => return None,
        })
    }
}

impl Decode for wire::DeviceCall {
    fn body(&self) -> Option<Body> {
        let device = Device::from_wire(&self.device);
        let (probe, _) = self.header.kind.place()?;
        Some(match probe {
            ProbeId::GROUP_ADD => Body::GroupChange { change: Change::Added, device },
            ProbeId::GROUP_REMOVE => Body::GroupChange { change: Change::Removed, device },
            _ => Body::DeviceCall {
                phase: phase(self.header.kind, self.ret),
                function: probe.symbol().parse().ok()?,
                device: (device.ptr != 0).then_some(device),
                driver: printable_bytes(&self.driver),
                require_direct: has(self.flags, wire::DEVICE_FLAG_KNOWN)
                    .then_some(has(self.flags, wire::DEVICE_REQUIRE_DIRECT)),
            },
        })
    }
}

impl Decode for wire::Message {
    fn body(&self) -> Option<Body> {
        let line = self.text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        Some(Body::KernelMessage {
            text: printable_bytes(line),
            cut: usize::try_from(self.length).is_ok_and(|length| length > self.text.len()),
        })
    }
}

impl Decode for wire::Args {
    fn body(&self) -> Option<Body> {
        let Self { offset, total, .. } = *self;
        let left = usize::try_from(total.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = self.data.get(..left.min(self.data.len())).unwrap_or_default().to_vec();
        let text: Vec<u8> = bytes.iter().map(|&b| if b == 0 { b' ' } else { b }).collect();
        Some(Body::Args { offset, total, text: printable_bytes(&text), bytes })
    }
}

impl Decode for wire::ModuleLoad {
    fn body(&self) -> Option<Body> {
        Some(Body::ModuleLoad { name: printable_bytes(&self.name) })
    }
}

impl Device {
    pub(super) fn from_wire(device: &wire::DeviceId) -> Self {
        let name = printable_bytes(&device.name);
        // The name says the same of every PCI function, but for segments that are none
        // (`pci::Segment`) and for structs that could not be read whole.
        let bdf = (device.sbdf != wire::NOT_PCI)
            .then(|| Bdf::from_sbdf(device.sbdf))
            .filter(|bdf| bdf.to_string() == name);
        Self { ptr: device.ptr, name, bdf, group: u32::try_from(device.group).ok() }
    }
}
