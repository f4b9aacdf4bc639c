//! Foreign REP workers behind the broker: they echo envelopes, serve in order, wedge, and do not recognise a repeated key.

use super::*;

fn with_foreign(workers: &[ConnectionId]) -> Bench {
    let mut bench = Bench::with_workers(&[]);
    for worker in workers {
        bench.foreign(*worker);
    }
    bench
}

#[test]
fn a02_a_foreign_worker_gets_key_delimiter_and_body_and_echoes_them() {
    let mut bench = with_foreign(&[FIRST]);
    let effects = bench.request(ANA, WRITE);
    let key = RequestKey { boot: BOOT, counter: 1 };
    let frames = vec![Bytes::copy_from_slice(&key.to_bytes()), Bytes::new(), WRITE.into()];
    assert_eq!(effects, [DispatchEffect::ToWorker { worker: FIRST, frames }]);
    assert_eq!(bench.echoes(&one_job(&effects), "reply"), [to_client(ANA, "reply")]);
}

#[test]
fn foreign_workers_are_used_only_while_no_papo_worker_is_registered() {
    let mut bench = with_foreign(&[FIRST]);
    assert_eq!(bench.lent(ANA, READ).worker, FIRST);
    bench.papo(SECOND, 1);
    assert_eq!(bench.lent(ANA, READ).worker, SECOND);
    assert_eq!(bench.request(ANA, READ), [], "not even when the papo workers are full");
    let effects = bench.down(SECOND);
    assert!(jobs(&effects).iter().all(|job| job.worker == FIRST));
    assert_eq!(jobs(&effects).len(), 2);
}

#[test]
fn a_foreign_worker_gets_sixteen_at_once() {
    let mut bench = with_foreign(&[FIRST]);
    let jobs: Vec<_> = (0..16).map(|_| bench.lent(ANA, READ)).collect();
    assert_eq!(bench.request(ANA, READ), []);
    assert_eq!(bench.echoes(&jobs[0], "reply").len(), 2, "the answer, and the request that waited");
}

#[test]
fn a_write_that_a_foreign_worker_took_is_never_given_to_another() {
    let mut bench = with_foreign(&[FIRST, SECOND]);
    bench.lent(ANA, WRITE);
    assert_eq!(refusals(&bench.pass(3000)), refusal(ANA, "unknown", true));
    let job = bench.lent(ANA, WRITE);
    let effects = bench.down(job.worker);
    assert_eq!((refusals(&effects), jobs(&effects).len()), (refusal(ANA, "unknown", true), 0));
    assert_eq!(bench.counters().foreign_writes_lost, 2);
}

#[test]
fn what_is_no_known_read_counts_as_a_write() {
    for body in [
        r#"{"service":"lista_tudo","data":{}}"#,
        "not even a request",
        r#"{"service":"login","data":{"user":"ana"}}"#,
    ] {
        let mut bench = with_foreign(&[FIRST, SECOND]);
        bench.lent(ANA, body);
        assert_eq!(refusals(&bench.pass(3000)), refusal(ANA, "unknown", true), "{body}");
    }
}

#[test]
fn a_read_that_a_foreign_worker_lost_goes_to_another() {
    let mut bench = with_foreign(&[FIRST, SECOND]);
    let job = bench.lent(ANA, READ);
    assert_eq!(one_job(&bench.pass(3000)), Job { worker: SECOND, ..job.clone() });
    assert_eq!(
        one_job(&bench.papo(THIRD, 1).into_iter().chain(bench.down(SECOND)).collect::<Vec<_>>()).worker,
        THIRD
    );
}

#[test]
fn a_foreign_worker_that_missed_a_deadline_gets_nothing_until_it_answers() {
    let mut bench = with_foreign(&[FIRST]);
    let wedged = bench.lent(ANA, WRITE);
    bench.pass(3000);
    assert_eq!(bench.dispatch.ready_workers(), 0);
    assert_eq!(bench.request(BIA, READ), []);
    let effects = bench.echoes(&wedged, "too late");
    assert_eq!(jobs(&effects).len(), 1);
    assert_eq!((bench.counters().late_replies, bench.dispatch.ready_workers()), (1, 1));
}

#[test]
fn what_a_foreign_worker_skipped_takes_no_room_for_ever() {
    let mut bench = with_foreign(&[FIRST]);
    for _ in 0..3 {
        let skipped: Vec<_> = (0..15).map(|_| bench.lent(ANA, WRITE)).collect();
        assert_eq!(skipped.len(), 15);
        let answered = bench.lent(ANA, WRITE);
        bench.pass(3000);
        bench.echoes(&answered, "only this one");
    }
    assert_eq!(bench.dispatch.ready_workers(), 1);
    assert_eq!(bench.lent(ANA, WRITE).worker, FIRST);
}

#[test]
fn malformed_messages_of_foreign_workers_are_counted_and_harm_nothing() {
    let mut bench = with_foreign(&[FIRST]);
    let job = bench.lent(ANA, READ);
    let key = Bytes::copy_from_slice(&job.key.to_bytes());
    let messages: [Vec<Bytes>; 5] =
        [vec![], vec!["READY".into()], vec![key.clone(), Bytes::new()], vec![key, "x".into(), "y".into()], {
            FromWorker::Reply { key: job.key, cookie: Cookie::default(), body: "forged".into() }.to_frames()
        }];
    for frames in messages {
        assert_eq!(bench.input(DispatchInput::WorkerMessage { worker: FIRST, frames }), []);
    }
    assert_eq!(bench.counters().malformed_worker_messages, 5);
    assert_eq!(bench.echoes(&job, "reply"), [to_client(ANA, "reply")]);
}
