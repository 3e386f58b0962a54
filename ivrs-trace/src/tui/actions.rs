//! Every action with its name, keys and scope: those of the table, and one a view that shows it.

use std::sync::LazyLock;

use super::action::{Action, Known, Scope, TABLE, View};

/// All actions, in the order of the help. Those that show a view follow the general ones.
pub static ACTIONS: LazyLock<Vec<Known>> = LazyLock::new(|| {
    const GENERAL: usize = 3;
    let views = View::ALL.into_iter().map(|view| {
        let spec = view.spec();
        let (action, scope) = (Action::Show(view), Scope::Everywhere);
        Known { action, name: spec.name, keys: spec.keys, scope, does: spec.does }
    });
    let table = || TABLE.iter().copied();
    table().take(GENERAL).chain(views).chain(table().skip(GENERAL)).collect()
});

impl Known {
    /// Whether it can be done in `view`, watching a host or replaying.
    #[must_use]
    pub fn holds(&self, view: View, replay: bool) -> bool {
        match self.scope {
            Scope::Everywhere => true,
            Scope::Own => view.spec().actions.contains(&self.action),
            Scope::Live => !replay,
            Scope::Replay => replay,
        }
    }
}
