//! Scripts of events in, attempts out; hosts in, verdicts out.

use proptest::prelude::*;

use super::{
    Attempt, CauseKind, Finding, MAX_ATTEMPTS, Model, Outcome, Reason, RequestedFrom,
    RequireDirect, Verdict, Via,
    fixture::{
        AM5, GROUPS, Owned, QEMU, SINGLE, Thread, bdf, device, host, model, model_of, table, view,
    },
};
use crate::{
    codes::Code,
    event::{Body, Change, DeviceFunction, Event, Phase, RegionSource, RegionType, VfioRequest},
    firmware::amd::builder::IvrsBuilder,
    host::{HexBytes, Reading, RegionKind, ReservedRegion, Snapshot},
    pci::Segment,
};

const MSI: &str = "0x00000000fee00000 0x00000000feefffff msi";
const OTHER_THREAD: Thread = Thread { tid: 101, ..QEMU };
const OTHER_PROCESS: Thread = Thread { pid: 200, tid: 200, comm: "dpdk-testpmd" };

fn single() -> Snapshot {
    host(GROUPS, &table(&[SINGLE]))
}

fn only(model: &Model) -> &Attempt {
    match model.attempts() {
        [attempt] => attempt,
        other => panic!("{} attempts: {other:?}", other.len()),
    }
}

/// One from each in turn.
fn interleaved(left: Vec<Event>, right: Vec<Event>) -> Vec<Event> {
    let mut events = Vec::new();
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    loop {
        let pair = [left.next(), right.next()];
        if pair.iter().all(Option::is_none) {
            return events;
        }
        events.extend(pair.into_iter().flatten());
    }
}

/// The names of the devices that were refused, and the IVMD blocks behind each.
fn refusals(model: &Model, attempt: &Attempt) -> Vec<(String, Vec<Option<usize>>)> {
    attempt
        .rejections
        .iter()
        .map(|one| {
            let ivmds = model.causes(one).iter().map(crate::model::Cause::ivmd).collect();
            (one.device.name.clone(), ivmds)
        })
        .collect()
}

fn errno(attempt: &Attempt) -> Option<String> {
    attempt.errno.map(|errno| errno.to_string())
}

#[test]
fn a_refusal_is_the_first_one_and_not_the_way_back() {
    let host = single();
    let events = QEMU.rejection(&host, "vfio-attach|00:07.0", 5, &["00:07.0"], "00:07.1");
    let model = model(&host, &events);
    let attempt = only(&model);
    assert_eq!(attempt.outcome, Outcome::Rejected);
    assert_eq!(attempt.reason, Some(Reason::FirmwareDirectMap));
    assert_eq!(errno(attempt).as_deref(), Some("EINVAL"));
    assert_eq!((attempt.via, attempt.group), (Via::VfioGroup, Some(5)));
    assert_eq!(attempt.call, "VFIO_GROUP_SET_CONTAINER");
    assert_eq!(attempt.requested, Some(bdf("00:07.0")));
    assert_eq!(refusals(&model, attempt), [("0000:00:07.1".to_owned(), vec![Some(0)])]);
    let calls: Vec<String> =
        attempt.calls.iter().map(|call| format!("{} = {}", call.name, call.ret)).collect();
    assert_eq!(
        calls,
        [
            "__iommu_device_set_domain(0000:00:07.0) = 0",
            "__iommu_device_set_domain(0000:00:07.1) = -22",
            "__iommu_device_set_domain(0000:00:07.0) = 0",
            "__iommu_device_set_domain(0000:00:07.1) = 0",
            "iommu_group_claim_dma_owner = -22",
            "vfio_container_attach_group = -22",
            "VFIO_GROUP_SET_CONTAINER = -22",
        ]
    );
}

#[test]
fn a_claim_on_a_device_names_what_was_asked_for() {
    let host = single();
    let wanted = device("00:07.1", 5);
    let mut events = vec![QEMU.device_claim(Phase::Enter, wanted.clone())];
    events.extend(QEMU.refused(&wanted, &view(&host).entries));
    events.push(QEMU.device_claim(Phase::Exit { ret: -22 }, wanted));
    let model = model(&host, &events);
    let attempt = only(&model);
    assert_eq!((attempt.via, attempt.outcome), (Via::Iommufd, Outcome::Rejected));
    assert_eq!(attempt.call, "iommu_device_claim_dma_owner");
    assert_eq!(attempt.requested, Some(bdf("00:07.1")));
    assert_eq!(attempt.requested_from, Some(RequestedFrom::Claim));
}

#[test]
fn a_success_goes_from_claimed_to_attached() {
    let host = single();
    let mut events = QEMU.attempt("qemu|-name|guest=a b", 1, 0, Owned::default());
    assert_eq!(only(&model(&host, &events)).outcome, Outcome::Claimed);
    events.extend(QEMU.type1(1, 0));
    assert_eq!(only(&model(&host, &events)).outcome, Outcome::Attached);
    events.extend(QEMU.device_fd("0000:00:03.0 vf_token=8d1c", 23));
    let model = model(&host, &events);
    let attempt = only(&model);
    assert_eq!((attempt.outcome, attempt.reason, attempt.errno), (Outcome::Attached, None, None));
    assert_eq!(attempt.requested, Some(bdf("00:03.0")));
    assert_eq!(attempt.requested_from, Some(RequestedFrom::DeviceFd));
    assert_eq!(attempt.process.vm.as_deref(), Some("a b"));
}

#[test]
fn what_fails_after_a_good_claim_is_no_refusal() {
    let host = single();
    let claimed = QEMU.attempt("qemu", 1, 0, Owned::default());
    for (after, error) in
        [(QEMU.type1(1, -1), "EPERM"), (QEMU.device_fd("0000:00:03.0", -19), "ENODEV")]
    {
        let events = [claimed.clone(), after.to_vec()].concat();
        let model = model(&host, &events);
        let attempt = only(&model);
        assert_eq!((attempt.outcome, attempt.reason), (Outcome::Failed, Some(Reason::Unknown)));
        assert_eq!(errno(attempt).as_deref(), Some(error));
        assert!(attempt.rejections.is_empty());
    }
}

#[test]
fn reasons_of_claims_that_fail_without_a_refusal() {
    let busy = Owned { foreign_domain: true, ..Owned::default() };
    for (ret, owned, reason) in [
        (-1, Owned { count: 1, ..Owned::default() }, Reason::GroupNotViable),
        (-1, Owned { count: 1, owner: 0xbbbb, ..Owned::default() }, Reason::OwnedByAnother),
        (-16, busy, Reason::BusyDomain),
        (-16, Owned::default(), Reason::Unknown),
        (-1, Owned::default(), Reason::Unknown),
        (-12, Owned::default(), Reason::Unknown),
        (-22, Owned::default(), Reason::Unknown),
    ] {
        let model = model(&single(), &QEMU.attempt("qemu", 1, ret, owned));
        let attempt = only(&model);
        assert_eq!((attempt.outcome, attempt.reason), (Outcome::Failed, Some(reason)), "{ret}");
    }
}

#[test]
fn a_container_that_refuses_is_an_attempt_without_a_group() {
    let events = [QEMU.ioctl(VfioRequest::SET_CONTAINER), QEMU.ioctl_exit(-22)];
    let model = model(&single(), &events);
    let attempt = only(&model);
    assert_eq!((attempt.outcome, attempt.group), (Outcome::Failed, None));
    assert_eq!(errno(attempt).as_deref(), Some("EINVAL"));
    assert_eq!(attempt.call, "VFIO_GROUP_SET_CONTAINER");
}

#[test]
fn claims_alone_make_attempts() {
    let host = single();
    let whole = QEMU.rejection(&host, "vfio-attach|00:07.0", 5, &["00:07.0"], "00:07.1");
    let events: Vec<Event> = whole
        .into_iter()
        .filter(|event| !matches!(event.body, Body::VfioCall { .. } | Body::ContainerAttach { .. }))
        .collect();
    let model = model(&host, &events);
    let attempt = only(&model);
    assert_eq!(attempt.call, "iommu_group_claim_dma_owner");
    assert_eq!(errno(attempt).as_deref(), Some("EINVAL"));
    assert_eq!(attempt.outcome, Outcome::Rejected);
}

#[test]
fn threads_and_processes_do_not_mix() {
    let host = host(GROUPS, &table(&[SINGLE, AM5[2]]));
    // The threads of a process have one command line.
    let line = "a|00:07.0|03:01.0";
    let left = QEMU.rejection(&host, line, 5, &["00:07.0"], "00:07.1");
    for other in [OTHER_THREAD, OTHER_PROCESS] {
        let right = other.rejection(&host, line, 11, &[], "02:00.0");
        let model = model(&host, &interleaved(left.clone(), right));
        let [first, second] = model.attempts() else { panic!("{:?}", model.attempts()) };
        assert_eq!((first.process.pid, second.process.pid), (QEMU.pid, other.pid));
        assert_eq!((first.group, second.group), (Some(5), Some(11)));
        assert_eq!(first.requested, Some(bdf("00:07.0")));
        assert_eq!(second.requested, Some(bdf("03:01.0")));
        assert_eq!(refusals(&model, first), [("0000:00:07.1".to_owned(), vec![Some(0), Some(1)])]);
        assert_eq!(refusals(&model, second), [("0000:02:00.0".to_owned(), vec![Some(1)])]);
    }
}

#[test]
fn a_second_try_is_a_second_attempt() {
    let host = single();
    let refused = QEMU.rejection(&host, "a|00:07.0", 5, &["00:07.0"], "00:07.1");
    let taken =
        [QEMU.attempt("a|00:07.0", 5, 0, Owned::default()), QEMU.type1(5, 0).to_vec()].concat();
    let outcomes = |parts: &[&Vec<Event>]| -> Vec<Outcome> {
        let events: Vec<Event> = parts.iter().flat_map(|part| part.iter().cloned()).collect();
        model(&host, &events).attempts().iter().map(|attempt| attempt.outcome).collect()
    };
    assert_eq!(outcomes(&[&refused, &refused]), [Outcome::Rejected; 2]);
    // The group of this number may be another one by then.
    assert_eq!(outcomes(&[&refused, &taken]), [Outcome::Rejected, Outcome::Attached]);
    assert_eq!(outcomes(&[&taken, &refused]), [Outcome::Attached, Outcome::Rejected]);
    // The second claim was lost: what follows it is not laid on the first.
    let tail = QEMU.type1(5, 0).to_vec();
    assert_eq!(outcomes(&[&refused, &tail]), [Outcome::Rejected]);
}

/// The events of a rejection without those that `lost` names.
fn with_loss(host: &Snapshot, lost: impl Fn(&Body) -> bool) -> Model {
    let events = QEMU.rejection(host, "a|00:07.0", 5, &["00:07.0"], "00:07.1");
    let arrived: Vec<Event> = events.into_iter().filter(|event| !lost(&event.body)).collect();
    model(host, &arrived)
}

#[test]
fn lost_events_never_make_a_wrong_answer() {
    let host = host(GROUPS, &table(&[SINGLE, AM5[2]]));
    let is_exit = |phase: &Phase| matches!(phase, Phase::Exit { .. });

    let model = with_loss(&host, |body| matches!(body, Body::UnityMatch { ordinal: 0, .. }));
    let attempt = only(&model);
    assert_eq!(refusals(&model, attempt), [("0000:00:07.1".to_owned(), vec![Some(1)])]);
    assert!(!attempt.rejections[0].complete, "two entries cover it, one arrived");

    // No claim succeeds after a refusal in it, whatever was seen of its end.
    let no_claim_exit = |body: &Body| matches!(body, Body::Claim { phase, .. } if is_exit(phase));
    let model = with_loss(&host, no_claim_exit);
    assert_eq!(only(&model).outcome, Outcome::Rejected);
    assert_eq!(errno(only(&model)).as_deref(), Some("EINVAL"), "from the ioctl");

    let no_exit = |body: &Body| {
        no_claim_exit(body)
            || matches!(body, Body::VfioCall { phase, .. } | Body::ContainerAttach { phase }
                if is_exit(phase))
    };
    let model = with_loss(&host, no_exit);
    assert_eq!((only(&model).outcome, only(&model).errno), (Outcome::Rejected, None));

    // Refusal and ends lost: nothing is known of how it ended.
    let refusal = |body: &Body| {
        matches!(
            body,
            Body::SetDomain { ret: -22, .. } | Body::Warning { .. } | Body::KernelMessage { .. }
        )
    };
    let model = with_loss(&host, |body| refusal(body) || no_exit(body));
    assert_eq!((only(&model).outcome, only(&model).reason), (Outcome::Unknown, None));
}

#[test]
fn a_release_makes_no_attempt() {
    let device = device("00:07.1", 5);
    let events = [QEMU.blocked(&device), QEMU.reverted(&device, true)];
    assert!(model(&single(), &events).attempts().is_empty());
}

#[test]
fn entries_that_the_table_does_not_lead_to_name_no_block() {
    // The kernel has another table than the one that was read.
    let (read, running) = (single(), host(GROUPS, &table(&[AM5[0]])));
    let events = QEMU.rejection(&running, "a|00:07.0", 5, &[], "00:07.0");
    let model = model(&read, &events);
    let causes = model.causes(&only(&model).rejections[0]);
    let [cause] = causes.as_slice() else { panic!("{causes:?}") };
    assert_eq!((cause.kind, cause.ivmd()), (CauseKind::DirectRegion, None));
    assert_eq!((cause.start, cause.end), (0x7a2d_9000, 0x7a2d_9fff));
    assert!(cause.evidence[0].to_string().contains("entry 0"), "{:?}", cause.evidence);
    assert_eq!(cause.evidence[1].to_string(), "no IVMD block of the IVRS leads to this region");
}

#[test]
fn blocks_are_found_by_their_place_among_the_effective_ones_of_the_segment() {
    let table = table(&[
        "type=0x22,flags=0x06,devid=0,aux=0xffff,start=0x1000,length=0x1000",
        "type=0x22,flags=0x07,devid=0,aux=0xffff,start=0x2000,length=0x1000,segment=1",
        "type=0x22,flags=0x07,devid=0,aux=0x0030,start=0x3000,length=0x1000",
        SINGLE,
    ]);
    let host = host(GROUPS, &table);
    let model = model(&host, &QEMU.rejection(&host, "a", 5, &["00:07.0"], "00:07.1"));
    let attempt = only(&model);
    assert_eq!(refusals(&model, attempt), [("0000:00:07.1".to_owned(), vec![Some(3)])]);
    assert_eq!(attempt.rejections[0].matches[0].ordinal, 1);
}

#[test]
fn a_device_that_is_no_pci_function_has_no_devid_to_look_up() {
    let host =
        host("3: MSFT0201:00", &table(&["type=0x20,flags=7,devid=0,aux=0,start=0,length=0"]));
    let odd = device("MSFT0201:00", 3);
    // The program looked for devid 0xffff.
    let (devid_start, devid_end) = (0, 0xffff);
    let (ordinal, segment, start, end, prot) = (0, 0, 0, 0, 3);
    let found = QEMU.event(Body::UnityMatch {
        device: odd.clone(),
        ordinal,
        segment,
        devid_start,
        devid_end,
        start,
        end,
        prot,
    });
    let mut events = vec![QEMU.claim(3), found];
    events.extend(QEMU.refused(&odd, &[]));
    let model = model(&host, &events);
    let rejection = &only(&model).rejections[0];
    assert!(!rejection.complete);
    assert_eq!(model.causes(rejection), []);
}

#[test]
fn the_device_that_is_wanted() {
    let host =
        host("5: 00:07.0 00:07.1; 11: 02:00.0* 03:01.0; 12: 02:01.0* 04:01.0 04:02.0", &table(&[]));
    let json = r#"qemu|-device|{"driver":"vfio-pci","host":"0000:00:07.1","id":"hostdev0"}"#;
    for (line, group, wanted, from) in [
        ("vfio-attach|00:07.1", 5, Some("00:07.1"), Some("the command line of the process")),
        ("a|host=0000:00:07.1", 5, Some("00:07.1"), Some("the command line of the process")),
        (json, 5, Some("00:07.1"), Some("the command line of the process")),
        ("a|04:01.0|00:07.0", 5, Some("00:07.0"), Some("the command line of the process")),
        ("a|0001:00:07.0", 5, None, None),
        ("a", 11, Some("03:01.0"), Some("the only device of the group")),
        ("a", 12, None, None),
        ("a", 99, None, None),
    ] {
        let model = model(&host, &QEMU.attempt(line, group, 0, Owned::default()));
        let attempt = only(&model);
        assert_eq!(attempt.requested, wanted.map(bdf), "{line} for {group}");
        assert_eq!(attempt.requested_from.map(RequestedFrom::name), from, "{line} for {group}");
    }
}

#[test]
fn nothing_stays_open_and_long_traces_stay_fast() {
    let host = single();
    let mut model = Model::new(host.clone(), RequireDirect::Present);
    let mut number = 0;
    for pid in 0..20_000 {
        let thread = Thread { pid, tid: pid, comm: "a" };
        let tries = [
            thread.attempt("a", 5, -22, Owned::default()),
            thread.type1(5, 0).to_vec(),
            thread.device_fd("0000:00:07.0", 3).to_vec(),
            thread.device_fd("not a device", 3).to_vec(),
        ];
        for event in tries.concat() {
            model.observe(number, &event);
            number += 1;
        }
    }
    let (kept, dropped) = (model.attempts().len(), model.attempts_dropped());
    assert!((MAX_ATTEMPTS..MAX_ATTEMPTS + 1001).contains(&kept), "{kept}");
    assert_eq!(u64::try_from(kept).unwrap() + dropped, 20_000);
    assert_eq!(model.remembered(), (0, 0, 0));
}

/// Verdict, blocker and IVMD blocks of every device, a line each.
fn verdicts(model: &Model) -> Vec<String> {
    model
        .verdicts()
        .devices
        .iter()
        .map(|one| {
            let ivmds: Vec<_> = one.causes.iter().map(crate::model::Cause::ivmd).collect();
            let verdict = format!("{:?}", one.verdict).to_lowercase();
            let by = one.blocked_by.as_deref().map_or(String::new(), |by| format!(" by {by}"));
            format!("{} {verdict}{by} {ivmds:?}", one.bdf.devid)
        })
        .collect()
}

fn findings(model: &Model) -> Vec<&'static str> {
    model.verdicts().findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn verdicts_with_and_without_listings() {
    let host = host(GROUPS, &table(&[SINGLE, AM5[2]]));
    let expected = [
        "00:03.0 blocked [Some(1)]",
        "00:07.0 blocked [Some(1)]",
        "00:07.1 blocked by 0000:00:07.0 [Some(1)]",
        "02:00.0 blocked [Some(1)]",
        "03:01.0 blocked by 0000:02:00.0 [Some(1)]",
        "21:00.0 clear []",
    ];
    let listed = model(&host, &QEMU.listings(&host, true));
    assert_eq!(verdicts(&listed), expected);
    assert_eq!(findings(&listed), ["ivmd-wide"]);
    // Without the kernel's order each device is held by what it has itself.
    let mut own = expected;
    own[2] = "00:07.1 blocked [Some(0), Some(1)]";
    own[4] = "03:01.0 blocked [Some(1)]";
    assert_eq!(verdicts(&model(&host, &[])), own);
}

#[test]
fn the_kernels_order_says_who_blocks_and_a_later_list_of_one_device_does_not_change_it() {
    let host = host("5: 00:07.0 00:07.1", &table(&[AM5[0]]));
    let list = |name| QEMU.listing(&device(name, 5), &[(0x7a2d_9000, 0x1000)], Some(true));
    let expected = ["00:07.0 blocked by 0000:00:07.1 [Some(0)]", "00:07.1 blocked [Some(0)]"];
    let mut events = [list("00:07.1"), list("00:07.0")].concat();
    assert_eq!(verdicts(&model(&host, &events)), expected);
    events.extend(list("00:07.1"));
    assert_eq!(verdicts(&model(&host, &events)), expected);
}

#[test]
fn a_list_without_end_is_not_kept() {
    let device = device("00:07.0", 5);
    let region = |index| {
        QEMU.event(Body::Region {
            device: device.clone(),
            source: RegionSource::Core,
            index,
            start: u64::from(index) << 12,
            length: 0x1000,
            prot: 3,
            region_type: RegionType::DIRECT,
        })
    };
    let end = |count| {
        QEMU.event(Body::RegionsEnd {
            device: device.clone(),
            source: RegionSource::Core,
            count,
            require_direct: Some(true),
            incomplete: false,
        })
    };
    // 64 are what the programs walk.
    for (count, kept) in [(64, Some(64)), (65, None)] {
        let events: Vec<Event> = (0..count).map(region).chain([end(count)]).collect();
        let model = model(&single(), &events);
        let listing = model.listing("0000:00:07.0");
        assert_eq!(listing.map(|listing| listing.regions.len()), kept, "{count}");
    }
}

#[test]
fn a_list_with_a_hole_is_not_completed_by_the_next_device() {
    let host = host("5: 00:07.0 00:07.1", &table(&[AM5[0]]));
    let first = QEMU.listing(&device("00:07.0", 5), &[(0x7a2d_9000, 0x1000)], Some(true));
    let second = QEMU.listing(&device("00:07.1", 5), &[], Some(false));
    // Of each list one region arrives, and the end of the second, which counts one.
    let model = model(&host, &[first[0].clone(), second[1].clone()]);
    assert_eq!(model.listing("0000:00:07.1"), None);
    assert_eq!(model.listing("0000:00:07.0"), None);
}

/// A host of which a part is hidden, and what is said of its two functions of one group.
struct Hidden {
    what: &'static str,
    change: fn(&mut Snapshot),
    flag: RequireDirect,
    verdicts: [&'static str; 2],
    findings: &'static [&'static str],
}

fn hidden() -> [Hidden; 11] {
    let blocked = ["00:07.0 blocked by 0000:00:07.1 [Some(0)]", "00:07.1 blocked [Some(0)]"];
    let regions_alone = ["00:07.0 blocked [None]", "00:07.1 blocked [None]"];
    let clear = ["00:07.0 clear []", "00:07.1 clear []"];
    let unknown = ["00:07.0 unknown []", "00:07.1 unknown []"];
    let present = RequireDirect::Present;
    [
        Hidden { what: "all", change: |_| (), flag: present, verdicts: blocked, findings: &[] },
        Hidden {
            what: "no right to read the IVRS",
            change: |host| host.ivrs = Reading::Unreadable("x: Permission denied".to_owned()),
            flag: present,
            verdicts: regions_alone,
            findings: &["ivrs-unreadable"],
        },
        Hidden {
            what: "no IVRS",
            change: |host| host.ivrs = Reading::Absent,
            flag: present,
            verdicts: regions_alone,
            findings: &["ivrs-absent"],
        },
        Hidden {
            what: "no BTF",
            change: |_| (),
            flag: RequireDirect::Unknown,
            verdicts: ["00:07.0 unknown [Some(0)]", "00:07.1 unknown [Some(0)]"],
            findings: &["no-btf"],
        },
        Hidden {
            what: "a kernel that does not refuse",
            change: |_| (),
            flag: RequireDirect::Missing,
            verdicts: ["00:07.0 clear [Some(0)]", "00:07.1 clear [Some(0)]"],
            findings: &["refused-from-6.6"],
        },
        Hidden {
            what: "regions and table that differ",
            change: |host| set_regions(host, &Reading::Read(vec![MSI.parse().unwrap()])),
            flag: present,
            verdicts: unknown,
            findings: &["contradiction"],
        },
        Hidden {
            what: "no regions to read",
            change: |host| set_regions(host, &Reading::Absent),
            flag: present,
            verdicts: blocked,
            findings: &[],
        },
        Hidden {
            what: "neither table nor regions",
            change: |host| {
                host.ivrs = Reading::Absent;
                set_regions(host, &Reading::Absent);
            },
            flag: present,
            verdicts: unknown,
            findings: &["ivrs-absent"],
        },
        Hidden {
            what: "functions without an IOMMU in a group without regions",
            change: |host| {
                set_regions(host, &Reading::Read(Vec::new()));
                set_iommu(host, &Reading::Absent);
            },
            flag: present,
            verdicts: clear,
            findings: &[],
        },
        Hidden {
            what: "another vendor's IOMMU",
            change: |host| {
                host.ivrs = Reading::Absent;
                host.iommus = Reading::Read(vec!["vsi0".to_owned()]);
                set_iommu(host, &Reading::Read("vsi0".to_owned()));
            },
            flag: present,
            verdicts: regions_alone,
            findings: &["not-amd"],
        },
        Hidden {
            what: "a tree without IOMMUs",
            change: |host| {
                host.iommus = Reading::Absent;
                set_iommu(host, &Reading::Absent);
            },
            flag: present,
            verdicts: regions_alone,
            findings: &["no-iommu-shown"],
        },
    ]
}

#[test]
fn hosts_that_hide_something() {
    for row in hidden() {
        let mut host = host("5: 00:07.0 00:07.1", &table(&[SINGLE]));
        (row.change)(&mut host);
        let model = model_of(&host, row.flag, &[]);
        assert_eq!(verdicts(&model), row.verdicts, "{}", row.what);
        assert_eq!(findings(&model), row.findings, "{}", row.what);
    }
}

fn set_regions(host: &mut Snapshot, regions: &Reading<Vec<ReservedRegion>>) {
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    for group in groups {
        group.regions = regions.clone();
    }
}

fn set_iommu(host: &mut Snapshot, iommu: &Reading<String>) {
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for function in functions {
        function.iommu = iommu.clone();
    }
}

fn group_of(host: &mut Snapshot, id: u32) -> &mut crate::host::Group {
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    groups.iter_mut().find(|group| group.id == id).unwrap()
}

#[test]
fn a_direct_region_that_is_seen_blocks_though_another_line_is_cut() {
    for table in [table(&[]), table(&[SINGLE])] {
        let mut host = host("1: 00:03.0; 5: 00:07.1", &table);
        let direct = "0x000000007a2d9000 0x000000007a2d9fff direct".parse().unwrap();
        let group = group_of(&mut host, 5);
        group.regions = Reading::Read(vec![direct]);
        let cut = "0x000000fd00000000 0x000000ff".parse::<ReservedRegion>();
        group.bad_region_lines = vec![cut.unwrap_err()];
        let judged = verdicts(&model(&host, &[]));
        assert_eq!(judged[0], "00:03.0 clear []");
        assert!(judged[1].starts_with("00:07.1 blocked"), "{judged:?}");
        // Without it, nothing says that there was none.
        group_of(&mut host, 5).regions = Reading::Read(Vec::new());
        let judged = verdicts(&model(&host, &[]));
        assert!(!judged[1].starts_with("00:07.1 clear"), "{judged:?}");
        host.ivrs = Reading::Absent;
        assert_eq!(verdicts(&model(&host, &[])), ["00:03.0 clear []", "00:07.1 unknown []"]);
    }
}

#[test]
fn a_table_that_the_kernel_cannot_have_used_clears_nobody() {
    let mut sum = host("1: 00:03.0; 5: 00:07.1", &table(&[SINGLE]));
    set_regions(&mut sum, &Reading::Absent);
    let whole = sum.clone();
    let Reading::Read(bytes) = &mut sum.ivrs else { panic!("no table") };
    bytes.0[9] ^= 1;
    let mut no_unit = whole.clone();
    let block = IvrsBuilder::new().ivmd(SINGLE.parse().unwrap()).build().unwrap();
    no_unit.ivrs = Reading::Read(HexBytes(block));
    let mut others = whole.clone();
    others.iommus = Reading::Read(vec!["ivhd0".to_owned(), "ivhd1".to_owned()]);
    assert_eq!(verdicts(&model(&whole, &[])), ["00:03.0 clear []", "00:07.1 blocked [Some(0)]"]);
    for host in [sum, no_unit, others] {
        let model = model(&host, &[]);
        let unknown = ["00:03.0 unknown []", "00:07.1 unknown []"];
        assert_eq!(verdicts(&model), unknown, "{:?}", model.contradictions());
        assert_eq!(model.contradictions().len(), 1);
    }
}

#[test]
fn a_table_that_sysfs_contradicts_names_no_entry_that_it_does_not_show() {
    let moved = "type=0x21,flags=0x07,devid=0x0039,aux=0,start=0x8b000000,length=0x1000";
    let mut host = host("1: 00:03.0; 5: 00:07.1", &table(&[moved]));
    let shown = "0x000000007a2d9000 0x000000007a2d9fff direct".parse().unwrap();
    group_of(&mut host, 5).regions = Reading::Read(vec![shown, MSI.parse().unwrap()]);
    // Of the other group only the table could tell.
    group_of(&mut host, 1).regions = Reading::Absent;
    let model = model(&host, &[]);
    assert_eq!(verdicts(&model), ["00:03.0 unknown []", "00:07.1 blocked [None]"]);
    let told: Vec<String> = model.contradictions().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "IVMD 0 of the IVRS asks for 0x8b000000 to 0x8b000fff for 0000:00:07.1, but \
             reserved_regions of group 5 does not have it",
            "reserved_regions of group 5 has the direct region 0x7a2d9000 to 0x7a2d9fff, but no \
             entry of the IVRS asks for it",
        ]
    );
}

#[test]
fn a_kernel_before_6_6_may_be_that_of_an_intel_host_unless_its_iommus_show() {
    let mut host = host("5: 00:07.1", &table(&[SINGLE]));
    host.ivrs = Reading::Absent;
    host.iommus = Reading::Unreadable("sys/class/iommu: is not in this copy".to_owned());
    set_iommu(&mut host, &Reading::Read("dmar0".to_owned()));
    let judged = |host: &Snapshot| verdicts(&model_of(host, RequireDirect::Missing, &[]));
    assert_eq!(judged(&host), ["00:07.1 blocked [None]"]);
    set_iommu(&mut host, &Reading::Absent);
    assert_eq!(judged(&host), ["00:07.1 unknown [None]"]);
    set_iommu(&mut host, &Reading::Read("ivhd0".to_owned()));
    assert_eq!(judged(&host), ["00:07.1 clear [None]"]);
}

#[test]
fn a_group_of_nobody_is_not_clear() {
    let mut host = host("5: 00:07.1", &table(&[]));
    group_of(&mut host, 5).members = Reading::Read(Vec::new());
    let group = |host: &Snapshot| model(host, &[]).verdicts().groups[0].verdict;
    assert_eq!(group(&host), Verdict::Unknown);
    let shown = "0x000000007a2d9000 0x000000007a2d9fff direct".parse().unwrap();
    group_of(&mut host, 5).regions = Reading::Read(vec![shown]);
    assert_eq!(group(&host), Verdict::Blocked);
}

#[test]
fn without_groups_nothing_is_judged() {
    let model = model(&host("", &table(&[])), &[]);
    assert_eq!(verdicts(&model), [""; 0]);
    assert_eq!(findings(&model), ["no-iommu-groups"]);
}

#[test]
fn the_kernel_is_believed_over_the_table() {
    let host = host("5: 00:07.1", &table(&[SINGLE]));
    let seven = device("00:07.1", 5);
    let region = (0x7a2d_9000, 0x1000);
    for (listed, flag, verdict, found) in [
        (vec![region], Some(true), "00:07.1 blocked [Some(0)]", vec![]),
        (vec![region], Some(false), "00:07.1 clear []", vec!["flag-cleared"]),
        (vec![], Some(false), "00:07.1 clear []", vec!["kernel-differs"]),
        (vec![(0x1000, 0x1000)], Some(true), "00:07.1 blocked [None]", vec!["kernel-differs"]),
        (
            vec![region, region],
            Some(true),
            "00:07.1 blocked [Some(0), None]",
            vec!["kernel-differs"],
        ),
    ] {
        let model = model(&host, &QEMU.listing(&seven, &listed, flag));
        assert_eq!(verdicts(&model), [verdict], "{listed:?} {flag:?}");
        assert_eq!(findings(&model), found, "{listed:?} {flag:?}");
    }
}

#[test]
fn a_member_that_is_no_pci_function_blocks_its_group() {
    let host = host("5: 00:07.0 MSFT0201:00", &table(&[]));
    let events = [
        QEMU.listing(&device("00:07.0", 5), &[], Some(false)),
        QEMU.listing(&device("MSFT0201:00", 5), &[(0x1000, 0x1000)], Some(true)),
    ];
    let model = model(&host, &events.concat());
    assert_eq!(verdicts(&model), ["00:07.0 blocked by MSFT0201:00 [None]"]);
}

#[test]
fn a_function_without_a_group_and_without_an_iommu_is_not_covered() {
    let mut host = host("1: 00:03.0; 5: 00:07.0", &table(&[AM5[0]]));
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    functions[1].group = Reading::Absent;
    functions[1].iommu = Reading::Absent;
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    groups.truncate(1);
    let model = model(&host, &[]);
    assert_eq!(verdicts(&model), ["00:03.0 blocked [Some(0)]", "00:07.0 noiommu []"]);
    let coverage = model.coverage(0).unwrap();
    assert_eq!((coverage.devices, coverage.of_devices), (vec![bdf("00:03.0")], 1));
}

/// The kernel's unity map of segment 0 as it makes it of a table.
fn walked(host: &Snapshot) -> Vec<Event> {
    let view = view(host);
    let last = view.last_bdf.values().next().copied().unwrap_or_default();
    QEMU.unity_map(&view.entries, last)
}

#[test]
fn a_kernel_that_follows_the_table_differs_in_nothing() {
    for table in [table(&[]), table(&[SINGLE]), table(&AM5), table(&[SINGLE, AM5[1], SINGLE])] {
        let host = host(GROUPS, &table);
        let model = model(&host, &walked(&host));
        assert!(model.unity_map(Segment(0)).is_some());
        assert!(!findings(&model).iter().any(|code| code.starts_with("unity")));
    }
}

#[test]
fn each_entry_that_differs_is_shown_with_both_sides() {
    let exclusive = AM5[1].replace("aux=0x0fff", "aux=0x00ff");
    let longer = AM5[2].replace("length=0x40000", "length=0x41000");
    // What the kernel runs with, and what is told of it beside a table of all three.
    for (running, expected) in [
        (vec![AM5[0], AM5[1], AM5[2]], vec![]),
        (vec![AM5[0], AM5[2]], vec![("unity-only-in-table", Some(1))]),
        (
            vec![],
            vec![
                ("unity-only-in-table", Some(0)),
                ("unity-only-in-table", Some(1)),
                ("unity-only-in-table", Some(2)),
            ],
        ),
        (vec![AM5[0], SINGLE, AM5[1], AM5[2]], vec![("unity-only-in-kernel", None)]),
        (vec![AM5[0], &exclusive, AM5[2]], vec![("unity-differs", Some(1))]),
        (
            vec![AM5[0], AM5[1], &longer, SINGLE],
            vec![("unity-differs", Some(2)), ("unity-only-in-kernel", None)],
        ),
        (
            vec![&longer],
            vec![
                ("unity-differs", Some(0)),
                ("unity-only-in-table", Some(1)),
                ("unity-only-in-table", Some(2)),
            ],
        ),
    ] {
        let read = host(GROUPS, &table(&AM5));
        let kernel = host(GROUPS, &table(&running));
        let model = model(&read, &walked(&kernel));
        let found = model.verdicts().findings;
        let found: Vec<&Finding> =
            found.iter().filter(|one| one.code.as_str().starts_with("unity")).collect();
        let block = |one: &Finding| {
            let offset = one.place?.offset;
            let blocks = &model.table().ivrs().unwrap().ivmd;
            blocks.iter().find(|block| block.offset == offset).map(|block| block.index)
        };
        let codes: Vec<_> = found.iter().map(|one| (one.code.as_str(), block(one))).collect();
        assert_eq!(codes, expected, "{running:?}");
        assert!(found.iter().all(|one| one.evidence[0].to_string().contains("event")), "{found:?}");
    }
}

#[test]
fn both_sides_of_a_difference_are_in_its_message() {
    let read = host(GROUPS, &table(&AM5[..1]));
    let kernel = host(GROUPS, &table(&[&AM5[0].replace("length=0x1000", "length=0x3000")]));
    let model = model(&read, &walked(&kernel));
    let verdicts = model.verdicts();
    let found = verdicts.findings.iter().find(|one| one.code == Code::UnityDiffers).unwrap();
    assert_eq!(
        found.message,
        "the kernel's unity map differs from what the IVRS table leads to: it has 0000:00:00.0 to \
         0f:1f.7, 0x7a2d9000 to 0x7a2dbfff, read and write, instead of IVMD 0: 0000:00:00.0 to \
         0f:1f.7, 0x7a2d9000 to 0x7a2d9fff, read and write"
    );
}

#[test]
fn a_unity_map_with_a_hole_proves_nothing() {
    let host = host(GROUPS, &table(&AM5));
    for lost in 0..3 {
        let mut events = walked(&host);
        events.remove(lost);
        let model = model(&host, &events);
        assert_eq!(model.unity_map(Segment(0)), None, "{lost}");
        assert!(!findings(&model).iter().any(|code| code.starts_with("unity")));
    }
    // Another last device, as entries for all devices show it.
    let all =
        self::host(GROUPS, &table(&["type=0x20,flags=7,devid=0,aux=0,start=0,length=0x1000"]));
    let mut events = walked(&all);
    if let Some(Event { body: Body::UnityEnd { last_devid, .. }, .. }) = events.last_mut() {
        *last_devid = 0x1000;
    }
    assert!(findings(&model(&all, &events)).contains(&"unity-last-devid"));
}

#[test]
fn a_kernel_that_relaxes_is_told_from_what_it_lists() {
    let host = host(GROUPS, &table(&[SINGLE]));
    let seven = device("00:07.1", 5);
    let mut listed = QEMU.listing(&seven, &[(0x7a2d_9000, 0x1000)], Some(false));
    for event in &mut listed {
        if let Body::Region { region_type, .. } = &mut event.body
            && *region_type == RegionType::DIRECT
        {
            *region_type = RegionType::DIRECT_RELAXABLE;
        }
    }
    let relaxed =
        model(&host, &[listed, QEMU.listing(&device("00:07.0", 5), &[], Some(false))].concat());
    let of = |model: &Model| {
        model.verdicts().findings.into_iter().find(|one| one.code == Code::KernelRelaxes)
    };
    let found = of(&relaxed).unwrap();
    assert!(found.message.contains("hands out 0000:00:07.0, 0000:00:07.1;"), "{}", found.message);
    assert!(
        found.evidence[0].to_string().contains("direct-relaxable for 0000:00:07.1"),
        "{found:?}"
    );
    assert_eq!(of(&model(&host, &QEMU.listings(&host, true))), None);
    // Intel's driver has relaxable regions of its own.
    let mut intel = host.clone();
    set_iommu(&mut intel, &Reading::Read("dmar0".to_owned()));
    assert_eq!(of(&model(&intel, &[])), None);
}

/// What the kernel does when a device comes: it is put into its group, its regions are listed, and
/// only then the flag is set.
fn hotplugged(name: &str, group: u32, direct: &[(u64, u64)], mapped: bool) -> Vec<Event> {
    let udev = Thread { pid: 9, tid: 9, comm: "udev" };
    let device = device(name, group);
    let mut events = vec![udev.group_change(Change::Added, &device)];
    events.extend(udev.listing(&device, direct, Some(false)));
    if mapped {
        let mut done =
            udev.device_call(Phase::Exit { ret: 0 }, DeviceFunction::DirectMappings, Some(device));
        if let Body::DeviceCall { require_direct, .. } = &mut done.body {
            *require_direct = Some(!direct.is_empty());
        }
        events.push(done);
    }
    events
}

#[test]
fn a_device_that_comes_is_judged_and_no_flag_is_missed() {
    let region = (0x7a2d_9000, 0x1000);
    let before = host("1: 00:03.0", &table(&[SINGLE]));
    for mapped in [true, false] {
        let mut model = model(&before, &hotplugged("00:07.1", 5, &[region], mapped));
        assert_eq!(model.group(5).unwrap().members.value().unwrap().len(), 1);
        assert!(!findings(&model).contains(&"flag-cleared"), "mapped {mapped}");
        // Its files are read later: until then the kernel's list is all that is known of it.
        let early = verdicts(&model);
        assert_eq!(early, ["00:03.0 clear []", "00:07.1 blocked [Some(0)]"]);
        model.rehost(host("1: 00:03.0; 5: 00:07.1", &table(&[SINGLE])));
        assert_eq!(verdicts(&model), ["00:03.0 clear []", "00:07.1 blocked [Some(0)]"]);
        assert!(!findings(&model).contains(&"flag-cleared"), "mapped {mapped}");
    }
    // A later list has the last word: here something cleared the flag.
    let mut events = hotplugged("00:07.1", 5, &[region], true);
    events.extend(QEMU.listing(&device("00:07.1", 5), &[region], Some(false)));
    let mut cleared = model(&before, &events);
    cleared.rehost(host("1: 00:03.0; 5: 00:07.1", &table(&[SINGLE])));
    assert!(findings(&cleared).contains(&"flag-cleared"));
}

#[test]
fn a_device_that_goes_takes_what_was_listed_for_it_along() {
    let host = host(GROUPS, &table(&[SINGLE]));
    let gone = QEMU.group_change(Change::Removed, &device("00:07.1", 5));
    let mut events = QEMU.listings(&host, true);
    events.push(gone);
    let model = model(&host, &events);
    assert_eq!(model.listing("0000:00:07.1"), None);
    assert!(model.listing("0000:00:07.0").is_some());
    assert_eq!(model.group(5).unwrap().members.value().unwrap().len(), 1);
    let judged = model.verdicts();
    let tied = judged.devices.iter().find(|one| one.bdf == bdf("00:07.0")).unwrap();
    assert_eq!(tied.verdict, Verdict::Clear, "what blocked it is gone");
    // Another device comes at the same address and under the same name.
    let again = hotplugged("00:07.1", 5, &[], true);
    let events = [events, again].concat();
    assert_eq!(self::model(&host, &events).listing("0000:00:07.1").unwrap().direct().count(), 0);
}

#[test]
fn a_host_that_is_read_again_forgets_who_is_not_there() {
    let table = table(&[SINGLE]);
    let before = host(GROUPS, &table);
    let mut model = model(&before, &QEMU.listings(&before, true));
    model.rehost(host("1: 00:03.0; 6: 00:07.1", &table));
    assert!(model.listing("0000:00:03.0").is_some() && model.listing("0000:00:07.1").is_some());
    assert_eq!(model.listing("0000:21:00.0"), None);
    assert_eq!(verdicts(&model), ["00:03.0 clear []", "00:07.1 blocked [Some(0)]"]);
    // A host of which nothing can be read is no proof that devices went.
    model.rehost(Snapshot::default());
    assert!(model.listing("0000:00:03.0").is_some());
}

#[test]
fn vfio_pci_that_takes_a_device_is_its_driver() {
    let mut host = host(GROUPS, &table(&[]));
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for function in functions {
        function.driver = Reading::Read("e1000e".to_owned());
    }
    let probed = QEMU.device_call(
        Phase::Exit { ret: 0 },
        DeviceFunction::VfioPciProbe,
        Some(device("00:03.0", 1)),
    );
    let model = model(&host, &[probed]);
    let driver = |name| model.function(bdf(name)).unwrap().driver.value().cloned();
    assert_eq!(driver("00:03.0").as_deref(), Some("vfio-pci"));
    assert_eq!(driver("00:07.0").as_deref(), Some("e1000e"));
}

/// A few blocks that are likely to meet the devices of [`any_groups`], of any kind and flags.
fn any_table() -> impl Strategy<Value = IvrsBuilder> {
    let kind = prop::sample::select(vec!["0x20", "0x21", "0x22"]);
    let flags = prop::sample::select(vec![0x00, 0x03, 0x06, 0x07, 0x08, 0x0f]);
    let block = (kind, flags, 0_u16..0x40, 0_u16..0x40, 0_u64..8, 0_u64..3, 0_u16..2).prop_map(
        |(kind, flags, devid, aux, start, length, segment)| {
            format!(
                "type={kind},flags={flags},devid={devid},aux={aux},start={},length={},\
                 segment={segment}",
                start * 0x800 + 0x10_0000,
                length * 0x1000
            )
        },
    );
    prop::collection::vec(block, 0..4).prop_map(|blocks| {
        let texts: Vec<&str> = blocks.iter().map(String::as_str).collect();
        table(&texts)
    })
}

fn any_groups() -> impl Strategy<Value = String> {
    prop::collection::vec(0..3_usize, 8).prop_map(|groups| {
        let members = |id| -> Vec<String> {
            let devices = groups.iter().enumerate().filter(|(_, group)| **group == id);
            devices.map(|(device, _)| format!("00:{device:02x}.0")).collect()
        };
        let groups = (0..3).map(|id| (id, members(id))).filter(|(_, names)| !names.is_empty());
        groups.map(|(id, names)| format!("{id}: {}", names.join(" "))).collect::<Vec<_>>().join(";")
    })
}

proptest! {
    #[test]
    fn files_say_what_the_kernel_says(table in any_table(), groups in any_groups()) {
        let host = host(&groups, &table);
        let listed = model(&host, &QEMU.listings(&host, true)).verdicts();
        // Of the table there may be much to tell, of table and kernel together nothing.
        let of_table = |one: &Finding| {
            one.code.as_str().starts_with("iv")
                && !matches!(one.code, Code::IvrsRefused | Code::IvmdWithoutAccess)
                // The fixture has IOMMUs whatever the table is.
                || one.code == Code::Contradiction && !view(&host).initialises()
        };
        prop_assert!(listed.findings.iter().all(of_table), "{:?}", listed.findings);
        let mut nameless = host.clone();
        nameless.ivrs = Reading::Absent;
        for files in [model(&host, &[]).verdicts(), model(&nameless, &[]).verdicts()] {
            for (kernel, file) in listed.devices.iter().zip(&files.devices) {
                prop_assert_eq!(kernel.bdf, file.bdf);
                if file.verdict != Verdict::Unknown {
                    prop_assert_eq!(kernel.verdict, file.verdict, "{}", kernel.bdf);
                }
            }
        }
        // With the table nothing is unknown.
        let files = model(&host, &[]).verdicts();
        prop_assert!(files.devices.iter().all(|one| one.verdict != Verdict::Unknown));
        let direct = |regions: &ReservedRegion| regions.kind == RegionKind::Direct;
        for group in host.groups.value().unwrap() {
            let shown = group.regions.value().unwrap().iter().any(direct);
            let judged = listed.groups.iter().find(|one| one.id == group.id).unwrap();
            prop_assert_eq!(judged.verdict == Verdict::Blocked, shown);
            prop_assert_eq!(judged.blocked_by.is_empty(), !shown);
            let mut members = listed.devices.iter().filter(|one| one.group == Some(group.id));
            prop_assert!(members.all(|one| (one.verdict == Verdict::Blocked) == shown));
        }
    }

    #[test]
    fn any_order_of_events_is_taken(picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        let host = single();
        let mut events = QEMU.rejection(&host, "a|00:07.0", 5, &["00:07.0"], "00:07.1");
        events.extend(QEMU.type1(5, 0));
        events.extend(QEMU.device_fd("0000:00:07.0", 3));
        events.extend(QEMU.listings(&host, true));
        let script: Vec<Event> = picks.iter().map(|pick| pick.get(&events).clone()).collect();
        let model = model(&host, &script);
        for attempt in model.attempts() {
            let refused = !attempt.rejections.is_empty();
            let failed = matches!(attempt.outcome, Outcome::Rejected | Outcome::Failed);
            prop_assert_eq!(attempt.reason.is_some(), failed);
            prop_assert!(refused || attempt.outcome != Outcome::Rejected);
        }
    }
}
