//! From what was seen within a call to what came of it, and why. Pure: nothing is remembered here.
//!
//! An errno alone decides nothing: which functions were called before it, and what they read, tells
//! the reasons apart. Where that is not enough the reason is [`Reason::Unknown`]. Which function
//! fails with what is read from drivers/vfio, drivers/iommu/iommufd and drivers/iommu/iommu.c, 6.1 to
//! 7.3.

use super::{
    holder::host_drivers,
    parts::{Attempt, Further, HostDriver, Outcome, Process, Reason},
    refusal::{Evidence, Rejection},
    thread::{Asked, Claim, Facts, Outer, Seen},
};
use crate::{
    errno::{self, Errno},
    event::{Device, VfioFunction, VfioRequest},
    facts::RequireDirect,
    model::{known::Known, verdict},
};

/// What came of an attempt.
pub(super) struct Conclusion {
    pub(super) outcome: Outcome,
    pub(super) errno: Option<Errno>,
    pub(super) reason: Option<Reason>,
    pub(super) evidence: Option<Evidence>,
    pub(super) facts: Vec<String>,
    pub(super) rejections: Vec<Rejection>,
    pub(super) host_drivers: Vec<HostDriver>,
    pub(super) owned_by: Option<Process>,
    pub(super) also: Vec<Further>,
}

impl Conclusion {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            errno: None,
            reason: None,
            evidence: None,
            facts: Vec::new(),
            rejections: Vec::new(),
            host_drivers: Vec::new(),
            owned_by: None,
            also: Vec::new(),
        }
    }

    fn failed(error: Errno) -> Self {
        Self { errno: Some(error), reason: Some(Reason::Unknown), ..Self::new(Outcome::Failed) }
    }

    fn because(mut self, reason: Reason, facts: Vec<String>) -> Self {
        self.reason = Some(reason);
        self.evidence = Some(Evidence::Call);
        self.facts = facts;
        self
    }
}

/// Who holds groups and files: the process, and the number of the event by which it got them.
pub(super) trait Owners {
    fn of_group(&self, group: u32, owner: u64) -> Option<(Process, u64)>;
    fn of_file(&self, path: &str) -> Option<(Process, u64)>;
    /// Who had the group when the trace began, with the last part of the path of its file.
    fn before(&self, group: u32) -> Option<(Process, &str)>;
}

/// What came of an attempt after what was seen in a call of it; `None` if the call says nothing
/// new.
pub(super) fn conclude(
    facts: &Facts,
    attempt: &Attempt,
    owners: &impl Owners,
    model: &Known,
) -> Option<Conclusion> {
    let context = Context { facts, attempt, owners, model };
    let outer = facts.outer.as_ref();
    let function = outer.map(|outer| outer.function);
    let mut found = if facts.asks_ownership() {
        context.ownership()
    } else if facts.type1.is_some() || function == Some(VfioFunction::ContainerIoctl) {
        context.container()
    } else if facts.attach.is_some() || function == Some(VfioFunction::AttachIommufd) {
        context.attachment()
    } else if let Some(asked) = facts.status {
        context.status(asked)
    } else {
        match outer {
            Some(outer) if outer.opens() => context.open(outer)?,
            Some(outer) if outer.is(VfioRequest::GET_DEVICE_FD) => context.device(outer)?,
            _ => context.ownership(),
        }
    };
    if found.reason == Some(Reason::Unknown)
        && let Some((event, name)) = facts.removed.as_ref().or(attempt.removed.as_ref())
    {
        let fact = format!("event {event}: {name} was taken out of its group meanwhile");
        found = found.because(Reason::DeviceVanished, vec![fact]);
    }
    let good = matches!(found.outcome, Outcome::Claimed | Outcome::Attached);
    if good && context.without_iommu() {
        found = found.because(Reason::NoIommuMode, context.noiommu_facts());
    }
    Some(found)
}

struct Context<'a, O> {
    facts: &'a Facts,
    attempt: &'a Attempt,
    owners: &'a O,
    model: &'a Known,
}

fn failure(ret: Option<i64>) -> Option<Errno> {
    ret.and_then(errno::of_return)
}

impl<O: Owners> Context<'_, O> {
    fn outer_ret(&self) -> Option<i64> {
        self.facts.outer.as_ref()?.ret
    }

    fn group(&self) -> Option<u32> {
        self.attempt.group.or_else(|| self.facts.group())
    }

    /// The call in which the process asks for the ownership: `VFIO_GROUP_SET_CONTAINER`,
    /// `VFIO_DEVICE_BIND_IOMMUFD`, or `VFIO_GROUP_GET_DEVICE_FD` with iommufd as the container.
    fn ownership(&self) -> Conclusion {
        let facts = self.facts;
        let claim = facts.claim.as_ref().and_then(|claim| claim.exit).map(|(ret, _)| ret);
        let bind = facts.bind.as_ref().and_then(|bind| bind.ret);
        let container = facts.container.and_then(|frame| frame.ret);
        let attach = facts.attach.and_then(|frame| frame.ret);
        let type1 = facts.type1.as_ref().and_then(|type1| type1.exit).map(|(_, ret)| ret);
        let outwards = [claim, type1, attach, bind, container, self.outer_ret()];
        // What the process got, or the nearest to it.
        let error = outwards.iter().rev().find_map(|ret| failure(*ret));
        if claim.is_none_or(|ret| ret < 0)
            && let Some(mut rejection) = facts.refusal()
        {
            // Whatever is lost after a refusal: no claim succeeds with one in it.
            rejection.device.group = rejection.device.group.or_else(|| self.group());
            return Conclusion {
                errno: error,
                reason: Some(Reason::FirmwareDirectMap),
                evidence: Some(rejection.evidence),
                facts: vec![refusal_fact(&rejection)],
                rejections: vec![rejection],
                ..Conclusion::new(Outcome::Rejected)
            };
        }
        // An error inside comes out: a call that returned another value is not the one around it.
        let Some(error) = error else {
            let succeeded = self.outer_ret().is_some();
            let opened = facts.outer.as_ref().is_some_and(|one| one.is(VfioRequest::GET_DEVICE_FD));
            let bound = facts
                .outer
                .as_ref()
                .is_some_and(|outer| outer.function == VfioFunction::BindIommufd);
            let inside = [claim, type1, attach, bind, container].iter().any(Option::is_some);
            let outcome = match outwards.iter().rev().flatten().next() {
                None => Outcome::Unknown,
                Some(_) if opened && succeeded => Outcome::Attached,
                Some(_) if type1 == Some(0) => Outcome::Attached,
                // The end of a group's ioctl does not say which one it is: where events are lost it
                // may be that of VFIO_GROUP_GET_STATUS.
                Some(_) if !inside && !bound => Outcome::Unknown,
                Some(_) => Outcome::Claimed,
            };
            return Conclusion::new(outcome);
        };
        // What is around the claim succeeds only if it does.
        if [claim, bind, container].into_iter().flatten().any(|ret| ret >= 0) {
            return self.after_claim(error);
        }
        match &facts.claim {
            Some(claim) => self.claim_failed(claim, error),
            None => self.before_claim(error),
        }
    }

    /// The claim itself failed, without a refusal that was seen.
    fn claim_failed(&self, claim: &Claim, error: Errno) -> Conclusion {
        let failed = Conclusion::failed(error);
        let inner = claim.exit.map_or(error, |(ret, _)| errno::of_return(ret).unwrap_or(error));
        match inner {
            Errno::EPERM => self.held(claim, error),
            Errno::EBUSY => {
                let states = [claim.exit.map(|(_, after)| after), claim.before];
                match states.into_iter().flatten().find(|state| state.foreign_domain) {
                    Some(state) => failed.because(
                        Reason::BusyDomain,
                        vec![format!(
                            "event {}: the group is not on its default domain (iommu_group.domain)",
                            state.event
                        )],
                    ),
                    None => failed,
                }
            }
            Errno::ENODEV => failed
                .because(Reason::DeviceVanished, vec![format!("{} returned ENODEV", claim.name())]),
            Errno::EINVAL => self.inferred(claim, error),
            _ => failed,
        }
    }

    /// A claim is not permitted: somebody holds the group.
    fn held(&self, claim: &Claim, error: Errno) -> Conclusion {
        let failed = Conclusion::failed(error);
        let held = |state: &Asked| state.count > 0 && state.owner != claim.owner;
        let after = claim.exit.map(|(_, after)| after).filter(held);
        let before = claim.before.filter(held);
        let state = match (after, before) {
            // It changed hands meanwhile: in whose they were in between is not known.
            (Some(after), Some(before)) if (after.owner == 0) != (before.owner == 0) => None,
            (after, before) => after.or(before),
        };
        match state {
            Some(state) => self.held_by(failed, state),
            None if self.facts.members.iter().any(Seen::holds) => self.not_viable(failed, None),
            None => failed,
        }
    }

    /// The holder by the state of the group.
    fn held_by(&self, failed: Conclusion, state: Asked) -> Conclusion {
        if state.owner == 0 {
            return self.not_viable(failed, Some(state));
        }
        let mut facts = vec![format!(
            "event {}: iommu_group.owner_cnt is {} and there is an owner already",
            state.event, state.count,
        )];
        let group = state.group.or_else(|| self.group());
        let owner = group.and_then(|group| self.owners.of_group(group, state.owner));
        if let Some((process, event)) = &owner {
            facts.push(format!(
                "event {event}: {} (pid {}) claimed the group as that owner",
                process.comm, process.pid
            ));
        }
        let owner = owner.map(|(process, _)| process).or_else(|| self.had(group, &mut facts));
        let mut found = failed.because(Reason::OwnedByAnother, facts);
        found.owned_by = owner;
        found
    }

    /// Who had the group when the trace began, for a group of which nobody was seen to take it since.
    fn had(&self, group: Option<u32>, facts: &mut Vec<String>) -> Option<Process> {
        let (process, path) = self.owners.before(group?)?;
        facts.push(format!(
            "{} (pid {}) had the file {path} of /dev/vfio open when the trace began",
            process.comm, process.pid
        ));
        Some(process)
    }

    /// A driver of the host holds a function of the group.
    fn not_viable(&self, failed: Conclusion, state: Option<Asked>) -> Conclusion {
        let mut facts: Vec<String> = Vec::new();
        facts.extend(state.map(|state| {
            format!(
                "event {}: iommu_group.owner_cnt is {} and there is no owner, as where drivers of \
                 the host hold the group",
                state.event, state.count,
            )
        }));
        facts.extend(self.facts.members.iter().filter(|member| member.holds()).map(|member| {
            format!("event {}: {} is bound to {}", member.event, member.name, member.driver)
        }));
        let mut found = failed.because(Reason::GroupNotViable, facts);
        found.host_drivers = host_drivers(self.facts, self.group(), self.model);
        found.also = self.hidden();
        found
    }

    /// A claim failed as one does that is refused, and the refusal was not seen.
    fn inferred(&self, claim: &Claim, error: Errno) -> Conclusion {
        self.inferred_of(claim.exit.map(|(_, after)| after.event), claim.name(), error)
    }

    /// A call failed as one does that is refused, and the refusal was not seen.
    fn inferred_of(&self, event: Option<u64>, call: &str, error: Errno) -> Conclusion {
        let required = verdict::required(self.model, self.group());
        if required.is_empty() {
            return Conclusion::failed(error);
        }
        let mut facts = vec![format!(
            "{}{call} returned {error}, as it does where a device of the group must be mapped 1:1",
            event.map_or_else(String::new, |event| format!("event {event}: ")),
        )];
        facts.extend(required.iter().map(|one| format!("{} is known to be such", one.name)));
        let rejections = match required.as_slice() {
            [only] => vec![Rejection {
                device: Device {
                    ptr: 0,
                    name: only.name.clone(),
                    bdf: only.bdf,
                    group: self.group(),
                },
                driver: only.driver.clone(),
                evidence: Evidence::Inference,
                event: event.unwrap_or_default(),
                matches: Vec::new(),
                complete: false,
            }],
            _ => Vec::new(),
        };
        Conclusion {
            errno: Some(error),
            reason: Some(Reason::FirmwareDirectMap),
            evidence: Some(Evidence::Inference),
            facts,
            rejections,
            ..Conclusion::new(Outcome::Rejected)
        }
    }

    /// It failed, and no claim was seen.
    fn before_claim(&self, error: Errno) -> Conclusion {
        let facts = self.facts;
        let failed = Conclusion::failed(error);
        if self.without_iommu() {
            return failed.because(Reason::NoIommuMode, self.noiommu_facts());
        }
        let bind = facts.bind.as_ref().and_then(|bind| failure(bind.ret));
        // A device that is not in the group is ENODEV as well.
        let vanishes = facts.outer.as_ref().is_none_or(|outer| {
            outer.function == VfioFunction::BindIommufd || outer.is(VfioRequest::SET_CONTAINER)
        });
        match error {
            Errno::EPERM => match facts.isolated {
                Some((event, false)) => {
                    let mut found = failed.because(Reason::MsiNotIsolated, vec![msi_fact(event)]);
                    found.also = self.hidden();
                    found
                }
                _ if facts.members.iter().any(Seen::holds) => self.not_viable(failed, None),
                _ => failed,
            },
            // Nothing but an open file of its group keeps a device from being bound before iommufd is
            // asked (`vfio_device_block_group`, drivers/vfio/group.c).
            Errno::EBUSY
                if facts.bind.is_none()
                    && facts.isolated.is_none()
                    && !facts.domains
                    && facts
                        .outer
                        .as_ref()
                        .is_some_and(|outer| outer.function == VfioFunction::BindIommufd) =>
            {
                failed.because(
                    Reason::OwnedByAnother,
                    vec![format!(
                        "event {}: VFIO_DEVICE_BIND_IOMMUFD returned EBUSY and had not asked \
                         iommufd, as where the file of the device's group is open",
                        facts.outer.as_ref().map_or(0, |outer| outer.event)
                    )],
                )
            }
            Errno::ENODEV if bind.is_some() || vanishes => {
                let (event, name) = match (&facts.bind, &facts.outer) {
                    (Some(bind), _) if bind.ret.is_some() => {
                        (bind.event, "iommufd_device_bind".to_owned())
                    }
                    (_, Some(outer)) => (outer.event, outer.name()),
                    (_, None) => (facts.container.map_or(0, |frame| frame.event), facts.call()),
                };
                let fact = format!("event {event}: {name} returned ENODEV");
                failed.because(Reason::DeviceVanished, vec![fact])
            }
            // A device that is open by its own file cannot be opened by it again: that is found
            // before iommufd is asked (`vfio_df_open`, drivers/vfio/vfio_main.c).
            Errno::EINVAL
                if facts.bind.is_none()
                    && facts.isolated.is_none()
                    && !facts.domains
                    && facts.outer.as_ref().is_some_and(|outer| {
                        outer.function == VfioFunction::BindIommufd
                    })
                    && let Some((event, ret)) = facts.opened
                    && errno::of_return(ret) == Some(Errno::EINVAL) =>
            {
                failed.because(
                    Reason::OwnedByAnother,
                    vec![format!(
                        "event {event}: vfio_df_open returned EINVAL before iommufd was asked, as it \
                         does where the device is open by its own file already"
                    )],
                )
            }
            // iommufd_device_bind asks for the coherency, then for the isolation, then claims.
            Errno::EINVAL
                if bind == Some(Errno::EINVAL)
                    && facts.isolated.is_none()
                    && !facts.domains
                    && self.clear_of_direct_maps() =>
            {
                failed.because(
                    Reason::NoCoherency,
                    vec![format!(
                        "event {}: iommufd_device_bind returned EINVAL and had not asked for \
                         isolated interrupts",
                        facts.bind.as_ref().map_or(0, |bind| bind.event)
                    )],
                )
            }
            _ => failed,
        }
    }

    /// It failed although the claim was granted.
    fn after_claim(&self, error: Errno) -> Conclusion {
        if self.facts.attach.is_some() {
            return self.attach_failed(error);
        }
        if self.facts.type1.is_some() {
            return self.type1_failed(error);
        }
        Conclusion::failed(error)
    }

    /// A container takes its groups into an IOMMU: `VFIO_SET_IOMMU`.
    fn container(&self) -> Conclusion {
        let type1 = self.facts.type1.as_ref().and_then(|type1| type1.exit).map(|(_, ret)| ret);
        let rets = [self.outer_ret(), type1];
        match rets.iter().find_map(|ret| failure(*ret)) {
            Some(error) => self.type1_failed(error),
            None if rets.iter().any(Option::is_some) => Conclusion::new(Outcome::Attached),
            None => Conclusion::new(self.attempt.outcome),
        }
    }

    fn type1_failed(&self, error: Errno) -> Conclusion {
        let facts = self.facts;
        let failed = Conclusion::failed(error);
        match (error, facts.isolated, facts.listed) {
            (Errno::EPERM, Some((event, false)), _) => {
                failed.because(Reason::MsiNotIsolated, vec![msi_fact(event)])
            }
            // Up to 6.5 the question has no function of its own. It is the one that is asked after
            // the regions were listed.
            (Errno::EPERM, None, Some(event)) => failed.because(
                Reason::MsiNotIsolated,
                vec![format!(
                    "event {event}: the reserved regions were read, and then it returned EPERM, as \
                     it does only where interrupts are not isolated"
                )],
            ),
            // Up to 6.5 Intel's driver refused by itself, before the regions were listed
            // (`device_is_rmrr_locked` in `intel_iommu_attach_device`).
            (Errno::EPERM, None, None)
                if self.model.is_intel_host()
                    && self.model.require_direct() == RequireDirect::Missing =>
            {
                let event = facts.type1.as_ref().and_then(|type1| type1.exit);
                let event = event.map(|(event, _)| event);
                self.inferred_of(event, "vfio_iommu_type1_attach_group", error)
            }
            (Errno::EINVAL, _, Some(event)) => failed.because(
                Reason::ReservedRegionConflict,
                vec![format!(
                    "event {event}: the reserved regions were read, and then it returned EINVAL"
                )],
            ),
            _ => failed,
        }
    }

    /// A device that is bound to iommufd is attached to an address space.
    fn attachment(&self) -> Conclusion {
        let rets = [self.outer_ret(), self.facts.attach.and_then(|frame| frame.ret)];
        match rets.iter().find_map(|ret| failure(*ret)) {
            Some(error) => self.attach_failed(error),
            None if rets.iter().any(Option::is_some) => Conclusion::new(Outcome::Attached),
            None => Conclusion::new(self.attempt.outcome),
        }
    }

    fn attach_failed(&self, error: Errno) -> Conclusion {
        let failed = Conclusion::failed(error);
        if error != Errno::EADDRINUSE {
            return failed;
        }
        failed.because(
            Reason::ReservedRegionConflict,
            vec![
                match (self.facts.attach.filter(|frame| frame.ret.is_some()), &self.facts.outer) {
                    (None, Some(outer)) => {
                        format!("event {}: {} returned EADDRINUSE", outer.event, outer.name())
                    }
                    (frame, _) => format!(
                        "event {}: iommufd_device_attach returned EADDRINUSE, as where a reserved \
                     region is mapped already",
                        frame.map_or(0, |frame| frame.event)
                    ),
                },
            ],
        )
    }

    /// The group is said not to be viable, which is where most programs stop.
    fn status(&self, asked: Asked) -> Conclusion {
        let failed =
            Conclusion { reason: Some(Reason::Unknown), ..Conclusion::new(Outcome::Failed) };
        self.held_by(failed, asked)
    }

    /// The file of a group was not opened.
    fn open(&self, outer: &Outer) -> Option<Conclusion> {
        let error = failure(outer.ret)?;
        let failed = Conclusion::failed(error);
        let fact = format!("event {}: {} returned {error}", outer.event, outer.name());
        Some(match error {
            _ if outer.without_iommu() => failed.because(Reason::NoIommuMode, self.noiommu_facts()),
            // The file is open already, or a device of the group is open by its own file.
            Errno::EBUSY => {
                let owner = outer.path.as_deref().and_then(|path| self.owners.of_file(path));
                let mut facts = vec![fact];
                facts.extend(owner.iter().map(|(process, event)| {
                    format!("event {event}: {} (pid {}) took it", process.comm, process.pid)
                }));
                let group = outer.path.as_deref().and_then(|path| path.parse().ok());
                let owner =
                    owner.map(|(process, _)| process).or_else(|| self.had(group, &mut facts));
                let mut found = failed.because(Reason::OwnedByAnother, facts);
                found.owned_by = owner;
                found
            }
            // The last device was taken from VFIO while the file was opened.
            Errno::ENODEV => failed.because(Reason::DeviceVanished, vec![fact]),
            _ => failed,
        })
    }

    /// A device of a group that the process has was asked for.
    fn device(&self, outer: &Outer) -> Option<Conclusion> {
        let attempt = self.attempt;
        let Some(error) = failure(outer.ret) else {
            return Some(Conclusion::new(Outcome::Attached));
        };
        // What went wrong before is why this does.
        let told = matches!(attempt.outcome, Outcome::Failed | Outcome::Rejected);
        (!told).then(|| Conclusion::failed(error))
    }

    /// The 1:1 maps that stop the claim which was not reached.
    fn hidden(&self) -> Vec<Further> {
        if self.model.refuses() != RequireDirect::Present {
            return Vec::new();
        }
        let required = verdict::required(self.model, self.group());
        if required.is_empty() {
            return Vec::new();
        }
        vec![Further {
            reason: Reason::FirmwareDirectMap,
            devices: required.into_iter().map(|one| one.name).collect(),
        }]
    }

    /// Whether no device of the group is known or suspected to need a 1:1 map.
    fn clear_of_direct_maps(&self) -> bool {
        verdict::is_clear(self.model, self.group())
    }

    fn without_iommu(&self) -> bool {
        let facts = self.facts;
        let named = facts.outer.as_ref().is_some_and(Outer::without_iommu);
        // Only of a call that was seen to begin: where that was lost, a claim may have been as well.
        let unnamed = facts
            .outer
            .as_ref()
            .is_some_and(|outer| outer.is(VfioRequest::SET_CONTAINER) && outer.path.is_none());
        // No claim, and not a trace of one.
        let unclaimed = facts.container.is_some_and(|frame| frame.ret == Some(0))
            && facts.claim.is_none()
            && !facts.domains
            && self.group().is_none();
        named || unnamed && unclaimed || self.attempt.noiommu
    }

    fn noiommu_facts(&self) -> Vec<String> {
        let outer = self.facts.outer.as_ref().filter(|outer| outer.without_iommu());
        vec![match outer.and_then(|outer| Some((outer.event, outer.path.as_deref()?))) {
            Some((event, path)) => format!("event {event}: the group is /dev/vfio/{path}"),
            None if self.attempt.noiommu => "the group was taken so before".to_owned(),
            None => format!(
                "event {}: vfio_container_attach_group attached the group without a claim",
                self.facts.container.map_or(0, |frame| frame.event)
            ),
        }]
    }
}

fn msi_fact(event: u64) -> String {
    format!("event {event}: iommu_group_has_isolated_msi returned false")
}

fn refusal_fact(rejection: &Rejection) -> String {
    let (event, name) = (rejection.event, &rejection.device.name);
    match rejection.evidence {
        Evidence::Call => format!(
            "event {event}: __iommu_device_set_domain refused {name}, whose require_direct is set, \
             a blocking domain"
        ),
        Evidence::Warning => {
            format!("event {event}: the kernel warned that it refuses {name}, while it claimed")
        }
        Evidence::Log | Evidence::Inference => {
            format!("event {event}: the kernel logged that it refuses {name}, while it claimed")
        }
    }
}
