//! From a plan that fails to a short one that fails in the same way (delta debugging, Zeller 1999).

use std::time::{Duration, Instant};

use super::failure::attempt;
use super::plan::{Act, Plan};

/// Leaves out whatever can be left out.
pub fn shrink(plan: &Plan, law: &str, budget: Duration) -> Plan {
    let mut shrinking = Shrinking {
        best: plan.clone(),
        law,
        end: Instant::now() + budget,
    };
    loop {
        let before = shrinking.best.clone();
        shrinking.steps();
        shrinking.acts();
        shrinking.setup();
        if shrinking.best == before || shrinking.is_over() {
            return shrinking.best;
        }
    }
}

struct Shrinking<'a> {
    best: Plan,
    law: &'a str,
    end: Instant,
}

impl Shrinking<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Keeps a plan if it fails as the first one did.
    fn take(&mut self, plan: Plan) -> bool {
        let fails = !self.is_over() && attempt(&plan).is_err_and(|failure| failure.law == self.law);
        if fails {
            self.best = plan;
        }
        fails
    }

    fn steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 && !self.is_over() {
            let mut from = 0;
            while from < self.best.steps.len() {
                let mut plan = self.best.clone();
                let end = (from + size).min(plan.steps.len());
                plan.steps.drain(from..end);
                if !self.take(plan) {
                    from += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Fewer requests at once.
    fn acts(&mut self) {
        for at in 0..self.best.steps.len() {
            loop {
                let mut plan = self.best.clone();
                let Act::Ask { ops, .. } = &mut plan.steps[at].act else {
                    break;
                };
                if ops.len() < 2 {
                    break;
                }
                ops.pop();
                if !self.take(plan) {
                    break;
                }
            }
        }
    }

    /// What is usual rather than what was drawn.
    fn setup(&mut self) {
        let simpler: [fn(&mut Plan); 7] = [
            |plan| plan.slowest = [1; 5],
            |plan| plan.slowest_disk = [1; 5],
            |plan| plan.clocks.fill((1000, 0)),
            |plan| plan.window = 500,
            |plan| plan.snap_count = 100_000,
            |plan| plan.base = 0,
            |plan| plan.leader_serves = true,
        ];
        for change in simpler {
            let mut plan = self.best.clone();
            change(&mut plan);
            if plan != self.best {
                self.take(plan);
            }
        }
    }
}
