//! How QEMU words a failure, so that whoever looks for the message finds its cause.
//!
//! The table was taken from QEMU's sources (`hw/vfio/common.c` of 7.2, `hw/vfio/container.c` and
//! `iommufd.c` of 8.2 to 10, `container-legacy.c` of 10.1 on) and is held against what QEMU prints by
//! the tests of the VM lab.

use super::parts::{Attempt, Reason, Via};
use crate::event::VfioRequest;

/// A call of QEMU that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// `open` of the group.
    OpenGroup,
    /// `VFIO_GROUP_GET_STATUS` says that the group is not viable.
    NotViable,
    SetContainer,
    SetIommu,
    GetDeviceFd,
    BindIommufd,
    AttachIommufd,
}

/// What QEMU prints, after `vfio ADDRESS: `; `{group}`, `{device}` and `{error}` are filled in. An
/// ellipsis is a file descriptor or another number of QEMU's own.
const WORDINGS: &[(Step, &str)] = &[
    (Step::OpenGroup, "failed to open /dev/vfio/{group}: {error}"),
    // With `qemu_open` instead of `qemu_open_old`, in newer ones.
    (Step::OpenGroup, "Could not open '/dev/vfio/{group}': {error}"),
    (Step::NotViable, "group {group} is not viable"),
    (
        Step::SetContainer,
        "failed to setup container for group {group}: Failed to set group container: {error}",
    ),
    (
        Step::SetIommu,
        "failed to setup container for group {group}: Failed to set iommu for container: {error}",
    ),
    (Step::GetDeviceFd, "error getting device from group {group}: {error}"),
    (Step::BindIommufd, "error bind device fd=… to iommufd=…: {error}"),
    (Step::AttachIommufd, "[iommufd=…] error attach {device} (…) to id=…: {error}"),
];

/// What a QEMU prints when this attempt of it fails.
pub(super) fn words(attempt: &Attempt) -> Vec<String> {
    let Some(handed) = &attempt.hostdev else { return Vec::new() };
    let Some(step) = step(attempt) else { return Vec::new() };
    let device = handed.bdf.to_string();
    WORDINGS
        .iter()
        .filter(|(of, _)| *of == step)
        .filter_map(|(_, words)| {
            let mut words = words.replace("{device}", &device);
            if words.contains("{group}") {
                words = words.replace("{group}", &attempt.group?.to_string());
            }
            if words.contains("{error}") {
                words = words.replace("{error}", attempt.errno?.message()?);
            }
            Some(format!("vfio {device}: {words}"))
        })
        .collect()
}

/// The call whose failure QEMU reports.
fn step(attempt: &Attempt) -> Option<Step> {
    let is = |request: VfioRequest| attempt.call == request.to_string();
    if attempt.errno.is_none() {
        return (attempt.reason == Some(Reason::GroupNotViable) && is(VfioRequest::GET_STATUS))
            .then_some(Step::NotViable);
    }
    let steps = [
        (VfioRequest::SET_CONTAINER, Step::SetContainer),
        (VfioRequest::SET_IOMMU, Step::SetIommu),
        (VfioRequest::GET_DEVICE_FD, Step::GetDeviceFd),
        (VfioRequest::BIND_IOMMUFD, Step::BindIommufd),
        (VfioRequest::ATTACH_IOMMUFD, Step::AttachIommufd),
    ];
    if let Some((_, step)) = steps.into_iter().find(|(request, _)| is(*request)) {
        return Some(step);
    }
    if attempt.call.starts_with("open of /dev/vfio/") {
        return Some(Step::OpenGroup);
    }
    // The ioctl around it was not seen, where VFIO's module had just come. Only one leads there.
    match (attempt.via, attempt.call.as_str()) {
        (Via::VfioGroup, "vfio_container_attach_group" | "iommu_group_claim_dma_owner") => {
            Some(Step::SetContainer)
        }
        _ => None,
    }
}
