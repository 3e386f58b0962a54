//! Every way to take a device and every way to fail, as the programs would send it: alone, mixed
//! with others, and with events missing.

use proptest::prelude::*;

use super::*;
use crate::{
    host::{Reading, Snapshot},
    model::{
        RequireDirect,
        fixture::{
            AM5, GROUPS, Owned, QEMU, SINGLE, Thread as Script, device, host, model, model_of,
            table, view,
        },
    },
};

const DPDK: Script = Script { pid: 200, tid: 200, comm: "dpdk-testpmd" };

/// Group 5 has 00:07.1, which firmware wants mapped 1:1, group 11 has it for both, 1 and 14 not.
fn lab() -> Snapshot {
    host(GROUPS, &table(&[SINGLE, AM5_BUSES]))
}

const AM5_BUSES: &str =
    "type=0x22,flags=0x07,devid=0x0200,aux=0x0fff,start=0x7b2f6000,length=0x40000";

/// A try to take a device, and what is to be said of it.
struct Story {
    name: &'static str,
    events: Vec<Event>,
    via: Via,
    outcome: Outcome,
    errno: Option<u32>,
    reason: Option<Reason>,
    /// The devices that were refused.
    refused: &'static [&'static str],
}

impl Story {
    fn new(name: &'static str, via: Via, events: Vec<Event>) -> Self {
        let outcome = Outcome::Attached;
        Self { name, events, via, outcome, errno: None, reason: None, refused: &[] }
    }

    fn failed(self, errno: u32, reason: Reason) -> Self {
        let errno = Some(errno).filter(|errno| *errno != 0);
        Self { outcome: Outcome::Failed, errno, reason: Some(reason), ..self }
    }

    fn rejected(self, refused: &'static [&'static str]) -> Self {
        Self {
            outcome: Outcome::Rejected,
            errno: Some(22),
            reason: Some(Reason::FirmwareDirectMap),
            refused,
            ..self
        }
    }
}

const HOST_DRIVER: Owned = Owned { count: 1, owner: 0, foreign_domain: false };
const ANOTHER: Owned = Owned { count: 1, owner: 0xbbbb, foreign_domain: false };
const MEMBERS: [(&str, &str); 2] = [("00:07.0", "vfio-pci"), ("00:07.1", "e1000e")];

/// A device is claimed with iommufd: the isolation, the command line, the claim.
fn claimed(by: &Script, wanted: &Device, inner: &[Event], ret: i64, owned: Owned) -> Vec<Event> {
    let group = wanted.group.unwrap();
    let enter = by.device_claim_of(Phase::Enter, wanted.clone(), owned);
    let exit = by.device_claim_of(Phase::Exit { ret }, wanted.clone(), owned);
    [&[by.isolated(group, true), by.args("qemu"), enter], inner, &[exit]].concat()
}

/// All stories of one thread. Each is of a host like [`lab`].
fn stories(by: &Script) -> Vec<Story> {
    [legacy(by), with_iommufd(by), before_a_claim(by)].into_iter().flatten().collect()
}

/// A legacy claim, whole.
fn claim(by: &Script, group: u32, inner: &[Event], ret: i64, owned: Owned) -> Vec<Event> {
    let before = Owned { count: owned.count, ..owned };
    let mut events = vec![by.args("qemu"), by.claim_in(group, before)];
    events.extend_from_slice(inner);
    events.push(by.claim_exit(group, ret, owned));
    events
}

fn legacy(by: &Script) -> Vec<Story> {
    let via = Via::VfioGroup;
    let free = Owned::default();
    let taken = by.set_container("14", &claim(by, 14, &[], 0, free), 0);
    let dev = device("21:00.0", 14);
    let regions = by.listing(&dev, &[], Some(false));
    let type1 = |inner: &[Event], ret| by.set_iommu(&by.type1_attach(14, inner, ret), ret);
    let with = |after: Vec<Event>| [by.open("14", 3), taken.clone(), after].concat();
    let get_fd = |ret| {
        by.group_ioctl("14", VfioRequest::GET_DEVICE_FD, Some("0000:21:00.0"), &[], ret)
    };
    let isolated = [&[by.isolated(14, true)], &regions[..]].concat();
    let busy = Owned { foreign_domain: true, ..free };
    let refusal = by.refused(&device("00:07.1", 5), &view(&lab()).entries);
    let rollback = by.reverted(&device("00:07.1", 5), true);
    let refused = [&[by.blocked(&device("00:07.0", 5))], &refusal[..], &[rollback]].concat();
    let held = [&by.members(5, &MEMBERS)[..], &[]].concat();
    vec![
        Story::new("legacy", via, with([type1(&isolated, 0), get_fd(7)].concat())),
        Story::new(
            "legacy, a 1:1 map",
            via,
            [
                by.open("5", 3),
                by.status(5, None, &[]),
                by.set_container("5", &claim(by, 5, &refused, -22, free), -22),
            ]
            .concat(),
        )
        .rejected(&["0000:00:07.1"]),
        Story::new(
            "legacy, not viable",
            via,
            by.set_container("5", &claim(by, 5, &held, -1, HOST_DRIVER), -1),
        )
        .failed(1, Reason::GroupNotViable),
        Story::new("status, not viable", via, by.status(5, Some(HOST_DRIVER), &MEMBERS))
            .failed(0, Reason::GroupNotViable),
        Story::new(
            "status and on, not viable",
            via,
            [
                by.status(5, Some(HOST_DRIVER), &MEMBERS),
                by.set_container("5", &claim(by, 5, &held, -1, HOST_DRIVER), -1),
            ]
            .concat(),
        )
        .failed(1, Reason::GroupNotViable),
        Story::new(
            "legacy, owned",
            via,
            by.set_container("14", &claim(by, 14, &by.members(14, &[("21:00.0", "vfio-pci")]), -1, ANOTHER), -1),
        )
        .failed(1, Reason::OwnedByAnother),
        Story::new(
            "legacy, busy",
            via,
            by.set_container("14", &claim(by, 14, &[], -16, busy), -16),
        )
        .failed(16, Reason::BusyDomain),
        Story::new(
            "legacy, no interrupt remapping",
            via,
            with(type1(&[&[by.isolated(14, false)], &regions[..]].concat(), -1)),
        )
        .failed(1, Reason::MsiNotIsolated),
        Story::new("6.1, no interrupt remapping", via, with(type1(&regions, -1)))
            .failed(1, Reason::MsiNotIsolated),
        Story::new("legacy, regions collide", via, with(type1(&isolated, -22)))
            .failed(22, Reason::ReservedRegionConflict),
        Story::new("legacy, no backend", via, with(by.set_iommu(&[], -19)))
            .failed(19, Reason::Unknown),
        Story::new(
            "legacy, device gone",
            via,
            by.group_ioctl("14", VfioRequest::SET_CONTAINER, None, &[], -19),
        )
        .failed(19, Reason::DeviceVanished),
        Story::new("legacy, no such device", via, with([type1(&isolated, 0), get_fd(-19)].concat()))
            .failed(19, Reason::Unknown),
        Story::new(
            "not a container",
            via,
            by.group_ioctl("14", VfioRequest::SET_CONTAINER, None, &[], -22),
        )
        .failed(22, Reason::Unknown),
        Story::new(
            "noiommu",
            via,
            [
                by.open("noiommu-0", 3),
                by.set_container("noiommu-0", &[], 0),
                by.set_iommu(&[], 0),
            ]
            .concat(),
        )
        .with_reason(Reason::Noiommu),
    ]
}

impl Story {
    fn with_reason(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

fn with_iommufd(by: &Script) -> Vec<Story> {
    let free = Owned::default();
    let dev = device("21:00.0", 14);
    let blocked = device("00:07.1", 5);
    let refusal = by.refused(&blocked, &view(&lab()).entries);
    let refused = by.device_bind(&blocked, &claimed(by, &blocked, &refusal, -22, free), -22);
    let good = by.device_bind(&dev, &claimed(by, &dev, &[], 0, free), 0);
    let open_msi = |wanted: &Device| {
        by.device_bind(wanted, &[by.isolated(wanted.group.unwrap(), false)], -1)
    };
    let held = by.members(5, &MEMBERS);
    let attached = |ret| [good.clone(), by.device_attach(ret)].concat();
    let fd = |path: &str, name: &str, inner: &[Event], ret| {
        let wanted = by.group_ioctl(path, VfioRequest::GET_DEVICE_FD, Some(name), inner, ret);
        [by.group_ioctl(path, VfioRequest::SET_CONTAINER, None, &[], 0), wanted].concat()
    };
    let (compat, cdev) = (Via::IommufdCompat, Via::Iommufd);
    let cdev_attached =
        |ret| [by.bind_iommufd(&good, 0), by.attach_iommufd(&by.device_attach(ret), ret)].concat();
    vec![
        Story::new("compat", compat, fd("14", "0000:21:00.0", &attached(0), 9)),
        Story::new("compat, a 1:1 map", compat, fd("5", "0000:00:07.1", &refused, -22))
            .rejected(&["0000:00:07.1"]),
        Story::new("compat, no interrupt remapping", compat, fd("14", "x", &open_msi(&dev), -1))
            .failed(1, Reason::MsiNotIsolated),
        Story::new("compat, regions collide", compat, fd("14", "x", &attached(-98), -98))
            .failed(98, Reason::ReservedRegionConflict),
        Story::new("cdev", cdev, cdev_attached(0)),
        Story::new("cdev, a 1:1 map", cdev, by.bind_iommufd(&refused, -22))
            .rejected(&["0000:00:07.1"]),
        Story::new("cdev, no interrupt remapping", cdev, by.bind_iommufd(&open_msi(&dev), -1))
            .failed(1, Reason::MsiNotIsolated),
        Story::new("cdev, regions collide", cdev, cdev_attached(-98))
            .failed(98, Reason::ReservedRegionConflict),
        Story::new(
            "cdev, not viable",
            cdev,
            by.bind_iommufd(
                &by.device_bind(&blocked, &claimed(by, &blocked, &held, -1, HOST_DRIVER), -1),
                -1,
            ),
        )
        .failed(1, Reason::GroupNotViable),
        Story::new(
            "cdev, owned",
            cdev,
            by.bind_iommufd(&by.device_bind(&dev, &claimed(by, &dev, &[], -1, ANOTHER), -1), -1),
        )
        .failed(1, Reason::OwnedByAnother),
        Story::new("cdev, no coherency", cdev, by.bind_iommufd(&by.device_bind(&dev, &[], -22), -22))
            .failed(22, Reason::NoCoherency),
        Story::new("cdev, device gone", cdev, by.bind_iommufd(&by.device_bind(&dev, &[], -19), -19))
            .failed(19, Reason::DeviceVanished),
        Story::new("cdev, bad argument", cdev, by.bind_iommufd(&[], -22))
            .failed(22, Reason::Unknown),
    ]
}

/// What fails before the kernel is asked for a group.
fn before_a_claim(by: &Script) -> Vec<Story> {
    let alone = Device { group: None, ..device("00:03.0", 1) };
    let exit = Phase::Exit { ret: -22 };
    vec![
        Story::new("group open elsewhere", Via::VfioGroup, by.open("14", -16))
            .failed(16, Reason::OwnedByAnother),
        Story::new("noiommu without the right", Via::VfioGroup, by.open("noiommu-3", -1))
            .failed(1, Reason::Noiommu),
        Story::new("group gone", Via::VfioGroup, by.open("14", -19))
            .failed(19, Reason::DeviceVanished),
        Story::new(
            "no IOMMU",
            Via::VfioPci,
            vec![by.device_call(exit, DeviceFunction::VfioPciProbe, Some(alone))],
        )
        .failed(22, Reason::NoIommu),
    ]
}

fn only<'a>(model: &'a Model, name: &str) -> &'a Attempt {
    match model.attempts() {
        [attempt] => attempt,
        other => panic!("{name}: {} attempts: {other:#?}", other.len()),
    }
}

#[test]
fn every_story_is_told() {
    let host = lab();
    let mut reasons = std::collections::BTreeSet::new();
    for story in stories(&QEMU) {
        let model = model(&host, &story.events);
        let attempt = only(&model, story.name);
        let found = (attempt.outcome, attempt.reason, attempt.errno.map(|errno| errno.0));
        assert_eq!(found, (story.outcome, story.reason, story.errno), "{}", story.name);
        assert_eq!(attempt.via, story.via, "{}", story.name);
        let refused: Vec<&str> =
            attempt.rejections.iter().map(|one| one.device.name.as_str()).collect();
        assert_eq!(refused, story.refused, "{}", story.name);
        let known = attempt.reason.is_some_and(|reason| reason != Reason::Unknown);
        assert_eq!(attempt.evidence.is_some(), known, "{}", story.name);
        assert_eq!(attempt.facts.is_empty(), !known, "{}", story.name);
        reasons.extend(attempt.reason);
    }
    assert_eq!(reasons.len(), 11, "{reasons:?}");
}

/// What may be said where something is missing: the same, less, or nothing.
#[track_caller]
fn assert_no_more_than(story: &Story, host: &Snapshot, events: &[Event], what: &str) {
    for attempt in model(host, events).attempts() {
        let reason = attempt.reason;
        let fits = reason.is_none() || reason == story.reason || reason == Some(Reason::Unknown);
        assert!(fits, "{}, {what}: {reason:?}", story.name);
        for refused in &attempt.rejections {
            let name = refused.device.name.as_str();
            assert!(story.refused.contains(&name), "{}, {what}: {name}", story.name);
        }
        // What came to an unknown end may have been well on its way.
        let taken = matches!(attempt.outcome, Outcome::Attached | Outcome::Claimed);
        let stopped = story.outcome == Outcome::Rejected || story.reason == Some(Reason::GroupNotViable);
        assert!(!(taken && stopped), "{}, {what}: {:?}", story.name, attempt.outcome);
    }
}

#[test]
fn any_event_may_be_missing() {
    let host = lab();
    for story in stories(&QEMU) {
        for at in 0..story.events.len() {
            let mut events = story.events.clone();
            let gone = events.remove(at);
            assert_no_more_than(&story, &host, &events, &format!("without {gone}"));
        }
    }
}

#[test]
fn tracing_may_begin_or_end_in_the_middle() {
    let host = lab();
    for story in stories(&QEMU) {
        for at in 0..story.events.len() {
            let (before, after) = story.events.split_at(at);
            assert_no_more_than(&story, &host, before, &format!("up to {at}"));
            assert_no_more_than(&story, &host, after, &format!("from {at}"));
        }
    }
}
