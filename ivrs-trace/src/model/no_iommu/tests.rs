use crate::{
    firmware::{
        amd::{
            builder::{IvhdSpec, IvrsBuilder},
            device_entry::DeviceEntry,
        },
        intel::{
            builder::{DmarBuilder, ScopeSpec},
            dmar::ScopeKind,
        },
    },
    host::{Reading, Snapshot},
    model::{
        DeviceVerdict,
        fixture::{AM5, add_ungrouped, host, intel_host, model, table},
    },
    pci::{Devid, Segment},
};

/// What is said of the functions in no group: address, verdict, reason or what is missing.
fn ungrouped(host: &Snapshot) -> Vec<String> {
    let told = model(host, &[]).verdicts();
    let of = |one: &DeviceVerdict| {
        let why = one.no_iommu.as_ref().map(|why| why.why(&[one.bdf]));
        format!("{} {:?}: {}", one.bdf.devid, one.verdict, why.or(one.missing.clone()).unwrap())
    };
    told.devices.iter().filter(|one| one.group.is_none()).map(of).collect()
}

#[test]
fn a_function_that_no_device_entry_reaches_is_listed_with_what_the_table_covers() {
    let range =
        |first, last| DeviceEntry::Range { first: Devid(first), last: Devid(last), settings: 0 };
    let unit = |segment, entries| IvhdSpec {
        segment: Segment(segment),
        devid: Devid(2),
        entries,
        ..IvhdSpec::default()
    };
    let alias = DeviceEntry::AliasRange {
        first: Devid(0xff00),
        last: Devid(0xffff),
        source: Devid(0x00a4),
        settings: 0,
    };
    let of = |entries: Vec<DeviceEntry>| {
        let table = IvrsBuilder::new().ivhd(unit(0, entries));
        let mut host = host("1: 00:03.0; 2: 21:00.0", &table);
        for (name, class) in [
            ("00:00.0", 0x06_0000),
            ("00:00.2", 0x08_0600),
            ("00:00.7", 0x02_0000),
            ("43:00.0", 0x03_0000),
            ("0001:00:00.0", 0x02_0000),
        ] {
            add_ungrouped(&mut host, name, class);
        }
        ungrouped(&host)
    };
    let cover = "The entries of segment 0000 cover 00:01.0 to 3f:1f.6";
    let told = of(vec![range(0x0008, 0x3ffe)]);
    assert_eq!(
        told,
        [
            "00:00.0 Platform: It is a host bridge, and the table gives it no IOMMU.".to_owned(),
            "00:00.2 Platform: It is an IOMMU itself.".to_owned(),
            format!("00:00.7 NoIommu: No device entry of the IVRS reaches 0000:00:00.7. {cover}."),
            format!(
                "43:00.0 NoIommu: No device entry of the IVRS reaches bus 43. {cover}; bus 3f is \
                 the last."
            ),
            "00:00.0 NoIommu: No IOMMU of the IVRS is for PCI segment 0001.".to_owned(),
        ]
    );
    let told = of(vec![range(0x0008, 0x3ffe), alias]);
    let between = format!(
        "43:00.0 NoIommu: No device entry of the IVRS reaches bus 43. {cover}, ff:00.0 to ff:1f.7."
    );
    assert!(told.contains(&between), "{told:#?}");
    let told = of(vec![DeviceEntry::All { settings: 0 }]);
    assert!(told.iter().any(|one| one.starts_with("43:00.0 NoIommu: The IVRS gives")), "{told:#?}");
}

#[test]
fn a_function_that_no_drhd_names_is_listed_with_what_they_name() {
    let scope = |devid| ScopeSpec::function(Devid(devid));
    let of = |dmar: DmarBuilder| {
        let mut host = intel_host("1: 00:02.0; 2: 00:1c.0* 01:00.0", "00:1c.0>01:00.0", &dmar);
        add_ungrouped(&mut host, "00:1f.6", 0x02_0000);
        add_ungrouped(&mut host, "0001:00:03.0", 0x02_0000);
        ungrouped(&host)
    };
    let drhd =
        |flags, scopes: &[_]| DmarBuilder::new().drhd(flags, Segment(0), 0xfed9_0000, scopes);
    let elsewhere = "00:03.0 NoIommu: No IOMMU of the DMAR is for PCI segment 0001.";
    let [named, bridge] = [scope(0x0010), scope(0x00e0).of_kind(ScopeKind::Bridge)];
    assert_eq!(
        of(drhd(0, &[named, bridge])),
        [
            "00:1f.6 NoIommu: No DRHD of the DMAR names 0000:00:1f.6 or a bridge above, and none \
             is for all of segment 0000. Its DRHDs name endpoint 00:02.0, bridge 00:1c.0.",
            elsewhere,
        ]
    );
    for dmar in [drhd(1, &[]), drhd(0, &[scope(0x00fe)])] {
        let told = of(dmar);
        assert!(told[0].starts_with("00:1f.6 NoIommu: The DMAR gives"), "{told:#?}");
        assert_eq!(told[1], elsewhere);
    }
}

#[test]
fn what_was_not_copied_of_groups_is_not_known_rather_than_none() {
    let mut whole = host("1: 00:03.0", &table(&[AM5[0]]));
    add_ungrouped(&mut whole, "43:00.0", 0x03_0000);
    add_ungrouped(&mut whole, "00:00.2", 0x08_0600);
    let iommu = "00:00.2 Platform: It is an IOMMU itself.";
    let mut without = whole.clone();
    without.groups = Reading::Unreadable("sys/kernel/iommu_groups: is not there".to_owned());
    let told = ungrouped(&without);
    assert_eq!(told[0], iommu);
    assert!(
        told[1].starts_with("43:00.0 Unknown: which functions are in IOMMU groups"),
        "{told:?}"
    );
    let mut without = whole.clone();
    let Reading::Read(groups) = &mut without.groups else { panic!("no groups") };
    groups[0].members = Reading::Absent;
    let told = ungrouped(&without);
    assert!(told[1].starts_with("43:00.0 Unknown: whether it is in group 1"), "{told:?}");
    let mut without = whole.clone();
    without.ivrs = Reading::Absent;
    let told = ungrouped(&without);
    assert!(told[1].starts_with("43:00.0 NoIommu: Linux made no group. The IVRS"), "{told:?}");
    let mut without = whole.clone();
    let Reading::Read(functions) = &mut without.functions else { panic!("no functions") };
    for function in functions {
        function.class = Reading::Absent;
    }
    let told = ungrouped(&without);
    // The table says which function is the IOMMU.
    assert_eq!(told[0], iommu);
    assert!(told[1].starts_with("43:00.0 Unknown: its class"), "{told:?}");
    let mut none = whole;
    none.groups = Reading::Read(Vec::new());
    let Reading::Read(functions) = &mut none.functions else { panic!("no functions") };
    for function in functions {
        (function.group, function.iommu) = (Reading::Absent, Reading::Absent);
    }
    let told = ungrouped(&none);
    assert_eq!((told.len(), told[0].as_str()), (3, iommu));
    assert!(told[1..].iter().all(|one| one.contains("NoIommu: This host has no IOMMU group")));
}
