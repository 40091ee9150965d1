//! Whether a permit would be given again: asked of what is under way when its
//! credential or the configuration has changed.
//!
//! By words, because another world may number scopes otherwise.

use super::decide::Bound;
use super::decision::Ground;
use super::path::{SegmentList, Target};
use super::route::{Binding, MethodRule};
use super::snapshot::Snapshot;
use super::table::Lookup;
use crate::domain::{Environments, UnixTime};
use crate::revocation::Standing;

impl Ground {
    /// Whether the same request with the same token would get as far in `world`:
    /// its path may lead to another route there, which may take more, or to none.
    pub fn holds(&self, world: &Snapshot, standing: &Standing, now: UnixTime) -> bool {
        let host = self.host.as_deref();
        let Ok(target) = Target::parse(self.target.as_bytes(), host) else { return false };
        let segments = target.path().segments().collect::<SegmentList<'_>>();
        let found = world.table.lookup(host, &segments, &self.method);
        let Lookup::Found(route, rule) = found else { return false };
        let Ok(bound) = Bound::read(route, &target, &segments) else { return false };
        // Its body is gone: where what bodies take has changed, it takes what
        // any body does.
        let same = self.route.rule(&self.method).is_some_and(|before| alike(before, rule));
        let access = if same { &self.access } else { &rule.access };
        let token = self.principal.token();
        let account_fits = match &bound.account {
            Some(account) => account == token.account().as_str(),
            None => route.account == Binding::Any || !access.is_scoped(),
        };
        let environments = token.environments().intersect(&standing.environments);
        let environment_fits = match (&bound.environment, &environments) {
            (None, _) if route.environment == Binding::Any || !access.is_scoped() => true,
            (None, environments) => *environments == Some(Environments::All),
            (Some(here), Some(environments)) => environments.contains(here),
            (Some(_), None) => false,
        };
        account_fits
            && environment_fits
            && access.met_by(&world.scopes_awake(token.scopes(), standing, now))
    }
}

/// Whether two rules take the same for the same bodies.
fn alike(before: &MethodRule, now: &MethodRule) -> bool {
    before.access == now.access
        && before.body_rules.len() == now.body_rules.len()
        && before
            .body_rules
            .iter()
            .zip(&now.body_rules)
            .all(|(before, now)| before.keys == now.keys && before.allow.0 == now.allow.0)
}
