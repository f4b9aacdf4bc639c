//! Invariant 9: bytes from any socket can only give an error. Every reader is fed arbitrary bytes and broken messages.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test")]

use papo_protocol::reference::{Claim, ReferenceCall, Registration, Resign};
use papo_protocol::{Boot, Epoch, Limits, ServerName};
use proptest::prelude::*;

/// A valid request with some bytes changed, cut or added.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let requests = [
        &b"\x82\xa7service\xa5login\xa4data\x82\xa4user\xa5alice\xa9timestamp\xce\x49\x96\x02\xd2"[..],
        br#"{"service":"publish","data":{"user":"ana","channel":"geral","message":"oi"},"clock":3}"#,
        br#"{"service":"history","data":{"channel":"geral","papo_cursor":"AQID","limit":10}}"#,
        b"\x83\xa7service\xa7message\xa4data\x83\xa3src\xa3ana\xa3dst\xa3bob\xa7message\xa2oi\xa5clock\xcd\x01\x00",
        b"\x82\xa7service\xa4rank\xa4data\x82\xa4user\xa8server-1\xa4port\xcd\x15\xb3",
        br#"{"service":"claim","data":{"user":"server-1","boot":"00000000000000ab","seen":{"number":7,"boot":"00000000000000ac"},"reached":2}}"#,
        br#"{"service":"claim","data":{"claim":"held","epoch":{"number":7,"boot":"00000000000000ac"},"holder":"server-1"}}"#,
    ];
    let request = prop::sample::select(requests.map(<[u8]>::to_vec).to_vec());
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (request, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut bytes, changes, end, cut)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        },
    )
}

/// One of each kind whose replies are read differently.
fn calls() -> [ReferenceCall; 4] {
    let name = ServerName::new("server-1").unwrap();
    let registration = Registration { name: name.clone(), address: None, port: None };
    [
        ReferenceCall::Rank(registration),
        ReferenceCall::List,
        ReferenceCall::Claim(Claim { name: name.clone(), boot: Boot(1), seen: Epoch::default(), reached: 1 }),
        ReferenceCall::Resign(Resign { name, epoch: Epoch::default() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_bytes_panic(bytes in prop_oneof![mutated(), prop::collection::vec(any::<u8>(), 0..100)]) {
        let _ = papo_protocol::request::read_request(&bytes, &Limits::REQUEST);
        let _ = papo_protocol::reference::read_reference_request(&bytes, &Limits::REQUEST);
        for call in calls() {
            let _ = papo_protocol::reference::read_reference_answer(&call, &bytes, &Limits::REQUEST);
        }
        let _ = papo_protocol::client::read_publication(&bytes, &Limits::REQUEST);
        let _ = papo_protocol::publication::foreign_body_is_public(&bytes, &Limits::REQUEST);
        let _ = papo_protocol::publication::PublicationMeta::from_bytes(&bytes);
        if let Ok(reply) = papo_protocol::client::read_reply(&bytes, &Limits::REQUEST) {
            let _ = reply.messages();
            let _ = reply.names(&["users"]);
            let _ = papo_protocol::reference::read_rank(&reply.data);
            let _ = papo_protocol::reference::read_list(&reply.data);
        }
    }
}
