//! What was seen within one call of one thread.
//!
//! Everything between the entry and the return of a call on a VFIO file runs in one thread, and the
//! ring keeps the order of one thread's events; so they are gathered by thread id, and what other
//! threads do in between changes nothing. Any event may be missing.

use super::{
    parts::{Call, Via},
    refusal::{Rejection, Walk},
};
use crate::event::{Device, VfioFunction, VfioRequest};

/// What is open in a thread.
#[derive(Default)]
pub(super) struct Thread {
    /// The process.
    pub(super) pid: u32,
    pub(super) facts: Facts,
    /// Number of the attempt that the call led to, or that it goes on with.
    pub(super) attempt: Option<u64>,
    /// The entries of the unity map that were walked last.
    pub(super) walk: Walk,
    /// The call has come to its end, as far as its beginning was seen: only returns of functions
    /// around it may follow.
    pub(super) done: bool,
}

/// What was seen within one call.
#[derive(Default)]
pub(super) struct Facts {
    /// The call of the process.
    pub(super) outer: Option<Outer>,
    /// `vfio_container_attach_group`
    pub(super) container: Option<Frame>,
    /// `iommufd_device_bind`
    pub(super) bind: Option<Bind>,
    /// The claim of the ownership.
    pub(super) claim: Option<Claim>,
    /// `vfio_iommu_type1_attach_group`
    pub(super) type1: Option<Type1>,
    /// `iommufd_device_attach`
    pub(super) attach: Option<Frame>,
    /// The answer that somebody holds the group.
    pub(super) status: Option<Asked>,
    /// The members of a group that cannot be claimed.
    pub(super) members: Vec<Seen>,
    /// What VFIO's opening of the device returned without having asked iommufd, and the number of
    /// the event.
    pub(super) opened: Option<(u64, i64)>,
    /// Whether the interrupts are isolated, and the number of the event.
    pub(super) isolated: Option<(u64, bool)>,
    /// The kernel listed the reserved regions of a device for an attachment: number of the event.
    pub(super) listed: Option<u64>,
    /// A device was put on a domain, refused or not.
    pub(super) domains: bool,
    /// The refusal by the call itself, the first one.
    pub(super) refused: Option<Rejection>,
    /// The refusal by the kernel's warning.
    pub(super) warned: Option<Rejection>,
    /// The refusal by a line of the kernel's log.
    pub(super) logged: Option<Rejection>,
    /// A device of the group was taken out of it meanwhile: its name, and the number of the event.
    pub(super) removed: Option<(u64, String)>,
    /// The calls that returned and have not been added to the attempt.
    pub(super) calls: Vec<Call>,
}

/// A call of a process on a VFIO file.
pub(super) struct Outer {
    pub(super) function: VfioFunction,
    /// `None` if its beginning was not seen.
    pub(super) request: Option<VfioRequest>,
    pub(super) device_name: Option<String>,
    pub(super) path: Option<String>,
    pub(super) file: u64,
    pub(super) time_ns: u64,
    pub(super) ret: Option<i64>,
    /// Number of the event of its return, or of its entry as long as it has not returned.
    pub(super) event: u64,
}

impl Outer {
    /// What the process would call it.
    pub(super) fn name(&self) -> String {
        match (self.function, self.request) {
            (VfioFunction::GroupOpen, _) => {
                format!("open of /dev/vfio/{}", self.path.as_deref().unwrap_or("?"))
            }
            (VfioFunction::BindIommufd, _) => VfioRequest::BIND_IOMMUFD.to_string(),
            (VfioFunction::AttachIommufd, _) => VfioRequest::ATTACH_IOMMUFD.to_string(),
            (VfioFunction::ContainerIoctl, None) => VfioRequest::SET_IOMMU.to_string(),
            (_, Some(request)) => request.to_string(),
            (VfioFunction::GroupIoctl, None) => self.function.name().to_owned(),
        }
    }

    pub(super) fn opens(&self) -> bool {
        self.function == VfioFunction::GroupOpen
    }

    pub(super) fn is(&self, request: VfioRequest) -> bool {
        self.function == VfioFunction::GroupIoctl && self.request == Some(request)
    }

    /// A group of VFIO's mode without an IOMMU: they are named `noiommu-N` (`vfio_noiommu_group_alloc`
    /// and `vfio_create_group`, drivers/vfio/group.c).
    pub(super) fn without_iommu(&self) -> bool {
        self.path.as_deref().is_some_and(|path| path.starts_with("noiommu-"))
    }

    /// The IOMMU group by whose number the file is named.
    pub(super) fn group(&self) -> Option<u32> {
        self.path.as_deref()?.parse().ok()
    }
}

/// A function that was entered: what it returned, if that was seen.
#[derive(Clone, Copy, Default)]
pub(super) struct Frame {
    pub(super) ret: Option<i64>,
    /// Number of the event of its return.
    pub(super) event: u64,
}

/// `iommufd_device_bind`
#[derive(Default)]
pub(super) struct Bind {
    /// The device; it is known on entry.
    pub(super) device: Option<Device>,
    pub(super) ret: Option<i64>,
    /// Number of the event of its return.
    pub(super) event: u64,
}

/// `vfio_iommu_type1_attach_group`
pub(super) struct Type1 {
    pub(super) group: Option<u32>,
    /// What it returned, and the number of that event.
    pub(super) exit: Option<(u64, i64)>,
}

/// A claim of the ownership of a group.
pub(super) struct Claim {
    pub(super) device: Option<Device>,
    pub(super) group: Option<u32>,
    /// The owner that asks.
    pub(super) owner: u64,
    /// The state of the group on entry, if that was seen.
    pub(super) before: Option<Asked>,
    /// What it returned and the state of the group then.
    pub(super) exit: Option<(i64, Asked)>,
}

impl Claim {
    /// The kernel's name for it.
    pub(super) fn name(&self) -> &'static str {
        if self.device.is_some() {
            "iommu_device_claim_dma_owner"
        } else {
            "iommu_group_claim_dma_owner"
        }
    }
}

/// The state of a group, as an event shows it.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Number of the event.
    pub(super) event: u64,
    pub(super) group: Option<u32>,
    /// The owner that the group has; 0 if a host driver or nobody holds it.
    pub(super) owner: u64,
    /// How many hold it.
    pub(super) count: u32,
    pub(super) foreign_domain: bool,
}

impl Facts {
    /// Whether the thread is known to be in a call that may lead to a claim.
    pub(super) fn in_call(&self) -> bool {
        let outer = self.outer.as_ref().filter(|outer| outer.ret.is_none());
        let outer = outer.is_some_and(|outer| match outer.function {
            VfioFunction::GroupIoctl => {
                outer.is(VfioRequest::SET_CONTAINER) || outer.is(VfioRequest::GET_DEVICE_FD)
            }
            VfioFunction::BindIommufd => true,
            _ => false,
        });
        let container = self.container.is_some_and(|frame| frame.ret.is_none());
        let bind = self.bind.as_ref().is_some_and(|bind| bind.ret.is_none());
        outer || container || bind || self.in_claim()
    }

    pub(super) fn in_claim(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.exit.is_none())
    }

    /// Whether something that the thread was seen to enter has not returned.
    pub(super) fn is_open(&self) -> bool {
        self.in_call()
            || self.outer.as_ref().is_some_and(|outer| outer.ret.is_none())
            || self.type1.as_ref().is_some_and(|type1| type1.exit.is_none())
            || self.attach.is_some_and(|frame| frame.ret.is_none())
    }

    /// Whether the ownership of a group was asked for.
    pub(super) fn asks_ownership(&self) -> bool {
        self.container.is_some()
            || self.bind.is_some()
            || self.claim.is_some()
            || [&self.refused, &self.warned, &self.logged].into_iter().any(Option::is_some)
    }

    /// The refusal, on the best evidence.
    pub(super) fn refusal(&self) -> Option<Rejection> {
        let called = self.refused.clone().map(|one| one.completed(self.warned.as_ref()));
        called.or_else(|| self.warned.clone()).or_else(|| self.logged.clone())
    }

    pub(super) fn via(&self) -> Via {
        let function = self.outer.as_ref().map(|outer| outer.function);
        let on_device =
            self.bind.is_some() || self.claim.as_ref().is_some_and(|claim| claim.device.is_some());
        match function {
            Some(VfioFunction::BindIommufd | VfioFunction::AttachIommufd) => Via::Iommufd,
            Some(VfioFunction::GroupIoctl) if on_device => Via::IommufdCompat,
            None if on_device || self.attach.is_some() => Via::Iommufd,
            _ => Via::VfioGroup,
        }
    }

    /// The group, from whatever names it.
    pub(super) fn group(&self) -> Option<u32> {
        let claim = self.claim.as_ref().and_then(|claim| claim.group);
        let bind = || self.bind.as_ref()?.device.as_ref()?.group;
        let status = || self.status?.group;
        let type1 = || self.type1.as_ref()?.group;
        let refused = || self.refused.as_ref().or(self.warned.as_ref())?.device.group;
        let path = || self.outer.as_ref()?.group();
        claim.or_else(bind).or_else(status).or_else(type1).or_else(refused).or_else(path)
    }

    /// A name for the call, the process's own if that was seen.
    pub(super) fn call(&self) -> String {
        if let Some(outer) = &self.outer {
            return outer.name();
        }
        let name = match self {
            Self { bind: Some(_), .. } => "iommufd_device_bind",
            Self { container: Some(_), .. } => "vfio_container_attach_group",
            Self { claim: Some(claim), .. } => claim.name(),
            Self { status: Some(_), .. } => "iommu_group_dma_owner_claimed",
            Self { attach: Some(_), .. } => "iommufd_device_attach",
            Self { type1: Some(_), .. } => "vfio_iommu_type1_attach_group",
            _ => "__iommu_device_set_domain",
        };
        name.to_owned()
    }
}

/// A member of a group as the kernel listed it when the group was asked for.
pub(super) struct Seen {
    pub(super) event: u64,
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) manages_dma: bool,
}

impl Seen {
    /// Whether it keeps the group from being taken.
    pub(super) fn holds(&self) -> bool {
        !self.driver.is_empty() && !self.manages_dma
    }
}
