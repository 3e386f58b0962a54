//! Events from the bytes that the programs sent.

use ivrs_trace_common as wire;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{
    Body, Change, Device, DeviceFunction, Event, Phase, RegionSource, RegionType, VfioFunction,
    VfioRequest,
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

#[expect(clippy::too_many_lines, reason = "one arm a kind, and nothing else")]
fn body(header: wire::Header, bytes: &[u8]) -> Result<Body, DecodeError> {
    Ok(match header.kind {
        wire::Kind::REGION => {
            let event: wire::Region = whole(header, bytes)?;
            Body::Region {
                device: Device::from_wire(&event.device),
                source: source(header.probe),
                index: event.index,
                start: event.start,
                length: event.length,
                prot: event.prot,
                region_type: RegionType(event.kind.0),
            }
        }
        wire::Kind::REGIONS_END => {
            let event: wire::RegionsEnd = whole(header, bytes)?;
            Body::RegionsEnd {
                device: Device::from_wire(&event.device),
                source: source(header.probe),
                count: event.count,
                require_direct: has(event.flags, wire::REGIONS_FLAG_KNOWN)
                    .then_some(has(event.flags, wire::REGIONS_REQUIRE_DIRECT)),
                incomplete: has(event.flags, wire::WALK_CUT) || has(event.flags, wire::WALK_BROKEN),
            }
        }
        wire::Kind::GROUP_CLAIM_ENTER | wire::Kind::DEVICE_CLAIM_ENTER => {
            claim(&whole(header, bytes)?, false)
        }
        wire::Kind::GROUP_CLAIM_EXIT | wire::Kind::DEVICE_CLAIM_EXIT => {
            claim(&whole(header, bytes)?, true)
        }
        wire::Kind::UNITY_MATCH => {
            let event: wire::UnityMatch = whole(header, bytes)?;
            Body::UnityMatch {
                device: Device::from_wire(&event.device),
                ordinal: event.ordinal,
                segment: event.segment,
                devid_start: event.devid_start,
                devid_end: event.devid_end,
                start: event.start,
                end: event.end,
                prot: event.prot,
            }
        }
        wire::Kind::SET_DOMAIN => set_domain(&whole(header, bytes)?),
        wire::Kind::GROUP_OPEN_ENTER
        | wire::Kind::GROUP_IOCTL_ENTER
        | wire::Kind::CONTAINER_IOCTL_ENTER
        | wire::Kind::BIND_IOMMUFD_ENTER
        | wire::Kind::ATTACH_IOMMUFD_ENTER => vfio_call(&whole(header, bytes)?, false),
        wire::Kind::GROUP_OPEN_EXIT
        | wire::Kind::GROUP_IOCTL_EXIT
        | wire::Kind::CONTAINER_IOCTL_EXIT
        | wire::Kind::BIND_IOMMUFD_EXIT
        | wire::Kind::ATTACH_IOMMUFD_EXIT => vfio_call(&whole(header, bytes)?, true),
        wire::Kind::CONTAINER_ATTACH_ENTER => {
            let _: wire::Attach = whole(header, bytes)?;
            Body::ContainerAttach { phase: Phase::Enter }
        }
        wire::Kind::CONTAINER_ATTACH_EXIT => {
            let event: wire::Attach = whole(header, bytes)?;
            Body::ContainerAttach { phase: Phase::Exit { ret: event.ret.into() } }
        }
        wire::Kind::TYPE1_ATTACH_ENTER => {
            let event: wire::Attach = whole(header, bytes)?;
            Body::Type1Attach { phase: Phase::Enter, group: u32::try_from(event.group).ok() }
        }
        wire::Kind::TYPE1_ATTACH_EXIT => {
            let event: wire::Attach = whole(header, bytes)?;
            Body::Type1Attach { phase: Phase::Exit { ret: event.ret.into() }, group: None }
        }
        wire::Kind::ARGS => args(&whole(header, bytes)?),
        wire::Kind::MODULE_LOAD => {
            let event: wire::ModuleLoad = whole(header, bytes)?;
            Body::ModuleLoad { name: printable_bytes(&event.name) }
        }
        wire::Kind::DEVICE_BIND_ENTER => device_call(&whole(header, bytes)?, false),
        wire::Kind::DEVICE_BIND_EXIT
        | wire::Kind::DIRECT_MAPPINGS
        | wire::Kind::DRIVER_PROBE
        | wire::Kind::DRIVER_BIND
        | wire::Kind::DRIVER_UNBIND => device_call(&whole(header, bytes)?, true),
        wire::Kind::DEVICE_ATTACH_ENTER => {
            let _: wire::Attach = whole(header, bytes)?;
            Body::IommufdAttach { phase: Phase::Enter }
        }
        wire::Kind::DEVICE_OPEN => {
            let event: wire::Attach = whole(header, bytes)?;
            Body::DeviceOpen { ret: event.ret.into() }
        }
        wire::Kind::DEVICE_ATTACH_EXIT => {
            let event: wire::Attach = whole(header, bytes)?;
            Body::IommufdAttach { phase: Phase::Exit { ret: event.ret.into() } }
        }
        wire::Kind::OWNER_CLAIMED => {
            let event: wire::Claim = whole(header, bytes)?;
            Body::OwnerClaimed {
                claimed: event.ret != 0,
                group: u32::try_from(event.device.group).ok(),
                group_owner: event.group_owner,
                owner_count: event.owner_count,
                foreign_domain: has(event.flags, wire::CLAIM_FOREIGN_DOMAIN),
            }
        }
        wire::Kind::ISOLATED_MSI => {
            let event: wire::Attach = whole(header, bytes)?;
            Body::IsolatedMsi { isolated: event.ret != 0, group: u32::try_from(event.group).ok() }
        }
        wire::Kind::MEMBER => {
            let event: wire::Member = whole(header, bytes)?;
            Body::Member {
                device: Device::from_wire(&event.device),
                driver: printable_bytes(&event.driver),
                manages_dma: has(event.flags, wire::MEMBER_MANAGES_DMA),
                index: event.index,
                incomplete: has(event.flags, wire::WALK_CUT) || has(event.flags, wire::WALK_BROKEN),
            }
        }
        wire::Kind::MESSAGE => message(&whole(header, bytes)?),
        wire::Kind::WARNING => {
            let event: wire::Warning = whole(header, bytes)?;
            Body::Warning {
                device: Device::from_wire(&event.device),
                driver: printable_bytes(&event.driver),
                unity_entries: has(event.flags, wire::SET_UNITY_WALKED).then_some(event.entries),
                unity_matches: event.matches,
                incomplete: has(event.flags, wire::SET_UNITY_CUT)
                    || has(event.flags, wire::SET_UNITY_BROKEN),
            }
        }
        wire::Kind::GROUP_ADD => group_change(&whole(header, bytes)?, Change::Added),
        wire::Kind::GROUP_REMOVE => group_change(&whole(header, bytes)?, Change::Removed),
        wire::Kind::UNITY_ENTRY => {
            let event: wire::UnityMatch = whole(header, bytes)?;
            Body::UnityEntry {
                ordinal: event.ordinal,
                segment: event.segment,
                devid_start: event.devid_start,
                devid_end: event.devid_end,
                start: event.start,
                end: event.end,
                prot: event.prot,
            }
        }
        wire::Kind::UNITY_END => {
            let event: wire::UnityEnd = whole(header, bytes)?;
            Body::UnityEnd {
                segment: event.segment,
                last_devid: event.last_devid,
                count: event.count,
                incomplete: has(event.flags, wire::WALK_CUT) || has(event.flags, wire::WALK_BROKEN),
            }
        }
        wire::Kind(code) => Body::Unknown { code, length: bytes.len() },
    })
}

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

fn has(flags: u32, bit: u32) -> bool {
    flags & bit != 0
}

fn source(probe: wire::ProbeId) -> RegionSource {
    if probe == wire::ProbeId::AMD_RESV_REGIONS { RegionSource::Amd } else { RegionSource::Core }
}

fn claim(event: &wire::Claim, exit: bool) -> Body {
    let device = Device::from_wire(&event.device);
    Body::Claim {
        phase: if exit { Phase::Exit { ret: event.ret.into() } } else { Phase::Enter },
        group: device.group,
        device: (event.device.ptr != 0).then_some(device),
        owner: event.owner,
        group_owner: event.group_owner,
        owner_count: event.owner_count,
        foreign_domain: has(event.flags, wire::CLAIM_FOREIGN_DOMAIN),
    }
}

fn vfio_call(event: &wire::VfioCall, exit: bool) -> Body {
    let function = match event.header.kind {
        wire::Kind::GROUP_OPEN_ENTER | wire::Kind::GROUP_OPEN_EXIT => VfioFunction::GroupOpen,
        wire::Kind::CONTAINER_IOCTL_ENTER | wire::Kind::CONTAINER_IOCTL_EXIT => {
            VfioFunction::ContainerIoctl
        }
        wire::Kind::BIND_IOMMUFD_ENTER | wire::Kind::BIND_IOMMUFD_EXIT => VfioFunction::BindIommufd,
        wire::Kind::ATTACH_IOMMUFD_ENTER | wire::Kind::ATTACH_IOMMUFD_EXIT => {
            VfioFunction::AttachIommufd
        }
        _ => VfioFunction::GroupIoctl,
    };
    if exit {
        return Body::VfioCall {
            phase: Phase::Exit { ret: event.ret },
            function,
            request: None,
            path: None,
            file: 0,
            device_name: None,
        };
    }
    let some = |bytes: &[u8]| Some(printable_bytes(bytes)).filter(|text| !text.is_empty());
    Body::VfioCall {
        phase: Phase::Enter,
        function,
        request: (function != VfioFunction::GroupOpen).then_some(VfioRequest(event.cmd)),
        path: some(&event.path),
        file: event.file,
        device_name: some(&event.name),
    }
}

fn device_call(event: &wire::DeviceCall, exit: bool) -> Body {
    Body::DeviceCall {
        phase: if exit { Phase::Exit { ret: event.ret.into() } } else { Phase::Enter },
        function: match event.header.kind {
            wire::Kind::DIRECT_MAPPINGS => DeviceFunction::DirectMappings,
            wire::Kind::DRIVER_PROBE => DeviceFunction::VfioPciProbe,
            wire::Kind::DRIVER_BIND => DeviceFunction::PciProbe,
            wire::Kind::DRIVER_UNBIND => DeviceFunction::PciRemove,
            _ => DeviceFunction::IommufdBind,
        },
        device: (event.device.ptr != 0).then(|| Device::from_wire(&event.device)),
        driver: printable_bytes(&event.driver),
        require_direct: has(event.flags, wire::DEVICE_FLAG_KNOWN)
            .then_some(has(event.flags, wire::DEVICE_REQUIRE_DIRECT)),
    }
}

fn group_change(event: &wire::DeviceCall, change: Change) -> Body {
    Body::GroupChange { change, device: Device::from_wire(&event.device) }
}

fn message(event: &wire::Message) -> Body {
    let line = event.text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Body::KernelMessage {
        text: printable_bytes(line),
        cut: usize::try_from(event.length).is_ok_and(|length| length > event.text.len()),
    }
}

fn set_domain(event: &wire::SetDomain) -> Body {
    Body::SetDomain {
        device: Device::from_wire(&event.device),
        driver: printable_bytes(&event.driver),
        domain_type: event.domain_type,
        require_direct: has(event.flags, wire::SET_REQUIRE_DIRECT),
        blocking: has(event.flags, wire::SET_BLOCKING),
        ret: event.ret,
        unity_entries: has(event.flags, wire::SET_UNITY_WALKED).then_some(event.entries),
        unity_matches: event.matches,
        incomplete: has(event.flags, wire::SET_UNITY_CUT)
            || has(event.flags, wire::SET_UNITY_BROKEN),
    }
}

fn args(event: &wire::Args) -> Body {
    let left = event.total.saturating_sub(event.offset);
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(event.data.len());
    let bytes = event.data.get(..length).unwrap_or_default().to_vec();
    let text: Vec<u8> = bytes.iter().map(|&b| if b == 0 { b' ' } else { b }).collect();
    Body::Args { offset: event.offset, total: event.total, text: printable_bytes(&text), bytes }
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
