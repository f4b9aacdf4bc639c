//! Looking at the world: whether the servers agree, whether it has come to rest, and what came of it.

use super::{
    AGREED_SOON, AGREED_WITHIN, ASKED_UNTIL, HAND_OVER_SOON, HEARD_WITHIN, LOOK_EVERY, Outcome, PAGES_MAX,
    REST_WITHIN, World,
};
use crate::checker::{Invariant, LOOKS_TO_SPREAD, Look};
use crate::hosts::broker::Broker;
use crate::hosts::client::Client;
use crate::hosts::proxy::Proxy;
use crate::hosts::server::Server;
use crate::hosts::walk::PAGE;
use crate::node::Node;
use crate::plan::EVENTS_MIN;
use crate::queue::Event;
use crate::shared::number_of;
use papo_protocol::client::{read_reply, write_request};
use papo_protocol::{ChannelName, Encoding, Lamport, Limits};
use papo_replica::{Durability, OpKind, Replica, Role};

/// So many looks have one that compares exports, in a long world, and one that looks at servers that show what they showed.
const THOROUGHLY_EVERY: u64 = 8;
const ANYHOW_EVERY: u64 = 4;

impl World {
    /// Compares the servers, and looks whether the world has come to rest.
    pub(super) fn look(&mut self) {
        self.looks += 1;
        self.shared.queue.at(self.shared.now + LOOK_EVERY, Event::Look);
        let now = self.shared.now;
        for (number, server) in self.servers.iter().enumerate() {
            if let Some((boot, replica)) = server.last_boot().zip(server.replica()) {
                let look = if self.plan.long && self.looks.is_multiple_of(THOROUGHLY_EVERY) {
                    Look::Thorough
                } else if self.looks.is_multiple_of(ANYHOW_EVERY) {
                    Look::Anyhow
                } else {
                    Look::IfChanged
                };
                self.shared.checker.on_state(now, (number, boot), replica.history(), look);
            }
        }
        self.check_spread();
        self.operate();
        self.compare_clocks();
        let in_sync = self.are_equal() && self.is_settled();
        if in_sync {
            self.harm.all_in_sync();
        }
        let Some(healed_at) = self.healed_at else { return };
        let [asked_until, heard_within] = [ASKED_UNTIL, HEARD_WITHIN]
            .map(|[long, short]| healed_at + if self.plan.long { long } else { short });
        if now >= asked_until {
            for client in &mut self.clients {
                client.stopped = true;
            }
        }
        if self.agree() {
            if !self.agreed && now >= healed_at + AGREED_SOON {
                self.shared.count("agreed_late");
            }
            self.agreed = true;
        } else if now >= healed_at + AGREED_WITHIN {
            let views: Vec<String> = self.members().map(Server::view).collect();
            self.shared.violate(Invariant::Leads, || format!("no agreement: {}", views.join("; ")));
        } else {
            self.agreed = false;
        }
        let unsettled = self.clients.iter().find(|client| !client.is_settled());
        let settled = in_sync && unsettled.is_none() && self.agreed;
        let enough = !self.plan.fill || self.events >= EVENTS_MIN;
        if settled && now >= heard_within {
            self.rested = enough;
        } else if now >= healed_at + REST_WITHIN {
            let text = if !self.is_settled() {
                format!("{} members do not become {}", self.shared.membership.members.len(), self.wanted)
            } else {
                unsettled.map_or_else(|| "the servers do not become equal".to_owned(), Client::waits_for)
            };
            self.shared.violate(Invariant::Converges, || text);
        }
    }

    /// Whether what one server shows is shown by those that hear it.
    fn check_spread(&mut self) {
        let now = self.shared.now;
        let servers = || self.servers.iter().enumerate();
        for (number, server) in servers() {
            if let Some((boot, replica)) = server.last_boot().zip(server.replica()) {
                self.shared.checker.note_shown(number, boot, replica.history());
            }
        }
        let ago = LOOK_EVERY * (LOOKS_TO_SPREAD as u64 + 1);
        for (from, boot) in servers().filter_map(|(number, server)| Some((number, server.last_boot()?))) {
            for (to, replica) in servers().filter_map(|(number, server)| Some((number, server.replica()?))) {
                let Some(late) = self.shared.checker.late((from, boot), to, replica.history()) else {
                    continue;
                };
                let quick = self.shared.quick_since(Node::server(from), Node::server(to));
                if quick.is_some_and(|since| since + ago < now) {
                    self.shared.violate(Invariant::Spreads, || late);
                }
            }
        }
    }

    /// Compares the clocks of those whose calendars are honest.
    fn compare_clocks(&mut self) {
        let shared = &self.shared;
        let honest =
            self.servers.iter().enumerate().filter(|(number, _)| !shared.lies(Node::server(*number)));
        let clocks: Vec<_> = honest
            .filter_map(|(number, server)| {
                let now = shared.clock(Node::server(number)).monotonic;
                Some((number, server.replica()?.clock(now)))
            })
            .collect();
        let now = self.shared.now;
        // A server that is stopped or away hears of no round.
        if self.healed_at.is_none() {
            self.shared.checker.times.on_disturbed();
        }
        if self.shared.checker.on_clocks(now, &clocks) {
            self.shared.count("clocks_compared");
        }
    }

    /// Whether all servers obey one coordinator, and it is the best where that takes over soon.
    fn agree(&self) -> bool {
        let mut views = self.members().map(|server| server.replica().map(Replica::leadership));
        let Some(Some(first)) = views.next() else { return false };
        let Some(coordinator) = first.coordinator.and_then(number_of) else { return false };
        let leads = self.servers.get(coordinator).and_then(Server::replica).map(Replica::leadership);
        let best =
            if self.shared.lowest_leads { 0 } else { self.shared.membership.members.len().saturating_sub(1) };
        leads.is_some_and(|view| view.role == Role::Leading)
            && views.all(|view| {
                view.is_some_and(|view| (view.epoch, view.coordinator) == (first.epoch, first.coordinator))
            })
            && (self.hand_over != HAND_OVER_SOON || coordinator == best)
    }

    /// The servers that count. They have the first numbers.
    fn members(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().take(self.shared.membership.members.len())
    }

    /// Whether all servers run, hold the same, and show all of it.
    fn are_equal(&self) -> bool {
        let mut histories = self.members().map(|server| server.replica().map(Replica::history));
        let Some(Some(first)) = histories.next() else { return false };
        let vector = first.vector();
        *first.shown() == vector
            && histories.all(|history| {
                history.is_some_and(|history| history.vector() == vector && *history.shown() == vector)
            })
    }

    pub(super) fn finish(mut self) -> Outcome {
        let now = self.shared.now;
        if self.shared.checker.violation.is_none() {
            for (number, server) in self.servers.iter().enumerate() {
                if let Some((boot, replica)) = server.last_boot().zip(server.replica()) {
                    self.shared.checker.on_state(now, (number, boot), replica.history(), Look::Thorough);
                }
            }
            // All show the same vector, and so the same, or it would have been seen.
            if let Some(replica) = self.servers.first().and_then(Server::replica) {
                self.shared.checker.on_end(now, 0, replica.history());
            }
        }
        if self.shared.checker.violation.is_none() {
            self.finish_walks();
        }
        self.cover();
        self.shared.trace.number(self.events);
        Outcome {
            violation: self.shared.checker.violation.take(),
            events: self.events,
            ended_at: now,
            hash: self.shared.trace.hash(),
            faults: self.faults,
            coverage: self.shared.coverage,
            lines: self.shared.trace.into_lines(),
        }
    }

    /// Every reader goes on to the end, at any server: it has then read all there is, and nothing twice.
    fn finish_walks(&mut self) {
        // A cursor that covers what harm took away waits for it for ever.
        if self.shared.checker.may_have_lost() {
            return;
        }
        let mut turn = 0;
        for client in &self.clients {
            for (channel, walk) in client.walks() {
                let mut walk = walk.clone();
                for _ in 0..PAGES_MAX {
                    let cursor = walk.cursor.clone().unwrap_or_default();
                    let fields = [("channel", channel.as_str()), ("papo_cursor", &cursor), ("limit", PAGE)];
                    let at = self.shared.clock(Node::client(0)).unix;
                    let body = write_request(
                        "history",
                        &fields,
                        None,
                        Lamport::default(),
                        at,
                        Encoding::MessagePack,
                    );
                    turn += 1;
                    let count = self.shared.membership.members.len().max(1);
                    let Some(server) = self.servers.get_mut(turn % count) else { return };
                    let reply = server.ask(&self.shared, body);
                    match reply.as_deref().map(|body| read_reply(body, &Limits::REPLY)) {
                        Some(Ok(reply)) if reply.failure.is_none() => {
                            walk.on_page(&mut self.shared, "a reader", &reply);
                        }
                        other => {
                            let text = format!("a cursor of {channel} is answered {other:?}");
                            self.shared.violate(Invariant::Converges, || text);
                            return;
                        }
                    }
                    if !walk.more {
                        break;
                    }
                }
                let Ok(name) = ChannelName::new(channel) else { continue };
                let Some(replica) = self.servers.first().and_then(Server::replica) else { continue };
                let missed = replica.history().posts(&name).find_map(|op| match &op.kind {
                    OpKind::Publish { message, .. } if !walk.texts.contains(message) => Some(message.clone()),
                    _ => None,
                });
                if let Some(text) = missed {
                    self.shared.violate(Invariant::Lasting, || {
                        format!("{channel} was read to its end by cursor, and never {text}")
                    });
                }
            }
        }
    }

    /// What the minds that still live have counted.
    fn cover(&mut self) {
        let mut add = |name: &'static str, count: u64| {
            if count > 0 {
                *self.shared.coverage.entry(name).or_default() += count;
            }
        };
        add(if self.plan.members > 3 { "worlds_of_5_servers" } else { "worlds_of_3_servers" }, 1);
        add(
            match self.durability {
                Durability::Local => "worlds_of_durability_local",
                Durability::Majority => "worlds_of_durability_majority",
                Durability::All => "worlds_of_durability_all",
            },
            1,
        );
        for replica in self.servers.iter().filter_map(Server::replica) {
            replica.counters().each().into_iter().for_each(|(name, count)| add(name, count));
            add("twins_hidden", replica.history().hidden() as u64);
        }
        for dispatch in self.brokers.iter().filter_map(Broker::dispatch) {
            dispatch.counters().each().for_each(|(name, count)| add(name, count));
        }
        for routing in self.proxies.iter().filter_map(Proxy::routing) {
            routing.counters().each().for_each(|(name, count)| add(name, count));
        }
    }
}
