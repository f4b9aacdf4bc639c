//! The seeds' own words, in Portuguese: the lines that rows E05, E09, F07, G07, H15, J02 and section K of the conformance table quote, for
//! those who grep for them. Nothing else of papo speaks so.

use super::{Happening, Merged};
use papo_protocol::ServerName;
use papo_replica::{Notice, RoundOutcome, RoundReport};
use std::net::SocketAddr;

/// The lines that the seeds have for it, in order; often none.
pub fn lines(happening: &Happening<'_>) -> Vec<String> {
    match happening {
        Happening::BrokerListens { clients, workers } => {
            vec![format!("[broker] ROUTER on {} | DEALER on {}", addresses(clients), addresses(workers))]
        }
        Happening::ProxyListens { publishers, subscribers } => {
            vec![format!("[proxy-go] XSUB on {} | XPUB on {}", addresses(publishers), addresses(subscribers))]
        }
        Happening::ReferenceListens { servers } => servers
            .iter()
            .map(|address| format!("[ref] servidor de referência iniciado em {}", endpoint(address)))
            .collect(),
        Happening::RankGiven { server, rank } => vec![format!("[{server}] rank obtido: {rank}")],
        Happening::Noticed { server, notice, first_coordinator } => {
            noticed(server, notice, *first_coordinator)
        }
        Happening::UserRegistered { user, clock, others } => vec![
            format!("✅ Novo usuário cadastrado: {user} (clock: {})", clock.get()),
            format!("🔄 Replicando login para {others} servidores..."),
        ],
        Happening::ReplicatedTo { server } => vec![format!("   ✅ Replicado para {server}")],
        Happening::Replicated { server, origin, service, user } => match user {
            Some(user) => vec![format!("🔄 Login replicado: {user}")],
            None => vec![format!("[{server}] replicou registro de {origin} ({service})")],
        },
        Happening::SyncAsked { of } => vec![format!("🔄 Solicitando sincronização completa de {of}...")],
        Happening::Synced(Merged { logins, channels, posts, messages }) => vec![
            format!(
                "✅ Sincronização recebida: {logins} logins, {channels} canais, {posts} msgs canal, {messages} msgs diretas"
            ),
            "🔄 Merge de dados locais com dados sincronizados".to_owned(),
            "✅ Sincronização completa concluída".to_owned(),
        ],
        Happening::BotStarted { user, .. } => {
            vec![format!("[BOT] {user} iniciado e enviando mensagens automáticas...")]
        }
        Happening::BotReceived { user, place, text, .. } => vec![format!("[{user}] <- ({place}) {text}")],
    }
}

fn noticed(own: &ServerName, notice: &Notice, first_coordinator: bool) -> Vec<String> {
    match notice {
        Notice::CoordinatorSuspected { coordinator, .. } => {
            vec![format!("⚠️ Coordenador {coordinator} não respondeu - iniciando eleição")]
        }
        Notice::ElectionBegun { .. } => vec!["🗳️ Iniciando eleição Bully...".to_owned()],
        Notice::NobodyAnswered => vec!["👑 Ninguém respondeu. Me tornando coordenador!".to_owned()],
        Notice::Leads { .. } => {
            let mut lines = coordinator_lines(own, own, first_coordinator, "novo coordenador eleito");
            lines.push("📢 Anúncio de coordenador publicado no tópico 'servers'".to_owned());
            lines
        }
        Notice::Follows { coordinator, .. } => {
            coordinator_lines(own, coordinator, first_coordinator, "recebeu aviso de novo coordenador")
        }
        Notice::RoundHeld(round) => round_held(own, round),
        Notice::ElectionTakenOver { .. }
        | Notice::ClaimRefused { .. }
        | Notice::ElectionEnded { .. }
        | Notice::Deposed { .. }
        | Notice::HandsOver { .. }
        | Notice::HandOverFailed { .. } => Vec::new(),
    }
}

/// S1's line, and one with the word that S3:718 has people grep for.
fn coordinator_lines(own: &ServerName, coordinator: &ServerName, first: bool, later: &str) -> Vec<String> {
    let what = if first { "coordenador inicial" } else { later };
    vec![format!("[{own}] {what}: {coordinator}"), format!("👑 Coordenador: {coordinator}")]
}

/// A round as its coordinator tells it. What it reads and corrects of itself is not said: nothing was received or sent for that.
fn round_held(own: &ServerName, round: &RoundReport) -> Vec<String> {
    let mut lines = vec![
        "🎯 Iniciando sincronização Berkeley como COORDENADOR".to_owned(),
        format!("📊 Coletando timestamps de {} servidores...", round.readings.len()),
    ];
    let others = round.readings.iter().filter(|(server, _)| server != own);
    lines.extend(others.map(|(server, moment)| format!("   📥 {server}: {}", seconds(moment.micros()))));
    lines.extend(round.mean.map(|mean| format!("📊 Tempo médio calculado: {}", seconds(mean.micros()))));
    let others = round.adjustments.iter().filter(|(server, _)| server != own);
    lines.extend(others.map(|(server, by)| {
        let sign = if by.micros() < 0 { "" } else { "+" };
        format!("   📤 Enviado ajuste de {sign}{}s para {server}", seconds(by.micros()))
    }));
    lines.push(match round.outcome {
        RoundOutcome::Adjusted => "✅ Sincronização Berkeley concluída".to_owned(),
        RoundOutcome::Withheld | RoundOutcome::Disagreed | RoundOutcome::Abandoned => {
            "⚠️ Sincronização Berkeley sem ajuste".to_owned()
        }
    });
    lines
}

/// Seconds, with as many decimals as it takes: `105`, `-0.00025`.
fn seconds(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, rest) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let text = format!("{sign}{whole}.{rest:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn addresses(addresses: &[SocketAddr]) -> String {
    let endpoints: Vec<String> = addresses.iter().map(endpoint).collect();
    endpoints.join(", ")
}

/// As ZeroMQ's users write it.
fn endpoint(address: &SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("tcp://*:{}", address.port())
    } else {
        format!("tcp://{address}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use papo_protocol::epoch::Epoch;
    use papo_protocol::{Boot, Lamport, UserName};
    use papo_replica::{Moment, Offset};

    fn server(number: u32) -> ServerName {
        ServerName::new(&format!("server-{number}")).unwrap()
    }

    fn of_notice(own: &ServerName, notice: &Notice, first_coordinator: bool) -> Vec<String> {
        lines(&Happening::Noticed { server: own, notice, first_coordinator })
    }

    #[test]
    fn e09_a_berkeley_round_is_told_as_the_seeds_do() {
        let second = |seconds: i64| Moment::from(seconds * 1_000_000);
        let by = |seconds: i64| Offset::from_micros(seconds * 1_000_000);
        let mut round = RoundReport {
            outcome: RoundOutcome::Adjusted,
            readings: vec![(server(1), second(100)), (server(2), second(110)), (server(3), second(105))],
            mean: Some(second(105)),
            adjustments: vec![(server(1), by(5)), (server(2), by(-5)), (server(3), by(0))],
            error: Default::default(),
        };
        let expected = [
            "🎯 Iniciando sincronização Berkeley como COORDENADOR",
            "📊 Coletando timestamps de 3 servidores...",
            "   📥 server-1: 100",
            "   📥 server-2: 110",
            "📊 Tempo médio calculado: 105",
            "   📤 Enviado ajuste de +5s para server-1",
            "   📤 Enviado ajuste de -5s para server-2",
            "✅ Sincronização Berkeley concluída",
        ];
        assert_eq!(of_notice(&server(3), &Notice::RoundHeld(round.clone()), false), expected);
        round.outcome = RoundOutcome::Disagreed;
        (round.mean, round.adjustments) = (None, Vec::new());
        let told = of_notice(&server(3), &Notice::RoundHeld(round), false);
        assert_eq!(told[..4], expected[..4]);
        assert_eq!(told[4..], ["⚠️ Sincronização Berkeley sem ajuste"]);
    }

    #[test]
    fn seconds_have_as_many_decimals_as_it_takes() {
        for (micros, text) in
            [(105_000_000, "105"), (-250, "-0.00025"), (0, "0"), (1_795_263_551_500_000, "1795263551.5")]
        {
            assert_eq!(seconds(micros), text);
        }
    }

    #[test]
    fn g07_an_election_is_told_as_the_seeds_do() {
        let epoch = Epoch { number: 2, boot: Boot(2) };
        let two = server(2);
        let told: Vec<String> = [
            Notice::CoordinatorSuspected { coordinator: server(3), epoch },
            Notice::ElectionBegun { asked: Vec::new() },
            Notice::NobodyAnswered,
            Notice::Leads { epoch },
        ]
        .iter()
        .flat_map(|notice| of_notice(&two, notice, false))
        .collect();
        assert_eq!(
            told,
            [
                "⚠️ Coordenador server-3 não respondeu - iniciando eleição",
                "🗳️ Iniciando eleição Bully...",
                "👑 Ninguém respondeu. Me tornando coordenador!",
                "[server-2] novo coordenador eleito: server-2",
                "👑 Coordenador: server-2",
                "📢 Anúncio de coordenador publicado no tópico 'servers'",
            ]
        );
        let follows = Notice::Follows { coordinator: server(2), epoch };
        assert_eq!(
            of_notice(&server(1), &follows, false),
            ["[server-1] recebeu aviso de novo coordenador: server-2", "👑 Coordenador: server-2"]
        );
        let first = ["[server-1] coordenador inicial: server-2", "👑 Coordenador: server-2"];
        assert_eq!(of_notice(&server(1), &follows, true), first);
    }

    #[test]
    fn h15_e05_a_login_and_a_full_synchronisation_are_told_as_the_seeds_do() {
        let (alice, clock) = (UserName::new("alice").unwrap(), Lamport::new(15).unwrap());
        let (one, two, three) = (server(1), server(2), server(3));
        let told: Vec<String> = [
            Happening::UserRegistered { user: &alice, clock, others: 2 },
            Happening::ReplicatedTo { server: &two },
            Happening::Replicated { server: &two, origin: &one, service: "login", user: Some(&alice) },
            Happening::Replicated { server: &two, origin: &one, service: "publish", user: None },
            Happening::SyncAsked { of: &three },
            Happening::Synced(Merged { logins: 5, channels: 3, posts: 10, messages: 5 }),
        ]
        .iter()
        .flat_map(lines)
        .collect();
        assert_eq!(
            told,
            [
                "✅ Novo usuário cadastrado: alice (clock: 15)",
                "🔄 Replicando login para 2 servidores...",
                "   ✅ Replicado para server-2",
                "🔄 Login replicado: alice",
                "[server-2] replicou registro de server-1 (publish)",
                "🔄 Solicitando sincronização completa de server-3...",
                "✅ Sincronização recebida: 5 logins, 3 canais, 10 msgs canal, 5 msgs diretas",
                "🔄 Merge de dados locais com dados sincronizados",
                "✅ Sincronização completa concluída",
            ]
        );
    }

    #[test]
    fn f07_k_starts_and_ranks_are_told_as_the_seeds_do() {
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        let (router, dealer) = ([at("0.0.0.0:5555")], [at("0.0.0.0:5556")]);
        let (xsub, xpub) = ([at("0.0.0.0:5557")], [at("0.0.0.0:5558"), at("127.0.0.1:5560")]);
        let reference = [at("0.0.0.0:5559"), at("[::]:6000")];
        let told: Vec<String> = [
            Happening::BrokerListens { clients: &router, workers: &dealer },
            Happening::ProxyListens { publishers: &xsub, subscribers: &xpub },
            Happening::ReferenceListens { servers: &reference },
            Happening::RankGiven { server: &server(1), rank: 1 },
        ]
        .iter()
        .flat_map(lines)
        .collect();
        assert_eq!(
            told,
            [
                "[broker] ROUTER on tcp://*:5555 | DEALER on tcp://*:5556",
                "[proxy-go] XSUB on tcp://*:5557 | XPUB on tcp://*:5558, tcp://127.0.0.1:5560",
                "[ref] servidor de referência iniciado em tcp://*:5559",
                "[ref] servidor de referência iniciado em tcp://*:6000",
                "[server-1] rank obtido: 1",
            ]
        );
    }

    #[test]
    fn j02_a_bot_is_told_as_the_seeds_do() {
        let (user, clock) = (UserName::new("user4821").unwrap(), Lamport::new(3).unwrap());
        assert_eq!(
            lines(&Happening::BotStarted { user: &user, clock }),
            ["[BOT] user4821 iniciado e enviando mensagens automáticas..."]
        );
        let text = "auto-msg 3 de user4821";
        assert_eq!(
            lines(&Happening::BotReceived { user: &user, place: "#general", text, clock }),
            ["[user4821] <- (#general) auto-msg 3 de user4821"]
        );
    }
}
