//! A broker that itself stood still: stopped, starved, or in a suspended machine. What it was told meanwhile waits unread.

use super::*;

/// Nobody calls the dispatch for so long.
const STALL: Duration = Duration::from_secs(11);

impl Bench {
    fn stall(&mut self) -> Vec<DispatchEffect> {
        self.now += STALL;
        let mut effects = Vec::new();
        self.dispatch.tick(Now { monotonic: self.now, unix: UnixMillis(0) }, &mut effects);
        timeless(effects)
    }
}

#[test]
fn after_a_stall_no_worker_is_dead_no_request_is_late_and_the_waiting_replies_are_delivered() {
    let all = [FIRST, SECOND, THIRD];
    let mut bench = Bench::with_workers(&all);
    let jobs: Vec<_> = (0..6).map(|_| bench.lent(ANA, WRITE)).collect();
    assert_eq!(bench.pass_beating(1000, &all), []);
    assert_eq!(bench.pass(400), []);
    assert_eq!(bench.stall(), [], "nothing is due");
    assert_eq!((bench.dispatch.ready_workers(), bench.dispatch.in_flight()), (3, 6));
    for worker in all {
        assert_eq!(bench.says(worker, &FromWorker::Beat), []);
    }
    for job in &jobs {
        assert_eq!(bench.replies(job, "it waited"), [to_client(ANA, "it waited")]);
    }
    let counters = bench.counters();
    assert_eq!((counters.workers_lost, counters.redispatched, counters.refused), (0, 0, 0));
}

#[test]
fn a_stall_whose_end_is_seen_by_a_message_counts_as_little_as_one_seen_by_a_tick() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    bench.lent(ANA, WRITE);
    bench.now += STALL;
    bench.lent(BIA, WRITE);
    assert_eq!(bench.pass(0), []);
    assert_eq!((bench.dispatch.ready_workers(), bench.dispatch.in_flight()), (2, 2));
}

#[test]
fn deadlines_and_deaths_go_on_in_lived_time_after_a_stall() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let job = bench.lent(ANA, WRITE);
    bench.pass_beating(1000, &[FIRST, SECOND]);
    assert_eq!(bench.stall(), []);
    bench.says(SECOND, &FromWorker::Beat);
    let moved = bench.pass_beating(1500, &[SECOND]);
    assert_eq!((one_job(&moved).worker, job.worker), (SECOND, FIRST), "the first is silent indeed");
    let late = bench.pass_beating(6_500, &[SECOND]);
    assert_eq!(refusals(&late), [], "nine seconds are lived");
    assert_eq!(refusals(&bench.pass_beating(1000, &[SECOND])), refusal(ANA, "unknown", true));
}

#[test]
fn stall_after_stall_a_broker_that_reads_in_between_loses_nobody() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let job = bench.lent(ANA, WRITE);
    for _ in 0..20 {
        assert_eq!(bench.stall(), []);
        bench.says(FIRST, &FromWorker::Beat);
    }
    assert_eq!(bench.replies(&job, "at last"), [to_client(ANA, "at last")]);
    assert_eq!(bench.counters().workers_lost, 0);
}
