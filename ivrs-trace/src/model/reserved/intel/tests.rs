//! Device scopes brought to functions, and what is said of those.

use super::*;
use crate::{
    codes::Code,
    firmware::intel::builder::{DmarBuilder, ScopeSpec},
    host::{HexBytes, Reading, Snapshot},
    model::{
        Model, RequireDirect, Verdict,
        fixture::{bdf, intel_host, set_class, set_regions},
    },
    pci::{Devid, Segment},
};

/// Two ports, one with a bridge below it.
const GROUPS: &str = "1: 00:03.0; 2: 00:1c.0*; 3: 00:1c.4*; 4: 01:00.0 01:00.2; 5: 02:00.0* 03:01.0; \
                      6: 00:1d.0";
const TREE: &str = "00:1c.0>02:00.0 02:00.0>03:01.0 00:1c.4>01:00.0 00:1c.4>01:00.2";

const MSI: &str = "0x00000000fee00000 0x00000000feefffff msi";

fn at(devid: u16) -> ScopeSpec {
    ScopeSpec::function(Devid(devid))
}

fn host(scopes: &[ScopeSpec]) -> Snapshot {
    let dmar = DmarBuilder::new().drhd(1, Segment(0), 0xfed9_0000, &[]);
    intel_host(GROUPS, TREE, &dmar.rmrr(Segment(0), 0x1000_0000, 0x1000_ffff, scopes))
}

fn model(host: &Snapshot) -> Model {
    Model::new(host.clone(), RequireDirect::Present)
}

/// Whom the only RMRR applies to.
fn covered(scopes: &[ScopeSpec]) -> Vec<String> {
    let model = model(&host(scopes));
    let [coverage] = &coverage(&model).0[..] else { panic!("one RMRR") };
    coverage.devices.iter().map(|bdf| bdf.devid.to_string()).collect()
}

#[test]
fn a_scope_leads_over_bridges() {
    assert_eq!(covered(&[at(0x0018)]), ["00:03.0"]);
    // 00:1c.4, then 00.2 below it.
    assert_eq!(covered(&[at(0x00e4).below(0, 2)]), ["01:00.2"]);
    assert_eq!(covered(&[at(0x00e0).below(0, 0).below(1, 0)]), ["03:01.0"]);
    // A bridge brings all that is below it.
    let bridge = |scope: ScopeSpec| scope.of_kind(ScopeKind::Bridge);
    assert_eq!(covered(&[bridge(at(0x00e0))]), ["00:1c.0", "02:00.0", "03:01.0"]);
    assert_eq!(covered(&[bridge(at(0x00e0).below(0, 0))]), ["02:00.0", "03:01.0"]);
    // The bridges left out, as some firmware does: the kernel forgives it for one step.
    assert_eq!(covered(&[at(0x0102)]), ["01:00.2"]);
    for nobody in [
        at(0x0020),
        at(0x0018).below(0, 0),
        at(0x00e4).below(1, 2),
        at(0x0200).below(1, 0),
        at(0x0018).of_kind(ScopeKind::Namespace),
        ScopeSpec { bus: 1, ..at(0x00e4).below(0, 2) },
        // Of another kind than the function.
        at(0x00e0),
        bridge(at(0x0018)),
    ] {
        assert_eq!(covered(std::slice::from_ref(&nobody)), Vec::<String>::new(), "{nobody:?}");
    }
}

#[test]
fn a_copy_without_links_still_has_the_buses() {
    let mut host = host(&[at(0x00e4).below(0, 2)]);
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    for function in &mut *functions {
        function.parent = Reading::Unreadable("no links".to_owned());
    }
    let model = model(&host);
    // Whether 00:1c.4 is on a root bus is not known, so neither is whether it is meant.
    assert_eq!(of_function(&model, bdf("01:00.2")), (Vec::new(), true));
    assert_eq!(direct(&model, bdf("01:00.2")), None);
    assert_eq!(direct(&model, bdf("01:00.0")), Some(Vec::new()));
    assert_eq!(direct(&model, bdf("00:03.0")), Some(Vec::new()));
}

#[test]
fn functions_below_are_judged_by_their_own_class() {
    let mut host = host(&[at(0x00e4).of_kind(ScopeKind::Bridge)]);
    set_class(&mut host, "01:00.0", 0x0c_0330);
    set_class(&mut host, "01:00.2", 0x03_0000);
    set_regions(&mut host, 3, &["0x0000000010000000 0x000000001000ffff direct", MSI]);
    set_regions(&mut host, 4, &["0x0000000010000000 0x000000001000ffff direct-relaxable", MSI]);
    let model = model(&host);
    let coverage = coverage(&model).0;
    assert_eq!(coverage[0].devices, [bdf("00:1c.4")]);
    assert_eq!(coverage[0].relaxable, [bdf("01:00.0"), bdf("01:00.2")]);
    assert_eq!((model.is_free(bdf("01:00.0")), model.is_free(bdf("00:1c.4"))), (true, false));
    assert_eq!(model.is_relaxable(bdf("00:03.0")), Some(false));
}

/// What is behind a verdict, and the RMRRs.
type Causes = Vec<(CauseKind, Option<usize>)>;

/// The verdict on a function of [`GROUPS`], and what is behind it.
fn verdict(model: &Model, name: &str) -> (Verdict, Option<String>, Causes) {
    let verdicts = model.verdicts();
    let device = verdicts.devices.iter().find(|device| device.bdf == bdf(name)).unwrap();
    let causes = device.causes.iter().map(|cause| (cause.kind, cause.rmrr())).collect();
    (device.verdict, device.blocked_by.clone(), causes)
}

#[test]
fn devices_are_judged_as_with_an_ivmd() {
    let direct = "0x0000000010000000 0x000000001000ffff direct";
    let mut host = host(&[at(0x00e4).below(0, 2)]);
    let rmrr = vec![(CauseKind::Rmrr, Some(0))];
    // The kernel shows nothing where the table asks: neither is believed.
    assert_eq!(verdict(&model(&host), "01:00.2").0, Verdict::Unknown);
    set_regions(&mut host, 4, &[direct]);
    let found = model(&host);
    assert_eq!(verdict(&found, "01:00.2"), (Verdict::Blocked, None, rmrr.clone()));
    let by = Some("0000:01:00.2".to_owned());
    assert_eq!(verdict(&found, "01:00.0"), (Verdict::Blocked, by, rmrr.clone()));
    assert_eq!(verdict(&found, "00:03.0"), (Verdict::Clear, None, Vec::new()));
    let verdicts = found.verdicts();
    let device = verdicts.devices.iter().find(|one| one.bdf == bdf("01:00.2")).unwrap();
    let cause = &device.causes[0];
    assert_eq!(
        (cause.start, cause.end, cause.place.map(|place| place.offset)),
        (0x1000_0000, 0x1000_ffff, Some(0x40))
    );
    assert_eq!(cause.scope.as_deref(), Some("endpoint 00:1c.4/00.2"));
    assert!(cause.evidence[1].to_string().contains("offset 0x58"), "{:?}", cause.evidence);

    // Intel's driver refused before the flag was there, so no BTF is needed to know.
    for flag in [RequireDirect::Missing, RequireDirect::Unknown] {
        let model = Model::new(host.clone(), flag);
        assert_eq!(verdict(&model, "01:00.2").0, Verdict::Blocked);
        assert!(model.verdicts().findings.iter().all(|one| one.code != Code::NoBtf));
    }

    // Without the table the regions prove that the group is blocked, not by whom.
    host.dmar = Reading::Unreadable("DMAR: Permission denied".to_owned());
    let unnamed = model(&host);
    let region = vec![(CauseKind::DirectRegion, None)];
    assert_eq!(verdict(&unnamed, "01:00.2"), (Verdict::Blocked, None, region));
    assert!(unnamed.verdicts().findings.iter().any(|one| one.code == Code::DmarUnreadable));
}

#[test]
fn rmrrs_stay_known_when_the_rights_are_gone() {
    let host = host(&[at(0x0018)]);
    let mut model = model(&host);
    let denied = Reading::Unreadable("DMAR: Permission denied".to_owned());
    model.rehost(Snapshot { dmar: denied, ..host });
    assert_eq!(coverage(&model).0.len(), 1);
    assert_eq!(model.rmrrs_of(bdf("00:03.0")).0.len(), 1);
    assert!(model.verdicts().findings.iter().all(|one| one.code != Code::DmarUnreadable));
}

#[test]
fn what_is_odd_on_this_host_is_told() {
    let codes = |host: &Snapshot| -> Vec<&'static str> {
        model(host).verdicts().findings.iter().map(|finding| finding.code.as_str()).collect()
    };
    assert_eq!(codes(&host(&[at(0x0020)])), ["rmrr-absent-device"]);
    assert_eq!(codes(&host(&[at(0x00e0)])), ["rmrr-scope-mismatch", "rmrr-absent-device"]);
    let mut usb = host(&[at(0x0018)]);
    set_class(&mut usb, "00:03.0", 0x0c_0330);
    set_regions(&mut usb, 1, &["0x0000000010000000 0x000000001000ffff direct-relaxable", MSI]);
    assert_eq!(codes(&usb), ["rmrr-relaxable"]);
    usb.dmar = Reading::Absent;
    assert_eq!(codes(&usb), ["dmar-absent"]);
    usb.dmar = Reading::Read(HexBytes(vec![0; 64]));
    assert_eq!(codes(&usb), ["dmar-malformed"]);
}

#[test]
fn what_if_knows_rmrrs() {
    use crate::{
        firmware::EntryId,
        model::{Change, what_if::Effect},
    };
    let dmar = DmarBuilder::new()
        .drhd(1, Segment(0), 0xfed9_0000, &[])
        .rmrr(Segment(0), 0x1000_0000, 0x1000_ffff, &[at(0x0018)])
        .rmrr(Segment(0), 0x2000_0000, 0x2000_ffff, &[at(0x00e4).below(0, 2)]);
    let model = model(&intel_host(GROUPS, TREE, &dmar));
    let with = |changes: &[Change], effect| {
        let answer = model.what_if(changes).unwrap();
        let devices = answer.devices.into_iter().filter(move |device| device.effect == effect);
        devices.map(|device| device.bdf.devid.to_string()).collect::<Vec<_>>().join(" ")
    };
    let without = |index| Change::Without { entry: EntryId::Rmrr(index) };
    assert_eq!(with(&[without(0)], Effect::BecomesClear), "00:03.0");
    // The group goes with its member.
    assert_eq!(with(&[without(0)], Effect::StaysBlocked), "01:00.0 01:00.2");
    let relax = Change::Relax { entry: EntryId::Rmrr(1) };
    assert_eq!(with(&[relax], Effect::BecomesClear), "01:00.0 01:00.2");
    let both = model.what_if(&[without(1)]).unwrap();
    let held = both.devices.iter().find(|device| device.bdf == bdf("01:00.0")).unwrap();
    assert_eq!((&held.before.rmrr[..], &held.before.ivmd[..]), (&[1][..], &[][..]));
    // An endpoint is named by its place; whether a bridge that is named leads to another slot is not
    // known.
    let moved = Change::Move { from: bdf("00:03.0"), to: bdf("05:00.0") };
    assert_eq!(with(&[moved], Effect::BecomesClear), "05:00.0");
    let bridge = at(0x00e0).of_kind(ScopeKind::Bridge);
    let below = self::model(&host(&[bridge]));
    let answer = below.what_if(&[moved]).unwrap();
    let moved = answer.devices.iter().find(|device| device.bdf == bdf("05:00.0")).unwrap();
    assert_eq!(moved.effect, Effect::Unknown);
    for (change, expected) in [
        (without(2), "there is no rmrr:2: the table has rmrr:0 to rmrr:1"),
        (
            Change::Without { entry: EntryId::Ivmd(0) },
            "the table of this host's IOMMU is the DMAR, which has rmrr:0 to rmrr:1",
        ),
    ] {
        let error = model.what_if(&[change]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = model.what_if(&[without(0), without(0)]).unwrap_err().to_string();
    assert!(error.contains("rmrr:0 is changed twice"), "{error}");
}

#[test]
fn a_bridge_of_another_segment_that_was_not_copied_may_be_above() {
    let dmar = DmarBuilder::new().drhd(1, Segment(0), 0xfed9_0000, &[]).rmrr(
        Segment(0),
        0x1000_0000,
        0x1000_ffff,
        &[at(0x00e0).of_kind(ScopeKind::Bridge)],
    );
    let groups = "1: 00:1c.0*; 2: 02:00.0; 3: 0001:02:00.0";
    let mut host = intel_host(groups, "00:1c.0>02:00.0", &dmar);
    let far = bdf("0001:02:00.0");
    let through = of_function(&model(&host), far).0.first().and_then(|found| found.through);
    assert_eq!(through, Some(bdf("00:1c.0")), "the kernel compares numbers of buses alone");
    let Reading::Read(functions) = &mut host.functions else { panic!("no functions") };
    functions.retain(|function| function.bdf != bdf("00:1c.0"));
    assert_eq!(direct(&model(&host), far), None);
}
