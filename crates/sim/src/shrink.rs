//! Makes a failing plan smaller: the world ends when it fails, and faults, clients and subscribers go as long as the same rule is
//! still broken.

use crate::bug::Bug;
use crate::checker::{Invariant, Violation};
use crate::plan::Plan;
use crate::world::World;

/// Runs that it may take.
const RUNS_MAX: u32 = 400;

struct Shrinking {
    plan: Plan,
    violation: Violation,
    bug: Option<Bug>,
    runs: u32,
}

impl Shrinking {
    fn fails(&mut self, plan: &Plan) -> Option<Violation> {
        self.runs += 1;
        if self.runs > RUNS_MAX {
            return None;
        }
        let wanted: Invariant = self.violation.invariant;
        World::run(plan, self.bug, false).violation.filter(|violation| violation.invariant == wanted)
    }

    /// Keeps a smaller plan if it fails, too.
    fn keep(&mut self, plan: Plan) -> bool {
        let Some(violation) = self.fails(&plan) else { return false };
        self.plan = plan;
        self.violation = violation;
        true
    }

    /// Faults go, half of them at a time, then a quarter, at last one by one.
    fn drop_faults(&mut self) {
        let mut size = self.plan.faults.len().max(1);
        while size > 0 {
            let active: Vec<usize> = self.plan.active().map(|(index, _)| index).collect();
            for part in active.chunks(size) {
                let mut plan = self.plan.clone();
                plan.without.extend(part);
                self.keep(plan);
            }
            size /= 2;
        }
    }

    fn drop_people(&mut self) {
        for fewer in
            [(|plan: &mut Plan| plan.clients -= usize::from(plan.clients > 1)) as fn(&mut Plan), |plan| {
                plan.subscribers -= usize::from(plan.subscribers > 1);
            }]
        {
            loop {
                let mut plan = self.plan.clone();
                fewer(&mut plan);
                if plan == self.plan || !self.keep(plan) {
                    break;
                }
            }
        }
    }

    /// The faults end sooner.
    fn cut_time(&mut self) {
        let mut plan = self.plan.clone();
        plan.fill = false;
        self.keep(plan);
        while self.plan.heal_at > 1 {
            let mut plan = self.plan.clone();
            plan.heal_at = plan.heal_at * 3 / 4;
            if !self.keep(plan) {
                return;
            }
        }
    }
}

/// A smaller plan that breaks the same rule, and how.
#[must_use]
pub fn shrink(plan: &Plan, violation: &Violation, bug: Option<Bug>) -> (Plan, Violation) {
    let mut shrinking = Shrinking { plan: plan.clone(), violation: violation.clone(), bug, runs: 0 };
    shrinking.cut_time();
    shrinking.drop_faults();
    shrinking.drop_people();
    shrinking.drop_faults();
    (shrinking.plan, shrinking.violation)
}
