//! How things look: a style for each role, in several themes.

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

/// The themes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThemeName {
    /// For a dark background.
    #[default]
    Dark,
    /// For a light background.
    Light,
    /// Black and white and few strong colours.
    HighContrast,
    /// The sixteen colours that every terminal has, as its user has set them.
    #[serde(rename = "16")]
    Sixteen,
    /// No colour at all: weight, underline and reverse video.
    #[serde(rename = "none")]
    Plain,
}

/// How things look now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) theme: ThemeName,
}

impl Look {
    pub(super) fn style(self, role: Role) -> Style {
        self.theme.style(role)
    }
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Text,
    /// What matters less.
    Dim,
    /// A title, the head of a column.
    Title,
    Border,
    /// The selected row.
    Chosen,
    /// The tab of the view that is shown.
    Tab,
    /// A key that can be pressed.
    Key,
    /// Something is blocked, refused or wrong.
    Bad,
    /// Something is clear or attached.
    Good,
    /// Something is unknown or degraded.
    Doubtful,
    /// The notice of a refusal.
    Alarm,
    /// Bytes of the selected part.
    Lit,
}

impl ThemeName {
    /// All themes, in the order in which a key goes through them.
    pub const ALL: [Self; 5] =
        [Self::Dark, Self::Light, Self::HighContrast, Self::Sixteen, Self::Plain];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::HighContrast => "high-contrast",
            Self::Sixteen => "16",
            Self::Plain => "none",
        }
    }

    pub(super) fn next(self) -> Self {
        let mut all = Self::ALL.into_iter().cycle().skip_while(|one| *one != self);
        all.nth(1).unwrap_or_default()
    }

    pub(super) fn style(self, role: Role) -> Style {
        match self {
            Self::Dark => coloured(role, &DARK),
            Self::Light => coloured(role, &LIGHT),
            Self::HighContrast => coloured(role, &HIGH_CONTRAST),
            Self::Sixteen => coloured(role, &SIXTEEN),
            Self::Plain => plain(role),
        }
    }
}

/// The colours of a theme.
struct Palette {
    text: Color,
    dim: Color,
    border: Color,
    chosen: (Color, Color),
    accent: Color,
    bad: Color,
    good: Color,
    doubtful: Color,
    alarm: (Color, Color),
    lit: (Color, Color),
}

const DARK: Palette = Palette {
    text: Color::Reset,
    dim: Color::Indexed(245),
    border: Color::Indexed(240),
    chosen: (Color::Indexed(255), Color::Indexed(24)),
    accent: Color::Indexed(81),
    bad: Color::Indexed(203),
    good: Color::Indexed(114),
    doubtful: Color::Indexed(221),
    alarm: (Color::Indexed(231), Color::Indexed(160)),
    lit: (Color::Indexed(16), Color::Indexed(221)),
};

const LIGHT: Palette = Palette {
    text: Color::Reset,
    dim: Color::Indexed(243),
    border: Color::Indexed(248),
    chosen: (Color::Indexed(16), Color::Indexed(153)),
    accent: Color::Indexed(25),
    bad: Color::Indexed(124),
    good: Color::Indexed(22),
    doubtful: Color::Indexed(94),
    alarm: (Color::Indexed(231), Color::Indexed(124)),
    lit: (Color::Indexed(16), Color::Indexed(220)),
};

const HIGH_CONTRAST: Palette = Palette {
    text: Color::Indexed(231),
    dim: Color::Indexed(231),
    border: Color::Indexed(231),
    chosen: (Color::Indexed(16), Color::Indexed(231)),
    accent: Color::Indexed(51),
    bad: Color::Indexed(210),
    good: Color::Indexed(46),
    doubtful: Color::Indexed(226),
    alarm: (Color::Indexed(16), Color::Indexed(226)),
    lit: (Color::Indexed(16), Color::Indexed(51)),
};

const SIXTEEN: Palette = Palette {
    text: Color::Reset,
    dim: Color::DarkGray,
    border: Color::DarkGray,
    chosen: (Color::White, Color::Blue),
    accent: Color::Cyan,
    bad: Color::Red,
    good: Color::Green,
    doubtful: Color::Yellow,
    alarm: (Color::White, Color::Red),
    lit: (Color::Black, Color::Yellow),
};

fn coloured(role: Role, palette: &Palette) -> Style {
    let on = |(front, back): (Color, Color)| Style::new().fg(front).bg(back);
    match role {
        Role::Text => Style::new().fg(palette.text),
        Role::Dim => Style::new().fg(palette.dim),
        Role::Title => Style::new().fg(palette.text).add_modifier(Modifier::BOLD),
        Role::Border => Style::new().fg(palette.border),
        Role::Chosen => on(palette.chosen),
        Role::Tab => on(palette.chosen).add_modifier(Modifier::BOLD),
        Role::Key => Style::new().fg(palette.accent),
        Role::Bad => Style::new().fg(palette.bad).add_modifier(Modifier::BOLD),
        Role::Good => Style::new().fg(palette.good),
        Role::Doubtful => Style::new().fg(palette.doubtful),
        Role::Alarm => on(palette.alarm).add_modifier(Modifier::BOLD),
        Role::Lit => on(palette.lit),
    }
}

fn plain(role: Role) -> Style {
    let with = |modifier| Style::new().add_modifier(modifier);
    match role {
        Role::Text | Role::Border | Role::Good => Style::new(),
        Role::Dim => with(Modifier::DIM),
        Role::Title | Role::Key | Role::Bad => with(Modifier::BOLD),
        Role::Doubtful => with(Modifier::UNDERLINED),
        Role::Chosen | Role::Lit => with(Modifier::REVERSED),
        Role::Tab | Role::Alarm => with(Modifier::REVERSED.union(Modifier::BOLD)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_through_all_themes() {
        let mut seen = vec![ThemeName::default()];
        for _ in 1..ThemeName::ALL.len() {
            seen.extend(seen.last().map(|last| last.next()));
        }
        assert_eq!(seen, ThemeName::ALL);
        assert_eq!(ThemeName::Plain.next(), ThemeName::Dark);
    }

    #[test]
    fn without_colours_there_are_none() {
        for role in [Role::Text, Role::Dim, Role::Bad, Role::Chosen, Role::Alarm, Role::Lit] {
            let style = ThemeName::Plain.style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
    }
}
