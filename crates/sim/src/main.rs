//! `papo-sim`: runs seeds, and says what came of them.

use papo_sim::{Plan, World};

fn main() {
    let arg = |n| std::env::args().nth(n).and_then(|text| text.parse().ok());
    let (start, seeds): (u64, u64) = (arg(1).unwrap_or(0), arg(2).unwrap_or(10));
    let trace = arg(3).is_some();
    let (mut events, mut cover) = (0, std::collections::BTreeMap::<String, u64>::new());
    for seed in start..start + seeds {
        let outcome = World::run(&Plan::of(seed), None, trace);
        events += outcome.events;
        for (k, v) in outcome.faults {
            *cover.entry(format!("fault {}", k.name())).or_default() += v;
        }
        for (k, v) in outcome.coverage {
            *cover.entry(k.to_owned()).or_default() += v;
        }
        for line in outcome.lines {
            println!("{line}");
        }
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {violation}");
        }
    }
    println!("{events} {cover:#?}");
}
