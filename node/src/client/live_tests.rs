use super::super::test_server::{Dialect, TestServer};
use super::super::{Link, SharedClock};
use super::*;

fn listen(server: &TestServer) -> (LiveStream, mpsc::Receiver<Publication>) {
    LiveStream::open(vec![server.proxy.clone()], SharedClock::default(), Seen::default())
}

/// Publishes until the subscription has arrived, each time as another message, and returns what came.
async fn publish_until_heard(
    server: &TestServer,
    messages: &mut mpsc::Receiver<Publication>,
    topic: &str,
    text: &str,
    first_id: u128,
) -> Publication {
    for id in first_id.. {
        server.publish(topic, "ana", text, id);
        if let Ok(publication) = timeout(Duration::from_millis(20), messages.recv()).await {
            return publication.unwrap();
        }
    }
    unreachable!()
}

#[tokio::test]
async fn d02_only_topics_that_were_named_exactly_come() {
    let server = TestServer::start(Dialect::Foreign).await;
    let (live, mut messages) = listen(&server);
    live.follow("ana");
    publish_until_heard(&server, &mut messages, "ana", "para ana", 1).await;
    server.publish("anabela", "bia", "para anabela", 0);
    server.publish("ana", "bia", "fim", 0);
    loop {
        let publication = messages.recv().await.unwrap();
        assert_eq!(publication.topic, "ana");
        if publication.message.message == "fim" {
            break;
        }
    }
}

#[tokio::test]
async fn a_message_that_comes_twice_is_heard_once() {
    let server = TestServer::start(Dialect::Papo).await;
    let (live, mut messages) = listen(&server);
    live.follow("geral");
    publish_until_heard(&server, &mut messages, "geral", "pronta?", 1000).await;
    for (text, id) in [("um", 1), ("um", 1), ("dois", 2)] {
        server.publish("geral", "bia", text, id);
    }
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "dois") {
        texts.push(messages.recv().await.unwrap().message.message);
    }
    texts.retain(|text| text != "pronta?");
    assert_eq!(texts, ["um", "dois"]);
}

#[tokio::test]
async fn a_stream_comes_back_by_itself_with_its_topics() {
    let server = TestServer::start(Dialect::Papo).await;
    let (live, mut messages) = listen(&server);
    let mut link = live.link();
    live.follow("geral");
    live.follow("dev");
    live.unfollow("dev");
    publish_until_heard(&server, &mut messages, "geral", "antes", 1000).await;
    let stopped = server.stop().await;
    link.wait_for(|link| *link == Link::Lost).await.unwrap();
    let server = stopped.start().await;
    link.wait_for(|link| *link == Link::Up { connection: 2 }).await.unwrap();
    loop {
        let publication = publish_until_heard(&server, &mut messages, "geral", "depois", 2000).await;
        assert_eq!(publication.topic, "geral");
        if publication.message.message == "depois" {
            break;
        }
    }
}

#[tokio::test]
async fn when_its_proxy_dies_a_stream_goes_on_at_another() {
    let first = TestServer::start(Dialect::Papo).await;
    let second = first.start_beside().await;
    let proxies = vec![first.proxy.clone(), second.proxy.clone()];
    let (live, mut messages) = LiveStream::open(proxies, SharedClock::default(), Seen::default());
    let mut link = live.link();
    live.follow("geral");
    publish_until_heard(&first, &mut messages, "geral", "antes", 1000).await;
    drop(first.stop().await);
    // Nobody is told of a loss: the other is there at once.
    while *link.borrow_and_update() != (Link::Up { connection: 2 }) {
        assert_ne!(*link.borrow(), Link::Lost);
        link.changed().await.unwrap();
    }
    let publication = publish_until_heard(&second, &mut messages, "geral", "depois", 2000).await;
    assert_eq!(publication.message.message, "depois");
}
