//! Attempts: each try of a process to take a group or a device, put together from events.
//!
//! Everything between the entry and the exit of an ioctl, of a claim and of the refusal inside it
//! runs in one thread, so events are gathered by thread id. What comes later and elsewhere (the
//! container's IOMMU taking the group, the device's file descriptor) is added to the attempt by which
//! that process got the group. An event that fits nothing, because another was lost, changes nothing.

use std::collections::BTreeMap;

use ivrs_trace_common::MAX_UNITY;
use serde::Serialize;

use crate::{
    errno::{self, Errno},
    escape::printable_bytes,
    event::{Body, Device, Event, Phase, VfioFunction, VfioRequest},
    host::{Member, Snapshot},
    pci::Bdf,
};

/// A try of a process to take a group or a device.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The process.
    pub process: Process,
    /// When it began: `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// By which way.
    pub via: Via,
    /// The call that the process made, as far as it was seen: an ioctl's name or the claim's.
    pub call: String,
    /// The device that was asked for, where that is known.
    pub requested: Option<Bdf>,
    /// How it is known.
    pub requested_from: Option<&'static str>,
    /// The group.
    pub group: Option<u32>,
    /// The error that the call ended with.
    pub errno: Option<Errno>,
    /// What came of it.
    pub outcome: Outcome,
    /// The devices that the kernel refused, in order.
    pub rejections: Vec<Rejection>,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// The calls that were seen, in the order in which they returned.
    pub calls: Vec<Call>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Command name, printable.
    pub comm: String,
    /// Name of the virtual machine, where its command line gives one as QEMU's does, printable.
    pub vm: Option<String>,
}

/// The way by which a device is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Via {
    /// A VFIO group in a container.
    #[serde(rename = "vfio-group")]
    VfioGroup,
    /// iommufd.
    #[serde(rename = "iommufd")]
    Iommufd,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The kernel refused a device for its 1:1 map.
    Rejected,
    /// It failed for another reason.
    Failed,
    /// The kernel gave the process the ownership; what followed was not seen.
    Claimed,
    /// The device was taken.
    Attached,
    /// Its end was not seen.
    Unknown,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Firmware asks for a 1:1 map of a device in the group.
    FirmwareDirectMap,
    /// A function of the group is bound to a host driver.
    GroupNotViable,
    /// Another user owns the group.
    OwnedByAnother,
    /// The group is not on its default domain.
    BusyDomain,
    /// Not told apart from what was seen.
    Unknown,
}

/// A device that the kernel refused.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The device that blocks: not always the one that was asked for.
    pub device: Device,
    /// The driver that holds it; empty if none does. The kernel's own message begins with it.
    pub driver: String,
    /// What the call returned.
    pub ret: i32,
    /// Number of the event.
    pub event: u64,
    /// The entries of the kernel's unity map that cover it, in order.
    pub matches: Vec<Match>,
    /// Whether all of the unity map was seen.
    pub complete: bool,
}

/// An entry of the kernel's unity map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Number of the event.
    pub event: u64,
    /// Position in the segment's list, from 0.
    pub ordinal: u32,
    /// PCI segment.
    pub segment: u16,
    /// First devid, inclusive.
    pub devid_start: u16,
    /// Last devid, inclusive.
    pub devid_end: u16,
    /// First address.
    pub start: u64,
    /// End address, exclusive.
    pub end: u64,
    /// 1 read, 2 write.
    pub prot: u32,
}

/// A call that was seen to return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Call {
    /// The function or request.
    pub name: String,
    /// What it returned.
    pub ret: i64,
}

/// What is open in a thread.
#[derive(Default)]
struct Thread {
    /// The ioctl that the thread is in, and the attempt that it led to.
    ioctl: Option<Ioctl>,
    /// The attempt whose claim the thread is in.
    claim: Option<usize>,
    matches: Vec<Match>,
    /// `vfio_container_attach_group` has begun.
    container: Option<ContainerAttach>,
    /// The group whose attachment to a container's IOMMU has begun.
    type1: Option<u32>,
    /// The command line of the claim to come.
    args: CommandLine,
}

impl Thread {
    fn is_idle(&self) -> bool {
        self.ioctl.is_none()
            && self.claim.is_none()
            && self.matches.is_empty()
            && self.container.is_none()
            && self.type1.is_none()
            && self.args.bytes.is_empty()
    }
}

/// A `vfio_container_attach_group` that a thread is in.
struct ContainerAttach {
    /// The attempt that it led to.
    attempt: Option<usize>,
}

struct Ioctl {
    request: VfioRequest,
    device_name: Option<String>,
    attempt: Option<usize>,
    time_ns: u64,
}

/// Bytes of a command line that are kept at most; the programs send half of it
/// (`ivrs_trace_common::ARGS_CHUNKS`).
const MAX_ARGS: usize = 16 * 1024;

/// A command line, put together from pieces that come in order; some may be lost.
#[derive(Default)]
struct CommandLine {
    bytes: Vec<u8>,
    /// Length of all of it, bytes.
    total: usize,
    /// A piece is missing.
    gap: bool,
}

impl CommandLine {
    fn add(&mut self, offset: u32, total: u32, bytes: &[u8]) {
        if offset == 0 {
            *self = Self::default();
        }
        self.total = usize::try_from(total).unwrap_or(usize::MAX);
        // What comes after a gap could be half an argument and read as another one.
        self.gap |= usize::try_from(offset) != Ok(self.bytes.len());
        self.gap |= self.bytes.len() >= MAX_ARGS;
        if !self.gap {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The arguments that came whole, printable.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<&[u8]> = self.bytes.split(|&byte| byte == 0).collect();
        let last = arguments.pop();
        if self.bytes.len() >= self.total {
            // It need not end with NUL: a process may write over its own command line.
            arguments.extend(last.filter(|last| !last.is_empty()));
        }
        arguments.into_iter().map(printable_bytes).collect()
    }
}

/// Makes attempts of events.
#[derive(Default)]
pub(super) struct Tracker {
    attempts: Vec<Attempt>,
    /// Threads in which something is open.
    threads: BTreeMap<u32, Thread>,
    /// The attempt by which a process got a group, or may have, by process id and group.
    holds: BTreeMap<(u32, u32), usize>,
}

impl Tracker {
    pub(super) fn all(&self) -> &[Attempt] {
        &self.attempts
    }

    pub(super) fn observe(&mut self, number: u64, event: &Event, host: &Snapshot) {
        self.apply(number, event, host);
        // Thread ids come without end over days of tracing.
        if self.threads.get(&event.tid).is_some_and(Thread::is_idle) {
            self.threads.remove(&event.tid);
        }
    }

    fn apply(&mut self, number: u64, event: &Event, host: &Snapshot) {
        match &event.body {
            Body::VfioCall {
                phase: Phase::Enter,
                function: VfioFunction::GroupIoctl,
                request,
                device_name,
                ..
            } => {
                self.thread(event).ioctl = Some(Ioctl {
                    request: request.unwrap_or(VfioRequest(0)),
                    device_name: device_name.clone(),
                    attempt: None,
                    time_ns: event.time_ns,
                });
            }
            Body::VfioCall {
                phase: Phase::Exit { ret },
                function: VfioFunction::GroupIoctl,
                ..
            } => {
                self.ioctl_returned(event, *ret, host);
            }
            Body::Args { offset, total, bytes, .. } => {
                self.thread(event).args.add(*offset, *total, bytes);
            }
            Body::Claim { phase: Phase::Enter, device, group, .. } => {
                self.claim_began(event, device.as_ref(), *group, host);
            }
            Body::Claim { phase: Phase::Exit { ret }, .. } => self.claim_ended(event, *ret),
            Body::UnityMatch {
                ordinal, segment, devid_start, devid_end, start, end, prot, ..
            } => {
                let found = Match {
                    event: number,
                    ordinal: *ordinal,
                    segment: *segment,
                    devid_start: *devid_start,
                    devid_end: *devid_end,
                    start: *start,
                    end: *end,
                    prot: *prot,
                };
                let matches = &mut self.thread(event).matches;
                // The programs walk no more entries, so no device has more.
                if u32::try_from(matches.len()).is_ok_and(|count| count < MAX_UNITY) {
                    matches.push(found);
                }
            }
            Body::SetDomain { .. } => self.domain_set(number, event),
            Body::ContainerAttach { phase: Phase::Enter } => {
                self.thread(event).container = Some(ContainerAttach { attempt: None });
            }
            Body::ContainerAttach { phase: Phase::Exit { ret } } => {
                let attempt = self.thread(event).container.take().and_then(|call| call.attempt);
                self.note(attempt, "vfio_container_attach_group", *ret);
            }
            Body::Type1Attach { phase: Phase::Enter, group } => {
                self.thread(event).type1 = *group;
            }
            Body::Type1Attach { phase: Phase::Exit { ret }, .. } => {
                self.type1_returned(event, *ret);
            }
            Body::VfioCall { .. }
            | Body::DeviceCall { .. }
            | Body::IommufdAttach { .. }
            | Body::OwnerClaimed { .. }
            | Body::IsolatedMsi { .. }
            | Body::Member { .. }
            | Body::KernelMessage { .. }
            | Body::Warning { .. }
            | Body::GroupChange { .. }
            | Body::UnityEntry { .. }
            | Body::UnityEnd { .. }
            | Body::ModuleLoad { .. }
            | Body::Region { .. }
            | Body::RegionsEnd { .. }
            | Body::Unknown { .. } => {}
        }
    }

    /// Closes what is open: its end was not seen.
    pub(super) fn finish(&mut self) {
        self.threads.clear();
    }

    /// How many threads and holds are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> (usize, usize) {
        (self.threads.len(), self.holds.len())
    }

    fn thread(&mut self, event: &Event) -> &mut Thread {
        self.threads.entry(event.tid).or_default()
    }

    /// The attempt by which the process of the event got the group.
    fn held(&self, event: &Event, group: u32) -> Option<usize> {
        self.holds.get(&(event.pid, group)).copied()
    }

    fn note(&mut self, attempt: Option<usize>, name: &str, ret: i64) {
        if let Some(attempt) = attempt.and_then(|index| self.attempts.get_mut(index)) {
            attempt.calls.push(Call { name: name.to_owned(), ret });
        }
    }

    fn claim_began(
        &mut self,
        event: &Event,
        device: Option<&Device>,
        group: Option<u32>,
        host: &Snapshot,
    ) {
        let index = self.attempts.len();
        let thread = self.thread(event);
        thread.matches.clear();
        thread.claim = Some(index);
        let args = std::mem::take(&mut thread.args).arguments();
        if let Some(container) = &mut thread.container {
            container.attempt = Some(index);
        }
        // One ioctl leads to one claim: this one's return was lost.
        thread.ioctl.take_if(|ioctl| ioctl.attempt.is_some());
        let call = match &mut thread.ioctl {
            Some(ioctl) => {
                ioctl.attempt = Some(index);
                ioctl.request.to_string()
            }
            None => claim_name(device.is_some()).to_owned(),
        };
        let named = thread.ioctl.as_ref().and_then(|ioctl| ioctl.device_name.as_deref());
        let (requested, requested_from) = match device.and_then(|device| device.bdf) {
            Some(bdf) => (Some(bdf), Some("the claim")),
            None => requested(named, &args, group, host),
        };
        if let Some(group) = group {
            self.holds.insert((event.pid, group), index);
        }
        self.attempts.push(Attempt {
            process: Process { pid: event.pid, comm: event.comm.clone(), vm: vm_name(&args) },
            time_ns: event.time_ns,
            via: if device.is_some() { Via::Iommufd } else { Via::VfioGroup },
            call,
            requested,
            requested_from,
            group,
            errno: None,
            outcome: Outcome::Unknown,
            rejections: Vec::new(),
            reason: None,
            calls: Vec::new(),
        });
    }

    fn domain_set(&mut self, number: u64, event: &Event) {
        let thread = self.thread(event);
        let matches = std::mem::take(&mut thread.matches);
        let claim = thread.claim;
        let Body::SetDomain {
            device,
            driver,
            require_direct,
            blocking,
            ret,
            unity_entries,
            unity_matches,
            incomplete,
            ..
        } = &event.body
        else {
            return;
        };
        let Some(attempt) = claim.and_then(|index| self.attempts.get_mut(index)) else {
            // A release, a removal or a hot-plugged device: nobody's attempt.
            return;
        };
        attempt.calls.push(Call {
            name: format!("__iommu_device_set_domain({})", device.name),
            ret: i64::from(*ret),
        });
        // The kernel refuses on exactly this. Up to 6.18 it then puts the same device back on its
        // old domain by the same function, which is not a refusal.
        if *require_direct && *blocking && *ret < 0 {
            let seen = usize::try_from(*unity_matches).is_ok_and(|count| count == matches.len());
            // Whatever is lost after this: no claim succeeds after a refusal in it.
            attempt.outcome = Outcome::Rejected;
            attempt.reason = Some(Reason::FirmwareDirectMap);
            // The programs do not know the devid of a device that is no PCI function.
            let known = device.bdf.is_some();
            let matches = if known { matches } else { Vec::new() };
            attempt.rejections.push(Rejection {
                device: device.clone(),
                driver: driver.clone(),
                ret: *ret,
                event: number,
                complete: known && unity_entries.is_some() && !incomplete && seen,
                matches,
            });
        }
    }

    fn claim_ended(&mut self, event: &Event, ret: i64) {
        let thread = self.thread(event);
        thread.matches.clear();
        let Some(index) = thread.claim.take() else { return };
        let Some(attempt) = self.attempts.get_mut(index) else { return };
        attempt.calls.push(Call { name: claim_name(attempt.via == Via::Iommufd).to_owned(), ret });
        let Some(error) = errno::of_return(ret) else {
            attempt.outcome = Outcome::Claimed;
            attempt.reason = None;
            return;
        };
        attempt.errno = Some(error);
        if attempt.outcome != Outcome::Rejected {
            attempt.outcome = Outcome::Failed;
            attempt.reason = Some(claim_reason(error, &event.body));
        }
        if let Some(group) = attempt.group {
            self.holds.remove(&(event.pid, group));
        }
    }

    fn ioctl_returned(&mut self, event: &Event, ret: i64, host: &Snapshot) {
        let Some(ioctl) = self.thread(event).ioctl.take() else { return };
        let error = errno::of_return(ret);
        if let Some(attempt) = ioctl.attempt.and_then(|index| self.attempts.get_mut(index)) {
            attempt.calls.push(Call { name: ioctl.request.to_string(), ret });
            // The call's own error is what the process got.
            attempt.errno = error.or(attempt.errno);
            match (error, attempt.outcome) {
                (Some(_), Outcome::Claimed | Outcome::Unknown) => {
                    attempt.outcome = Outcome::Failed;
                    attempt.reason = Some(Reason::Unknown);
                }
                (None, Outcome::Claimed | Outcome::Unknown)
                    if ioctl.request == VfioRequest::GET_DEVICE_FD =>
                {
                    attempt.outcome = Outcome::Attached;
                }
                // The return of the claim was lost; the call succeeds only if it does.
                (None, Outcome::Unknown) => attempt.outcome = Outcome::Claimed,
                _ => {}
            }
            return;
        }
        match ioctl.request {
            VfioRequest::GET_DEVICE_FD => self.device_opened(event, &ioctl, ret, host),
            // The container refused before the kernel was asked for the ownership.
            VfioRequest::SET_CONTAINER if error.is_some() => {
                let attempt = Attempt {
                    process: Process { pid: event.pid, comm: event.comm.clone(), vm: None },
                    time_ns: ioctl.time_ns,
                    via: Via::VfioGroup,
                    call: ioctl.request.to_string(),
                    requested: None,
                    requested_from: None,
                    group: None,
                    errno: error,
                    outcome: Outcome::Failed,
                    rejections: Vec::new(),
                    reason: Some(Reason::Unknown),
                    calls: vec![Call { name: ioctl.request.to_string(), ret }],
                };
                self.attempts.push(attempt);
            }
            _ => {}
        }
    }

    /// A device of a group that the process got before was asked for.
    fn device_opened(&mut self, event: &Event, ioctl: &Ioctl, ret: i64, host: &Snapshot) {
        let bdf = ioctl.device_name.as_deref().and_then(device_address);
        let group = bdf.and_then(|bdf| group_of(host, bdf));
        let index = group.and_then(|group| self.held(event, group));
        self.note(index, &ioctl.request.to_string(), ret);
        let Some(attempt) = index.and_then(|index| self.attempts.get_mut(index)) else { return };
        if attempt.requested_from == Some(FROM_DEVICE_FD) && attempt.outcome == Outcome::Attached {
            // A further device of the group: the attempt has had what it wanted.
            return;
        }
        attempt.requested = bdf;
        attempt.requested_from = Some(FROM_DEVICE_FD);
        attempt.errno = errno::of_return(ret);
        (attempt.outcome, attempt.reason) = match attempt.errno {
            None => (Outcome::Attached, None),
            Some(_) => (Outcome::Failed, Some(Reason::Unknown)),
        };
    }

    fn type1_returned(&mut self, event: &Event, ret: i64) {
        let Some(group) = self.thread(event).type1.take() else { return };
        let index = self.held(event, group);
        self.note(index, "vfio_iommu_type1_attach_group", ret);
        let Some(attempt) = index.and_then(|index| self.attempts.get_mut(index)) else { return };
        attempt.errno = errno::of_return(ret);
        (attempt.outcome, attempt.reason) = match attempt.errno {
            None => (Outcome::Attached, None),
            Some(_) => (Outcome::Failed, Some(Reason::Unknown)),
        };
    }
}

/// How a device is known that the process named in the request for it.
const FROM_DEVICE_FD: &str = "VFIO_GROUP_GET_DEVICE_FD";

/// The address in the argument of `VFIO_GROUP_GET_DEVICE_FD`, after which a token may stand
/// (`vfio_pci_core_match`, `drivers/vfio/pci/vfio_pci_core.c`).
fn device_address(name: &str) -> Option<Bdf> {
    name.split(' ').next()?.parse().ok()
}

fn claim_name(on_device: bool) -> &'static str {
    if on_device { "iommu_device_claim_dma_owner" } else { "iommu_group_claim_dma_owner" }
}

/// Why a claim failed without a refusal, from the state of the group that the failed claim left as
/// it was (`iommu_group_claim_dma_owner`, drivers/iommu/iommu.c).
fn claim_reason(error: Errno, body: &Body) -> Reason {
    let Body::Claim { group_owner, owner_count, foreign_domain, owner, .. } = body else {
        return Reason::Unknown;
    };
    match error {
        Errno::EPERM if *owner_count > 0 && *group_owner == 0 => Reason::GroupNotViable,
        Errno::EPERM if *owner_count > 0 && group_owner != owner => Reason::OwnedByAnother,
        Errno::EBUSY if *foreign_domain => Reason::BusyDomain,
        _ => Reason::Unknown,
    }
}

fn group_of(host: &Snapshot, bdf: Bdf) -> Option<u32> {
    let functions = host.functions.value()?;
    functions.iter().find(|function| function.bdf == bdf)?.group.value().copied()
}

/// The device that is wanted. On the group path the kernel is told only the group, so: the name in
/// the request, else the first member of the group that the command line names, else the only
/// member that is not a bridge.
fn requested(
    named: Option<&str>,
    args: &[String],
    group: Option<u32>,
    host: &Snapshot,
) -> (Option<Bdf>, Option<&'static str>) {
    if let Some(bdf) = named.and_then(device_address) {
        return (Some(bdf), Some(FROM_DEVICE_FD));
    }
    let members: Vec<Bdf> = host
        .groups
        .value()
        .into_iter()
        .flatten()
        .filter(|one| Some(one.id) == group)
        .filter_map(|one| one.members.value())
        .flatten()
        .filter_map(|member| match member {
            Member::Pci(bdf) => Some(*bdf),
            Member::Other(_) => None,
        })
        .collect();
    let mut addresses = args.iter().flat_map(|argument| addresses(argument));
    if let Some(bdf) = addresses.find(|bdf| members.contains(bdf)) {
        return (Some(bdf), Some("the command line of the process"));
    }
    let is_bridge = |bdf: &Bdf| {
        let functions = host.functions.value().into_iter().flatten();
        functions.filter(|one| one.bdf == *bdf).any(|one| one.is_bridge() == Some(true))
    };
    let mut endpoints = members.iter().filter(|bdf| !is_bridge(bdf));
    match (endpoints.next(), endpoints.next()) {
        (Some(only), None) => (Some(*only), Some("the only device of the group")),
        _ => (None, None),
    }
}

/// Whatever looks like a PCI address in an argument, in order.
fn addresses(argument: &str) -> impl Iterator<Item = Bdf> {
    argument
        .split(|c: char| !(c.is_ascii_hexdigit() || c == ':' || c == '.'))
        .filter(|word| word.contains('.') && word.contains(':'))
        .filter_map(|word| word.trim_matches(['.', ':']).parse().ok())
}

/// The name in QEMU's `-name guest=NAME,…` or `-name NAME`; a comma in it is written twice.
fn vm_name(args: &[String]) -> Option<String> {
    let mut args = args.iter();
    args.find(|argument| *argument == "-name")?;
    // Nothing printable is changed to or from this character.
    let value = args.next()?.replace(",,", "\0");
    let first = value.split(',').find(|part| !part.contains('=') || part.starts_with("guest="))?;
    let name = first.strip_prefix("guest=").unwrap_or(first).replace('\0', ",");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_command_lines() {
        let found = |args| addresses(args).map(|bdf| bdf.to_string()).collect::<Vec<_>>();
        assert_eq!(found("vfio-attach 03:01.0"), ["0000:03:01.0"]);
        assert_eq!(
            found(
                r#"qemu -device {"driver":"vfio-pci","host":"0000:00:03.0","id":"hostdev0"} -m 2.5"#
            ),
            ["0000:00:03.0"]
        );
        assert_eq!(found("qemu -device vfio-pci,host=0001:41:00.1,addr=05.0"), ["0001:41:00.1"]);
        assert_eq!(found("nc 10.0.0.1:80"), [""; 0]);
    }

    #[test]
    fn names_of_virtual_machines() {
        let name = |args: &str| vm_name(&args.split('|').map(str::to_owned).collect::<Vec<_>>());
        for (args, expected) in [
            ("qemu|-name|guest=win11,debug-threads=on|-S", Some("win11")),
            ("qemu|-name|debug-threads=on,guest=win11|-S", Some("win11")),
            ("qemu|-name|win11|-S", Some("win11")),
            ("qemu|-name|guest=my gaming VM,debug-threads=on", Some("my gaming VM")),
            ("qemu|-name|guest=a,,b,debug-threads=on", Some("a,b")),
            ("qemu|-S|-name", None),
            ("qemu|-name|", None),
            ("vfio-attach|03:01.0", None),
        ] {
            assert_eq!(name(args).as_deref(), expected, "{args}");
        }
    }

    #[test]
    fn a_command_line_with_lost_pieces_yields_no_half_arguments() {
        let line = |pieces: &[(u32, &str)]| {
            let mut line = CommandLine::default();
            for (offset, text) in pieces {
                line.add(*offset, 18, text.replace('|', "\0").as_bytes());
            }
            line.arguments()
        };
        assert_eq!(line(&[(0, "qemu|-h"), (7, "ost|00:07.0|")]), ["qemu", "-host", "00:07.0"]);
        assert_eq!(line(&[(0, "qemu|-host|00:07.0")]), ["qemu", "-host", "00:07.0"]);
        assert_eq!(line(&[(0, "qemu|-host|00:0")]), ["qemu", "-host"], "the end is missing");
        assert_eq!(line(&[(0, "qemu|-h"), (12, "0:07.0|")]), ["qemu"], "the middle is missing");
        assert_eq!(line(&[(7, "ost|00:07.0|")]), [""; 0], "the start is missing");
        assert_eq!(line(&[(0, "old|"), (0, "qemu|-host|00:07.0")]).len(), 3, "a new line");
    }

    #[test]
    fn a_command_line_without_end_is_not_kept() {
        let mut line = CommandLine::default();
        for offset in (0..1024 * 1024).step_by(512) {
            line.add(offset, u32::MAX, &[b'a'; 512]);
        }
        assert_eq!(line.bytes.len(), MAX_ARGS);
        assert_eq!(line.arguments(), [""; 0]);
    }

    #[test]
    fn matches_without_end_are_not_kept() {
        let host = Snapshot::read(std::path::Path::new("/no/such/host"));
        let mut tracker = Tracker::default();
        let wire = ivrs_trace_common::Kind::UNITY_MATCH.0;
        let mut bytes = [0; size_of::<ivrs_trace_common::UnityMatch>()];
        bytes[16..18].copy_from_slice(&wire.to_ne_bytes());
        let found = Event::decode(&bytes).unwrap();
        for number in 0..1000 {
            tracker.observe(number, &found, &host);
        }
        let kept: Vec<usize> = tracker.threads.values().map(|one| one.matches.len()).collect();
        assert_eq!(kept, [128]);
    }
}
