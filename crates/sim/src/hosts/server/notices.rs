//! What a server's mind did by itself: elections and rounds, for the checker and the counts of rare paths.

use crate::node::Node;
use crate::shared::Shared;
use papo_protocol::Boot;
use papo_protocol::reference::ClaimRefusal;
use papo_replica::{ElectionOutcome, Notice, RoundOutcome};

/// What the mind did by itself, for the checker.
pub(super) fn on_notice(shared: &mut Shared, node: Node, boot: Boot, notice: &Notice) {
    shared.trace.line(shared.now, || format!("{node}: {notice:?}"));
    let (now, server) = (shared.now, node.number);
    match notice {
        Notice::ElectionBegun { .. } => shared.checker.on_election(now, server, boot),
        Notice::ElectionEnded { outcome, .. } => {
            shared.checker.on_election_ended(boot);
            shared.count(match outcome {
                ElectionOutcome::Won => "elections_won",
                ElectionOutcome::Lost => "elections_lost",
                ElectionOutcome::Failed => "elections_failed",
            });
            if *outcome == ElectionOutcome::Failed {
                shared.checker.epochs.on_failed(now, server);
            }
        }
        Notice::ElectionTakenOver { .. } => {
            shared.count("elections_taken_over");
            shared.checker.epochs.on_answered(boot);
        }
        Notice::ClaimRefused { why, .. } => shared.count(match why {
            ClaimRefusal::Superseded => "claims_superseded",
            ClaimRefusal::Held => "claims_held",
            ClaimRefusal::TooSoon => "claims_too_soon",
            ClaimRefusal::Jump => "claims_jump",
        }),
        Notice::Deposed { .. } => shared.count("deposed"),
        Notice::HandsOver { .. } => {
            shared.count("handed_over");
            shared.checker.epochs.on_handing_over(now);
        }
        Notice::HandOverFailed { .. } => {
            shared.count("hand_over_failed");
            shared.checker.epochs.on_handing_over(now);
        }
        Notice::RoundHeld(report) => {
            let with_all = report.adjustments.len() == shared.membership.all().count();
            shared.checker.times.on_round(now, boot, with_all);
            shared.count(match report.outcome {
                RoundOutcome::Adjusted => "rounds_adjusted",
                RoundOutcome::Withheld => "rounds_withheld",
                RoundOutcome::Disagreed => "rounds_disagreed",
                RoundOutcome::Abandoned => "rounds_abandoned",
            });
        }
        Notice::CoordinatorSuspected { .. }
        | Notice::NobodyAnswered
        | Notice::Leads { .. }
        | Notice::Follows { .. } => {}
    }
}
