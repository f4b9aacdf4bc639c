//! Asks servers for their `/status`. Only while the membership changes: at rest the operator asks nobody.

use crate::{
    membership::{Report, Reports},
    names,
};
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
    /// What the servers from 1 to `last` say. Who does not answer, or nonsense, is left out.
    pub async fn ask(&self, cluster: &str, namespace: &str, last: u32) -> Reports {
        let asked = (1..=last).map(async |number| {
            let host = format!(
                "{}.{}.{namespace}.svc",
                names::server_pod(cluster, number),
                names::server_peers(cluster)
            );
            match tokio::time::timeout(PATIENCE, self.status(&host)).await {
                Ok(Ok(report)) => Some((number, report)),
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
        let uri: Uri = format!("http://{host}:{}/status", ports::HTTP).parse()?;
        let answer = self.client.get(uri).await?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status()).into());
        }
        let body = Limited::new(answer.into_body(), STATUS_BYTES_MAX).collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}
