//! Several cores, with a model of the reference service between them: time, links, disks and processes fail as a test wants.

mod interleaving;
mod reference;
mod scenarios;
mod world;
