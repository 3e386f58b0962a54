//! Tables in, structures out: made ones, broken ones, any bytes, and real tables where a folder of
//! them is at hand.

use std::{collections::BTreeMap, fs, path::Path};

use proptest::prelude::*;

use super::*;
use crate::{
    firmware::intel::{
        builder::{DmarBuilder, ScopeSpec},
        findings,
    },
    pci::Devid,
};

fn function(devid: u16) -> ScopeSpec {
    ScopeSpec::function(Devid(devid))
}

/// One IOMMU for everything.
fn machine() -> DmarBuilder {
    DmarBuilder::new().drhd(1, Segment(0), 0xfed9_0000, &[])
}

fn parse(builder: &DmarBuilder) -> Dmar {
    Dmar::parse(&builder.build().unwrap()).unwrap()
}

#[test]
fn a_table_comes_apart_into_its_structures() {
    let scopes = [function(0x00a0), function(0x00e4).below(0, 2).of_kind(ScopeKind::Bridge)];
    let table = parse(
        &machine()
            .rmrr(Segment(0), 0x8a78_5000, 0x8a7a_4fff, &scopes)
            .raw(vec![2, 0, 8, 0, 1, 0, 0, 0])
            .raw(vec![0x63, 0, 4, 0]),
    );
    assert!(table.header.checksum_ok);
    assert_eq!((table.width, table.flags, table.trailing), (38, 1, 0));
    assert_eq!((table.truncation, table.fatal()), (None, None));
    let [drhd] = table.drhd.as_slice() else { panic!("{table:?}") };
    assert_eq!((drhd.offset, drhd.address, drhd.include_all()), (0x30, 0xfed9_0000, true));
    let [rmrr] = table.rmrr.as_slice() else { panic!("{table:?}") };
    assert_eq!((rmrr.index, rmrr.offset, rmrr.length), (0, 0x40, 24 + 8 + 10));
    assert_eq!((rmrr.base, rmrr.limit, rmrr.memory_length()), (0x8a78_5000, 0x8a7a_4fff, 0x20000));
    let names: Vec<String> = rmrr.scopes.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["endpoint 00:14.0", "bridge 00:1c.4/00.2"]);
    assert_eq!(rmrr.scopes.iter().map(|one| one.offset).collect::<Vec<_>>(), [0x58, 0x60]);
    let others: Vec<_> = table
        .others
        .iter()
        .map(|one| (one.offset, one.kind, one.length, structure_name(one.kind)))
        .collect();
    assert_eq!(others, [(0x6a, 2, 8, Some("ATSR")), (0x72, 0x63, 4, None)]);
    assert_eq!(table.structures.len(), 4);
    assert_eq!(DmarBuilder::like(&table).build().unwrap()[48..], table.bytes()[48..]);
}

#[test]
fn what_is_no_table_is_an_error_that_says_why() {
    let whole = machine().build().unwrap();
    let length = u32::try_from(whole.len()).unwrap();
    for (bytes, expected) in [
        (&[][..], TableError::TooShort { signature: SIGNATURE, length: 0, needed: HEADER_LENGTH }),
        (
            b"DMAR\x30\0\0\0",
            TableError::TooShort { signature: SIGNATURE, length: 8, needed: HEADER_LENGTH },
        ),
        (b"IVRS\x30\0\0\0", TableError::BadSignature { signature: SIGNATURE, found: *b"IVRS" }),
        (
            &whole[..whole.len() - 1],
            TableError::LengthBeyondData { length, available: whole.len() - 1 },
        ),
    ] {
        assert_eq!(Dmar::parse(bytes), Err(expected));
    }
    let mut small = whole;
    small[4..8].copy_from_slice(&8_u32.to_le_bytes());
    assert_eq!(
        Dmar::parse(&small),
        Err(TableError::LengthTooSmall { length: 8, needed: HEADER_LENGTH })
    );
}

#[test]
fn a_structure_that_cannot_be_right_ends_the_walk() {
    let page = |builder: DmarBuilder| builder.rmrr(Segment(0), 0x1000, 0x1fff, &[function(8)]);
    for (bytes, truncation, fatal) in [
        (vec![1, 0, 0, 0], Truncation::ZeroLength { offset: 0x40, kind: 1 }, None),
        (
            vec![1, 0, 24, 0],
            Truncation::BeyondEnd { offset: 0x40, kind: 1, length: 24, available: 4 },
            Some(Fatal::BeyondEnd { offset: 0x40 }),
        ),
        (
            vec![1, 0, 4, 0],
            Truncation::FieldsBeyondEnd { offset: 0x40, kind: 1, needed: 24, available: 4 },
            None,
        ),
        (
            vec![1, 0, 4],
            Truncation::HeaderCut { offset: 0x40, available: 3 },
            Some(Fatal::BeyondEnd { offset: 0x40 }),
        ),
    ] {
        let table = parse(&machine().raw(bytes));
        assert_eq!(table.truncation, Some(truncation));
        assert_eq!(table.fatal(), fatal);
        assert_eq!((table.drhd.len(), table.rmrr.len()), (1, 0));
        assert_eq!(truncation.offset(), 0x40);
    }
    // What follows a structure of length 0 is not looked at.
    let table = parse(&page(machine().raw(vec![1, 0, 0, 0])));
    assert_eq!(table.rmrr.len(), 0);
}

#[test]
fn scopes_are_walked_as_the_kernel_walks_them() {
    let of = |scopes: &[ScopeSpec]| {
        let table = parse(&machine().rmrr(Segment(0), 0x1000, 0x1fff, scopes));
        let rmrr = table.rmrr.first().unwrap();
        (rmrr.scopes.len(), rmrr.fault, table.fatal())
    };
    let odd = |length| ScopeSpec { length: Some(length), ..function(0x0018) };
    assert_eq!(of(&[]), (0, None, None));
    assert_eq!(
        of(&[function(8), odd(0), function(8)]),
        (
            1,
            Some(ScopeFault::ZeroLength { offset: 0x60 }),
            Some(Fatal::EmptyScope { offset: 0x60 })
        )
    );
    // A path of its own and two bytes that begin another scope.
    assert_eq!(of(&[odd(6)]), (1, Some(ScopeFault::BeyondEnd { offset: 0x5e }), None));
    assert_eq!(of(&[odd(9)]), (1, Some(ScopeFault::BeyondEnd { offset: 0x58 }), None));
    let table = parse(&machine().rmrr(Segment(0), 0x1000, 0x1fff, &[odd(6)]));
    assert_eq!(table.rmrr[0].scopes[0].to_string(), "endpoint 00:(no path)");
}

#[test]
fn the_kernel_gives_up_what_has_no_iommu_or_too_few_bits() {
    assert_eq!(parse(&DmarBuilder::new()).fatal(), Some(Fatal::NoDrhd));
    assert_eq!(parse(&machine().width(10)).fatal(), Some(Fatal::Width { width: 10 }));
    let zero = parse(&machine().drhd(0, Segment(0), 0, &[]));
    let offset = zero.drhd.last().unwrap().offset;
    assert_eq!(zero.fatal(), Some(Fatal::DrhdAtZero { offset }));
    let mut bytes = machine().build().unwrap();
    bytes[9] ^= 1;
    let table = Dmar::parse(&bytes).unwrap();
    assert_eq!((table.header.checksum_ok, table.fatal()), (false, None));
}

/// What holds for whatever parses.
fn check_any(bytes: &[u8]) {
    let Ok(table) = Dmar::parse(bytes) else { return };
    let end = table.bytes().len();
    for structure in &table.structures {
        assert!(structure.offset < end);
    }
    for rmrr in &table.rmrr {
        assert_eq!(table.bytes()[rmrr.offset..][..rmrr.bytes.len()], rmrr.bytes);
        for scope in &rmrr.scopes {
            assert!(scope.path.len() <= 124 && scope.offset + scope.bytes.len() <= end);
        }
    }
    for finding in findings::of_table(&table) {
        assert!(finding.place.is_none_or(|place| place.offset <= end));
    }
}

fn any_scope() -> impl Strategy<Value = ScopeSpec> {
    let step = (0_u8..34, 0_u8..9).prop_map(|(device, function)| Step { device, function });
    (0_u8..8, any::<u8>(), prop::collection::vec(step, 0..4), prop::option::of(0_u8..16)).prop_map(
        |(kind, bus, path, length)| ScopeSpec {
            kind: ScopeKind::from_code(kind),
            bus,
            path,
            length,
        },
    )
}

proptest! {
    #[test]
    fn what_was_built_is_read_again(
        memory in prop::collection::vec(
            (any::<u16>(), any::<u64>(), any::<u64>(), prop::collection::vec(any_scope(), 0..5)),
            0..6,
        ),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let builder = memory.iter().fold(machine(), |builder, (segment, base, limit, scopes)| {
            builder.rmrr(Segment(*segment), *base, *limit, scopes)
        });
        let mut bytes = builder.build().unwrap();
        let table = Dmar::parse(&bytes).unwrap();
        prop_assert!(table.header.checksum_ok);
        prop_assert_eq!(table.rmrr.len(), memory.len());
        for (rmrr, (segment, base, limit, scopes)) in table.rmrr.iter().zip(&memory) {
            prop_assert_eq!((rmrr.segment.0, rmrr.base, rmrr.limit), (*segment, *base, *limit));
            if scopes.iter().all(|scope| scope.length.is_none()) {
                let read: Vec<_> =
                    rmrr.scopes.iter().map(|one| (one.kind, one.bus, &one.path)).collect();
                let made: Vec<_> =
                    scopes.iter().map(|one| (one.kind, one.bus, &one.path)).collect();
                prop_assert_eq!(read, made);
            }
        }
        check_any(&bytes);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check_any(&bytes);
    }
}

/// Where a folder of tables read from machines, with a manifest, is to be found.
const TABLES_DIR: &str = "DMAR_TABLES_DIR";

#[test]
fn real_tables_decode_to_what_their_manifest_says() {
    let Some(folder) = std::env::var_os(TABLES_DIR) else {
        eprintln!("skipped: {TABLES_DIR} does not name a folder of tables with a MANIFEST.tsv");
        return;
    };
    let folder = Path::new(&folder);
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut lines = manifest.lines();
    let columns: Vec<_> = lines.next().unwrap().split('\t').collect();
    let mut compared = 0;
    for line in lines.filter(|line| !line.is_empty()) {
        let row: BTreeMap<_, _> = columns.iter().copied().zip(line.split('\t')).collect();
        let name = row["name"];
        let bytes = fs::read(folder.join(format!("{name}.bin"))).unwrap();
        let table = Dmar::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((table.trailing, table.truncation), (0, None), "{name}");
        let given_up = row["anomalies"].contains("gives the DMAR up");
        assert_eq!(table.fatal().is_some(), given_up, "{name}: {:?}", table.fatal());
        assert_eq!(table.header.length.to_string(), row["length"], "{name}");
        let right = if table.header.checksum_ok { "True" } else { "False" };
        assert_eq!(right, row["checksum_ok"], "{name}");
        let kinds: Vec<_> = table.structures.iter().map(|one| one.kind.to_string()).collect();
        assert_eq!(kinds.join(","), row["subtable_types"], "{name}");
        let read: Vec<_> = table.rmrr.iter().map(manifest_rmrr).collect();
        assert_eq!(read.join("; "), row["rmrr(seg start-end [type:bus:path...])"], "{name}");
        for rmrr in &table.rmrr {
            assert_eq!(rmrr.fault, None, "{name}");
        }
        let errors: Vec<_> = findings::of_table(&table)
            .into_iter()
            .filter(|finding| finding.severity == crate::codes::Severity::Error)
            .collect();
        assert_eq!(!errors.is_empty(), given_up, "{name}: {errors:?}");
        compared += 1;
    }
    assert!(compared > 0, "no table in {}", folder.display());
    eprintln!("{compared} real tables compared");
}

fn manifest_rmrr(rmrr: &Rmrr) -> String {
    let scopes: Vec<String> = rmrr
        .scopes
        .iter()
        .map(|scope| {
            let steps: Vec<_> = scope
                .path
                .iter()
                .map(|step| format!("{:02x}.{:x}", step.device, step.function))
                .collect();
            format!("{}:{:02x}:{}", scope.kind.code(), scope.bus, steps.join("/"))
        })
        .collect();
    format!("{} {:x}-{:x} [{}]", rmrr.segment.0, rmrr.base, rmrr.limit, scopes.join(" "))
}
