//! Bytes as the programs send them in, events out.

use ivrs_trace_common as wire;
use proptest::prelude::*;
use zerocopy::{Immutable, IntoBytes};

use super::{
    Body, Change, DecodeError, Device, DeviceFunction, Event, Phase, RegionSource, RegionType,
    Value, VfioFunction, VfioRequest,
};
use crate::report::{
    json::EventLine,
    valid::{assert_wrong, parsed},
};

fn name<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut name = [0; N];
    name[..text.len()].copy_from_slice(text);
    name
}

fn header(kind: wire::Kind) -> wire::Header {
    wire::Header {
        time_ns: 1_500_000_000,
        pid: 100,
        tid: 101,
        kind,
        probe: wire::ProbeId::AMD_RESV_REGIONS,
        cpu: 3,
        comm: name(b"CPU 0/KVM"),
    }
}

fn device() -> wire::DeviceId {
    wire::DeviceId { ptr: 0xffff, sbdf: 0x0039, group: 5, name: name(b"0000:00:07.1") }
}

fn decode(event: &(impl IntoBytes + Immutable)) -> Event {
    Event::decode(event.as_bytes()).unwrap()
}

fn claim(kind: wire::Kind, device: wire::DeviceId, ret: i32) -> wire::Claim {
    wire::Claim {
        header: header(kind),
        device,
        owner: 1,
        group_owner: 2,
        owner_count: 3,
        flags: wire::CLAIM_FOREIGN_DOMAIN,
        ret,
        pad: 0,
    }
}

fn set_domain(flags: u32) -> wire::SetDomain {
    wire::SetDomain {
        header: header(wire::Kind::SET_DOMAIN),
        device: device(),
        driver: name(b"vfio-pci"),
        domain_type: 0,
        flags,
        ret: -22,
        entries: 3,
        matches: 1,
        pad: 0,
    }
}

fn args(offset: u32, total: u32, data: &[u8]) -> wire::Args {
    wire::Args { header: header(wire::Kind::ARGS), offset, total, data: name(data) }
}

fn vfio_call(kind: wire::Kind, cmd: u32, ret: i64, path: &[u8], text: &[u8]) -> wire::VfioCall {
    let (path, name) = (name(path), name(text));
    wire::VfioCall { header: header(kind), file: 0xf11e, ret, cmd, pad: 0, path, name }
}

fn device_call(kind: wire::Kind, ret: i32, flags: u32) -> wire::DeviceCall {
    let driver = name(b"vfio-pci");
    wire::DeviceCall { header: header(kind), device: device(), driver, ret, flags }
}

fn member(driver: &[u8], flags: u32) -> wire::Member {
    let (header, driver) = (header(wire::Kind::MEMBER), name(driver));
    wire::Member { header, device: device(), driver, index: 1, flags }
}

fn message(length: u32, text: &[u8]) -> wire::Message {
    wire::Message { header: header(wire::Kind::MESSAGE), length, pad: 0, text: name(text) }
}

fn warning(flags: u32) -> wire::Warning {
    wire::Warning {
        header: header(wire::Kind::WARNING),
        device: device(),
        driver: name(b"vfio-pci"),
        entries: 3,
        matches: 1,
        flags,
        pad: 0,
    }
}

fn unity_end(flags: u32) -> wire::UnityEnd {
    wire::UnityEnd {
        header: header(wire::Kind::UNITY_END),
        count: 2,
        flags,
        segment: 0,
        last_devid: 0x22ff,
        pad: 0,
    }
}

fn attach(kind: wire::Kind, group: i32, ret: i32) -> wire::Attach {
    wire::Attach { header: header(kind), group, ret }
}

fn regions_end(flags: u32) -> wire::RegionsEnd {
    wire::RegionsEnd { header: header(wire::Kind::REGIONS_END), device: device(), count: 2, flags }
}

fn region() -> wire::Region {
    wire::Region {
        header: header(wire::Kind::REGION),
        device: device(),
        start: 0x1000,
        length: 0x2000,
        prot: 3,
        kind: wire::RegionType::DIRECT,
        index: 1,
        pad: 0,
    }
}

fn unity_match() -> wire::UnityMatch {
    wire::UnityMatch {
        header: header(wire::Kind::UNITY_MATCH),
        device: device(),
        start: 0x1000,
        end: 0x3000,
        ordinal: 2,
        prot: 3,
        devid_start: 0x0010,
        devid_end: 0x0fff,
        segment: 0,
        pad: 0,
    }
}

fn module_load() -> wire::ModuleLoad {
    wire::ModuleLoad { header: header(wire::Kind::MODULE_LOAD), name: name(b"vfio_pci") }
}

fn bytes(event: &(impl IntoBytes + Immutable)) -> Vec<u8> {
    event.as_bytes().to_vec()
}

/// One event of every kind, as bytes, and its text.
#[expect(clippy::too_many_lines, reason = "one row a kind, and nothing else")]
fn all_kinds() -> Vec<(Vec<u8>, &'static str)> {
    use wire::Kind;
    let none = wire::DeviceId { ptr: 0, sbdf: wire::NOT_PCI, group: 5, name: name(b"") };
    let refused = wire::SET_REFUSED | wire::SET_UNITY_WALKED;
    vec![
        (bytes(&region()), "region 0000:00:07.1 (group 5) #1 0x1000-0x2fff direct prot 0x3"),
        (
            bytes(&regions_end(wire::REGIONS_FLAG_KNOWN | wire::REGIONS_REQUIRE_DIRECT)),
            "regions 0000:00:07.1 (group 5) 2 in all, require_direct=1",
        ),
        (
            bytes(&claim(Kind::GROUP_CLAIM_ENTER, none, 0)),
            "iommu_group_claim_dma_owner(group 5) owners 3, not on its default domain",
        ),
        (
            bytes(&claim(Kind::GROUP_CLAIM_EXIT, none, -22)),
            "iommu_group_claim_dma_owner(group 5) = -1 EINVAL",
        ),
        (
            bytes(&claim(Kind::DEVICE_CLAIM_ENTER, device(), 0)),
            "iommu_device_claim_dma_owner(0000:00:07.1 (group 5), group 5) owners 3, not on its \
             default domain",
        ),
        (
            bytes(&claim(Kind::DEVICE_CLAIM_EXIT, device(), 0)),
            "iommu_device_claim_dma_owner(0000:00:07.1 (group 5), group 5) = 0",
        ),
        (
            bytes(&unity_match()),
            "unity map 0000:00:07.1 (group 5) entry 2 devid 0x0010-0x0fff 0x1000-0x2fff prot 0x3",
        ),
        (
            bytes(&set_domain(refused)),
            "__iommu_device_set_domain(0000:00:07.1 (group 5), type 0 blocking) = -1 EINVAL, \
             require_direct=1",
        ),
        (
            bytes(&vfio_call(Kind::GROUP_IOCTL_ENTER, 0x3b6a, 0, b"5", b"0000:00:07.1")),
            "vfio_group_fops_unl_ioctl(5, VFIO_GROUP_GET_DEVICE_FD, 0000:00:07.1)",
        ),
        (
            bytes(&vfio_call(Kind::GROUP_IOCTL_EXIT, 0, -22, b"", b"")),
            "vfio_group_fops_unl_ioctl = -1 EINVAL",
        ),
        (bytes(&attach(Kind::CONTAINER_ATTACH_ENTER, -1, 0)), "vfio_container_attach_group"),
        (
            bytes(&attach(Kind::CONTAINER_ATTACH_EXIT, -1, -1)),
            "vfio_container_attach_group = -1 EPERM",
        ),
        (bytes(&attach(Kind::TYPE1_ATTACH_ENTER, 5, 0)), "vfio_iommu_type1_attach_group(group 5)"),
        (bytes(&attach(Kind::TYPE1_ATTACH_EXIT, -1, 0)), "vfio_iommu_type1_attach_group = 0"),
        (bytes(&args(0, 7, b"qemu\0-S\0")), "command line, 7 bytes, from 0: qemu -S"),
        (bytes(&module_load()), "module vfio_pci loaded"),
        (
            bytes(&vfio_call(Kind::GROUP_OPEN_ENTER, 0, 0, b"noiommu-0", b"")),
            "vfio_group_fops_open(noiommu-0)",
        ),
        (
            bytes(&vfio_call(Kind::GROUP_OPEN_EXIT, 0, -16, b"", b"")),
            "vfio_group_fops_open = -1 EBUSY",
        ),
        (
            bytes(&vfio_call(Kind::CONTAINER_IOCTL_ENTER, 0x3b66, 0, b"vfio", b"")),
            "vfio_fops_unl_ioctl(vfio, VFIO_SET_IOMMU)",
        ),
        (bytes(&vfio_call(Kind::CONTAINER_IOCTL_EXIT, 0, 0, b"", b"")), "vfio_fops_unl_ioctl = 0"),
        (
            bytes(&vfio_call(Kind::BIND_IOMMUFD_ENTER, 0x3b76, 0, b"", b"")),
            "vfio_df_ioctl_bind_iommufd(VFIO_DEVICE_BIND_IOMMUFD)",
        ),
        (
            bytes(&vfio_call(Kind::BIND_IOMMUFD_EXIT, 0, -1, b"", b"")),
            "vfio_df_ioctl_bind_iommufd = -1 EPERM",
        ),
        (
            bytes(&vfio_call(Kind::ATTACH_IOMMUFD_ENTER, 0x3b77, 0, b"", b"")),
            "vfio_df_ioctl_attach_pt(VFIO_DEVICE_ATTACH_IOMMUFD_PT)",
        ),
        (
            bytes(&vfio_call(Kind::ATTACH_IOMMUFD_EXIT, 0, -98, b"", b"")),
            "vfio_df_ioctl_attach_pt = -1 EADDRINUSE",
        ),
        (
            bytes(&device_call(Kind::DEVICE_BIND_ENTER, 0, wire::DEVICE_FLAG_KNOWN)),
            "iommufd_device_bind(0000:00:07.1 (group 5))",
        ),
        (
            bytes(&device_call(Kind::DEVICE_BIND_EXIT, -22, 0)),
            "iommufd_device_bind(0000:00:07.1 (group 5)) = -1 EINVAL",
        ),
        (bytes(&attach(Kind::DEVICE_ATTACH_ENTER, -1, 0)), "iommufd_device_attach"),
        (bytes(&attach(Kind::DEVICE_ATTACH_EXIT, -1, 0)), "iommufd_device_attach = 0"),
        (
            bytes(&claim(Kind::OWNER_CLAIMED, none, 1)),
            "iommu_group_dma_owner_claimed(group 5) = true, owners 3",
        ),
        (bytes(&attach(Kind::ISOLATED_MSI, 5, 0)), "iommu_group_has_isolated_msi(group 5) = false"),
        (
            bytes(&member(b"virtio-pci", 0)),
            "member 0000:00:07.1 (group 5) driver virtio-pci, of the host",
        ),
        (bytes(&message(12, b"vfio-pci: no\n")), "kernel log: vfio-pci: no"),
        (
            bytes(&warning(wire::SET_UNITY_WALKED)),
            "kernel warns that it refuses 0000:00:07.1 (group 5), driver vfio-pci",
        ),
        (
            bytes(&device_call(
                Kind::DIRECT_MAPPINGS,
                0,
                wire::DEVICE_FLAG_KNOWN | wire::DEVICE_REQUIRE_DIRECT,
            )),
            "iommu_create_device_direct_mappings(0000:00:07.1 (group 5)) = 0, require_direct=1",
        ),
        (bytes(&device_call(Kind::GROUP_ADD, 0, 0)), "0000:00:07.1 added to group 5"),
        (bytes(&device_call(Kind::GROUP_REMOVE, 0, 0)), "0000:00:07.1 removed from group 5"),
        (
            bytes(&wire::UnityMatch { header: header(Kind::UNITY_ENTRY), ..unity_match() }),
            "unity map of segment 0000 entry 2 devid 0x0010-0x0fff 0x1000-0x2fff prot 0x3",
        ),
        (
            bytes(&unity_end(wire::WALK_CUT)),
            "unity map of segment 0000 2 in all, last devid 0x22ff, INCOMPLETE",
        ),
        (
            bytes(&device_call(Kind::DRIVER_PROBE, -22, 0)),
            "vfio_pci_probe(0000:00:07.1 (group 5)) = -1 EINVAL",
        ),
        (bytes(&attach(Kind::DEVICE_OPEN, -1, -22)), "vfio_df_open = -1 EINVAL, iommufd not asked"),
        (
            bytes(&device_call(Kind::DRIVER_BIND, 0, 0)),
            "pci_device_probe(0000:00:07.1 (group 5)) = 0, driver vfio-pci",
        ),
        (
            bytes(&device_call(Kind::DRIVER_UNBIND, 0, 0)),
            "pci_device_remove(0000:00:07.1 (group 5)) = 0, driver vfio-pci",
        ),
    ]
}

#[test]
fn every_kind_says_what_it_is() {
    for (bytes, text) in all_kinds() {
        let event = Event::decode(&bytes).unwrap();
        assert_eq!(event.body.to_string(), text);
        assert_eq!(
            event.to_string(),
            format!("     1.500000 100/101       CPU 0/KVM       {text}")
        );
        assert_eq!((event.pid, event.tid, event.cpu), (100, 101, 3));
    }
}

#[test]
fn every_kind_of_the_table_is_decoded() {
    let kind = |(bytes, _): (Vec<u8>, _)| wire::Kind(u16::from_ne_bytes([bytes[16], bytes[17]]));
    let shown: Vec<wire::Kind> = all_kinds().into_iter().map(kind).collect();
    assert_eq!(shown, wire::Kind::ALL);
    assert!((1..).zip(wire::Kind::ALL).all(|(number, kind)| kind.0 == number), "a gap");
    for (bytes, text) in all_kinds() {
        assert_ne!(Event::decode(&bytes).unwrap().body.kind(), "unknown", "{text}");
    }
}

/// What text, filters and exports find in an event is what its JSON has, by the same names.
#[test]
fn every_field_is_found_as_json_has_it() {
    for (bytes, text) in all_kinds() {
        let body = Event::decode(&bytes).unwrap().body;
        let json = serde_json::to_value(&body).unwrap();
        assert_eq!(json["kind"], body.kind(), "{text}");
        for (name, value) in json.as_object().unwrap() {
            let found = match body.field(name) {
                Some(Value::Device(device)) => serde_json::to_value(device).unwrap(),
                Some(Value::Phase(phase)) => serde_json::to_value(phase).unwrap()["phase"].clone(),
                Some(Value::Return(ret)) => ret.into(),
                Some(Value::Flag(flag)) => flag.into(),
                Some(Value::Number(number)) => number.into(),
                Some(Value::Plain(plain)) => plain.to_string().into(),
                None if name == "kind" => body.kind().into(),
                None => body.ret().unwrap().into(),
            };
            assert_eq!(&found, value, "{name} of {text}");
        }
        assert_eq!(body.device().is_some(), json.get("device").is_some(), "{text}");
        for name in body.names().filter(|name| body.field(name).is_some()) {
            assert!(json.get(name).is_some(), "{name} of {text}");
        }
    }
}

#[test]
fn every_length_but_the_right_one_is_an_error() {
    for (mut bytes, text) in all_kinds() {
        let whole = bytes.len();
        bytes.extend([0; 8]);
        for length in (0..whole).chain([whole + 1, whole + 8]) {
            let expected = if length < size_of::<wire::Header>() {
                DecodeError::NoHeader { length }
            } else {
                let kind = u16::from_ne_bytes([bytes[16], bytes[17]]);
                DecodeError::Length { kind, length, expected: whole }
            };
            assert_eq!(Event::decode(&bytes[..length]), Err(expected), "{text}");
        }
    }
}

#[test]
fn fields_arrive_where_they_belong() {
    let expected = Device {
        ptr: 0xffff,
        name: "0000:00:07.1".to_owned(),
        bdf: Some("00:07.1".parse().unwrap()),
        group: Some(5),
    };
    let Body::Region { device: found, source, region_type, length, .. } = decode(&region()).body
    else {
        panic!("not a region")
    };
    assert_eq!((found, source), (expected, RegionSource::Amd));
    assert_eq!((region_type, length), (RegionType::DIRECT, 0x2000));

    let Body::Claim { owner, group_owner, owner_count, foreign_domain, device, phase, .. } =
        decode(&claim(wire::Kind::GROUP_CLAIM_EXIT, wire::DeviceId { ptr: 0, ..device() }, -1))
            .body
    else {
        panic!("not a claim")
    };
    assert_eq!((owner, group_owner, owner_count, foreign_domain), (1, 2, 3, true));
    assert_eq!((device, phase), (None, Phase::Exit { ret: -1 }));

    let request = decode(&vfio_call(wire::Kind::GROUP_IOCTL_ENTER, 0x3b68, 0, b"5", b"")).body;
    assert_eq!(
        request,
        Body::VfioCall {
            phase: Phase::Enter,
            function: VfioFunction::GroupIoctl,
            request: Some(VfioRequest::SET_CONTAINER),
            path: Some("5".to_owned()),
            file: 0xf11e,
            device_name: None,
        }
    );
    let probed = decode(&device_call(wire::Kind::DRIVER_PROBE, -22, 0)).body;
    let Body::DeviceCall { function, phase, driver, require_direct, device, .. } = probed else {
        panic!("not a device's call")
    };
    assert_eq!((function, phase), (DeviceFunction::VfioPciProbe, Phase::Exit { ret: -22 }));
    assert_eq!((driver.as_str(), require_direct), ("vfio-pci", None));
    assert_eq!(device.and_then(|device| device.group), Some(5));
    let added = decode(&device_call(wire::Kind::GROUP_ADD, 0, 0)).body;
    assert!(matches!(added, Body::GroupChange { change: Change::Added, .. }));
}

#[test]
fn a_member_of_a_group_is_the_hosts_or_not() {
    for (driver, flags, expected) in [
        (&b"virtio-pci"[..], 0, "member 0000:00:07.1 (group 5) driver virtio-pci, of the host"),
        (b"vfio-pci", wire::MEMBER_MANAGES_DMA, "member 0000:00:07.1 (group 5) driver vfio-pci"),
        (b"", wire::WALK_CUT, "member 0000:00:07.1 (group 5) driver none, INCOMPLETE"),
    ] {
        assert_eq!(decode(&member(driver, flags)).body.to_string(), expected);
    }
}

#[test]
fn a_line_of_the_log_is_one_printable_line() {
    for (length, bytes, text, cut) in [
        (5, &b"a\x1b[m\n"[..], "a\\u{1b}[m", false),
        (9, b"a\nb", "a", false),
        (300, &[b'x'; wire::MESSAGE_LEN][..], &*"x".repeat(wire::MESSAGE_LEN), true),
    ] {
        let text = text.to_owned();
        assert_eq!(decode(&message(length, bytes)).body, Body::KernelMessage { text, cut });
    }
}

#[test]
fn flags_of_a_set_domain_are_told_apart() {
    for (flags, expected) in [
        (0, (false, false, None, false)),
        (wire::SET_REQUIRE_DIRECT, (true, false, None, false)),
        (wire::SET_BLOCKING, (false, true, None, false)),
        (wire::SET_REFUSED | wire::SET_UNITY_WALKED, (true, true, Some(3), false)),
        (wire::SET_UNITY_WALKED | wire::SET_UNITY_CUT, (false, false, Some(3), true)),
        (wire::SET_UNITY_WALKED | wire::SET_UNITY_BROKEN, (false, false, Some(3), true)),
        (1 << 31, (false, false, None, false)),
    ] {
        let Body::SetDomain { require_direct, blocking, unity_entries, incomplete, .. } =
            decode(&set_domain(flags)).body
        else {
            panic!("not a set_domain")
        };
        assert_eq!((require_direct, blocking, unity_entries, incomplete), expected, "{flags:#x}");
    }
}

#[test]
fn a_flag_that_the_kernel_lacks_is_absent_not_false() {
    for (flags, expected) in [
        (0, (None, false)),
        (wire::REGIONS_REQUIRE_DIRECT, (None, false)),
        (wire::REGIONS_FLAG_KNOWN, (Some(false), false)),
        (wire::REGIONS_FLAG_KNOWN | wire::WALK_CUT, (Some(false), true)),
        (wire::WALK_BROKEN, (None, true)),
    ] {
        let Body::RegionsEnd { require_direct, incomplete, .. } = decode(&regions_end(flags)).body
        else {
            panic!("not an end")
        };
        assert_eq!((require_direct, incomplete), expected, "{flags:#x}");
    }
}

#[test]
fn an_unknown_kind_is_kept() {
    for code in [0, u16::try_from(wire::Kind::ALL.len()).unwrap() + 1, u16::MAX] {
        let header = header(wire::Kind(code));
        assert_eq!(decode(&header).body, Body::Unknown { code, length: 40 });
    }
}

#[test]
fn an_address_is_believed_only_if_the_name_says_the_same() {
    let found = |sbdf, text: &[u8]| {
        Device::from_wire(&wire::DeviceId { sbdf, name: name(text), ..device() })
            .bdf
            .map(|bdf| bdf.to_string())
    };
    assert_eq!(found(0x0001_4100, b"0001:41:00.0").as_deref(), Some("0001:41:00.0"));
    assert_eq!(found(wire::NOT_PCI, b"MSFT0201:00"), None);
    // A domain that the kernel invented: its lower 16 bits are another segment's.
    assert_eq!(found(0x0000_e100, b"10000:e1:00.0"), None);
    assert_eq!(found(0x0039, b""), None);
    let groupless = Device::from_wire(&wire::DeviceId { group: wire::NO_GROUP, ..device() });
    assert_eq!(groupless.group, None);
}

#[test]
fn names_come_out_printable_whatever_they_hold() {
    for (bytes, expected) in [
        (b"a\x1b[2Jb".to_vec(), "a\\u{1b}[2Jb"),
        (vec![b'x'; wire::NAME_LEN], "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        (b"a\xff\xfe".to_vec(), "a\\xff\\xfe"),
        (b"a\nb\0junk".to_vec(), "a\\u{a}b"),
    ] {
        let event = wire::ModuleLoad { name: name(&bytes), ..module_load() };
        assert_eq!(decode(&event).body, Body::ModuleLoad { name: expected.to_owned() });
        let Body::Args { text, .. } = decode(&args(0, 8, b"\x1b[31m\0\r\0")).body else {
            panic!("not a command line")
        };
        assert_eq!(text, "\\u{1b}[31m \\u{d} ");
    }
}

#[test]
fn a_piece_ends_where_the_command_line_does() {
    for (offset, total, expected) in
        [(0, 4, "abcd"), (0, 2, "ab"), (510, 512, "ab"), (4, 4, ""), (9, 4, ""), (0, 5, "abcd ")]
    {
        let Body::Args { text, .. } = decode(&args(offset, total, b"abcd")).body else {
            panic!("not a command line")
        };
        assert_eq!(text, expected, "{offset} of {total}");
    }
}

#[test]
fn json_has_flat_fields_and_names() {
    let json = serde_json::to_value(decode(&set_domain(wire::SET_REFUSED))).unwrap();
    assert_eq!(json["kind"], "set_domain");
    assert_eq!(json["device"]["bdf"], "0000:00:07.1");
    assert_eq!(json["ret"], -22);
    assert!(json["device"].get("ptr").is_none(), "kernel addresses stay inside");
    let json =
        serde_json::to_value(decode(&attach(wire::Kind::TYPE1_ATTACH_EXIT, -1, -1))).unwrap();
    assert_eq!((&json["phase"], &json["ret"]), (&"exit".into(), &(-1).into()));
}

#[test]
fn every_kind_fits_the_schema_of_a_line() {
    let header = header(wire::Kind(u16::MAX));
    for bytes in all_kinds().into_iter().map(|(bytes, _)| bytes).chain([bytes(&header)]) {
        let event = Event::decode(&bytes).unwrap();
        let line = parsed(&EventLine { number: u64::MAX, event: &event });
        for member in line.as_object().unwrap().keys() {
            // What is there only where it is known may as well be missing.
            let optional = ["device", "device_name", "group", "path", "request", "require_direct"];
            let optional_device = line["kind"] == "claim" || line["kind"] == "device_call";
            let required = !optional.contains(&member.as_str()) && member != "unity_entries";
            if required || (member == "device" && !optional_device) {
                assert_wrong(&line, &format!("/{member}"), None);
            }
            assert_wrong(&line, &format!("/{member}"), Some(serde_json::json!([])));
        }
    }
    let event = decode(&set_domain(0));
    let line = parsed(&EventLine { number: 1, event: &event });
    assert_wrong(&line, "/device/bdf", Some(0x39.into()));
    assert_wrong(&line, "/kind", Some("other".into()));
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_an_error(
        kind in 0_u16..45,
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        whole: bool,
    ) {
        let lengths = all_kinds();
        if let Some(field) = bytes.get_mut(16..18) {
            field.copy_from_slice(&kind.to_ne_bytes());
        }
        if whole && let Some((same, _)) = lengths.get(usize::from(kind).wrapping_sub(1)) {
            bytes.resize(same.len(), 0xa5);
        }
        if let Ok(event) = Event::decode(&bytes) {
            let text = event.to_string();
            prop_assert!(!text.chars().any(char::is_control), "{text:?}");
            parsed(&EventLine { number: 1, event: &event });
        }
    }
}
