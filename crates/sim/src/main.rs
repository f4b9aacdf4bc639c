//! `papo-sim`: runs seeds, says what came of them, and makes what fails small enough to read.

use clap::{Parser, ValueEnum};
use papo_sim::plan::Plan;
use papo_sim::{Bug, World, campaign, shrink};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

/// Progress is said after so many seeds.
const PROGRESS_EVERY: u64 = 5_000;

/// Runs papo's minds in a deterministic world, and checks the invariants.
#[derive(Debug, Parser)]
struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Threads; a seed runs on one.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Print what happens in it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Leave these of its faults out.
    #[arg(long, value_delimiter = ',', requires = "seed")]
    without: Vec<usize>,
    /// With so many clients.
    #[arg(long, requires = "seed")]
    clients: Option<usize>,
    /// With so many subscribers.
    #[arg(long, requires = "seed")]
    subscribers: Option<usize>,
    /// With all faults over after so many microseconds.
    #[arg(long, requires = "seed")]
    heal_at: Option<u64>,
    /// Plant this bug.
    #[arg(long)]
    bug: Option<Bug>,
    /// Plant each bug in turn; it fails unless each is caught.
    #[arg(long, conflicts_with_all = ["seed", "bug"])]
    bugs: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let good = match options.seed {
        Some(seed) => replay(&options, seed),
        None if options.bugs => catch_all(&options),
        None => run(&options),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Many seeds. What fails is made smaller.
fn run(options: &Options) -> bool {
    let since = Instant::now();
    let totals =
        campaign::run(options.start, options.seeds, options.threads, options.bug, usize::MAX, |done| {
            if done.is_multiple_of(PROGRESS_EVERY) {
                eprintln!("{done} seeds after {:.0} s", since.elapsed().as_secs_f64());
            }
        });
    let seconds = since.elapsed().as_secs_f64();
    print!("{totals}");
    println!("{:.1} seeds/s, {:.0} events/s", totals.seeds as f64 / seconds, totals.events as f64 / seconds);
    // One is enough to read.
    if let Some((seed, violation)) = totals.failures.first_key_value() {
        let (plan, violation) = shrink::shrink(&Plan::of(*seed), violation, options.bug);
        println!("\nseed {seed}, made smaller: {violation}");
        println!("replay: papo-sim {}", arguments(&plan, options.bug));
        print_trace(&plan, options.bug);
    }
    totals.failures.is_empty()
}

/// What replays a plan.
fn arguments(plan: &Plan, bug: Option<Bug>) -> String {
    let mut text = format!("--seed {} --trace", plan.seed);
    let whole = Plan::of(plan.seed);
    if !plan.without.is_empty() {
        let without: Vec<String> = plan.without.iter().map(ToString::to_string).collect();
        text += &format!(" --without {}", without.join(","));
    }
    if plan.clients != whole.clients {
        text += &format!(" --clients {}", plan.clients);
    }
    if plan.subscribers != whole.subscribers {
        text += &format!(" --subscribers {}", plan.subscribers);
    }
    if plan.heal_at != whole.heal_at || !plan.fill {
        text += &format!(" --heal-at {}", plan.heal_at);
    }
    if let Some(bug) = bug {
        text += &format!(" --bug {}", bug.name());
    }
    text
}

fn print_trace(plan: &Plan, bug: Option<Bug>) -> bool {
    let outcome = World::run(plan, bug, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("{} events, trace {:016x}", outcome.events, outcome.hash);
    if let Some(violation) = &outcome.violation {
        println!("seed {} fails: {violation}", plan.seed);
    }
    outcome.violation.is_none()
}

/// One seed.
fn replay(options: &Options, seed: u64) -> bool {
    let mut plan = Plan::of(seed);
    plan.without = options.without.iter().copied().collect::<BTreeSet<_>>();
    plan.clients = options.clients.unwrap_or(plan.clients);
    plan.subscribers = options.subscribers.unwrap_or(plan.subscribers);
    if let Some(heal_at) = options.heal_at {
        plan.heal_at = heal_at;
        plan.fill = false;
    }
    if options.trace {
        return print_trace(&plan, options.bug);
    }
    let outcome = World::run(&plan, options.bug, false);
    println!("seed {seed}: {} events, trace {:016x}", outcome.events, outcome.hash);
    if let Some(violation) = &outcome.violation {
        println!("seed {seed} fails: {violation}");
    }
    outcome.violation.is_none()
}

/// Every planted bug must be caught, within as many seeds as it says.
fn catch_all(options: &Options) -> bool {
    let mut all = true;
    for bug in Bug::value_variants() {
        let totals =
            campaign::run(options.start, bug.caught_within(), options.threads, Some(*bug), 1, |_| {});
        match totals.failures.iter().next() {
            Some((seed, violation)) => {
                println!("{}: caught after {} seeds, seed {seed}: {violation}", bug.name(), totals.seeds);
            }
            None => {
                all = false;
                println!("{}: NOT CAUGHT within {} seeds", bug.name(), totals.seeds);
            }
        }
    }
    all
}
