use super::*;
use crate::client::test_server::{Dialect, TestServer};
use std::collections::BTreeSet;

fn plan(messages: u64) -> Plan {
    let spec = BotsSpec { message_milliseconds: 0, ..BotsSpec::default() };
    Plan { name: None, spec, pause: Some(Duration::ZERO), messages: Some(messages) }
}

#[tokio::test]
async fn j01_a_bot_enters_creates_channels_and_writes_rounds_of_ten() {
    let server = TestServer::start(Dialect::Foreign).await;
    chat(vec![server.broker.clone()], vec![server.proxy.clone()], plan(25)).await;
    let world = server.world();
    let [user] = world.users.as_slice() else { panic!("{:?}", world.users) };
    let number: u32 = user.strip_prefix("user").unwrap().parse().unwrap();
    assert!((1000..10_000).contains(&number));
    let channels: BTreeSet<_> = world.channels.iter().map(String::as_str).collect();
    assert!(channels.is_superset(&BTreeSet::from(["geral", "tech", "random"])));
    assert_eq!(channels.len(), 5, "one more in each round while there are fewer than five");
    let texts: Vec<_> = world.messages.iter().map(|message| message.text.clone()).collect();
    let expected: Vec<_> = (1..=25).map(|number| format!("auto-msg {number} de {user}")).collect();
    assert_eq!(texts, expected);
    for round in world.messages.chunks(10) {
        assert!(round.iter().all(|message| message.topic == round[0].topic), "a round stays in one channel");
    }
}

#[tokio::test]
async fn a_bot_goes_on_after_its_server_was_away() {
    let server = TestServer::start(Dialect::Papo).await;
    server.world().cuts = 3;
    chat(vec![server.broker.clone()], vec![server.proxy.clone()], plan(3)).await;
    assert_eq!(server.world().messages.len(), 3);
}
