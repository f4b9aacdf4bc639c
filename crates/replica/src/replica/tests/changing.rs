//! Any order of writes, messages, disks and crashes while servers join and leave.

use super::interleaving::{Chaos, Step, posts, step};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// There are four servers, of which one to four are wanted.
const SERVERS: usize = 4;

#[derive(Debug, Clone)]
enum Event {
    Step(Step),
    /// The settings, as they are by now, reach a server.
    Tell {
        host: usize,
    },
    /// So many servers are wanted: whoever writes the settings takes the next step, if it may.
    Operate {
        wanted: usize,
    },
    /// All goes well for a while, but for one server, whom nobody hears.
    Calm {
        without: usize,
        milliseconds: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => step(SERVERS).prop_map(Event::Step),
        4 => (0..SERVERS).prop_map(|host| Event::Tell { host }),
        3 => (1..=SERVERS).prop_map(|wanted| Event::Operate { wanted }),
        3 => (0..=SERVERS, prop::sample::select(vec![10_u64, 1500]))
            .prop_map(|(without, milliseconds)| Event::Calm { without, milliseconds }),
    ]
}

/// Who writes the settings, by the rules of docs/adr/0007.
struct Operator {
    file: Membership,
    /// Whether the leaver has been told a second time, when every member had heard of it.
    is_handing_over: bool,
}

impl Operator {
    fn has_it(&self, chaos: &Chaos, server: &ServerName) -> bool {
        let host = chaos.world.hosts.get(number_of(server) - 1).unwrap();
        host.replica.membership().generation == self.file.generation
    }

    /// Takes the next step, if the servers are where it needs them.
    fn operate(&mut self, chaos: &mut Chaos, wanted: usize) {
        let Membership { generation, mut members, mut joining, mut leaving } = self.file.clone();
        if !members.iter().all(|server| self.has_it(chaos, server)) {
            return;
        }
        let replica = |chaos: &Chaos, server: &ServerName| {
            let now = chaos.world.now;
            let replica = &chaos.world.hosts[number_of(server) - 1].replica;
            (replica.is_in_sync(now), replica.is_released())
        };
        if let Some(server) = joining.first().cloned() {
            if !self.has_it(chaos, &server) || !replica(chaos, &server).0 {
                return;
            }
            members.push(server);
            joining.clear();
        } else if let Some(server) = leaving.first().cloned() {
            if self.is_handing_over {
                if !self.has_it(chaos, &server) || !replica(chaos, &server).1 {
                    return;
                }
                leaving.clear();
                chaos.part(number_of(&server) - 1);
            }
            self.is_handing_over = !self.is_handing_over;
        } else if members.len() < wanted {
            let server = name(members.len() + 1);
            joining.push(server);
        } else if members.len() > wanted {
            leaving.extend(members.pop());
        } else {
            return;
        }
        self.file = Membership { generation: generation + 1, members, joining, leaving };
        if let Some(server) = self.file.joining.first() {
            chaos.arrive(number_of(server) - 1, &self.file);
        }
    }
}

fn number_of(server: &ServerName) -> usize {
    server.as_str().rsplit_once('-').unwrap().1.parse().unwrap()
}

impl Chaos {
    /// Three members, and a fourth server that is not there yet.
    fn with_a_fourth() -> Self {
        let mut chaos = Self::new();
        let fourth = ReplicaSettings { membership: members_up_to(3), ..settings(SERVERS) };
        chaos.world.hosts.push(Host::new(fourth, chaos.world.now));
        chaos.files.push(members_up_to(3));
        chaos.away.insert(SERVERS - 1);
        chaos
    }

    /// Nobody hears this server any more, nor does it hear anybody.
    fn part(&mut self, host: usize) {
        self.away.insert(host);
        for other in (0..SERVERS).filter(|other| *other != host) {
            self.relink(host, other);
        }
    }

    /// A server starts with an empty disk, and these settings.
    fn arrive(&mut self, host: usize, file: &Membership) {
        self.away.remove(&host);
        self.files[host] = file.clone();
        self.world.hosts[host].stored.clear();
        self.world.hosts[host].stored_shown = VersionVector::default();
        self.crash(host);
    }

    fn calm(&mut self, without: usize, milliseconds: u64) {
        for other in 0..self.world.hosts.len() {
            self.world.cut(without, other);
        }
        self.world.pass(milliseconds);
        self.world.cut.clear();
        self.look();
    }

    fn tell(&mut self, host: usize, file: &Membership) {
        if !self.away.contains(&host) && self.files[host] != *file {
            self.files[host] = file.clone();
            self.world.input(host, Input::Members(file.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn invariant_1_what_was_acknowledged_outlives_changes_of_the_members_and_the_loss_of_a_minority(
        events in prop::collection::vec(event(), 0..250),
        lost in any::<prop::sample::Index>(),
    ) {
        let mut chaos = Chaos::with_a_fourth();
        let mut operator = Operator { file: members_up_to(3), is_handing_over: false };
        let mut was_alone = false;
        for event in &events {
            match event {
                Event::Step(Step::Write { host, .. } | Step::Disk { host }) if chaos.away.contains(host) => {}
                Event::Step(step) => chaos.take(step),
                Event::Tell { host } => chaos.tell(*host, &operator.file),
                Event::Operate { wanted } => operator.operate(&mut chaos, *wanted),
                Event::Calm { without, milliseconds } => chaos.calm(*without, *milliseconds),
            }
            was_alone |= operator.file.members.len() == 1;
            for (host, file) in chaos.world.hosts.iter().zip(&chaos.files) {
                prop_assert_eq!(host.replica.membership(), file);
            }
        }
        // A minority dies for good (but where one disk was enough for a while, its loss is more than was promised), and whoever
        // does not count as well. The others hear of the membership, and talk.
        let members: Vec<usize> = operator.file.members.iter().map(|server| number_of(server) - 1).collect();
        let lost = (members.len() > 2 && !was_alone).then(|| members[lost.index(members.len())]);
        let survivors: Vec<usize> = members.into_iter().filter(|host| Some(*host) != lost).collect();
        for host in (0..SERVERS).filter(|host| !survivors.contains(host)) {
            chaos.part(host);
        }
        for host in &survivors {
            chaos.tell(*host, &operator.file);
            for other in survivors.iter().filter(|other| *other > host) {
                chaos.relink(*host, *other);
            }
        }
        chaos.world.pass(8000);
        chaos.look();
        for host in &survivors {
            let found: BTreeSet<String> = posts(&chaos, *host).into_iter().collect();
            prop_assert_eq!(found.len(), posts(&chaos, *host).len(), "invariant 2: no identity twice");
            prop_assert!(found.is_superset(&chaos.acknowledged), "{:?} of {:?}", found, &chaos.acknowledged);
        }
        let exports = survivors.iter().map(|host| chaos.world.hosts[*host].exports()).collect::<Vec<_>>();
        prop_assert!(exports.iter().all(|export| *export == exports[0]), "invariant 3");
    }
}
