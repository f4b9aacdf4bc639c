//! Whole chats, as scripts against a tiny server.

use super::*;
use crate::client::test_server::{Dialect, Stopped, TestServer};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What was printed.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    /// The lines, with the time of day cut off messages.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest).to_owned()).collect()
    }

    fn count(&self, wanted: &str) -> usize {
        self.lines().iter().filter(|line| *line == wanted).count()
    }

    fn assert_has(&self, wanted: &str) {
        assert_eq!(self.count(wanted), 1, "one line `{wanted}` in {:#?}", self.lines());
    }
}

/// A person at work: a script that is typed while it runs.
struct Person {
    page: Page,
    typed: mpsc::Sender<String>,
    running: JoinHandle<Outcome>,
}

impl Person {
    fn enter(server: &TestServer, name: &str) -> Self {
        let options = ChatOptions {
            broker: vec![server.broker.clone()],
            proxy: vec![server.proxy.clone()],
            user: Some(name.to_owned()),
            ..ChatOptions::default()
        };
        let (typed, lines) = mpsc::channel(100);
        let page = Page::default();
        let output = Box::new(page.clone());
        let running = tokio::spawn(async move { script::run(&options, lines, output).await });
        Self { page, typed, running }
    }

    async fn types(&self, lines: &str) {
        for line in lines.lines() {
            self.typed.send(line.trim().to_owned()).await.unwrap();
        }
    }

    async fn ends(self) -> (Outcome, Page) {
        drop(self.typed);
        (self.running.await.unwrap(), self.page)
    }
}

#[tokio::test]
async fn l02_two_people_exchange_a_post_and_a_direct_message() {
    let server = TestServer::start(Dialect::Papo).await;
    let ana = Person::enter(&server, "ana");
    ana.types("/expect 20 #geral bia: oi ana\n/msg bia segredo\n/expect 20 @bia -> ana: guardado").await;
    let bia = Person::enter(&server, "bia");
    bia.types("/expect joined #geral\noi ana\n/expect 20 @ana -> bia: segredo\n/msg ana guardado").await;
    let (outcome, page) = ana.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    page.assert_has("* created #geral");
    page.assert_has("@ana -> bia: segredo");
    let (outcome, page) = bia.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    page.assert_has("@bia -> ana: guardado");
}

#[tokio::test]
async fn l01_channels_and_users_are_listed() {
    let server = TestServer::start(Dialect::Foreign).await;
    let person = Person::enter(&server, "alice");
    person.types("/create dev\n/channels\n/users\n/who\n/leave\n/who\n/help").await;
    let (outcome, page) = person.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    page.assert_has("* 2 channels: #geral (joined), #dev");
    page.assert_has("* 1 user: alice");
    page.assert_has("* left #geral");
    assert!(page.lines().iter().any(|line| line.contains("you are alice, in no channel")));
    assert!(page.lines().iter().any(|line| line.contains("/msg USER TEXT")));
}

#[tokio::test]
async fn a_foreign_server_is_never_asked_for_history() {
    // It would panic, as some foreign servers hang, on a service that it does not know.
    let server = TestServer::start(Dialect::Foreign).await;
    let ana = Person::enter(&server, "ana");
    ana.types("/expect joined #geral").await;
    let bia = Person::enter(&server, "bia");
    bia.types("/expect joined #geral\n/msg ana oi").await;
    let (outcome, page) = bia.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    page.assert_has("@bia -> ana: oi");
    assert_eq!(ana.ends().await.0, Outcome::Fine);
    assert!(server.world().heard.iter().all(|(service, _)| service != "history"));
}

#[tokio::test]
async fn joining_shows_the_latest_history_once() {
    let server = TestServer::start(Dialect::Papo).await;
    server.world().channels.push("geral".into());
    let stopped = server.stop().await;
    for id in 1..=30 {
        stopped.store("geral", "bia", &format!("mensagem {id}"), id);
    }
    let server = stopped.start().await;
    let ana = Person::enter(&server, "ana");
    ana.types("/expect mensagem 30\n/leave\n/join geral\n/history 2").await;
    let (outcome, page) = ana.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    assert_eq!(page.count("#geral bia: mensagem 10"), 0);
    page.assert_has("#geral bia: mensagem 11");
    page.assert_has("#geral bia: mensagem 28");
    assert_eq!(page.count("#geral bia: mensagem 30"), 2, "the second by /history");
}

/// Somebody who has said `oi` and lost the connection then; what is stored now is missed. When it is back the script goes on.
async fn cut_off(server: TestServer, when_back: &str) -> (Person, Stopped) {
    let ana = Person::enter(&server, "ana");
    ana.types(&format!("oi\n/expect #geral ana: oi\n/expect 20 again\n{when_back}")).await;
    while ana.page.count("#geral ana: oi") == 0 {
        tokio::task::yield_now().await;
    }
    let stopped = server.stop().await;
    while !ana.page.lines().iter().any(|line| line.starts_with("! no connection to the proxy")) {
        tokio::task::yield_now().await;
    }
    (ana, stopped)
}

#[tokio::test]
async fn what_was_missed_while_the_connection_was_lost_is_shown_afterwards() {
    let server = TestServer::start(Dialect::Papo).await;
    let (ana, stopped) = cut_off(server, "/expect 20 perdida").await;
    stopped.store("geral", "bia", "perdida", 77);
    let _server = stopped.start().await;
    let (outcome, page) = ana.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    page.assert_has("#geral bia: perdida");
    page.assert_has("#geral ana: oi");
}

#[tokio::test]
async fn a_history_is_read_on_page_after_page_however_much_was_missed() {
    let missed = 2 * catch_up::NEWEST;
    let server = TestServer::start(Dialect::Papo).await;
    let (ana, stopped) = cut_off(server, &format!("/expect 20 perdida {missed}.")).await;
    for number in 1..=missed {
        stopped.store("geral", "bia", &format!("perdida {number}."), 1000 + number as u128);
    }
    stopped.world().page = 7;
    let _server = stopped.start().await;
    let (outcome, page) = ana.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    let shown: Vec<_> = page.lines().into_iter().filter(|line| line.contains("perdida")).collect();
    let expected: Vec<_> = (1..=missed).map(|number| format!("#geral bia: perdida {number}.")).collect();
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn joining_again_hides_nothing_that_was_missed() {
    let missed = 2 * catch_up::NEWEST;
    let server = TestServer::start(Dialect::Papo).await;
    let (ana, stopped) = cut_off(server, &format!("/join geral\n/expect 20 perdida {missed}.")).await;
    for number in 1..=missed {
        stopped.store("geral", "bia", &format!("perdida {number}."), 1000 + number as u128);
    }
    let _server = stopped.start().await;
    let (outcome, page) = ana.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    assert_eq!(page.lines().iter().filter(|line| line.contains("perdida")).count(), missed);
}

#[tokio::test]
async fn a_cursor_that_is_refused_is_forgotten_and_nothing_is_shown_again() {
    let server = TestServer::start(Dialect::Papo).await;
    let (ana, stopped) = cut_off(server, "/expect 20 outra vida").await;
    stopped.world().epoch += 1;
    stopped.store("geral", "bia", "outra vida", 77);
    let _server = stopped.start().await;
    let (outcome, page) = ana.ends().await;
    assert_eq!(outcome, Outcome::Fine, "{:#?}", page.lines());
    page.assert_has("#geral bia: outra vida");
    page.assert_has("#geral ana: oi");
}

#[tokio::test]
async fn a_script_exits_with_what_became_of_it() {
    let server = TestServer::start(Dialect::Foreign).await;
    for (lines, outcome) in [
        ("", Outcome::Fine),
        ("/quit\n/dance", Outcome::Fine),
        ("/dance\n/who", Outcome::Failed),
        ("/msg nobody oi", Outcome::Failed),
        ("/leave nowhere", Outcome::Failed),
        ("/history", Outcome::Failed),
        ("/sleep 0\n/expect 0.01 nothing like this\n/quit", Outcome::Failed),
    ] {
        let person = Person::enter(&server, "ana");
        person.types(lines).await;
        let (ended, page) = person.ends().await;
        assert_eq!(ended, outcome, "{lines}: {:#?}", page.lines());
    }
}

#[tokio::test]
async fn a_script_without_a_good_name_is_wrong_use() {
    for user in [None, Some(" "), Some("servers")] {
        let options = ChatOptions { user: user.map(str::to_owned), ..ChatOptions::default() };
        let page = Page::default();
        let outcome = script::run(&options, mpsc::channel(1).1, Box::new(page.clone())).await;
        assert_eq!(outcome, Outcome::Usage);
        assert_eq!(page.lines().len(), 1);
    }
}

#[test]
fn flags_win_over_the_environment() {
    let variables =
        [("SERVER_URL", "tcp://server-1:5555"), ("PAPO_PROXY", "proxy:5558"), ("USERNAME", "root")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (environment, _) = papo_settings::read_environment(variables.into_iter()).unwrap();
    let plain = ChatOptions::default().or_environment(&environment);
    assert_eq!(plain.asked().0, "the server at server-1:5555");
    assert_eq!(plain.heard().0, "the proxy at proxy:5558 (live messages)");
    assert_eq!((plain.user, plain.suggested_user.as_deref()), (None, Some("root")));
    let flag = ChatOptions { broker: vec!["broker:1".parse().unwrap()], ..ChatOptions::default() };
    assert_eq!(flag.or_environment(&environment).asked().0, "the broker at broker:1");
}
