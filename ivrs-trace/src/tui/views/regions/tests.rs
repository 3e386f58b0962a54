use proptest::prelude::*;

use super::*;
use crate::{
    event::{Event, RegionType},
    facts::Clocks,
    host::{Group, MemoryMap, MemoryRange, ReservedRegion, Snapshot},
    model::{
        Model,
        fixture::{AM5, GROUPS, QEMU, SINGLE, bdf, device, host, model, table},
    },
    report::letters::input::Origin,
    tui::{Stage, ThemeName, Watch},
};

const LIVE: Watch = Watch::Live { recording: None };

/// What the view shows of a model.
struct Seen {
    model: Model,
    stage: Stage,
    pane: Regions,
}

impl Seen {
    fn of(host: &Snapshot, events: &[Event]) -> Self {
        let model = model(host, events);
        let stage = Stage::new(&model, Origin::Tree, Clocks::default());
        let mut seen = Self { model, stage, pane: Regions::default() };
        seen.with(Regions::sync);
        seen
    }

    fn with<T>(&mut self, look: impl FnOnce(&mut Regions, &Scene<'_>) -> T) -> T {
        let scene = Scene { model: &self.model, stage: &self.stage, watch: &LIVE };
        look(&mut self.pane, &scene)
    }

    fn rows(&mut self) -> Vec<String> {
        self.with(|pane, scene| {
            (0..pane.list().rows()).map(|row| pane.row_text(row, scene)).collect()
        })
    }

    fn detail(&mut self, row: usize, width: usize) -> String {
        self.pane.list.choose(row);
        self.with(|pane, scene| pane.detail(width, scene).plain())
    }

    fn link(&mut self, row: usize, action: Action) -> Option<Target> {
        self.pane.list.choose(row);
        self.with(|pane, scene| pane.link(action, scene))
    }
}

fn group(host: &mut Snapshot, id: u32) -> &mut Group {
    let Reading::Read(groups) = &mut host.groups else { panic!("no groups") };
    groups.iter_mut().find(|group| group.id == id).unwrap()
}

fn shows(host: &mut Snapshot, id: u32, lines: &[&str]) {
    let regions: Vec<ReservedRegion> = lines.iter().map(|line| line.parse().unwrap()).collect();
    group(host, id).regions = Reading::Read(regions);
}

#[test]
fn a_region_is_a_row_whoever_has_it() {
    let host = host(GROUPS, &table(&AM5));
    let mut seen = Seen::of(&host, &QEMU.listings(&host, true));
    // Two adjacent ones are one to sysfs; the lists of the devices have both.
    assert_eq!(
        seen.rows(),
        [
            "0x7a2d8000 0x7a2d8fff direct 4 KiB IVMD 1 group 1 group 5 group 11 0000:00:03.0 \
             0000:00:07.0 0000:00:07.1 0000:02:00.0 0000:03:01.0",
            "0x7a2d9000 0x7a2d9fff direct 4 KiB IVMD 0 group 1 group 5 group 11 0000:00:03.0 \
             0000:00:07.0 0000:00:07.1 0000:02:00.0 0000:03:01.0",
            "0x7b2f6000 0x7b335fff direct 256 KiB IVMD 2 group 1 group 5 group 11 0000:00:03.0 \
             0000:00:07.0 0000:00:07.1 0000:02:00.0 0000:03:01.0",
            "0xfee00000 0xfeefffff msi 1 MiB group 1 group 5 group 11 group 14 0000:00:03.0 \
             0000:00:07.0 0000:00:07.1 0000:02:00.0 0000:03:01.0 0000:21:00.0",
        ]
    );
    let detail = seen.detail(0, 90);
    assert!(detail.contains("what the kernel lists for each device (event"), "{detail}");
    assert!(detail.contains("Whose it is, in 3 groups"), "{detail}");
    assert!(detail.contains("0000:03:01.0  blocked group 11"), "{detail}");
    assert!(!detail.contains("conflict"), "{detail}");
    assert_eq!(seen.link(0, Action::Open), Some(Target::Entry(1)));
    assert_eq!(seen.link(0, Action::ToDevice), Some(Target::Device(bdf("00:03.0"))));
    assert_eq!(seen.link(3, Action::ToEntry), None);
    assert_eq!(seen.link(3, Action::Open), Some(Target::Device(bdf("00:03.0"))));
}

#[test]
fn without_lists_the_table_names_the_devices_behind_a_merged_region() {
    let mut seen = Seen::of(&host(GROUPS, &table(&AM5)), &[]);
    let rows = seen.rows();
    assert!(rows[0].starts_with("0x7a2d8000 0x7a2d9fff direct 8 KiB IVMD 0 IVMD 1 "), "{rows:?}");
    let mut seen = Seen::of(&host(GROUPS, &table(&[SINGLE])), &[]);
    assert_eq!(seen.rows()[0], "0x7a2d9000 0x7a2d9fff direct 4 KiB IVMD 0 group 5 0000:00:07.1");
    // Of interrupts the table says nothing, and the group has two members.
    let detail = seen.detail(1, 90);
    assert!(detail.contains("which, sysfs does not show\n0000:00:07.0"), "{detail}");
    // Where the regions of the group cannot be read, the table alone says it.
    let mut host = host(GROUPS, &table(&[SINGLE]));
    group(&mut host, 5).regions = Reading::Unreadable("no".to_owned());
    let mut seen = Seen::of(&host, &[]);
    assert!(seen.detail(0, 90).contains("known by   the IVRS table alone"));
}

#[test]
fn what_does_not_agree_is_told() {
    let mut host = host(GROUPS, &table(&[SINGLE]));
    let events = QEMU.listings(&host, true);
    let msi = "0x00000000fee00000 0x00000000feefffff msi";
    shows(&mut host, 5, &["0x000000009a000000 0x000000009a000fff direct", msi]);
    let mut seen = Seen::of(&host, &events);
    let listed = seen.detail(0, 200);
    assert!(
        listed.contains(
            "the kernel listed it for 0000:00:07.1 (event 6), but the reserved_regions of group 5 \
             do not show it"
        ),
        "{listed}"
    );
    let shown = seen.detail(1, 200);
    assert!(shown.contains("but the kernel listed it for none of its devices"), "{shown}");
    // A file that is cut proves nothing.
    group(&mut host, 5).bad_region_lines = vec!["0x00".parse::<ReservedRegion>().unwrap_err()];
    assert!(!Seen::of(&host, &events).detail(0, 200).contains("conflict"));
}

#[test]
fn rows_are_of_a_group_or_match_words_and_keep_the_chosen_one() {
    let host = host(GROUPS, &table(&AM5));
    let mut seen = Seen::of(&host, &QEMU.listings(&host, true));
    assert!(seen.with(|pane, scene| pane.choose(&Target::Group(14), scene)));
    assert_eq!(seen.rows().len(), 1);
    assert!(seen.with(|pane, scene| pane.title(scene)).ends_with("only group 14"));
    assert!(seen.with(|pane, scene| pane.choose(&Target::RegionOf(2), scene)));
    assert_eq!((seen.rows().len(), seen.pane.list.chosen()), (4, Some(2)));
    assert_eq!(seen.with(|pane, scene| pane.chosen(scene)), Some(Target::RegionOf(2)));
    assert_eq!(
        seen.with(|pane, scene| pane.act(Action::Sort, scene)).as_deref(),
        Some("ordered by size")
    );
    // It is the second largest.
    assert_eq!(seen.pane.list.chosen(), Some(1));
    assert!(seen.rows()[0].contains(" msi "));
    assert_eq!(seen.with(|pane, scene| pane.set_filter("Direct 0000:03:01.0 4", scene)), Ok(()));
    assert_eq!(seen.rows().len(), 2);
    assert!(seen.with(|pane, scene| pane.choose(&Target::Group(99), scene)));
    assert_eq!(
        seen.with(|pane, scene| pane.empty(scene)),
        "Group 99 has no reserved region. F shows all."
    );
    assert_eq!(seen.with(|pane, scene| pane.set_filter("", scene)), Ok(()));
    assert_eq!(seen.rows().len(), 4);
}

#[test]
fn a_picture_shows_what_is_small_beside_what_is_large() {
    let range = |start, end_inclusive, name: &str| MemoryRange {
        start,
        end_inclusive,
        depth: 0,
        name: name.to_owned(),
    };
    let mut host = host(GROUPS, &table(&AM5));
    host.iomem = Reading::Read(MemoryMap {
        ranges: vec![
            range(0x1000, 0x7a2d_7fff, "System RAM"),
            range(0x7a2d_8000, 0x7bff_ffff, "Reserved"),
            range(0xe000_0000, 0xefff_ffff, "PCI ECAM \u{1b}"),
            range(0x1_0000_0000, 0x10_7fff_ffff, "System RAM"),
        ],
        bad: 0,
    });
    let mut seen = Seen::of(&host, &QEMU.listings(&host, true));
    let detail = seen.detail(1, 60);
    let picture = detail.split("Where it lies\n").nth(1).unwrap();
    let picture = picture.split("\n\n").next().unwrap();
    insta::assert_snapshot!(picture, @r"
    ..######DDDDDD=====DDDD=====.....------.....MMMM.....#######
               ^^^
                     0x0 . nothing, 4 KiB
                  0x1000 # System RAM, ~1.9 GiB
              0x7a2d8000 D direct, 4 KiB, IVMD 1
    >         0x7a2d9000 D direct, 4 KiB, IVMD 0
              0x7a2da000 = Reserved, ~16.1 MiB
              0x7b2f6000 D direct, 256 KiB, IVMD 2
              0x7b336000 = Reserved, ~12.7 MiB
              0x7c000000 . nothing, 1600 MiB
              0xe0000000 - PCI ECAM \u{1b}, 256 MiB
    # RAM, = kept by firmware, - other, . nothing; D direct, d
      direct-relaxable, R reserved, M msi; not to scale.
    ");
    let (bar, below) = picture.split_once('\n').unwrap();
    assert_eq!(bar.chars().count(), 60);
    assert!(below.lines().next().unwrap().contains('^'));
}

#[test]
fn a_region_without_length_and_one_of_everything() {
    let mut host = host("1: 00:03.0", &table(&[]));
    let empty = "0x0000000000001000 0x0000000000000fff direct";
    let all = "0x0000000000000000 0xffffffffffffffff reserved";
    shows(&mut host, 1, &[empty, all]);
    let mut seen = Seen::of(&host, &[]);
    let rows = seen.rows();
    assert!(rows[0].starts_with("0x0 0xffffffffffffffff reserved"), "{rows:?}");
    assert!(rows[1].starts_with("0x1000 0xfff direct no length"), "{rows:?}");
    for row in 0..2 {
        assert!(seen.detail(row, 40).contains('>'));
    }
}

#[test]
fn a_host_without_regions_says_so() {
    let mut host = host("", &table(&[]));
    let text = Seen::of(&host, &[]).with(|pane, scene| pane.empty(scene));
    assert!(text.starts_with("This host has no IOMMU groups"), "{text}");
    host.groups = Reading::Unreadable("iommu_groups: \u{1b}[2J".to_owned());
    let text = Seen::of(&host, &[]).with(|pane, scene| pane.empty(scene));
    assert!(text.contains("\\u{1b}[2J"), "{text}");
}

#[test]
fn a_type_that_nobody_knows_is_shown_as_it_is() {
    let host = host("1: 00:03.0", &table(&[]));
    let mut events = QEMU.listing(&device("00:03.0", 1), &[(0x1000, 0x1000)], None);
    for event in &mut events {
        if let crate::event::Body::Region { region_type, .. } = &mut event.body {
            *region_type = RegionType(77);
        }
    }
    let mut seen = Seen::of(&host, &events);
    assert!(seen.rows()[0].starts_with("0x1000 0x1fff type 77 4 KiB"), "{:?}", seen.rows());
    assert!(seen.detail(0, 80).contains("a type that is not known here"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_regions_make_it_panic(
        regions in proptest::collection::vec((any::<u64>(), any::<u64>(), 0..4_u8), 0..40),
        memory in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..40),
        width in 1..120_usize,
    ) {
        let mut host = host("1: 00:03.0 00:03.1; 2: MSFT0201:00", &table(&AM5));
        let ranges = memory.into_iter().map(|(one, other)| MemoryRange {
            start: one.min(other),
            end_inclusive: one.max(other),
            depth: 0,
            name: if one < other { "System RAM" } else { "x\u{1b}" }.to_owned(),
        });
        host.iomem = Reading::Read(MemoryMap { ranges: ranges.collect(), bad: 0 });
        for id in [1, 2] {
            let regions = regions.iter().map(|(start, end_inclusive, kind)| ReservedRegion {
                start: *start,
                end_inclusive: *end_inclusive,
                kind: match kind {
                    0 => RegionKind::Direct,
                    1 => RegionKind::Reserved,
                    2 => RegionKind::Msi,
                    _ => RegionKind::Other("odd\u{7}".to_owned()),
                },
            });
            group(&mut host, id).regions = Reading::Read(regions.collect());
        }
        let listing = QEMU.listing(&device("00:03.0", 1), &[(u64::MAX, 2), (0, u64::MAX)], None);
        let mut seen = Seen::of(&host, &listing);
        let look = Look { theme: ThemeName::Plain };
        for row in 0..seen.pane.list.rows() {
            let detail = seen.detail(row, width);
            let text = seen.with(|pane, scene| {
                prop_assert_eq!(pane.cells(row, scene, look).len(), COLUMNS.len());
                Ok(pane.row_text(row, scene))
            })?;
            let raw = |c: char| c.is_control() && c != '\n';
            prop_assert!(!detail.contains(raw) && !text.contains(raw), "{}", detail);
        }
    }
}
