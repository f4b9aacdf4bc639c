//! `papo-sim`: runs seeds, says what came of them, and makes what fails small enough to read.

use clap::{Parser, ValueEnum};
use papo_sim::campaign::SEEDS_FOR_ALL_PATHS;
use papo_sim::plan::Plan;
use papo_sim::record::{self, Line, RecordError};
use papo_sim::{Bug, World, campaign, shrink};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A world is many small allocations, and this allocator takes a fifth less time for a seed than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Progress is said after so many seeds.
const PROGRESS_EVERY: u64 = 5_000;
/// Failing seeds after which a run ends.
const FAILURES_MAX: usize = 10;
/// Seeds of a line in a campaign's record.
const LINE_SEEDS: u64 = 5_000;

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
    /// Add what comes of the seeds to this record, from the first seed on that is above all it has; failing seeds end nothing.
    #[arg(long, conflicts_with_all = ["seed", "bug", "bugs"], requires = "commit")]
    campaign: Option<PathBuf>,
    /// Of the code, for the record.
    #[arg(long)]
    commit: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let good = match options.seed {
        Some(seed) => replay(&options, seed),
        None if options.bugs => catch_all(&options),
        None => match (&options.campaign, &options.commit) {
            (Some(path), Some(commit)) => extend(&options, path, commit).unwrap_or_else(|error| {
                eprintln!("{error}: {}", path.display());
                false
            }),
            _ => run(&options),
        },
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Many seeds. What fails is made smaller.
fn run(options: &Options) -> bool {
    let since = Instant::now();
    let totals = campaign::run(options.start, options.seeds, options.threads, options.bug, |totals| {
        if totals.seeds.is_multiple_of(PROGRESS_EVERY) {
            eprintln!("{} seeds after {:.0} s", totals.seeds, since.elapsed().as_secs_f64());
        }
        if totals.failures.len() < FAILURES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let seconds = since.elapsed().as_secs_f64();
    print!("{totals}");
    println!("{:.1} seeds/s, {:.0} events/s", totals.seeds as f64 / seconds, totals.events as f64 / seconds);
    let never = totals.never_came();
    let all_came = options.seeds < SEEDS_FOR_ALL_PATHS || options.bug.is_some() || never.is_empty();
    if !all_came {
        println!("never came: {}", never.join(" "));
    }
    // One is enough to read.
    if let Some((seed, violation)) = totals.failures.first_key_value() {
        let (plan, violation) = shrink::shrink(&Plan::of(*seed), violation, options.bug);
        println!("\nseed {seed}, made smaller: {violation}");
        println!("replay: papo-sim {}", arguments(&plan, options.bug));
        print_trace(&plan, options.bug);
    }
    let good = totals.failures.is_empty() && all_came;
    if good {
        println!("passed: {} seeds", totals.seeds);
    }
    good
}

/// Many seeds, for the record.
fn extend(options: &Options, path: &Path, commit: &str) -> Result<bool, RecordError> {
    let mut lines = record::read(path)?;
    let mut left = options.seeds;
    let mut good = true;
    while left > 0 {
        let first = lines.iter().map(|line| line.last + 1).max().unwrap_or(0).max(options.start);
        let since = Instant::now();
        let seeds = left.min(LINE_SEEDS);
        let said = AtomicUsize::new(0);
        let totals = campaign::run(first, seeds, options.threads, None, |totals| {
            // Not only at the end of the line, which may never come.
            if totals.failures.len() > said.swap(totals.failures.len(), Ordering::Relaxed) {
                println!("of the seeds from {first} on fail so far: {:?}", totals.failures);
            }
            ControlFlow::Continue(())
        });
        good &= totals.failures.is_empty();
        left -= seeds;
        let line = Line::of(first, commit, since.elapsed().as_secs(), &totals);
        record::append(path, &line)?;
        println!("{line}");
        lines.push(line);
    }
    println!("{}", record::summary(&lines));
    Ok(good)
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

/// Every planted bug must be caught, within as many seeds as it says, and by a rule that it breaks.
fn catch_all(options: &Options) -> bool {
    let mut all = true;
    for bug in Bug::value_variants() {
        let shows = |totals: &campaign::Totals| {
            let failures = totals.failures.iter();
            failures
                .map(|(seed, violation)| (*seed, violation.clone()))
                .find(|(_, seen)| bug.explains(seen.invariant))
        };
        let totals =
            campaign::run(options.start, bug.caught_within(), options.threads, Some(*bug), |totals| {
                if shows(totals).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        let (name, seeds, most) = (bug.name(), totals.seeds, bug.caught_within());
        match shows(&totals) {
            Some((seed, violation)) => {
                println!("passed: {name}: caught after {seeds} seeds of {most}, seed {seed}: {violation}");
            }
            None => {
                all = false;
                println!("{name}: NOT CAUGHT within {most} seeds");
            }
        }
        for (seed, violation) in totals.failures.iter().filter(|(_, seen)| !bug.explains(seen.invariant)) {
            println!("    not for its reason: seed {seed}: {violation}");
        }
    }
    all
}
