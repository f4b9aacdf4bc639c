//! A client's request, as server, broker and reference service read it, and the refusal that each can write for it: one that its
//! client can read, in its own encoding, and in whose bytes nothing looks like a success.

#![no_main]

use libfuzzer_sys::fuzz_target;
use papo_protocol::client::read_reply;
use papo_protocol::codec::{Encoding, Limits};
use papo_protocol::reference::{
    ReferenceCall, ReferenceReply, read_reference_request, write_reference_reply, write_reference_request,
};
use papo_protocol::reply::{Code, Compat, Refusal, Reply, write_refusal_for, write_reply};
use papo_protocol::request::{ReplyStyle, read_request};
use papo_protocol::time::UnixMillis;

const AT: UnixMillis = UnixMillis(1_795_263_551_000);

fn check_refusal(bytes: &[u8], encoding: Encoding, code: Code) {
    assert_eq!(Encoding::detect(bytes), encoding);
    let reply = read_reply(bytes, &Limits::REPLY).expect("a client can read it");
    let failure = reply.failure.expect("it says that it is a refusal");
    assert_eq!(failure.code.as_deref(), Some(code.as_str()));
    assert!(!bytes.windows(2).any(|window| window == b"OK"), "{bytes:?}");
    assert!(!bytes.windows(7).any(|window| window.eq_ignore_ascii_case(b"sucesso")), "{bytes:?}");
}

fn check_style(style: &ReplyStyle, request: &[u8], refusal: Option<Refusal>) {
    assert_eq!(style.encoding, Encoding::detect(request));
    let code = refusal.as_ref().map(|refusal| refusal.code);
    let reply = refusal.map_or(Reply::Pong, Reply::Refused);
    let written = write_reply(style, &reply, Default::default(), AT, Compat::default());
    match code {
        Some(code) => check_refusal(&written, style.encoding, code),
        None => assert_eq!(read_reply(&written, &Limits::REPLY).expect("readable").failure, None),
    }
}

/// What was read is written so that it is read again as the same.
fn check_call(call: &ReferenceCall) {
    let written = write_reference_request(call, Default::default(), AT);
    let read = read_reference_request(&written, &Limits::REQUEST).expect("readable");
    assert_eq!(read.call, *call);
}

fuzz_target!(|request: &[u8]| {
    match read_request(request, &Limits::REQUEST) {
        Ok(good) => check_style(&good.style, request, None),
        Err(bad) => check_style(&bad.style, request, Some(bad.refusal)),
    }
    match read_reference_request(request, &Limits::REQUEST) {
        Ok(good) => {
            let reply = write_reference_reply(&good.style, &ReferenceReply::Rank(3), good.clock, AT);
            assert_eq!(read_reply(&reply, &Limits::REPLY).expect("readable").failure, None);
            check_call(&good.call);
        }
        Err(bad) => check_style(&bad.style, request, Some(bad.refusal)),
    }
    let refusal = Refusal { code: Code::NoServer, text: "no server".to_owned(), retry: true };
    check_refusal(&write_refusal_for(request, &refusal, AT), Encoding::detect(request), Code::NoServer);
});
