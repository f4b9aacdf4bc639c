//! Asks servers for their `/status`: every few seconds while something is under way, at rest now and then for the ChatCluster's status.

use crate::membership::{Report, Reports};
use futures::future::join_all;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Uri, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use papo_settings::ports;
use std::time::Duration;

/// A server that has not answered in so long is asked again later.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than a status of thousands of boots needs; beyond, it is none.
const STATUS_BYTES_MAX: usize = 4 << 20;

/// Asks servers. Cloning shares its connections.
#[derive(Debug, Clone)]
pub struct Prober {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Default for Prober {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }
}

impl Prober {
    /// What the servers at these addresses say. Who twice does not answer, or answers nonsense, is left out.
    pub async fn ask(&self, servers: &[(u32, String)]) -> Reports {
        let mut reports = self.ask_once(servers).await;
        let silent: Vec<_> =
            servers.iter().filter(|(number, _)| !reports.contains_key(number)).cloned().collect();
        if !silent.is_empty() {
            reports.extend(self.ask_once(&silent).await);
        }
        reports
    }

    async fn ask_once(&self, servers: &[(u32, String)]) -> Reports {
        let asked = servers.iter().map(async |(number, host)| {
            match tokio::time::timeout(PATIENCE, self.status(host)).await {
                Ok(Ok(report)) => Some((*number, report)),
                Ok(Err(error)) => {
                    tracing::debug!(%host, %error, "a server does not say how it stands");
                    None
                }
                Err(_) => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn status(&self, host: &str) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
        // An address of IPv6 stands in brackets.
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let uri: Uri = format!("http://{host}:{}/status", ports::HTTP).parse()?;
        let answer = self.client.get(uri).await?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status()).into());
        }
        let body = Limited::new(answer.into_body(), STATUS_BYTES_MAX).collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}
