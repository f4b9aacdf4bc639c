//! Papo workers: who gets a request, and what becomes of it when that worker fails.

use super::*;

#[test]
fn a03_round_robin_over_idle_workers() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND, THIRD]);
    let mut turns = Vec::new();
    for _ in 0..6 {
        let job = bench.lent(ANA, READ);
        turns.push(job.worker);
        bench.replies(&job, "reply");
    }
    assert_eq!(turns, [FIRST, SECOND, THIRD, FIRST, SECOND, THIRD]);
}

#[test]
fn a03_the_least_loaded_worker_is_next() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let jobs: Vec<_> = (0..4).map(|_| bench.lent(ANA, READ)).collect();
    bench.replies(&jobs[1], "reply");
    bench.replies(&jobs[3], "reply");
    assert_eq!([bench.lent(BIA, READ).worker, bench.lent(BIA, READ).worker], [SECOND, SECOND]);
}

#[test]
fn a_full_worker_is_skipped_and_when_all_are_full_requests_wait_in_order() {
    let mut bench = Bench::new();
    bench.up(&[ANA, BIA]);
    bench.papo(FIRST, 1);
    bench.papo(SECOND, 2);
    let given: Vec<_> = (0..3).map(|_| bench.lent(ANA, READ)).collect();
    assert_eq!(given.iter().map(|job| job.worker).collect::<Vec<_>>(), [FIRST, SECOND, SECOND]);
    assert_eq!(bench.request(BIA, "older"), []);
    assert_eq!(bench.request(BIA, "newer"), []);
    assert_eq!((bench.dispatch.in_flight(), bench.dispatch.waiting()), (3, 2));
    let effects = bench.replies(&given[0], "reply");
    assert_eq!(effects[0], to_client(ANA, "reply"));
    assert_eq!(jobs(&effects)[0].body, "older");
}

#[test]
fn the_envelope_goes_back_as_it_came() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let frames = |body: &'static str| vec!["hop".into(), "id".into(), Bytes::new(), body.into()];
    let job = one_job(&bench.input(DispatchInput::ClientMessage { client: ANA, frames: frames("question") }));
    assert_eq!(job.body, "question");
    let expected = DispatchEffect::ToClient { client: ANA, frames: frames("answer"), after: Duration::ZERO };
    assert_eq!(bench.replies(&job, "answer"), [expected]);
}

#[test]
fn the_cookie_of_the_last_reply_goes_with_the_next_request_to_whichever_worker() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let job = bench.lent(ANA, READ);
    let cookie = Cookie::new("ana@3".into()).unwrap();
    bench.says(job.worker, &FromWorker::Reply { key: job.key, cookie, body: "reply".into() });
    let next = bench.lent(ANA, READ);
    assert_ne!(next.worker, job.worker);
    assert_eq!(next.cookie, "ana@3");
    assert_eq!(bench.lent(BIA, READ).cookie, "", "a cookie is one connection's");
}

#[test]
fn a_dying_worker_hands_its_requests_over_at_once_with_the_same_key() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let job = bench.lent(ANA, WRITE);
    let again = one_job(&bench.down(job.worker));
    assert_eq!(again, Job { worker: SECOND, ..job });
    assert_eq!(bench.replies(&again, "done"), [to_client(ANA, "done")]);
    assert_eq!((bench.counters().redispatched, bench.counters().answered), (1, 1));
    assert!(bench.dispatch.idle());
}

#[test]
fn a_worker_without_a_beat_for_one_and_a_half_seconds_is_dead_until_it_beats_again() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let job = bench.lent(ANA, WRITE);
    assert_eq!(bench.pass_beating(1000, &[SECOND]), []);
    assert_eq!(bench.pass(499), []);
    assert_eq!(bench.dispatch.ready_workers(), 2);
    assert_eq!(one_job(&bench.pass(1)).worker, SECOND);
    assert_eq!(bench.dispatch.ready_workers(), 1);
    bench.says(FIRST, &FromWorker::Beat);
    assert_eq!(bench.dispatch.ready_workers(), 2);
    assert_eq!(
        bench.replies(&job, "from the dead"),
        [to_client(ANA, "from the dead")],
        "the first reply counts"
    );
}

#[test]
fn any_message_of_a_worker_counts_as_a_beat() {
    let mut bench = Bench::with_workers(&[FIRST]);
    for _ in 0..5 {
        let job = bench.lent(ANA, READ);
        bench.pass(1000);
        assert_eq!(bench.replies(&job, "reply").len(), 1);
    }
    assert_eq!(bench.counters().workers_lost, 0);
}

#[test]
fn the_link_of_a_worker_silent_for_long_is_closed() {
    let mut bench = Bench::with_workers(&[FIRST]);
    assert_eq!(bench.pass(9_999), []);
    assert_eq!(bench.pass(1), [DispatchEffect::CloseWorker { worker: FIRST }]);
    assert_eq!(bench.down(FIRST), []);
    assert_eq!((bench.counters().workers_lost, bench.counters().workers_closed), (1, 1));
}

#[test]
fn with_a_longer_deadline_the_link_of_a_silent_worker_is_kept_longer() {
    let broker_deadline = Duration::from_secs(45);
    let mut bench = Bench::with(DispatchSettings { broker_deadline, ..DispatchSettings::default() });
    bench.papo(FIRST, 1);
    assert_eq!(bench.pass(44_999), []);
    assert_eq!(bench.pass(1), [DispatchEffect::CloseWorker { worker: FIRST }]);
}

#[test]
fn a_worker_over_the_server_deadline_is_not_waited_for_alone() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let slow = bench.lent(ANA, WRITE);
    let other = one_job(&bench.pass_beating(3000, &[FIRST, SECOND]));
    assert_eq!((other.worker, other.key), (SECOND, slow.key));
    assert_eq!(bench.replies(&slow, "late but first"), [to_client(ANA, "late but first")]);
    assert_eq!(bench.replies(&other, "second"), []);
    assert_eq!((bench.counters().answered, bench.counters().late_replies), (1, 1));
}

#[test]
fn the_only_worker_may_be_slow() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let job = bench.lent(ANA, WRITE);
    assert_eq!(bench.pass_beating(9_500, &[FIRST]), [], "there is nobody else to give it to");
    assert_eq!(bench.replies(&job, "at last"), [to_client(ANA, "at last")]);
}

#[test]
fn two_failovers_fit_the_broker_deadline() {
    let all = [FIRST, SECOND, THIRD];
    let mut bench = Bench::with_workers(&all);
    bench.lent(ANA, WRITE);
    let effects = bench.pass_beating(9_500, &all);
    assert_eq!(jobs(&effects).iter().map(|job| job.worker).collect::<Vec<_>>(), [SECOND, THIRD]);
    assert_eq!(refusals(&bench.pass_beating(500, &all)), refusal(ANA, "unknown", true));
    assert!(bench.dispatch.idle());
}

#[test]
fn a_request_that_no_worker_ever_had_is_refused_as_no_server_at_the_deadline() {
    let mut bench = Bench::with_workers(&[]);
    assert_eq!(bench.request(ANA, WRITE), []);
    assert_eq!(bench.pass(9_999), []);
    assert_eq!(refusals(&bench.pass(1)), refusal(ANA, "no_server", true));
    assert_eq!(bench.counters().broker_deadlines, 1);
}

#[test]
fn what_waited_for_a_worker_goes_to_the_first_that_says_hello() {
    let mut bench = Bench::with_workers(&[]);
    bench.request(ANA, WRITE);
    bench.request(BIA, READ);
    let bodies: Vec<_> = jobs(&bench.papo(FIRST, 10)).into_iter().map(|job| job.body).collect();
    assert_eq!(bodies, [WRITE, READ]);
    assert_eq!(bench.dispatch.waiting(), 0);
}

#[test]
fn elsewhere_moves_on_and_when_all_have_said_so_the_request_is_served_as_things_stand() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let first = bench.lent(ANA, WRITE);
    let second = one_job(&bench.elsewhere(&first));
    assert_eq!((second.worker, second.last_resort), (SECOND, false));
    let third = one_job(&bench.elsewhere(&second));
    assert_eq!((third.key, third.last_resort), (first.key, true));
    assert_eq!(bench.replies(&third, "as things stand"), [to_client(ANA, "as things stand")]);
}

#[test]
fn refused_by_all_even_as_things_stand_a_request_rests_and_is_then_tried_from_the_start() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let mut job = bench.lent(ANA, WRITE);
    let mut resorts = Vec::new();
    for _ in 0..3 {
        job = one_job(&bench.elsewhere(&job));
        resorts.push(job.last_resort);
    }
    assert_eq!(resorts, [false, true, true]);
    assert_eq!(bench.elsewhere(&job), []);
    assert_eq!((bench.dispatch.waiting(), bench.dispatch.in_flight()), (1, 0));
    let again = one_job(&bench.pass(250));
    assert!(!again.last_resort);
    assert_eq!(again.key, job.key);
}

#[test]
fn a_request_that_all_refuse_until_the_deadline_was_not_done() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let mut effects = bench.request(ANA, WRITE);
    while refusals(&effects).is_empty() {
        if let Some(job) = jobs(&effects).pop() {
            effects = bench.elsewhere(&job);
        } else {
            effects = bench.pass(100);
        }
    }
    assert_eq!(refusals(&effects), refusal(ANA, "no_server", true));
    assert!(bench.dispatch.idle());
}

#[test]
fn a_request_rests_while_the_workers_that_did_not_refuse_it_are_full() {
    let mut bench = Bench::new();
    bench.up(&[ANA, BIA]);
    bench.papo(FIRST, 5);
    bench.papo(SECOND, 1);
    let refused = bench.lent(ANA, WRITE);
    let busy = bench.lent(BIA, READ);
    assert_eq!((refused.worker, busy.worker), (FIRST, SECOND));
    assert_eq!(bench.elsewhere(&refused), []);
    assert_eq!(bench.lent(BIA, READ).worker, FIRST, "others pass it by");
    bench.replies(&busy, "reply");
    assert_eq!(one_job(&bench.pass(250)).worker, SECOND);
}

#[test]
fn a_leaving_worker_gets_nothing_new_and_answers_what_it_has() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let job = bench.lent(ANA, WRITE);
    bench.says(FIRST, &FromWorker::Leaving);
    assert_eq!([bench.lent(BIA, READ).worker, bench.lent(BIA, READ).worker], [SECOND, SECOND]);
    assert_eq!(bench.replies(&job, "done"), [to_client(ANA, "done")]);
}

#[test]
fn a_request_on_which_three_workers_died_is_poison() {
    let workers = [FIRST, SECOND, THIRD, ConnectionId(104)];
    let mut bench = Bench::with_workers(&workers);
    let mut job = bench.lent(ANA, WRITE);
    for _ in 0..2 {
        job = one_job(&bench.down(job.worker));
    }
    assert_eq!(refusals(&bench.down(job.worker)), refusal(ANA, "unknown", false));
    assert_eq!((bench.counters().poisoned, bench.dispatch.ready_workers()), (1, 1));
}

#[test]
fn a_worker_that_hangs_looks_as_loaded_as_it_is() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let hung = bench.lent(ANA, READ);
    let moved = one_job(&bench.pass_beating(3000, &[FIRST, SECOND]));
    bench.replies(&moved, "reply");
    for _ in 0..4 {
        let job = bench.lent(ANA, READ);
        assert_ne!(job.worker, hung.worker);
        bench.replies(&job, "reply");
    }
    bench.pass_beating(8000, &[FIRST, SECOND]);
    assert_eq!(
        bench.lent(ANA, READ).worker,
        hung.worker,
        "what the client was answered long ago is not held against it"
    );
}

#[test]
fn a_hello_without_the_token_is_ignored_and_the_link_stays_foreign() {
    let mut bench = Bench::with_workers(&[SECOND]);
    bench.foreign(FIRST);
    bench.says(FIRST, &hello(100));
    assert_eq!((bench.counters().ignored_hellos, bench.dispatch.ready_workers()), (1, 1));
    assert_eq!([bench.lent(ANA, READ).worker, bench.lent(ANA, READ).worker], [SECOND, SECOND]);
}

#[test]
fn a_link_with_the_token_gets_nothing_before_its_hello() {
    let mut bench = Bench::with_workers(&[]);
    bench.input(DispatchInput::WorkerUp { worker: FIRST, papo: true });
    assert_eq!(bench.request(ANA, READ), []);
    assert_eq!(bench.says(FIRST, &FromWorker::Beat), []);
    assert_eq!(bench.counters().malformed_worker_messages, 1);
    assert_eq!(jobs(&bench.says(FIRST, &hello(1))).len(), 1);
}

#[test]
fn a_worker_cannot_answer_what_it_was_not_asked() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let job = bench.lent(ANA, READ);
    assert_eq!(bench.replies(&Job { worker: SECOND, ..job.clone() }, "not yours"), []);
    let of_another_boot = RequestKey { boot: Boot(1), ..job.key };
    assert_eq!(bench.replies(&Job { key: of_another_boot, ..job.clone() }, "not now"), []);
    let to_come = RequestKey { counter: 1000, ..job.key };
    assert_eq!(bench.replies(&Job { key: to_come, ..job.clone() }, "not yet"), []);
    bench.input(DispatchInput::WorkerMessage { worker: FIRST, frames: vec!["?".into()] });
    assert_eq!((bench.counters().late_replies, bench.counters().malformed_worker_messages), (1, 3));
    assert_eq!(bench.replies(&job, "mine"), [to_client(ANA, "mine")]);
}

#[test]
fn what_a_worker_lost_earlier_is_not_moved_again_when_it_dies_or_refuses_at_last() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND, THIRD]);
    let [one, two] = [bench.lent(ANA, WRITE), bench.lent(ANA, WRITE)];
    let moved = bench.pass_beating(3000, &[FIRST, SECOND, THIRD]);
    assert_eq!(jobs(&moved).len(), 2);
    assert_eq!(bench.elsewhere(&one), [], "another worker has it by now");
    assert_eq!(
        bench.down(two.worker).len(),
        jobs(&moved).iter().filter(|job| job.worker == two.worker).count()
    );
    assert_eq!(bench.dispatch.in_flight(), 2);
}

#[test]
fn a_worker_that_merely_falls_silent_is_no_death_however_often() {
    let workers = [FIRST, SECOND, THIRD, ConnectionId(104), ConnectionId(105)];
    let mut bench = Bench::with_workers(&workers);
    let mut job = bench.lent(ANA, WRITE);
    for _ in 0..4 {
        let beating: Vec<_> = workers.into_iter().filter(|worker| *worker != job.worker).collect();
        job = one_job(&bench.pass_beating(2000, &beating));
        for worker in workers {
            bench.says(worker, &FromWorker::Beat);
        }
    }
    assert_eq!(bench.replies(&job, "at last"), [to_client(ANA, "at last")]);
    assert_eq!((bench.counters().workers_lost, bench.counters().poisoned), (4, 0));
}

#[test]
fn a_worker_that_leaves_with_a_request_unanswered_is_no_death() {
    let workers = [FIRST, SECOND, THIRD, ConnectionId(104)];
    let mut bench = Bench::with_workers(&workers);
    let mut job = bench.lent(ANA, WRITE);
    for _ in 0..3 {
        bench.says(job.worker, &FromWorker::Leaving);
        job = one_job(&bench.down(job.worker));
    }
    assert_eq!(bench.replies(&job, "at last"), [to_client(ANA, "at last")]);
    assert_eq!(bench.counters().poisoned, 0);
}

#[test]
fn unknown_goes_to_another_with_the_same_key_and_its_reply_counts() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let first = bench.lent(ANA, WRITE);
    let second = one_job(&bench.unknown(&first));
    assert_eq!(second, Job { worker: SECOND, ..first });
    assert_eq!(bench.replies(&second, "done"), [to_client(ANA, "done")]);
    assert_eq!(bench.counters().redispatched, 1);
}

#[test]
fn a_request_whose_outcome_stays_unknown_is_asked_again_and_again_until_the_deadline() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let (mut effects, mut asked) = (bench.request(ANA, WRITE), 0);
    while refusals(&effects).is_empty() {
        if let Some(job) = jobs(&effects).pop() {
            asked += 1;
            assert!(!job.last_resort, "nobody said that it was not done");
            effects = bench.unknown(&job);
        } else {
            effects = bench.pass(50);
            for worker in [FIRST, SECOND] {
                bench.says(worker, &FromWorker::Beat);
            }
        }
    }
    assert_eq!(refusals(&effects), refusal(ANA, "unknown", true));
    assert_eq!(asked, 2 * 40, "both, every quarter of a second");
}

#[test]
fn after_unknown_and_elsewhere_a_request_is_served_as_things_stand_and_its_outcome_is_not_certain() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let first = bench.lent(ANA, WRITE);
    let second = one_job(&bench.unknown(&first));
    let third = one_job(&bench.elsewhere(&second));
    assert!(third.last_resort);
    bench.elsewhere(&third);
    for worker in [FIRST, SECOND] {
        bench.down(worker);
    }
    assert_eq!(refusals(&bench.pass(10_000)), refusal(ANA, "unknown", true));
}

#[test]
fn a_worker_that_died_after_answering_what_it_was_given_later_did_not_die_of_it() {
    let workers = [FIRST, SECOND, THIRD, ConnectionId(104)];
    let mut bench = Bench::with_workers(&workers);
    let mut waits = bench.lent(ANA, WRITE);
    for _ in 0..3 {
        let later: Vec<_> = workers.iter().map(|_| bench.lent(BIA, READ)).collect();
        assert!(later.iter().any(|job| job.worker == waits.worker));
        for job in later {
            bench.replies(&job, "reply");
        }
        waits = one_job(&bench.down(waits.worker));
    }
    assert_eq!(bench.replies(&waits, "at last"), [to_client(ANA, "at last")]);
    assert_eq!(bench.counters().poisoned, 0);
}
