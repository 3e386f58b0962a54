use proptest::prelude::*;

use super::*;
use crate::{
    facts::Clocks,
    firmware::amd::builder::IvrsBuilder,
    host::{HexBytes, Reading},
    model::{
        Model,
        fixture::{AM5, GROUPS, QEMU, SINGLE, bdf, host, model, table, view},
    },
    pci::Devid,
    report::letters::input::Origin,
    tui::{Stage, ThemeName, Watch},
};

const LIVE: Watch = Watch::Live { recording: None };

/// What the view shows of a model.
struct Seen {
    model: Model,
    stage: Stage,
    pane: Firmware,
}

impl Seen {
    fn of(model: Model) -> Self {
        let stage = Stage::new(&model, Origin::Tree, Clocks::default());
        let mut seen = Self { model, stage, pane: Firmware::default() };
        seen.with(Firmware::sync);
        seen
    }

    fn with<T>(&mut self, look: impl FnOnce(&mut Firmware, &Scene<'_>) -> T) -> T {
        let scene = Scene { model: &self.model, stage: &self.stage, watch: &LIVE };
        look(&mut self.pane, &scene)
    }

    fn rows(&mut self) -> Vec<String> {
        self.with(|pane, scene| {
            (0..pane.list().rows()).map(|row| pane.row_text(row, scene)).collect()
        })
    }

    fn text(&mut self, row: usize, width: usize) -> Text {
        self.pane.list.choose(row);
        self.with(|pane, scene| pane.detail(width, scene))
    }

    fn detail(&mut self, row: usize) -> String {
        self.text(row, 100).plain()
    }

    fn open(&mut self, row: usize) -> Option<String> {
        self.pane.list.choose(row);
        self.with(|pane, scene| pane.act(Action::Open, scene))
    }

    fn link(&mut self, row: usize, action: Action) -> Option<Target> {
        self.pane.list.choose(row);
        self.with(|pane, scene| pane.link(action, scene))
    }
}

fn of_table(builder: &IvrsBuilder) -> Seen {
    Seen::of(model(&host(GROUPS, builder), &[]))
}

fn of_bytes(bytes: Vec<u8>) -> Seen {
    let mut snapshot = host(GROUPS, &table(&AM5));
    snapshot.ivrs = Reading::Read(HexBytes(bytes));
    Seen::of(model(&snapshot, &[]))
}

/// The bytes that are lit, as they are on the screen.
fn lit(text: &Text) -> String {
    let look = Look { theme: ThemeName::Plain };
    let style = look.style(Role::Lit);
    let lines = text.drawn(0, text.len(), look);
    let spans = lines.iter().flat_map(|line| &line.spans);
    let lit: Vec<&str> =
        spans.filter(|span| span.style == style).map(|span| span.content.as_ref()).collect();
    lit.join(" ")
}

#[test]
fn a_row_a_part_and_entries_beneath_their_block() {
    let mut seen = of_table(&table(&AM5).raw(vec![0x51, 0, 4, 0]));
    let rows = seen.rows();
    assert_eq!(rows.len(), 6);
    assert!(rows[0].starts_with("0x000 IVRS 180 bytes, revision 2, checksum right"), "{rows:?}");
    assert_eq!(rows[1], "0x030 +IVHD 0x10 IOMMU 00:00.2, registers at 0xfeb80000 used");
    assert_eq!(
        rows[2],
        "0x050 IVMD 0 00:00.0 to 0f:1f.7: 0x7a2d9000, 4 KiB, flags 0x08 (exclusion) 5 devices"
    );
    assert_eq!(rows[5], "0x0b0 type 0x51 4 bytes of unknown type passed over");
    assert_eq!(seen.open(1).as_deref(), Some("1 device entry"));
    let rows = seen.rows();
    assert_eq!(rows.len(), 7);
    assert!(rows[1].contains("-IVHD"), "{rows:?}");
    assert!(rows[2].ends_with("range 00:00.0 to 22:1f.7 "), "{rows:?}");
    // The IVMD block is found wherever it is by now.
    assert!(seen.with(|pane, scene| pane.choose(&Target::Entry(0), scene)));
    assert_eq!(seen.pane.list.chosen(), Some(3));
    assert_eq!(seen.with(|pane, scene| pane.chosen(scene)), Some(Target::Entry(0)));
    assert_eq!(seen.open(1).as_deref(), Some("device entries folded"));
    assert_eq!(seen.rows().len(), 6);
}

#[test]
fn the_chosen_part_has_its_bytes_lit() {
    let mut seen = of_table(&table(&AM5));
    let text = seen.text(2, 100);
    assert_eq!(
        lit(&text),
        "22 08 20 00 00 00 ff 0f 00 00 00 00 00 00 00 00 \
         00 90 2d 7a 00 00 00 00 00 10 00 00 00 00 00 00"
    );
    // With less room there are less on a line, and the same are lit.
    for width in [1, 20, 35, 54, 55] {
        assert_eq!(lit(&seen.text(2, width)), lit(&text), "{width}");
    }
    assert!(seen.open(1).is_some());
    assert_eq!(lit(&seen.text(2, 100)), "03 00 00 00 04 ff 22 00");
    // All bytes are beside the header, its own lit.
    let header = seen.text(0, 100);
    assert!(lit(&header).starts_with("49 56 52 53 b0 00"), "{}", lit(&header));
    assert!(header.plain().contains("0x0a0  00 60 2f 7b 00 00"), "{}", header.plain());
}

#[test]
fn a_block_has_its_reach_and_what_the_kernel_makes_of_it() {
    let snapshot = host(GROUPS, &table(&AM5));
    let unity = QEMU.unity_map(&view(&snapshot).entries, Devid(0x22ff));
    let mut seen = Seen::of(model(&snapshot, &unity));
    let detail = seen.detail(2);
    for part in [
        "IVMD 0 at 0x50  5 devices",
        "a read/write direct map of 0x7a2d9000 to 0x7a2d9fff",
        "It asks for an exclusion range",
        "covers  5 of the 6 devices",
        "the kernel's own unity map has it, as entry 0 of segment 0000",
        "ivmd-exclusion (note)",
        "  ivmd:0 asks that",
        "ivmd-wide (warning)",
        "0000:03:01.0  blocked group 11",
    ] {
        assert!(detail.contains(part), "{part} is not in\n{detail}");
    }
    // A kernel with another list, and one that was not asked.
    let other = QEMU.unity_map(&view(&snapshot).entries[..1], Devid(0x22ff));
    let detail = Seen::of(model(&snapshot, &other)).detail(3);
    assert!(detail.contains("unity map of segment 0000 has no such entry (event 1)"), "{detail}");
    let detail = Seen::of(model(&snapshot, &[])).detail(3);
    assert!(detail.contains("the kernel's own unity map was not read"), "{detail}");
}

#[test]
fn a_block_that_the_kernel_ignores_leads_nowhere() {
    let ignored = "type=0x21,flags=0x06,devid=0x0039,aux=0,start=0x7a2d9000,length=0x1000";
    let mut seen = of_table(&table(&[ignored, SINGLE]));
    let rows = seen.rows();
    assert!(rows[2].ends_with("ignored") && rows[3].ends_with("1 device"), "{rows:?}");
    assert!(seen.detail(2).contains("it asks for neither a unity map nor an exclusion"));
    assert_eq!(seen.link(2, Action::Open), None);
    assert_eq!(seen.link(3, Action::Open), Some(Target::Covered(1)));
    assert_eq!(seen.link(3, Action::ToDevice), Some(Target::Device(bdf("00:07.1"))));
    assert_eq!(seen.link(3, Action::ToRegions), Some(Target::RegionOf(1)));
    assert_eq!(seen.link(0, Action::Open), None);
    assert!(seen.open(1).is_some());
    assert_eq!(seen.link(2, Action::Open), Some(Target::Device(bdf("00:03.0"))));
}

#[test]
fn a_filter_shows_some_parts_and_what_is_sought_lifts_it() {
    let mut seen = of_table(&table(&AM5));
    assert_eq!(seen.with(|pane, scene| pane.set_filter("IVMD 256", scene)), Ok(()));
    assert_eq!(seen.rows().len(), 1);
    assert!(seen.with(|pane, scene| pane.title(scene)).ends_with("only \"IVMD 256\""));
    assert!(seen.with(|pane, scene| pane.choose(&Target::Entry(1), scene)));
    assert_eq!((seen.rows().len(), seen.pane.list.chosen()), (5, Some(3)));
    assert!(!seen.with(|pane, scene| pane.choose(&Target::Entry(3), scene)));
}

#[test]
fn without_a_table_it_says_what_there_is() {
    let mut snapshot = host(GROUPS, &table(&AM5));
    snapshot.ivrs = Reading::Unreadable("IVRS: Permission denied\u{1b}".to_owned());
    let mut seen = Seen::of(model(&snapshot, &[]));
    let text = seen.with(|pane, scene| pane.empty(scene));
    assert!(text.contains("so try with sudo"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    snapshot.ivrs = Reading::Absent;
    snapshot.iommus = Reading::Read(vec!["dmar0".to_owned()]);
    let mut seen = Seen::of(model(&snapshot, &[]));
    let text = seen.with(|pane, scene| pane.empty(scene));
    assert!(text.starts_with("This host's IOMMU is Intel's, whose table is the DMAR"), "{text}");
    // What is no table is shown as it is.
    let mut seen = of_bytes(b"DMAR and so on".to_vec());
    assert_eq!(seen.rows(), ["0x000 IVRS 14 bytes that are no table not decoded"]);
    let detail = seen.detail(0);
    assert!(detail.contains("Not an IVRS table: it starts with \"DMAR\""), "{detail}");
    assert!(detail.contains("44 4d 41 52 20"), "{detail}");
}

#[test]
fn a_table_that_the_kernel_refuses_blocks_nobody() {
    let mut bytes = table(&AM5).build().unwrap();
    bytes[9] ^= 1;
    let mut seen = of_bytes(bytes);
    let rows = seen.rows();
    assert!(rows[0].ends_with("refused") && rows[2].ends_with("unused"), "{rows:?}");
    assert!(seen.detail(2).contains("nothing: it gets no IOMMU from this table"));
    assert!(seen.detail(0).contains("ivrs-checksum (error)"));
}

#[test]
fn of_a_huge_table_there_are_so_many_rows() {
    let blocks = vec![[0x51, 0, 4, 0]; ROWS + 10];
    let mut seen = of_table(&table(&[]).raw(blocks.concat()));
    assert_eq!(seen.pane.list.rows(), ROWS);
    assert_eq!(seen.pane.left_out, 12);
    assert!(seen.with(|pane, scene| pane.title(scene)).ends_with("12 parts not shown"));
    let detail = seen.detail(0);
    assert!(detail.contains("more bytes, to 0x40078"), "{detail}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_it_panic(
        changes in proptest::collection::vec((0..400_usize, any::<u8>()), 0..12),
        cut in 0..400_usize,
        width in 1..120_usize,
    ) {
        let mut bytes = table(&AM5).raw(vec![0x10; 64]).raw(vec![0x40; 64]).build().unwrap();
        for (at, byte) in changes {
            let place = at % bytes.len();
            bytes[place] = byte;
        }
        if cut < 50 {
            bytes.truncate(cut);
        }
        let mut seen = of_bytes(bytes);
        // From the end, so that what unfolds does not move what comes.
        for row in (0..seen.pane.list.rows()).rev() {
            let _ = seen.open(row);
        }
        let look = Look { theme: ThemeName::Plain };
        for row in 0..seen.pane.list.rows() {
            let text = seen.text(row, width).plain();
            let row_text = seen.with(|pane, scene| {
                prop_assert_eq!(pane.cells(row, scene, look).len(), COLUMNS.len());
                Ok(pane.row_text(row, scene))
            })?;
            let raw = |c: char| c.is_control() && c != '\n';
            prop_assert!(!text.contains(raw) && !row_text.contains(raw), "{}", text);
        }
    }
}
