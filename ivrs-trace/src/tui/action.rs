//! The views and what can be done in them: one table, from which keys, palette, help and configuration
//! are made. It does nothing itself.

/// The views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// A row a PCI function: would it be refused, and for what.
    #[default]
    Devices,
    /// A row an attempt to claim a device, and the selected one explained.
    Attempts,
    /// The firmware's table beside its bytes.
    Firmware,
    /// A row a reserved region.
    Regions,
    /// A row an event.
    Events,
    /// How well the kernel can be seen: probes, losses, findings.
    Health,
}

impl View {
    /// All of them, in the order of the tabs.
    pub const ALL: [Self; 6] =
        [Self::Devices, Self::Attempts, Self::Firmware, Self::Regions, Self::Events, Self::Health];
}

/// Where an action can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Always.
    Everywhere,
    /// In the views that name it as theirs.
    Own,
    /// While a host is watched.
    Live,
    /// While a recording is replayed.
    Replay,
}

/// An action with its words and the keys that it has if nobody configures others.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The action.
    pub action: Action,
    /// Its name in the palette and in the configuration.
    pub name: &'static str,
    /// Its keys, as the configuration writes them.
    pub keys: &'static [&'static str],
    /// Where it can be done.
    pub scope: Scope,
    /// What it does, for the help.
    pub does: &'static str,
}

macro_rules! actions {
    ($($action:ident $name:literal $keys:tt $scope:ident $does:literal;)*) => {
        /// Something to do. Keys, mouse and palette all end in one of these.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            /// Show a view.
            Show(View),
            $(#[doc = $does] $action,)*
        }

        pub(super) const TABLE: &[Known] = &[$(Known {
            action: Action::$action,
            name: $name,
            keys: &$keys,
            scope: Scope::$scope,
            does: $does,
        },)*];
    };
}

actions! {
    Help "help" ["?", "f1"] Everywhere "list the keys of this view";
    Quit "quit" ["q", "ctrl-c"] Everywhere "quit";
    Palette "palette" [":"] Everywhere "run a command by its name";
    NextView "next-view" ["tab", "right"] Everywhere "next view";
    PreviousView "previous-view" ["backtab", "left"] Everywhere "previous view";
    Down "down" ["j", "down"] Everywhere "down";
    Up "up" ["k", "up"] Everywhere "up";
    PageDown "page-down" ["ctrl-d", "ctrl-f", "pagedown"] Everywhere "page down";
    PageUp "page-up" ["ctrl-u", "ctrl-b", "pageup"] Everywhere "page up";
    First "first" ["g", "home"] Everywhere "first row";
    Last "last" ["G", "end"] Everywhere "last row";
    ScrollDown "scroll-down" ["J", "ctrl-e"] Everywhere "scroll the text down";
    ScrollUp "scroll-up" ["K", "ctrl-y"] Everywhere "scroll the text up";
    Zoom "zoom" ["z"] Everywhere "text in full screen, and back";
    Open "open" ["enter", "l"] Everywhere "open what this refers to";
    Back "back" ["esc", "backspace", "h"] Everywhere "go back";
    ToEntry "to-entry" ["c"] Everywhere "go to its firmware entry";
    ToDevice "to-device" ["d"] Everywhere "go to its device";
    ToAttempt "to-attempt" ["a"] Everywhere "go to its last attempt";
    ToEvents "to-events" ["e"] Everywhere "go to its events";
    ToRegions "to-regions" ["m"] Everywhere "go to its reserved regions";
    Search "search" ["/"] Everywhere "search the rows";
    NextMatch "next-match" ["n"] Everywhere "next match";
    PreviousMatch "previous-match" ["N"] Everywhere "previous match";
    Filter "filter" ["f"] Everywhere "filter the rows";
    Unfilter "unfilter" ["F"] Everywhere "clear the filter";
    Sort "sort" ["o"] Own "sort by the next column";
    Gather "gather" ["t"] Own "group by IOMMU group, or not";
    Verdict "verdict" ["v"] Own "blocked only, clear only, unknown only, without IOMMU only";
    Pause "pause" ["p"] Own "pause, or follow new events";
    Refusal "refusal" ["!"] Everywhere "go to the newest refusal";
    Report "report" ["r"] Everywhere "write a report";
    ReportKernel "report-kernel" [] Everywhere "report for kernel developers";
    ReportVendor "report-vendor" [] Everywhere "report for the board's vendor";
    ReportForum "report-forum" [] Everywhere "report for a forum";
    Copy "copy" ["y"] Everywhere "copy the text to the clipboard";
    Record "record" ["R"] Live "start a recording, or stop it";
    Play "play" ["space"] Replay "play, or pause";
    StepOn "step" ["."] Replay "next event";
    StepBack "step-back" [","] Replay "previous event";
    AttemptOn "next-attempt" ["]"] Replay "next attempt";
    AttemptBack "previous-attempt" ["["] Replay "previous attempt";
    RefusalOn "next-refusal" ["}"] Replay "next refusal";
    RefusalBack "previous-refusal" ["{"] Replay "previous refusal";
    Rewind "rewind" ["0"] Replay "to the beginning";
    Forward "forward" ["$"] Replay "to the end";
    Faster "faster" ["+"] Replay "play faster";
    Slower "slower" ["-"] Replay "play slower";
    Theme "theme" ["T"] Everywhere "next theme";
    Redraw "redraw" ["ctrl-l"] Everywhere "redraw the screen";
}
