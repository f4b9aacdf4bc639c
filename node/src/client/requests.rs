//! The asking side: one REQ socket, one request at a time, each repeated until it is answered or its deadline has passed. Where there
//! are several to ask, such as the brokers of a cluster, the next one is asked when one fails.
//!
//! A repeated write carries the same `papo_id`, so papo's servers do it once. A foreign server knows no such thing and may do
//! it twice; the alternative, not to repeat, would lose it.

use super::link::{Link, LinkReport, SharedClock};
use super::rotation::Rotation;
use super::{
    BACKOFF_MIN, CONNECT_TIMEOUT, MESSAGE_LIMITS, REPLY_TIMEOUT, REQUEST_DEADLINE, endpoint, longer,
    loopback, now,
};
use bytes::Bytes;
use papo_protocol::Encoding;
use papo_protocol::client::{Failure, ReadReply, read_reply, write_request};
use papo_protocol::codec::DecodeError;
use papo_settings::{Address, ports};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use zeromq::{ReqSocket, Socket as _, SocketOptions, SocketRecv as _, SocketSend as _, ZmqError, ZmqMessage};

/// Requests that may wait for the socket.
const QUEUE: usize = 64;

/// Pause before a refused request that asks to be repeated is repeated.
const REPEAT_PAUSE: Duration = Duration::from_millis(500);

/// Why a request has no good reply.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The server understood and refused.
    #[error("{}", .0.text)]
    Refused(Failure),
    /// Nobody answered before the deadline.
    #[error("no answer from {address}")]
    NoAnswer {
        /// Who was asked last.
        address: Address,
        /// What went wrong then.
        source: AttemptError,
    },
    /// Something answered that does not speak this protocol.
    #[error("{address} answered with something that is no reply")]
    Unreadable {
        /// Who was asked.
        address: Address,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The client's task is gone: the program is ending.
    #[error("the connection is closed")]
    Closed,
}

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// Not connected.
    #[error("cannot connect")]
    Connect(#[source] ZmqError),
    /// The connection failed between request and reply.
    #[error("the connection failed")]
    Exchange(#[source] ZmqError),
    /// Connected, but no reply came in time.
    #[error("no reply within {} s", REPLY_TIMEOUT.as_secs())]
    Silent,
}

/// A request's effect, which decides whether it carries an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Read,
    Write([u8; 16]),
}

enum Body {
    /// Written anew at each attempt, with the clock of that moment.
    Fields { fields: Vec<(&'static str, String)>, effect: Effect },
    /// Sent as it is.
    Whole(Bytes),
}

struct Question {
    service: &'static str,
    body: Body,
    deadline: Instant,
}

struct Job {
    question: Question,
    answer: oneshot::Sender<Result<ReadReply, RequestError>>,
}

/// A handle to the task that owns the REQ socket. Clones share it; the task ends with the last of them.
#[derive(Debug, Clone)]
pub struct Client {
    jobs: mpsc::Sender<Job>,
    link: watch::Receiver<Link>,
}

impl Client {
    /// Starts the task, which connects with the first request: to the first of the addresses (without any, to this computer's broker),
    /// and to the next when one fails.
    #[must_use]
    pub fn open(addresses: Vec<Address>, clock: SharedClock) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (report, link) = LinkReport::new();
        let addresses = Rotation::new(addresses, loopback(ports::BROKER_CLIENTS));
        tokio::spawn(Asker { addresses, clock, report, socket: None }.run(queue));
        Self { jobs, link }
    }

    /// How the socket stands with its peers, as far as requests have shown: lost when none of them answers.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Asks for something that changes nothing.
    ///
    /// # Errors
    /// [`RequestError`]; [`REQUEST_DEADLINE`] bounds the wait.
    pub async fn read(
        &self,
        service: &'static str,
        fields: &[(&'static str, &str)],
    ) -> Result<ReadReply, RequestError> {
        self.ask(service, fields, Effect::Read).await
    }

    /// Asks for a change, under a fresh random id that every repetition carries.
    ///
    /// # Errors
    /// [`RequestError`]; [`REQUEST_DEADLINE`] bounds the wait.
    pub async fn write(
        &self,
        service: &'static str,
        fields: &[(&'static str, &str)],
    ) -> Result<ReadReply, RequestError> {
        self.ask(service, fields, Effect::Write(rand::random())).await
    }

    async fn ask(
        &self,
        service: &'static str,
        fields: &[(&'static str, &str)],
        effect: Effect,
    ) -> Result<ReadReply, RequestError> {
        let fields = fields.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        self.ask_body(service, Body::Fields { fields, effect }).await
    }

    /// Sends a request that somebody else wrote, whole. When it changes something it is to carry a `papo_id`, since it is repeated.
    ///
    /// # Errors
    /// [`RequestError`]; [`REQUEST_DEADLINE`] bounds the wait.
    pub async fn send_whole(&self, service: &'static str, request: Bytes) -> Result<ReadReply, RequestError> {
        self.ask_body(service, Body::Whole(request)).await
    }

    async fn ask_body(&self, service: &'static str, body: Body) -> Result<ReadReply, RequestError> {
        let (answer, reply) = oneshot::channel();
        let question = Question { service, body, deadline: Instant::now() + REQUEST_DEADLINE };
        self.jobs.send(Job { question, answer }).await.map_err(|_| RequestError::Closed)?;
        reply.await.unwrap_or(Err(RequestError::Closed))
    }
}

/// The task: owns the socket, and throws it away after every failure, so that a late reply never answers the next request.
struct Asker {
    addresses: Rotation,
    clock: SharedClock,
    report: LinkReport,
    socket: Option<ReqSocket>,
}

impl Asker {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        loop {
            let job = tokio::select! {
                job = queue.recv() => job,
                () = self.reconnect(), if self.report.is_lost() => continue,
            };
            let Some(Job { question, mut answer }) = job else { return };
            let result = tokio::select! {
                result = self.serve(&question) => Some(result),
                () = answer.closed() => None,
            };
            match result {
                // Whoever asked may have stopped waiting just now: then nobody takes the reply.
                Some(result) => drop(answer.send(result)),
                // Cancelled half-way: the socket may hold half a request, or wait for a reply that nobody wants.
                None => self.socket = None,
            }
        }
    }

    /// Without anything to ask, finds out when a peer is back, so that people can be told.
    async fn reconnect(&mut self) {
        let mut pause = BACKOFF_MIN;
        loop {
            sleep(pause).await;
            match self.connected().await {
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(address = %self.addresses.current(), %error, "still not connected");
                }
            }
            if self.addresses.failed() {
                pause = longer(pause);
            }
        }
    }

    async fn serve(&mut self, question: &Question) -> Result<ReadReply, RequestError> {
        let mut pause = BACKOFF_MIN;
        loop {
            let failed = match self.attempt(question).await {
                Ok(bytes) => match self.read(&bytes) {
                    Ok(reply) => match reply.failure.clone() {
                        Some(failure)
                            if failure.retry && Instant::now() + REPEAT_PAUSE < question.deadline =>
                        {
                            None
                        }
                        Some(failure) => return Err(RequestError::Refused(failure)),
                        None => return Ok(reply),
                    },
                    Err(source) => {
                        let address = self.addresses.current().clone();
                        return Err(RequestError::Unreadable { address, source });
                    }
                },
                Err(source) => Some(source),
            };
            let Some(source) = failed else {
                sleep(REPEAT_PAUSE).await;
                continue;
            };
            let address = self.addresses.current().clone();
            tracing::debug!(%address, service = question.service, error = %source, "attempt failed");
            self.socket = None;
            let all_failed = self.addresses.failed();
            // A connection that failed may just have grown stale; whether the peer is gone, the next one shows.
            if all_failed && !matches!(source, AttemptError::Exchange(_)) {
                self.report.lost();
            }
            if Instant::now() + pause >= question.deadline {
                return Err(RequestError::NoAnswer { address, source });
            }
            sleep(pause).await;
            if all_failed {
                pause = longer(pause);
            }
        }
    }

    async fn attempt(&mut self, question: &Question) -> Result<Bytes, AttemptError> {
        let clock = self.clock.clone();
        let socket = self.connected().await?;
        let request = match &question.body {
            Body::Whole(request) => request.clone(),
            Body::Fields { fields, effect } => {
                let fields: Vec<_> = fields.iter().map(|(key, value)| (*key, value.as_str())).collect();
                let id = match effect {
                    Effect::Read => None,
                    Effect::Write(id) => Some(*id),
                };
                let sent = clock.on_send();
                write_request(question.service, &fields, id, sent, now(), Encoding::MessagePack)
            }
        };
        let exchange = async {
            socket.send(ZmqMessage::from(request)).await?;
            socket.recv().await
        };
        let left = question.deadline.saturating_duration_since(Instant::now());
        match timeout(REPLY_TIMEOUT.min(left), exchange).await {
            Ok(Ok(message)) => {
                self.addresses.served();
                Ok(message.into_vec().into_iter().next().unwrap_or_default())
            }
            Ok(Err(error)) => Err(AttemptError::Exchange(error)),
            Err(_) => Err(AttemptError::Silent),
        }
    }

    /// The socket, connected first if there is none.
    async fn connected(&mut self) -> Result<&mut ReqSocket, AttemptError> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let mut options = SocketOptions::default();
                options.connect_timeout(CONNECT_TIMEOUT);
                let mut socket = ReqSocket::with_options(options);
                socket.connect(&endpoint(self.addresses.current())).await.map_err(AttemptError::Connect)?;
                self.report.up();
                socket
            }
        };
        Ok(self.socket.insert(socket))
    }

    fn read(&self, bytes: &[u8]) -> Result<ReadReply, DecodeError> {
        let reply = read_reply(bytes, &MESSAGE_LIMITS)?;
        self.clock.on_receive(reply.clock);
        Ok(reply)
    }
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
