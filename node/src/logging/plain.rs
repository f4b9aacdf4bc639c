//! papo's own wording: a fixed message, and fields.

use super::{Happening, Merged};
use papo_protocol::ServerName;
use papo_replica::{Notice, RoundOutcome, RoundReport};

/// Logs it.
pub fn log(happening: &Happening<'_>) {
    match happening {
        Happening::BrokerListens { clients, workers } => {
            tracing::info!(?clients, ?workers, "broker listens");
        }
        Happening::ProxyListens { publishers, subscribers } => {
            tracing::info!(?publishers, ?subscribers, "proxy listens");
        }
        Happening::ReferenceListens { servers } => {
            tracing::info!(listen = ?servers, "reference service started");
        }
        Happening::RankGiven { server, rank } => tracing::info!(%server, rank, "rank given"),
        Happening::Noticed { notice, .. } => log_notice(notice),
        Happening::UserRegistered { user, clock, others } => {
            tracing::debug!(%user, clock = clock.get(), others, "user registered");
        }
        Happening::ReplicatedTo { server } => tracing::debug!(%server, "replicated"),
        Happening::Replicated { origin, service, .. } => {
            tracing::debug!(%origin, service, "operation of another server stored");
        }
        Happening::SyncAsked { of } => tracing::debug!(server = %of, "asking for what is missing"),
        Happening::Synced(Merged { logins, channels, posts, messages }) => {
            tracing::debug!(logins, channels, posts, messages, "caught up with the others");
        }
        Happening::BotStarted { user, clock } => {
            tracing::info!(%user, clock = clock.get(), "bot started");
        }
        Happening::BotReceived { user, place, text, clock } => {
            tracing::info!(%user, place, text, clock = clock.get(), "message received");
        }
    }
}

fn log_notice(notice: &Notice) {
    match notice {
        Notice::CoordinatorSuspected { coordinator, epoch } => {
            tracing::warn!(%coordinator, %epoch, "the coordinator is not heard any more");
        }
        Notice::ElectionBegun { asked } => {
            let asked = asked.iter().map(ServerName::as_str).collect::<Vec<_>>().join(" ");
            tracing::info!(asked, "election begun");
        }
        Notice::ElectionTakenOver { by } => tracing::info!(%by, "a better server takes the election over"),
        Notice::NobodyAnswered => tracing::info!("nobody better answered: claiming an epoch"),
        Notice::ClaimRefused { epoch, holder, why } => {
            let holder = holder.as_ref().map(ServerName::as_str);
            tracing::info!(%epoch, holder, why = why.as_str(), "no epoch granted");
        }
        Notice::ElectionEnded { outcome, took } => {
            tracing::info!(outcome = outcome.as_str(), ?took, "election ended");
        }
        Notice::Leads { epoch } => tracing::info!(%epoch, "this server is the coordinator"),
        Notice::Follows { coordinator, epoch } => tracing::info!(%coordinator, %epoch, "coordinator heard"),
        Notice::Deposed { own, by } => {
            tracing::info!(epoch = %own, %by, "this server is the coordinator no longer");
        }
        Notice::HandsOver { to } => {
            let to = to.as_ref().map(ServerName::as_str);
            tracing::info!(to, "handing over the coordination");
        }
        Notice::HandOverFailed { to } => tracing::warn!(%to, "the coordination was not taken over"),
        Notice::RoundHeld(round) => log_round(round),
    }
}

fn log_round(round: &RoundReport) {
    let outcome = round.outcome.as_str();
    let readings = listed(round.readings.iter().map(|(name, calendar)| (name, calendar.micros())));
    let adjustments = listed(round.adjustments.iter().map(|(name, by)| (name, by.micros())));
    match round.outcome {
        RoundOutcome::Adjusted => tracing::debug!(adjustments, "the servers agree on the time"),
        RoundOutcome::Withheld => tracing::warn!(
            outcome,
            readings,
            adjustments,
            "a server's time is far off, and too few servers answered to tell whose is wrong: it was left as it is"
        ),
        RoundOutcome::Disagreed | RoundOutcome::Abandoned => tracing::warn!(
            outcome,
            readings,
            "most of the servers' calendars agree on nothing: the times were left as they are"
        ),
    }
}

/// `server-1=5 server-2=-5`, in microseconds.
fn listed<'a>(values: impl Iterator<Item = (&'a ServerName, i64)>) -> String {
    values.map(|(name, micros)| format!("{name}={micros}")).collect::<Vec<_>>().join(" ")
}
