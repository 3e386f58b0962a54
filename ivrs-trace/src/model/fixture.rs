//! Hosts and scripts of events for the tests of model and report.

use ivrs_trace_common::RegionType as WireRegionType;

use super::{Model, RequireDirect};
use crate::{
    event::{
        Body, Change, Device, DeviceFunction, Event, Phase, RegionSource, RegionType, VfioFunction,
        VfioRequest,
    },
    firmware::{
        amd::{
            builder::{IvhdSpec, IvmdSpec, IvrsBuilder},
            device_entry::DeviceEntry,
            ivrs::Ivrs,
            kernel::{KernelView, UnityEntry},
        },
        intel::builder::DmarBuilder,
    },
    host::{
        Dmi, Group, HexBytes, Member, PciFunction, Reading, RegionKind, ReservedRegion, Snapshot,
    },
    pci::{Bdf, Devid},
};

/// A unity map for 00:07.1 alone.
pub(crate) const SINGLE: &str =
    "type=0x21,flags=0x07,devid=0x0039,aux=0,start=0x7a2d9000,length=0x1000";
/// What AM5 boards have: three exclusion ranges for buses 00 to 0f.
pub(crate) const AM5: [&str; 3] = [
    "type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0x7a2d9000,length=0x1000",
    "type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0x7a2d8000,length=0x1000",
    "type=0x22,flags=0x08,devid=0,aux=0x0fff,start=0x7b2f6000,length=0x40000",
];
/// Groups as in the VM lab: one device, one with two functions, one behind a bridge, one on a bus
/// above 0f.
pub(crate) const GROUPS: &str = "1: 00:03.0; 5: 00:07.0 00:07.1; 11: 02:00.0* 03:01.0; 14: 21:00.0";

pub(crate) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// A table of one IOMMU for the buses up to 22.
pub(crate) fn table(ivmds: &[&str]) -> IvrsBuilder {
    let range = DeviceEntry::Range { first: Devid(0), last: Devid(0x22ff), settings: 0 };
    let base = IvrsBuilder::new().ivhd(IvhdSpec { entries: vec![range], ..IvhdSpec::default() });
    ivmds.iter().fold(base, |table, text| table.ivmd(text.parse::<IvmdSpec>().unwrap()))
}

/// A host with AMD's IOMMU whose kernel follows the table. Groups as in [`GROUPS`]: `*` marks a
/// bridge, what is no PCI address is another device.
pub(crate) fn host(groups: &str, table: &IvrsBuilder) -> Snapshot {
    let bytes = table.build().unwrap();
    let ivrs = Ivrs::parse(&bytes).unwrap();
    let view = KernelView::new(&ivrs);
    let absent = || Reading::Absent;
    let mut functions = Vec::new();
    let groups: Vec<Group> = groups
        .split(';')
        .filter(|group| !group.trim().is_empty())
        .map(|group| {
            let (id, members) = group.split_once(':').unwrap();
            let id = id.trim().parse().unwrap();
            let members: Vec<Member> = members
                .split_whitespace()
                .map(|name| match name.trim_end_matches('*').parse() {
                    Ok(bdf) => {
                        functions.push(function(bdf, id, name.ends_with('*')));
                        Member::Pci(bdf)
                    }
                    Err(_) => Member::Other(name.to_owned()),
                })
                .collect();
            Group {
                id,
                domain_type: Reading::Read("DMA-FQ".to_owned()),
                regions: Reading::Read(merged(&view, &members)),
                members: Reading::Read(members),
                ..Group::default()
            }
        })
        .collect();
    functions.sort_by_key(|function| function.bdf);
    let used = ivrs.ivhd.iter().filter(|ivhd| view.uses(ivhd)).count();
    let units = (0..used.max(1)).map(|index| format!("ivhd{index}")).collect();
    Snapshot {
        kernel_release: Reading::Read("6.12.1".to_owned()),
        command_line: absent(),
        has_btf: true,
        ivrs: Reading::Read(HexBytes(bytes)),
        dmi: Dmi {
            sys_vendor: absent(),
            product_name: absent(),
            board_vendor: absent(),
            board_name: absent(),
            bios_version: absent(),
            bios_date: absent(),
        },
        groups: Reading::Read(groups),
        functions: Reading::Read(functions),
        iommus: Reading::Read(units),
        ..Snapshot::default()
    }
}

/// The same with Intel's IOMMU, whose DMAR asks for nothing or for what the regions are set to later.
/// `tree` has `PARENT>CHILD` for each function below a bridge.
pub(crate) fn intel_host(groups: &str, tree: &str, dmar: &DmarBuilder) -> Snapshot {
    let mut host = host(groups, &table(&[]));
    host.ivrs = Reading::Absent;
    host.dmar = Reading::Read(HexBytes(dmar.build().unwrap()));
    host.iommus = Reading::Read(vec!["dmar0".to_owned()]);
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for function in &mut *functions {
        function.iommu = Reading::Read("dmar0".to_owned());
        function.parent = Reading::Absent;
    }
    for (parent, child) in tree.split_whitespace().map(|pair| pair.split_once('>').unwrap()) {
        let (parent, child) = (bdf(parent), bdf(child));
        for function in &mut *functions {
            if function.bdf == child {
                function.parent = Reading::Read(parent);
            }
            if function.bdf == parent {
                function.secondary_bus = Reading::Read(child.devid.bus());
            }
        }
    }
    host
}

/// What a group's `reserved_regions` shows.
pub(crate) fn set_regions(host: &mut Snapshot, group: u32, lines: &[&str]) {
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    let group = groups.iter_mut().find(|one| one.id == group).unwrap();
    group.regions = Reading::Read(lines.iter().map(|line| line.parse().unwrap()).collect());
}

/// A function's class.
pub(crate) fn set_class(host: &mut Snapshot, name: &str, class: u32) {
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    let function = functions.iter_mut().find(|one| one.bdf == bdf(name)).unwrap();
    function.class = Reading::Read(class);
}

/// Adds a function that is in no group.
pub(crate) fn add_ungrouped(host: &mut Snapshot, name: &str, class: u32) {
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    let (class, absent) = (Reading::Read(class), Reading::Absent);
    let one = function(bdf(name), 0, false);
    let (group, parent) = (Reading::Absent, Reading::Absent);
    functions.push(PciFunction { class, group, iommu: absent, parent, ..one });
    functions.sort_by_key(|function| function.bdf);
}

fn function(bdf: Bdf, group: u32, bridge: bool) -> PciFunction {
    PciFunction {
        bdf,
        vendor: Reading::Read(0x8086),
        device: Reading::Read(0x10d3),
        class: Reading::Read(if bridge { 0x06_0400 } else { 0x02_0000 }),
        driver: if bridge { Reading::Absent } else { Reading::Read("vfio-pci".to_owned()) },
        group: Reading::Read(group),
        iommu: Reading::Read("ivhd0".to_owned()),
        ..PciFunction::default()
    }
}

/// The direct regions of a group as sysfs shows them: overlapping ones of all members made one,
/// in order of addresses (`iommu_insert_resv_region`, drivers/iommu/iommu.c).
fn merged(view: &KernelView, members: &[Member]) -> Vec<ReservedRegion> {
    let mut direct: Vec<(u64, u64)> = members
        .iter()
        .filter_map(|member| match member {
            Member::Pci(bdf) => Some(*bdf),
            Member::Other(_) => None,
        })
        .flat_map(|bdf| view.regions_of(bdf).map(|entry| (entry.start, entry.end_inclusive())))
        .collect();
    direct.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (start, end) in direct {
        match merged.last_mut() {
            Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    let region = |kind| move |(start, end_inclusive)| ReservedRegion { start, end_inclusive, kind };
    let mut regions: Vec<ReservedRegion> = Vec::new();
    regions.extend(merged.into_iter().map(|range| region(RegionKind::Direct)(range)));
    regions.push(region(RegionKind::Msi)((0xfee0_0000, 0xfeef_ffff)));
    regions
}

/// A thread that makes events.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) comm: &'static str,
}

pub(crate) const QEMU: Thread = Thread { pid: 100, tid: 100, comm: "qemu-system-x86" };

/// What is known of a group when a claim returns.
#[derive(Clone, Copy, Default)]
pub(crate) struct Owned {
    pub(crate) count: u32,
    pub(crate) owner: u64,
    pub(crate) foreign_domain: bool,
}

/// A device as events name it.
pub(crate) fn device(name: &str, group: u32) -> Device {
    let bdf: Option<Bdf> = name.parse().ok();
    let name = bdf.map_or_else(|| name.to_owned(), |bdf| bdf.to_string());
    let ptr = name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    Device { ptr, name, bdf, group: Some(group) }
}

impl Thread {
    pub(crate) fn event(&self, body: Body) -> Event {
        let (pid, tid, comm) = (self.pid, self.tid, self.comm.to_owned());
        Event { time_ns: 14_441_272_661, pid, tid, comm, cpu: 0, body }
    }

    pub(crate) fn ioctl(&self, request: VfioRequest) -> Event {
        self.call(VfioFunction::GroupIoctl, None, Some(request), None)
    }

    pub(crate) fn ioctl_exit(&self, ret: i64) -> Event {
        self.call_exit(VfioFunction::GroupIoctl, ret)
    }

    /// A call on a VFIO file begins; `path` is the last part of the file's path.
    pub(crate) fn call(
        &self,
        function: VfioFunction,
        path: Option<&str>,
        request: Option<VfioRequest>,
        device_name: Option<&str>,
    ) -> Event {
        self.event(Body::VfioCall {
            phase: Phase::Enter,
            function,
            request,
            path: path.map(str::to_owned),
            file: 0xf11e_0000 + u64::from(self.tid),
            device_name: device_name.map(str::to_owned),
        })
    }

    /// A call on a VFIO file returns.
    pub(crate) fn call_exit(&self, function: VfioFunction, ret: i64) -> Event {
        self.event(Body::VfioCall {
            phase: Phase::Exit { ret },
            function,
            request: None,
            path: None,
            file: 0,
            device_name: None,
        })
    }

    /// `open` of `/dev/vfio/PATH`, whole.
    pub(crate) fn open(&self, path: &str, ret: i64) -> Vec<Event> {
        let function = VfioFunction::GroupOpen;
        vec![self.call(function, Some(path), None, None), self.call_exit(function, ret)]
    }

    /// An ioctl on a group, and what is done in it.
    pub(crate) fn group_ioctl(
        &self,
        path: &str,
        request: VfioRequest,
        device_name: Option<&str>,
        inner: &[Event],
        ret: i64,
    ) -> Vec<Event> {
        let enter = self.call(VfioFunction::GroupIoctl, Some(path), Some(request), device_name);
        [&[enter], inner, &[self.ioctl_exit(ret)]].concat()
    }

    /// `VFIO_GROUP_SET_CONTAINER` with a container of VFIO, and what is done in it.
    pub(crate) fn set_container(&self, path: &str, inner: &[Event], ret: i64) -> Vec<Event> {
        let enter = self.container(Phase::Enter);
        let inner = [&[enter], inner, &[self.container(Phase::Exit { ret })]].concat();
        self.group_ioctl(path, VfioRequest::SET_CONTAINER, None, &inner, ret)
    }

    /// `VFIO_GROUP_GET_STATUS` of a group that somebody holds, or not.
    pub(crate) fn status(
        &self,
        group: u32,
        owned: Option<Owned>,
        members: &[(&str, &str)],
    ) -> Vec<Event> {
        let state = owned.unwrap_or_default();
        let asked = self.event(Body::OwnerClaimed {
            claimed: owned.is_some(),
            group: Some(group),
            group_owner: state.owner,
            owner_count: state.count,
            foreign_domain: state.foreign_domain,
        });
        let inner = [self.members(group, members), vec![asked]].concat();
        self.group_ioctl(&group.to_string(), VfioRequest::GET_STATUS, None, &inner, 0)
    }

    /// The members of a group that cannot be claimed: name and driver of each.
    pub(crate) fn members(&self, group: u32, members: &[(&str, &str)]) -> Vec<Event> {
        let one = |(index, (name, driver)): (u32, &(&str, &str))| {
            self.event(Body::Member {
                device: device(name, group),
                driver: (*driver).to_owned(),
                manages_dma: driver.contains("vfio") || *driver == "pcieport",
                index,
                incomplete: false,
            })
        };
        (0..).zip(members).map(one).collect()
    }

    /// `VFIO_SET_IOMMU`, and what is done in it.
    pub(crate) fn set_iommu(&self, inner: &[Event], ret: i64) -> Vec<Event> {
        let function = VfioFunction::ContainerIoctl;
        let enter = self.call(function, None, Some(VfioRequest::SET_IOMMU), None);
        [&[enter], inner, &[self.call_exit(function, ret)]].concat()
    }

    /// `vfio_iommu_type1_attach_group`, and what is done in it.
    pub(crate) fn type1_attach(&self, group: u32, inner: &[Event], ret: i64) -> Vec<Event> {
        let [enter, exit] = self.type1(group, ret);
        [&[enter], inner, &[exit]].concat()
    }

    /// `VFIO_DEVICE_BIND_IOMMUFD`, and what is done in it.
    pub(crate) fn bind_iommufd(&self, inner: &[Event], ret: i64) -> Vec<Event> {
        let function = VfioFunction::BindIommufd;
        let enter = self.call(function, None, Some(VfioRequest::BIND_IOMMUFD), None);
        [&[enter], inner, &[self.call_exit(function, ret)]].concat()
    }

    /// VFIO did not open a device, and did not ask iommufd before.
    pub(crate) fn device_open(&self, ret: i64) -> Vec<Event> {
        vec![self.event(Body::DeviceOpen { ret })]
    }

    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`, and what is done in it.
    pub(crate) fn attach_iommufd(&self, inner: &[Event], ret: i64) -> Vec<Event> {
        let function = VfioFunction::AttachIommufd;
        let enter = self.call(function, None, Some(VfioRequest::ATTACH_IOMMUFD), None);
        [&[enter], inner, &[self.call_exit(function, ret)]].concat()
    }

    /// `iommufd_device_bind`, and what is done in it.
    pub(crate) fn device_bind(&self, device: &Device, inner: &[Event], ret: i64) -> Vec<Event> {
        let call = |phase, device| self.device_call(phase, DeviceFunction::IommufdBind, device);
        let enter = call(Phase::Enter, Some(device.clone()));
        [&[enter], inner, &[call(Phase::Exit { ret }, None)]].concat()
    }

    /// `iommufd_device_attach`, whole.
    pub(crate) fn device_attach(&self, ret: i64) -> Vec<Event> {
        let body = |phase| self.event(Body::IommufdAttach { phase });
        vec![body(Phase::Enter), body(Phase::Exit { ret })]
    }

    pub(crate) fn device_call(
        &self,
        phase: Phase,
        function: DeviceFunction,
        device: Option<Device>,
    ) -> Event {
        let driver = String::new();
        self.event(Body::DeviceCall { phase, function, device, driver, require_direct: None })
    }

    pub(crate) fn isolated(&self, group: u32, isolated: bool) -> Event {
        self.event(Body::IsolatedMsi { isolated, group: Some(group) })
    }

    /// A device comes into its group or leaves it.
    pub(crate) fn group_change(&self, change: Change, device: &Device) -> Event {
        self.event(Body::GroupChange { change, device: device.clone() })
    }

    /// The kernel's unity map of segment 0.
    pub(crate) fn unity_map(&self, entries: &[UnityEntry], last: Devid) -> Vec<Event> {
        let count = u32::try_from(entries.len()).unwrap();
        let one = |(ordinal, entry): (u32, &UnityEntry)| {
            self.event(Body::UnityEntry {
                ordinal,
                segment: 0,
                devid_start: entry.devid_start.0,
                devid_end: entry.devid_end.0,
                start: entry.start,
                end: entry.end_exclusive,
                prot: entry.prot.0.into(),
            })
        };
        let mut events: Vec<Event> = (0..).zip(entries).map(one).collect();
        events.push(self.event(Body::UnityEnd {
            segment: 0,
            last_devid: last.0,
            count,
            incomplete: false,
        }));
        events
    }

    /// `VFIO_GROUP_GET_DEVICE_FD`, whole.
    pub(crate) fn device_fd(&self, name: &str, ret: i64) -> [Event; 2] {
        let request = Some(VfioRequest::GET_DEVICE_FD);
        let enter = self.call(VfioFunction::GroupIoctl, None, request, Some(name));
        [enter, self.ioctl_exit(ret)]
    }

    pub(crate) fn container(&self, phase: Phase) -> Event {
        self.event(Body::ContainerAttach { phase })
    }

    /// The attachment to the container's IOMMU, whole.
    pub(crate) fn type1(&self, group: u32, ret: i64) -> [Event; 2] {
        let body = |phase, group| self.event(Body::Type1Attach { phase, group });
        [body(Phase::Enter, Some(group)), body(Phase::Exit { ret }, None)]
    }

    /// A command line, its arguments separated by `|`.
    pub(crate) fn args(&self, line: &str) -> Event {
        let bytes: Vec<u8> =
            line.split('|').flat_map(|one| [one.as_bytes(), b"\0"].concat()).collect();
        let total = u32::try_from(bytes.len()).unwrap();
        self.event(Body::Args { offset: 0, total, bytes, text: line.replace('|', " ") })
    }

    pub(crate) fn claim(&self, group: u32) -> Event {
        self.claim_event(Phase::Enter, None, group, Owned::default())
    }

    /// A claim on a group in that state begins.
    pub(crate) fn claim_in(&self, group: u32, owned: Owned) -> Event {
        self.claim_event(Phase::Enter, None, group, owned)
    }

    pub(crate) fn claim_exit(&self, group: u32, ret: i64, owned: Owned) -> Event {
        self.claim_event(Phase::Exit { ret }, None, group, owned)
    }

    pub(crate) fn device_claim(&self, phase: Phase, device: Device) -> Event {
        self.device_claim_of(phase, device, Owned::default())
    }

    /// The same, of a group in that state.
    pub(crate) fn device_claim_of(&self, phase: Phase, device: Device, owned: Owned) -> Event {
        let group = device.group.unwrap();
        self.claim_event(phase, Some(device), group, owned)
    }

    /// The owner as which the thread claims.
    pub(crate) fn owner(&self) -> u64 {
        0xaaaa_0000 + u64::from(self.pid)
    }

    fn claim_event(&self, phase: Phase, device: Option<Device>, group: u32, owned: Owned) -> Event {
        self.event(Body::Claim {
            phase,
            device,
            group: Some(group),
            owner: self.owner(),
            group_owner: owned.owner,
            owner_count: owned.count,
            foreign_domain: owned.foreign_domain,
        })
    }

    /// A device is put on its group's blocking domain and not refused.
    pub(crate) fn blocked(&self, device: &Device) -> Event {
        self.set_domain(device, 0, false, 0, None)
    }

    /// A device is put back on its default domain.
    pub(crate) fn reverted(&self, device: &Device, require_direct: bool) -> Event {
        self.set_domain(device, 3, require_direct, 0, None)
    }

    fn set_domain(
        &self,
        device: &Device,
        domain_type: u32,
        require_direct: bool,
        ret: i32,
        walked: Option<(u32, u32)>,
    ) -> Event {
        self.event(Body::SetDomain {
            device: device.clone(),
            driver: "vfio-pci".to_owned(),
            domain_type,
            require_direct,
            blocking: domain_type == 0,
            ret,
            unity_entries: walked.map(|(entries, _)| entries),
            unity_matches: walked.map_or(0, |(_, matches)| matches),
            incomplete: false,
        })
    }

    /// A device is refused: its unity map entries and the kernel's warning, the line that it logs,
    /// the entries again and the refusal itself.
    pub(crate) fn refused(&self, device: &Device, entries: &[UnityEntry]) -> Vec<Event> {
        let matching: Vec<&UnityEntry> = entries
            .iter()
            .filter(|entry| device.bdf.is_some_and(|bdf| entry.matches(bdf)))
            .collect();
        let count = |length: usize| u32::try_from(length).unwrap();
        let walked = (count(entries.len()), count(matching.len()));
        let matches: Vec<Event> = matching
            .iter()
            .map(|entry| {
                self.event(Body::UnityMatch {
                    device: device.clone(),
                    ordinal: count(entry.ordinal),
                    segment: entry.segment.0,
                    devid_start: entry.devid_start.0,
                    devid_end: entry.devid_end.0,
                    start: entry.start,
                    end: entry.end_exclusive,
                    prot: entry.prot.0.into(),
                })
            })
            .collect();
        let warning = self.event(Body::Warning {
            device: device.clone(),
            driver: "vfio-pci".to_owned(),
            unity_entries: Some(walked.0),
            unity_matches: walked.1,
            incomplete: false,
        });
        let line = self.event(Body::KernelMessage {
            text: format!(
                "vfio-pci {}: Firmware has requested this device have a 1:1 IOMMU mapping, \
                 rejecting configuring the device without a 1:1 mapping. Contact your platform \
                 vendor.",
                device.name
            ),
            cut: false,
        });
        let refusal = self.set_domain(device, 0, true, -22, Some(walked));
        [&matches[..], &[warning, line], &matches[..], &[refusal]].concat()
    }

    /// The regions that the kernel lists for a device.
    pub(crate) fn listing(
        &self,
        device: &Device,
        direct: &[(u64, u64)],
        require_direct: Option<bool>,
    ) -> Vec<Event> {
        let msi = (0xfee0_0000, 0x10_0000, 0, WireRegionType::MSI);
        let regions =
            direct.iter().map(|(start, length)| (*start, *length, 3, WireRegionType::DIRECT));
        let mut events: Vec<Event> = regions
            .chain([msi])
            .zip(0..)
            .map(|((start, length, prot, kind), index)| {
                self.event(Body::Region {
                    device: device.clone(),
                    source: RegionSource::Amd,
                    index,
                    start,
                    length,
                    prot,
                    region_type: RegionType(kind.0),
                })
            })
            .collect();
        events.push(self.event(Body::RegionsEnd {
            device: device.clone(),
            source: RegionSource::Amd,
            count: u32::try_from(events.len()).unwrap(),
            require_direct,
            incomplete: false,
        }));
        events
    }

    /// The listings of all PCI functions in a kernel that follows the host's table, in the order
    /// in which the groups name their members.
    pub(crate) fn listings(&self, host: &Snapshot, flag: bool) -> Vec<Event> {
        let view = view(host);
        let groups = host.groups.value().unwrap();
        let members = groups.iter().flat_map(|group| {
            group.members.value().unwrap().iter().map(|member| (group.id, member))
        });
        members
            .filter_map(|(id, member)| match member {
                Member::Pci(bdf) => Some((id, *bdf)),
                Member::Other(_) => None,
            })
            .flat_map(|(id, bdf)| {
                let direct: Vec<(u64, u64)> =
                    view.regions_of(bdf).map(|entry| (entry.start, entry.length())).collect();
                let require_direct = flag.then_some(!direct.is_empty());
                self.listing(&device(&bdf.to_string(), id), &direct, require_direct)
            })
            .collect()
    }

    /// A legacy attach that is refused, as 6.12 makes it: the devices before `blocker` are set and
    /// put back, and so is `blocker`.
    pub(crate) fn rejection(
        &self,
        host: &Snapshot,
        line: &str,
        group: u32,
        before: &[&str],
        blocker: &str,
    ) -> Vec<Event> {
        let before: Vec<Device> = before.iter().map(|name| device(name, group)).collect();
        let blocker = device(blocker, group);
        let mut events = vec![
            self.ioctl(VfioRequest::GET_STATUS),
            self.ioctl_exit(0),
            self.ioctl(VfioRequest::SET_CONTAINER),
            self.container(Phase::Enter),
            self.args(line),
            self.claim(group),
        ];
        events.extend(before.iter().map(|device| self.blocked(device)));
        events.extend(self.refused(&blocker, &view(host).entries));
        events.extend(before.iter().map(|device| self.reverted(device, false)));
        events.extend([
            self.reverted(&blocker, true),
            self.claim_exit(group, -22, Owned::default()),
            self.container(Phase::Exit { ret: -22 }),
            self.ioctl_exit(-22),
        ]);
        events
    }

    /// A claim through `VFIO_GROUP_SET_CONTAINER` in which no device is refused.
    pub(crate) fn attempt(&self, line: &str, group: u32, ret: i64, owned: Owned) -> Vec<Event> {
        vec![
            self.ioctl(VfioRequest::SET_CONTAINER),
            self.container(Phase::Enter),
            self.args(line),
            self.claim(group),
            self.claim_exit(group, ret, owned),
            self.container(Phase::Exit { ret }),
            self.ioctl_exit(ret),
        ]
    }
}

/// What the kernel makes of the host's IVRS; nothing where it has none.
pub(crate) fn view(host: &Snapshot) -> KernelView {
    let empty = || table(&[]).build().unwrap();
    let bytes = host.ivrs.value().map_or_else(empty, |bytes| bytes.0.clone());
    KernelView::new(&Ivrs::parse(&bytes).unwrap())
}

/// The model of a host after these events, closed.
pub(crate) fn model(host: &Snapshot, events: &[Event]) -> Model {
    model_of(host, RequireDirect::Present, events)
}

/// The same, of a kernel that has the flag or not.
pub(crate) fn model_of(host: &Snapshot, flag: RequireDirect, events: &[Event]) -> Model {
    let mut model = Model::new(host.clone(), flag);
    for (number, event) in (0..).zip(events) {
        model.observe(number, event);
    }
    model.finish();
    model
}
