//! What the mind says it did, as log lines.

use papo_replica::Notice;

/// Logs one.
pub fn log(notice: &Notice) {
    match notice {
        Notice::CoordinatorSuspected { coordinator, epoch } => {
            tracing::warn!(%coordinator, %epoch, "the coordinator is not heard any more");
        }
        Notice::ElectionBegun { asked } => tracing::info!(?asked, "election begun"),
        Notice::ElectionTakenOver { by } => tracing::info!(%by, "a better server takes the election over"),
        Notice::NobodyAnswered => tracing::info!("nobody better answered: claiming an epoch"),
        Notice::ClaimRefused { epoch, holder, why } => {
            let holder = holder.as_ref().map(papo_protocol::ServerName::as_str);
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
            let to = to.as_ref().map(papo_protocol::ServerName::as_str);
            tracing::info!(to, "handing over the coordination");
        }
        Notice::HandOverFailed { to } => tracing::warn!(%to, "the coordination was not taken over"),
    }
}
