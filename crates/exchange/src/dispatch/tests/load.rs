//! What a worker may owe: in requests, and in bytes.

use super::*;
use crate::constants::{REQUEST_BYTES_MAX, WORKER_BYTES_MAX};

const LARGE: usize = REQUEST_BYTES_MAX - 100;

impl Bench {
    fn large(&mut self, client: ConnectionId) -> Vec<DispatchEffect> {
        let frames = vec![Bytes::new(), vec![b'{'; LARGE].into()];
        self.input(DispatchInput::ClientMessage { client, frames })
    }
}

fn bytes(jobs: &[Job]) -> usize {
    jobs.iter().map(|job| job.body.len()).sum()
}

#[test]
fn a_worker_is_not_given_more_bytes_than_its_link_can_queue() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let mut given: Vec<Job> = (0..40).flat_map(|_| jobs(&bench.large(ANA))).collect();
    assert!(bytes(&given) < WORKER_BYTES_MAX + REQUEST_BYTES_MAX, "{} bytes", bytes(&given));
    assert!(bytes(&given) >= WORKER_BYTES_MAX - REQUEST_BYTES_MAX, "and not much less");
    assert_eq!(bench.dispatch.waiting(), 40 - given.len());
    let mut answered = 0;
    while let Some(job) = given.pop() {
        let effects = bench.replies(&job, "reply");
        assert_eq!(effects[0], to_client(ANA, "reply"));
        given.extend(jobs(&effects));
        assert!(bytes(&given) < WORKER_BYTES_MAX + REQUEST_BYTES_MAX);
        answered += 1;
    }
    assert_eq!((answered, bench.dispatch.idle()), (40, true));
}

#[test]
fn while_one_worker_owes_too_many_bytes_another_gets_the_next() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let given: Vec<_> = (0..16).flat_map(|_| jobs(&bench.large(ANA))).collect();
    assert_eq!(given.iter().filter(|job| job.worker == FIRST).count(), 8);
    assert_eq!(given.iter().filter(|job| job.worker == SECOND).count(), 8);
}

#[test]
fn what_a_worker_that_hangs_was_given_counts_against_it_until_it_answers_something_later() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let hung: Vec<_> = (0..20).flat_map(|_| jobs(&bench.large(ANA))).collect();
    bench.pass_beating(11_000, &[FIRST]);
    assert!(bench.dispatch.idle(), "all are answered at the deadline");
    let probe: Vec<_> = (0..3).flat_map(|_| jobs(&bench.large(BIA))).collect();
    assert_eq!(probe.len(), 1, "who owes nothing of late may have one: all before may still be unread");
    let more = jobs(&bench.replies(&probe[0], "read"));
    assert_eq!(more.len(), 2, "who answers the later has read the earlier");
    assert!(!hung.is_empty());
}

#[test]
fn a_worker_may_answer_what_is_overdue_in_any_order_and_owes_nothing_in_the_end() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let overdue: Vec<_> = (0..4).map(|_| bench.lent(ANA, READ)).collect();
    bench.pass_beating(11_000, &[FIRST]);
    let fresh = bench.lent(BIA, READ);
    assert_eq!(bench.dispatch.workers.get_mut(FIRST).unwrap().load(), 1);
    for late in [&overdue[2], &overdue[3], &overdue[0]] {
        assert_eq!(bench.replies(late, "late"), []);
    }
    assert_eq!(bench.dispatch.workers.get_mut(FIRST).unwrap().load(), 1);
    assert_eq!(bench.replies(&fresh, "reply"), [to_client(BIA, "reply")]);
    assert_eq!(bench.dispatch.workers.get_mut(FIRST).unwrap().load(), 0);
    assert_eq!(bench.counters().late_replies, 3);
}
