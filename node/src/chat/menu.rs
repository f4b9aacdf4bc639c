//! `papo chat --menu`: the numbered menu of the exercise's interactive clients (row J03), in their language and with their numbers, for
//! a person or a script. What it does it does through the same [`Presence`] as the commands; where answers come from is the caller's.

use super::complete::Names;
use super::line::Place;
use super::presence::{EnterError, Presence, message_id};
use super::screen::Screen;
use super::session::Done;
use super::{ChatOptions, Outcome};
use crate::client::RequestError;
use papo_protocol::UserName;

/// What there is to choose (S3:619-633, 712).
const CHOICES: [(&str, &str); 8] = [
    ("1", "Login"),
    ("2", "Listar usuários"),
    ("3", "Criar canal"),
    ("4", "Listar canais"),
    ("5", "Inscrever em canal"),
    ("6", "Publicar mensagem em canal"),
    ("7", "Enviar mensagem direta"),
    ("0", "Sair"),
];
const CHOOSE: &str = "Escolha uma opção: ";
const NAME: &str = "Nome de usuário: ";
const CHANNEL: &str = "Canal: ";
const TO: &str = "Destinatário: ";
const TEXT: &str = "Mensagem: ";
/// Of a new subscription nothing old is shown, as the exercise's clients have no history.
const OLD_SHOWN: usize = 0;

/// Where answers come from.
pub(super) trait Answers {
    /// The answer to a question; `None` when there are no more.
    async fn answer(&mut self, question: &str) -> Option<String>;
}

/// Asks until somebody chooses to leave, or there are no more answers.
pub(super) async fn run(
    options: &ChatOptions,
    screen: Screen,
    names: Names,
    answers: &mut impl Answers,
) -> Outcome {
    let mut menu = Menu { options, screen, names, here: None };
    let mut outcome = Outcome::Fine;
    if let Some(name) = &options.user
        && menu.login(name).await == Done::Badly
    {
        outcome = Outcome::Failed;
    }
    loop {
        menu.show();
        let Some(choice) = answers.answer(CHOOSE).await else { break };
        let done = match choice.trim() {
            "" => Done::Well,
            "0" => break,
            "1" => menu.enter(answers).await,
            "2" => menu.users().await,
            "3" => menu.create(answers).await,
            "4" => menu.channels().await,
            "5" => menu.subscribe(answers).await,
            "6" => menu.publish(answers).await,
            "7" => menu.message(answers).await,
            other => menu.failed(&format!("Opção inválida: {other}")),
        };
        if done == Done::Badly {
            outcome = Outcome::Failed;
        }
    }
    outcome
}

struct Menu<'a> {
    options: &'a ChatOptions,
    screen: Screen,
    names: Names,
    /// Once somebody has logged in.
    here: Option<Presence>,
}

impl Menu<'_> {
    fn show(&self) {
        let who = self.here.as_ref().map(|here| {
            let channels = here.places.channels();
            let channels = if channels.is_empty() { "nenhum".to_owned() } else { channels.join(", ") };
            format!("👤 {} | Canais inscritos: {channels}", here.user)
        });
        let choices = CHOICES.iter().map(|(number, what)| format!("  {number}. {what}"));
        let title = std::iter::once("======== MENU ========".to_owned());
        for line in title.chain(who).chain(choices) {
            self.say(&line);
        }
    }

    async fn enter(&mut self, answers: &mut impl Answers) -> Done {
        if let Some(here) = &self.here {
            return self.failed(&format!("Já fez login como {}", here.user));
        }
        let Some(name) = asked(answers, NAME).await else { return self.empty() };
        self.login(&name).await
    }

    async fn login(&mut self, name: &str) -> Done {
        let user = match UserName::new(name) {
            Ok(user) => user,
            Err(error) => return self.failed(&format!("Erro no login: {error}")),
        };
        match Presence::enter(self.options, user, self.screen.clone(), self.names.clone()).await {
            Ok(here) => {
                self.say(&format!("✅ Login realizado: {}", here.user));
                let inbox = Place::User(here.user.as_str().to_owned());
                // Whatever went wrong is tried again in the background.
                let _ = here.read_from_now(inbox, OLD_SHOWN).await;
                self.here = Some(here);
                Done::Well
            }
            Err(EnterError::Refused { source, .. } | EnterError::Unreachable { source }) => {
                self.failed(&format!("Erro no login: {source}"))
            }
        }
    }

    async fn users(&self) -> Done {
        let Some(here) = &self.here else { return self.stranger() };
        match here.list_users().await {
            Ok(users) => {
                self.say(&format!("👥 Usuários cadastrados: {}", users.len()));
                for user in users {
                    let mark = if user == here.user.as_str() { " (você)" } else { "" };
                    self.say(&format!("   - {user}{mark}"));
                }
                Done::Well
            }
            Err(error) => self.refused("Erro ao listar usuários", here, &error),
        }
    }

    async fn create(&self, answers: &mut impl Answers) -> Done {
        let Some(here) = &self.here else { return self.stranger() };
        let Some(channel) = asked(answers, CHANNEL).await else { return self.empty() };
        match here.create_channel(&channel).await {
            Ok(()) => self.well(&format!("Canal criado: {channel}")),
            Err(error) => self.refused("Erro ao criar canal", here, &error),
        }
    }

    async fn channels(&self) -> Done {
        let Some(here) = &self.here else { return self.stranger() };
        match here.list_channels().await {
            Ok(channels) => {
                let subscribed = here.places.channels();
                self.say(&format!("📺 Canais disponíveis: {}", channels.len()));
                for channel in channels {
                    let mark = if subscribed.contains(&channel) { " (inscrito)" } else { "" };
                    self.say(&format!("   - {channel}{mark}"));
                }
                Done::Well
            }
            Err(error) => self.refused("Erro ao listar canais", here, &error),
        }
    }

    /// Only to a channel that there is (row C13).
    async fn subscribe(&self, answers: &mut impl Answers) -> Done {
        let Some(here) = &self.here else { return self.stranger() };
        let Some(channel) = asked(answers, CHANNEL).await else { return self.empty() };
        match here.list_channels().await {
            Ok(channels) if channels.contains(&channel) => {
                // Followed first, read afterwards: what comes in between is in one of the two, and shown once.
                here.live.follow(&channel);
                let _ = here.read_from_now(Place::Channel(channel.clone()), OLD_SHOWN).await;
                here.wake.notify_one();
                self.well(&format!("Inscrito no canal {channel}"))
            }
            Ok(_) => self.failed(&format!("O canal {channel} não existe")),
            Err(error) => self.refused("Erro ao inscrever", here, &error),
        }
    }

    async fn publish(&self, answers: &mut impl Answers) -> Done {
        let Some(here) = &self.here else { return self.stranger() };
        let Some(channel) = asked(answers, CHANNEL).await else { return self.empty() };
        let Some(text) = asked(answers, TEXT).await else { return self.empty() };
        match here.publish(&channel, &text).await {
            Ok(_) => self.well(&format!("Mensagem publicada no canal {channel}")),
            Err(error) => self.refused("Erro ao publicar", here, &error),
        }
    }

    async fn message(&self, answers: &mut impl Answers) -> Done {
        let Some(here) = &self.here else { return self.stranger() };
        let Some(to) = asked(answers, TO).await else { return self.empty() };
        let Some(text) = asked(answers, TEXT).await else { return self.empty() };
        match here.send(&to, &text).await {
            Ok(reply) => {
                // The history of one's direct messages has those that one sent, too.
                if to != here.user.as_str() {
                    here.seen.is_new(message_id(&reply).as_ref());
                }
                self.well(&format!("Mensagem enviada para {to}"))
            }
            Err(error) => self.refused("Erro ao enviar", here, &error),
        }
    }

    fn say(&self, text: &str) {
        self.screen.write(text.to_owned());
    }

    fn well(&self, text: &str) -> Done {
        self.say(&format!("✅ {text}"));
        Done::Well
    }

    fn failed(&self, text: &str) -> Done {
        self.say(&format!("❌ {text}"));
        Done::Badly
    }

    fn refused(&self, what: &str, here: &Presence, error: &RequestError) -> Done {
        self.failed(&format!("{what}: {}", here.explain(error)))
    }

    fn stranger(&self) -> Done {
        self.failed("Faça login primeiro (opção 1)")
    }

    fn empty(&self) -> Done {
        self.failed("Nada foi escrito")
    }
}

/// `None` when nothing was written.
async fn asked(answers: &mut impl Answers, question: &str) -> Option<String> {
    let answer = answers.answer(question).await?;
    let answer = answer.trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}
