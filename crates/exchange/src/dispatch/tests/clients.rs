//! Clients: unreadable messages, bounds, leaving early, and the end of the broker.

use super::*;

fn sent(bench: &mut Bench, frames: &[&'static str]) -> Vec<DispatchEffect> {
    let frames = frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect();
    bench.input(DispatchInput::ClientMessage { client: ANA, frames })
}

#[test]
fn unreadable_messages_are_answered_and_the_connection_lives() {
    let mut bench = Bench::with_workers(&[FIRST]);
    for frames in [&["", READ, READ][..], &[""], &[READ, READ]] {
        assert_eq!(refusals(&sent(&mut bench, frames)), refusal(ANA, "bad_request", false), "{frames:?}");
    }
    assert_eq!(sent(&mut bench, &[]), []);
    assert_eq!((bench.counters().bad_requests, bench.counters().ignored_client_messages), (3, 1));
    assert_eq!(bench.lent(ANA, READ).worker, FIRST);
}

#[test]
fn a_body_without_an_envelope_is_answered_without_one() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let job = one_job(&sent(&mut bench, &[READ]));
    let expected =
        DispatchEffect::ToClient { client: ANA, frames: vec!["reply".into()], after: Duration::ZERO };
    assert_eq!(bench.replies(&job, "reply"), [expected]);
}

#[test]
fn a_request_over_a_mebibyte_is_too_large() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let mut send = |bytes: usize| {
        let frames = vec![Bytes::new(), vec![b'{'; bytes].into()];
        bench.input(DispatchInput::ClientMessage { client: ANA, frames })
    };
    assert_eq!(jobs(&send(1 << 20)).len(), 1);
    assert_eq!(refusals(&send((1 << 20) + 1)), refusal(ANA, "too_large", false));
}

#[test]
fn one_connection_has_at_most_sixty_four_unanswered_requests() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let first = bench.lent(ANA, READ);
    for _ in 1..64 {
        bench.lent(ANA, READ);
    }
    assert_eq!(refusals(&bench.request(ANA, READ)), refusal(ANA, "no_server", true));
    bench.lent(BIA, READ);
    bench.replies(&first, "reply");
    bench.lent(ANA, READ);
    assert_eq!(bench.counters().client_overflows, 1);
}

#[test]
fn what_was_refused_counts_no_more_against_its_connection() {
    let mut bench = Bench::with_workers(&[]);
    for _ in 0..3 {
        let waiting: Vec<_> = (0..64).flat_map(|_| bench.request(ANA, READ)).collect();
        assert_eq!(waiting, []);
        assert_eq!(refusals(&bench.pass(10_000)).len(), 64);
    }
    assert_eq!(bench.counters().client_overflows, 0);
}

#[test]
fn the_waiting_queue_is_bounded_by_count_and_by_bytes() {
    let counted = DispatchSettings { waiting_max: 2, ..DispatchSettings::default() };
    let weighed = DispatchSettings { waiting_bytes_max: 2 * READ.len(), ..DispatchSettings::default() };
    let held = DispatchSettings { held_bytes_max: 2 * READ.len(), ..DispatchSettings::default() };
    for settings in [counted, weighed, held] {
        let mut bench = Bench::with(settings);
        bench.up(&[ANA, BIA]);
        assert_eq!((bench.request(ANA, READ), bench.request(ANA, READ)), (vec![], vec![]));
        assert_eq!(refusals(&bench.request(BIA, READ)), refusal(BIA, "no_server", true));
        assert_eq!((bench.counters().waiting_overflows, bench.dispatch.waiting()), (1, 2));
        assert_eq!(jobs(&bench.papo(FIRST, 10)).len(), 2);
    }
}

#[test]
fn the_waiting_requests_of_a_client_that_left_are_forgotten() {
    let mut bench = Bench::with_workers(&[]);
    bench.request(ANA, READ);
    bench.request(BIA, READ);
    bench.input(DispatchInput::ClientDown(ANA));
    assert_eq!((bench.dispatch.waiting(), bench.counters().abandoned), (1, 1));
    assert_eq!(jobs(&bench.papo(FIRST, 10)).len(), 1);
}

#[test]
fn what_a_worker_has_of_a_client_that_left_runs_on_and_is_not_repeated() {
    let mut bench = Bench::with_workers(&[FIRST, SECOND]);
    let [finished, lost] = [bench.lent(ANA, WRITE), bench.lent(ANA, WRITE)];
    bench.input(DispatchInput::ClientDown(ANA));
    assert_eq!(bench.dispatch.in_flight(), 2);
    assert_eq!(bench.replies(&finished, "to nobody"), []);
    assert_eq!(bench.down(lost.worker), []);
    assert_eq!((bench.counters().replies_without_client, bench.counters().abandoned), (1, 1));
    assert!(bench.dispatch.idle());
}

#[test]
fn draining_closes_each_connection_after_its_reply_and_the_idle_last() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let [one, two] = [bench.lent(ANA, READ), bench.lent(ANA, READ)];
    assert_eq!(bench.input(DispatchInput::Drain), []);
    assert_eq!(bench.replies(&one, "one"), [to_client(ANA, "one")], "another reply is to come");
    let close = |client| DispatchEffect::CloseClient { client };
    assert_eq!(bench.replies(&two, "two"), [to_client(ANA, "two"), close(ANA)]);
    assert_eq!(bench.request(ANA, READ), [], "the connection is being closed");
    let late = bench.lent(BIA, READ);
    assert_eq!(bench.input(DispatchInput::Drain), [], "nobody is idle");
    assert_eq!(bench.replies(&late, "served on"), [to_client(BIA, "served on"), close(BIA)]);
    bench.up(&[ConnectionId(3)]);
    assert_eq!(bench.input(DispatchInput::Drain), [close(ConnectionId(3))]);
    assert!(bench.dispatch.idle());
}

#[test]
fn each_answer_says_how_long_it_took() {
    let mut bench = Bench::with_workers(&[FIRST]);
    let job = bench.lent(ANA, READ);
    bench.lent(BIA, READ);
    bench.pass_beating(700, &[FIRST]);
    let mut effects = Vec::new();
    let reply = FromWorker::Reply { key: job.key, cookie: Cookie::default(), body: "reply".into() };
    let input = DispatchInput::WorkerMessage { worker: FIRST, frames: reply.to_frames() };
    bench.dispatch.handle(Now { monotonic: bench.now, unix: UnixMillis(0) }, input, &mut effects);
    bench.pass_beating(9_250, &[FIRST]);
    bench.now += Duration::from_millis(50);
    bench.dispatch.tick(Now { monotonic: bench.now, unix: UnixMillis(0) }, &mut effects);
    let times: Vec<_> = effects
        .into_iter()
        .filter_map(|effect| match effect {
            DispatchEffect::ToClient { client, after, .. } => Some((client, after)),
            _ => None,
        })
        .collect();
    assert_eq!(times, [(ANA, Duration::from_millis(700)), (BIA, Duration::from_secs(10))]);
}

#[test]
fn counters_are_given_by_name() {
    let mut bench = Bench::with_workers(&[FIRST]);
    bench.lent(ANA, READ);
    let named: std::collections::HashMap<_, _> = bench.counters().each().collect();
    assert_eq!((named["requests"], named["answered"]), (1, 0));
}
