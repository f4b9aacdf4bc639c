use super::super::test_server::{Dialect, TestServer};
use super::super::{Link, SharedClock, loopback};
use super::*;
use zeromq::{Endpoint, RepSocket};

async fn wait_for(link: &mut watch::Receiver<Link>, wanted: Link) {
    link.wait_for(|link| *link == wanted).await.unwrap();
}

#[tokio::test]
async fn e04_a_login_leaves_the_client_at_4() {
    let server = TestServer::start(Dialect::Foreign).await;
    let clock = SharedClock::default();
    let client = Client::open(vec![server.broker.clone()], clock.clone());
    client.write("login", &[("user", "ana")]).await.unwrap();
    assert_eq!(clock.now().get(), 4);
    assert_eq!(server.world().users, ["ana"]);
}

#[tokio::test]
async fn a_write_whose_reply_was_lost_is_repeated_with_its_id_and_done_once() {
    let server = TestServer::start(Dialect::Papo).await;
    let client = Client::open(vec![server.broker.clone()], SharedClock::default());
    client.write("channel", &[("channel", "geral")]).await.unwrap();
    server.world().cuts = 2;
    client.write("publish", &[("user", "ana"), ("channel", "geral"), ("message", "oi")]).await.unwrap();
    let world = server.world();
    assert_eq!(world.messages.len(), 1);
    let ids: Vec<_> =
        world.heard.iter().filter(|(service, _)| service == "publish").map(|(_, id)| *id).collect();
    assert_eq!(ids, [ids[0]; 3]);
    assert!(ids[0].is_some());
}

#[tokio::test]
async fn every_write_has_an_id_of_its_own_and_reads_have_none() {
    let server = TestServer::start(Dialect::Foreign).await;
    let client = Client::open(vec![server.broker.clone()], SharedClock::default());
    for _ in 0..2 {
        client.write("channel", &[("channel", "geral")]).await.unwrap();
    }
    let reply = client.read("channels", &[]).await.unwrap();
    assert_eq!(reply.names(&["channels", "users"]), ["geral"]);
    let world = server.world();
    let ids: Vec<_> = world.heard.iter().map(|(_, id)| *id).collect();
    assert!(ids[0].is_some() && ids[1].is_some() && ids[0] != ids[1]);
    assert_eq!(ids[2], None);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let server = TestServer::start(Dialect::Foreign).await;
    let client = Client::open(vec![server.broker.clone()], SharedClock::default());
    let error = client
        .write("publish", &[("user", "ana"), ("channel", "nada"), ("message", "oi")])
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "não existe: nada");
}

#[tokio::test]
async fn a_request_outlives_its_servers_restart() {
    let server = TestServer::start(Dialect::Foreign).await;
    let client = Client::open(vec![server.broker.clone()], SharedClock::default());
    let mut link = client.link();
    client.read("users", &[]).await.unwrap();
    wait_for(&mut link, Link::Up { connection: 1 }).await;
    let stopped = server.stop().await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.write("login", &[("user", "ana")]).await }
    });
    wait_for(&mut link, Link::Lost).await;
    let server = stopped.start().await;
    asking.await.unwrap().unwrap();
    assert_eq!(*link.borrow(), Link::Up { connection: 2 });
    assert_eq!(server.world().users, ["ana"]);
}

#[tokio::test]
async fn when_the_one_asked_dies_another_is_asked_and_nobody_is_alarmed() {
    let first = TestServer::start(Dialect::Papo).await;
    let second = first.start_beside().await;
    let client = Client::open(vec![first.broker.clone(), second.broker.clone()], SharedClock::default());
    let mut link = client.link();
    client.write("channel", &[("channel", "geral")]).await.unwrap();
    // Carried out, and cut off before the reply: the other is asked again under the same id, and does not do it twice.
    first.world().cuts = 1;
    let states = tokio::spawn(async move {
        let mut states = vec![*link.borrow_and_update()];
        while link.changed().await.is_ok() {
            states.push(*link.borrow_and_update());
        }
        states
    });
    client.write("publish", &[("user", "ana"), ("channel", "geral"), ("message", "oi")]).await.unwrap();
    drop(first.stop().await);
    client.write("publish", &[("user", "ana"), ("channel", "geral"), ("message", "tchau")]).await.unwrap();
    let texts: Vec<_> = second.world().messages.iter().map(|message| message.text.clone()).collect();
    assert_eq!(texts, ["oi", "tchau"]);
    drop(client);
    assert_eq!(states.await.unwrap(), [Link::Up { connection: 1 }, Link::Up { connection: 2 }]);
}

#[tokio::test]
async fn only_when_none_answers_the_link_is_lost() {
    let first = TestServer::start(Dialect::Papo).await;
    let second = first.start_beside().await;
    let client = Client::open(vec![first.broker.clone(), second.broker.clone()], SharedClock::default());
    let mut link = client.link();
    client.read("users", &[]).await.unwrap();
    drop(first.stop().await);
    let stopped = second.stop().await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.read("users", &[]).await }
    });
    wait_for(&mut link, Link::Lost).await;
    let _second = stopped.start().await;
    asking.await.unwrap().unwrap();
    assert_eq!(*link.borrow(), Link::Up { connection: 2 });
}

#[tokio::test]
async fn an_idle_client_notices_that_its_server_is_back() {
    let server = TestServer::start(Dialect::Foreign).await;
    let client = Client::open(vec![server.broker.clone()], SharedClock::default());
    let mut link = client.link();
    client.read("users", &[]).await.unwrap();
    let stopped = server.stop().await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.read("users", &[]).await }
    });
    wait_for(&mut link, Link::Lost).await;
    asking.abort();
    let _server = stopped.start().await;
    wait_for(&mut link, Link::Up { connection: 2 }).await;
}

#[tokio::test]
async fn a_late_reply_to_an_abandoned_request_answers_nothing() {
    let mut server = RepSocket::new();
    let port = match server.bind("tcp://127.0.0.1:0").await.unwrap() {
        Endpoint::Tcp(_, port) => port,
        other => panic!("bound to {other}"),
    };
    let client = Client::open(vec![loopback(port)], SharedClock::default());
    let ask = |service| {
        let client = client.clone();
        tokio::spawn(async move { client.read(service, &[]).await })
    };
    let reply = |user: &str| {
        let reply = format!(r#"{{"service": "x", "data": {{"users": ["{user}"]}}}}"#);
        ZmqMessage::from(Bytes::from(reply))
    };
    let abandoned = ask("users");
    server.recv().await.unwrap();
    abandoned.abort();
    // Whether it still finds the old connection or not, this reply is to nobody.
    let _ = server.send(reply("late")).await;
    let asking = ask("channels");
    // The cut connection may show as an error first.
    while server.recv().await.is_err() {}
    server.send(reply("in time")).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().names(&["users"]), ["in time"]);
}
