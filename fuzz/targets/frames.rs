//! What papo's own processes and clients read from each other's frames: the worker link, third frames, publications, replies.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use papo_protocol::client::{read_publication, read_reply};
use papo_protocol::codec::{Encoding, Limits, decode};
use papo_protocol::publication::{PublicationMeta, foreign_body_is_public, publication_in_json};
use papo_protocol::reference::{
    Claim, ReferenceCall, Registration, Resign, read_list, read_rank, read_reference_answer,
};
use papo_protocol::worker_link::{COOKIE_BYTES_MAX, FromWorker, ToWorker};
use papo_protocol::{Boot, Epoch, ServerName};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// After the version, these.
    Link(u8, Vec<&'a [u8]>),
    Frames(Vec<&'a [u8]>),
    Body(&'a [u8]),
}

fn frames(frames: Vec<&[u8]>) -> Vec<Bytes> {
    frames.into_iter().map(Bytes::copy_from_slice).collect()
}

/// One of each kind whose replies are read differently.
fn calls() -> [ReferenceCall; 4] {
    let name = ServerName::new("server-1").expect("a name");
    let registration = Registration { name: name.clone(), address: None, port: None };
    [
        ReferenceCall::Rank(registration),
        ReferenceCall::List,
        ReferenceCall::Claim(Claim { name: name.clone(), boot: Boot(1), seen: Epoch::default(), reached: 1 }),
        ReferenceCall::Resign(Resign { name, epoch: Epoch::default() }),
    ]
}

fn check_link(frames: &[Bytes]) {
    if let Some(message) = FromWorker::from_frames(frames) {
        assert_eq!(message.to_frames(), frames);
        if let FromWorker::Reply { cookie, .. } = message {
            assert!(cookie.as_bytes().len() <= COOKIE_BYTES_MAX);
        }
    }
    if let Some(message) = ToWorker::from_frames(frames) {
        assert_eq!(message.to_frames(), frames);
    }
}

/// What a subscriber that reads JSON only gets is JSON that it can read, or what came.
fn check_json(body: &[u8]) {
    let body = Bytes::copy_from_slice(body);
    let written = publication_in_json(&body, &Limits::REQUEST);
    if written != body {
        let unbounded = Limits { bytes: usize::MAX, ..Limits::REQUEST };
        let (encoding, value) = decode(&written, &unbounded).expect("readable");
        assert!(encoding == Encoding::Json && value.as_map().is_some());
    }
}

fuzz_target!(|input: Input| {
    match input {
        Input::Link(kind, rest) => {
            let mut all = vec![Bytes::copy_from_slice(&[1, kind])];
            all.extend(frames(rest));
            check_link(&all);
        }
        Input::Frames(all) => check_link(&frames(all)),
        Input::Body(body) => {
            if let Some(meta) = PublicationMeta::from_bytes(body) {
                assert_eq!(&meta.to_bytes()[..], body);
            }
            let _ = foreign_body_is_public(body, &Limits::REQUEST);
            check_json(body);
            let _ = read_publication(body, &Limits::REQUEST);
            for call in calls() {
                let _ = read_reference_answer(&call, body, &Limits::REPLY);
            }
            if let Ok(reply) = read_reply(body, &Limits::REPLY) {
                let _ = reply.messages();
                let _ = reply.names(&["users", "channels"]);
                let _ = read_rank(&reply.data);
                let _ = read_list(&reply.data);
            }
        }
    }
});
