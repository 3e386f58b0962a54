//! Entry points. Each takes its arguments from the context and hands them to the code it shares
//! with its neighbours; nothing is decided here.

mod claim;
mod emit;
mod kernel;
mod regions;
mod set_domain;
mod vfio;

use aya_ebpf::{
    EbpfContext as _,
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext},
};
use ivrs_trace_common::{Kind, ModuleLoad, ProbeId};

use emit::Probe;

/// `void amd_iommu_get_resv_regions(struct device *dev, struct list_head *head)`
#[fexit]
fn amd_resv_regions(ctx: FExitContext) -> i32 {
    regions::report(Probe::hit(ProbeId::AMD_RESV_REGIONS), ctx.arg(0), ctx.arg(1));
    0
}

/// `void iommu_get_resv_regions(struct device *dev, struct list_head *list)`
#[fexit]
fn core_resv_regions(ctx: FExitContext) -> i32 {
    regions::report(Probe::hit(ProbeId::CORE_RESV_REGIONS), ctx.arg(0), ctx.arg(1));
    0
}

/// `int iommu_group_claim_dma_owner(struct iommu_group *group, void *owner)`
#[fentry]
fn group_claim_enter(ctx: FEntryContext) -> i32 {
    let probe = Probe::hit(ProbeId::GROUP_CLAIM);
    claim::args(probe);
    claim::group(probe, Kind::GROUP_CLAIM_ENTER, ctx.arg(0), ctx.arg(1), 0);
    0
}

/// See [`group_claim_enter`].
#[fexit]
fn group_claim_exit(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::GROUP_CLAIM);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    claim::group(probe, Kind::GROUP_CLAIM_EXIT, ctx.arg(0), ctx.arg(1), ret);
    0
}

/// `int iommu_device_claim_dma_owner(struct device *dev, void *owner)`
#[fentry]
fn device_claim_enter(ctx: FEntryContext) -> i32 {
    let probe = Probe::hit(ProbeId::DEVICE_CLAIM);
    claim::args(probe);
    claim::device(probe, Kind::DEVICE_CLAIM_ENTER, ctx.arg(0), ctx.arg(1), 0);
    0
}

/// See [`device_claim_enter`].
#[fexit]
fn device_claim_exit(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::DEVICE_CLAIM);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    claim::device(probe, Kind::DEVICE_CLAIM_EXIT, ctx.arg(0), ctx.arg(1), ret);
    0
}

/// `int __iommu_device_set_domain(struct iommu_group *group, struct device *dev,
/// struct iommu_domain *new_domain, ...)`. What follows the third argument differs by version, so
/// it is not read.
#[fexit]
fn set_domain(ctx: FExitContext) -> i32 {
    let probe = Probe::hit(ProbeId::SET_DOMAIN);
    let Some(ret) = ret(&ctx, probe) else { return 0 };
    set_domain::report(probe, ctx.arg(0), ctx.arg(1), ctx.arg(2), ret);
    0
}

/// `long vfio_group_fops_unl_ioctl(struct file *filep, unsigned int cmd, unsigned long arg)`
#[kprobe]
fn group_ioctl_enter(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::GROUP_IOCTL);
    if let (Some(cmd), Some(arg)) = (ctx.arg(1), ctx.arg(2)) {
        vfio::group_ioctl_enter(probe, cmd, arg);
    }
    0
}

/// See [`group_ioctl_enter`].
#[kretprobe]
fn group_ioctl_exit(ctx: RetProbeContext) -> u32 {
    vfio::group_ioctl_exit(Probe::hit(ProbeId::GROUP_IOCTL), ctx.ret());
    0
}

/// `int vfio_container_attach_group(struct vfio_container *container, struct vfio_group *group)`
#[kprobe]
fn container_attach_enter(_ctx: ProbeContext) -> u32 {
    vfio::attach(Probe::hit(ProbeId::CONTAINER_ATTACH), Kind::CONTAINER_ATTACH_ENTER, 0, 0);
    0
}

/// See [`container_attach_enter`].
#[kretprobe]
fn container_attach_exit(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::CONTAINER_ATTACH);
    vfio::attach(probe, Kind::CONTAINER_ATTACH_EXIT, 0, ctx.ret());
    0
}

/// `int vfio_iommu_type1_attach_group(void *iommu_data, struct iommu_group *iommu_group,
/// enum vfio_group_type type)`
#[kprobe]
fn type1_attach_enter(ctx: ProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::TYPE1_ATTACH);
    vfio::attach(probe, Kind::TYPE1_ATTACH_ENTER, ctx.arg(1).unwrap_or(0), 0);
    0
}

/// See [`type1_attach_enter`].
#[kretprobe]
fn type1_attach_exit(ctx: RetProbeContext) -> u32 {
    let probe = Probe::hit(ProbeId::TYPE1_ATTACH);
    vfio::attach(probe, Kind::TYPE1_ATTACH_EXIT, 0, ctx.ret());
    0
}

/// The tracepoint `module:module_load`, whose first argument is the `struct module *`.
#[raw_tracepoint(tracepoint = "module_load")]
fn module_load(ctx: RawTracePointContext) -> i32 {
    let probe = Probe::hit(ProbeId::MODULE_LOAD);
    let args = ctx.as_ptr() as *const u64;
    // SAFETY: the context of a raw tracepoint is the array of its arguments, and this one has one.
    let module = unsafe { *args };
    probe.send(Kind::MODULE_LOAD, |event: *mut ModuleLoad| {
        let mut reader = kernel::Reader::new(probe);
        // SAFETY: `event` is a whole entry of the ring.
        reader.module_name(module, unsafe { &raw mut (*event).name });
        reader.finish();
    });
    0
}

/// The return value of the function that the program watches.
fn ret(ctx: &FExitContext, probe: Probe) -> Option<i32> {
    match ctx.ret::<i32>() {
        Ok(value) => Some(value),
        Err(_) => {
            probe.read_failed();
            None
        }
    }
}

/// The licence that the kernel checks before it lends its GPL-only helpers.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // The verifier rejects any program in which this can be reached.
    loop {}
}
