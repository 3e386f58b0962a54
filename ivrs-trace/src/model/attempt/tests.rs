//! Every way to take a device and every way to fail, as the programs would send it: alone, mixed
//! with others, and with events missing.

use proptest::prelude::*;

use super::*;
use crate::{
    host::Snapshot,
    model::{
        Model, RequireDirect,
        fixture::{
            AM5, GROUPS, Owned, QEMU, SINGLE, Thread as Script, bdf, device, host, model, model_of,
            table, view,
        },
    },
};

const DPDK: Script = Script { pid: 200, tid: 200, comm: "dpdk-testpmd" };
/// Another thread of the same process.
const IO_THREAD: Script = Script { tid: 101, ..QEMU };

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
    let get_fd =
        |ret| by.group_ioctl("14", VfioRequest::GET_DEVICE_FD, Some("0000:21:00.0"), &[], ret);
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
            by.set_container(
                "14",
                &claim(by, 14, &by.members(14, &[("21:00.0", "vfio-pci")]), -1, ANOTHER),
                -1,
            ),
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
        Story::new(
            "legacy, no such device",
            via,
            with([type1(&isolated, 0), get_fd(-19)].concat()),
        )
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
            [by.open("noiommu-0", 3), by.set_container("noiommu-0", &[], 0), by.set_iommu(&[], 0)]
                .concat(),
        )
        .with_reason(Reason::NoIommuMode),
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
    let open_msi =
        |wanted: &Device| by.device_bind(wanted, &[by.isolated(wanted.group.unwrap(), false)], -1);
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
        Story::new(
            "cdev, no coherency",
            cdev,
            by.bind_iommufd(&by.device_bind(&dev, &[], -22), -22),
        )
        .failed(22, Reason::NoCoherency),
        Story::new(
            "cdev, device gone",
            cdev,
            by.bind_iommufd(&by.device_bind(&dev, &[], -19), -19),
        )
        .failed(19, Reason::DeviceVanished),
        Story::new("cdev, group open elsewhere", cdev, by.bind_iommufd(&[], -16))
            .failed(16, Reason::OwnedByAnother),
        Story::new("cdev, open already", cdev, by.bind_iommufd(&by.device_open(-22), -22))
            .failed(22, Reason::OwnedByAnother),
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
            .failed(1, Reason::NoIommuMode),
        Story::new("group gone", Via::VfioGroup, by.open("14", -19))
            .failed(19, Reason::DeviceVanished),
        Story::new(
            "no IOMMU",
            Via::VfioPci,
            vec![by.device_call(exit, DeviceFunction::VfioPciProbe, Some(alone))],
        )
        .failed(22, Reason::DeviceWithoutIommu),
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
        let stopped =
            story.outcome == Outcome::Rejected || story.reason == Some(Reason::GroupNotViable);
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

proptest! {
    #[test]
    fn any_events_may_be_missing(
        chosen in any::<prop::sample::Index>(),
        kept in prop::collection::vec(prop::bool::weighted(0.7), 60),
    ) {
        let host = lab();
        let stories = stories(&QEMU);
        let story = chosen.get(&stories);
        let events: Vec<Event> = story
            .events
            .iter()
            .zip(kept.iter().chain(std::iter::repeat(&true)))
            .filter(|(_, kept)| **kept)
            .map(|(event, _)| event.clone())
            .collect();
        assert_no_more_than(story, &host, &events, &format!("{kept:?}"));
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

/// What is said of an attempt, without the numbers of events.
fn told(attempt: &Attempt) -> String {
    let refused: Vec<String> = attempt
        .rejections
        .iter()
        .map(|one| {
            let ordinals: Vec<u32> = one.matches.iter().map(|found| found.ordinal).collect();
            format!("{} {:?} {ordinals:?} {}", one.device.name, one.evidence, one.complete)
        })
        .collect();
    format!(
        "{:?} {} {:?} {:?} {:?} {:?} {:?} {:?} {refused:?} {:?} {:?}",
        attempt.process,
        attempt.call,
        attempt.via,
        attempt.requested,
        attempt.group,
        attempt.errno,
        attempt.outcome,
        attempt.reason,
        attempt.host_drivers,
        attempt.calls,
    )
}

/// Takes one event of one thread after the other, as `picks` say, and then what is left.
fn mixed(stories: &[Vec<Event>], picks: &[usize]) -> Vec<Event> {
    let mut rest: Vec<_> = stories.iter().map(|story| story.iter()).collect();
    let mut events: Vec<Event> = picks
        .iter()
        .filter_map(|pick| rest.get_mut(pick % stories.len())?.next())
        .cloned()
        .collect();
    events.extend(rest.into_iter().flatten().cloned());
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn threads_tell_the_same_whatever_goes_on_beside_them(
        chosen in prop::collection::vec(any::<prop::sample::Index>(), 2..6),
        picks in prop::collection::vec(0_usize..6, 0..200),
    ) {
        let host = lab();
        // Processes of their own; a story twice is a story of two.
        let scripts: Vec<Script> = (0..)
            .zip(&chosen)
            .map(|(place, _)| Script { pid: 300 + place, tid: 300 + place, comm: "vmm" })
            .collect();
        let events: Vec<Vec<Event>> = scripts
            .iter()
            .zip(&chosen)
            .map(|(script, pick)| pick.get(&stories(script)).events.clone())
            .collect();
        let mut alone: Vec<String> = Vec::new();
        for one in &events {
            alone.extend(model(&host, one).attempts().iter().map(told));
        }
        let together = model(&host, &mixed(&events, &picks));
        let mut beside: Vec<String> = together.attempts().iter().map(told).collect();
        alone.sort();
        beside.sort();
        prop_assert_eq!(alone, beside);
    }

    #[test]
    fn threads_of_one_process_do_not_mix(
        one in any::<prop::sample::Index>(),
        picks in prop::collection::vec(0_usize..2, 0..80),
    ) {
        let host = lab();
        // One thread is refused group 5 while the other takes group 14 or fails to.
        let refused = legacy(&QEMU).swap_remove(1);
        let others: Vec<Story> = stories(&IO_THREAD)
            .into_iter()
            .filter(|story| !model(&host, &story.events).attempts().iter().any(|one| one.group == Some(5)))
            .collect();
        let other = one.get(&others);
        let both = [refused.events.clone(), other.events.clone()];
        let together = model(&host, &mixed(&both, &picks));
        let [first, second] = together.attempts() else {
            return Err(TestCaseError::fail(format!("{:#?}", together.attempts())));
        };
        let (first, second) =
            if first.group == Some(5) { (first, second) } else { (second, first) };
        prop_assert_eq!(first.reason, Some(Reason::FirmwareDirectMap));
        prop_assert_eq!(second.reason, other.reason, "{}", other.name);
        prop_assert_eq!(second.outcome, other.outcome, "{}", other.name);
    }
}

/// The story of that name.
fn story(by: &Script, name: &str) -> Story {
    stories(by).into_iter().find(|story| story.name == name).unwrap()
}

/// Which events are lost.
type Lost<'a> = &'a dyn Fn(&Body) -> bool;

#[test]
fn with_each_source_missing_the_next_one_tells_the_refusal() {
    let host = lab();
    let called = |body: &Body| matches!(body, Body::SetDomain { .. });
    let warned = |body: &Body| matches!(body, Body::Warning { .. } | Body::UnityMatch { .. });
    let logged = |body: &Body| matches!(body, Body::KernelMessage { .. });
    let claims = |body: &Body| matches!(body, Body::Claim { .. });
    let rows: [(Lost<'_>, Evidence, bool); 5] = [
        (&|_| false, Evidence::Call, true),
        (&claims, Evidence::Call, true),
        (&called, Evidence::Warning, true),
        (&|body| called(body) || warned(body), Evidence::Log, false),
        (&|body| called(body) || warned(body) || logged(body), Evidence::Inference, false),
    ];
    for name in ["legacy, a 1:1 map", "compat, a 1:1 map", "cdev, a 1:1 map"] {
        for (lost, evidence, walked) in &rows {
            let events = story(&QEMU, name).events;
            let left: Vec<Event> = events.into_iter().filter(|event| !lost(&event.body)).collect();
            let model = model(&host, &left);
            let attempt = only(&model, name);
            assert_eq!(attempt.evidence, Some(*evidence), "{name}");
            assert_eq!(attempt.outcome, Outcome::Rejected, "{name} {evidence:?}");
            let [refused] = attempt.rejections.as_slice() else { panic!("{name} {evidence:?}") };
            assert_eq!(refused.device.name, "0000:00:07.1", "{name} {evidence:?}");
            assert_eq!((refused.evidence, refused.complete), (*evidence, *walked), "{name}");
            let causes: Vec<_> =
                model.causes(refused).iter().map(crate::model::Cause::ivmd).collect();
            assert_eq!(causes, [Some(0)], "{name} {evidence:?}");
            assert_eq!(attempt.group, Some(5), "{name} {evidence:?}");
        }
    }
}

#[test]
fn of_two_devices_that_may_have_been_refused_none_is_named() {
    let host = lab();
    let events = QEMU.set_container("11", &claim(&QEMU, 11, &[], -22, Owned::default()), -22);
    let known = model(&host, &events);
    let attempt = only(&known, "two");
    assert_eq!(attempt.evidence, Some(Evidence::Inference));
    assert!(attempt.rejections.is_empty());
    assert!(attempt.facts.iter().any(|fact| fact.contains("0000:02:00.0")), "{:?}", attempt.facts);
    assert!(attempt.facts.iter().any(|fact| fact.contains("0000:03:01.0")), "{:?}", attempt.facts);
    // A kernel that refuses nothing fails for something else.
    let old = model_of(&host, RequireDirect::Missing, &events);
    assert_eq!(only(&old, "6.1").reason, Some(Reason::Unknown));
    // So does a group in which nobody needs a 1:1 map.
    let free = QEMU.set_container("14", &claim(&QEMU, 14, &[], -22, Owned::default()), -22);
    assert_eq!(only(&model(&host, &free), "free").reason, Some(Reason::Unknown));
}

#[test]
fn what_another_reason_hides_is_told_as_well() {
    let host = lab();
    let blocked = device("00:07.1", 5);
    let bind = QEMU.device_bind(&blocked, &[QEMU.isolated(5, false)], -1);
    let further = |model: &Model| -> Vec<(Reason, Vec<String>)> {
        let attempt = only(model, "hidden");
        attempt.also.iter().map(|one| (one.reason, one.devices.clone())).collect()
    };
    let expected = [(Reason::FirmwareDirectMap, vec!["0000:00:07.1".to_owned()])];
    for events in [
        QEMU.bind_iommufd(&bind, -1),
        QEMU.status(5, Some(HOST_DRIVER), &MEMBERS),
        QEMU.set_container("5", &claim(&QEMU, 5, &[], -1, HOST_DRIVER), -1),
    ] {
        assert_eq!(further(&model(&host, &events)), expected);
        assert_eq!(further(&model_of(&host, RequireDirect::Missing, &events)), []);
    }
    // A group without such devices, and a legacy container, which asks for the claim first.
    for name in ["cdev, no interrupt remapping", "legacy, no interrupt remapping"] {
        assert_eq!(further(&model(&host, &story(&QEMU, name).events)), [], "{name}");
    }
}

#[test]
fn drivers_of_the_host_are_named_by_the_kernel_or_by_its_files() {
    let mut host = lab();
    let drivers = |host: &Snapshot, members: &[(&str, &str)]| -> Vec<String> {
        let inner = [
            vec![QEMU.args("qemu"), QEMU.claim_in(5, HOST_DRIVER)],
            QEMU.members(5, members),
            vec![QEMU.claim_exit(5, -1, HOST_DRIVER)],
        ]
        .concat();
        let model = model(host, &QEMU.set_container("5", &inner, -1));
        let drivers = &only(&model, "drivers").host_drivers;
        drivers.iter().map(|one| format!("{} {} {:?}", one.bdf, one.driver, one.from)).collect()
    };
    assert_eq!(drivers(&host, &MEMBERS), ["0000:00:07.1 e1000e Kernel"]);
    assert_eq!(drivers(&host, &[]), [""; 0], "the files know vfio-pci alone");
    if let crate::host::Reading::Read(functions) = &mut host.functions {
        for function in functions.iter_mut().filter(|one| one.bdf == bdf("00:07.0")) {
            function.driver = crate::host::Reading::Read("virtio-pci".to_owned());
        }
    }
    assert_eq!(drivers(&host, &[]), ["0000:00:07.0 virtio-pci Files"]);
}

fn owner_of(model: &Model) -> (Option<Reason>, Option<u32>) {
    let attempt = model.attempts().last().unwrap();
    (attempt.reason, attempt.owned_by.as_ref().map(|process| process.pid))
}

#[test]
fn the_owner_of_a_group_is_the_process_that_was_seen_to_take_it() {
    let host = lab();
    let dev = device("21:00.0", 14);
    let takes = |by: &Script| {
        let inner =
            claimed(by, &dev, &[], 0, Owned { count: 1, owner: by.owner(), foreign_domain: true });
        by.bind_iommufd(&by.device_bind(&dev, &inner, 0), 0)
    };
    let fails = |owner: u64| {
        let owned = Owned { count: 1, owner, foreign_domain: true };
        let inner = claimed(&QEMU, &dev, &[], -1, owned);
        QEMU.bind_iommufd(&QEMU.device_bind(&dev, &inner, -1), -1)
    };
    let owned = Some(Reason::OwnedByAnother);
    let told = |events: &[Vec<Event>]| owner_of(&model(&host, &events.concat()));
    assert_eq!(told(&[takes(&DPDK), fails(DPDK.owner())]), (owned, Some(200)));
    // Somebody else, of whom nothing was seen.
    assert_eq!(told(&[takes(&DPDK), fails(0xdead)]), (owned, None));
    assert_eq!(told(&[fails(DPDK.owner())]), (owned, None));
    // The return of the claim comes late: events of two processors may change places.
    let whole = takes(&DPDK);
    let at = whole
        .iter()
        .position(|event| matches!(event.body, Body::Claim { phase: Phase::Exit { .. }, .. }));
    let (early, late) = whole.split_at(at.unwrap());
    assert_eq!(told(&[early.to_vec(), fails(DPDK.owner()), late.to_vec()]), (owned, Some(200)));
    // The group is gone, and another one has its number.
    let gone = QEMU.group_change(Change::Removed, &dev);
    assert_eq!(told(&[takes(&DPDK), vec![gone], fails(DPDK.owner())]), (owned, None));
}

#[test]
fn who_has_a_file_open_is_the_last_that_was_seen_to_open_or_to_claim() {
    let host = lab();
    let dev = device("21:00.0", 14);
    let cdev = |by: &Script| {
        let inner =
            claimed(by, &dev, &[], 0, Owned { count: 1, owner: by.owner(), foreign_domain: true });
        by.bind_iommufd(&by.device_bind(&dev, &inner, 0), 0)
    };
    let other = Script { pid: 7, tid: 7, comm: "spdk" };
    let told = |events: &[Vec<Event>]| {
        let refused = QEMU.open("14", -16);
        owner_of(&model(&host, &[events.concat(), refused].concat()))
    };
    let owned = Some(Reason::OwnedByAnother);
    assert_eq!(told(&[DPDK.open("14", 5)]), (owned, Some(200)));
    assert_eq!(told(&[]), (owned, None));
    assert_eq!(told(&[DPDK.open("14", 5), cdev(&other)]), (owned, Some(7)));
    assert_eq!(told(&[cdev(&other), DPDK.open("14", 5)]), (owned, Some(200)));
    assert_eq!(told(&[DPDK.open("5", 5)]), (owned, None));
    // Another one opened it meanwhile, and how that ended was not seen.
    let [enter, _] = <[Event; 2]>::try_from(other.open("14", 5)).unwrap();
    let moves_on = other.open("5", 6);
    assert_eq!(told(&[DPDK.open("14", 5), vec![enter], moves_on]), (owned, None));
}

#[test]
fn who_had_a_file_open_before_the_trace_is_named_until_somebody_else_takes_the_group() {
    let host = lab();
    let file = |path: &str, device: Option<&str>| OpenFile {
        path: path.to_owned(),
        device: device.map(str::to_owned),
        pid: 9,
        comm: "qemu\x1b[m".to_owned(),
        vm: Some("win11".to_owned()),
    };
    let told = |files: Vec<OpenFile>, events: &[Vec<Event>]| {
        let mut model = Model::new(host.clone(), RequireDirect::Present);
        model.opened_before(files);
        for (number, event) in (0..).zip(events.concat()) {
            model.observe(number, &event);
        }
        model.finish();
        let attempt = model.attempts().last().unwrap();
        let owner = attempt.owned_by.clone();
        (owner.map(|process| (process.pid, process.comm)), attempt.facts.join("\n"))
    };
    let (owner, facts) = told(vec![file("14", None)], &[QEMU.open("14", -16)]);
    assert_eq!(owner, Some((9, "qemu\\u{1b}[m".to_owned())));
    assert!(facts.contains("(pid 9) had the file 14 of /dev/vfio open when the trace began"));
    assert!(!facts.contains('\x1b'));
    // A device of the group, by its own file.
    let by_device = vec![file("vfio3", Some("0000:21:00.0"))];
    assert_eq!(told(by_device, &[QEMU.open("14", -16)]).0.map(|one| one.0), Some(9));
    // Another group's; a device that this host does not have; one that another process took since.
    for (files, events) in [
        (vec![file("5", None)], vec![QEMU.open("14", -16)]),
        (vec![file("vfio3", Some("0000:99:00.0"))], vec![QEMU.open("14", -16)]),
        (vec![file("noiommu-0", None)], vec![QEMU.open("14", -16)]),
    ] {
        assert_eq!(told(files, &events).0, None);
    }
    let since = [DPDK.open("14", 5), QEMU.open("14", -16)];
    assert_eq!(told(vec![file("14", None)], &since).0.map(|one| one.0), Some(200));
}

#[test]
fn who_stops_at_the_state_of_the_group_has_tried_and_who_goes_on_has_tried_once() {
    let host = lab();
    let stopped = QEMU.status(5, Some(HOST_DRIVER), &MEMBERS);
    let model_of_stop = model(&host, &stopped);
    let attempt = only(&model_of_stop, "stopped");
    assert_eq!(attempt.call, "VFIO_GROUP_GET_STATUS");
    assert_eq!((attempt.outcome, attempt.errno), (Outcome::Failed, None));
    assert_eq!(attempt.host_drivers.len(), 1);
    // It asks again on the same file, and then takes the group after all.
    let taken = QEMU.set_container("5", &claim(&QEMU, 5, &[], 0, Owned::default()), 0);
    let on = [stopped.clone(), stopped.clone(), taken].concat();
    let model_of_both = model(&host, &on);
    let attempt = only(&model_of_both, "went on");
    assert_eq!((attempt.outcome, attempt.reason), (Outcome::Claimed, None));
    assert_eq!(attempt.call, "VFIO_GROUP_SET_CONTAINER");
    assert!(attempt.host_drivers.is_empty() && attempt.facts.is_empty());
    // Another open is another try, and so is another process.
    let again = [QEMU.open("5", 3), stopped.clone(), QEMU.open("5", 4), stopped.clone()].concat();
    assert_eq!(model(&host, &again).attempts().len(), 2);
    let other = [stopped, DPDK.status(5, Some(HOST_DRIVER), &MEMBERS)].concat();
    assert_eq!(model(&host, &other).attempts().len(), 2);
}

#[test]
fn a_device_that_goes_away_during_a_try_is_the_reason_where_no_other_is_known() {
    let host = lab();
    let by = Script { pid: 1, tid: 1, comm: "kworker" };
    let gone = |name: &str, group| by.group_change(Change::Removed, &device(name, group));
    let inner = claim(&QEMU, 14, &[], -22, Owned::default());
    let events = QEMU.set_container("14", &inner, -22);
    let at = events.len() - 2;
    let with = |change: Event| {
        let mut events = events.clone();
        events.insert(at, change);
        model(&host, &events).attempts().last().unwrap().reason
    };
    assert_eq!(with(gone("21:00.0", 14)), Some(Reason::DeviceVanished));
    assert_eq!(with(gone("00:03.0", 1)), Some(Reason::Unknown));
    // What is known is not overruled.
    let mut refused = story(&QEMU, "legacy, a 1:1 map").events;
    refused.insert(refused.len() - 2, gone("00:07.0", 5));
    let model = model(&host, &refused);
    assert_eq!(only(&model, "refused").reason, Some(Reason::FirmwareDirectMap));
}

#[test]
fn a_group_whose_number_comes_again_is_another_group() {
    let host = lab();
    let taken = QEMU.set_container("14", &claim(&QEMU, 14, &[], 0, Owned::default()), 0);
    let gone = QEMU.group_change(Change::Removed, &device("21:00.0", 14));
    let come = QEMU.group_change(Change::Added, &device("22:00.0", 14));
    // The container of the same process takes the new group; the claim of it was lost.
    let later = QEMU.type1_attach(14, &[], 0);
    let model = model(&host, &[taken, vec![gone, come], later].concat());
    assert_eq!(only(&model, "old").outcome, Outcome::Claimed);
}

#[test]
fn retries_are_attempts_of_their_own() {
    let host = lab();
    let refused = story(&QEMU, "cdev, a 1:1 map").events;
    let taken = story(&QEMU, "cdev").events;
    let events = [refused.clone(), taken.clone(), refused, taken].concat();
    let outcomes: Vec<Outcome> =
        model(&host, &events).attempts().iter().map(|attempt| attempt.outcome).collect();
    let (no, yes) = (Outcome::Rejected, Outcome::Attached);
    assert_eq!(outcomes, [no, yes, no, yes]);
}

#[test]
fn a_group_of_many_devices_names_the_one_that_blocks() {
    let names: Vec<String> = (0..24).map(|number| format!("03:{number:02x}.0")).collect();
    let host = host(&format!("9: {}", names.join(" ")), &table(&[AM5[2]]));
    let before: Vec<&str> = Vec::new();
    let events = QEMU.rejection(&host, "vfio-attach|03:0a.0", 9, &before, "03:00.0");
    let model = model(&host, &events);
    let attempt = only(&model, "many");
    assert_eq!(attempt.requested, Some(bdf("03:0a.0")));
    assert_eq!(attempt.rejections[0].device.name, "0000:03:00.0");
}

#[test]
fn what_is_not_on_the_way_to_a_claim_is_nobodys_attempt() {
    let host = lab();
    // A device that comes into a group that is taken is refused in the thread that adds it.
    let udev = Script { pid: 9, tid: 9, comm: "udev" };
    let refused = udev.refused(&device("00:07.1", 5), &view(&host).entries);
    assert!(model(&host, &refused).attempts().is_empty());
    // vfio-pci took a device.
    let taken = udev.device_call(
        Phase::Exit { ret: 0 },
        DeviceFunction::VfioPciProbe,
        Some(device("00:07.1", 5)),
    );
    assert!(model(&host, &[taken]).attempts().is_empty());
}

#[test]
fn a_thread_id_that_comes_again_is_another_thread() {
    let host = lab();
    let whole = story(&QEMU, "legacy, a 1:1 map").events;
    let open =
        whole.iter().position(|event| matches!(event.body, Body::UnityMatch { .. })).unwrap();
    let reborn = Script { pid: 555, ..QEMU };
    let refused = reborn.refused(&device("00:07.1", 5), &view(&host).entries);
    let model = model(&host, &[whole[..open].to_vec(), refused].concat());
    assert!(model.attempts().iter().all(|one| one.rejections.is_empty()));
}

#[test]
fn nothing_is_remembered_without_end() {
    let host = lab();
    let mut model = Model::new(host, RequireDirect::Present);
    let mut number = 0;
    for pid in 0..12_000 {
        let by = Script { pid, tid: pid, comm: "a" };
        // Threads that never come to an end, and groups that nobody ever leaves.
        let mut events = by.set_container("14", &claim(&by, pid, &[], 0, Owned::default()), 0);
        events.extend(by.open(&pid.to_string(), 3));
        events.push(by.args("qemu"));
        events.push(by.call(VfioFunction::GroupIoctl, Some("14"), None, None));
        for event in events {
            model.observe(number, &event);
            number += 1;
        }
    }
    let (threads, links, holders) = model.remembered();
    assert!(threads <= MAX_THREADS, "{threads}");
    assert!(links <= 4 * (MAX_ATTEMPTS + DROPPED_AT_ONCE), "{links}");
    assert!(holders <= 2 * 4096, "{holders}");
    assert!(model.attempts().len() <= MAX_ATTEMPTS + DROPPED_AT_ONCE);
}

const LINE_A: &str = r#"/usr/bin/qemu-system-x86_64|-name|guest=a,debug-threads=on|-device|{"driver":"vfio-pci","host":"0000:00:07.0","id":"hostdev0"}"#;
const LINE_B: &str =
    "/usr/bin/kvm|-id|101|-name|b,debug-threads=on|-device|vfio-pci,host=03:01.0,id=hostpci0";
const KVM: Script = Script { pid: 201, tid: 201, comm: "kvm" };

/// A machine whose device firmware wants mapped 1:1, as its QEMU goes about it.
fn start_of_machine(by: &Script, line: &str, group: u32, blocker: &str) -> Vec<Event> {
    let path = group.to_string();
    let refusal = by.refused(&device(blocker, group), &view(&lab()).entries);
    let claim = claim(by, group, &refusal, -22, Owned::default());
    let args: Vec<Event> = claim
        .iter()
        .map(|event| match &event.body {
            Body::Args { .. } => by.args(line),
            _ => event.clone(),
        })
        .collect();
    [
        vec![by.args(line)],
        by.open(&path, 3),
        by.status(group, None, &[]),
        by.set_container(&path, &args, -22),
    ]
    .concat()
}

/// What a machine's attempt is known by.
fn known_by(attempt: &Attempt) -> [Option<String>; 5] {
    let Attempt { process, hostdev, .. } = attempt;
    [
        process.vm.clone(),
        process.vm_id.clone(),
        hostdev.as_ref().map(|one| one.bdf.to_string()),
        hostdev.as_ref().and_then(|one| one.id.clone()),
        attempt.qemu_prints().pop(),
    ]
}

#[test]
fn an_attempt_names_its_machine_its_device_and_what_qemu_prints() {
    let host = lab();
    let some = |text: &str| Some(text.to_owned());
    let a = model(&host, &start_of_machine(&QEMU, LINE_A, 5, "00:07.1"));
    let a = only(&a, "a");
    let prints = "vfio 0000:00:07.0: failed to setup container for group 5: Failed to set group \
                  container: Invalid argument";
    assert_eq!(
        known_by(a),
        [some("a"), None, some("0000:00:07.0"), some("hostdev0"), some(prints)]
    );
    assert_eq!(a.requested_from, Some(RequestedFrom::CommandLine));
    assert_eq!(a.process.machine().as_deref(), Some("a"));
    let b = model(&host, &start_of_machine(&KVM, LINE_B, 11, "02:00.0"));
    let b = only(&b, "b");
    assert_eq!((b.process.vm.as_deref(), b.process.vm_id.as_deref()), (Some("b"), Some("101")));
    assert_eq!(b.process.machine().as_deref(), Some("b (number 101)"));
    assert_eq!(b.hostdev.as_ref().map(|one| one.bdf), Some(bdf("03:01.0")));
    // Neither another program nor an unnamed device lets words be put into QEMU's mouth.
    for (by, line) in
        [(&DPDK, "dpdk|-device|vfio-pci,host=00:07.0"), (&QEMU, "qemu-system-x86_64|-S")]
    {
        let other = model(&host, &start_of_machine(by, line, 5, "00:07.1"));
        assert_eq!(only(&other, line).qemu_prints(), [""; 0], "{line}");
    }
}

#[test]
fn qemu_words_every_failure_of_a_call_of_its_own() {
    let host = lab();
    for story in stories(&QEMU) {
        let line = "qemu-system-x86_64|-device|vfio-pci,host=00:07.0|-device|vfio-pci,host=21:00.0|-device|vfio-pci,host=03:01.0|-device|vfio-pci,host=00:03.0";
        let events: Vec<Event> = std::iter::once(QEMU.args(line))
            .chain(
                story.events.iter().filter(|one| !matches!(one.body, Body::Args { .. })).cloned(),
            )
            .collect();
        let model = model(&host, &events);
        let attempt = only(&model, story.name);
        let printed = attempt.qemu_prints();
        let told = attempt.hostdev.is_some()
            && matches!(story.outcome, Outcome::Failed | Outcome::Rejected)
            && (attempt.call.starts_with("VFIO_") || attempt.call.starts_with("open of "));
        assert_eq!(!printed.is_empty(), told, "{}: {} {printed:?}", story.name, attempt.call);
        for words in printed {
            assert!(words.starts_with("vfio 0000:"), "{}: {words}", story.name);
            assert!(!words.contains(['{', '}']), "{}: {words}", story.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn machines_that_start_at_once_are_kept_apart(
        picks in prop::collection::vec(any::<usize>(), 80),
    ) {
        let host = lab();
        let starts = [
            start_of_machine(&QEMU, LINE_A, 5, "00:07.1"),
            start_of_machine(&KVM, LINE_B, 11, "02:00.0"),
        ];
        let of = |events: &[Event], pid| {
            let model = model(&host, events);
            let mine: Vec<_> = model
                .attempts()
                .iter()
                .filter(|one| one.process.pid == pid)
                .map(|one| (told(one), known_by(one)))
                .collect();
            mine
        };
        let both = mixed(&starts, &picks);
        prop_assert_eq!(of(&both, QEMU.pid), of(&starts[0], QEMU.pid));
        prop_assert_eq!(of(&both, KVM.pid), of(&starts[1], KVM.pid));
        prop_assert_eq!(model(&host, &both).attempts().len(), 2);
    }
}

const LIBVIRTD: Script = Script { pid: 31, tid: 33, comm: "rpc-libvirtd" };

/// libvirt's daemon takes a device from its driver and gives it to another one.
fn rebound(from: &str, name: &str, group: u32, to: &str) -> Vec<Event> {
    let one = |function, driver: &str| {
        let device = Some(device(name, group));
        let mut event = LIBVIRTD.device_call(Phase::Exit { ret: 0 }, function, device);
        if let Body::DeviceCall { driver: of, .. } = &mut event.body {
            driver.clone_into(of);
        }
        event
    };
    vec![
        LIBVIRTD.args("/usr/sbin/libvirtd|--timeout|120"),
        one(DeviceFunction::PciRemove, from),
        LIBVIRTD.args("/usr/sbin/libvirtd|--timeout|120"),
        one(DeviceFunction::PciProbe, to),
    ]
}

#[test]
fn an_attempt_tells_who_gave_its_devices_to_vfio() {
    let host = lab();
    let first = rebound("e1000e", "00:07.0", 5, "vfio-pci");
    let back = rebound("vfio-pci", "00:07.0", 5, "e1000e");
    let other = rebound("nvme", "21:00.0", 14, "vfio-pci");
    let start = start_of_machine(&QEMU, LINE_A, 5, "00:07.1");
    let events = [other, first.clone(), start.clone(), back, first, start].concat();
    let model = model(&host, &events);
    let [one, two] = model.attempts() else { panic!("{:?}", model.attempts()) };
    for attempt in [one, two] {
        let told: Vec<_> = attempt
            .driver_changes
            .iter()
            .map(|one| (one.who(), one.driver.as_str(), one.bdf.to_string(), one.bound))
            .collect();
        let who = "libvirtd (pid 31)".to_owned();
        let bdf = "0000:00:07.0".to_owned();
        assert_eq!(
            told,
            [(who.clone(), "e1000e", bdf.clone(), false), (who, "vfio-pci", bdf, true)]
        );
    }
    // Each tells of its own start.
    assert!(one.driver_changes[1].event < two.driver_changes[0].event);
    assert_eq!(
        model.function(bdf("00:07.0")).unwrap().driver.value().map(String::as_str),
        Some("vfio-pci")
    );
}

#[test]
fn reasons_keep_their_names_in_documents() {
    for (reason, name) in
        [(Reason::DeviceWithoutIommu, "no_iommu"), (Reason::NoIommuMode, "noiommu")]
    {
        assert_eq!(serde_json::to_value(reason).unwrap(), name);
    }
}
