//! The operations held, by writer: of each a record of fixed size, found by its [`Place`]. Lists and tables of operations hold
//! places, which are four bytes. No record is ever removed or moved.

use crate::heading::Heading;
use crate::vector::Writer;
use papo_protocol::lamport::Lamport;
use papo_protocol::time::UnixMillis;
use papo_protocol::{Boot, Dot, Identity, ServerName};
use std::collections::BTreeMap;

/// Where the record of an operation is, in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place(u32);

impl Place {
    /// Memory ends long before four billion records, each of them [`ENTRY_BYTES`].
    #[expect(clippy::expect_used, reason = "they would be 200 GiB")]
    fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("a history has fewer than 2^32 operations"))
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an operation does, and the numbers of the names by which it is found (see [`crate::state::State`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Login { user: u32 },
    CreateChannel { channel: u32 },
    Publish { channel: u32 },
    Message { src: u32, dst: u32 },
}

/// One operation. A million of them are to fit a small container: what is small shares a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) identity: Identity,
    pub(crate) at: UnixMillis,
    /// From the lowest bit: the Lamport value (54), the subject's variant (2), whether it is hidden (1).
    packed: u64,
    /// The subject's names; the second only of a message.
    names: [u32; 2],
    writer: u32,
    seq: u32,
}

const VARIANT_SHIFT: u32 = 54;
const HIDDEN: u64 = 1 << 56;
/// What a million operations cost follows from it, see docs/adr/0006.
const ENTRY_BYTES: usize = 48;

const _: () = assert!(Lamport::MAX.get() < 1 << VARIANT_SHIFT);
const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);

impl Entry {
    pub(crate) fn lamport(&self) -> Lamport {
        Lamport::new(self.packed & ((1 << VARIANT_SHIFT) - 1)).unwrap_or(Lamport::MAX)
    }

    pub(crate) fn seq(&self) -> u64 {
        u64::from(self.seq)
    }

    /// Which of the writers wrote it.
    pub(crate) fn writer(&self) -> u32 {
        self.writer
    }

    pub(crate) fn subject(&self) -> Subject {
        let [first, second] = self.names;
        match (self.packed >> VARIANT_SHIFT) & 3 {
            0 => Subject::Login { user: first },
            1 => Subject::CreateChannel { channel: first },
            2 => Subject::Publish { channel: first },
            _ => Subject::Message { src: first, dst: second },
        }
    }

    /// Whether another operation stands for its identity.
    pub(crate) fn is_hidden(&self) -> bool {
        self.packed & HIDDEN != 0
    }
}

/// Its place in the total order.
pub(crate) type OrderKey<'a> = (Lamport, &'a ServerName, Boot, u64);

/// What one writer wrote: the first operation at index 0.
#[derive(Debug)]
struct Log {
    writer: Writer,
    places: Vec<Place>,
}

/// All records.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    list: Vec<Entry>,
    logs: Vec<Log>,
    /// Indexes of `logs`.
    numbers: BTreeMap<Writer, u32>,
}

impl Entries {
    /// Adds the next operation of a writer.
    pub(super) fn add(&mut self, heading: &Heading<'_>, subject: Subject) -> Place {
        let place = Place::of(self.list.len());
        let writer = self.number(heading.writer);
        let (variant, names) = match subject {
            Subject::Login { user } => (0, [user, 0]),
            Subject::CreateChannel { channel } => (1, [channel, 0]),
            Subject::Publish { channel } => (2, [channel, 0]),
            Subject::Message { src, dst } => (3, [src, dst]),
        };
        let log = self.log_mut(writer);
        log.places.push(place);
        // Gapless from 1, so no more than there are places.
        let seq = u32::try_from(log.places.len()).unwrap_or(u32::MAX);
        self.list.push(Entry {
            identity: heading.identity,
            at: heading.at,
            packed: heading.lamport.min(Lamport::MAX).get() | (variant << VARIANT_SHIFT),
            names,
            writer,
            seq,
        });
        place
    }

    fn number(&mut self, writer: &Writer) -> u32 {
        if let Some(number) = self.numbers.get(writer) {
            return *number;
        }
        let Place(number) = Place::of(self.logs.len());
        self.logs.push(Log { writer: writer.clone(), places: Vec::new() });
        self.numbers.insert(writer.clone(), number);
        number
    }

    #[expect(clippy::indexing_slicing, reason = "a writer has a number only if it has a log")]
    fn log_mut(&mut self, number: u32) -> &mut Log {
        &mut self.logs[number as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "a place is made only with its entry, and none is removed")]
    pub(super) fn get(&self, place: Place) -> &Entry {
        &self.list[place.index()]
    }

    /// Hides an operation, or shows it again.
    #[expect(clippy::indexing_slicing, reason = "as above")]
    pub(super) fn set_hidden(&mut self, place: Place, hidden: bool) {
        let entry = &mut self.list[place.index()];
        entry.packed = if hidden { entry.packed | HIDDEN } else { entry.packed & !HIDDEN };
    }

    /// The writer of this number.
    #[expect(clippy::indexing_slicing, reason = "as above")]
    pub(super) fn writer(&self, number: u32) -> &Writer {
        &self.logs[number as usize].writer
    }

    /// What a writer wrote, in its order.
    pub(super) fn log(&self, writer: &Writer) -> &[Place] {
        let number = self.numbers.get(writer);
        number.and_then(|number| self.logs.get(*number as usize)).map_or(&[], |log| log.places.as_slice())
    }

    /// All of it, by origin and boot.
    pub(super) fn logs(&self) -> impl Iterator<Item = (&Writer, &[Place])> {
        self.numbers.values().filter_map(|number| {
            let log = self.logs.get(*number as usize)?;
            Some((&log.writer, log.places.as_slice()))
        })
    }

    /// What one server wrote, by boot.
    pub(super) fn logs_of(&self, origin: &ServerName) -> impl Iterator<Item = (&Writer, &[Place])> {
        let first = Writer { origin: origin.clone(), boot: Boot(0) };
        let last = Writer { origin: origin.clone(), boot: Boot(u64::MAX) };
        self.numbers.range(first..=last).filter_map(|(_, number)| {
            let log = self.logs.get(*number as usize)?;
            Some((&log.writer, log.places.as_slice()))
        })
    }

    pub(super) fn order_key(&self, place: Place) -> OrderKey<'_> {
        let entry = self.get(place);
        let writer = self.writer(entry.writer);
        (entry.lamport(), &writer.origin, writer.boot, entry.seq())
    }

    pub(super) fn dot(&self, place: Place) -> Dot {
        let entry = self.get(place);
        let writer = self.writer(entry.writer);
        Dot { origin: writer.origin.clone(), boot: writer.boot, seq: entry.seq() }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}
