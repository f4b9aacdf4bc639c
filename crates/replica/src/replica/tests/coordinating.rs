//! What `coordination` decides, on its way to disks, links and proxies. Who leads, and when, its own tests see to.

use super::*;
use crate::coordination::{Message, Role};
use crate::peer::{Hello, PEER_VERSION, PEER_VERSION_CHECK, PeerMessage};
use papo_protocol::codec::decode;
use papo_protocol::publication::PublicationKind;
use papo_protocol::reference::{Claim, ClaimAnswer, ReferenceAnswer};

/// Lets time pass until this host claims, and says what.
fn claimed(world: &mut World, host: usize) -> Claim {
    for _ in 0..100 {
        world.pass(100);
        let asked = std::mem::take(&mut world.hosts[host].asked);
        if let Some(claim) = asked.into_iter().find_map(|call| match call {
            ReferenceCall::Claim(claim) => Some(claim),
            _ => None,
        }) {
            return claim;
        }
    }
    panic!("{host} does not claim: {:?}", world.hosts[host].replica.leadership());
}

fn grant(world: &mut World, host: usize) -> Epoch {
    let claim = claimed(world, host);
    let epoch = claim.seen.next(claim.boot).unwrap();
    world.input(host, Input::Reference(ReferenceAnswer::Claimed(ClaimAnswer::Granted(epoch))));
    epoch
}

fn announcements(world: &World, host: usize) -> Vec<&(String, Bytes, PublicationMeta)> {
    let publications = world.hosts[host].publications.iter();
    publications.filter(|(_, _, meta)| meta.kind == PublicationKind::Servers).collect()
}

#[test]
fn g04_d03_an_epoch_is_on_the_disk_before_it_is_announced_and_obeyed() {
    let mut world = World::cluster(3);
    world.hosts[2].disk = Disk::Stalls;
    let epoch = grant(&mut world, 2);
    world.run();
    assert_eq!(world.hosts[2].epochs, [epoch]);
    assert_eq!(announcements(&world, 2), Vec::<&_>::new());
    assert_eq!(world.hosts[2].replica.leadership().epoch, Epoch::default());

    world.hosts[2].disk = Disk::Works;
    world.run();
    let announced = announcements(&world, 2);
    let [(topic, body, _)] = announced.as_slice() else { panic!("{announced:?}") };
    assert_eq!(topic, "servers");
    let (_, body) = decode(body, &LIMITS).unwrap();
    let data = body.get("data").unwrap();
    assert_eq!(data.get("coordinator").unwrap().to_text().as_deref(), Some("server-3"));
    assert_eq!(data.get("rank").unwrap().to_u64(), Some(3));
    assert_eq!(data.get("epoch").unwrap().to_u64(), Some(epoch.number));
    for host in &world.hosts {
        let leadership = host.replica.leadership();
        assert_eq!((leadership.epoch, leadership.coordinator), (epoch, Some(&name(3))));
    }
}

#[test]
fn an_announcement_has_an_identity_of_its_own_epoch() {
    let identity = |number: u64| {
        let mut world = World::of([settings(1)].into_iter());
        let claim = claimed(&mut world, 0);
        let epoch = Epoch { number, boot: claim.boot };
        world.input(0, Input::Reference(ReferenceAnswer::Claimed(ClaimAnswer::Granted(epoch))));
        world.run();
        let announced = announcements(&world, 0);
        announced.first().unwrap().2.identity
    };
    assert_eq!(identity(4), identity(4));
    assert_ne!(identity(4), identity(5));
}

#[test]
fn an_epoch_goes_to_the_disk_with_the_next_batch() {
    let mut world = World::linked(1);
    world.ask(0, "login", &[("user", "ana")]);
    world.hosts[0].disk = Disk::Stalls;
    world.send_from(0, direct(2), request("channel", GERAL, 0));
    let epoch = grant(&mut world, 0);
    world.send_from(0, direct(3), request("login", &[("user", "bia")], 0));
    assert_eq!(world.hosts[0].epochs, [], "a batch is under way");
    world.hosts[0].disk = Disk::Works;
    world.run();
    assert_eq!(world.hosts[0].epochs, [epoch]);
    assert_eq!(world.hosts[0].batch_sizes, [1, 1, 1]);
}

#[test]
fn on_a_full_disk_an_epoch_is_tried_again_once_in_a_while_and_nobody_leads() {
    let mut world = World::linked(1);
    world.hosts[0].disk = Disk::Full;
    let epoch = grant(&mut world, 0);
    world.run();
    world.pass(10_000);
    let tried = world.hosts[0].epochs.len();
    assert!((5..=12).contains(&tried), "tried {tried} times in ten seconds");
    assert_ne!(world.hosts[0].replica.leadership().role, Role::Leading);
    let claims = |world: &World| {
        world.hosts[0].asked.iter().filter(|call| matches!(call, ReferenceCall::Claim(_))).count()
    };
    assert_eq!(claims(&world), 0, "who cannot store an epoch claims none");
    world.hosts[0].disk = Disk::Works;
    world.pass(3000);
    assert_eq!(world.hosts[0].replica.leadership().epoch, epoch);
    assert!(claims(&world) > 0);
}

#[test]
fn a_restart_goes_on_from_the_epoch_that_was_stored() {
    let epoch = Epoch { number: 7, boot: Boot(1) };
    let history = History::new(MemoryArchive::default(), RECENT_BYTES_MAX);
    let now = Now { monotonic: Duration::from_secs(5), unix: UnixMillis(START) };
    let stored = Stored { epoch, ..Stored::default() };
    let replica = Replica::open(settings(1), history, stored, now).unwrap();
    assert_eq!(replica.leadership().epoch, epoch);
    assert_eq!(replica.leadership().coordinator, None);
}

/// A peer that the test plays, on a link that it opened.
fn greet(world: &mut World, version: u8, epoch: Option<Epoch>) -> PeerLink {
    let link = PeerLink(300 + u64::from(version));
    let cluster_id = "default/papo".to_owned();
    let hello = Hello { version, name: name(3), cluster_id, boot: Boot(9), history: None, epoch };
    world.input(0, Input::PeerMessage { link, bytes: PeerMessage::Hello(hello).encode() });
    link
}

#[test]
fn a_server_of_an_older_version_is_told_nothing_of_who_leads_and_is_not_reached() {
    for (version, epoch, reached) in
        [(PEER_VERSION_CHECK, None, 2), (PEER_VERSION, Some(Epoch::default()), 3)]
    {
        let mut world = World::of((1..=2).map(|number| member(number, 3)));
        world.link_all();
        let link = greet(&mut world, version, epoch);
        let mut effects = Vec::new();
        let mut told = 0;
        let mut claim = None;
        for _ in 0..60 {
            world.now.monotonic += Duration::from_millis(50);
            // It goes on talking.
            let chatter =
                PeerMessage::Have { have: VersionVector::default(), shown: VersionVector::default() };
            let input = Input::PeerMessage { link, bytes: chatter.encode() };
            world.hosts[0].replica.handle(world.now, input, &mut effects);
            world.hosts[0].replica.tick(world.now, &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::ToPeer { link: to, bytes } if to == link => {
                        let about = PeerMessage::decode(&bytes).unwrap();
                        told += usize::from(matches!(about, PeerMessage::Coordination(_)));
                    }
                    Effect::AskReference(ReferenceCall::Claim(asked)) => claim = claim.or(Some(asked)),
                    _ => {}
                }
            }
        }
        assert_eq!(told > 0, version == PEER_VERSION, "version {version} was told {told} times");
        let claim = claim.unwrap_or_else(|| panic!("version {version}"));
        assert!(claim.reached <= reached, "version {version}: {claim:?}");
    }
}

#[test]
fn a_beat_under_the_epoch_of_another_boot_is_obeyed_by_nobody() {
    let mut world = World::of((1..=2).map(|number| member(number, 3)));
    world.link_all();
    let stolen = Epoch { number: 5, boot: Boot(1234) };
    let link = greet(&mut world, PEER_VERSION, Some(stolen));
    world.run();
    let beat = PeerMessage::Coordination(Message::Lead { epoch: stolen }).encode();
    world.input(0, Input::PeerMessage { link, bytes: beat });
    world.run();
    let leadership = world.hosts[0].replica.leadership();
    assert_eq!((leadership.epoch, leadership.coordinator), (stolen, None));
}

#[test]
fn a_stopping_coordinator_resigns_before_it_goes() {
    let mut world = World::cluster(3);
    let epoch = grant(&mut world, 2);
    world.run();
    assert!(!world.hosts[2].replica.has_left_office());
    world.hosts[2].asked.clear();
    world.input(2, Input::Drain);
    let [ReferenceCall::Resign(resign)] = world.hosts[2].asked.as_slice() else {
        panic!("{:?}", world.hosts[2].asked)
    };
    assert_eq!((&resign.name, resign.epoch), (&name(3), epoch));
    world.input(2, Input::Reference(ReferenceAnswer::Reported(epoch)));
    world.run();
    let next = grant(&mut world, 1);
    world.run();
    assert!(next > epoch);
    assert!(world.hosts[2].replica.has_left_office());
    assert_eq!(world.hosts[0].replica.leadership().coordinator, Some(&name(2)));
}
