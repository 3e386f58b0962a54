//! Attempts: each try of a process to take a group or a device, put together from events.
//!
//! What is seen within one call of one thread is gathered in [`thread`]; [`reason`] says what came of
//! it. Here calls are put together to attempts: what comes later and elsewhere (the container's IOMMU
//! taking the group, the device's file descriptor) is added to the attempt by which that process got
//! the group. An event that fits nothing, because another was lost, changes nothing.

mod holder;
mod parts;
mod qemu_messages;
mod reason;
mod rebind;
mod refusal;
mod requested;
mod thread;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(super) use self::holder::manages_dma;
use self::{
    holder::Holders,
    reason::{Conclusion, Owners},
    rebind::Changes,
    refusal::Walk,
    requested::{device_address, requested},
    thread::{Asked, Bind, Claim, Facts, Frame, Outer, Seen, Thread, Type1},
};
pub use self::{
    parts::{
        Attempt, Call, DriverChange, DriverSource, Further, HostDriver, Outcome, Process, Reason,
        Via,
    },
    refusal::{Evidence, Rejection},
    requested::RequestedFrom,
};
use super::known::Known;
use crate::{
    command_line::{Hostdev, Vm, is_qemu},
    errno::Errno,
    event::{
        Body, Change, CommandLines, Device, DeviceFunction, Event, Phase, VfioFunction, VfioRequest,
    },
    facts::OpenFile,
    pci::Bdf,
};

/// Attempts that are kept. When there are [`DROPPED_AT_ONCE`] more, that many of the oldest go.
pub const MAX_ATTEMPTS: usize = 10_000;
/// Attempts that are dropped at once.
const DROPPED_AT_ONCE: usize = 1000;
/// Calls, facts and entries that are kept of all attempts. Where there are more, half of the attempts
/// go, the oldest.
const MAX_PARTS: usize = 1 << 18;
/// Attempts that begin between two counts of those.
const WEIGHED_AT_ONCE: usize = 256;
/// Threads of which something is remembered; where more are open, those with low numbers go.
const MAX_THREADS: usize = 4096;
/// Calls that are kept of one attempt.
const MAX_CALLS: usize = 256;

/// By what a later call is known to belong to an attempt. All are of one process, by its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    /// The open file of a group or device.
    File(u32, u64),
    /// The group.
    Group(u32, u32),
    /// Whatever group this thread claimed last.
    Last(u32, u32),
}

/// Makes attempts of events.
#[derive(Default)]
pub(super) struct Tracker {
    attempts: Vec<Attempt>,
    /// How many were dropped: the number of the first that is kept.
    dropped: u64,
    /// Threads in which something is open.
    threads: BTreeMap<u32, Thread>,
    /// The attempt that a later call belongs to.
    links: BTreeMap<Link, u64>,
    holders: Holders,
    lines: CommandLines,
    changes: Changes,
}

impl Tracker {
    pub(super) fn all(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Takes over who had files of `/dev/vfio` open when the trace began.
    pub(super) fn opened_before(
        &mut self,
        files: Vec<OpenFile>,
        group_of: impl Fn(Bdf) -> Option<u32>,
    ) {
        self.holders.opened_before(files, group_of);
    }

    /// How many attempts were dropped for newer ones.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes in an event. `model` is what is known besides, this tracker left out.
    pub(super) fn observe(&mut self, number: u64, event: &Event, model: &Known) {
        if self.threads.get(&event.tid).is_some_and(|thread| thread.pid != event.pid) {
            // The thread is gone, and another one has its id.
            self.leave(event.tid);
        }
        if self.lines.observe(event) {
            return;
        }
        self.changes.observe(number, event, &self.lines);
        match &event.body {
            Body::VfioCall { phase: Phase::Enter, .. } => self.call_began(number, event),
            Body::VfioCall { phase: Phase::Exit { ret }, function, .. } => {
                self.call_returned(number, event, *function, *ret, model);
            }
            Body::ContainerAttach { phase } => self.container(number, event, *phase, model),
            Body::DeviceCall { phase, function: DeviceFunction::IommufdBind, device, .. } => {
                self.bind(number, event, *phase, device.as_ref(), model);
            }
            Body::DeviceCall {
                phase: Phase::Exit { ret },
                function: DeviceFunction::VfioPciProbe,
                device,
                ..
            } => self.probed(number, event, device.as_ref(), *ret, model),
            Body::Claim { phase: Phase::Enter, .. } => self.claim_began(number, event, model),
            Body::Claim { phase: Phase::Exit { ret }, .. } => {
                self.claim_ended(number, event, *ret, model);
            }
            Body::UnityMatch { .. } => self.fresh(event).walk.add(number, &event.body),
            Body::SetDomain { .. } | Body::Warning { .. } | Body::KernelMessage { .. } => {
                self.refused(number, event, model);
            }
            Body::Type1Attach { phase, group } => {
                self.type1(number, event, *phase, *group, model);
            }
            Body::DeviceOpen { ret } => {
                if let Some(thread) = self.threads.get_mut(&event.tid) {
                    thread.facts.opened = Some((number, *ret));
                    thread.facts.returned("vfio_df_open", *ret);
                }
            }
            Body::IommufdAttach { phase } => self.iommufd_attach(number, event, *phase, model),
            Body::OwnerClaimed { .. } => self.asked(number, event, model),
            Body::IsolatedMsi { isolated, .. } => {
                let facts = &mut self.fresh(event).facts;
                facts.isolated = Some((number, *isolated));
                facts.returned("iommu_group_has_isolated_msi", i64::from(*isolated));
            }
            Body::Member { device, driver, manages_dma, .. } => {
                let members = &mut self.fresh(event).facts.members;
                if members.len() < ivrs_trace_common::MAX_MEMBERS.try_into().unwrap_or(usize::MAX) {
                    members.push(Seen {
                        event: number,
                        name: device.name.clone(),
                        driver: driver.clone(),
                        manages_dma: *manages_dma,
                    });
                }
            }
            Body::RegionsEnd { .. } => {
                if let Some(thread) = self.threads.get_mut(&event.tid)
                    && thread.facts.attaches()
                {
                    thread.facts.listed = Some(number);
                }
            }
            Body::GroupChange { change: Change::Removed, device } => {
                self.removed(number, device, model);
            }
            Body::Args { .. }
            | Body::GroupChange { change: Change::Added, .. }
            | Body::DeviceCall { .. }
            | Body::UnityEntry { .. }
            | Body::UnityEnd { .. }
            | Body::ModuleLoad { .. }
            | Body::Region { .. }
            | Body::Unknown { .. } => {}
        }
        while self.threads.len() > MAX_THREADS {
            self.threads.pop_first();
        }
    }

    /// Closes what is open: its end was not seen.
    pub(super) fn finish(&mut self) {
        self.threads.clear();
    }

    /// How many threads, links and holders are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize, usize) {
        (self.threads.len(), self.links.len(), self.holders.len())
    }

    /// The thread of the event, for something that begins in it or goes on.
    fn fresh(&mut self, event: &Event) -> &mut Thread {
        if self.threads.get(&event.tid).is_some_and(|thread| thread.done) {
            self.leave(event.tid);
        }
        let new = || Thread { pid: event.pid, ..Thread::default() };
        self.threads.entry(event.tid).or_insert_with(new)
    }

    /// Gives up what is open in a thread: its end was lost.
    fn leave(&mut self, tid: u32) {
        if let Some(thread) = self.threads.remove(&tid) {
            self.holders.doubt(&thread.facts);
        }
    }

    fn attempt(&mut self, number: u64) -> Option<&mut Attempt> {
        self.attempts.get_mut(usize::try_from(number.checked_sub(self.dropped)?).ok()?)
    }

    fn linked(&self, link: Link) -> Option<u64> {
        self.links.get(&link).copied().filter(|number| *number >= self.dropped)
    }

    // What begins and ends in a thread.

    fn call_began(&mut self, number: u64, event: &Event) {
        let Body::VfioCall { function, request, path, file, device_name, .. } = &event.body else {
            return;
        };
        self.leave(event.tid);
        let function = *function;
        self.fresh(event).facts.outer = Some(Outer {
            function,
            request: *request,
            device_name: device_name.clone(),
            path: path.clone(),
            file: *file,
            time_ns: event.time_ns,
            ret: None,
            event: number,
        });
        if function == VfioFunction::GroupOpen {
            // Another file may have been here, and whoever stopped at the state of the group tries
            // again.
            self.links.remove(&Link::File(event.pid, *file));
            let group = path.as_deref().and_then(|path| path.parse().ok());
            let group = group.map(|group| Link::Group(event.pid, group));
            let before = group.and_then(|link| self.linked(link));
            if before.and_then(|number| self.attempt(number)).is_some_and(|one| one.stopped)
                && let Some(link) = group
            {
                self.links.remove(&link);
            }
        }
    }

    fn call_returned(
        &mut self,
        number: u64,
        event: &Event,
        function: VfioFunction,
        ret: i64,
        model: &Known,
    ) {
        let Some(thread) = self.threads.get_mut(&event.tid) else { return };
        let facts = &mut thread.facts;
        let asks_ownership = facts.asks_ownership();
        match &mut facts.outer {
            Some(outer) if outer.function == function => {
                (outer.ret, outer.event) = (Some(ret), number);
            }
            Some(_) => {
                // The end of one call and the beginning of another were lost.
                self.leave(event.tid);
                return;
            }
            None if asks_ownership
                && !matches!(function, VfioFunction::GroupIoctl | VfioFunction::BindIommufd) =>
            {
                // No claim is made in it, so what was seen is of another call.
                self.leave(event.tid);
                return;
            }
            None => {
                facts.outer = Some(Outer {
                    function,
                    request: None,
                    device_name: None,
                    path: None,
                    file: 0,
                    time_ns: event.time_ns,
                    ret: Some(ret),
                    event: number,
                });
            }
        }
        let name = facts.outer.as_ref().map(Outer::name).unwrap_or_default();
        facts.returned(&name, ret);
        if thread.attempt.is_none() {
            self.place(number, event, ret, model);
        }
        self.conclude(event, model);
        self.leave(event.tid);
    }

    /// Finds or makes the attempt that a call belongs to in which no claim was seen.
    fn place(&mut self, number: u64, event: &Event, ret: i64, model: &Known) {
        let Some(facts) = self.threads.get(&event.tid).map(|thread| &thread.facts) else { return };
        let Some(outer) = &facts.outer else { return };
        let failed = ret < 0;
        let (pid, file) = (event.pid, Link::File(event.pid, outer.file));
        let known = |found: Option<u64>| (found, failed && found.is_none());
        let (found, make) = match (outer.function, outer.request) {
            (VfioFunction::GroupOpen, _) => {
                if let (false, Some(path)) = (failed, &outer.path) {
                    self.holders.opened(path, Process::of(event), number);
                }
                (None, failed)
            }
            (VfioFunction::GroupIoctl, Some(VfioRequest::SET_CONTAINER)) => {
                (None, failed || outer.without_iommu())
            }
            (VfioFunction::GroupIoctl, Some(VfioRequest::GET_DEVICE_FD)) => {
                let bdf = outer.device_name.as_deref().and_then(device_address);
                let group = bdf.and_then(|bdf| group_of(model, bdf)).or_else(|| outer.group());
                let by_group = group.and_then(|group| self.linked(Link::Group(pid, group)));
                let found = self.linked(file).or(by_group);
                known(found)
            }
            (VfioFunction::GroupIoctl, Some(VfioRequest::UNSET_CONTAINER)) if !failed => {
                let links = [Some(file), outer.group().map(|group| Link::Group(pid, group))];
                for link in links.into_iter().flatten() {
                    self.links.remove(&link);
                }
                (None, false)
            }
            (VfioFunction::GroupIoctl, _) => (None, false),
            (VfioFunction::ContainerIoctl, _) => known(self.linked(Link::Last(pid, event.tid))),
            (VfioFunction::BindIommufd, _) => (None, true),
            (VfioFunction::AttachIommufd, _) => known(self.linked(file)),
        };
        if make {
            self.begin(event, model);
        } else if let Some(thread) = self.threads.get_mut(&event.tid) {
            thread.attempt = found;
        }
    }

    fn container(&mut self, number: u64, event: &Event, phase: Phase, model: &Known) {
        match phase {
            Phase::Enter => {
                if self.fresh(event).facts.container.is_some() {
                    // One call leads to one attachment: the end of this one was lost.
                    self.leave(event.tid);
                }
                self.fresh(event).facts.container = Some(Frame::default());
                self.begin(event, model);
            }
            Phase::Exit { ret } => {
                let Some(thread) = self.threads.get_mut(&event.tid) else { return };
                thread.facts.container = Some(Frame { ret: Some(ret), event: number });
                thread.facts.returned("vfio_container_attach_group", ret);
                self.conclude(event, model);
                self.close(event);
            }
        }
    }

    fn bind(
        &mut self,
        number: u64,
        event: &Event,
        phase: Phase,
        device: Option<&Device>,
        model: &Known,
    ) {
        match phase {
            Phase::Enter => {
                if self.fresh(event).facts.bind.is_some() {
                    self.leave(event.tid);
                }
                let bind = Bind { device: device.cloned(), ..Bind::default() };
                self.fresh(event).facts.bind = Some(bind);
                self.begin(event, model);
            }
            Phase::Exit { ret } => {
                let Some(thread) = self.threads.get_mut(&event.tid) else { return };
                let bind = thread.facts.bind.get_or_insert_default();
                (bind.ret, bind.event) = (Some(ret), number);
                thread.facts.returned("iommufd_device_bind", ret);
                self.conclude(event, model);
                self.close(event);
            }
        }
    }

    fn claim_began(&mut self, number: u64, event: &Event, model: &Known) {
        let Some((mut claim, asked)) = claim_of(number, &event.body) else { return };
        claim.before = Some(asked);
        if self.fresh(event).facts.claim.is_some() {
            // One call leads to one claim: this one's return was lost.
            self.leave(event.tid);
        }
        self.fresh(event).facts.claim = Some(claim);
        self.begin(event, model);
    }

    fn claim_ended(&mut self, number: u64, event: &Event, ret: i64, model: &Known) {
        let Some((mut claim, asked)) = claim_of(number, &event.body) else { return };
        let facts = &mut self.fresh(event).facts;
        claim.before = facts.claim.take().and_then(|claim| claim.before);
        claim.exit = Some((ret, asked));
        let (name, group, owner) = (claim.name(), claim.group, claim.owner);
        facts.claim = Some(claim);
        facts.returned(name, ret);
        self.begin(event, model);
        self.conclude(event, model);
        let attempt = self.threads.get(&event.tid).and_then(|thread| thread.attempt);
        if let (Some(group), true) = (group, ret >= 0) {
            let process = attempt.and_then(|number| self.attempt(number));
            let process = process.map_or_else(|| Process::of(event), |one| one.process.clone());
            self.holders.claimed(group, owner, process, number);
        }
        self.close(event);
    }

    /// A device was put on a domain, or the kernel says that it refuses it one.
    fn refused(&mut self, number: u64, event: &Event, model: &Known) {
        let Some(thread) = self.threads.get_mut(&event.tid) else { return };
        let called = matches!(event.body, Body::SetDomain { .. });
        // The line of the log comes between the entries and the call that they belong to, or after
        // those of the warning.
        let logged = matches!(event.body, Body::KernelMessage { .. });
        let walk = if logged { Walk::default() } else { std::mem::take(&mut thread.walk) };
        if thread.done || !thread.facts.in_call() {
            // A release, a removal or a hot-plugged device: nobody's attempt.
            return;
        }
        let facts = &mut thread.facts;
        facts.domains |= called;
        if let Body::SetDomain { device, ret, .. } = &event.body {
            let name = format!("__iommu_device_set_domain({})", device.name);
            facts.returned(&name, i64::from(*ret));
        }
        let Some(rejection) = Rejection::of_event(number, &event.body, walk) else {
            return;
        };
        let slot = match rejection.evidence {
            Evidence::Call => &mut facts.refused,
            Evidence::Warning => &mut facts.warned,
            Evidence::Log | Evidence::Inference => &mut facts.logged,
        };
        // Up to 6.18 the same device comes again: the first one counts.
        slot.get_or_insert(rejection);
        self.begin(event, model);
        self.conclude(event, model);
    }

    fn type1(
        &mut self,
        number: u64,
        event: &Event,
        phase: Phase,
        group: Option<u32>,
        model: &Known,
    ) {
        match phase {
            Phase::Enter => {
                let thread = self.fresh(event);
                let facts = &mut thread.facts;
                facts.type1 = Some(Type1 { group, exit: None });
                (facts.isolated, facts.listed) = (None, None);
                if facts.asks_ownership() {
                    // The container has its IOMMU already: this is a part of the claim.
                    return;
                }
                let held = group.and_then(|group| self.linked(Link::Group(event.pid, group)));
                self.fresh(event).attempt = held;
            }
            Phase::Exit { ret } => {
                let Some(thread) = self.threads.get_mut(&event.tid) else { return };
                let Some(type1) = &mut thread.facts.type1 else { return };
                type1.exit = Some((number, ret));
                thread.facts.returned("vfio_iommu_type1_attach_group", ret);
                if ret < 0 && thread.attempt.is_none() {
                    self.begin(event, model);
                }
                self.conclude(event, model);
                self.close(event);
            }
        }
    }

    fn iommufd_attach(&mut self, number: u64, event: &Event, phase: Phase, model: &Known) {
        match phase {
            Phase::Enter => {
                let thread = self.fresh(event);
                thread.facts.attach = Some(Frame::default());
                thread.facts.listed = None;
                let file =
                    thread.facts.outer.as_ref().map(|outer| Link::File(event.pid, outer.file));
                if thread.attempt.is_none() {
                    let attempt = file.and_then(|link| self.linked(link));
                    self.fresh(event).attempt = attempt;
                }
            }
            Phase::Exit { ret } => {
                let Some(thread) = self.threads.get_mut(&event.tid) else { return };
                thread.facts.attach = Some(Frame { ret: Some(ret), event: number });
                thread.facts.returned("iommufd_device_attach", ret);
                if ret < 0 && thread.attempt.is_none() {
                    self.begin(event, model);
                }
                self.conclude(event, model);
                self.close(event);
            }
        }
    }

    /// Whether somebody holds the group was asked.
    fn asked(&mut self, number: u64, event: &Event, model: &Known) {
        let Body::OwnerClaimed { claimed, group, group_owner, owner_count, foreign_domain } =
            &event.body
        else {
            return;
        };
        let thread = self.fresh(event);
        if !*claimed {
            thread.facts.members.clear();
            return;
        }
        thread.facts.status = Some(Asked {
            event: number,
            group: *group,
            owner: *group_owner,
            count: *owner_count,
            foreign_domain: *foreign_domain,
        });
        thread.facts.returned("iommu_group_dma_owner_claimed", 1);
        self.begin(event, model);
        self.conclude(event, model);
        self.close(event);
    }

    /// vfio-pci was asked to take a device.
    fn probed(
        &mut self,
        number: u64,
        event: &Event,
        device: Option<&Device>,
        ret: i64,
        model: &Known,
    ) {
        let Some(error) = crate::errno::of_return(ret) else { return };
        let bdf = device.and_then(|device| device.bdf);
        let mut found = Conclusion::new(Outcome::Failed);
        found.errno = Some(error);
        found.reason = Some(Reason::Unknown);
        let bridge = bdf.and_then(|bdf| model.function(bdf)?.is_bridge()) == Some(true);
        if let Some(device) = device.filter(|one| one.group.is_none())
            && error == Errno::EINVAL
            && !bridge
        {
            found.reason = Some(Reason::DeviceWithoutIommu);
            found.evidence = Some(Evidence::Call);
            found.facts = vec![format!(
                "event {number}: vfio_pci_probe returned EINVAL for {}, which has no IOMMU group",
                device.name
            )];
        }
        let mut attempt = Attempt {
            via: Via::VfioPci,
            call: DeviceFunction::VfioPciProbe.name().to_owned(),
            requested: bdf,
            requested_from: bdf.map(|_| RequestedFrom::Probe),
            group: device.and_then(|device| device.group),
            ..Attempt::new(Process::of(event), event.time_ns)
        };
        attempt.driver_changes = self.changes.of(attempt.group, bdf);
        attempt.calls.push(Call { name: attempt.call.clone(), ret });
        attempt.set(found);
        self.push(attempt);
    }

    fn removed(&mut self, number: u64, device: &Device, model: &Known) {
        let gone = |group: Option<u32>, requested: Option<Bdf>| {
            group.is_some() && group == device.group
                || requested.is_some() && requested == device.bdf
        };
        let mark = (number, device.name.clone());
        for thread in self.threads.values_mut() {
            if gone(thread.facts.group(), None) {
                thread.facts.removed = Some(mark.clone());
            }
        }
        for attempt in &mut self.attempts {
            let open = matches!(attempt.outcome, Outcome::Unknown | Outcome::Claimed);
            if open && gone(attempt.group, attempt.requested) {
                attempt.removed = Some(mark.clone());
            }
        }
        if let Some(group) = device.group.filter(|group| model.group(*group).is_none()) {
            // Its number may come again, for another group.
            self.holders.forget(group);
            self.links.retain(|link, _| !matches!(link, Link::Group(_, id) if *id == group));
        }
    }

    // What attempts are made of.

    /// The attempt of what is open in the thread: the one that it has, one that it goes on with, or
    /// a new one. What is known of it by now is filled in.
    fn begin(&mut self, event: &Event, model: &Known) {
        let Some(thread) = self.threads.get(&event.tid) else { return };
        let facts = &thread.facts;
        let pid = event.pid;
        let file = facts.outer.as_ref().map(|outer| outer.file).filter(|file| *file != 0);
        let file = file.map(|file| Link::File(pid, file));
        let group = facts.group();
        let mut found = thread.attempt;
        if found.is_none() {
            // The same process was told before that the group is not viable, and goes on.
            let links = [file, group.map(|group| Link::Group(pid, group))];
            let before = links.into_iter().flatten().find_map(|link| self.linked(link));
            found = before.filter(|number| {
                let index =
                    number.checked_sub(self.dropped).and_then(|at| usize::try_from(at).ok());
                index.and_then(|at| self.attempts.get(at)).is_some_and(|one| one.stopped)
            });
            if found.is_none() {
                let time_ns = facts.outer.as_ref().map_or(event.time_ns, |outer| outer.time_ns);
                found = Some(self.push(Attempt::new(Process::of(event), time_ns)));
            }
        }
        let Some(number) = found else { return };
        if let Some(thread) = self.threads.get_mut(&event.tid) {
            thread.attempt = found;
        }
        self.fill_in(number, event, model);
        let group = group.map(|group| Link::Group(pid, group));
        for link in [file, group, Some(Link::Last(pid, event.tid))].into_iter().flatten() {
            self.links.insert(link, number);
        }
    }

    /// What is known of an attempt beside its end.
    fn fill_in(&mut self, number: u64, event: &Event, model: &Known) {
        let Self { threads, attempts, dropped, lines, changes, .. } = self;
        let Some(thread) = threads.get(&event.tid) else { return };
        let index = number.checked_sub(*dropped).and_then(|index| usize::try_from(index).ok());
        let Some(attempt) = index.and_then(|index| attempts.get_mut(index)) else { return };
        let facts = &thread.facts;
        attempt.via = facts.via();
        attempt.call = facts.call();
        attempt.group = facts.group().or(attempt.group);
        let args = lines.of(event.pid);
        attempt.process.run(args);
        if attempt.driver_changes.is_empty() {
            attempt.driver_changes = changes.of(attempt.group, None);
        }
        attempt.qemu = is_qemu(&attempt.process.comm, args);
        let bound = facts.bind.as_ref().and_then(|bind| bind.device.as_ref()?.bdf);
        let claimed = facts.claim.as_ref().and_then(|claim| claim.device.as_ref()?.bdf);
        let named = facts.outer.as_ref().and_then(|outer| outer.device_name.as_deref());
        let (bdf, from) = match (bound, claimed) {
            (Some(bdf), _) => (Some(bdf), Some(RequestedFrom::Bind)),
            (None, Some(bdf)) => (Some(bdf), Some(RequestedFrom::Claim)),
            (None, None) => requested(named, args, attempt.group, model.host()),
        };
        // A guess does not take the place of what is known.
        if from >= attempt.requested_from {
            (attempt.requested, attempt.requested_from) = (bdf, from);
        }
        let mut handed = Hostdev::all(args).into_iter();
        attempt.hostdev = handed.find(|one| Some(one.bdf) == attempt.requested);
    }

    fn push(&mut self, attempt: Attempt) -> u64 {
        let count = self.attempts.len();
        let heavy = count.is_multiple_of(WEIGHED_AT_ONCE)
            && self.attempts.iter().map(Attempt::parts).sum::<usize>() > MAX_PARTS;
        if heavy || count >= MAX_ATTEMPTS + DROPPED_AT_ONCE {
            let oldest = if heavy { count / 2 } else { DROPPED_AT_ONCE };
            self.attempts.drain(..oldest);
            self.dropped += u64::try_from(oldest).unwrap_or_default();
            let first = self.dropped;
            self.links.retain(|_, number| *number >= first);
        }
        let number = self.dropped + u64::try_from(self.attempts.len()).unwrap_or_default();
        self.attempts.push(attempt);
        number
    }

    /// Says what came of the thread's attempt, by what was seen so far.
    fn conclude(&mut self, event: &Event, model: &Known) {
        let Self { threads, attempts, dropped, holders, links, .. } = self;
        let Some(thread) = threads.get_mut(&event.tid) else { return };
        let Some(number) = thread.attempt else { return };
        let index = number.checked_sub(*dropped).and_then(|index| usize::try_from(index).ok());
        let Some(index) = index else { return };
        if let Some(attempt) = attempts.get_mut(index) {
            let room = MAX_CALLS.saturating_sub(attempt.calls.len());
            attempt.calls.extend(thread.facts.calls.drain(..).take(room));
            if !wants_device(attempt, &thread.facts) {
                return;
            }
        }
        let Some(facts) = threads.get(&event.tid).map(|thread| &thread.facts) else { return };
        let Some(attempt) = attempts.get(index) else { return };
        let owners = Lookup { holders, threads, attempts, dropped: *dropped, asking: event.tid };
        let Some(found) = reason::conclude(facts, attempt, &owners, model) else { return };
        let Some(attempt) = attempts.get_mut(index) else { return };
        let asks_ownership = facts.asks_ownership();
        let known = attempt.reason.is_some_and(|reason| reason != Reason::Unknown);
        if found.reason == Some(Reason::Unknown) && known && !attempt.stopped && !asks_ownership {
            // It fails again, and why it failed first is known.
            return;
        }
        attempt.stopped = facts.status.is_some() && !asks_ownership;
        if asks_ownership {
            attempt.via = facts.via();
        }
        attempt.set(found);
        if attempt.outcome == Outcome::Failed {
            // The call that the error is of.
            attempt.call = facts.call();
        }
        if asks_ownership && matches!(attempt.outcome, Outcome::Rejected | Outcome::Failed) {
            // What follows is another try.
            let pid = event.pid;
            let file = facts.outer.as_ref().map(|outer| Link::File(pid, outer.file));
            let group = attempt.group.map(|group| Link::Group(pid, group));
            for link in [file, group, Some(Link::Last(pid, event.tid))].into_iter().flatten() {
                if links.get(&link) == Some(&number) {
                    links.remove(&link);
                }
            }
        }
    }

    /// Where nothing is open any more, what was seen of the call is done with.
    fn close(&mut self, event: &Event) {
        let Some(thread) = self.threads.get_mut(&event.tid) else { return };
        if thread.facts.is_open() {
            return;
        }
        if thread.facts.asks_ownership() {
            // The returns of the functions around it may follow, whose entries were lost.
            thread.done = true;
        } else {
            self.threads.remove(&event.tid);
        }
    }
}

impl Process {
    /// Takes over what the command line tells of the virtual machine.
    fn run(&mut self, args: &[String]) {
        if args.is_empty() {
            return;
        }
        let Vm { name, id } = Vm::of(args);
        (self.vm, self.vm_id) = (name.or_else(|| id.clone()), id);
    }

    /// The virtual machine for people: its name, and its number where it has one beside.
    #[must_use]
    pub fn machine(&self) -> Option<String> {
        let vm = self.vm.as_ref()?;
        Some(match &self.vm_id {
            Some(id) if id != vm => format!("{vm} (number {id})"),
            _ => vm.clone(),
        })
    }
}

impl Attempt {
    /// How QEMU words this failure on its standard error, after the name of the program and its
    /// argument: one text, or one for each wording that there was. Empty where the process is no
    /// QEMU, or where it is not known which call failed for which device. A number that nobody but
    /// QEMU knows is written as an ellipsis.
    #[must_use]
    pub fn qemu_prints(&self) -> Vec<String> {
        if self.qemu { qemu_messages::words(self) } else { Vec::new() }
    }

    fn new(process: Process, time_ns: u64) -> Self {
        Self {
            process,
            time_ns,
            via: Via::VfioGroup,
            call: String::new(),
            requested: None,
            requested_from: None,
            hostdev: None,
            group: None,
            driver_changes: Vec::new(),
            errno: None,
            outcome: Outcome::Unknown,
            rejections: Vec::new(),
            reason: None,
            evidence: None,
            facts: Vec::new(),
            host_drivers: Vec::new(),
            owned_by: None,
            also: Vec::new(),
            calls: Vec::new(),
            removed: None,
            noiommu: false,
            stopped: false,
            qemu: false,
        }
    }

    fn set(&mut self, found: Conclusion) {
        self.outcome = found.outcome;
        self.errno = found.errno;
        self.reason = found.reason;
        self.evidence = found.evidence;
        self.facts = found.facts;
        self.rejections = found.rejections;
        self.host_drivers = found.host_drivers;
        self.owned_by = found.owned_by;
        self.also = found.also;
        self.noiommu |= self.reason == Some(Reason::NoIommuMode);
    }
}

impl Facts {
    fn returned(&mut self, name: &str, ret: i64) {
        if self.calls.len() < MAX_CALLS {
            self.calls.push(Call { name: name.to_owned(), ret });
        }
    }

    /// Whether something is being attached, so that the kernel's own reading of the regions is for
    /// that.
    fn attaches(&self) -> bool {
        let type1 = self.type1.as_ref().is_some_and(|type1| type1.exit.is_none());
        let outer = self.outer.as_ref().is_some_and(|outer| {
            outer.ret.is_none() && outer.function == VfioFunction::ContainerIoctl
        });
        type1 || outer || self.attach.is_some_and(|frame| frame.ret.is_none())
    }
}

/// Who holds groups, as a thread asks that was kept from one.
struct Lookup<'a> {
    holders: &'a Holders,
    threads: &'a BTreeMap<u32, Thread>,
    attempts: &'a [Attempt],
    dropped: u64,
    asking: u32,
}

impl Owners for Lookup<'_> {
    fn of_group(&self, group: u32, owner: u64) -> Option<(Process, u64)> {
        // Whoever got it last may not have been seen to return.
        let claims = |facts: &Facts| {
            let claim = facts.claim.as_ref()?;
            let open = claim.exit.is_none() && claim.group == Some(group) && claim.owner == owner;
            claim.before.filter(|_| open).map(|before| before.event)
        };
        let others = self.threads.iter().filter(|(tid, _)| **tid != self.asking);
        let open = others.filter_map(|(_, thread)| Some((thread, claims(&thread.facts)?)));
        let open = open.filter_map(|(thread, event)| {
            let index = thread.attempt?.checked_sub(self.dropped)?;
            let attempt = self.attempts.get(usize::try_from(index).ok()?)?;
            Some((attempt.process.clone(), event))
        });
        open.chain(self.holders.of_group(group, owner)).max_by_key(|(_, event)| *event)
    }

    fn of_file(&self, path: &str) -> Option<(Process, u64)> {
        self.holders.of_file(path)
    }

    fn before(&self, group: u32) -> Option<(Process, &str)> {
        self.holders.before(group)
    }
}

/// Takes over the device that a process asks for in a group that it has. False if it is a further
/// device: the attempt has had what it wanted.
fn wants_device(attempt: &mut Attempt, facts: &Facts) -> bool {
    let asks = facts.outer.as_ref().filter(|outer| outer.is(VfioRequest::GET_DEVICE_FD));
    let Some(outer) = asks.filter(|_| !facts.asks_ownership()) else { return true };
    if attempt.outcome == Outcome::Attached
        && attempt.requested_from == Some(RequestedFrom::DeviceFd)
    {
        return false;
    }
    if let Some(bdf) = outer.device_name.as_deref().and_then(device_address) {
        (attempt.requested, attempt.requested_from) = (Some(bdf), Some(RequestedFrom::DeviceFd));
    }
    true
}

/// The claim of an event, and the state of its group then.
fn claim_of(number: u64, body: &Body) -> Option<(Claim, Asked)> {
    let Body::Claim { device, group, owner, group_owner, owner_count, foreign_domain, .. } = body
    else {
        return None;
    };
    let asked = Asked {
        event: number,
        group: *group,
        owner: *group_owner,
        count: *owner_count,
        foreign_domain: *foreign_domain,
    };
    let claim =
        Claim { device: device.clone(), group: *group, owner: *owner, before: None, exit: None };
    Some((claim, asked))
}

fn group_of(model: &Known, bdf: Bdf) -> Option<u32> {
    model.function(bdf)?.group.value().copied()
}
